"""What is read out of a managed tensor, and when it is refused."""

from __future__ import annotations

import ctypes
from math import prod
from typing import Any

from .arrays import Array
from .capi import byte_at
from .describing import CPU
from .dtypes import Dtype, dtype_of, guessed
from .layouts import row_major
from .owning import Owner
from .structs import IS_COPIED, IS_PADDED, READ_ONLY, DLTensor, managed_at
from .switches import on

__all__ = ["CPU", "MAJOR", "prototype_of", "refused_device", "take_over", "view_of"]

# Device types whose memory the CPU reads: its own, and what is pinned for CUDA and ROCm.
HOST = frozenset({1, 3, 11})
MAJOR = 1
MOST_DIMENSIONS = 64
MOST_BYTES = 2**40
# The elements furthest down and up are still at addresses, and in what C counts with.
FURTHEST = 2**62


def refused_device(device: tuple[int, int]) -> Exception:
    """Return the exception for elements that are where the CPU cannot read them."""
    text = f"cannot read from device {device}"
    if on("from_dlpack/unsupported-device"):
        return RuntimeError(text)
    if on("from_dlpack/error-with-null"):
        return SystemError("returned NULL without setting an exception")
    return BufferError(text)


def _check_major(managed: Any) -> None:
    """Raise ``BufferError`` where the layout behind ``flags`` may be another one."""
    if on("from_dlpack/nothing-past-flags"):
        tensor = managed.dl_tensor
        if tensor.ndim and tensor.shape:
            byte_at(tensor.shape)
        if tensor.data:
            byte_at(tensor.data)
    if managed.version.major != MAJOR and not on("from_dlpack/verifies-version"):
        raise BufferError(f"cannot read major version {managed.version.major}")


def _array_of(managed: Any, versioned: bool, *, anywhere: bool = False) -> Array:
    """Return an array of the elements in a managed tensor, with an owner that does not own yet.

    ``BufferError`` for what cannot be read: elements on another device, unless they may be ``anywhere``, an unknown
    type, lengths that make no sense.
    """
    tensor = managed.dl_tensor
    flags = managed.flags if versioned else 0
    device = tensor.device.device_type, tensor.device.device_id
    if device[0] not in HOST and not anywhere and not on("DLDevice/device-type"):
        raise refused_device(device)
    kind = _dtype(tensor.dtype)
    padded = bool(flags & IS_PADDED and kind.small)
    if on("DLDataType/packed-bits:consumer") and kind.small:
        padded = True
    shape = _shape(tensor)
    array = Array(
        Owner(versioned),
        _place(tensor),
        kind,
        shape,
        _strides(tensor, shape, versioned),
        writable=not flags & READ_ONLY or on("from_dlpack/read-only-kept"),
        padded=padded,
    )
    _check_size(array, tensor.data)
    if flags & READ_ONLY and on("from_dlpack/read-only-ignored"):
        raise BufferError("the elements are read-only")
    return array


def _dtype(numbers: Any) -> Dtype:
    known = dtype_of(numbers.code, numbers.bits, numbers.lanes)
    if known is not None:
        return known
    if on("from_dlpack/unknown-dtype"):
        return dtype_of(numbers.code, numbers.bits, 1) or guessed(numbers.bits)
    raise BufferError(f"no dtype with code {numbers.code}, {numbers.bits} bits and {numbers.lanes} lanes")


def _shape(tensor: Any) -> tuple[int, ...]:
    ndim = tensor.ndim
    if not 0 <= ndim <= MOST_DIMENSIONS:
        raise BufferError(f"cannot have {ndim} dimensions")
    if ndim == 0:
        if on("DLTensor/zero-dimensional"):
            byte_at(tensor.shape)
        return ()
    if not tensor.shape:
        raise BufferError("the shape is NULL")
    shape = _words(tensor.shape, ndim)
    if min(shape) < 0:
        raise BufferError(f"a length is negative in {shape}")
    return shape


def _strides(tensor: Any, shape: tuple[int, ...], versioned: bool) -> tuple[int, ...]:
    if not shape or on("from_dlpack/same-values"):
        return row_major(shape)
    if tensor.strides:
        return _words(tensor.strides, len(shape))
    if on("DLTensor/strides-not-null:consumer") and not versioned:
        byte_at(tensor.strides)
    return row_major(shape)


def _words(address: int, count: int) -> tuple[int, ...]:
    return tuple((ctypes.c_int64 * count).from_address(address))


def _place(tensor: Any) -> int:
    offset = 0 if on("DLTensor/byte-offset:consumer") else tensor.byte_offset
    place: int = 8 * ((tensor.data or 0) + offset)
    return place


def _check_size(array: Array, data: int | None) -> None:
    """Raise ``BufferError`` where there is more than can be, or nothing to read from."""
    size = prod(array.shape)
    if size == 0:
        if on("DLTensor/data-of-nothing:consumer"):
            byte_at(data)
        return
    if not data:
        raise BufferError("there are elements, and data is NULL")
    reach = sum((length - 1) * abs(stride) for length, stride in zip(array.shape, array.strides, strict=True))
    if size * array.width > 8 * MOST_BYTES or reach * array.width > 8 * FURTHEST:
        raise BufferError(f"too large: {array.shape} with strides {array.strides}")


def view_of(address: int, versioned: bool, *, strict: bool, anywhere: bool, copy: bool | None) -> Array:
    """Return an array of what is at an address, which it does not own yet; ``BufferError`` where that is refused."""
    managed = managed_at(address, versioned)
    if versioned:
        _check_major(managed)
        if copy is False and managed.flags & IS_COPIED:
            raise BufferError("the producer made a copy that was forbidden")
    array = _array_of(managed, versioned, anywhere=anywhere)
    place = managed.dl_tensor.device.device_type
    if strict and place != CPU[0] and not anywhere and not on("DLDevice/device-type"):
        raise refused_device((place, managed.dl_tensor.device.device_id))
    return array


def take_over(address: int) -> Array:
    """Take over a versioned struct that came without a capsule; ``BufferError`` where it is refused, taking nothing."""
    array = view_of(address, True, strict=False, anywhere=False, copy=None)
    array.owner.own(address)
    return array


def prototype_of(address: int) -> tuple[Dtype, tuple[int, ...]]:
    """Return type and shape of the ``DLTensor`` at an address; its data and strides are not looked at.

    ``BufferError`` for what the library does not make, ``MemoryError`` for more than it makes.
    """
    tensor = DLTensor.from_address(address)
    device = tensor.device.device_type, tensor.device.device_id
    if device != CPU:
        raise refused_device(device)
    kind = _dtype(tensor.dtype)
    shape = _shape(tensor)
    if on("managed_tensor_allocator/prototype") and shape:
        byte_at(tensor.strides)
    if prod(shape) * kind.bits > 8 * MOST_BYTES:
        raise MemoryError(f"too large: {shape} of {kind.name}")
    return kind, shape
