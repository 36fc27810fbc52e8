"""What several results come to side by side: kinds, chapters, groups, suspects, vectors that are not the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from result_samples import DIGEST, LINK, compared, declared, failed, lacking, passed, result

from capsule_model.show.comparison import groups
from capsule_model.show.texts import differences, notices, web_address


def test_kinds_and_worst(tmp_path: Path) -> None:
    """A cell counts its vectors by what they come to, and is as bad as the worst of them."""
    comparison = compared(
        tmp_path,
        a=result(
            passed("capsule.one.a"),
            declared("capsule.one.b", "by-design"),
            declared("capsule.one.c", "differs"),
            lacking("capsule.one.d", "gc"),
            passed("capsule.two.a"),
            {"id": "capsule.two.b", "outcome": "undefined", "rules": []},
            failed("capsule.three.a"),
            declared("capsule.three.b", "crash"),
            {"id": "capsule.four.a", "outcome": "not-applicable", "rules": []},
        ),
    )
    cells = {chapter: cell for (_, chapter), cell in comparison.cells.items()}
    assert cells["capsule.one"].worst == "differs"
    assert cells["capsule.one"].words == "1 passed, 1 differs, 1 by design, 1 unsupported"
    assert cells["capsule.two"].worst == "passed"
    assert cells["capsule.three"].loud == [("unexpected", 1), ("crash", 1)]
    assert cells["capsule.four"].words == "1 not asked"
    assert comparison.findings == ["a: 1 unexpected divergence"]


def test_an_answer_is_not_explained_by_something_lacking(tmp_path: Path) -> None:
    """A divergence that is declared as unsupported stays unexpected."""
    assert compared(tmp_path, a=result(passed("c.a.a"), declared("c.a.b", "unsupported"))).findings


def test_suspects(tmp_path: Path) -> None:
    """Suspect is what failed wherever it ran, on two at least; what did not run says nothing."""
    everywhere, here, alone, mixed = "c.a.everywhere", "c.a.here", "c.a.alone", "c.a.mixed"
    comparison = compared(
        tmp_path,
        a=result(failed(everywhere), failed(here), failed(alone), declared(mixed, "crash")),
        b=result(declared(everywhere, "differs"), passed(here), lacking(alone, "gc"), failed(mixed)),
        c=result(lacking(everywhere, "gc"), failed(here), {"id": alone, "outcome": "undefined", "rules": []}),
    )
    assert {name: list(entries) for name, entries in comparison.suspects.items()} == {
        everywhere: ["a", "b"],
        mixed: ["a", "b"],
    }
    assert "2 suspect vectors: failed wherever they ran" in comparison.findings


def test_nothing_passed_and_faults_are_findings(tmp_path: Path) -> None:
    """An implementation that does nothing is no good one; neither is a run with faults in its input."""
    expectations = {"files": ["x.toml"], "digest": DIGEST, "faults": ["gone"]}
    comparison = compared(
        tmp_path,
        nothing=result(lacking("c.a.a", "gc")),
        gone=result(passed("c.a.a"), expectations=expectations),
        bad=result(passed("c.a.a"), problems=["one", "two"]),
        good=result(passed("c.a.a")),
    )
    assert comparison.findings == [
        "nothing: nothing passed",
        "gone: 1 line of expectations that do not hold",
        "bad: 2 lines of bad input",
    ]


def test_chapter_words(tmp_path: Path) -> None:
    """A chapter is the second word of an id; the first is shown where it tells chapters apart."""
    alike = compared(tmp_path, a=result(passed("capsule.import.a"), passed("capsule.get-name.b.c")))
    assert list(alike.chapters.values()) == ["get-name", "import"]
    mixed = compared(tmp_path, a=result(passed("capsule.import.a"), passed("dlpack.import.a")))
    assert list(mixed.chapters.values()) == ["capsule import", "dlpack import"]


def test_groups_name_the_features_that_are_lacking(tmp_path: Path) -> None:
    """What is unsupported is grouped by the features that lack, with the adapter's reason; operations follow."""
    absent = {"layout": "no structs here"}
    comparison = compared(
        tmp_path,
        a=result(
            lacking("c.a.one", "layout", "PyCapsule_New"),
            lacking("c.a.two", "layout", "malloc"),
            lacking("c.a.three", "PyCapsule_New", "malloc"),
            {"id": "c.a.four", "outcome": "unsupported", "rules": [], "detail": "no such thing"},
            about={"absent": absent},
        ),
    )
    found = groups(comparison.columns[0].entries, absent)
    assert [(list(group.lacks), [entry.id for entry in group.entries]) for group in found] == [
        ([("layout", "no structs here")], ["c.a.one", "c.a.two"]),
        ([("PyCapsule_New", None), ("malloc", None)], ["c.a.three"]),
        ([("no such thing", None)], ["c.a.four"]),
    ]


def test_groups_by_reason_worst_first(tmp_path: Path) -> None:
    """Divergences of one class and reason stand together, the worst class first."""
    comparison = compared(
        tmp_path,
        a=result(
            declared("c.a.one", "by-design"),
            declared("c.a.two", "crash", "dies"),
            declared("c.a.three", "by-design"),
            failed("c.a.four"),
        ),
    )
    found = groups(comparison.columns[0].entries, {})
    assert [(g.kind, g.reason, g.link, [entry.id for entry in g.entries]) for g in found] == [
        ("unexpected", None, None, ["c.a.four"]),
        ("crash", "dies", LINK, ["c.a.two"]),
        ("by-design", "it waits", LINK, ["c.a.one", "c.a.three"]),
    ]


def test_other_vectors_are_told(tmp_path: Path) -> None:
    """Results of other vectors than most are named, old ones without a hash as well."""
    new, old = result(passed("c.a.a")), result(passed("c.a.a"))
    del old["specification"]
    other = result(passed("c.a.a"), specification={"version": "0.0.9", "vectors": "f" * 16})
    comparison = compared(tmp_path, a=new, b=new, c=other, d=old)
    assert dict(comparison.others) == {"c": "f" * 16, "d": "not named"}
    (notice,) = notices(comparison)
    assert "c (ffffffffffffffff), d (not named)" in notice
    assert not comparison.findings
    assert not notices(compared(tmp_path, a=new, b=new))


def test_differences_in_words(tmp_path: Path) -> None:
    """A divergence says where, and what each side has, in the words that conform uses."""
    error = failed("c.a.a", {"type": "ValueError", "text": "no"}, "error", detail="why")
    (entry,) = compared(tmp_path, a=result(error)).columns[0].entries
    ((place, sides),) = differences(entry)
    assert place == "step 0: error"
    assert ("seen", 'ValueError "no"') in sides
    assert [side for side, _ in sides] == ["expected", "model", "seen"]


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ("https://example.org/a?b=c#d", True),
        ("http://example.org:8080", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt://example.org/%0aalert(1)", False),
        ("data:text/html,x", False),
        ("https://user:word@example.org/", False),
        ("https://example.org/a b", False),
        ("https://example.org/\n", False),
        ("https://exämple.org/", False),
        ("//example.org/", False),
        ("https://example.org/" + "a" * 500, False),
        (None, False),
    ],
)
def test_web_addresses(text: str | None, usable: bool) -> None:
    """Only an address of the web is linked to, and none that hides its host."""
    assert web_address(text) == (text if usable else None)
