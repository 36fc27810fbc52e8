"""What probes are made of: the structs, the capsule's functions, and a producer that counts what is done to it.

The script of a finding is made of the probe and of the definitions of this module that it needs, and may have 60 lines.
So they are short, and use the standard library alone.
"""

from __future__ import annotations

import ctypes
import gc
import os
from ctypes import c_char_p, c_int, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p, py_object
from typing import Any

__all__ = [
    "BARE",
    "COUNTER",
    "HARMLESS",
    "LEGACY",
    "STRUCTS",
    "TABLE",
    "VERSIONED",
    "GetDestructor",
    "GetName",
    "GetPointer",
    "NameAt",
    "New",
    "Occurred",
    "Older",
    "SetName",
    "Simple",
    "Source",
    "Uncopied",
    "attempt",
    "delete",
    "elements",
    "export",
    "first",
    "lengths",
    "map_memory",
    "opened",
    "resident",
    "struct",
    "table_of",
    "taken",
    "told",
]

CODES = {"P": c_void_p, "i": c_int32, "I": c_uint32, "B": c_uint8, "H": c_uint16, "Q": c_uint64}
TENSOR = "P:data i:device_type i:device_id i:ndim B:code B:bits H:lanes P:shape P:strides Q:byte_offset "


def struct(spec: str) -> Any:
    """Make a ctypes struct of fields such as ``P:data``: code, colon, name."""
    return type("Struct", (ctypes.Structure,), {"_fields_": [(word[2:], CODES[word[0]]) for word in spec.split()]})


# The structs of dlpack.h, with what lies in their tensor beside what lies around it: the offsets are the same.
LEGACY = struct(TENSOR + "P:manager_ctx P:deleter")
VERSIONED = struct("I:major I:minor P:manager_ctx P:deleter Q:flags " + TENSOR)
STRUCTS = {b"dltensor": LEGACY, b"dltensor_versioned": VERSIONED}
USED = {b"dltensor": b"used_dltensor", b"dltensor_versioned": b"used_dltensor_versioned"}
BARE = struct(TENSOR)
TABLE = struct("I:major I:minor P:prev P:allocator P:export P:steal P:borrow P:stream")

New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
GetName = ctypes.PYFUNCTYPE(c_char_p, py_object)(("PyCapsule_GetName", ctypes.pythonapi))
NameAt = ctypes.PYFUNCTYPE(c_void_p, py_object)(("PyCapsule_GetName", ctypes.pythonapi))
SetName = ctypes.PYFUNCTYPE(c_int, py_object, c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))
GetPointer = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
GetDestructor = ctypes.PYFUNCTYPE(c_void_p, py_object)(("PyCapsule_GetDestructor", ctypes.pythonapi))
# ctypes raises what is pending after a call.
Occurred = ctypes.PYFUNCTYPE(c_void_p)(("PyErr_Occurred", ctypes.pythonapi))


# A deleter that adds 1 to the first word of its struct, and a destructor that does nothing; neither needs Python.
COUNTER, HARMLESS = (ctypes.cast(ctypes.pythonapi[name], c_void_p).value for name in ("Py_IncRef", "Py_IsInitialized"))


def first(managed: Any) -> int:
    """Return the first word of a struct: COUNTER counts there."""
    return int(c_uint64.from_address(ctypes.addressof(managed)).value)


def opened(capsule: Any) -> Any:
    """Return the struct in a capsule, as its name says; what has another name is taken for the old struct."""
    return STRUCTS.get(GetName(capsule), LEGACY).from_address(GetPointer(capsule, GetName(capsule)))


def taken(capsule: Any) -> Any:
    """Take a tensor over: rename its capsule and return the struct."""
    managed = opened(capsule)
    SetName(capsule, USED[GetName(capsule)])
    return managed


def delete(managed: Any) -> None:
    """Call the deleter of a tensor that was taken over."""
    if managed.deleter:
        ctypes.PYFUNCTYPE(None, c_void_p)(managed.deleter)(ctypes.addressof(managed))


def table_of(array: Any) -> Any:
    """Return the exchange API of an array's type."""
    return TABLE.from_address(GetPointer(type(array).__dlpack_c_exchange_api__, b"dlpack_exchange_api"))


def export(array: Any) -> Any:
    """Export an array through the exchange API of its type, and return the struct, or None."""
    out = c_void_p()
    failed = ctypes.PYFUNCTYPE(c_int, py_object, c_void_p)(table_of(array).export)(array, ctypes.byref(out))
    return None if failed else VERSIONED.from_address(out.value or 0)


def lengths(managed: Any) -> list[int]:
    """Return the shape."""
    return list((c_int64 * managed.ndim).from_address(managed.shape)) if managed.ndim > 0 else []


