"""Reference counts and deallocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from capsule_model.memory import NULL
from capsule_model.objects import NOTHING, SHIFT, Capsule, Parts, PyCapsule_Type, PyObject
from capsule_model.undefined import Abort, Kind, UndefinedBehavior, diagnose

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
    "handle_pending",
    "hold",
    "merge_all_queues",
]


def Py_INCREF(py: Process, op: int) -> None:
    """Take a reference."""
    # As py.objects[…] does, spelled out: every call of the API passes here.
    try:
        struct = py.counted[op >> SHIFT]
    except IndexError:
        pass
    else:
        if struct.address != op:
            raise py.objects.complain(op)
        # rule: Py_INCREF/adds-one
        struct.ob_refcnt += 1
        return
    _incref_biased(py, op)


def Py_DECREF(py: Process, op: int) -> None:
    """Give a reference back; the object is deallocated when that was the last one.

    Where counts have two parts, the last one may have to wait for the thread that owns the object.
    """
    # As py.objects[…] does, spelled out: every call of the API passes here.
    try:
        struct = py.counted[op >> SHIFT]
    except IndexError:
        pass
    else:
        if struct.address != op:
            raise py.objects.complain(op)
        count = struct.ob_refcnt = struct.ob_refcnt - 1
        if count == 0:
            # rule: Py_DECREF/last-reference-deallocates
            _Py_Dealloc(py, op, struct)
        elif count < 0:
            _negative(py, op)
        return
    _decref_biased(py, op)


def _negative(py: Process, op: int) -> NoReturn:
    """Diagnose a reference that was given back although nobody owned it."""
    if "refcount-checked" in py.behaviours:
        # rule: Py_DECREF/negative-aborts
        raise Abort("object has negative ref count")
    # rule: Py_DECREF/negative
    raise _not_owned(py, op)


def _not_owned(py: Process, op: int) -> UndefinedBehavior:
    fact = f"{py.memory.now()} gives back a reference to {op:#x} that nobody owned"
    return diagnose(Kind.NEGATIVE_REFCOUNT, fact, py.objects.birth(op), op)


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
    """Do what the object's type does, free the object, then give back what its attributes held."""
    if struct.dealloc is not None:
        struct.dealloc(op)
    PyObject_Free(py, op, struct)
    if struct.attrs:
        for value in struct.attrs.values():
            Py_DECREF(py, value)


def _incref_biased(py: Process, op: int) -> None:
    """Take a reference to an object whose count has two parts. Source: Include/object.h:816 (3.13.5)."""
    struct = py.objects[op]
    # rule: Py_INCREF/adds-one
    # rule: biased-count/two-parts
    struct.ob_refcnt += 1
    parts = py.objects.parts.get(op)
    if parts is not None and parts.owner == py.thread:
        parts.local += 1


def _decref_biased(py: Process, op: int) -> None:
    """Give a reference back to an object whose count has two parts. Source: Include/object.h:879 (3.13.5)."""
    struct = py.objects[op]
    parts = py.objects.parts.get(op)
    if parts is None:
        struct.ob_refcnt -= 1
    elif parts.owner == py.thread:
        _decref_own(py, op, struct, parts)
    elif parts.owner is not None and not parts.queued and struct.ob_refcnt == parts.local:
        _Py_brc_queue_object(py, op, struct, parts)
    else:
        _decref_shared(py, op, struct, parts)


def _decref_own(py: Process, op: int, struct: Any, parts: Parts) -> None:
    """Give back a reference in the thread that owns the object. Source: Objects/object.c:427 (3.13.5)."""
    parts.local -= 1
    struct.ob_refcnt -= 1
    if parts.local < 0:
        _negative(py, op)
    elif struct.ob_refcnt == 0:
        _end(py, op, struct)
    elif parts.local == 0:
        # rule: biased-count/owner-lets-go
        parts.owner = None


def _decref_shared(py: Process, op: int, struct: Any, parts: Parts) -> None:
    """Give back a reference that is not counted as the owner's. Source: Objects/object.c:366 (3.13.5)."""
    struct.ob_refcnt -= 1
    if parts.owner is not None:
        if struct.ob_refcnt < parts.queued:
            # rule: biased-count/negative-unnoticed
            raise _not_owned(py, op)
    elif struct.ob_refcnt == 0:
        # rule: biased-count/merged-has-no-owner
        _end(py, op, struct)
    elif struct.ob_refcnt < 0:
        _negative(py, op)


def _Py_brc_queue_object(py: Process, op: int, struct: Any, parts: Parts) -> None:
    """Pass a reference on to the owner, who counted it, for another thread that gives it back.

    Without an owner to wait for, the two parts are made one at once. Source: Python/brc.c:54 (3.13.5).
    """
    queue = py.waiting_queue(parts.owner)
    if queue is None:
        # rule: biased-count/idle-owner
        _merge(py, op, struct)
    else:
        # rule: biased-count/waits-for-owner
        parts.queued = True
        queue.append(op)


def _merge(py: Process, op: int, struct: Any) -> None:
    """Make one count of the two parts, less the reference that was given back; it may have been the last."""
    _Py_ExplicitMergeRefcount(py, op, struct, -1)
    if struct.ob_refcnt == 0:
        _end(py, op, struct)


def _Py_ExplicitMergeRefcount(py: Process, op: int, struct: Any, extra: int) -> None:
    """Make one count of the two parts, and add some; nobody owns the object from then on."""
    struct.ob_refcnt += extra
    py.objects.parts[op] = Parts(None, 0)


def _end(py: Process, op: int, struct: Any) -> None:
    # rule: Py_DECREF/last-reference-deallocates
    _Py_Dealloc(py, op, struct)
    py.objects.parts.pop(op, None)


def handle_pending(py: Process) -> None:
    """Do what the running thread does between two steps of Python code: merge the counts that wait for it.

    No exception is pending there: one that the thread has was put aside, and comes back.
    Source: Python/ceval_gil.c:1287, Python/brc.c:117 (3.13.5).
    """
    queue = py.queues[py.thread]
    aside, py.error = py.error, None
    while queue:
        # rule: biased-count/owner-merges
        op = queue.pop()
        _merge(py, op, py.objects[op])
        if py.error is not None:
            # rule: biased-count/error-in-merge
            fact = f"{py.memory.now()} goes on in Python code with {py.error!r} pending, which a destructor left"
            raise diagnose(Kind.PENDING_EXCEPTION, fact, [], op)
    py.error = aside


def merge_all_queues(py: Process) -> list[int]:
    """Merge the counts that wait for any thread, for a collection; return what it then gives the last reference of.

    These are the objects that nobody refers to any more, in their order; a tracked one is garbage like any other.
    Source: Python/gc_free_threading.c:312 (3.13.5).
    """
    last: list[int] = []
    for queue in py.queues.values():
        for op in queue:
            struct = py.objects[op]
            # rule: gc/merges-counts
            _Py_ExplicitMergeRefcount(py, op, struct, -1)
            if struct.ob_refcnt == 0 and not struct.is_tracked:
                struct.ob_refcnt = 1
                last.append(op)
        queue.clear()
    return last


def hold(py: Process, op: int) -> None:
    """Take a reference for a collection, to an object that nobody owns from then on."""
    _Py_ExplicitMergeRefcount(py, op, py.objects[op], 1)
