"""A handle: a C struct of an extension that Python carries around in a capsule and cannot look into.

The struct is a row of 64-bit integers. The name is what tells one kind of handle from another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from capsule_model.layers.functions import shared
from capsule_model.memory import NULL

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter

__all__ = ["CLOSING", "close_handle", "handle_field", "handle_pointer", "new_handle"]

# What closing does besides freeing: all that is needed, or not the name, or not the destructor.
CLOSING = ("renames-and-disarms", "keeps-name", "keeps-destructor")


def new_handle(py: Interpreter, name: int, fields: Sequence[int], destructor: int | None = None) -> int:
    """Allocate a struct of 64-bit fields, put it into a capsule, and return a new reference.

    ``destructor`` is the one that frees the struct unless another is given; NULL leaves it to whoever closes.
    """
    struct = py.malloc(8 * len(fields))
    for index, field in enumerate(fields):
        py.memory.store(struct + 8 * index, field, 8, True)
    if destructor is not None:
        # rule: opaque-handle/another-destructor-or-none
        return py.PyCapsule_New(struct, name, destructor)
    return py.PyCapsule_New(struct, name, shared(py, _destroy))


def _destroy(py: Interpreter, op: int) -> None:
    """Free the struct; the capsule is asked for its own name, so that a renamed one is freed, too."""
    # rule: opaque-handle/destructor-frees
    py.free(py.PyCapsule_GetPointer(op, py.PyCapsule_GetName(op)))


def handle_pointer(py: Interpreter, capsule: int, name: int) -> int:
    """Return the struct of a handle of a kind, or NULL with ``ValueError`` for one of another kind."""
    # rule: opaque-handle/name-tells-the-kind
    # rule: opaque-handle/null-name-tells-nothing
    return py.PyCapsule_GetPointer(capsule, name)


def handle_field(py: Interpreter, capsule: int, name: int, index: int) -> int | None:
    """Return a field of a handle of a kind; None, with ``ValueError`` set, for one of another kind."""
    struct = handle_pointer(py, capsule, name)
    if struct == NULL:
        return None
    # rule: opaque-handle/kinds-mixed-up
    return py.memory.load(struct + 8 * index, 8, True)


def close_handle(py: Interpreter, capsule: int, name: int, closing: str = CLOSING[0]) -> int:
    """Free the struct before the capsule dies, and return 0; -1 with ``ValueError`` where it is closed, or no such.

    A capsule cannot give its pointer up, since NULL is refused: it gets a name that nobody asks for, and its
    destructor goes.
    """
    struct = handle_pointer(py, capsule, name)
    if struct == NULL:
        # rule: opaque-handle/closed-is-refused
        return -1
    py.free(struct)
    if closing != "keeps-name":
        # rule: opaque-handle/closing-renames
        py.PyCapsule_SetName(capsule, py.cstring("closed"))
    if closing != "keeps-destructor":
        # rule: opaque-handle/closing-disarms
        py.PyCapsule_SetDestructor(capsule, NULL)
    return 0
