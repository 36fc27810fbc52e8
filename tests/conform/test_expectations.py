"""Expectations: files that are read or refused, hashes of observations, verdicts, and what `conform` makes of them."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from capsule_model.cli import run
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
HASH = "0123456789abcdef"
OTHER = "fedcba9876543210"

HEAD = """
format = 1
implementation = "demo"
"""
ENTRY = f"""
[[divergence]]
class = "differs"
versions = ["7.3"]
outcome = "failed"
reason = "It does so."
link = "https://example.org/why"
[divergence.vectors]
"a.one" = "{HASH}"
"""


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


# The command


@pytest.fixture(autouse=True)
def _import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


class Bench:
    """A folder with three vectors, of which one is wrong, and the ways to run them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        new = {"op": "PyCapsule_New", "args": {"pointer": {"ptr": "p"}, "name": {"cstr": "a"}, "destructor": None}}
        get = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "a"}}}
        vectors = [
            {
                "id": f"test.sample.{name}",
                "title": f"{name} is shown",
                "rules": ["PyCapsule_New/returns-capsule"],
                "steps": [{**new, "bind": "c"}, {**get, "expect": {"return": expected}}],
                "leaks": ["c"],
            }
            for name, expected in (("right", {"ptr": "p"}), ("wrong", None), ("wronger", 7))
        ]
        self.vectors = folder / "vectors.json"
        self.vectors.write_text(json.dumps({"format": 1, "vectors": vectors}))

    def conform(self, *options: str) -> tuple[int, list[str], str]:
        """Run the command; return the exit code, the lines of output, and the errors."""
        adapter = () if "--adapter" in options else ("--adapter", f"{CONTROLS} model cpython-3.13")
        code = run(["conform", "--vectors", str(self.vectors), *adapter, *options])
        captured = self._capsys.readouterr()
        return code, [line.strip() for line in captured.out.splitlines()], captured.err

    def drafted(self, *options: str, reason: str = "So it is.") -> Path:
        """Return a file of expectations that explains what a run shows now."""
        draft = self.folder / "draft.toml"
        draft.unlink(missing_ok=True)
        self.conform("--draft", str(draft), *options)
        text = draft.read_text().replace('reason = ""', f'reason = "{reason}"')
        file = self.folder / f"expectations{len(list(self.folder.iterdir()))}.toml"
        file.write_text(text.replace('link = ""', 'link = "https://example.org/why"'))
        return file

    def report(self, *options: str) -> dict[str, Any]:
        """Return the report of a run."""
        file = self.folder / "report.json"
        self.conform("--json", str(file), *options)
        found: dict[str, Any] = json.loads(file.read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Return vectors to run, two of which are wrong."""
    return Bench(tmp_path, capsys)


def test_a_draft_explains_all_once_it_is_filled_in(bench: Bench) -> None:
    """Divergences, hash by hash, become one block: count, reason, link, ids; the implementation conforms."""
    code, lines, _ = bench.conform()
    assert code == 1
    shown = [line.removeprefix("observation ") for line in lines if line.startswith("observation ")]
    file = bench.drafted()
    (entry,) = tomllib.loads(file.read_text())["divergence"]
    assert list(entry["vectors"].values()) == shown
    code, lines, _ = bench.conform("--expectations", str(file))
    assert code == 0
    begin = lines.index("differs: 2 vectors: So it is.")
    assert lines[begin + 1 :] == [
        "https://example.org/why",
        "test.sample.wrong, test.sample.wronger",
        "conformant but for 2 declared divergences (3 vectors)",
    ]


def test_what_is_not_declared_is_shown_in_full(bench: Bench) -> None:
    """Of two divergences the one without an entry is told, with a hash that can be declared."""
    file = bench.drafted()
    text = file.read_text()
    kept = [line for line in text.splitlines() if "test.sample.wronger" not in line]
    file.write_text("\n".join(kept))
    code, lines, _ = bench.conform("--expectations", str(file))
    assert code == 1
    assert "differs: 1 vector: So it is." in lines
    begin = lines.index("failed: test.sample.wronger: wronger is shown")
    told = next(line for line in lines[begin:] if line.startswith("observation "))
    assert told.removeprefix("observation ") in text
    assert not any(line.startswith("failed: test.sample.wrong:") for line in lines)
    assert lines[-1] == "not conformant: 1 failed (3 vectors)"
    draft = bench.folder / "more.toml"
    bench.conform("--expectations", str(file), "--draft", str(draft))
    (entry,) = tomllib.loads(draft.read_text())["divergence"]
    assert entry["vectors"].keys() == {"test.sample.wronger"}


def test_faults_are_told_and_end_with_1(bench: Bench) -> None:
    """A divergence that has gone and another observation are a line each; the report has them."""
    file = bench.drafted()
    text = file.read_text().replace('"test.sample.wrong"', '"test.sample.right"')
    words = text.split('"test.sample.wronger" = "')
    file.write_text(f'{words[0]}"test.sample.wronger" = "{HASH}"\n')
    code, lines, _ = bench.conform("--expectations", str(file))
    assert code == 1
    told = [line for line in lines if line.startswith("expectations: ")]
    place = f"expectations: {file.name}: divergence 1 (test.sample.right): "
    assert told[0] == f"{place}test.sample.right: the divergence has gone: passed; expected no entry for this version"
    assert told[1].startswith(f"{place}test.sample.wronger: another observation: ")
    assert lines[-1] == "not conformant: 2 failed, 2 faults of expectations (3 vectors)"
    report = bench.report("--expectations", str(file))
    assert [f"expectations: {fault}" for fault in report["expectations"]["faults"]] == told
    assert report["summary"]["unexpected"] == 2


def test_a_fault_alone_ends_with_1(bench: Bench) -> None:
    """Where every divergence is explained, one that has gone still is not conformant."""
    file = bench.drafted()
    file.write_text(file.read_text() + f'"test.sample.right" = "{HASH}"\n')
    code, lines, _ = bench.conform("--expectations", str(file))
    assert (code, lines[-1]) == (1, "not conformant: 1 fault of expectations (3 vectors)")


def test_of_two_files_the_later_holds(bench: Bench) -> None:
    """Given twice, a vector has the reason of the last file."""
    first, second = bench.drafted(reason="First."), bench.drafted(reason="Second.")
    second.write_text("\n".join(line for line in second.read_text().splitlines() if 'sample.wrong"' not in line))
    report = bench.report("--expectations", str(first), "--expectations", str(second))
    assert [vector.get("expected", {}).get("reason") for vector in report["vectors"]] == [None, "First.", "Second."]
    assert report["expectations"]["files"] == [first.name, second.name]


def test_the_report_has_all_of_it(bench: Bench) -> None:
    """The JSON has the specification, the expectations, the counts, and a vector a line with its observation."""
    file = bench.drafted()
    raw = bench.report()
    report = bench.report("--expectations", str(file))
    vectors = json.loads(bench.vectors.read_text())["vectors"]
    assert report["specification"]["vectors"] == vectors_digest(vectors)
    assert report["expectations"]["files"] == [file.name]
    assert report["expectations"]["digest"] != raw["expectations"]["digest"]
    assert report["summary"]["expected"] == {"by-design": 0, "differs": 2, "crash": 0, "unsupported": 0}
    assert (raw["summary"]["unexpected"], report["summary"]["unexpected"]) == (2, 0)
    assert raw["summary"]["failed"] == report["summary"]["failed"] == 2
    right, wrong, _ = report["vectors"]
    assert "observation" not in right
    assert wrong["expected"] == {"class": "differs", "reason": "So it is.", "link": "https://example.org/why"}
    assert wrong["observation"] == raw["vectors"][1]["observation"]
    lines = (bench.folder / "report.json").read_text().splitlines()
    assert [json.loads(line.strip().rstrip(",")) for line in lines if line.startswith("  {")] == report["vectors"]


def test_no_expectations_shows_the_raw_picture(bench: Bench) -> None:
    """The option is not to be had together with files, and leaves nothing declared."""
    file = bench.drafted()
    code, _, error = bench.conform("--expectations", str(file), "--no-expectations")
    assert code == 2
    assert error == ("capsule-model: --expectations and --no-expectations exclude each other; expected one of them\n")
    assert bench.conform("--no-expectations")[0] == 1


def test_shipped_expectations_apply_by_themselves(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the implementation's name is applied, unless it is held to another profile or nothing is wanted."""
    (bench.folder / "expectations").mkdir()
    shipped = bench.drafted(reason="Shipped.").rename(bench.folder / "expectations" / "capsule-model.toml")
    real = specs()
    for name in ("formats", "vectors"):
        (bench.folder / name).symlink_to(real / name)
    monkeypatch.setattr(expectations, "specs", lambda: bench.folder)
    assert bench.conform()[0] == 0
    assert bench.report()["expectations"]["files"] == [shipped.name]
    assert bench.conform("--no-expectations")[0] == 1
    code, lines, _ = bench.conform("--profile", "cpython-3.9")
    assert code == 1
    assert lines[0].endswith("profile cpython-3.9 (not its own, so that no shipped expectation applies)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + ENTRY, "e.toml: divergence 1 (a.one): no vector a.one; expected "),
        (HEAD, 'e.toml: implementation is "demo"; expected "capsule-model", as the adapter says'),
        ("format =", "e.toml: not TOML: "),
        (HEAD + ENTRY.replace("It does so.", ""), 'reason: found ""; expected a sentence or two that say why'),
        (
            HEAD + ENTRY.replace("a.one", "capsule.new.nul-name"),
            "no vector capsule.new.nul-name; expected capsule.new.",
        ),
    ],
)
def test_bad_expectations_are_bad_input(text: str, message: str, bench: Bench) -> None:
    """Before anything is run, one line says what is wrong, and the exit code is 2."""
    file = bench.folder / "e.toml"
    file.write_text(text)
    code, lines, error = bench.conform("--expectations", str(file))
    assert (code, lines) == (2, [])
    assert message in error
    assert error.count("\n") == 1


