"""The structs of ``dlpack.h`` as ctypes lays them out on this machine."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any

__all__ = ["STRUCTURES", "offsets_of"]


class DLPackVersion(ctypes.Structure):
    """The version of DLPack that a struct follows."""

    _fields_ = (("major", c_uint32), ("minor", c_uint32))


class DLDevice(ctypes.Structure):
    """Where the elements lie."""

    _fields_ = (("device_type", c_int32), ("device_id", c_int32))


class DLDataType(ctypes.Structure):
    """What an element is."""

    _fields_ = (("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16))


class DLTensor(ctypes.Structure):
    """A tensor that belongs to somebody else."""

    _fields_ = (
        ("data", c_void_p),
        ("device", DLDevice),
        ("ndim", c_int32),
        ("dtype", DLDataType),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("byte_offset", c_uint64),
    )


class DLManagedTensor(ctypes.Structure):
    """A tensor and how to let go of it, without a version."""

    _fields_ = (("dl_tensor", DLTensor), ("manager_ctx", c_void_p), ("deleter", c_void_p))


class DLManagedTensorVersioned(ctypes.Structure):
    """A tensor and how to let go of it, with version and flags in front."""

    _fields_ = (
        ("version", DLPackVersion),
        ("manager_ctx", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("dl_tensor", DLTensor),
    )


class DLPackExchangeAPIHeader(ctypes.Structure):
    """The version of an exchange API, and where an older one is."""

    _fields_ = (("version", DLPackVersion), ("prev_api", c_void_p))


class DLPackExchangeAPI(ctypes.Structure):
    """The functions through which tensors travel without capsules."""

    _fields_ = (
        ("header", DLPackExchangeAPIHeader),
        ("managed_tensor_allocator", c_void_p),
        ("managed_tensor_from_py_object_no_sync", c_void_p),
        ("managed_tensor_to_py_object_no_sync", c_void_p),
        ("dltensor_from_py_object_no_sync", c_void_p),
        ("current_work_stream", c_void_p),
    )


STRUCTURES: dict[str, type[ctypes.Structure]] = {
    one.__name__: one
    for one in (
        DLPackVersion,
        DLDevice,
        DLDataType,
        DLTensor,
        DLManagedTensor,
        DLManagedTensorVersioned,
        DLPackExchangeAPIHeader,
        DLPackExchangeAPI,
    )
}


def offsets_of(structure: type[ctypes.Structure], prefix: str = "", base: int = 0) -> dict[str, tuple[int, int]]:
    """Return offset and size in bytes of each scalar field, those of inner structs as ``outer.inner``."""
    found: dict[str, tuple[int, int]] = {}
    fields: Any = structure._fields_
    for name, kind in fields:
        offset = base + getattr(structure, name).offset
        if issubclass(kind, ctypes.Structure):
            found |= offsets_of(kind, f"{prefix}{name}.", offset)
        else:
            found[f"{prefix}{name}"] = offset, ctypes.sizeof(kind)
    return found
