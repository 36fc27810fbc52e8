"""The capsule around a managed tensor, and its destructor."""

from __future__ import annotations

import atexit
import ctypes
import weakref
from typing import TYPE_CHECKING, Any

from .capi import Deleter, Destructor, PyCapsule_New, address_of, keep, name_at, python_function
from .ending import HARMLESS, replace_callback
from .exporting import ENDED, EXPORTS, Export
from .memory import KEPT
from .pending import leaving, take_pending
from .structs import managed_at
from .switches import on

if TYPE_CHECKING:
    from .arrays import Array

__all__ = ["LEGACY", "VERSIONED", "capsule_around"]

LEGACY, VERSIONED, WRONG = b"dltensor", b"dltensor_versioned", b"tensor"
NAMES = {name: keep(ctypes.create_string_buffer(name)) for name in (LEGACY, VERSIONED, WRONG)}

# The capsule that dies is given as an address: its count is 0.
_GetName = python_function("PyCapsule_GetName", ctypes.c_void_p, ctypes.c_void_p)
_GetPointer = python_function("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def capsule_around(made: Export, array: Array, name: bytes) -> Any:
    """Return a new capsule of a name with a managed tensor in it."""
    stored = NAMES[WRONG if on("__dlpack__/capsule-name") else name]
    if on("__dlpack__/name-is-static"):
        stored = _passing_name(array, name)
    destructor = None if on("__dlpack__/capsule-destructor") else DESTRUCTOR
    return PyCapsule_New(made.address, stored, destructor)


def _passing_name(array: Array, name: bytes) -> Any:
    """Return a name that is overwritten when the array dies."""
    stored = ctypes.create_string_buffer(name)
    KEPT.append(stored)
    weakref.finalize(array, ctypes.memset, stored, ord("x"), len(name)).atexit = False
    return stored


def _destroy(op: int, take: Any = take_pending, leave: Any = leaving, ended: list[bool] = ENDED) -> Any:
    # What is used at the exit is bound here: the globals may have gone.
    pending = take()
    if not ended:
        try:
            _delete_unconsumed(op)
        except BaseException as left:
            # The deleter left it, and in C it would be pending now.
            pending = left
        if on("capsule-destructor/leaves-error-indicator"):
            pending = MemoryError()
    return leave(pending)


def _delete_unconsumed(op: int) -> None:
    """Call the deleter in a capsule that still has its first name."""
    if on("capsule-destructor/deletes-while-unconsumed:never"):
        return
    address = _GetName(op)
    always = on("capsule-destructor/deletes-while-unconsumed:always")
    if name_at(address) not in NAMES and not always:
        return
    pointer = _GetPointer(op, address)
    made = EXPORTS.get(pointer)
    if made is not None:
        managed = made.managed
    elif always:
        managed = managed_at(pointer, b"versioned" in (name_at(address) or b""))
    else:
        return
    if managed.deleter:
        Deleter(managed.deleter)(pointer)


CALLBACK = keep(Destructor(_destroy))
DESTRUCTOR = address_of(CALLBACK)
atexit.register(replace_callback, CALLBACK, HARMLESS)
