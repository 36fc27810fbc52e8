"""Exercises of the notebook "DLPack, old and new"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capsule_model.interpreter import Interpreter
from capsule_model.lessons.exercise import Judge
from capsule_model.lessons.judging import predicted
from capsule_model.lessons.verdict import NotYet
from capsule_model.memory import NULL
from capsule_model.undefined import UndefinedBehavior
from dlpack_model.arrays import new_array
from dlpack_model.consumer import Consumer, consumer_named, from_dlpack
from dlpack_model.deleters import call_deleter
from dlpack_model.exchange import Exchange, Record
from dlpack_model.producer import Producer, __dlpack__, quirky
from dlpack_model.violations import HARM

__all__ = ["EXERCISES", "MEETINGS", "RUNS"]

MAKER = Producer("maker", destructor="return-early")
_OLD_MAKER = quirky(MAKER, ("legacy-only", "no-keywords"))
_OLD, _NEW = consumer_named("rename-only", ("legacy-only",)), consumer_named("rename-only")

MEETINGS: dict[str, tuple[Consumer, Producer]] = {
    "old asks old": (_OLD, _OLD_MAKER),
    "old asks new": (_OLD, MAKER),
    "new asks old": (_NEW, _OLD_MAKER),
    "new asks new": (_NEW, MAKER),
    "old asks one that forgot": (_OLD, quirky(MAKER, ("no-legacy",))),
}


def which_name(given: Any) -> str:
    """Judge which capsule is made where producers and consumers of either age meet."""
    seen: dict[str, str] = {}
    for name, (consumer, producer) in MEETINGS.items():
        dl, mine = _process(producer)
        from_dlpack(dl, consumer, mine)
        made = [record.names.unused.decode() for record in dl.records.values()]
        seen[name] = made[0] if made else str(dl.py.PyErr_Occurred())
    hint = "who says max_version to who knows that keyword gets the new struct; BufferError is DLPack's refusal"
    predicted(given, seen, "what is made", hint)
    return "a name is the only thing that both ages look at, and so each struct has its own"


def _process(producer: Producer, **keywords: Any) -> tuple[Exchange, int]:
    dl = Exchange(Interpreter(), watch=HARM)
    return dl, new_array(dl, producer, "int32", (2, 3), name="mine", **keywords)


def taken(dl: Exchange, mine: int) -> None:
    """Import the tensor, and drop the array."""
    dl.py.Py_DECREF(from_dlpack(dl, _NEW, mine))


def never_taken(dl: Exchange, mine: int) -> None:
    """Drop a capsule that nobody has looked at."""
    dl.py.Py_DECREF(__dlpack__(dl, dl.arrays[mine], {}))


def refused(dl: Exchange, mine: int) -> None:
    """Import with a consumer that does not know the device."""
    from_dlpack(dl, consumer_named("rename-only", ("cpu-only",)), mine)


def maker_first(dl: Exchange, mine: int) -> None:
    """Drop the maker's array before the consumer's."""
    theirs = from_dlpack(dl, _NEW, mine)
    dl.py.Py_DECREF(mine)
    dl.py.Py_DECREF(theirs)


RUNS: dict[str, tuple[Callable[[Exchange, int], None], Producer, int]] = {
    "taken": (taken, MAKER, 1),
    "never taken": (never_taken, MAKER, 1),
    "refused": (refused, MAKER, 2),
    "maker first": (maker_first, MAKER, 1),
    "no destructor": (never_taken, quirky(MAKER, ("no-destructor",)), 1),
}


def who_deletes(given: Any) -> str:
    """Judge who calls the deleter in each of five runs."""
    seen: dict[str, str] = {}
    for name, (run, producer, device) in RUNS.items():
        dl, mine = _process(producer, device=(device, 0))
        run(dl, mine)
        (record,) = dl.records.values()
        seen[name] = _who(record)
    hint = "is the name still dltensor when the capsule dies? Then its destructor deletes, where there is one"
    predicted(given, seen, "who deletes", hint)
    return "exactly one of the two calls it, and a capsule without a destructor leaks what nobody takes"


def _who(record: Record) -> str:
    """Return who has called the deleter of an export: what was running then tells."""
    if not record.calls:
        return "nobody"
    (running,) = (about for _, text, about in record.history if text == "deleter called")
    return "capsule" if any("destructor" in str(part) for part in running) else "array"


def take_over(given: Any) -> str:
    """Judge a consumer of the old struct that meets fresh, taken and foreign capsules."""
    for title, name in (
        ("a fresh capsule", "dltensor"),
        ("a capsule that was taken before", "used_dltensor"),
        ("a capsule of the new struct", "dltensor_versioned"),
        ("a capsule of somebody else", "mod.attr"),
    ):
        dl, mine = _process(MAKER)
        capsule = __dlpack__(dl, dl.arrays[mine], {})
        (record,) = dl.records.values()
        dl.py.PyCapsule_SetName(capsule, dl.cstring(name.encode()))
        result = given(dl.py, capsule)
        if name == "dltensor":
            _is_taken(dl, record, capsule, result, b"used_dltensor")
        else:
            _is_refused(dl.py, title, result)
            if dl.name_of(capsule) != name.encode():
                raise NotYet(f"{title}: its name is {dl.name_of(capsule)!r} afterwards", "what you refuse is not yours")
    return "ask by the name, rename, and from there on the deleter is yours to call"


def _is_refused(py: Interpreter, title: str, result: Any) -> None:
    if result != NULL:
        raise NotYet(f"{title}: your function does not return NULL", "that tensor is not yours: return NULL")
    if py.PyErr_Occurred() is None:
        hint = "PyCapsule_GetPointer sets one by itself; where you refuse, py.PyErr_SetString does"
        raise NotYet(f"{title}: NULL comes back, and no exception is pending", hint)


def _is_taken(dl: Exchange, record: Record, capsule: int, result: Any, used: bytes) -> None:
    """See that a fresh capsule was taken over: pointer returned, name changed, deleter not called yet."""
    title, py = "a fresh capsule", dl.py
    if result != record.address:
        raise NotYet(f"{title}: what comes back is not the pointer to the tensor", "PyCapsule_GetPointer returns it")
    if py.error is not None:
        raise NotYet(
            f"{title}: {py.error!r} is pending after a success", "ask with PyCapsule_IsValid: it sets no error"
        )
    if record.calls:
        raise NotYet(f"{title}: the deleter has been called already", "the elements are needed until the array dies")
    struct = py.capsule_at(capsule)
    if struct is None:
        raise NotYet(f"{title}: the capsule is gone", "the reference to it belongs to the caller here")
    if dl.name_of(capsule) != used:
        hint = "when the capsule dies, its destructor must see that the tensor is not its own any more"
        raise NotYet(f"{title}: it is called {dl.name_of(capsule)!r} afterwards", hint)
    block = py.memory.nearest(struct.name)
    if block is not None and block.kind == "malloc":
        raise NotYet(f"{title}: the new name lies in memory that can be freed", "py.cstring(…) is a string literal")
    py.Py_DECREF(capsule)
    call_deleter(dl, record.address, versioned=record.versioned)


# What a struct of each version says: title, major, minor, flags, and whether it is to be taken (None: read-only too).
VERSIONS = (
    ("version 1.3", 1, 3, 0, False),
    ("version 1.3, read-only", 1, 3, 1, True),
    ("version 1.3, a copy", 1, 3, 2, False),
    ("version 1.9", 1, 9, 4, False),
    ("version 2.0", 2, 0, 0, None),
    ("version 0.8", 0, 8, 1, None),
)


def read_the_version(given: Any) -> str:
    """Judge a consumer of the new struct: other major versions are left alone, and flags are understood."""
    for title, major, minor, flags, read_only in VERSIONS:
        py, capsule, managed, deleted = _versioned(major, minor, flags)
        try:
            result = given(py, capsule)
        except UndefinedBehavior as diagnosis:
            hint = "nobody knows what stands behind the flags in another major version: compare it first"
            raise NotYet(f"{title}: {diagnosis.kind}, {diagnosis.fact}", hint) from None
        if read_only is None:
            _is_refused(py, title, result)
        else:
            _is_understood(py, title, result, (managed, read_only))
        py.Py_DECREF(capsule)
        if bool(deleted) is not (read_only is None):
            hint = "who refuses leaves the name alone, and the destructor deletes; who takes gives the used name"
            told = "the destructor deletes what you took" if deleted else "nobody deletes what you refused"
            raise NotYet(f"{title}: {told}", hint)
    py = Interpreter()
    old = py.PyCapsule_New(py.malloc(8), py.cstring("dltensor"), NULL)
    _is_refused(py, "a capsule of the old struct", given(py, old))
    return "the major version first, then the flags, and only then the rest"


def _is_understood(py: Interpreter, title: str, result: Any, wanted: tuple[int, bool]) -> None:
    if result == NULL:
        raise NotYet(f"{title}: your function refuses it, {py.error!r}", "a new minor version only adds, never moves")
    if not isinstance(result, tuple) or len(result) != 2:
        raise NotYet(f"{title}: what comes back is no pair", "return managed, read_only")
    if result[0] != wanted[0]:
        raise NotYet(f"{title}: the pointer is not that of the struct", "PyCapsule_GetPointer returns it")
    if bool(result[1]) is not wanted[1]:
        hint = "the flags stand at 24, and bit 0 alone says read-only: flags & 1"
        raise NotYet(f"{title}: read_only is not {bool(result[1])}", hint)
    if py.error is not None:
        raise NotYet(
            f"{title}: {py.error!r} is pending after a success", "ask with PyCapsule_IsValid: it sets no error"
        )


def _versioned(major: int, minor: int, flags: int) -> tuple[Interpreter, int, int, list[int]]:
    """Return a process with a capsule around a struct of a version, the struct, and whom the destructor deletes.

    Of another major version nothing is there but what comes before the tensor.
    """
    py = Interpreter()
    head = major.to_bytes(4, "little") + minor.to_bytes(4, "little") + bytes(16) + flags.to_bytes(8, "little")
    struct = head + bytes(48 if major == 1 else 0)
    managed = py.malloc(len(struct))
    py.write(managed, struct)
    unused, deleted = py.cstring("dltensor_versioned"), []

    def destructor(op: int) -> None:
        if py.PyCapsule_IsValid(op, unused):
            deleted.append(managed)

    return py, py.PyCapsule_New(managed, unused, py.function(destructor, name="maker's destructor")), managed, deleted


EXERCISES: dict[str, Judge] = {
    "which-name": which_name,
    "who-deletes": who_deletes,
    "take-over": take_over,
    "read-the-version": read_the_version,
}
