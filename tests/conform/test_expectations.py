"""Expectations: files that are read or refused, hashes of observations, and verdicts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from expectation_samples import ENTRY, HASH, HEAD

from capsule_model.conform import expectations
from capsule_model.conform.answers import Started
from capsule_model.conform.expectations import (
    Expectations,
    builtin_expectations,
    expectations_for,
    load_expectations,
    observation_hash,
    shipped_ids,
)
from capsule_model.conform.report import vectors_digest
from capsule_model.conform.runner import Divergence, Result
from capsule_model.locate import specs

ROOT = Path(__file__).resolve().parents[2]
MISBEHAVING = f"{sys.executable} {Path(__file__).with_name('adapters') / 'misbehaving.py'}"
CONTROLS = f"{sys.executable} -m capsule_model.conform.controls"
KNOWN = frozenset({"a.one", "a.two", "a.three"})
OTHER = "fedcba9876543210"


def about(version: str = "7.3.19 (Python 3.11)", profile: str | None = "cpython-3.11", name: str = "demo") -> Started:
    """Return what an adapter of that version says of itself."""
    return Started(name, version, profile, frozenset(), frozenset())


def result(name: str, outcome: str = "failed", *seen: Any, **keys: Any) -> Result:
    """Return a result with a difference for each value seen."""
    differences = [Divergence(str(index), "return", expected=None, seen=value) for index, value in enumerate(seen)]
    return Result({"id": name, "title": "t", "rules": []}, outcome, differences, **keys)


def hash_of(outcome: str, *seen: Any, **keys: Any) -> str:
    """Return the hash of a result's observation."""
    found = observation_hash(result("a.one", outcome, *seen, **keys))
    assert found is not None
    return found


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Return a function that loads a text as a file of expectations."""

    def loaded(text: str, name: str = "demo.toml") -> Expectations:
        file = tmp_path / name
        file.write_text(text)
        return load_expectations(file, KNOWN)

    return loaded


# Observations


def test_hashes_are_those_of_the_format() -> None:
    """Committed hashes stay valid: each outcome has the hash that the format's text defines."""
    assert hash_of("failed", 1, None) == "65a882327868c55a"
    assert hash_of("crashed", detail="died of SIGSEGV") == "c91beabbfe117a6e"
    assert hash_of("errored", detail="noise 0x1234") == "5e41f3266d0b57f2"
    assert hash_of("timed-out", detail="gave no answer within 10 seconds") == "bf2bdd82a1539541"
    assert hash_of("unsupported", lacking=("poke", "gc")) == "8dc2f752bd8deaab"
    assert observation_hash(result("a.one", "passed")) is None
    assert observation_hash(result("a.one", "not-applicable")) is None
    assert observation_hash(result("a.one", "undefined")) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<capsule object at 0x7f0012345678>", "<capsule object at 0x55aa>"),
        ("at 00007F0012345678.", "at 0000550012345678."),
        ("address 139872364", "address 94872364"),
        (["cannot load /usr/lib/python3/x.py", 3], ["cannot load /opt/other/y.py", 3]),
        ({"text": {"deep": [139872364123]}}, {"text": {"deep": [-7098123098123]}}),
        (1 << 61, (1 << 61) + 5),
    ],
)
def test_what_changes_from_run_to_run_is_not_in_the_hash(one: Any, other: Any) -> None:
    """Addresses and hashes, as numbers and in texts, and paths of files make no other observation."""
    assert hash_of("failed", one) == hash_of("failed", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0, 1),
        (1, True),
        (0, None),
        (65535, 65536),
        ({"ref": "c"}, {"ref": "c#2"}),
        ({"ref": "?1"}, {"ref": "?2"}),
        ("NULL pointer", "invalid pointer"),
        ("line 12345", "line 12346"),
        ({"hex": "00112233445566778899"}, {"hex": "00112233445566778898"}),
    ],
)
def test_what_tells_observations_apart_is_in_the_hash(one: Any, other: Any) -> None:
    """Another value, token, text or byte is another observation."""
    assert hash_of("failed", one) != hash_of("failed", other)


