"""Verdicts, both sides of a comparison, and the command that runs notebooks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from capsule_model.interpreter import Interpreter
from capsule_model.lessons import Here, answer, check, compare
from capsule_model.lessons import __main__ as command
from capsule_model.lessons.by_chance import by_chance
from capsule_model.lessons.execute import as_committed, differences
from capsule_model.lessons.exercise import exercises
from capsule_model.lessons.here import missing
from capsule_model.lessons.holding import hold, vectors
from capsule_model.lessons.sides import Sides
from capsule_model.memory import NULL

here = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def blank(py: Any) -> Any:
    """Leave the dots."""


@pytest.mark.parametrize("given", [..., blank, {"NULL": [1], "empty": ...}, [..., 0], {...}])
def test_an_unanswered_exercise_is_no_failure(given: Any) -> None:
    """A notebook that nobody has filled in runs to its end."""
    verdict = check("null-table", given)
    assert verdict.accepted is None
    assert repr(verdict).startswith("not answered yet: ")


def aborts(py: Any) -> Any:
    """End the process as a debug build does."""
    debug = Interpreter("cpython-3.13-debug")
    cap = debug.PyCapsule_New(1, NULL, debug.function(lambda op: debug.PyErr_SetString("KeyError", "x")))
    debug.Py_DECREF(cap)


def endless(py: Any) -> Any:
    """Call itself for ever."""
    return endless(py)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda py: py.read(py.malloc(1), 1), "your program is undefined: uninitialised-read"),
        (lambda py: 1 / 0, "raises ZeroDivisionError"),
        (lambda: 0, "raises TypeError"),
        (aborts, "the interpreter ends the process"),
        (endless, "calls itself without end"),
        (lambda py: py.poke(NULL, "ob_type", 1), "null-dereference"),
        (7, "raises TypeError"),
        ("<b>bold</b>", "raises TypeError"),
    ],
)
def test_whatever_an_answer_does_is_a_verdict(given: Any, says: str) -> None:
    """No answer ends in a traceback: each is told in a line, with a hint."""
    verdict = check("first-capsule", given)
    assert verdict.accepted is False
    assert says in verdict.text
    assert verdict.hint


def test_verdicts_are_escaped() -> None:
    """What a learner wrote is text in a page, not markup."""
    page = check("no-way-back", "<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_an_unknown_exercise_is_named() -> None:
    """The error lists the exercises that there are."""
    with pytest.raises(ValueError, match=r"no exercise 'nothing': expected one of first-capsule, "):
        check("nothing", 1)


def test_an_answer_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Who is stuck sees the text that would be accepted."""
    answer("no-way-back")
    assert capsys.readouterr().out == 'kind = "use-after-free"\n'


def program(py: Any) -> list[Any]:
    """Use every function that both sides have."""
    log: list[Any] = []
    box, name = py.malloc(4), py.cstring("mod.attr")
    py.write(box, b"abcd")
    destroy = py.function(lambda op: log.append(py.PyCapsule_IsValid(op, name)))
    cap = py.PyCapsule_New(box, name, NULL)
    log += [py.PyCapsule_GetName(cap) == name, py.read(py.PyCapsule_GetPointer(cap, name), 4), py.Py_REFCNT(cap)]
    log += [py.PyCapsule_SetContext(cap, box), py.PyCapsule_GetContext(cap) == box]
    log += [py.PyCapsule_SetDestructor(cap, destroy), py.PyCapsule_GetDestructor(cap) == destroy]
    log += [py.PyCapsule_SetPointer(cap, NULL), repr(py.error), py.PyErr_Occurred()]
    py.PyErr_Clear()
    log += [py.PyCapsule_SetName(cap, NULL), py.PyCapsule_GetName(cap), py.error]
    log += [py.PyCapsule_New(NULL, NULL, NULL), py.PyErr_Occurred()]
    py.Py_INCREF(cap)
    py.Py_DECREF(cap)
    py.Py_DECREF(cap)
    return log


@here
def test_one_program_says_the_same_on_both_sides() -> None:
    """Returns, errors, counts and destructor calls are those of the real interpreter."""
    sides = compare(program)
    assert sides.agree, repr(sides)
    assert sides.here[:3] == [1, b"abcd", 1]
    assert "the same" in repr(sides)


def test_sides_that_differ_are_told_apart() -> None:
    """A difference is a fault of the model's, and is called so."""
    sides = Sides([1], [0])
    assert not sides.agree
    assert "the model has a fault" in repr(sides)
    assert "<code>[0]</code>" in sides._repr_html_()


