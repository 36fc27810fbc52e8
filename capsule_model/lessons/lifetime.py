"""Exercises of the notebook "Lifetime, destructors and the error indicator"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capsule_model.interpreter import Interpreter
from capsule_model.lessons.exercise import Judge
from capsule_model.lessons.judging import leaves_nothing, predicted
from capsule_model.lessons.verdict import NotYet
from capsule_model.memory import NULL
from capsule_model.undefined import UndefinedBehavior

__all__ = ["EXERCISES", "HOW_OFTEN", "WHAT_ARRIVES"]

Program = Callable[[Interpreter, int], object]


def shared(py: Interpreter, first: int) -> None:
    """Take a reference, give two back."""
    cap = py.PyCapsule_New(0x1000, NULL, first)
    py.Py_INCREF(cap)
    py.Py_DECREF(cap)
    py.Py_DECREF(cap)


def kept(py: Interpreter, first: int) -> None:
    """Take a reference, give one back."""
    cap = py.PyCapsule_New(0x1000, NULL, first)
    py.Py_INCREF(cap)
    py.Py_DECREF(cap)


def removed(py: Interpreter, first: int) -> None:
    """Take the destructor away before the end."""
    cap = py.PyCapsule_New(0x1000, NULL, first)
    py.PyCapsule_SetDestructor(cap, NULL)
    py.Py_DECREF(cap)


def inside(py: Interpreter, first: int) -> None:
    """Set the destructor once more inside a destructor."""
    again = py.function(lambda op: py.PyCapsule_SetDestructor(op, first), name="again")
    py.Py_DECREF(py.PyCapsule_New(0x1000, NULL, again))


def never_made(py: Interpreter, first: int) -> None:
    """Fail to make a capsule at all."""
    py.PyCapsule_New(NULL, NULL, first)


HOW_OFTEN: dict[str, Program] = {
    "shared": shared,
    "kept": kept,
    "removed": removed,
    "inside": inside,
    "never made": never_made,
}


def how_often(given: Any) -> str:
    """Judge how often a destructor is called in each of five programs."""
    seen: dict[str, int] = {}
    for name, program in HOW_OFTEN.items():
        calls: list[int] = []
        py = Interpreter()
        program(py, py.function(calls.append, name="first"))
        seen[name] = len(calls)
    hint = "the destructor that the capsule has when its count reaches 0 is called, and it alone"
    predicted(given, seen, "the number of calls", hint)
    return "one call for each capsule that ends, with the destructor that it has at that moment"


def succeeds(py: Interpreter, cap: int) -> object:
    """Call a function that succeeds."""
    return py.PyCapsule_GetName(cap)


def fails(py: Interpreter, cap: int) -> object:
    """Call a function that fails."""
    return py.PyCapsule_GetPointer(cap, py.cstring("other"))


def asks(py: Interpreter, cap: int) -> object:
    """Ask about a capsule that does not fit."""
    return py.PyCapsule_IsValid(cap, py.cstring("other"))


def destroys(py: Interpreter, cap: int) -> object:
    """End a capsule whose destructor fails at something."""
    destructor = py.function(lambda op: py.PyCapsule_GetPointer(op, py.cstring("other")), name="careless")
    py.PyCapsule_SetDestructor(cap, destructor)
    return py.Py_DECREF(cap)


WHAT_ARRIVES: dict[str, Program] = {"succeeds": succeeds, "fails": fails, "asks": asks, "destroys": destroys}


def what_arrives(given: Any) -> str:
    """Judge which exception is pending after each of four calls that begin with a KeyError pending."""
    seen: dict[str, str | None] = {}
    for name, program in WHAT_ARRIVES.items():
        py = Interpreter()
        cap = py.PyCapsule_New(0x1000, py.cstring("mod.attr"), NULL)
        py.PyErr_SetString("KeyError", "pending")
        program(py, cap)
        seen[name] = py.PyErr_Occurred()
    hint = "who succeeds leaves the indicator alone, who fails replaces it, and nobody saves it for you"
    predicted(given, seen, "what is pending", hint)
    return "a careless destructor replaces the exception of somebody who never heard of the capsule"


def tidy_destructor(given: Any) -> str:
    """Judge a destructor that frees its context, whatever the capsule is called and whatever is pending."""
    for title, name, owns, pending in (
        ("a capsule as it was made", "mod.attr", True, False),
        ("a capsule that was renamed", "used_mod", True, False),
        ("a capsule whose context is NULL", "mod.attr", False, False),
        ("a capsule that dies while a KeyError is pending", "mod.attr", True, True),
    ):
        _is_tidy(given, title, name, owns=owns, pending=pending)
    return "it frees what the capsule owned, under every name, and nobody's exception is lost"


def _is_tidy(given: Any, title: str, name: str, *, owns: bool, pending: bool) -> None:
    py = Interpreter()
    cap = py.PyCapsule_New(py.cstring("not yours"), py.cstring("mod.attr"), py.function(lambda op: given(py, op)))
    if owns:
        py.PyCapsule_SetContext(cap, py.malloc(32))
    py.PyCapsule_SetName(cap, py.cstring(name))
    if pending:
        py.PyErr_SetString("KeyError", "pending")
    before = py.error
    try:
        py.Py_DECREF(cap)
    except UndefinedBehavior as diagnosis:
        hint = "the context is the block, the pointer belongs to somebody else; NULL may be freed"
        raise NotYet(f"{title}: {diagnosis.kind}, {diagnosis.fact}", hint) from None
    if py.error is not before:
        hint = "a getter that fails sets an error: which one asks for no name? And PyErr_Clear clears what is not yours"
        raise NotYet(f"{title}: {before!r} was pending before, and {py.error!r} is after", hint)
    left = [leak for leak in py.leaks() if leak.address != cap]
    if left:
        raise NotYet(f"{title}: {left[0].fact}", "PyCapsule_GetContext returns the block, py.free frees it")


def no_way_back(given: Any) -> str:
    """Judge what is left of a capsule whose destructor takes a reference to it."""
    py = Interpreter()
    cap = py.PyCapsule_New(0x1000, NULL, py.function(py.Py_INCREF, name="stay"))
    py.Py_DECREF(cap)
    try:
        py.PyCapsule_IsValid(cap, NULL)
        seen = "valid"
    except UndefinedBehavior as diagnosis:
        seen = str(diagnosis.kind)
    leaves_nothing(py, "")
    hint = "the memory is freed after the destructor, and nobody looks at the count again"
    predicted(str(given), seen, "what asking the capsule gives", hint)
    return "there is no resurrection: who kept the address has a dangling pointer"


EXERCISES: dict[str, Judge] = {
    "how-often": how_often,
    "what-arrives": what_arrives,
    "tidy-destructor": tidy_destructor,
    "no-way-back": no_way_back,
}
