"""The C functions that the instrument calls, through ctypes, with their types."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_void_p, py_object
from typing import Any

__all__ = [
    "Deleter",
    "Destructor",
    "PyCapsule_GetDestructor",
    "PyCapsule_GetName",
    "PyCapsule_New",
    "Py_DecRef",
    "Py_IncRef",
    "name_at",
    "rename",
    "take_pending",
]

# A destructor gets a capsule whose count is 0: a Python reference to it would destroy it again.
Destructor = ctypes.PYFUNCTYPE(None, c_void_p)
# A deleter can be called without the GIL, so its type is one that takes it.
Deleter = ctypes.CFUNCTYPE(None, c_void_p)


def _function(name: str, restype: Any, *argtypes: Any) -> Callable[..., Any]:
    # A prototype makes a function of its own; the attributes of ctypes.pythonapi are everybody's.
    return ctypes.PYFUNCTYPE(restype, *argtypes)((name, ctypes.pythonapi))


PyCapsule_New = _function("PyCapsule_New", py_object, c_void_p, c_char_p, c_void_p)
PyCapsule_GetName = _function("PyCapsule_GetName", c_void_p, c_void_p)
PyCapsule_GetDestructor = _function("PyCapsule_GetDestructor", c_void_p, c_void_p)
Py_IncRef = _function("Py_IncRef", None, c_void_p)
Py_DecRef = _function("Py_DecRef", None, c_void_p)
_PyErr_Occurred = _function("PyErr_Occurred", c_void_p)
_PyCapsule_SetName = _function("PyCapsule_SetName", c_int, c_void_p, c_void_p)


def take_pending() -> BaseException | None:
    """Return the exception that was pending when C code called this callback, and clear it; it must come first.

    ctypes raises what is pending after a call: so it is caught, and nothing else ever raises here. A debug build of
    CPython asserts before that, and ends the process.
    """
    try:
        _PyErr_Occurred()
    except BaseException as error:
        return error
    return None


def name_at(capsule: int) -> str | None:
    """Return the name of the capsule at an address, None for NULL."""
    address = PyCapsule_GetName(capsule)
    return ctypes.string_at(address).decode(errors="replace") if isinstance(address, int) else None


def rename(capsule: int, name: int) -> None:
    """Give the capsule at an address the name that stands at another one."""
    _PyCapsule_SetName(capsule, name)