def test_the_order_of_differences_and_what_was_expected_do_not_matter() -> None:
    """The hash is about what was seen, where."""
    one, two = Divergence("0", "return", 1, 2, 3), Divergence("0", "error", 1, 2, 3)
    vector = {"id": "a.one", "title": "t", "rules": []}
    ordered = observation_hash(Result(vector, "failed", [one, two]))
    assert ordered == observation_hash(Result(vector, "failed", [two, Divergence("0", "return", 7, 8, 3)]))
    assert ordered != observation_hash(Result(vector, "failed", [two, Divergence("1", "return", 1, 2, 3)]))
    assert ordered != observation_hash(Result(vector, "failed", [two, Divergence("0", "return", 1, 2)]))


def test_deaths_are_told_apart_by_signal_or_exit_code_alone() -> None:
    """Last words and the vector that came next make no other observation; another signal does."""
    plain = hash_of("crashed", detail="died of SIGSEGV")
    assert plain == hash_of("crashed", detail="died of SIGSEGV; its standard error ends: ended with exit code 4 / x")
    assert plain == hash_of("crashed", detail="after its answer, before that of a.two: died of SIGSEGV")
    assert plain == hash_of("crashed", detail="after its answer, before that of its renamed copy: died of SIGSEGV")
    assert plain != hash_of("crashed", detail="died of SIGABRT")
    assert hash_of("crashed", detail="ended with exit code 1") != hash_of("crashed", detail="ended with exit code 3")
    assert plain == hash_of("crashed", detail="died of SIGSEGV in the middle of a line")
    late = "after its answer, before that of a.two: closed"
    assert hash_of("errored", detail=late) == hash_of("errored", detail=late.replace("a.two", "its renamed copy"))
    assert hash_of("errored", detail=late) == hash_of("errored", detail="closed")
    assert hash_of("errored", detail="closed; its standard error ends: 1") == hash_of("errored", detail="closed")
    assert hash_of("errored", detail="closed") != hash_of("errored", detail="answered noise")
    assert hash_of("unsupported", lacking=("a", "b")) == hash_of("unsupported", lacking=("b", "a"))
    assert hash_of("unsupported", lacking=("a", "b")) != hash_of("unsupported", lacking=("a",))


# Files


def test_a_file_is_read(load: Any) -> None:
    """Entries have their class, reason and link, and one hash or several by vector."""
    text = HEAD + ENTRY.replace("It does so.", "It\\n does  so.") + f'"a.two" = ["{HASH}", "{OTHER}"]\n'
    found = load(text)
    (entry,) = found.entries
    assert (found.implementation, found.files) == ("demo", ("demo.toml",))
    assert (entry.why.class_, entry.why.reason, entry.why.link) == (
        "differs",
        "It does so.",
        "https://example.org/why",
    )
    assert entry.vectors == {"a.one": (HASH,), "a.two": (HASH, OTHER)}
    assert load(HEAD).entries == ()


