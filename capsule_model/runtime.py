"""Reference counts and deallocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capsule_model.memory import NULL
from capsule_model.objects import NOTHING, SHIFT, Capsule, PyCapsule_Type, PyObject
from capsule_model.undefined import Abort, Kind, diagnose

if TYPE_CHECKING:
    from capsule_model.errors import PyErr
    from capsule_model.process import Process

__all__ = [
    "Py_DECREF",
    "Py_DecRef",
    "Py_INCREF",
    "Py_IncRef",
    "Py_REFCNT",
    "capsule_dealloc",
]


def Py_INCREF(py: Process, op: int) -> None:
    """Take a reference."""
    # As py.objects[…] does, spelled out: every call of the API passes here.
    try:
        struct = py.structs[op >> SHIFT]
    except IndexError:
        raise py.objects.complain(op) from None
    if struct.address != op:
        raise py.objects.complain(op)
    # rule: Py_INCREF/adds-one
    struct.ob_refcnt += 1


def Py_DECREF(py: Process, op: int) -> None:
    """Give a reference back; the object is deallocated when that was the last one."""
    # As py.objects[…] does, spelled out: every call of the API passes here.
    try:
        struct = py.structs[op >> SHIFT]
    except IndexError:
        raise py.objects.complain(op) from None
    if struct.address != op:
        raise py.objects.complain(op)
    count = struct.ob_refcnt = struct.ob_refcnt - 1
    if count == 0:
        # rule: Py_DECREF/last-reference-deallocates
        _Py_Dealloc(py, op, struct)
    elif count < 0:
        if "refcount-checked" in py.behaviours:
            # rule: Py_DECREF/negative-aborts
            raise Abort("object has negative ref count")
        # rule: Py_DECREF/negative
        fact = f"{py.memory.now()} gives back a reference to {op:#x} that nobody owned"
        raise diagnose(Kind.NEGATIVE_REFCOUNT, fact, py.objects.birth(op), op)


def Py_IncRef(py: Process, o: int) -> None:
    """Take a reference; NULL is ignored."""
    if o != NULL:
        # rule: Py_IncRef/not-null
        Py_INCREF(py, o)


def Py_DecRef(py: Process, o: int) -> None:
    """Give a reference back; NULL is ignored."""
    if o != NULL:
        # rule: Py_DecRef/not-null
        Py_DECREF(py, o)


def Py_REFCNT(py: Process, ob: int) -> int:
    """Return the reference count."""
    # rule: Py_REFCNT/returns-count
    return int(py.objects[ob].ob_refcnt)


def _Py_Dealloc(py: Process, op: int, struct: Any) -> None:
    """Run the deallocator of the object's type; a debug build then looks at the error indicator."""
    before = py.error
    if struct.ob_type == PyCapsule_Type:
        capsule_dealloc(py, op, struct)
    else:
        object_dealloc(py, op, struct)
    if py.error is not before:
        _check_error(py, before, py.error)


def _check_error(py: Process, before: PyErr | None, after: PyErr | None) -> None:
    """End the process of a debug build whose deallocator changed the error indicator."""
    if "dealloc-checks-error" in py.behaviours:
        # rule: dealloc/debug-build-compares-exceptions
        raise Abort("Deallocator of type 'PyCapsule' raised, cleared or overrode the current exception")
    if "dealloc-checks-error-type" in py.behaviours and _type_of(after) != _type_of(before):
        # rule: dealloc/debug-build-compares-types
        raise Abort("Deallocator of type 'PyCapsule' raised, cleared or overrode the current exception")


def _type_of(error: PyErr | None) -> str | None:
    return None if error is None else error.type


def capsule_dealloc(py: Process, op: int, capsule: Capsule) -> None:
    """Untrack the capsule, call its destructor, free it: in that order, and whatever the destructor did."""
    if capsule.is_tracked:
        # rule: dealloc/untracks-first
        PyObject_GC_UnTrack(py, op)
    if capsule.destructor != NULL:
        # rule: dealloc/calls-destructor
        # rule: dealloc/refcount-is-zero-in-destructor
        # rule: dealloc/indicator-is-not-saved
        destroy(py, capsule.destructor, op)
    # rule: dealloc/frees-in-any-case
    PyObject_Free(py, op, capsule)


def destroy(py: Process, destructor: int, op: int) -> None:
    """Call a destructor with its capsule, and notice when it does not come to an end."""
    py.deallocating.append(op)
    try:
        py.functions.typed(destructor, "destructor").call(op)
    except RecursionError:
        if py.deallocating.count(op) == 1:
            raise
        # rule: dealloc/reentered
        fact = f"{py.memory.now()} deallocates {op:#x} again inside its own destructor, without end"
        raise diagnose(Kind.DEALLOC_REENTERED, fact, py.objects.birth(op), op) from None
    py.deallocating.pop()


def PyObject_GC_UnTrack(py: Process, op: int) -> None:
    """Hide an object from the collector."""
    py.objects[op].is_tracked = False
    del py.tracked[op]


def PyObject_Free(py: Process, op: int, struct: Capsule | PyObject) -> None:
    """Free the object's struct; a struct that a re-entered deallocation freed already is freed twice."""
    if struct.address != op:
        # rule: dealloc/reentered
        fact = f"{py.memory.now()} frees {op:#x} a second time, after its destructor deallocated it"
        raise diagnose(Kind.DEALLOC_REENTERED, fact, py.objects.obituary(op), op)
    if struct.is_tracked:
        del py.tracked[op]
    struct.address = NULL
    py.structs[op >> SHIFT] = NOTHING
    memory = py.memory
    memory.count = died = memory.count + 1
    py.objects.deaths += (op, struct.born, died)


def object_dealloc(py: Process, op: int, struct: PyObject) -> None:
    """Free an object that is not a capsule, then give back what its attributes held."""
    PyObject_Free(py, op, struct)
    for value in struct.attrs.values():
        Py_DECREF(py, value)