def test_where_the_interpreter_cannot_be_asked_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an implementation without its C API in ctypes a notebook goes on with the model alone."""
    monkeypatch.setattr("capsule_model.lessons.sides.missing", lambda: "no C API here")
    sides = compare(lambda py: 1)
    assert "no C API here" in repr(sides)
    assert not sides.agree


@here
def test_what_is_not_safe_cannot_be_asked() -> None:
    """The real interpreter has no function behind which the model's own would hide."""
    with pytest.raises(AttributeError, match="PyErr_SetString cannot be asked of the running interpreter"):
        _ = Here().PyErr_SetString


def test_a_seed_makes_the_same_programs() -> None:
    """What is found by chance is found again."""
    clears = {"kind": "destructor", "steps": [{"op": "PyErr_Clear", "args": {}, "leave": True}]}
    found = [by_chance(clears, seed=3) for _ in range(2)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].program == found[1].program
    assert by_chance({"kind": "destructor", "steps": []}) is None


class Nothing:
    """An adapter that supports nothing."""

    ops: tuple[str, ...] = ()

    def run(self, vector: Any) -> Any:
        """Refuse."""
        raise RuntimeError("never asked")


class Broken(Nothing):
    """An adapter that fails at what it says it can."""

    ops = ("PyCapsule_New", "PyCapsule_IsValid", "Py_DECREF")


def test_an_adapter_is_held_and_told() -> None:
    """Who supports nothing passes nothing; who raises is told so, vector by vector."""
    assert hold(Nothing(), vectors("is-valid")).counts.keys() == {"unsupported", "undefined"}
    told = repr(hold(Broken(), vectors("capsule.is-valid.wrong-name")))
    assert "errored: capsule.is-valid.wrong-name" in told
    assert "raised RuntimeError: never asked" in told
    with pytest.raises(ValueError, match="no vectors 'nothing': expected"):
        vectors("nothing")


def cell(outputs: list[Any]) -> dict[str, Any]:
    """Return a notebook of one cell."""
    code = {"cell_type": "code", "id": "a", "metadata": {"trusted": True}, "source": "1", "execution_count": 4}
    return {"cells": [{**code, "outputs": outputs}], "metadata": {"kernelspec": {"name": "x"}}}


def test_what_differs_from_run_to_run_is_not_committed() -> None:
    """Counts, metadata and how output was cut into pieces go; of a picture one form stays."""
    streams = [{"output_type": "stream", "name": "stdout", "text": text} for text in ("a\nb", "c\n")]
    picture = {"image/svg+xml": "<svg/>", "text/html": "<div/>", "text/plain": "p"}
    shown = {"output_type": "execute_result", "execution_count": 4, "metadata": {"x": 1}, "data": picture}
    (kept,) = as_committed(cell([*streams, shown]))["cells"]
    assert kept["metadata"] == {}
    assert kept["execution_count"] is None
    stream, result = kept["outputs"]
    assert stream["text"] == ["a\n", "bc\n"]
    assert result["execution_count"] is None
    assert result["data"].keys() == {"image/svg+xml", "text/plain"}


def test_a_changed_output_names_its_cell(tmp_path: Path) -> None:
    """What no longer holds is found, and where."""
    run = as_committed(cell([]))
    file = tmp_path / "01-x.ipynb"
    file.write_text(json.dumps(run), encoding="utf-8")
    assert list(differences(file, run)) == []
    other = as_committed(cell([{"output_type": "stream", "name": "stdout", "text": "new"}]))
    assert list(differences(file, other)) == ["01-x.ipynb: cell 1 (1): its output is not what is committed"]


def test_bad_usage_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown notebook and a missing extra are said so, with what would be right."""
    with pytest.raises(SystemExit) as ended:
        command.main(["99"])
    assert ended.value.code == 2
    assert "no notebook '99': expected the beginning of one of 01-what-a-capsule-is" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "nbformat", None)
    assert command.main(["01"]) == 2
    assert capsys.readouterr().err.strip().endswith("nbformat is missing; pip install 'capsule-model[notebooks]'")


def test_a_cell_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A notebook that raises is a finding with its line, not a traceback."""
    (tmp_path / "notebooks").mkdir()
    broken = cell([])
    broken["cells"][0]["source"] = "undefined_word"
    (tmp_path / "notebooks" / "01-x.ipynb").write_text(json.dumps(broken), encoding="utf-8")
    monkeypatch.setattr("capsule_model.lessons.notebooks.specs", lambda: tmp_path)
    assert command.main(["--script"]) == 1
    assert capsys.readouterr().out == "01-x.ipynb: NameError: name 'undefined_word' is not defined\n"


def test_exercises_have_names_of_words() -> None:
    """Names never change, so they are words."""
    assert all(name.replace("-", "").isalpha() for name in exercises())
