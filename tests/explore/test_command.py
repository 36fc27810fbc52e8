"""The command: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capsule_model import capsule
from capsule_model.cli import run
from capsule_model.conform.commands import known_names
from capsule_model.explore.bound import Bound
from capsule_model.explore.invariants import INVARIANTS
from capsule_model.explore.report import part
from capsule_model.explore.search import explore
from capsule_model.fuzz.lockstep import this_interpreter
from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.trace.execute import run as run_vector
from capsule_model.trace.files import load
from capsule_model.trace.schema import Validator

RESULT = specs() / "results" / "explore.json"
NEW_FAILS = "PyCapsule_New called with null pointer"
QUICK = ["explore", "--names", "NULL", "--names", "a", "--pointers", "1", "--jobs", "1"]


def schema() -> dict[str, Any]:
    """Return the schema of the report."""
    found: dict[str, Any] = json.loads((specs() / "formats" / "explore.schema.json").read_text("utf-8"))
    return found


def faults(document: Any) -> list[Any]:
    """Return what is wrong with a report."""
    return list(Validator(schema()).faults(document, 5))


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SetContext store nothing, and return 0 all the same."""

    def PyCapsule_SetContext(py: Any, op: int, context: int) -> int:
        struct = _is_legal_capsule(py, op, "PyCapsule_SetContext")  # type: ignore[name-defined] # noqa: F821
        return -1 if struct is None else 0

    monkeypatch.setattr(capsule.PyCapsule_SetContext, "__code__", PyCapsule_SetContext.__code__)


def test_it_says_what_was_covered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bound, levels and outcome are printed, and the report has the same counts, those of threads included."""
    file = tmp_path / "report.json"
    assert run([*QUICK, "--depth", "2", "--threads", "2", "--thread-depth", "2", "--json", str(file)]) == 0
    document = json.loads(file.read_text("utf-8"))
    assert faults(document) == []
    printed = capsys.readouterr().out
    assert printed.startswith('cpython-3.13, 2 capsules, names NULL "a", 1 pointer, 1 context, destructors NULL record')
    for one in (document, *document["threads"]):
        totals = one["totals"]
        assert f"{totals['states']:,} states and {totals['transitions']:,} transitions" in printed
        assert one["covered"] == one["bound"]["depth"] == 2
    assert [one["bound"]["threads"] for one in document["threads"]] == [2]
    assert f"all {len(INVARIANTS)} invariants hold" in printed
    assert not any(one["broken"] for one in document["invariants"])


def test_a_broken_invariant_is_shown(forgetful: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1; lines to read, the report and a vector file have the shortest program."""
    report, vectors = tmp_path / "report.json", tmp_path / "vectors.json"
    assert run([*QUICK, "--depth", "2", "--json", str(report), "--vectors", str(vectors)]) == 1
    printed = capsys.readouterr().out.splitlines()
    start = printed.index("broken: setter-stores: A setter that succeeds stores its word.")
    assert printed[start + 1 : start + 4] == [
        "  c1 = PyCapsule_New(p1, NULL, NULL)",
        "  PyCapsule_SetContext(c1, k1)",
        "  it stores NULL, and was given k1",
    ]
    document = json.loads(report.read_text("utf-8"))
    assert faults(document) == []
    (found,) = document["counterexamples"]
    assert (found["invariant"], found["length"]) == ("setter-stores", 2)
    loaded = load(vectors, known_names())
    assert [str(problem) for problem in loaded.problems] == []
    assert [vector["id"] for vector in loaded.vectors] == ["explore.setter-stores"]


def test_a_counterexample_runs_on_a_model_without_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its vector does the same steps there, and the last one shows what is right."""
    file = tmp_path / "report.json"
    with monkeypatch.context() as broken:
        broken.setattr(capsule.PyCapsule_IsValid, "__code__", (lambda py, capsule, name: 1).__code__)
        assert run([*QUICK, "--depth", "2", "--json", str(file)]) == 1
    found = {one["invariant"]: one["vector"] for one in json.loads(file.read_text("utf-8"))["counterexamples"]}
    seen = run_vector(found["null-is-never-valid"], PROFILES["cpython-3.13"])
    assert [step["return"] for step in seen.steps] == [0]


def here() -> str:
    """Return the profile of this interpreter, if it can be held against the model."""
    try:
        return this_interpreter()[0].name
    except ValueError as reason:
        pytest.skip(str(reason))


def test_the_real_interpreter_does_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every transition is made on this interpreter, too, but undefined ones and the address of a dead capsule."""
    profile, file = here(), tmp_path / "report.json"
    bound = ["--names", "NULL", "--pointers", "1", "--contexts", "0", "--destructors", "drop"]
    assert run(["explore", "--depth", "6", *bound, "--jobs", "1", "--real", "--json", str(file)]) == 0
    document = json.loads(file.read_text("utf-8"))
    assert faults(document) == []
    real, totals = document["real"], document["totals"]
    assert document["profile"] == real["profile"] == profile
    assert real["transitions"] + real["left_out"] == totals["transitions"] - totals["undefined"] - totals["aborted"]
    assert real["left_out"] == 12
    assert real["divergences"] == []
    assert f"held against this {profile}: {real['transitions']:,} transitions" in capsys.readouterr().out


