"""The layers by hand, and their vectors on the interpreter that runs the tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from capsule_model import NULL, Interpreter, UndefinedBehavior
from capsule_model.layers import cobject, file_handle, function_table, pybind11
from capsule_model.layers.adapter import LayerAdapter
from capsule_model.layers.functions import BINARY, CLEANUP
from capsule_model.trace.operations import BadVector


@pytest.fixture(scope="module")
def adapter() -> Any:
    """Return this interpreter, as one that layers are built on."""
    return LayerAdapter()


def answer(adapter: Any, *steps: dict[str, Any]) -> dict[str, Any]:
    """Return what the adapter answers to a vector of those steps."""
    found: dict[str, Any] = adapter.run({"format": 1, "steps": list(steps)})
    return found


def test_suite_on_this_interpreter(tmp_path: Path) -> None:
    """Every pattern is as the model has it on this interpreter; CObject is not there, PyO3 is asked by its own test."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "capsule_model", "conform", "--suite", "layers", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    results = json.loads(report.read_text())["vectors"]
    elsewhere = ("layers.cobject.", "layers.pyo3.")
    outcomes = Counter(result["outcome"] for result in results if not result["id"].startswith(elsewhere))
    assert outcomes["passed"] > 60
    assert set(outcomes) <= {"passed", "undefined"}


def test_cobject_is_unsupported(adapter: Any) -> None:
    """A vector with CObject is refused with a reason before anything is done."""
    step = {"op": "PyCObject_AsVoidPtr", "args": {"self": None}}
    assert "CPython has had none since 3.2" in answer(adapter, step)["unsupported"]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"op": "layers.function", "args": {"c_function": "system"}}, "no function 'system': expected one of add"),
        ({"op": "layers.function", "args": {}}, "layers.function takes c_function"),
        ({"op": "table.new", "args": {"c_functions": ["add"] * 65, "abi": 1, "api": 1, "size": 0}}, "no list of at"),
        ({"op": "file.open", "args": {"fd": -1, "unwritten": 0}}, "fd -1 is no number from 0"),
        ({"op": "fclose", "args": {"file": {"ptr": "p"}}}, "memory outside of a block"),
        (
            {"op": "table.call", "args": {"table": 4096, "slot": 0, "c_type": BINARY, "arguments": [1, 2]}},
            "memory outside of a block",
        ),
        (
            {"op": "handle.new", "args": {"name": None, "fields": ["x"], "manner": "frees"}},
            "fields is no list of at most 64 of type int",
        ),
    ],
)
def test_bad_steps_are_refused(adapter: Any, step: dict[str, Any], told: str) -> None:
    """What makes no sense, or would be undefined, is one line, and is never performed."""
    assert told in answer(adapter, step)["error"]


def test_swapped_table_is_diagnosed() -> None:
    """The crash that CObject could not prevent is a diagnosis with kind, consequence and history."""
    py = Interpreter()
    table = function_table.new_table(py, [], 1, 1)
    op = cobject.PyCObject_FromVoidPtr(py, table, NULL)
    with pytest.raises(UndefinedBehavior) as caught:
        function_table.call_slot(py, cobject.PyCObject_AsVoidPtr(py, op), 3, BINARY, 1, 2)
    assert caught.value.kind == "out-of-bounds"
    assert caught.value.history[0].startswith("malloc block of 16 bytes, allocated at")


def test_destructor_that_is_data_is_diagnosed() -> None:
    """A context that somebody overwrites is called as a function, which the diagnosis says."""
    py = Interpreter()
    cleanup = py.function(lambda pointer: None, CLEANUP, "cleanup")
    op = pybind11.capsule_with_cleanup(py, py.malloc(8), NULL, cleanup)
    py.PyCapsule_SetContext(op, py.malloc(8))
    with pytest.raises(UndefinedBehavior, match=r"which is no function, as a void \(\*\)\(void \*\)"):
        py.Py_DECREF(op)


def test_words_have_to_be_known() -> None:
    """A word that no layer knows is a bad vector, with what would be right."""
    from capsule_model.profiles import profile_named
    from capsule_model.trace.execute import run

    steps = [
        {"op": "file.open", "args": {"fd": 3, "unwritten": 0}, "bind": "f"},
        {"op": "file.new", "args": {"file": {"ref": "f"}, "manner": "sometimes"}},
    ]
    with pytest.raises(BadVector, match="manner 'sometimes' is none of closes, reports, none"):
        run({"format": 1, "steps": steps}, profile_named("cpython-3.13"))


def test_reporting_destructor_puts_the_error_back() -> None:
    """A destructor that reports a failure leaves what was pending as it was, and tells the hook."""
    py = Interpreter()
    op = file_handle.new_file(py, file_handle.fopen(py, 3, unwritten=1), "reports")
    py.PyErr_SetString("KeyError", "k")
    py.Py_DECREF(op)
    assert py.PyErr_Occurred() == "KeyError"
    assert [(error.type, obj) for error, obj in py.unraised] == [("OSError", NULL)]
