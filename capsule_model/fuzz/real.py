"""Real capsules of the interpreter that runs this, through ctypes alone."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "DESTRUCTOR",
    "Boxed",
    "Keep",
    "address_of",
    "api",
    "die_while_pending",
    "object_at",
    "refcount",
    "set_refcount",
]

DESTRUCTOR = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_RESULTS: dict[str, tuple[Any, int]] = {
    "PyCapsule_New": (ctypes.c_void_p, 3),
    "PyCapsule_IsValid": (ctypes.c_int, 2),
    "PyCapsule_GetPointer": (ctypes.c_void_p, 2),
    "PyCapsule_GetName": (ctypes.c_void_p, 1),
    "PyCapsule_GetContext": (ctypes.c_void_p, 1),
    "PyCapsule_GetDestructor": (ctypes.c_void_p, 1),
    "PyCapsule_SetPointer": (ctypes.c_int, 2),
    "PyCapsule_SetName": (ctypes.c_int, 2),
    "PyCapsule_SetContext": (ctypes.c_int, 2),
    "PyCapsule_SetDestructor": (ctypes.c_int, 2),
    "Py_IncRef": (None, 1),
    "Py_DecRef": (None, 1),
}


@functools.cache
def api(name: str) -> Callable[..., Any]:
    """Return a function of the C API that takes and gives words; what it sets as error is raised."""
    result, count = _RESULTS[name]
    bound: Callable[..., Any] = ctypes.PYFUNCTYPE(result, *[ctypes.c_void_p] * count)((name, ctypes.pythonapi))
    return bound


def address_of(function: Any) -> int:
    """Return the address of a ctypes function, or an address as it is."""
    if isinstance(function, int):
        return function
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def object_at(address: int) -> Any:
    """Return a new reference to the object at an address."""
    return ctypes.cast(address, ctypes.py_object).value


def refcount(address: int) -> int:
    """Return the count in an object's header; not for free-threaded builds, which keep it in two parts."""
    return ctypes.c_uint32.from_address(address).value


def set_refcount(address: int, count: int) -> None:
    """Write the count into an object's header."""
    ctypes.c_uint32.from_address(address).value = count


class Keep:
    """The storage of names, which lives as long as this does."""

    def __init__(self) -> None:
        self._buffers: list[Any] = []

    def string(self, raw: bytes | None) -> int:
        """Return the address of a fresh copy of a name, 0 for None."""
        if raw is None:
            return 0
        buffer = ctypes.create_string_buffer(raw)
        self._buffers.append(buffer)
        return ctypes.addressof(buffer)


@dataclass(eq=False)
class Boxed:
    """A real capsule, and what is known of it."""

    object: Any
    pointer: int
    name: bytes | None
    context: int = 0
    keep: Keep = field(default_factory=Keep, repr=False)

    @classmethod
    def make(cls, pointer: int, name: bytes | None, context: int = 0, destructor: int = 0) -> Boxed:
        """Make a capsule; its name lives as long as what is returned."""
        keep = Keep()
        address = api("PyCapsule_New")(pointer, keep.string(name), destructor)
        if context:
            api("PyCapsule_SetContext")(address, context)
        capsule = object_at(address)
        api("Py_DecRef")(address)
        return cls(capsule, pointer, name, context, keep)

    @property
    def address(self) -> int:
        """Return the address of the capsule."""
        return id(self.object)


def die_while_pending(held: list[Any], pending: BaseException) -> BaseException | None:
    """Drop the last reference to an object while an exception is pending; return the one that is pending afterwards.

    The reference lies on the stack of a frame that an exception leaves: the interpreter drops it with the exception
    set. The frame is called from C, where a lost exception is noticed: it is returned as a ``SystemError``.
    """

    def raises() -> None:
        raise pending

    def frame() -> tuple[Any, ...]:
        return held.pop(), raises()  # type: ignore[func-returns-value]

    try:
        functools.partial(frame)()
    except BaseException as after:
        return after
    finally:
        pending.__traceback__ = None
    return None


def is_supported() -> str | None:
    """Return why real capsules cannot be driven here, None where they can."""
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} has no reference counts to look at; expected CPython"
    words = object.__basicsize__ // ctypes.sizeof(ctypes.c_void_p)
    if words != 2:
        return f"objects have headers of {words} words here; expected a release build with the GIL"
    return None