def test_a_difference_from_the_real_interpreter_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What breaks no invariant is noticed there: the exit code is 1, and a vector ends where it shows."""
    here()
    code = capsule.PyCapsule_New.__code__
    texts = tuple("PyCapsule_New called with NULL" if one == NEW_FAILS else one for one in code.co_consts)
    assert texts != code.co_consts
    monkeypatch.setattr(capsule.PyCapsule_New, "__code__", code.replace(co_consts=texts))
    file = tmp_path / "report.json"
    assert run([*QUICK, "--depth", "1", "--real", "--json", str(file)]) == 1
    document = json.loads(file.read_text("utf-8"))
    assert document["counterexamples"] == []
    (vector,) = document["real"]["divergences"]
    assert vector["steps"][-1]["op"] == "PyCapsule_New"
    assert NEW_FAILS in capsys.readouterr().out


def test_a_bound_that_is_too_large(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 1 and says how far it came."""
    assert run([*QUICK, "--depth", "9", "--limit", "50"]) == 1
    assert "every sequence of at most 1 operation, of 9 wanted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--depth", "65"], "--depth: 65, expected 0 to 64"),
        (["--capsules", "0"], "--capsules: 0, expected 1 to 3"),
        (["--pointers", "9"], "--pointers: 9, expected 1 to 4"),
        (["--destructors", "explode"], "unknown destructor 'explode': expected one of record, rename, leave, drop"),
        (["--names", "x" * 101], "is no C string"),
        (["--names", "\udcff"], "is no C string in UTF-8"),
        (["--profile", "cpython-2.7"], "unknown profile 'cpython-2.7'"),
        (["--threads", "2", "--thread-profile", "cpython-3.13"], "expected a free-threaded profile"),
        (["--threads", "0"], "0 is not in the range 2<=x<=3"),
        (["--threads", "4"], "4 is not in the range 2<=x<=3"),
        (["--jobs", "0"], "--jobs"),
        (["--real", "--profile", "cpython-3.9-debug"], "--real under cpython-3.9-debug: expected cpython-"),
    ],
)
def test_bad_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 2 and one line that says what would be right."""
    assert run(["explore", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is one line, too."""
    assert run([*QUICK, "--depth", "0", "--json", str(tmp_path / "absent" / "file.json")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_rules_are_of_the_chapters() -> None:
    """Every invariant follows from rules that there are, and no two have one id."""
    known = known_names().rules
    assert known is not None
    assert [rule for one in INVARIANTS for rule in one.rules if rule not in known] == []
    assert len({one.id for one in INVARIANTS}) == len(INVARIANTS) >= 15


def test_text_schema_and_index_agree() -> None:
    """Each key of the report has its row in the text, and the index has both files."""
    text = (specs() / "formats" / "explore.md").read_text("utf-8")
    found = schema()
    keys = [
        *found["properties"],
        *found["$defs"]["bound"]["properties"],
        *found["$defs"]["counterexample"]["properties"],
    ]
    assert [key for key in keys if f"`{key}`" not in text] == []
    assert "](explore.schema.json)" in text
    index = (specs() / "formats" / "README.md").read_text("utf-8")
    assert "| 1 | [explore.md](explore.md) | [explore.schema.json](explore.schema.json) |" in index


def test_the_committed_counts_are_whole() -> None:
    """Two capsules, three names, two pointers, three scripts or more were covered to depth 8, and nothing is broken."""
    document = json.loads(RESULT.read_text("utf-8"))
    assert faults(document) == []
    bound = document["bound"]
    assert (document["covered"], bound["depth"], bound["capsules"], bound["pointers"]) == (8, 8, 2, 2)
    assert {None, ""} < set(bound["names"])
    assert len(bound["names"]) == 3
    assert len(bound["destructors"]) >= 3
    assert [one["id"] for one in document["invariants"]] == [one.id for one in INVARIANTS]
    assert [one["rules"] for one in document["invariants"]] == [list(one.rules) for one in INVARIANTS]
    assert {one["bound"]["threads"] for one in document["threads"]} == {2, 3}
    for one in (document, *document["threads"]):
        assert one["counterexamples"] == []
        assert [level["depth"] for level in one["levels"]] == list(range(one["covered"] + 1))
        assert sum(one["alphabet"].values()) == one["totals"]["transitions"]
        for key, total in one["totals"].items():
            assert sum(level[key] for level in one["levels"]) == total


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_committed_counts_are_those_of_today(number: int) -> None:
    """The first levels, and with them the alphabet, come out the same when they are explored again."""
    document = json.loads(RESULT.read_text("utf-8"))
    one = [document, *document["threads"]][number]
    depth = 3
    bound = Bound(one["profile"], **{**one["bound"], "depth": depth, "names": tuple(one["bound"]["names"])})
    again = part(explore(bound), [])
    assert again["levels"] == one["levels"][: depth + 1]
    assert again["alphabet"].keys() == one["alphabet"].keys()


def test_the_committed_report_is_that_of_its_command() -> None:
    """The bounds in the file are those that the command has by default, so that anybody can make it again."""
    document = json.loads(RESULT.read_text("utf-8"))
    assert document["bound"] == Bound(depth=8).as_json()
    assert document["profile"] == Bound().profile
