"""The interpreter that runs this, behind the face of the model: the same program runs on both.

It is asked through ctypes, in this process. So only what is defined may be asked: this memory is real.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from capsule_model.errors import PyErr

__all__ = ["Here", "missing"]

_WORD = ctypes.c_void_p
# What each function takes and gives, and what it gives when it fails: ctypes raises then, and the result is lost.
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "PyCapsule_New": (_WORD, (_WORD, _WORD, _WORD), 0),
    "PyCapsule_IsValid": (ctypes.c_int, (_WORD, _WORD), 0),
    "PyCapsule_GetPointer": (_WORD, (_WORD, _WORD), 0),
    "PyCapsule_GetName": (_WORD, (_WORD,), 0),
    "PyCapsule_GetContext": (_WORD, (_WORD,), 0),
    "PyCapsule_GetDestructor": (_WORD, (_WORD,), 0),
    "PyCapsule_SetPointer": (ctypes.c_int, (_WORD, _WORD), -1),
    "PyCapsule_SetName": (ctypes.c_int, (_WORD, _WORD), -1),
    "PyCapsule_SetContext": (ctypes.c_int, (_WORD, _WORD), -1),
    "PyCapsule_SetDestructor": (ctypes.c_int, (_WORD, _WORD), -1),
    "PyCapsule_Import": (_WORD, (ctypes.c_char_p, ctypes.c_int), 0),
    "Py_IncRef": (None, (_WORD,), None),
    "Py_DecRef": (None, (_WORD,), None),
}
# Macros in C, which ctypes cannot call; the functions differ for NULL alone.
_MACROS = {"Py_INCREF": "Py_IncRef", "Py_DECREF": "Py_DecRef"}
_DESTRUCTOR = ctypes.PYFUNCTYPE(None, _WORD)


def missing() -> str | None:
    """Return why the running interpreter cannot be asked, None where it can."""
    if not hasattr(ctypes, "pythonapi"):
        return "this interpreter does not let ctypes at its C API"
    return None


class Here:
    """The running interpreter, asked as a simulated one is.

    ``error`` is what the latest call that failed has left: the real exception was raised by ctypes and is gone from the
    indicator. Raises ``ValueError`` with one line where the interpreter cannot be asked.
    """

    def __init__(self) -> None:
        reason = missing()
        if reason is not None:
            raise ValueError(f"{reason}; expected CPython")
        self.error: PyErr | None = None
        # Names, blocks and functions live as long as this does: nothing that a capsule knows may go before it.
        self._kept: list[Any] = []
        for name, (result, arguments, failed) in _FUNCTIONS.items():
            call = ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))
            setattr(self, name, partial(self._call, call, failed))
        for macro, function in _MACROS.items():
            setattr(self, macro, getattr(self, function))

    def __getattr__(self, name: str) -> Any:
        """Say that a function cannot be asked for here."""
        raise AttributeError(
            f"{name} cannot be asked of the running interpreter; expected one of {', '.join(_FUNCTIONS)}"
        )

    def cstring(self, value: str | bytes) -> int:
        """Place a C string in memory that lives as long as this does, and return its address."""
        return self._keep(ctypes.create_string_buffer(value.encode() if isinstance(value, str) else value))

    def malloc(self, size: int) -> int:
        """Return the address of ``size`` bytes, which live as long as this does."""
        return self._keep(ctypes.create_string_buffer(max(size, 1)))

    def free(self, address: int) -> None:
        """Do nothing: what is freed here would be freed for good, and a mistake would be real."""

    def read(self, address: int, size: int) -> bytes:
        """Return bytes of real memory."""
        return ctypes.string_at(address, size)

    def write(self, address: int, value: bytes) -> None:
        """Write bytes to real memory."""
        ctypes.memmove(address, value, len(value))

    def function(self, call: Callable[[int], Any], type: str = "destructor", name: str = "") -> int:
        """Return the address of a C function that calls a Python one with the capsule's address."""

        def called(op: int) -> None:
            call(op)

        return self._keep(_DESTRUCTOR(called))

    def PyErr_Clear(self) -> None:
        """Forget the exception of the latest call that failed."""
        self.error = None

    def PyErr_Occurred(self) -> str | None:
        """Return the type of the exception that the latest call that failed has left, None where there is none."""
        return None if self.error is None else self.error.type

    def Py_REFCNT(self, ob: int) -> int:
        """Return the reference count, less the two that asking takes."""
        held = [ctypes.cast(ob, ctypes.py_object).value]
        return sys.getrefcount(held[0]) - 2

    def _call(self, call: Callable[..., Any], failed: Any, *arguments: int) -> Any:
        try:
            result = call(*arguments)
        except Exception as error:
            text = str(error.args[0]) if error.args else ""
            self.error = PyErr(type(error).__name__, text)
            return failed
        return 0 if result is None and failed == 0 else result

    def _keep(self, storage: Any) -> int:
        self._kept.append(storage)
        return ctypes.cast(storage, _WORD).value or 0
