"""What is written into a ``DLTensor``: where an array's elements lie, and what they are."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from .memory import Memory
from .structs import DLDataType, DLDevice, DLTensor, DLTensorSwapped
from .switches import on

if TYPE_CHECKING:
    from .arrays import Array

__all__ = ["CPU", "describe", "lengths_bytes"]

CPU = (1, 0)


def lengths_bytes(array: Array) -> int:
    """Return the bytes that shape and strides of an array take."""
    return 16 * len(array.shape)


def describe(array: Array, address: int, room: int, *, strides_needed: bool) -> None:
    """Fill in the ``DLTensor`` at an address, with shape and strides in the room at another one."""
    tensor = (DLTensorSwapped if on("dlpack.h/layout") else DLTensor).from_address(address)
    ndim = len(array.shape)
    tensor.data = _data(array)
    tensor.device = DLDevice(*CPU)
    tensor.ndim = -1 if on("DLTensor/ndim") else ndim
    tensor.dtype = DLDataType(*_dtype(array), 1)
    tensor.shape = room if ndim else None
    tensor.strides = room + 8 * ndim if ndim else None
    tensor.byte_offset = 0
    (ctypes.c_int64 * (2 * ndim)).from_address(room)[:] = list(_lengths(array))
    if on("DLTensor/shape"):
        tensor.shape = None
    if on("DLTensor/strides-not-null") and strides_needed and array.compact:
        tensor.strides = None


def _data(array: Array) -> int | None:
    if array.size == 0:
        return array.pointer if on("DLTensor/data-of-nothing") else None
    if on("DLTensor/data"):
        return None
    if on("DLTensor/byte-offset"):
        return array.owner.address if isinstance(array.owner, Memory) else array.pointer
    if on("DLTensor/inside-allocation"):
        down = sum(
            stride * (length - 1) for length, stride in zip(array.shape, array.strides, strict=True) if stride < 0
        )
        return (array.place + down * array.width) // 8
    return array.pointer


def _dtype(array: Array) -> tuple[int, int]:
    bits = array.kind.bits
    if on("DLDataType/code-and-bits") and array.dtype == "float32":
        bits = 33
    if on("DLDataType/sub-byte-bits") and array.dtype == "float4_e2m1fn":
        bits = 8
    return array.kind.code, bits


def _lengths(array: Array) -> tuple[int, ...]:
    shape, strides = array.shape, array.strides
    if on("from_dlpack/same-values:producer"):
        strides = tuple(stride * max(1, array.width // 8) for stride in strides)
    if on("DLTensor/shape-not-negative"):
        shape = (*(-max(1, length) for length in shape[:1]), *shape[1:])
    if on("DLTensor/size-in-64-bits"):
        shape = (*(2**62 for _ in shape[:1]), *shape[1:])
    return shape + strides