FAULTS = [
    ("x = ", "not TOML: Invalid value (at end of document); expected"),
    (HEAD + HEAD, "not TOML: Cannot overwrite a value"),
    ("a = " + "[" * 9999, "nested too deep; expected at most 64 levels"),
    ("a = " + "[" * 80 + "]" * 80, "nested too deep; expected at most 64 levels"),
    ("implementation = 'demo'", 'expected the key "format"'),
    (HEAD.replace("1", "2"), "format: found 2; expected 1"),
    (HEAD.replace("1", "true"), "format: found true; expected 1"),
    (HEAD.replace("1", "1.0"), "format: found 1.0; expected"),
    (HEAD.replace('"demo"', "1979-05-27"), "implementation: found 1979-05-27; expected"),
    (HEAD.replace('"demo"', '""'), 'implementation: found ""; expected the name that the adapter gives'),
    (HEAD + "vector = 1", 'unknown key "vector"; expected only format, implementation, divergence'),
    (HEAD + "divergence = 1", "divergence: found 1; expected a list"),
    (HEAD + "divergence = [1]", "divergence 1: found 1; expected an object"),
    (
        HEAD + ENTRY.replace("link =", "versoin = 1\nlink ="),
        'divergence 1 (a.one): unknown key "versoin"; expected only class, versions, profiles, outcome,',
    ),
    (HEAD + ENTRY.replace('reason = "It does so."', ""), 'divergence 1 (a.one): found {"class": "differs", '),
    (
        HEAD + ENTRY.replace("It does so.", ""),
        'divergence 1 (a.one): reason: found ""; expected a sentence or two that say why',
    ),
    (HEAD + ENTRY.replace("It does so.", " \\t"), "reason: found"),
    (HEAD + ENTRY.replace("https:", "ftp:"), "link: found"),
    (HEAD + ENTRY.replace("https://example.org/why", ""), 'link: found ""; expected the http or https address'),
    (HEAD + ENTRY.replace('"differs"', '"odd"'), 'class: found "odd"; expected one of by-design, differs, crash, unsu'),
    (
        HEAD + ENTRY.replace('"failed"', '"passed"'),
        'outcome: found "passed"; expected one of failed, errored, crashed,',
    ),
    (HEAD + ENTRY.replace('["7.3"]', '"7.3"'), 'versions: found "7.3"; expected a list of beginnings'),
    (HEAD + ENTRY.replace('["7.3"]', "[]"), "versions: found []; expected a list of beginnings"),
    (HEAD + ENTRY.replace('["7.3"]', '["7.*"]'), 'versions: found "7.*"; expected a list of beginnings'),
    (HEAD + ENTRY.replace(HASH, HASH[1:]), "divergence 1 (a.one): a.one: found"),
    (HEAD + ENTRY.replace(HASH, HASH.upper()), "expected 16 hex digits as conform shows them"),
    (HEAD + ENTRY.replace(f'"{HASH}"', "[]"), "a.one: found []; expected 16 hex digits"),
    (HEAD + ENTRY + f'"a.one" = "{OTHER}"', "not TOML: Cannot overwrite a value"),
    (HEAD + ENTRY.replace("a.one", "a.thre"), "divergence 1 (a.thre): no vector a.thre; expected a.three"),
    (
        HEAD + ENTRY.replace('"differs"', '"unsupported"'),
        "class is unsupported where outcome is failed; expected unsupported in both",
    ),
    (
        HEAD + ENTRY.replace('"failed"', '"unsupported"'),
        "class is differs where outcome is unsupported; expected unsupported in both",
    ),
    (
        HEAD + ENTRY + ENTRY,
        "divergence 2 (a.one): a.one is in divergence 1 (a.one), too, for version 7.3; expected every vector once",
    ),
    (HEAD + ENTRY + ENTRY.replace("7.3", "7.3.11"), "for version 7.3.11; expected every vector once a version"),
    (HEAD + ENTRY + ENTRY.replace("7.3", "7"), "for version 7; expected every vector once a version"),
    (HEAD + ENTRY + ENTRY.replace("7.3", "*"), "for version *; expected every vector once a version"),
    (HEAD + ENTRY.replace("7.3", "*") + ENTRY, "for version 7.3; expected every vector once a version"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_a_bad_file_is_one_line(text: str, message: str, load: Any, tmp_path: Path) -> None:
    """What is wrong is said with the file, the entry and what would be right."""
    with pytest.raises(ValueError, match=r"demo\.toml") as error:
        load(text)
    told = str(error.value)
    assert told.startswith(f"{tmp_path / 'demo.toml'}: ")
    assert message in told
    assert "\n" not in told


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """No file, a folder, too large a file and one that is not UTF-8 are one line each."""
    for content, message in (
        (None, "no such file"),
        (b"#" * (1024 * 1024 + 1), "larger than 1048576 bytes"),
        (b"# \xff", "byte 2 is not UTF-8"),
    ):
        file = tmp_path / "e.toml"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_expectations(file, KNOWN)
    with pytest.raises(ValueError, match="no such file"):
        load_expectations(tmp_path, KNOWN)


def test_one_vector_may_stand_in_entries_for_different_versions_and_profiles(load: Any) -> None:
    """Versions of which none begins another, and profiles of which none is shared, do not collide."""
    later = ENTRY.replace("7.3", "7.30").replace(HASH, OTHER)
    small = later.replace('["7.30"]', '["7.3"]\nprofiles = ["cpython-3.11-32"]')
    large = ENTRY.replace('["7.3"]', '["7.3"]\nprofiles = ["cpython-3.11", "cpython-3.9"]')
    found = load(HEAD + large + later + small)

    def hashes(version: str, profile: str | None) -> Any:
        entry = found.applying(about(version, profile)).get("a.one")
        return entry and entry.vectors["a.one"]

    assert hashes("7.3.19 (Python 3.11)", "cpython-3.11") == (HASH,)
    assert hashes("7.3.19 (Python 3.11)", "cpython-3.11-32") == (OTHER,)
    assert hashes("7.30.1", None) == (OTHER,)
    assert hashes("7.3.19", None) is None
    assert hashes("7", "cpython-3.11") is None
    assert hashes("", "cpython-3.11") is None
    assert load(HEAD + ENTRY.replace("7.3", "*")).applying(about("")).keys() == {"a.one"}


def test_shipped_files_are_found_by_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An implementation gets the file of its name; a name that is a path gets none; another's file is refused."""
    (tmp_path / "expectations").mkdir()
    (tmp_path / "outside.toml").write_text(HEAD)
    (tmp_path / "expectations" / "demo.toml").write_text(HEAD + ENTRY)
    (tmp_path / "expectations" / "odd.toml").write_text(HEAD + ENTRY)
    schema = specs() / "formats"
    monkeypatch.setattr(expectations, "_validator", expectations._validator)
    (tmp_path / "formats").symlink_to(schema)
    monkeypatch.setattr(expectations, "specs", lambda: tmp_path)
    found = builtin_expectations("demo", KNOWN)
    assert found is not None
    assert found.files == ("demo.toml",)
    for name in ("none", "../outside", "..", "", "demo.toml", "demo\0", "DEMO"):
        assert builtin_expectations(name, KNOWN) is None
    with pytest.raises(ValueError, match='implementation is "demo"; expected "odd"'):
        builtin_expectations("odd", KNOWN)
    outside = tmp_path / "mine.toml"
    outside.write_text(HEAD + ENTRY.replace(HASH, OTHER))
    both = expectations_for("demo", [outside], KNOWN)
    assert both.files == ("demo.toml", "mine.toml")
    assert both.applying(about())["a.one"].vectors == {"a.one": (OTHER,)}
    assert expectations_for("demo", [outside], KNOWN, shipped=False).files == ("mine.toml",)
    with pytest.raises(ValueError, match=r'mine.toml: implementation is "demo"; expected "none", as the adapter says'):
        expectations_for("none", [outside], KNOWN)


# Verdicts


def test_an_explained_divergence(load: Any) -> None:
    """Outcome and observation as declared: the vector is expected, with class, reason and link."""
    seen = result("a.one", "failed", 5)
    found = load(HEAD + ENTRY.replace(HASH, hash_of("failed", 5)))
    verdict = found.judge(about(), [seen, result("a.two", "failed", 5)])
    assert verdict.faults == []
    assert [(name, why.class_, why.link) for name, why in verdict.expected.items()] == [
        ("a.one", "differs", "https://example.org/why")
    ]


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (result("a.one", "passed"), "the divergence has gone: passed; expected no entry for this version"),
        (result("a.one", "not-applicable"), "the divergence has gone: not-applicable; expected no entry"),
        (result("a.one", "failed", 5), f"another observation: {hash_of('failed', 5)}; expected {HASH}"),
        (
            result("a.one", "timed-out"),
            f"another outcome: timed-out with observation {hash_of('timed-out')}; expected failed",
        ),
        (result("a.one", "unsupported", lacking=("gc",)), "another outcome: unsupported with observation "),
    ],
)
def test_what_is_not_as_declared_is_a_fault(seen: Result, fault: str, load: Any) -> None:
    """A divergence that has gone, another outcome and another observation are told, and explain nothing."""
    verdict = load(HEAD + ENTRY).judge(about(), [seen])
    assert verdict.expected == {}
    (told,) = verdict.faults
    assert told.startswith(f"demo.toml: divergence 1 (a.one): a.one: {fault}")


