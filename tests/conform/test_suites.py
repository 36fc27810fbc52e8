"""A second suite of vectors beside `capsule`: the commands that know it, and those that do not change for it."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import suite_samples
from rich.console import Console
from suite_samples import ARRAY, DEVICE, FIELDS, SAVE, SETTLE, VALUES, vector
from vector_samples import ROOT, Fake, results

from capsule_model import rules, suites
from capsule_model.cli import run
from capsule_model.conform import check as check_module
from capsule_model.conform import matrix as matrix_module
from capsule_model.conform import test_vectors
from capsule_model.conform.answers import Misbehaviour, ran
from capsule_model.conform.check import check, findings_of_suites
from capsule_model.conform.commands import known_names
from capsule_model.conform.rename import renamed, renaming_of
from capsule_model.conform.specification import read_rules, rules_about
from capsule_model.conform.words import call_text, event_text, value_text
from capsule_model.locate import specs
from capsule_model.trace.extensions import extension
from capsule_model.trace.files import Loaded, Problem, load
from capsule_model.trace.meaning import Known
from capsule_model.undefined import Kind

CHAPTER = """# Arrays

### dlpack.array/returns-object

- **Level:** MUST
- **Source:** observed

An array is an object. It may have any values.

- **Vectors:** none

### dlpack.array/empty

- **Level:** MAY
- **Source:** observed

An array may be empty.

- **Vectors:** none

### dlpack.array/thirteen

- **Level:** UNDEFINED
- **Source:** observed

Thirteen is no value.

