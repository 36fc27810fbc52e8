"""Exercises of the notebook "What goes wrong"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capsule_model.interpreter import Interpreter
from capsule_model.lessons.exercise import Judge
from capsule_model.lessons.judging import leaves_nothing, predicted
from capsule_model.lessons.verdict import NotYet
from capsule_model.memory import NULL
from capsule_model.undefined import UndefinedBehavior

__all__ = ["EXERCISES", "PROGRAMS"]


def pointer_after_capsule(py: Interpreter) -> object:
    """Use the pointer after the capsule's destructor has freed it."""
    box = py.malloc(8)
    py.write(box, bytes(8))
    free = py.function(lambda op: py.free(py.PyCapsule_GetPointer(op, NULL)), name="free_box")
    cap = py.PyCapsule_New(box, NULL, free)
    py.Py_DECREF(cap)
    return py.read(box, 8)


def two_capsules(py: Interpreter) -> object:
    """Give the same block to two capsules that both free it."""
    box = py.malloc(8)
    free = py.function(lambda op: py.free(py.PyCapsule_GetPointer(op, NULL)), name="free_box")
    one, other = py.PyCapsule_New(box, NULL, free), py.PyCapsule_New(box, NULL, free)
    py.Py_DECREF(one)
    return py.Py_DECREF(other)


def name_on_the_stack(py: Interpreter) -> object:
    """Compare a name whose memory is gone."""
    name = py.malloc(4)
    py.write(name, b"mod\0")
    cap = py.PyCapsule_New(0x1000, name, NULL)
    py.free(name)
    return py.PyCapsule_IsValid(cap, py.cstring("mod"))


def unnamed_length(py: Interpreter) -> object:
    """Read the name of a capsule that has none."""
    cap = py.PyCapsule_New(0x1000, NULL, NULL)
    return py.read(py.PyCapsule_GetName(cap), 1)


def free_the_literal(py: Interpreter) -> object:
    """Free a name that is a string literal."""
    name = py.cstring("mod")
    py.PyCapsule_New(0x1000, name, NULL)
    py.free(name)
    return None


def one_too_many(py: Interpreter) -> object:
    """Give back a reference that was only borrowed, inside the destructor."""
    cap = py.PyCapsule_New(0x1000, NULL, py.function(py.Py_DECREF, name="careless"))
    return py.Py_DECREF(cap)


PROGRAMS: dict[str, Callable[[Interpreter], object]] = {
    "pointer after capsule": pointer_after_capsule,
    "two capsules, one box": two_capsules,
    "name of freed memory": name_on_the_stack,
    "reading no name": unnamed_length,
    "freeing a literal": free_the_literal,
    "one DECREF too many": one_too_many,
}


def name_the_kind(given: Any) -> str:
    """Judge predictions of the kind of undefined behaviour of six programs."""
    seen: dict[str, str] = {}
    for name, program in PROGRAMS.items():
        try:
            program(Interpreter())
        except UndefinedBehavior as diagnosis:
            seen[name] = str(diagnosis.kind)
    mine = {key: str(kind) for key, kind in given.items()}
    predicted(mine, seen, "the kind", "was that memory alive, was it anybody's, and who was to give it back?")
    return "each is noticed here where it happens; in a real process each may go unnoticed"


def mend_double_free(given: Any) -> str:
    """Judge a program that shares one block between two capsules: freed once, when the second one ends."""
    for order in ((0, 1), (1, 0)):
        py = Interpreter()
        box = py.malloc(8)
        py.write(box, bytes(8))
        caps = list(given(py, box))
        if len(caps) != 2 or any(py.capsule_at(cap) is None for cap in caps):
            raise NotYet("your program does not return two capsules that are alive", "return one, other")
        first, last = (caps[place] for place in order)
        try:
            py.Py_DECREF(first)
            py.read(py.PyCapsule_GetPointer(last, py.PyCapsule_GetName(last)), 8)
            py.Py_DECREF(last)
        except UndefinedBehavior as diagnosis:
            which = "the first" if order == (0, 1) else "the second"
            hint = "whoever ends last frees; a count of users is one way, a reference to the other capsule another"
            raise NotYet(f"{which} ends first: {diagnosis.kind}, {diagnosis.fact}", hint) from None
        leaves_nothing(py, "nobody frees the box: the one that ends last has to")
    return "whichever of the two ends last frees the box, and nobody else"


def mend_leak(given: Any) -> str:
    """Judge a function that fails to make a capsule without losing the block."""
    for pointer, title in ((0x1000, "New succeeds"), (NULL, "New fails")):
        py = Interpreter()
        cap = given(py, pointer)
        if pointer == NULL:
            if py.PyErr_Occurred() != "ValueError":
                raise NotYet(f"{title}: no ValueError is pending", "let the caller see why there is no capsule")
            if cap != NULL:
                raise NotYet(f"{title}: your function returns no NULL", "return what PyCapsule_New returned")
        else:
            if py.capsule_at(cap) is None:
                raise NotYet(f"{title}: your function returns no capsule", "return what PyCapsule_New returned")
            context = py.PyCapsule_GetContext(cap)
            if context == NULL:
                raise NotYet(f"{title}: the context is NULL", "PyCapsule_SetContext stores the block")
            py.Py_DECREF(cap)
        leaves_nothing(py, f"{title}: who owns the block now, and when does it give the block back?")
    return "the block has an owner on every path: the capsule where there is one, the function where there is none"


def mend_foreign_name(given: Any) -> str:
    """Judge a destructor for a DLPack capsule: consumed, unconsumed, renamed by somebody, and with an error pending."""
    for name in ("dltensor", "used_dltensor", "renamed_by_somebody", None):
        for pending in (False, True):
            _ends_well(given, name, pending=pending)
    return "it deletes what nobody took, leaves what was taken, and no foreign name sends it in circles"


def _ends_well(given: Any, name: str | None, *, pending: bool) -> None:
    py = Interpreter()
    managed = py.malloc(64)
    deleted: list[int] = []
    cap = py.PyCapsule_New(managed, py.cstring("dltensor"), py.function(lambda op: given(py, op, deleted.append)))
    py.PyCapsule_SetName(cap, NULL if name is None else py.cstring(name))
    if pending:
        py.PyErr_SetString("KeyError", "pending")
    before = py.error
    title = f"the name is {name!r}" + (", a KeyError is pending" if pending else "")
    try:
        py.Py_DECREF(cap)
    except UndefinedBehavior as diagnosis:
        hint = "PyErr_WriteUnraisable takes a reference to what it is handed, and gives it back; NULL is allowed"
        raise NotYet(f"{title}: {diagnosis.kind}, {diagnosis.fact}", hint) from None
    if py.error is not before:
        hint = "ask with PyCapsule_IsValid, which sets no error; then GetPointer cannot fail"
        raise NotYet(f"{title}: {py.error!r} is pending after the destructor, {before!r} was before", hint)
    wanted = [managed] if name == "dltensor" else []
    if deleted != wanted:
        told = f"the deleter is called {len(deleted)} times, not {len(wanted)}"
        raise NotYet(f"{title}: {told}", "the tensor is yours as long as the name is still dltensor")


EXERCISES: dict[str, Judge] = {
    "name-the-kind": name_the_kind,
    "mend-double-free": mend_double_free,
    "mend-leak": mend_leak,
    "mend-foreign-name": mend_foreign_name,
}