def test_entries_for_what_did_not_run_are_left_alone(load: Any) -> None:
    """Other versions, other profiles and vectors without a result are no fault; another implementation is one."""
    found = load(HEAD + ENTRY)
    assert found.judge(about("8.0.1"), [result("a.one", "passed")]).faults == []
    assert found.judge(about(), [result("a.two", "passed")]).faults == []
    assert found.judge(about(), []).faults == []
    (fault,) = found.judge(about(name="else"), [result("a.one", "failed", 5)]).faults
    assert fault == 'demo.toml: implementation is "demo"; expected "else", as the adapter says'


def test_several_observations_may_be_possible(load: Any) -> None:
    """Where an entry lists several hashes, each of them is as declared, and no other."""
    both = ", ".join(f'"{hash_of("failed", seen)}"' for seen in (1, 2))
    found = load(HEAD + ENTRY.replace(f'"{HASH}"', f"[{both}]"))
    assert [bool(found.judge(about(), [result("a.one", "failed", seen)]).faults) for seen in (1, 2, 3)] == [
        False,
        False,
        True,
    ]


def test_the_digest_is_about_what_applies(load: Any) -> None:
    """Another reason or hash changes it; an entry for another version, or the layout of the file, does not."""
    plain = load(HEAD + ENTRY).digest(about())
    assert plain == load(HEAD + ENTRY + ENTRY.replace("7.3", "8").replace("does so", "does too"), "x.toml").digest(
        about()
    )
    assert plain != load(HEAD + ENTRY.replace("does so", "does too")).digest(about())
    assert plain != load(HEAD + ENTRY.replace(HASH, OTHER)).digest(about())
    assert load(HEAD + ENTRY).digest(about("8")) == load(HEAD).digest(about())


