"""The error indicator, in callbacks: how to take what is pending, and how to return with an exception set.

ctypes reports what a callback raises and clears it, and CPython wants no exception beside a result. But the result is
let go of after both have looked, in C: what an object leaves behind as it dies then is pending when the callback's
caller goes on.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_uint, c_void_p, py_object
from typing import Any

from .capi import keep, native, python_function

__all__ = ["leaving", "take_pending"]

TP_FINALIZE = 80
# Py_TPFLAGS_DEFAULT and Py_TPFLAGS_BASETYPE.
FLAGS = 1 << 18 | 1 << 10

_PyErr_Occurred = python_function("PyErr_Occurred", c_void_p)


class _Slot(ctypes.Structure):
    _fields_ = (("slot", c_int), ("pfunc", c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", c_char_p),
        ("basicsize", c_int),
        ("itemsize", c_int),
        ("flags", c_uint),
        ("slots", c_void_p),
    )


class Result:
    """A result of -1 that raises its exception when it is called."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __index__(self) -> int:
        return -1

    def __call__(self) -> None:
        """Raise, and leave no frame behind that holds either object."""
        error = self.error
        del self.error, self
        try:
            raise error
        finally:
            del error


def _finalised_by_call() -> Any:
    """Return a subclass of ``Result`` whose objects are called as they die, by C code that keeps what they raise."""
    slots = (_Slot * 2)(_Slot(TP_FINALIZE, native("PyObject_CallNoArgs")), _Slot(0, None))
    spec = keep(_Spec(b"broken.pending.Leaving", 0, 0, FLAGS, ctypes.addressof(slots)))
    make = python_function("PyType_FromSpecWithBases", py_object, c_void_p, py_object)
    return make(ctypes.addressof(spec), (Result,))


_Leaving = _finalised_by_call()


def take_pending() -> BaseException | None:
    """Return the exception that was pending when C code called this callback, and clear it; it must come first.

    ctypes raises what is pending after a call: so it is caught, and nothing else ever raises here.
    """
    try:
        _PyErr_Occurred()
    except BaseException as error:
        return error
    return None


def leaving(error: BaseException | None) -> Any:
    """Return what a callback returns so that an exception is pending afterwards, beside -1 or void."""
    return None if error is None else _Leaving(error)