def elements(array: Any, at: Any = None, axis: Any = 0) -> Any:
    """Return the elements of an array without a list of its own, as it exports them: whole numbers alone."""
    # The struct lives as long as its capsule.
    managed = opened(_capsule := array.__dlpack__())
    if managed.code > 1 or managed.bits < 8:
        raise TypeError(f"no list of type {managed.code}, {managed.bits} bits")
    at = (managed.data or 0) + managed.byte_offset if at is None else at
    if axis == managed.ndim:
        return int.from_bytes(ctypes.string_at(at, managed.bits // 8), "little", signed=managed.code == 0)
    step = (c_int64 * managed.ndim).from_address(managed.strides)[axis] * managed.bits // 8
    return [elements(array, at + i * step, axis + 1) for i in range(lengths(managed)[axis])]


# Of Linux: where, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, no file, its beginning.
map_memory = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_int64, c_int, c_int, c_int, c_int64)(("mmap", ctypes.CDLL(None)))


class Simple:
    """A producer of 0 to 5 as int32 (2, 3), for those who have no arrays of their own to begin with."""

    data, words = (c_int32 * 6)(*range(6)), (c_int64 * 4)(2, 3, 3, 1)
    start, sizes = ctypes.addressof(data), ctypes.addressof(words)
    managed = LEGACY(start, 1, 0, 2, 0, 32, 1, sizes, sizes + 16, deleter=HARMLESS)

    def __dlpack_device__(self) -> Any:
        """Say that it is on the CPU."""
        return 1, 0

    def __dlpack__(self, **keywords: Any) -> Any:
        """Make the old struct, always the same."""
        return New(ctypes.addressof(self.managed), b"dltensor", HARMLESS)


def resident() -> int:
    """Return how many MiB of memory the process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def attempt(call: Any, *arguments: Any, **keywords: Any) -> Any:
    """Call, and return the result and None, or None and the exception."""
    try:
        return call(*arguments, **keywords), None
    except Exception as error:
        return None, error.with_traceback(None)


def told(error: Any) -> str:
    """Return the type of an exception and the first line of its text."""
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]


class Source:
    """A producer of 0 to 5 as int32 (2, 3), or of what it is told; nothing of it ever goes, its deleter is COUNTER.

    ``name`` is that of its capsules (None: by ``max_version``), ``raw`` the bytes of the elements, ``fields`` what else
    stands in its structs.
    """

    def __init__(
        self, name: Any = None, shape: Any = (2, 3), strides: Any = (3, 1), raw: Any = b"", **fields: Any
    ) -> None:
        ctypes.pythonapi.Py_IncRef(py_object(self))
        self.name, self.exports = name, []  # type: ignore[var-annotated]
        raw = raw or b"".join(bytes((i, 0, 0, 0)) for i in range(6))
        # A low address (98 has MAP_32BIT): from 3.14 on COUNTER takes other words for counts that do not change.
        self.data = map_memory(1 << 29 | (id(self) >> 4 & 8191) << 16, len(raw) + 4096, 3, 98, -1, 0)
        ctypes.memmove(self.data, raw, len(raw))
        self.words = [words if words is None else (c_int64 * len(words))(*words) for words in (shape, strides)]
        sizes, steps = (words if words is None else ctypes.addressof(words) for words in self.words)
        self.fields = {"data": self.data, "device_type": 1, "bits": 32, "lanes": 1, "deleter": COUNTER, "major": 1}
        self.fields |= {"ndim": len(shape or ()), "shape": sizes, "strides": steps, "manager_ctx": self.data, **fields}

    def __dlpack_device__(self) -> Any:
        """Say what the struct says."""
        return self.fields["device_type"], 0

    def __dlpack__(self, **keywords: Any) -> Any:
        """Make the struct that was asked for, or that the source makes for everybody."""
        name = self.name or (b"dltensor_versioned" if keywords.get("max_version") else b"dltensor")
        kind = STRUCTS.get(name, LEGACY)
        managed = kind(**{field: value for field, value in self.fields.items() if hasattr(kind, field)})
        self.exports.append((New(ctypes.addressof(managed), name, HARMLESS), managed, first(managed), name))
        return self.exports[-1][0]

    def state(self) -> tuple[int, int]:
        """Return how often the deleter ran, and how many capsules still have their names, and so delete."""
        gc.collect()
        there = [GetName(one[0]) == one[3] and bool(GetDestructor(one[0])) for one in self.exports]
        return sum(first(managed) - before for _, managed, before, _ in self.exports), sum(there)


class Older(Source):
    """A producer whose method has ``stream`` and no other keyword."""

    known = ("stream",)

    def __dlpack__(self, **keywords: Any) -> Any:
        """Export as a method would that has been there before the other keywords."""
        if set(keywords) - set(self.known):
            raise TypeError(f"unexpected keyword arguments: {sorted(keywords)}")
        return super().__dlpack__()


class Uncopied(Source):
    """A producer that would have to copy, and raises where it must not."""

    def __dlpack__(self, **keywords: Any) -> Any:
        """Export, unless a copy is forbidden."""
        if keywords.get("copy") is False:
            raise BufferError("it would have to be copied")
        return super().__dlpack__(**keywords)
