"""What a ``DLTensor`` in memory says, whether it makes sense, and where its elements lie."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from capsule_model import NULL
from dlpack_model.abi import DLTensor
from dlpack_model.dtypes import SUB_BYTE_CODES, DType, Order, Value, element_type
from dlpack_model.violations import Broken, Violation

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange

__all__ = ["MOST_ELEMENTS", "Form", "Layout", "compact_strides", "read_layout", "read_values", "write_value"]

INT64 = 1 << 63
WORD64 = 1 << 64
MOST_ELEMENTS = 1 << 20


class Form:
    """How elements lie relative to the first one: type, shape, strides, and what follows from them.

    ``size`` counts the elements, ``low`` and ``high`` are the first byte that they take and the one behind the last,
    ``bit_stride`` is the distance of neighbours in bits, and ``dense`` tells whether every byte in between belongs to
    an element.
    """

    __slots__ = ("bit_stride", "dense", "dtype", "high", "low", "padded", "shape", "size", "strides", "swapped")

    def __init__(
        self, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...], padded: bool, swapped: bool
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.strides = strides
        self.padded = padded
        self.swapped = swapped
        self.size = prod(shape)
        # A packed type shares bytes between elements; a padded one, and every other, starts each at a byte.
        packed = dtype.element_bits % 8 != 0 and not padded
        self.bit_stride = dtype.element_bits if packed else 8 * dtype.itemsize
        reach = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)] if self.size else []
        self.low = sum(step for step in reach if step < 0) * self.bit_stride // 8
        last = sum(step for step in reach if step > 0) + 1
        self.high = -(-last * self.bit_stride // 8) if self.size else 0
        self.dense = self.high - self.low == self.size * dtype.itemsize and 0 not in strides


form_of = lru_cache(4096)(Form)


class Layout:
    """Where the elements of a tensor lie: the address of the first, on which device, and in which form.

    Shape and strides count elements. ``padded`` is said of a sub-byte type each of whose elements starts at a byte,
    ``swapped`` of elements that are not in the machine's byte order.
    """

    __slots__ = ("address", "device", "dtype", "form", "shape", "strides")

    def __init__(
        self,
        address: int,
        dtype: DType,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        device: tuple[int, int] = (1, 0),
        *,
        padded: bool = False,
        swapped: bool = False,
    ) -> None:
        self.address = address
        self.device = device
        self.form = form_of(dtype, shape, strides, padded, swapped)
        self.dtype = dtype
        self.shape = shape
        self.strides = strides

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return self.form.size

    @property
    def padded(self) -> bool:
        """Tell whether each element of a sub-byte type starts at a byte."""
        return self.form.padded

    @property
    def swapped(self) -> bool:
        """Tell whether the elements are in the foreign byte order."""
        return self.form.swapped

    @property
    def bit_stride(self) -> int:
        """Return the distance of neighbours in bits."""
        return self.form.bit_stride

    def order(self, native: Order) -> Order:
        """Return the byte order of the elements."""
        if self.form.swapped:
            return "big" if native == "little" else "little"
        return native

    def extent(self) -> tuple[int, int]:
        """Return the first byte that the elements take and the one behind the last, relative to the first element."""
        return self.form.low, self.form.high


def compact_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a row-major compact tensor, in elements."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length or 1
    return tuple(reversed(strides))


def read_layout(ex: Exchange, tensor: DLTensor, *, padded: bool = False, before_1_2: bool = False) -> Layout:
    """Return the layout that a ``DLTensor`` describes, or raise the diagnosis of one that makes no sense.

    ``before_1_2`` is said of a tensor in a struct of a version whose strides may be NULL.
    """
    ndim = tensor.ndim
    # rule: DLTensor/ndim
    if ndim < 0:
        raise _malformed(ex, f"ndim is {ndim}, expected 0 or more", "DLTensor/ndim")
    dtype = element_type(tensor.code, tensor.bits, tensor.lanes)
    # rule: DLDataType/code-and-bits
    if dtype is None:
        raise _malformed(ex, _dtype_fact(tensor), "DLDataType/code-and-bits")
    # rule: DLDevice/device-type
    if tensor.device_type not in ex.header.device_types:
        raise _malformed(ex, f"device type {tensor.device_type} is none of dlpack.h", "DLDevice/device-type")
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    if ndim:
        # rule: DLTensor/shape
        if tensor.shape == NULL:
            raise _malformed(ex, f"shape is NULL with ndim {ndim}", "DLTensor/shape")
        shape = ex.abi.integers_from(ex.memory.read(tensor.shape, 8 * ndim))
        # rule: DLTensor/shape-not-negative
        if min(shape) < 0:
            raise _malformed(ex, f"shape {list(shape)} has a negative length", "DLTensor/shape-not-negative")
        if tensor.strides != NULL:
            strides = ex.abi.integers_from(ex.memory.read(tensor.strides, 8 * ndim))
        else:
            # rule: DLTensor/strides-not-null
            if not (ex.null_strides or before_1_2):
                fact = f"strides are NULL with ndim {ndim}; from DLPack 1.2 on they must not be"
                ex.complain(Broken.CONTRACT, fact, "DLTensor/strides-not-null")
            strides = compact_strides(shape)
    else:
        # rule: DLTensor/zero-dimensional
        strides = ()
    # rule: DLTensor/byte-offset
    first = tensor.data + tensor.byte_offset
    padded = dtype.bits % 8 != 0 and (padded or "sizes-are-padded" in ex.readings)
    layout = Layout(first, dtype, shape, strides, tensor.device, padded=padded)
    _check_size(ex, layout, tensor)
    return layout


def _dtype_fact(tensor: DLTensor) -> str:
    wanted = SUB_BYTE_CODES.get(tensor.code)  # type: ignore[call-overload]
    more = f"; expected {wanted} bits" if wanted is not None else ""
    return f"type code {tensor.code} with {tensor.bits} bits and {tensor.lanes} lanes means nothing{more}"


def _check_size(ex: Exchange, layout: Layout, tensor: DLTensor) -> None:
    form = layout.form
    size, low, high = form.size, form.low, form.high
    # rule: DLTensor/size-in-64-bits
    if size * form.bit_stride >= 8 * WORD64 or low < -INT64 or high > INT64:
        fact = f"shape {list(layout.shape)} takes more than 64 bits can count"
        raise _malformed(ex, fact, "DLTensor/size-in-64-bits")
    if size == 0:
        return
    # rule: DLTensor/data
    if tensor.data == NULL:
        raise _malformed(ex, f"data is NULL with {size} elements", "DLTensor/data")
    block = ex.memory.nearest(layout.address)
    if block is None or block.died is not None:
        return
    start = layout.address - block.address
    # rule: DLTensor/inside-allocation
    if start + low < 0 or start + high > block.size:
        fact = f"elements lie from {start + low} to {start + high} in a block of {block.size} bytes"
        raise _malformed(ex, fact, "DLTensor/inside-allocation")


def _malformed(ex: Exchange, fact: str, rule: str) -> Violation:
    """Return the diagnosis of a tensor that cannot be read any further, whatever is watched for."""
    return ex.diagnosis(Broken.MALFORMED, fact, rule)


def read_values(ex: Exchange, layout: Layout) -> list[Value]:
    """Return the elements in row-major order, each read from memory; ``ValueError`` above 1,048,576 of them."""
    if layout.size > MOST_ELEMENTS:
        raise ValueError(f"{layout.size} elements are too many to read: expected at most {MOST_ELEMENTS}")
    dtype, order = layout.dtype, layout.order(ex.abi.order)
    if layout.bit_stride % 8:
        return [_read_packed(ex, layout, index) for index in _indices(layout.shape)]
    if layout.size == 0:
        return []
    step = layout.bit_stride // 8
    low, high = layout.extent()
    raw = ex.memory.read(layout.address + low, high - low) if layout.form.dense else None
    values = []
    for index in _indices(layout.shape):
        offset = sum(map(int.__mul__, index, layout.strides)) * step
        if raw is None:
            values.append(dtype.read(ex.memory.read(layout.address + offset, dtype.itemsize), order))
        else:
            values.append(dtype.read(raw[offset - low : offset - low + dtype.itemsize], order))
    return values


def _indices(shape: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    # product() holds every range in memory, also where a length of zero leaves it nothing to yield.
    return product(*map(range, shape)) if 0 not in shape else ()


def _read_packed(ex: Exchange, layout: Layout, index: tuple[int, ...]) -> Value:
    """Return an element of a packed type: element i takes the bits from i times its width on, lowest first."""
    first, width = _packed_place(layout, index)
    start, end = first // 8, -(-(first + width) // 8)
    raw = int.from_bytes(ex.memory.read(layout.address + start, end - start), "little")
    # rule: DLDataType/packed-bits
    return layout.dtype.of_bits(raw >> first % 8 & (1 << width) - 1)


def _packed_place(layout: Layout, index: tuple[int, ...]) -> tuple[int, int]:
    width = layout.dtype.element_bits
    return sum(map(int.__mul__, index, layout.strides)) * width, width


def write_value(ex: Exchange, layout: Layout, index: tuple[int, ...], value: Value) -> None:
    """Write one element; ``IndexError`` for an index that the shape does not have."""
    inside = len(index) == len(layout.shape) and all(0 <= i < n for i, n in zip(index, layout.shape, strict=True))
    if not inside:
        raise IndexError(f"index {list(index)} is not in shape {list(layout.shape)}")
    if layout.bit_stride % 8:
        first, width = _packed_place(layout, index)
        start, end = first // 8, -(-(first + width) // 8)
        raw = int.from_bytes(ex.memory.read(layout.address + start, end - start), "little")
        mask = (1 << width) - 1
        raw = raw & ~(mask << first % 8) | layout.dtype.to_bits(value) << first % 8
        ex.memory.write(layout.address + start, raw.to_bytes(end - start, "little"))
        return
    offset = sum(map(int.__mul__, index, layout.strides)) * (layout.bit_stride // 8)
    ex.memory.write(layout.address + offset, layout.dtype.write(value, layout.order(ex.abi.order)))
