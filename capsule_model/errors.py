"""The error indicator: the one exception that a C call leaves for its caller.

Nothing here saves or chains: a call that fails replaces what was pending, a call that succeeds leaves it.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from capsule_model.memory import NULL

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = [
    "PyErr",
    "PyErr_Clear",
    "PyErr_NoMemory",
    "PyErr_Occurred",
    "PyErr_Restore",
    "PyErr_SetString",
    "bases_of",
    "decode_error",
    "new_exception",
    "release",
]


class PyErr:
    """An exception object: its type's name, its argument, and the attributes that a reader can ask for.

    ``obj`` is an object it refers to (owned), NULL if none. ``holders`` counts who holds the exception itself:
    the indicator, and whoever put it aside.
    """

    __slots__ = ("attributes", "holders", "obj", "text", "type")

    def __init__(self, type: str, text: str, attributes: dict[str, str | None] | None = None, obj: int = NULL) -> None:
        self.type = type
        self.text = text
        self.attributes = attributes
        self.obj = obj
        self.holders = 1

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
    if old is not None:
        release(py, old)


def release(py: Process, error: PyErr) -> None:
    """Let go of an exception; the last holder gives back the reference that it keeps."""
    error.holders -= 1
    if error.holders == 0 and error.obj != NULL:
        from capsule_model.runtime import Py_DECREF

        obj, error.obj = error.obj, NULL
        # rule: error-indicator/releases-object
        Py_DECREF(py, obj)


def new_exception(py: Process, type: str, text: str) -> PyErr:
    """Return an exception as ``raise TYPE(text)`` makes it, with the attributes that its type gives it."""
    cls = getattr(builtins, type)
    attributes: dict[str, str | None] = {}
    if issubclass(cls, ImportError):
        attributes = {"name": None, "path": None}
    elif "attribute-error-context" in py.behaviours:
        if issubclass(cls, AttributeError):
            attributes = {"name": None, "obj": None}
        elif issubclass(cls, NameError):
            attributes = {"name": None}
    return PyErr(type, text, attributes)


def PyErr_SetString(py: Process, type: str, text: str) -> None:
    """Replace the pending exception by a new one. Nothing is chained."""
    old = py.error
    py.error = PyErr(type, text)
    if old is not None:
        # rule: error-indicator/replaced-not-chained
        release(py, old)


def PyErr_Clear(py: Process) -> None:
    """Forget the pending exception; nothing happens where there is none."""
    PyErr_Restore(py, None)


def PyErr_Occurred(py: Process) -> str | None:
    """Return the type of the pending exception, or None."""
    return None if py.error is None else py.error.type


def PyErr_NoMemory(py: Process) -> int:
    """Set ``MemoryError`` and return NULL."""
    PyErr_SetString(py, "MemoryError", "")
    return NULL


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