def test_the_digest_of_vectors() -> None:
    """It does not depend on the order of the vectors, nor on that of keys; on everything else it does."""
    one, two = {"id": "a.one", "title": "t"}, {"id": "a.two", "title": "é"}
    assert vectors_digest([one, two]) == vectors_digest([two, {"title": "t", "id": "a.one"}])
    assert vectors_digest([one, two]) != vectors_digest([one, two | {"title": "e"}])
    assert vectors_digest([one]) != vectors_digest([one, two])


def test_a_dotted_key_without_end_is_refused_unread(tmp_path: Path) -> None:
    """Keys of many parts would cost the square of their length in memory; an unknown profile can never apply."""
    file = tmp_path / "deep.toml"
    file.write_text(".".join(["a"] * 20_000) + " = 1")
    with pytest.raises(ValueError, match="nested too deep"):
        load_expectations(file, shipped_ids())
    file.write_text(
        'format = 1\nimplementation = "x"\n[[divergence]]\nclass = "differs"\nversions = ["*"]\nprofiles = ["nope"]\n'
        'outcome = "failed"\nreason = "r"\nlink = "https://example.org/why"\n'
        f'vectors = {{ "{sorted(shipped_ids())[0]}" = "0123456789abcdef" }}\n'
    )
    with pytest.raises(ValueError, match="no profile nope; expected one that"):
        load_expectations(file, shipped_ids())
