"""Expectations of an audit: files that are read or refused, hashes, verdicts and drafts."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audit_samples import HOSTILE, LINK, audit, finding, hostile, report, result, sample

from capsule_model.locate import specs
from capsule_model.trace.schema import Validator
from dlpack_model.audit.draft import draft, drafts
from dlpack_model.audit.expected import Expected, Known, finding_hash, finding_id, judge, known_key, load_expected
from dlpack_model.audit.outcome import Report

HASH = "0123456789abcdef"
OTHER = "fedcba9876543210"
HEAD = 'format = 1\nlibrary = "numpy"\n'
ENTRY = f"""
[[finding]]
versions = ["2.4"]
reason = "It does so."
link = "{LINK}"
[finding.findings]
"numpy-copy-false" = "{HASH}"
"""


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Return a function that loads a text as a file of expectations."""

    def loaded(text: str, name: str = "numpy.toml") -> Expected:
        file = tmp_path / name
        file.write_text(text, "utf-8")
        return load_expected(file)

    return loaded


def declared(load: Any, text: str = ENTRY, seen: str | None = None) -> list[Expected]:
    """Return expectations that declare the sample's finding, with the hash that it has."""
    return [load(HEAD + text.replace(HASH, finding_hash(finding()) if seen is None else seen))]


# Hashes


def test_the_hash_is_that_of_the_format() -> None:
    """Committed hashes stay valid: the text of the format says what is in them."""
    assert finding_hash(finding(cases=("b", "a"))) == "f750a73c62a50014"
    assert finding_hash(finding(seen="128 MiB at 0x1234 after 0.25 seconds")) == "44910751623d6f93"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<capsule object at 0x7f0012345678>", "<capsule object at 0x55aa>"),
        ("[1, 139872364123]", "[1, 94872364]"),
        ("cannot load /usr/lib/python3/x.py", "cannot load /opt/other/y.py"),
        ("no answer within 10.5 seconds", "no answer within 9 s"),
        ("it took 3 ms", "it took 1500µs"),
        ("128 capsules, and 117 MiB are left", "128 capsules, and 96 MiB are left"),
    ],
)
def test_what_changes_from_run_to_run_is_not_in_the_hash(one: str, other: str) -> None:
    """Addresses, long numbers, paths, durations and measured memory make no other observation."""
    assert finding_hash(finding(seen=one)) == finding_hash(finding(seen=other))


def test_what_a_user_reads_is_not_in_the_hash() -> None:
    """Version, script, what it said, the rule's wording and the order of cases may change."""
    plain = finding(cases=("int64", "float64"))
    other = replace(plain, version="3", script="", shown="x", text="", level="MAY", cases=("float64", "int64", "int64"))
    assert finding_hash(plain) == finding_hash(other)


@pytest.mark.parametrize(
    "changed",
    [{"rule": "from_dlpack/copy-true"}, {"severity": "leak"}, {"seen": "the deleter ran 2 times"}, {"cases": ("a",)}],
)
def test_what_tells_findings_apart_is_in_the_hash(changed: dict[str, Any]) -> None:
    """Another rule, severity, case or another small number is another observation."""
    plain = finding(seen="the deleter ran 0 times")
    assert finding_hash(plain) != finding_hash(replace(plain, **changed))


def test_hostile_texts_have_a_hash() -> None:
    """Half a surrogate pair and control characters are hashed like any text."""
    assert len({finding_hash(one) for one in hostile().findings()}) == 3


# Files


def test_a_file_is_read(load: Any) -> None:
    """Entries have reason and link, and one hash or several by finding; the reason is on one line."""
    found = load(HEAD + ENTRY.replace("It does so.", "It\\n does  so.") + f'"numpy-device" = ["{HASH}", "{OTHER}"]\n')
    (entry,) = found.entries
    assert found.library == "numpy"
    assert entry.why == Known("It does so.", LINK)
    assert entry.findings == {"numpy-copy-false": (HASH,), "numpy-device": (HASH, OTHER)}
    assert load(HEAD).entries == ()


