"""Exercises of the notebook "Names, strcmp and NULL"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsule_model.interpreter import Interpreter
from capsule_model.lessons.exercise import Judge
from capsule_model.lessons.judging import NoCapsuleFunctions, leaves_nothing, predicted
from capsule_model.lessons.verdict import NotYet
from capsule_model.memory import NULL

__all__ = ["ASKED", "EXERCISES"]

# The names that are asked for in the exercise, in its order.
ASKED = (b"mod.attr", b"Mod.attr", b"mod.attr ", b"mod", b"mod.attr\0secret", b"mod.\0attr", b"", None)
_NAMES = {"NULL": None, "empty": b"", "a": b"a"}


def _given(py: Interpreter, name: bytes | None) -> int:
    return NULL if name is None else py.cstring(name)


def which_match(given: Any) -> str:
    """Judge which names open a capsule that is called mod.attr."""
    py = Interpreter()
    cap = py.PyCapsule_New(py.malloc(8), py.cstring("mod.attr"), NULL)
    seen = {name for name in ASKED if py.PyCapsule_IsValid(cap, _given(py, name))}
    hint = "strcmp reads up to the first NUL byte, and looks at every byte before it"
    predicted(set(given), seen, "the names that match", hint)
    return "bytes behind a NUL are not seen; everything before it counts, capitals and blanks too"


def null_table(given: Any) -> str:
    """Judge which of NULL, the empty name and "a" match which."""
    py = Interpreter()
    seen: dict[str, list[int]] = {}
    for stored, name in _NAMES.items():
        cap = py.PyCapsule_New(py.malloc(8), _given(py, name), NULL)
        seen[stored] = [py.PyCapsule_IsValid(cap, _given(py, asked)) for asked in _NAMES.values()]
    mine = {key: list(row) for key, row in given.items()} if isinstance(given, Mapping) else given
    predicted(mine, seen, "the row of a capsule", "NULL is no string: it is never handed to strcmp")
    return "NULL matches NULL alone; the empty name is a string like any other"


def rename_behind(given: Any) -> str:
    """Judge a program that renames a capsule from mod.a to mod.b without the capsule functions."""
    py = NoCapsuleFunctions()
    maker = super(NoCapsuleFunctions, py).__getattribute__
    name = py.malloc(6)
    py.write(name, b"mod.a\0")
    cap = maker("PyCapsule_New")(py.malloc(8), name, NULL)
    given(py, name)
    now = py.memory.peek_string(name)
    if now is None:
        raise NotYet("the name is no C string any more", "its last byte has to stay the NUL")
    if not maker("PyCapsule_IsValid")(cap, py.cstring("mod.b")):
        raise NotYet(f"the capsule is called {now!r} now", "which of the five letters is another one?")
    return "whoever may write to the name decides what the capsule is called: so names are best read-only"


def name_outlives(given: Any) -> str:
    """Judge a program that makes a capsule with a name from malloc, and leaves nothing behind."""
    py = Interpreter()
    seen: list[bytes | None] = []

    def look(op: int) -> None:
        seen.append(py.memory.c_string(py.PyCapsule_GetName(op)))

    given(py, py.function(look, name="look"))
    if not seen:
        alive = any("block" not in leak.fact for leak in py.leaks())
        off = "the capsule is still alive" if alive else "no capsule with that destructor has died"
        raise NotYet(off, "the third argument of PyCapsule_New is look, and Py_DECREF ends the capsule")
    if seen != [b"mod.attr"]:
        raise NotYet(f"the destructor finds the name {seen[0]!r}", "write b'mod.attr\\0' to the block, NUL included")
    leaves_nothing(py, "py.free gives a block back, once nobody reads it any more")
    return "the name goes last: the destructor may still read it, and repr may, too"


EXERCISES: dict[str, Judge] = {
    "which-match": which_match,
    "null-table": null_table,
    "rename-behind": rename_behind,
    "name-outlives": name_outlives,
}