- **Vectors:** none
"""
EMPTY = vector(
    ARRAY | {"args": {"dtype": "int32", "shape": []}, "expect": {"return": {"ref": "a#2"}}},
    id="dlpack.sample.empty",
    rules=["dlpack.array/empty"],
    leaks=["a", "a#2"],
)
THIRTEEN = vector(
    ARRAY | {"args": ARRAY["args"] | {"values": [13]}, "expect": {"undefined": "double-free", "of": "a#2"}},
    id="dlpack.sample.thirteen",
    rules=["dlpack.array/thirteen"],
)
AWAY = vector(SAVE, SETTLE | {"expect": {"undefined": "no-thread-state"}}, id="dlpack.sample.away")
VECTORS = [vector(DEVICE, VALUES, FIELDS), EMPTY, THIRTEEN, AWAY]
QUIET: dict[str, Any] = {"error": None, "indicator": "clear", "events": []}


def tree(root: Path, *vectors: Any) -> Path:
    """Return a specification that is the shipped one, with the stand-in's chapter and vectors as the suite `dlpack`."""
    folder = root / "specs"
    (folder / "vectors").mkdir(parents=True)
    for name in ("formats", "adapters", "expectations", "capsule", "vectors/capsule"):
        (folder / name).symlink_to(specs() / name)
    if vectors:
        for made in (folder / "dlpack", folder / "vectors" / "dlpack"):
            made.mkdir()
        (folder / "dlpack" / "arrays.md").write_text(CHAPTER)
        (folder / "vectors" / "dlpack" / "arrays.json").write_text(json.dumps({"format": 1, "vectors": vectors}))
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dlpack: None) -> Path:
    """Return a specification with the suite `dlpack`, which the commands find."""
    found = tree(tmp_path, *VECTORS)
    monkeypatch.setattr(suites, "specs", lambda: found)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return found


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], str]:
    """Return exit code, lines and error output of the command line."""
    code = run(words)
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def test_conform_runs_the_suite(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its vectors and their copies run on the adapter that its extension names, and its rules are counted."""
    file = tmp_path / "report.json"
    code, lines, error = told(capsys, "conform", "--suite", "dlpack", "--json", str(file))
    assert (code, error) == (0, "")
    assert lines[0] == "capsule-model control, profile cpython-3.13"
    assert lines[1] == "rules reached: 2 of 2 (100 %)"
    assert lines[-1] == "conformant (4 vectors)"
    outcomes = {entry["id"]: entry["outcome"] for entry in json.loads(file.read_text())["vectors"]}
    assert outcomes == {
        "dlpack.sample.array": "passed",
        "dlpack.sample.empty": "passed",
        "dlpack.sample.thirteen": "undefined",
        "dlpack.sample.away": "undefined",
    }


def test_an_adapter_without_the_feature(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped adapter claims none of it: all is unsupported, which is no conformance."""
    code, lines, _ = told(
        capsys, "conform", "--suite", "dlpack", "--adapter", f"{sys.executable} {specs()}/adapters/ctypes_adapter.py"
    )
    assert code == 1
    assert "  lacks dlpack (2 vectors)" in lines
    assert lines[-1].startswith("not conformant: nothing passed")


def test_an_extension_without_an_adapter(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default is the ctypes adapter then."""
    monkeypatch.setattr(suite_samples, "EXTENSION", replace(suite_samples.EXTENSION, adapter=()))
    extension.cache_clear()
    assert told(capsys, "conform", "--suite", "dlpack")[1][0].startswith("cpython ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--suite", "dlpack", "--vectors", "x.json"],
            "--suite and --vectors exclude each other; expected one of them",
        ),
        (["--suite", "numpy"], "Invalid value for '--suite': 'numpy' is not one of 'capsule', 'dlpack', 'layers'."),
        (["--suite", "dlpack"], "--suite dlpack: no folder "),
    ],
)
def test_bad_usage(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both options, an unknown suite and one whose folder is not there are one line and exit code 2."""
    found = tree(tmp_path)
    monkeypatch.setattr(suites, "specs", lambda: found)
    code, lines, error = told(capsys, "conform", *words)
    assert (code, lines) == (2, [])
    assert error.startswith(f"capsule-model: {message}")
    assert error.count("\n") == 1


@pytest.mark.usefixtures("folder", "no_dlpack")
def test_a_model_that_is_not_installed(capsys: pytest.CaptureFixture[str]) -> None:
    """It is one line that names the package."""
    code, lines, error = told(capsys, "conform", "--suite", "dlpack")
    assert (code, lines) == (2, [])
    assert error == ("capsule-model: --suite dlpack: its model is not installed; expected the package dlpack_model\n")


def test_the_suite_capsule_is_what_it_was(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another beside it, it is the default, its digest and rules are the same, and nothing is imported."""
    broken = ModuleType("dlpack_model.vectors")
    monkeypatch.setattr(broken, "__getattr__", lambda name: pytest.fail("imported"), raising=False)
    monkeypatch.setitem(sys.modules, "dlpack_model.vectors", broken)
    extension.cache_clear()
    file = tmp_path / "report.json"
    null = f"{sys.executable} -m capsule_model.conform.controls null cpython-3.13"
    assert told(capsys, "conform", "--adapter", null, "--json", str(file))[0] == 1
    document = json.loads(file.read_text())
    committed = json.loads((specs() / "results" / "cp313.json").read_text())
    assert document["specification"]["vectors"] == committed["specification"]["vectors"]
    assert document["summary"]["rules"]["total"] == committed["summary"]["rules"]["total"]
    assert document["problems"] == []
    assert [entry["id"] for entry in document["vectors"]] == [entry["id"] for entry in committed["vectors"]]


def test_other_commands_keep_to_the_suite_capsule(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`matrix`, `profiles diff` and the pytest items take its vectors where they are given none."""
    asked: list[Path] = []

    def loading(path: Path, known: Known) -> Loaded:
        asked.append(path)
        return Loaded(problems=[Problem(path, "stop")])

    class Config:
        def getoption(self, name: str) -> None:
            return None

    (folder / "bin").mkdir()
    (folder / "bin" / "one").write_text("#!/bin/sh\n")
    (folder / "bin" / "one").chmod(0o755)
    monkeypatch.setattr(matrix_module, "load", loading)
    monkeypatch.setattr(test_vectors, "load", loading)
    monkeypatch.setattr("capsule_model.trace.files.load", loading)
    assert run(["matrix", "one", "--interpreters", str(folder)]) == 2
    assert run(["profiles", "diff", "cpython-3.12", "cpython-3.13"]) == 2
    test_vectors._loaded(Config())  # type: ignore[arg-type]
    assert asked == [folder / "vectors" / "capsule"] * 3


def test_explain_finds_ids_of_every_suite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of the other suite is told as any: calls, events, what its objects are, and its rules with a sentence."""
    code, lines, _ = told(capsys, "explain", "dlpack.sample.array", "--profile", "cpython-3.13")
    assert code == 0
    first = lines.index("step 0: a = dlpack.array(int32, [2], values=[7, 8])")
    assert lines[first + 1 : first + 4] == [
        "  returns a",
        "  rule dlpack.array/returns-object: An array is an object.",
        "  a is new: values [7, 8]",
    ]
    second = lines.index("step 1: __dlpack_device__(a)")
    assert lines[second + 1 : second + 3] == ["  __dlpack_device__ of a with no keywords", "  returns device 1, 0"]
    assert "  returns values 7, 8" in lines
    assert "  returns data a, ndim 1, shape [2], strides NULL" in lines
    assert told(capsys, "explain", "capsule.new.null-name", "--profile", "cpython-3.13")[0] == 0
    assert "; expected dlpack.sample.array or " in told(capsys, "explain", "dlpack.sample.arry")[2]


def test_explain_tells_a_diagnosis_of_the_suite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kind, consequence and where are those of the extension."""
    code, lines, _ = told(capsys, "explain", "dlpack.sample.away")
    assert code == 0
    assert lines[-3:] == [
        "  no-thread-state: nobody holds the thread state",
        "    consequence: the process dies",
        "    where: look_again",
    ]


def checked(folder: Path, *, fix: bool = False) -> tuple[int, list[str]]:
    """Return exit code and lines of `check` over the folder."""
    stream = io.StringIO()
    code = check(folder, fix=fix, console=Console(file=stream, highlight=False, width=500))
    return code, stream.getvalue().splitlines()


@pytest.fixture
def alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a specification without what the suite `capsule` has, and without its code."""
    (folder / "capsule").unlink()
    (folder / "vectors" / "capsule").unlink()
    monkeypatch.setattr(rules, "MODULES", ())
    monkeypatch.setattr(check_module, "BEHAVIOURS", {})
    return folder


def test_check_covers_the_suite(alone: Path) -> None:
    """Chapters, code marks and vectors of the other suite are tied together, and `--fix` keeps its chapters."""
    assert checked(alone) == (
        1,
        [
            "arrays.md: its Vectors lines are out of date; expected what check --fix writes",
            "1 findings: 3 rules, 4 vectors, 0 behaviours",
        ],
    )
    assert checked(alone, fix=True) == (0, ["clean: 3 rules, 4 vectors, 0 behaviours"])
    assert "- **Vectors:** `dlpack.sample.empty`\n" in (alone / "dlpack" / "arrays.md").read_text()


def test_check_finds_what_is_loose_in_the_suite(alone: Path) -> None:
    """A rule without code or vector, code without a rule, and a vector that is not as the model is."""
    text = CHAPTER.replace("### dlpack.array/empty", "### dlpack.array/full")
    (alone / "dlpack" / "arrays.md").write_text(text)
    (alone / "capsule").mkdir()
    (alone / "capsule" / "other.md").write_text("### other/rule\n\n- **Level:** MUST\n")
    listed = ["dlpack.array/returns-object", "other/rule"]
    wrong = vector(VALUES | {"expect": {"return": {"values": [7]}}}, rules=listed)
    (alone / "vectors" / "dlpack" / "arrays.json").write_text(
        json.dumps({"format": 1, "vectors": [wrong, *VECTORS[1:]]})
    )
    code, lines = checked(alone)
    assert code == 1
    found = "\n".join(lines)
    assert "arrays.md:12: rule dlpack.array/full is named nowhere in the code" in found
    assert "arrays.md:12: rule dlpack.array/full is shown by no vector" in found
    assert "arrays.md:12: rule dlpack.array/full is not reached under cpython-3.15; expected" in found
    assert re.search(r"suite_samples\.py:\d+: the code names dlpack\.array/empty, which is no rule", found)
    assert "vector dlpack.sample.empty: names dlpack.array/empty, which is no rule" in found
    assert (
        "vector dlpack.sample.array: lists other/rule, a rule of the suite capsule; expected rules of dlpack" in found
    )
    assert "vector dlpack.sample.array: step 1: return: expected values 7, the model has values 7, 8" in found


def test_a_vector_in_the_folder_of_no_suite_is_a_problem(alone: Path) -> None:
    """It would be run by nothing."""
    (alone / "vectors" / "stray.json").write_text(json.dumps({"format": 1, **vector(id="dlpack.stray")}))
    code, lines = checked(alone)
    assert code == 2
    assert lines[0].endswith(
        "stray.json: vector dlpack.stray: in the folder of no suite; "
        "expected vectors/capsule or vectors/dlpack or vectors/layers"
    )


def test_a_rule_belongs_to_the_vectors_of_its_suite(folder: Path) -> None:
    """A vector that lists a rule of another suite is a finding here; a rule of its own, or of no suite, is none."""
    known = {"capsule": read_rules(folder / "capsule"), "dlpack": read_rules(folder / "dlpack")}
    foreign = vector(rules=["PyCapsule_New/null-pointer", "dlpack.array/empty", "no/rule"])
    assert list(findings_of_suites(known, {"capsule": [], "dlpack": [foreign]})) == [
        "vector dlpack.sample.array: lists PyCapsule_New/null-pointer, a rule of the suite capsule; "
        "expected rules of dlpack"
    ]


def test_rules_are_those_of_the_suites_that_vectors_are_about(folder: Path) -> None:
    """They decide what a report counts; without a word about rules it is the suite capsule."""
    own = [rule.id for rule in read_rules(folder / "dlpack")]
    capsule = [rule.id for rule in read_rules(folder / "capsule")]
    assert [rule.id for rule in rules_about([vector()])] == own
    assert [rule.id for rule in rules_about([{"rules": []}])] == capsule
    assert [rule.id for rule in rules_about([vector(), {"rules": ["PyCapsule_New/null-pointer"]}])] == capsule + own


def test_names_that_vectors_may_use(folder: Path, tmp_path: Path) -> None:
    """Rules and kinds of all suites are known, and no others."""
    known = known_names()
    assert known.rules is not None
    assert {"dlpack.array/empty", "PyCapsule_New/null-pointer"} <= set(known.rules)
    assert known.undefined is not None
    assert set(known.undefined) == {*Kind, "no-thread-state"}
    assert len(known.undefined) == len(Kind) + 1
    odd = vector(SETTLE | {"expect": {"undefined": "no-thread-stat"}}, id="dlpack.sample.odd")
    file = tmp_path / "v.json"
    file.write_text(json.dumps({"format": 1, "vectors": [odd, *VECTORS]}))
    found = load(file, known)
    assert found.vectors == VECTORS
    (problem,) = found.problems
    assert problem.text.startswith('unknown kind of undefined behaviour "no-thread-stat"; expected no-thread-state')


@pytest.mark.usefixtures("dlpack")
def test_what_an_implementation_shows_otherwise() -> None:
    """Values and events that differ from the vector's and the model's are divergences, with all three sides."""
    seen = [
        QUIET | {"return": {"ref": "a"}},
        QUIET | {"return": {"values": [7, 9]}},
        QUIET | {"return": {"device": [1, 0]}, "events": [{"dlpack": "__dlpack_device__", "of": "b", "keywords": []}]},
    ]
    answer = ran({"steps": seen, "leaks": ["a"]})
    (result,) = results(Fake({"array": answer}), vector(VALUES, DEVICE))
    assert [(d.path, d.key, d.expected, d.model, d.seen) for d in result.divergences] == [
        ("1", "return", {"values": [7, 8]}, {"values": [7, 8]}, {"values": [7, 9]}),
        ("2", "events.0.of", "a", "a", "b"),
    ]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"dlpack": 5}, "events.0.dlpack = 5; expected a string"),
        ({"dlpack": "deleter", "of": 5}, "events.0.of = 5; expected a string"),
        ({"dlpack": "deleter", "name": [1]}, "events.0.name = [1]; expected a string"),
        ({"dlpack": "deleter", "keywords": "x"}, 'events.0.keywords = "x"; expected a list of strings'),
        ({"dlpack": "deleter", "stream": True}, "events.0.stream = true; expected null or an integer"),
        ({}, "events.0 = {}; expected call, unraisable or dlpack"),
    ],
)
def test_malformed_events_are_the_adapter_s_fault(event: dict[str, Any], message: str) -> None:
    """An answer is checked before anything looks inside."""
    with pytest.raises(Misbehaviour) as error:
        ran({"steps": [QUIET | {"events": [event]}], "leaks": []})
    assert str(error.value) == f"answered steps.0.{message}"


def test_steps_and_events_in_words() -> None:
    """Optional arguments are written as keywords, null in them and in lists as None; events are a line each."""
    step = {"op": "__dlpack__", "args": {"stream": None, "copy": 1, "self": {"ref": "a"}}, "bind": "c"}
    assert call_text(step) == "c = __dlpack__(a, stream=None, copy=1)"
    step = {"op": "dlpack.set", "args": {"array": None, "index": [0, None, "x"], "value": 5}}
    assert call_text(step) == "dlpack.set(NULL, [0, None, x], 5)"
    events: list[dict[str, Any]] = [
        {"dlpack": "deleter"},
        {"dlpack": "__dlpack__", "of": "a", "keywords": ["copy", "stream"], "stream": None},
        {"dlpack": "synchronise", "stream": 2, "name": "dltensor"},
    ]
    assert list(map(event_text, events)) == [
        "deleter",
        "__dlpack__ of a with copy, stream on stream None",
        'synchronise named "dltensor" on stream 2',
    ]
    values: list[Any] = [{"values": []}, {"values": [1, "0.5"]}, {"fields": {"data": {"ref": "p"}, "shape": [2]}}]
    assert list(map(value_text, values)) == ["values none at all", "values 1, 0.5", "data p, shape [2]"]


NAMED = {
    "op": "PyCapsule_New",
    "args": {"pointer": {"ptr": "p"}, "name": {"cstr": "dltensor"}, "destructor": None},
    "bind": "c",
}
OTHER = {"op": "string", "args": {"bytes": {"cstr": "my.buffer_dltensor"}}, "bind": "s"}
SHOWN: dict[str, Any] = {
    "return": {"fields": {"data": {"ref": "p"}, "shape": [2], "strides": None}},
    "events": [
        {"dlpack": "destructor", "of": "c", "name": "used_dltensor", "keywords": ["stream"], "stream": 1},
        {"dlpack": "destructor", "name": "buffer_dltensor"},
        {"dlpack": "destructor", "name": "buffer"},
    ],
}


def test_words_of_dlpack_stay_in_a_copy() -> None:
    """They and their letters stay where an operation of the suite is used; all other letters and tokens change."""
    one = vector(NAMED, OTHER)
    changed = renaming_of(one)
    copy = changed.vector()
    assert copy["steps"][1]["args"]["name"] == {"cstr": "dltensor"}
    assert copy["steps"][1]["bind"] != "c"
    name = copy["steps"][2]["args"]["bytes"]["cstr"]
    assert name.endswith("er_dltensor")
    assert not name.startswith("my.buff")
    assert copy["steps"][0]["args"] == ARRAY["args"]
    for word in ("used_dltensor_versioned", "dltensor_versioned", "dlpack_exchange_api"):
        assert changed.name(word) == word


def test_without_the_suite_they_are_names_like_others() -> None:
    """A vector that uses none of its operations has the copy that it always had."""
    plain = vector(NAMED) | {"steps": [NAMED]}
    assert renamed(plain)["steps"][0]["args"]["name"] != {"cstr": "dltensor"}


def test_what_the_suite_shows_in_a_copy() -> None:
    """Tokens in fields and events are replaced, and a name that is known; of another name the copy says nothing."""
    one = vector(NAMED, OTHER | {"args": {"bytes": {"cstr": "buffer_dltensor"}}})
    changed = renaming_of(one)
    seen = changed.expectation(SHOWN)
    assert seen["return"] == {"fields": {"data": {"ref": changed.token("p")}, "shape": [2], "strides": None}}
    first, second, third = seen["events"]
    assert first == SHOWN["events"][0] | {"of": changed.token("c")}
    assert changed.token("c") != "c"
    assert second["name"] == changed.name("buffer_dltensor") != "buffer_dltensor"
    assert third == {"dlpack": "destructor"}