FAULTS = [
    ("x = ", "not TOML: Invalid value (at end of document); expected"),
    ("a = " + "[" * 9999, "nested too deep; expected at most 64 levels"),
    ("a = " + "[" * 80 + "]" * 80, "nested too deep; expected at most 64 levels"),
    (".".join(["a"] * 20_000) + " = 1", "nested too deep; expected at most 64 levels"),
    ("library = 'numpy'", 'expected the key "format"'),
    (HEAD.replace("1", "2"), "format: found 2; expected 1"),
    (HEAD.replace("1", "true"), "format: found true; expected 1"),
    (HEAD.replace('"numpy"', "1979-05-27"), "library: found 1979-05-27; expected"),
    (HEAD.replace('"numpy"', '""'), 'library: found ""; expected the name that the audit gives'),
    (HEAD + "findings = 1", 'unknown key "findings"; expected only format, library, finding'),
    (HEAD + "finding = [1]", "finding 1: found 1; expected an object"),
    (
        HEAD + ENTRY.replace("link =", "outcome = 1\nlink ="),
        'finding 1 (numpy-copy-false): unknown key "outcome"; expected only versions, reason, link, findings',
    ),
    (
        HEAD + ENTRY.replace("It does so.", ""),
        'finding 1 (numpy-copy-false): reason: found ""; expected a sentence or two that say why',
    ),
    (HEAD + ENTRY.replace("It does so.", " \\t"), "reason: found"),
    (HEAD + ENTRY.replace('reason = "It does so."', ""), 'expected the key "reason"'),
    (HEAD + ENTRY.replace("https:", "ftp:"), "link: found"),
    (HEAD + ENTRY.replace(LINK, ""), 'link: found ""; expected the http or https address'),
    (HEAD + ENTRY.replace('["2.4"]', '"2.4"'), 'versions: found "2.4"; expected a list of beginnings'),
    (HEAD + ENTRY.replace('["2.4"]', "[]"), "versions: found []; expected a list of beginnings"),
    (HEAD + ENTRY.replace('["2.4"]', '["2.*"]'), 'versions: found "2.*"; expected a list of beginnings'),
    (HEAD + ENTRY.replace(HASH, HASH.upper()), "expected 16 hex digits as audit shows them"),
    (HEAD + ENTRY.replace(f'"{HASH}"', "[]"), "numpy-copy-false: found []; expected 16 hex digits"),
    (HEAD + ENTRY.replace(f'"{HASH}"', str([HASH[:15] + d for d in "0123456789abcdef0"])), "expected 16 hex digits"),
    (HEAD + ENTRY.replace("numpy-copy-false", "../numpy"), "finding 1 (../numpy): "),
    (
        HEAD + ENTRY.replace("numpy-copy", "torch-copy"),
        "finding 1 (torch-copy-false): torch-copy-false is no finding of numpy; expected numpy-…",
    ),
    (
        HEAD + ENTRY + ENTRY.replace("2.4", "2.4.6"),
        "finding 2 (numpy-copy-false): numpy-copy-false is in finding 1 (numpy-copy-false), too, for version 2.4.6",
    ),
    (HEAD + ENTRY + ENTRY.replace("2.4", "*"), "for version *; expected every finding once a version"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_a_bad_file_is_one_line(text: str, message: str, load: Any, tmp_path: Path) -> None:
    """What is wrong is said with the file, the entry and what would be right."""
    with pytest.raises(ValueError, match=r"numpy\.toml") as error:
        load(text)
    told = str(error.value)
    assert told.startswith(f"{tmp_path / 'numpy.toml'}: ")
    assert message in told
    assert "\n" not in told
    assert len(told) < 1000


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """No file, a folder, too large a file and one that is not UTF-8 are one line each."""
    file = tmp_path / "e.toml"
    for content, message in (
        (None, "no such file; expected expectations of an audit in TOML"),
        (b"#" * (1024 * 1024 + 1), "larger than 1048576 bytes"),
        (b"# \xff", "byte 2 is not UTF-8"),
    ):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_expected(file)
    with pytest.raises(ValueError, match="no such file"):
        load_expected(tmp_path)


# Verdicts


def test_a_declared_finding_is_known(load: Any) -> None:
    """Library, version and hash as declared: the finding is known, with reason and link."""
    shown = report(audit(finding()))
    verdict = judge(declared(load), shown)
    assert verdict.faults == ()
    assert verdict.known == {known_key(finding()): Known("It does so.", LINK)}
    assert judge([], shown).known == {}


def gone(*results: Any) -> Report:
    """Return a report without findings."""
    return report(audit(results=results))


def test_a_finding_that_has_gone_is_a_fault(load: Any) -> None:
    """The probe ran, in this version, and found nothing: the entry has to go; a longer id may name a probe, too."""
    told = "numpy.toml: finding 1 (numpy-copy-false): 2.4.6: numpy-copy-false: the finding has gone: "
    assert judge(declared(load), gone(result("copy-false"))).faults == (
        f"{told}kept; expected no entry for this version",
    )
    both = gone(result("copy-false", case="a"), result("copy-false", "unconfirmed", case="b"))
    assert judge(declared(load), both).faults == (f"{told}kept, unconfirmed; expected no entry for this version",)
    assert len(judge(declared(load), gone(result("copy"))).faults) == 1


def test_what_was_not_looked_at_is_left_alone(load: Any) -> None:
    """Another version, another library, a probe that did not run or is unsupported: nothing is known, nothing wrong."""
    expected = declared(load)
    for shown in (
        report(audit(version="2.40", results=[result("copy-false")])),
        report(audit(library="jax", results=[result("copy-false")])),
        gone(result("copy-true")),
        gone(result("copy-f")),
        gone(result("copy-false", "unsupported")),
        gone(result("copy"), result("copy-false", "unsupported")),
        gone(),
    ):
        assert judge(expected, shown) == judge([], shown)


def test_another_observation_is_a_fault(load: Any) -> None:
    """Another hash is told with the one that is declared, and the finding is not known."""
    verdict = judge(declared(load, seen=HASH), report(audit(finding())))
    seen = finding_hash(finding())
    told = "numpy.toml: finding 1 (numpy-copy-false): 2.4.6: numpy-copy-false: another observation: "
    assert verdict.faults == (f"{told}{seen}; expected {HASH}",)
    assert verdict.known == {}
    several = declared(load, ENTRY.replace(f'"{HASH}"', f'["{OTHER}", "{seen}"]'))
    assert judge(several, report(audit(finding()))).faults == ()


def test_one_version_on_two_interpreters(load: Any) -> None:
    """A finding that is as declared on one Python and not on another is not known; the fault is told once."""
    odd = finding(seen="something else")
    shown = report(audit(finding()), audit(odd, python="3.13"), audit(odd, python="3.14"))
    verdict = judge(declared(load), shown)
    assert verdict.known == {}
    assert len(verdict.faults) == 1


def test_the_later_file_holds(load: Any) -> None:
    """Of two files with an entry for a finding the later one counts; others are left as they are."""
    first, second = declared(load, seen=HASH), declared(load, ENTRY.replace("It does so.", "Mine."))
    verdict = judge([*first, *second], report(audit(finding())))
    assert [why.reason for why in verdict.known.values()] == ["Mine."]
    assert verdict.faults == ()
    assert judge([*second, *first], report(audit(finding()))).known == {}


def test_ids_are_names_of_files() -> None:
    """Library and probe in one, whatever they are made of."""
    assert finding_id("numpy", "copy-false") == "numpy-copy-false"
    assert finding_id("apache_tvm_ffi", "DLPack/X: y") == "apache-tvm-ffi-dlpack-x-y"
    assert set(finding_id("x", HOSTILE)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_a_library_with_an_underscore_can_be_declared(load: Any) -> None:
    """The beginning of an id is the library's name as ids have it."""
    text = (HEAD + ENTRY).replace("numpy-", "my-lib-").replace('"numpy"', '"my_lib"')
    one = finding("my_lib", id="my-lib-copy-false")
    expected = load(text.replace(HASH, finding_hash(one)))
    assert known_key(one) in judge([expected], report(audit(one, library="my_lib"))).known


# Drafts


def faults_of(document: Any) -> set[tuple[str | int, ...]]:
    """Return the places at which the schema finds a document wrong."""
    schema = json.loads((specs() / "formats" / "audit-expectations.schema.json").read_text())
    return {path[2:] for path, _ in Validator(schema).faults(document, 99)}


def test_a_draft_wants_reasons(load: Any) -> None:
    """A draft is no valid file until a person has filled in reasons and links; then everything is known."""
    found = drafts(sample(), {})
    assert list(found) == ["numpy", "torch", "jax"]
    assert faults_of(tomllib.loads(found["jax"])) == {("reason",), ("link",)}
    with pytest.raises(ValueError, match=r'\(jax-null-deleter\): (reason|link): found ""'):
        load(found["jax"], "jax.toml")
    filled = [
        load(text.replace('reason = ""', 'reason = "So."').replace('link = ""', f'link = "{LINK}"'), f"{name}.toml")
        for name, text in found.items()
    ]
    verdict = judge(filled, sample())
    assert verdict.faults == ()
    assert verdict.known.keys() == {known_key(one) for one in sample().findings()}
    assert "[[finding]]" not in "".join(drafts(sample(), verdict.known).values())


def test_a_draft_has_an_entry_for_what_differs() -> None:
    """Versions that show the same share an entry; on one version all observations stand in one."""
    same, new = finding(version="2.3 (built here)"), finding(version="2.4.6")
    odd = finding(version="2.5", seen="else")
    shown = report(*(audit(one, version=one.version) for one in (same, new, odd, replace(odd, seen="more"))))
    entries = tomllib.loads(draft(shown, {}))["finding"]
    assert [entry["versions"] for entry in entries] == [["2.3", "2.4.6"], ["2.5"]]
    assert entries[0]["findings"] == {"numpy-copy-false": finding_hash(new)}
    assert len(entries[1]["findings"]["numpy-copy-false"]) == 2


def test_a_draft_is_about_one_library() -> None:
    """For several libraries there are several files; asked for one, that is said."""
    with pytest.raises(ValueError, match="the report is about numpy, torch, jax; a draft is about one library"):
        draft(sample(), {})
    with pytest.raises(ValueError, match="about no library"):
        draft(report(), {})


def test_a_hostile_draft_is_toml() -> None:
    """Names and texts that a library made up break no line of it."""
    for text in drafts(hostile(), {}).values():
        assert all(character.isprintable() or character == "\n" for character in text)
        assert tomllib.loads(text)["format"] == 1
