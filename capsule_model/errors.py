"""The error indicator: the one exception that a C call leaves for its caller, and the hook where there is none.

Nothing here saves or chains: a call that fails replaces what was pending, a call that succeeds leaves it.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from capsule_model.memory import NULL
from capsule_model.runtime import Py_DECREF, Py_DecRef, Py_IncRef
from capsule_model.undefined import Kind, diagnose

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = [
    "PyErr",
    "PyErr_Clear",
    "PyErr_Format",
    "PyErr_NoMemory",
    "PyErr_Occurred",
    "PyErr_Restore",
    "PyErr_SetObject",
    "PyErr_SetString",
    "PyErr_WriteUnraisable",
    "bases_of",
    "decode_error",
    "forbid_pending",
    "new_exception",
    "release",
]

# The attributes that exceptions have besides their arguments, by type; ImportError has them in every version.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    name: attributes
    for base, attributes in ((ImportError, ("name", "path")), (AttributeError, ("name", "obj")), (NameError, ("name",)))
    for name, cls in vars(builtins).items()
    if isinstance(cls, type) and issubclass(cls, base)
}


class PyErr:
    """An exception object: its type's name, its argument, and the attributes that a reader can ask for.

    ``obj`` is an object it refers to (owned), NULL if none. ``holders`` counts who holds the exception itself:
    the indicator, and whoever put it aside.
    """

    attributes: dict[str, str | None] | None = None
    obj = NULL
    holders = 1

    def __init__(self, type: str, text: str) -> None:
        self.type = type
        self.text = text

    def __repr__(self) -> str:
        """Return the exception as Python writes it."""
        return f"{self.type}({self.text!r})"

    def __str__(self) -> str:
        """Return what ``str(exception)`` is: KeyError quotes its argument."""
        return repr(self.text) if self.type == "KeyError" else self.text


def PyErr_Restore(py: Process, error: PyErr | None) -> None:
    """Make an exception the pending one, or none; the one that was pending is released after that."""
    old = py.error
    py.error = error
    if old is not None and old.obj != NULL:
        release(py, old)


def release(py: Process, error: PyErr) -> None:
    """Let go of an exception that keeps an object alive; the last holder gives the reference back."""
    error.holders -= 1
    if error.holders == 0:
        # rule: error-indicator/releases-object
        Py_DECREF(py, error.obj)


def new_exception(py: Process, type: str, text: str) -> PyErr:
    """Return an exception as ``raise TYPE(text)`` makes it, with the attributes that its type gives it."""
    error = PyErr(type, text)
    names = ATTRIBUTES.get(type)
    if names is not None and ("path" in names or "attribute-error-context" in py.behaviours):
        error.attributes = dict.fromkeys(names)
    return error


def PyErr_SetObject(py: Process, error: PyErr) -> None:
    """Replace the pending exception by another one. Nothing is chained."""
    if "set-error-clears-first" in py.behaviours:
        # rule: error-indicator/set-clears-first
        PyErr_Restore(py, None)
    # rule: error-indicator/replaced-not-chained
    PyErr_Restore(py, error)


def PyErr_Format(py: Process, error: PyErr) -> None:
    """Replace the pending exception by another one, whose text was put together; the old one goes first.

    What its release runs finds the indicator clear, where ``PyErr_SetString`` would show it the new exception.
    Source: Python/errors.c, _PyErr_FormatV (3.13.5).
    """
    # rule: error-indicator/format-clears-first
    PyErr_Restore(py, None)
    PyErr_SetObject(py, error)


def PyErr_SetString(py: Process, type: str, text: str) -> None:
    """Replace the pending exception by a new one. Nothing is chained."""
    error = new_exception(py, type, text)
    if py.error is not None:
        PyErr_SetObject(py, error)
        return
    # rule: error-indicator/replaced-not-chained
    py.error = error


def PyErr_Clear(py: Process) -> None:
    """Forget the pending exception; nothing happens where there is none."""
    old = py.error
    # rule: PyErr_Clear/forgets
    py.error = None
    if old is not None and old.obj != NULL:
        release(py, old)


def PyErr_Occurred(py: Process) -> str | None:
    """Return the type of the pending exception, or None."""
    # rule: PyErr_Occurred/type-of-pending
    return None if py.error is None else py.error.type


def forbid_pending(py: Process, function: str) -> None:
    """Diagnose a call that runs code of its own while an exception is pending: it may lose it, or fail of it."""
    if py.error is not None:
        # rule: error-indicator/pending-makes-undefined
        fact = f"{py.memory.now()} calls {function} with {py.error!r} pending"
        raise diagnose(Kind.PENDING_EXCEPTION, fact, [])


def PyErr_NoMemory(py: Process) -> int:
    """Set ``MemoryError`` and return NULL."""
    # rule: PyErr_NoMemory/sets-and-returns-null
    # rule: error-indicator/replaced-not-chained
    PyErr_Restore(py, PyErr("MemoryError", ""))
    return NULL


def PyErr_WriteUnraisable(py: Process, obj: int) -> None:
    """Hand the pending exception to the hook for unraisable errors; the indicator is clear afterwards.

    The hook gets a reference to ``obj`` of its own and gives it back: for a capsule that is being destroyed
    this deallocates it again.
    """
    error = py.error
    if error is None:
        # rule: PyErr_WriteUnraisable/nothing-pending
        fact = f"{py.memory.now()} reports an exception as unraisable, and none is pending"
        raise diagnose(Kind.NO_EXCEPTION, fact, [], obj)
    py.error = None
    Py_IncRef(py, obj)
    # rule: PyErr_WriteUnraisable/calls-hook
    py.unraisable(error, obj)
    if error.obj != NULL:
        release(py, error)
    Py_DecRef(py, obj)


def decode_error(raw: bytes) -> str | None:
    """Return the text of the ``UnicodeDecodeError`` that bytes give, or None where they are UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return str(error)
    return None


def bases_of(type: str) -> list[str]:
    """Return the names of the classes that a built-in exception derives from, nearest first, without object."""
    cls = getattr(builtins, type)
    return [base.__name__ for base in cls.__mro__[1:-1]]
