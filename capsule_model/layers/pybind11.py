"""What ``pybind11::capsule`` does with a capsule: its constructors, its destructors, and what it asks of the name.

Source of all: include/pybind11/pytypes.h of pybind11 3.1.0. A C++ exception that a function throws is, at the border
to Python, the Python exception that it carries: here it is the error indicator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.layers.functions import CLEANUP, PLAIN, call, shared
from capsule_model.memory import NULL
from capsule_model.undefined import Abort

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter

__all__ = ["capsule", "capsule_calling", "capsule_with_cleanup", "get_pointer", "name", "set_name", "set_pointer"]


def capsule(py: Interpreter, value: int, name: int = NULL, destructor: int = NULL) -> int:
    """Do ``py::capsule(value, name, destructor)``, whose destructor takes the capsule; NULL is a ``ValueError``.

    Source: pytypes.h:2040 (3.1.0).
    """
    # rule: pybind11/plain-constructor
    # rule: pybind11/null-value-throws
    return py.PyCapsule_New(value, name, destructor)


def capsule_with_cleanup(py: Interpreter, value: int, name: int, cleanup: int) -> int:
    """Do ``py::capsule(value, name, cleanup)``, with a ``void (*)(void *)`` that takes the pointer, or is NULL.

    The context is where the wrapper that pybind11 adds keeps it. Source: pytypes.h:2064 and :2145 (3.1.0).
    """
    op = py.PyCapsule_New(value, name, shared(py, _call_cleanup))
    if op != NULL:
        # rule: pybind11/context-holds-the-cleanup
        py.PyCapsule_SetContext(op, cleanup)
    return op


def _call_cleanup(py: Interpreter, op: int) -> None:
    """Call the function in the context with the pointer, whatever the capsule is called by now.

    Errors are put aside.
    """
    # rule: pybind11/destructor-saves-the-error
    pending, py.error = py.error, None
    cleanup = py.PyCapsule_GetContext(op)
    if cleanup == NULL and py.PyErr_Occurred() is not None:
        raise _terminate()
    # rule: pybind11/destructor-passes-its-own-name
    pointer = py.PyCapsule_GetPointer(op, _name_in_error_scope(py, op))
    if pointer == NULL:
        raise _terminate()
    if cleanup != NULL:
        # rule: pybind11/calls-what-the-context-holds
        call(py, cleanup, CLEANUP, pointer)
    # rule: pybind11/error-of-the-cleanup-is-lost
    py.PyErr_Clear()
    py.error = pending


def capsule_calling(py: Interpreter, function: int) -> int:
    """Do ``py::capsule(function)``: the pointer is itself the ``void (*)(void)`` that is called when the capsule dies.

    Source: pytypes.h:2068 (3.1.0).
    """
    # rule: pybind11/function-is-the-value
    return py.PyCapsule_New(function, NULL, shared(py, _call_value))


def _call_value(py: Interpreter, op: int) -> None:
    function = py.PyCapsule_GetPointer(op, _name_in_error_scope(py, op))
    if function == NULL:
        raise _terminate()
    # rule: pybind11/calls-the-value
    call(py, function, PLAIN)


def _name_in_error_scope(py: Interpreter, op: int) -> int:
    """Return the capsule's own name with what is pending put aside."""
    pending, py.error = py.error, None
    found = py.PyCapsule_GetName(op)
    if found == NULL and py.PyErr_Occurred() is not None:
        py.PyErr_WriteUnraisable(op)
    py.error = pending
    return found


def _terminate() -> Abort:
    """Return the end of a C++ exception that leaves a function which C code has called."""
    # rule: pybind11/destructor-throws
    return Abort("terminate called after throwing an instance of 'pybind11::error_already_set'")


def get_pointer(py: Interpreter, op: int) -> int:
    """Do ``capsule.get_pointer()``: ask the capsule for its name, and pass that; so every name is right.

    Source: pytypes.h:2089 (3.1.0).
    """
    # rule: pybind11/own-name-passed
    return py.PyCapsule_GetPointer(op, py.PyCapsule_GetName(op))


def name(py: Interpreter, op: int) -> int:
    """Do ``capsule.name()``: the name, or NULL, which is no error unless one is set. Source: pytypes.h:2106 (3.1.0)."""
    # rule: pybind11/name
    return py.PyCapsule_GetName(op)


def set_pointer(py: Interpreter, op: int, value: int) -> int:
    """Do ``capsule.set_pointer(value)``: 0, or -1; nothing is done with the old pointer.

    Source: pytypes.h:2100 (3.1.0).
    """
    # rule: pybind11/set-pointer-forgets-the-old
    return py.PyCapsule_SetPointer(op, value)


def set_name(py: Interpreter, op: int, new_name: int) -> int:
    """Do ``capsule.set_name(new_name)``: 0, or -1; the string is not copied. Source: pytypes.h:2115 (3.1.0)."""
    # rule: pybind11/set-name
    return py.PyCapsule_SetName(op, new_name)
