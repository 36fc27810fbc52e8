"""The invariants hold on the model, and each is broken by a fault, in as few operations as it takes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from capsule_model import capsule, errors, runtime
from capsule_model.conform.commands import known_names
from capsule_model.explore.bound import Bound, threads_bound
from capsule_model.explore.counterexample import counterexample
from capsule_model.explore.expand import world_of
from capsule_model.explore.invariants import INVARIANTS
from capsule_model.explore.search import explore
from capsule_model.profiles import PROFILES
from capsule_model.trace.execute import run
from capsule_model.trace.files import load
from capsule_model.trace.meaning import Known
from capsule_model.trace.write import dump_vectors

SMALL = Bound(depth=3, names=(None, "mod.attr"), pointers=1)
THREADS = threads_bound(2, 3)

# By invariant: a function of the model, the piece of its source that is replaced, and how many operations show it.
FAULTS: dict[str, tuple[Any, str, str, int]] = {
    "returns-tell": (capsule.PyCapsule_SetName, "return -1", "return 0", 1),
    "failure-sets-one-error": (capsule.PyCapsule_New, "ValueError", "TypeError", 1),
    "error-names-function": (capsule.PyCapsule_New, "PyCapsule_New called", "called", 1),
    "failure-changes-nothing": (
        capsule.PyCapsule_SetPointer,
        "if pointer == NULL:\n",
        "struct.pointer = pointer\n    if pointer == NULL:\n",
        2,
    ),
    "success-leaves-indicator": (capsule.PyCapsule_GetName, "return struct.", "py.error = None\n    return struct.", 3),
    "is-valid-is-silent": (capsule.PyCapsule_IsValid, "== NULL:\n", "== NULL:\n        py.error = None\n", 2),
    "is-valid-agrees": (capsule.PyCapsule_IsValid, "1 if _name_matches(py, struct.name, name) else 0", "1", 2),
    "null-is-never-valid": (capsule.PyCapsule_IsValid, "return 0\n    # As", "return 1\n    # As", 1),
    "get-pointer-returns-stored": (capsule.PyCapsule_GetPointer, "return struct.pointer", "return capsule", 2),
    "get-name-returns-address": (capsule.PyCapsule_GetName, "return struct.name", "return struct.name + 1", 2),
    "get-word-returns-stored": (capsule.PyCapsule_GetContext, "return struct.context", "return struct.pointer", 2),
    "asking-changes-nothing": (
        capsule.PyCapsule_GetContext,
        "return struct.",
        "struct.ob_refcnt += 1\n    return struct.",
        2,
    ),
    "setter-stores": (capsule.PyCapsule_SetContext, "struct.context = context", "pass", 2),
    "setter-leaves-the-rest": (
        capsule.PyCapsule_SetPointer,
        "struct.pointer = pointer",
        "struct.pointer, struct.context = pointer, NULL",
        3,
    ),
    "new-is-what-was-given": (capsule.PyCapsule_New, "ob_refcnt = 1", "ob_refcnt = 2", 1),
    "new-leaves-others": (capsule.PyCapsule_New, "return NULL", "pass", 1),
    "names-stay": (
        capsule.PyCapsule_SetName,
        "struct.name = name",
        "struct.name = name\n    if name:\n        py.memory.nearest(name).data[:1] = b'X'",
        2,
    ),
    "indicator-holds-one": (errors.PyErr_Clear, "py.error = None", "pass", 2),
    "counts-are-references": (runtime.Py_INCREF, "+= 1", "+= 2", 2),
    "owned-is-alive": (runtime.Py_DECREF, "count == 0", "count <= 1", 3),
    "unowned-is-gone": (runtime.Py_DECREF, "count == 0", "count == 0 and struct.destructor == 0", 2),
    "counting-stores-nothing": (runtime.Py_INCREF, "+= 1", "+= 1\n        struct.context = 0", 3),
    "dead-are-diagnosed": (capsule.PyCapsule_IsValid, "struct.address != capsule", "False", 2),
    "living-are-not-destroyed": (
        capsule.PyCapsule_SetDestructor,
        "struct.destructor = destructor",
        "old, struct.destructor = struct.destructor, destructor\n    old and py.call(old, 'destructor', capsule)",
        2,
    ),
    "destructor-once": (
        runtime.capsule_dealloc,
        "destroy(py, capsule.destructor, op)",
        "stored = capsule.destructor\n        destroy(py, stored, op)\n        destroy(py, stored, op)",
        2,
    ),
    "destructor-finds-count-zero": (runtime.capsule_dealloc, "destroy(", "capsule.ob_refcnt = 1\n        destroy(", 2),
    "destructor-finds-capsule": (
        runtime.capsule_dealloc,
        "destroy(py, capsule.destructor, op)",
        "PyObject_Free(py, op, capsule)\n        destroy(py, capsule.destructor, op)\n        return",
        2,
    ),
    "destructor-finds-words": (runtime.capsule_dealloc, "destroy(", "capsule.name = 0\n        destroy(", 2),
    "destructor-finds-indicator": (runtime.capsule_dealloc, "destroy(", "py.error = None\n        destroy(", 3),
    "destructor-leaves-indicator": (
        runtime.PyObject_Free,
        "struct.address = NULL",
        "struct.address, py.error = NULL, None",
        2,
    ),
    "undefined-is-diagnosed": (runtime.Py_DecRef, "Py_DECREF(py, o)", "o in py.objects and Py_DECREF(py, o)", 3),
    "defined-is-not-diagnosed": (
        capsule.PyCapsule_IsValid,
        "== NULL:\n",
        "== NULL:\n        raise py.objects.complain(capsule)\n",
        1,
    ),
    "waiting-is-queued": (runtime._Py_brc_queue_object, "queue.append(op)", "queue += [op, op]", 2),
    "merged-by-owner": (
        runtime.handle_pending,
        "queue = py.queues[py.thread]",
        "queue = next((queue for queue in py.queues.values() if queue), [])",
        3,
    ),
    "parts-add-up": (runtime._decref_own, "parts.owner = None", "pass", 3),
}
OF_WAITING = ["biased-reference-counts", "last-reference-waits-for-owner"]
OF_THREADS = {"waiting-is-queued", "merged-by-owner", "parts-add-up"}


@pytest.fixture(scope="module")
def known() -> Known:
    """Return the names that vectors may use."""
    return known_names()


def _break(monkeypatch: pytest.MonkeyPatch, invariant: str) -> None:
    """Put a function with a fault in the place of the model's."""
    function, right, wrong, _ = FAULTS[invariant]
    source = inspect.getsource(function)
    assert right in source
    space = dict(function.__globals__)
    exec(source.replace(right, wrong), space)
    monkeypatch.setattr(function, "__code__", space[function.__name__].__code__)


