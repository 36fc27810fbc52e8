"""The C functions that are called, through ctypes, and the types of those that C code calls."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_void_p, py_object
from typing import Any

__all__ = [
    "Deleter",
    "Destructor",
    "PyCapsule_GetName",
    "PyCapsule_GetPointer",
    "PyCapsule_IsValid",
    "PyCapsule_New",
    "PyCapsule_SetDestructor",
    "PyCapsule_SetName",
    "Py_DecRef",
    "Py_IncRef",
    "address_of",
    "byte_at",
    "keep",
    "name_at",
    "native",
    "python_function",
]

# A destructor gets a capsule whose count is 0: a Python reference to it would destroy it again.
Destructor = ctypes.PYFUNCTYPE(None, c_void_p)
# Called with the GIL, as destructors in C do; a callback of this type takes it if its caller has let go of it.
Deleter = ctypes.PYFUNCTYPE(None, c_void_p)


def python_function(name: str, restype: Any, *argtypes: Any) -> Callable[..., Any]:
    """Return a function of CPython's, called with the GIL, raising what it leaves."""
    # A prototype makes a function of its own; the attributes of ctypes.pythonapi are everybody's.
    return ctypes.PYFUNCTYPE(restype, *argtypes)((name, ctypes.pythonapi))


def address_of(function: Any) -> int:
    """Return the address at which C code calls a ctypes function."""
    address = ctypes.cast(function, c_void_p).value
    assert address is not None
    return address


def native(name: str) -> int:
    """Return the address of a function of CPython's."""
    return address_of(getattr(ctypes.pythonapi, name))


PyCapsule_New = python_function("PyCapsule_New", py_object, c_void_p, c_void_p, c_void_p)
PyCapsule_IsValid = python_function("PyCapsule_IsValid", c_int, py_object, c_char_p)
PyCapsule_GetPointer = python_function("PyCapsule_GetPointer", c_void_p, py_object, c_char_p)
PyCapsule_GetName = python_function("PyCapsule_GetName", c_void_p, py_object)
PyCapsule_SetName = python_function("PyCapsule_SetName", c_int, py_object, c_void_p)
PyCapsule_SetDestructor = python_function("PyCapsule_SetDestructor", c_int, py_object, c_void_p)
Py_IncRef = python_function("Py_IncRef", None, py_object)
Py_DecRef = python_function("Py_DecRef", None, py_object)


def byte_at(address: int | None) -> int:
    """Return the byte at an address; at NULL, the process dies."""
    # ctypes.string_at makes an exception of NULL.
    return ctypes.c_uint8.from_address(address or 0).value


def name_at(address: int | None) -> bytes | None:
    """Return the C string at an address, None for NULL."""
    return ctypes.string_at(address) if address else None


def keep(value: Any) -> Any:
    """Return an object that is alive from now on, also when its module has gone."""
    Py_IncRef(value)
    return value
