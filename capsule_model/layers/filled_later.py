"""A capsule that is handed out before what it points to exists, and filled later.

Its pointer cannot be NULL in the meantime: it is that of a placeholder. Whoever gets the capsule early has to be able
to tell, by the name, by the context, or by the pointer itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.layers.functions import shared
from capsule_model.memory import NULL

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter

__all__ = ["DESTRUCTORS", "fill", "filled_pointer", "new_unfilled", "placeholder"]

DESTRUCTORS = ("looks", "frees-blindly", "none")


def placeholder(py: Interpreter) -> int:
    """Return the address that stands for "not yet": one byte of static storage, the same one each time."""
    found: dict[str, int] = vars(py).setdefault("layer_functions", {})
    if "placeholder" not in found:
        found["placeholder"] = py.cstring("")
    return found["placeholder"]


def new_unfilled(py: Interpreter, name: int, destructor: str = "looks", pointer: int | None = None) -> int:
    """Make a capsule to be filled later and return a new reference; its name is the one it has until then.

    ``pointer`` is the placeholder unless another is given. ``destructor`` looks whether there is anything to free, or
    does not.
    """
    bodies = {"looks": _free_if_filled, "frees-blindly": _free}
    address = shared(py, bodies[destructor]) if destructor in bodies else NULL
    # rule: filled-later/null-is-no-placeholder
    return py.PyCapsule_New(placeholder(py) if pointer is None else pointer, name, address)


def fill(py: Interpreter, capsule: int, pointer: int, name: int, context: int = NULL) -> int:
    """Give a capsule what it was made for: pointer and context first, the name that makes it known last; 0, or -1."""
    # rule: filled-later/set-pointer-replaces
    if py.PyCapsule_SetPointer(capsule, pointer) != 0:
        # rule: filled-later/null-refused
        return -1
    # rule: filled-later/context-tells
    py.PyCapsule_SetContext(capsule, context)
    # rule: filled-later/name-comes-last
    return py.PyCapsule_SetName(capsule, name)


def filled_pointer(py: Interpreter, capsule: int, name: int) -> int:
    """Return what the capsule was filled with.

    NULL with ``ValueError`` by its name, or ``RuntimeError`` for a placeholder.
    """
    pointer = py.PyCapsule_GetPointer(capsule, name)
    if pointer == placeholder(py):
        # rule: filled-later/placeholder-is-valid
        py.PyErr_SetString("RuntimeError", "the capsule is not filled yet")
        return NULL
    return pointer


def _free_if_filled(py: Interpreter, op: int) -> None:
    pointer = py.PyCapsule_GetPointer(op, py.PyCapsule_GetName(op))
    if pointer != placeholder(py):
        # rule: filled-later/destructor-frees-what-was-filled
        py.free(pointer)


def _free(py: Interpreter, op: int) -> None:
    # rule: filled-later/destructor-meets-the-placeholder
    py.free(py.PyCapsule_GetPointer(op, py.PyCapsule_GetName(op)))