def test_entries_for_shipped_vectors_that_were_not_run(bench: Bench) -> None:
    """With other vectors an entry for a shipped one is left alone."""
    file = bench.drafted()
    shipped = sorted(shipped_ids())[0]
    file.write_text(file.read_text() + f'"{shipped}" = "{HASH}"\n')
    assert bench.conform("--expectations", str(file))[0] == 0


def test_a_draft_that_cannot_be_written(bench: Bench) -> None:
    """A folder that does not exist is told before anything is run."""
    code, lines, error = bench.conform("--draft", "/no/such/folder/x.toml")
    assert (code, lines) == (2, [])
    assert error == (
        "capsule-model: --draft /no/such/folder/x.toml: no such folder; expected a file in one that exists\n"
    )


def test_crashes_and_lacks(bench: Bench) -> None:
    """A process that dies is a crash whatever it says; unsupported vectors need no entry, but may have a reason."""
    target = "test.sample.wrong"
    dying = ("--adapter", f"{MISBEHAVING} signal {target}")
    file = bench.drafted(*dying)
    entries = tomllib.loads(file.read_text())["divergence"]
    assert [(entry["class"], entry["outcome"]) for entry in entries] == [("differs", "failed"), ("crash", "crashed")]
    assert bench.conform(*dying, "--expectations", str(file))[0] == 0
    code, lines, _ = bench.conform("--adapter", f"{MISBEHAVING} exit {target}", "--expectations", str(file))
    assert code == 1
    assert any("another observation: " in line for line in lines)

    null = ("--adapter", f"{CONTROLS} null")
    lacking = bench.drafted(*null)
    code, lines, _ = bench.conform(*null, "--expectations", str(lacking))
    assert (code, lines[-1]) == (1, "not conformant: nothing passed (3 vectors)")
    assert "unsupported: 3 vectors: So it is." in lines
    assert bench.report(*null)["summary"]["unexpected"] == 0


