"""The batch: no difference in bulk, each thing that is compared compared, and nothing left behind."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capsule_model import capsule, errors, imports, runtime
from capsule_model.fuzz.batch import Batch, open_batch
from capsule_model.fuzz.lockstep import Divergence

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def batch() -> Iterator[Batch]:
    """Return a batch on this interpreter."""
    try:
        opened = open_batch()
    except ValueError as reason:
        pytest.skip(str(reason))
    yield opened
    opened.close()


def _differences(batch: Batch, cases: int = 12) -> Iterator[Divergence]:
    """Yield what some cases end with."""
    found = (batch.case(f"fault {number}").divergence for number in range(cases))
    return (divergence for divergence in found if divergence is not None)


def test_a_hundred_thousand_steps_are_alike(batch: Batch) -> None:
    """Model and interpreter agree on 100,000 steps, and a thousand states and more are reached on the way."""
    reached: set[str] = set()
    steps = 0
    while steps < 100_000:
        case = batch.case(f"alike {steps}")
        assert case.divergence is None, str(case.divergence)
        assert sum(case.reached.values()) >= case.steps
        steps += case.steps
        reached |= case.reached.keys()
    assert len(reached) > 1000


# What is broken: a function of the model, the piece of its source that is replaced, and the key that shows it.
FAULTS: dict[str, tuple[Any, str, str, str]] = {
    "an int returned": (capsule.PyCapsule_SetName, "return -1", "return 0", "return"),
    "an address returned": (capsule.PyCapsule_GetContext, "return struct.context", "return struct.pointer", "return"),
    "whether there is an error": (capsule.PyCapsule_GetPointer, "not _name", "name and not _name", "error"),
    "an error's type": (capsule.PyCapsule_New, '"ValueError"', '"TypeError"', "error"),
    "an error's text": (capsule._is_legal_capsule, "with invalid", "with an invalid", "error"),
    "that an error stays the same": (
        capsule.PyCapsule_SetName,
        "struct.name = name",
        "struct.name = name\n    if py.error: PyErr_SetString(py, py.error.type, py.error.text)",
        "indicator",
    ),
    "the reference count": (
        capsule.PyCapsule_SetContext,
        "struct.context",
        "struct.ob_refcnt += 1\n    struct.context",
        "ob_refcnt",
    ),
    "the type": (capsule.PyCapsule_New, "ob_type = PyCapsule_Type", "ob_type = 0x2000", "ob_type"),
    "the pointer": (capsule.PyCapsule_SetPointer, "struct.pointer = pointer", "pass", "pointer"),
    "the name": (capsule.PyCapsule_SetName, "struct.name = name", "pass", "name"),
    "the context": (capsule.PyCapsule_SetContext, "struct.context = context", "pass", "context"),
    "the destructor": (capsule.PyCapsule_SetDestructor, "struct.destructor = destructor", "pass", "destructor"),
    "traverse_func": (capsule.PyCapsule_New, "traverse_func = NULL", "traverse_func = 1", "traverse_func"),
    "clear_func": (capsule.PyCapsule_New, "clear_func = NULL", "clear_func = 1", "clear_func"),
    "that a destructor is called": (runtime.capsule_dealloc, "capsule.destructor != NULL", "False", "events"),
    "which capsule it gets": (runtime.destroy, ".call(op)", ".call(py.structs[-1].address or op)", "events"),
    "what it leaves": (errors.PyErr_NoMemory, 'PyErr("MemoryError", "")', "py.error", "error"),
    "an import's reference": (imports.PyCapsule_Import, "Py_DECREF(py, object)\n    return", "return", "return"),
    "what lies behind the API": (capsule.PyCapsule_IsValid, "struct.pointer == NULL", "False", "return"),
    "whether a capsule died": (runtime.Py_DECREF, "if count == 0:", "if count == 0 and False:", "return"),
    "leaks": (runtime.PyObject_Free, "py.structs[op >> SHIFT] = NOTHING", "pass", "leaks"),
}


def _break(monkeypatch: pytest.MonkeyPatch, function: Any, right: str, wrong: str) -> None:
    """Put a function with a fault in the place of the model's."""
    source = inspect.getsource(function)
    assert right in source
    space = dict(function.__globals__)
    exec(source.replace(right, wrong), space)
    monkeypatch.setattr(function, "__code__", space[function.__name__].__code__)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_model_is_noticed(fault: str, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in one thing that is compared ends a case in just that, and the batch goes on once it is mended."""
    function, right, wrong, key = FAULTS[fault]
    with monkeypatch.context() as patch:
        _break(patch, function, right, wrong)
        found = next(found for found in _differences(batch) if found.differences[0].key == key)
    (difference,) = found.differences
    assert difference.path.partition("/")[0] in ("end", str(len(found.vector["steps"]) - 1))
    assert batch.case(fault).divergence is None
