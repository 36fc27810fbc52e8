"""The compact program: operations, pools, and how both are written as words.

A program is a list of integers. A step is its head, its arguments, what its destructors show, and its result:

- head: the operation, with flags shifted by 8 (1: what the call leaves stays; above that, which exception is pending,
  counted from 1), and the register;
- arguments: as many words as ``ARITY`` says, addresses as they are, a capsule as its register;
- events, in the order in which they happen: ``ENTER`` and the destructor's number, the capsule, what is pending, the
  words of the struct; for each action its events, its error and its return; ``LEAVE`` and what is pending then;
- result: error, return, and the words of the register's struct, or a single -1 where no capsule lies there.

An error is a number: 0 none, 1 the one that was pending before, else its place among the known types and texts. The
words of a struct are those of ``WORDS``. Capsules and other objects stand at the addresses that they have in the
model; strings and functions lie at the same addresses on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from capsule_model.profiles import Profile

__all__ = [
    "ADDRESSES",
    "ARITY",
    "DECLARED",
    "DESTRUCTORS",
    "DROPS",
    "ENTER",
    "EXCEPTIONS",
    "HELD",
    "HOLDERS",
    "KINDS",
    "LEAVE",
    "LOUD",
    "MODULES",
    "NAMES",
    "NATIVE",
    "NULL_SLOT",
    "NUMBER",
    "OBJECTS",
    "OPERATIONS",
    "OTHERS",
    "PATHS",
    "PENDING",
    "POINTERS",
    "RAISED",
    "REFERENCES",
    "REGISTERS",
    "SLOTS",
    "STORAGE",
    "STRIDE",
    "TWINS",
    "WITHOUT",
    "WORDS",
    "WRITABLE",
    "WRITINGS",
    "Action",
    "destructors_of",
    "is_quiet",
    "operation",
]

# The order is that of the enum in batch.c, and is compared with it when that is loaded.
OPERATIONS: dict[str, int] = {
    "PyCapsule_IsValid": 1,
    "PyCapsule_GetPointer": 1,
    "PyCapsule_SetPointer": 1,
    "PyCapsule_SetName": 1,
    "PyCapsule_SetDestructor": 1,
    "PyCapsule_SetContext": 1,
    # The pointer is written behind the API's back.
    "poke": 1,
    "PyCapsule_GetName": 1,
    "PyCapsule_GetDestructor": 1,
    "PyCapsule_GetContext": 1,
    "PyCapsule_CheckExact": 1,
    "Py_REFCNT": 1,
    "Py_INCREF": 1,
    "Py_IncRef": 1,
    "PyCapsule_New": 3,
    "Py_DECREF": 0,
    "Py_DecRef": 0,
    "PyErr_Clear": 0,
    "PyErr_SetString": 1,
    "PyCapsule_Import": 2,
    # A string is written through: which, and what.
    "rename": 2,
    # A capsule's context becomes a reference to another: the reference is made, then stored.
    "lend": 0,
    "hold": 1,
    # Give back what the context of a dying capsule holds.
    "drop": 0,
    # The program is over: how many capsules are alive that were not when it began.
    "end": 1,
}
NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
ARITY = tuple(OPERATIONS.values())
# The first are calls with one argument besides the object, then come calls without, whose word of it is 0.
WITHOUT = NUMBER["PyCapsule_GetName"]
# From here on calls take and give references; from there on they are none, or none on one register.
REFERENCES = NUMBER["Py_INCREF"]
OTHERS = NUMBER["PyErr_Clear"]

# Those that return an address.
ADDRESSES = frozenset(
    f"PyCapsule_{name}" for name in ("New", "GetPointer", "GetName", "GetDestructor", "GetContext", "Import")
)

# Registers: capsules, those of them that may hold another, NULL, objects that are no capsules, capsules of modules.
SLOTS = 16
HOLDERS = 2
NULL_SLOT = SLOTS
KINDS = ("None", "int", "str", "bytes", "list", "dict", "tuple", "function", "object", "class", "PyCapsule_Type")
OBJECTS = NULL_SLOT + 1
MODULES = OBJECTS + len(KINDS)

# Strings, each in as much storage as the next, so that an address tells which one it lies in.
STORAGE = 48
STRIDE = STORAGE + 64
NAMES: tuple[bytes, ...] = (
    b"mod.attr",
    b"mod.attr",
    b"mod.attr2",
    b"mod",
    b"mod",
    b"",
    b"",
    b"mod\xff",
    b"mod\xff",
    "é.ü".encode(),
    b"mod.attr",
    b"mod.attr2",
)
# The last two of the names are written through.
WRITABLE = (10, 11)
# Which name has, at first, the same bytes at another address.
TWINS = {0: 1, 1: 0, 2: 11, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8, 8: 7, 10: 0, 11: 2}
WRITINGS = (b"mod.attr", b"mod.attr2", b"mod", b"", b"X", b"mod\xff")
POINTERS = (0x5EED_0010, 0x5EED_0020, 0x5EED_0030)

EXCEPTIONS = ("KeyError", "ValueError", "MemoryError", "AttributeError", "ImportError", "KeyboardInterrupt")


def _capsule(pointer: str, name: str | None) -> dict[str, Any]:
    return {"capsule": {"pointer": {"ptr": pointer}, "name": None if name is None else {"cstr": name}}}


# What PyCapsule_Import finds, as the format of the vectors writes it. What it declares as an object is of KINDS.
DECLARED: dict[str, Any] = {
    "cm_batch": {
        "loaded": True,
        "attrs": {
            "cap": _capsule("p1", "cm_batch.cap"),
            "other": _capsule("p2", "cm_batch.cap"),
            "unnamed": _capsule("p2", None),
            "number": {"object": "int"},
            "holder": {"class": {"attrs": {"cap": _capsule("p3", "cm_batch.holder.cap")}}},
            "thing": {
                "instance": {
                    "attrs": {"cap": _capsule("p3", "cm_batch.thing.cap")},
                    "raises": {"bad": {"type": "ZeroDivisionError", "text": "bad"}},
                }
            },
        },
    },
    "cm_batch.sub": {"loaded": True, "attrs": {"cap": _capsule("p2", "cm_batch.sub.cap")}},
    "cm_batch_gone": None,
    "cm_batch_capsule": {"entry": _capsule("p1", "cm_batch_capsule")},
}
# The capsules of these modules have registers, by the path that leads to them.
HELD = (
    "cm_batch.cap",
    "cm_batch.other",
    "cm_batch.unnamed",
    "cm_batch.holder.cap",
    "cm_batch.thing.cap",
    "cm_batch.sub.cap",
    "cm_batch_capsule",
)
REGISTERS = MODULES + len(HELD)
PATHS: tuple[bytes, ...] = (
    *(path.encode() for path in HELD),
    b"cm_batch.number",
    b"cm_batch.thing.bad",
    b"cm_batch.absent",
    b"cm_batch.sub.absent",
    b"cm_batch.cap.x",
    b"cm_batch..cap",
    b"cm_batch.",
    b"cm_batch",
    b"cm_batch.\xff",
    b"\xff.cap",
    b"",
    b".cap",
    b"cm_batch_gone.cap",
    b"cm_batch_nowhere.cap",
)

ENTER = 1 << 40
LEAVE = 1 << 41
WORDS = ("ob_refcnt", "ob_type", "pointer", "name", "context", "destructor", "traverse_func", "clear_func")


@dataclass(frozen=True)
class Action:
    """One step of a destructor: an operation on the dying capsule, its argument, and whether its error stays.

    The argument is what the pool of its kind has at that place, None for NULL.
    """

    operation: str
    argument: int | None = None
    leave: bool = False


# Destructors that record and do things, by name; then those of the interpreter itself, and none at all.
DESTRUCTORS: dict[str, tuple[Action, ...]] = {
    "quiet": (),
    "looks": (
        Action("PyCapsule_GetPointer", 0),
        Action("PyCapsule_GetContext"),
        Action("PyCapsule_GetDestructor"),
        Action("Py_REFCNT"),
    ),
    "renames": (Action("PyCapsule_IsValid", 0), Action("PyCapsule_SetName", 2), Action("PyCapsule_GetName")),
    "refused": (Action("PyCapsule_SetPointer"), Action("PyCapsule_SetPointer", 2)),
    "sets_context": (Action("PyCapsule_SetContext", 2), Action("PyCapsule_GetContext")),
    "unsets": (Action("PyCapsule_SetDestructor"), Action("PyCapsule_GetDestructor")),
    "drops": (Action("PyCapsule_GetContext"), Action("drop")),
    "leaves": (Action("PyCapsule_SetPointer", leave=True),),
    "raises": (Action("PyErr_SetString", 0, leave=True), Action("PyCapsule_GetContext", leave=True)),
    "clears": (Action("PyErr_Clear", leave=True), Action("PyCapsule_GetPointer", 0)),
}
DROPS = tuple(DESTRUCTORS).index("drops")
NATIVE = ("PyErr_NoMemory", "PyErr_Clear", "PyCapsule_GetContext")
# What changes the error indicator, and so ends the process of a debug build.
LOUD = {"leaves", "raises", "clears", "PyErr_NoMemory", "PyErr_Clear"}
RAISED = "set by a destructor"
PENDING = "pending"


def operation(name: str) -> int:
    """Return the number of an operation."""
    return NUMBER[name]


def is_quiet(profile: Profile) -> bool:
    """Tell whether the process of a build dies of a destructor that changes the error indicator."""
    return bool(profile.behaviours & {"dealloc-checks-error", "dealloc-checks-error-type"})


def destructors_of(profile: Profile) -> list[int]:
    """Return which destructors a capsule may be given, as places in ``DESTRUCTORS`` and ``NATIVE`` behind them.

    Not the one that drops a reference: it is for capsules that hold one.
    """
    quiet = is_quiet(profile)
    names = [*DESTRUCTORS, *NATIVE]
    return [place for place, name in enumerate(names) if name != "drops" and not (quiet and name in LOUD)]