def test_a_hostile_adapter_cannot_spoil_a_draft(bench: Bench) -> None:
    """What an adapter calls itself and shows is quoted, so that the draft stays TOML and says nothing else."""
    hostile = 'x"\n[[divergence]]\x1b[31m\u2028\\'
    answer = {"implementation": hostile, "version": f"{hostile} 1", "profile": "cpython-3.13", "protocol": 1}
    script = bench.folder / "hostile.py"
    script.write_text(
        "import json, sys\n"
        "from capsule_model.trace.contract import operations\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        f"    answer = {answer!r} | {{'ops': sorted(operations()), 'features': []}}\n"
        "    if request['cmd'] == 'run':\n"
        f"        answer = {{'error': {hostile!r}}}\n"
        "    if request['cmd'] == 'stop':\n"
        "        answer = {'stopped': True}\n"
        "    print(json.dumps(answer | {'seq': request['seq']}), flush=True)\n"
    )
    draft = bench.folder / "draft.toml"
    assert bench.conform("--adapter", f"{sys.executable} {script}", "--draft", str(draft))[0] == 1
    document = tomllib.loads(draft.read_text())
    (entry,) = document["divergence"]
    assert entry["outcome"] == "errored"
    assert entry["versions"] == ["*"]
    assert "\x1b" not in draft.read_text()


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