@pytest.mark.parametrize("bound", [SMALL, THREADS], ids=["one thread", "two threads"])
def test_all_hold_on_the_model(bound: Bound) -> None:
    """Nothing is broken where no fault is."""
    explored = explore(bound)
    assert explored.found == {}
    assert explored.levels[-1].states > 0


@pytest.mark.parametrize("invariant", [one.id for one in INVARIANTS])
def test_a_fault_breaks_it(invariant: str, known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each invariant has a fault that breaks it, found with the shortest program that there is.

    The program is a vector that can be kept and run: on the model without the fault it is undefined only where that
    is what it is about.
    """
    bound = THREADS if invariant in OF_THREADS else SMALL
    with monkeypatch.context() as broken:
        _break(broken, invariant)
        found = explore(bound).found[invariant]
        told = counterexample(world_of(bound), found)
    length = FAULTS[invariant][3]
    assert (found.length, len(told.lines), len(told.vector["steps"])) == (length, length, length)
    assert told.seen
    assert told.vector.get("requires", []) == (OF_WAITING if bound.threads else [])
    file = tmp_path / "vectors.json"
    file.write_text(dump_vectors([told.vector]), "utf-8")
    loaded = load(file, known)
    assert [str(problem) for problem in loaded.problems] == []
    assert loaded.vectors[0]["id"] == f"explore.{invariant}"
    seen = run(told.vector, PROFILES[bound.profile])
    assert len(seen.steps) + (seen.diagnosis is not None) == length
    assert (seen.diagnosis is not None) == (invariant == "undefined-is-diagnosed")
