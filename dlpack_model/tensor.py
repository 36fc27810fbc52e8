"""What a ``DLTensor`` in memory says, whether it makes sense, and where its elements lie."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from capsule_model import NULL
from dlpack_model.abi import DLTensor
from dlpack_model.dtypes import SUB_BYTE_CODES, DType, Order, Value, element_type
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange

__all__ = ["Layout", "compact_strides", "read_layout", "read_values", "write_value"]

INT64 = 1 << 63
WORD64 = 1 << 64
MOST_ELEMENTS = 1 << 20


class Layout:
    """Where the elements of a tensor lie: address of the first, type, shape, strides in elements, how it is packed.

    ``padded`` is said of a sub-byte type each of whose elements starts at a byte, ``swapped`` of elements that are not
    in the machine's byte order.
    """

    __slots__ = ("address", "bit_stride", "device", "dtype", "padded", "shape", "strides", "swapped")

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
        self.swapped = swapped
        self.dtype = dtype
        self.shape = shape
        self.strides = strides
        self.device = device
        self.padded = padded
        # A packed type shares bytes between elements; a padded one, and every other, starts each at a byte.
        self.bit_stride = dtype.element_bits if dtype.element_bits % 8 and not padded else 8 * dtype.itemsize

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return prod(self.shape)

    def order(self, native: Order) -> Order:
        """Return the byte order of the elements."""
        if self.swapped:
            return "big" if native == "little" else "little"
        return native

    def extent(self) -> tuple[int, int]:
        """Return the first byte that the elements take and the one behind the last, relative to the first element."""
        if self.size == 0:
            return 0, 0
        reach = [(length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True)]
        low = sum(step for step in reach if step < 0) * self.bit_stride
        high = sum(step for step in reach if step > 0) * self.bit_stride + self.bit_stride
        return low // 8, -(-high // 8)


def compact_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a row-major compact tensor, in elements."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def read_layout(ex: Exchange, tensor: DLTensor, *, padded: bool = False, null_strides: bool = False) -> Layout:
    """Return the layout that a ``DLTensor`` describes, or raise the diagnosis of one that makes no sense.

    ``null_strides`` says that the struct is of a version before 1.2, whose strides may be NULL.
    """
    ndim = tensor.ndim
    # rule: DLTensor/ndim
    _must(ex, ndim >= 0, f"ndim is {ndim}, expected 0 or more", "DLTensor/ndim")
    dtype = element_type(tensor.code, tensor.bits, tensor.lanes)
    # rule: DLDataType/code-and-bits
    if dtype is None:
        raise _malformed(ex, _dtype_fact(tensor), "DLDataType/code-and-bits")
    # rule: DLDevice/device-type
    known = tensor.device_type in ex.header.device_types
    _must(ex, known, f"device type {tensor.device_type} is none of dlpack.h", "DLDevice/device-type")
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    if ndim:
        # rule: DLTensor/shape
        _must(ex, tensor.shape != NULL, f"shape is NULL with ndim {ndim}", "DLTensor/shape")
        shape = ex.abi.integers_from(ex.memory.read(tensor.shape, 8 * ndim))
        # rule: DLTensor/shape-not-negative
        _must(ex, min(shape) >= 0, f"shape {list(shape)} has a negative length", "DLTensor/shape-not-negative")
        if tensor.strides != NULL:
            strides = ex.abi.integers_from(ex.memory.read(tensor.strides, 8 * ndim))
        else:
            # rule: DLTensor/strides-not-null
            told = f"strides are NULL with ndim {ndim}; from DLPack 1.2 on they must not be"
            _must(ex, null_strides or ex.null_strides, told, "DLTensor/strides-not-null", Broken.CONTRACT)
            strides = compact_strides(shape)
    layout = Layout(
        tensor.data + tensor.byte_offset, dtype, shape, strides, tensor.device, padded=padded and dtype.bits % 8 != 0
    )
    _check_size(ex, layout, tensor)
    return layout


def _dtype_fact(tensor: DLTensor) -> str:
    wanted = SUB_BYTE_CODES.get(tensor.code)  # type: ignore[call-overload]
    more = f"; expected {wanted} bits" if wanted is not None else ""
    return f"type code {tensor.code} with {tensor.bits} bits and {tensor.lanes} lanes means nothing{more}"


def _check_size(ex: Exchange, layout: Layout, tensor: DLTensor) -> None:
    size = layout.size
    # rule: DLTensor/size-in-64-bits
    reach = size * layout.bit_stride < 8 * WORD64 and all(-INT64 <= end < INT64 for end in layout.extent())
    _must(ex, reach, f"shape {list(layout.shape)} takes more than 64 bits can count", "DLTensor/size-in-64-bits")
    if size == 0:
        return
    # rule: DLTensor/data
    _must(ex, tensor.data != NULL, f"data is NULL with {size} elements", "DLTensor/data")
    low, high = layout.extent()
    block = ex.memory.nearest(layout.address)
    if block is None or block.died is not None:
        return
    inside = block.address <= layout.address + low and layout.address + high <= block.address + block.size
    fact = (
        f"elements lie from {layout.address + low - block.address} to {layout.address + high - block.address} "
        f"in a block of {block.size} bytes"
    )
    # rule: DLTensor/inside-allocation
    _must(ex, inside, fact, "DLTensor/inside-allocation")


def _must(ex: Exchange, holds: bool, fact: str, rule: str, kind: Broken = Broken.MALFORMED) -> None:
    if not holds:
        ex.complain(kind, fact, rule)
        if kind == Broken.MALFORMED:
            raise _malformed(ex, fact, rule)


def _malformed(ex: Exchange, fact: str, rule: str) -> Exception:
    """Return the diagnosis of a tensor that cannot be read any further, whatever is watched for."""
    from dlpack_model.violations import Violation

    where = ", called by ".join(reversed(ex.running)) or "the program itself"
    return Violation(Broken.MALFORMED, f"{ex.memory.now()}: {fact}", rule, where, [])


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
    raw = ex.memory.read(layout.address + low, high - low) if _dense(layout) else None
    values = []
    for index in _indices(layout.shape):
        offset = sum(map(int.__mul__, index, layout.strides)) * step
        if raw is None:
            values.append(dtype.read(ex.memory.read(layout.address + offset, dtype.itemsize), order))
        else:
            values.append(dtype.read(raw[offset - low : offset - low + dtype.itemsize], order))
    return values


def _dense(layout: Layout) -> bool:
    """Tell whether every byte between the first and the last element belongs to an element."""
    low, high = layout.extent()
    return high - low == layout.size * layout.dtype.itemsize and 0 not in layout.strides


def _indices(shape: tuple[int, ...]) -> Any:
    return product(*map(range, shape))


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
