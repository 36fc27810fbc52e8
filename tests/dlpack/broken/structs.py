"""The structs of ``dlpack.h`` 1.3, and the variants in which two fields trade places."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any

__all__ = [
    "IS_COPIED",
    "IS_PADDED",
    "READ_ONLY",
    "DLDataType",
    "DLDevice",
    "DLManagedTensor",
    "DLManagedTensorVersioned",
    "DLPackExchangeAPI",
    "DLPackExchangeAPISwapped",
    "DLTensor",
    "DLTensorSwapped",
    "managed_at",
]

READ_ONLY, IS_COPIED, IS_PADDED = 1, 2, 4


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
    """Where elements lie and what they are."""

    _fields_ = (
        ("data", c_void_p),
        ("device", DLDevice),
        ("ndim", c_int32),
        ("dtype", DLDataType),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("byte_offset", c_uint64),
    )


class DLTensorSwapped(ctypes.Structure):
    """A ``DLTensor`` with device and dtype in each other's place."""

    _fields_ = (
        ("data", c_void_p),
        ("dtype", DLDataType),
        ("ndim", c_int32),
        ("device", DLDevice),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("byte_offset", c_uint64),
    )


class DLManagedTensor(ctypes.Structure):
    """The old struct."""

    _fields_ = (("dl_tensor", DLTensor), ("manager_ctx", c_void_p), ("deleter", c_void_p))


class DLManagedTensorVersioned(ctypes.Structure):
    """The struct with version and flags."""

    _fields_ = (
        ("version", DLPackVersion),
        ("manager_ctx", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("dl_tensor", DLTensor),
    )


class DLPackExchangeAPI(ctypes.Structure):
    """The table of the C exchange API, header included."""

    _fields_ = (
        ("version", DLPackVersion),
        ("prev_api", c_void_p),
        ("managed_tensor_allocator", c_void_p),
        ("managed_tensor_from_py_object_no_sync", c_void_p),
        ("managed_tensor_to_py_object_no_sync", c_void_p),
        ("dltensor_from_py_object_no_sync", c_void_p),
        ("current_work_stream", c_void_p),
    )


class DLPackExchangeAPISwapped(ctypes.Structure):
    """The table with version and ``prev_api`` in each other's place."""

    _fields_ = (DLPackExchangeAPI._fields_[1], DLPackExchangeAPI._fields_[0], *DLPackExchangeAPI._fields_[2:])


def managed_at(address: int, versioned: bool) -> Any:
    """Return the managed tensor at an address, as the one struct or the other."""
    return (DLManagedTensorVersioned if versioned else DLManagedTensor).from_address(address)
