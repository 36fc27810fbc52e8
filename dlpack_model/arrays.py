"""Arrays: Python objects that own memory with elements in it, or that view what another library exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from capsule_model import NULL
from dlpack_model.abi import IS_SUBBYTE_TYPE_PADDED, READ_ONLY, DLDeviceType
from dlpack_model.dtypes import DType, Value, dtype_named
from dlpack_model.tensor import Layout, compact_strides, read_values, write_value
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange, Record
    from dlpack_model.producer import Plan, Producer

__all__ = ["CPU", "Array", "array_at", "new_array", "place_array", "set_value", "values_of"]

CPU = (int(DLDeviceType.kDLCPU), 0)


class Array:
    """One array: where its elements lie, and whom the memory belongs to.

    ``data`` and ``flags`` are what stands in a tensor. ``block`` is memory of its own (NULL if none), ``record`` the
    export that it views, ``release`` what it does about that when it dies, with what it ``owes``. ``made_on`` is the
    stream on which the elements are still being computed, ``ready`` the streams that wait for it. ``in_order`` are the
    situations in which an export of it was found to keep its contract, with the struct that was made; ``plans`` say how
    its exports are filled in.
    """

    release: Callable[[Exchange, Array], None] | None = None
    owes: tuple[int, bool, bool] = (NULL, False, True)
    copied = False
    made_on: int | None = None
    ready: frozenset[int] = frozenset()

    def __init__(
        self,
        address: int,
        name: str,
        producer: Producer,
        layout: Layout,
        data: int,
        flags: int = 0,
        block: int = NULL,
        record: Record | None = None,
    ) -> None:
        self.address = address
        self.name = name
        self.producer = producer
        self.layout = layout
        self.data = data
        self.flags = flags
        self.block = block
        self.record = record
        self.in_order: dict[tuple[object, ...], bool] = {}
        self.plans: dict[tuple[object, ...], Plan] = {}

    @property
    def read_only(self) -> bool:
        """Tell whether its elements must not be written to."""
        return self.flags & READ_ONLY != 0

    def _repr_html_(self) -> str:
        """Show type, shape and strides in a notebook; ``Exchange.picture`` shows the bytes, too."""
        from dlpack_model.pictures import array_picture

        return array_picture(self)._repr_html_()

    def _repr_svg_(self) -> str:
        """Show type, shape and strides in a notebook."""
        from dlpack_model.pictures import array_picture

        return array_picture(self)._repr_svg_()

    def __str__(self) -> str:
        """Show type, shape and strides in a terminal."""
        from dlpack_model.pictures import array_picture

        return str(array_picture(self))


def array_at(ex: Exchange, address: int) -> Array | None:
    """Return the array that is alive at an address, None where none is."""
    return ex.arrays.get(address)


def place_array(ex: Exchange, array: Array) -> int:
    """Make the Python object of an array and return a new reference to it."""
    if ex.array_dealloc is None:
        ex.array_dealloc = partial(_dealloc, ex)
    address = array.address = ex.py.new_object(array.producer.type_name, ex.array_dealloc)
    ex.arrays[address] = array
    return address


def _dealloc(ex: Exchange, op: int) -> None:
    """Let go of what the array views, and free what it owns."""
    array = ex.arrays.pop(op)
    if array.release is not None:
        array.release(ex, array)
    if array.block != NULL:
        ex.py.free(array.block)


def new_array(
    ex: Exchange,
    producer: Producer,
    dtype: DType | str,
    shape: Sequence[int],
    values: Sequence[Value] | None = None,
    *,
    strides: Sequence[int] | None = None,
    offset: int = 0,
    device: tuple[int, int] = CPU,
    read_only: bool = False,
    padded: bool = False,
    swapped: bool = False,
    size: int | None = None,
    name: str = "",
) -> int:
    """Allocate an array with these elements (default: 0, 1, 2, …) and return a new reference to it.

    ``strides`` are in elements (default: row-major), ``offset`` is the number of bytes in front of the lowest
    element, ``size`` that of the allocation in bytes (default: what the elements need). ``ValueError`` where the
    number of values is not that of the elements.
    """
    kind = dtype_named(dtype) if isinstance(dtype, str) else dtype
    steps = compact_strides(tuple(shape)) if strides is None else tuple(strides)
    padded = kind.bits % 8 != 0 and (padded or "sizes-are-padded" in ex.readings)
    layout = Layout(0, kind, tuple(shape), steps, device, padded=padded, swapped=swapped)
    low, high = layout.extent()
    needed = offset + high - low if size is None else size
    block = ex.py.malloc(needed) if needed else NULL
    array = Array(0, name or f"array {len(ex.arrays)}", producer, layout, block, block=block)
    array.flags = READ_ONLY * read_only | IS_SUBBYTE_TYPE_PADDED * layout.padded
    place_array(ex, array)
    if block == NULL:
        return array.address
    layout.address = block + offset - low
    _fill(ex, layout, block, needed, values)
    if read_only:
        ex.memory.block_at(block, needed, "protects").writable = False
    return array.address


def _fill(ex: Exchange, layout: Layout, block: int, size: int, values: Sequence[Value] | None) -> None:
    """Write the elements, and zeros around them."""
    count = layout.size
    elements = list(range(count)) if values is None else list(values)
    if len(elements) != count:
        raise ValueError(f"{len(elements)} values for shape {list(layout.shape)}: expected {count}")
    if layout.bit_stride % 8 == 0 and layout.strides == compact_strides(layout.shape):
        order = layout.order(ex.abi.order)
        raw = b"".join(layout.dtype.write(value, order) for value in elements)
        start = layout.address - block
        if start + len(raw) <= size:
            ex.memory.write(block, bytes(start) + raw + bytes(size - start - len(raw)))
            return
    ex.memory.write(block, bytes(size))
    index = [0] * len(layout.shape)
    for value in elements:
        write_value(ex, layout, tuple(index), value)
        for axis in reversed(range(len(index))):
            index[axis] += 1
            if index[axis] < layout.shape[axis]:
                break
            index[axis] = 0


def values_of(ex: Exchange, array: Array) -> list[Value]:
    """Return the elements as the array's own library reads them, in row-major order."""
    ex.touch(array.record, array.name, "reads")
    _must_be_ready(ex, array)
    return read_values(ex, array.layout)


def set_value(ex: Exchange, array: Array, index: tuple[int, ...], value: Value) -> None:
    """Write one element; ``IndexError`` for an index that the shape does not have."""
    ex.touch(array.record, array.name, "writes to")
    _must_be_ready(ex, array)
    # rule: DLManagedTensorVersioned/read-only
    if array.read_only or (array.record is not None and array.record.array.read_only):
        fact = f"{array.name} writes to memory that its producer marked read-only"
        ex.complain(Broken.WRITE_TO_READ_ONLY, fact, "DLManagedTensorVersioned/read-only", array.record)
    write_value(ex, array.layout, index, value)


def _must_be_ready(ex: Exchange, array: Array) -> None:
    """Diagnose a read that does not wait for the stream on which the elements are made."""
    source = array.record.array if array.record is not None and not array.copied else array
    # rule: __dlpack__/stream-synchronised
    if source.made_on is not None and source is not array and source.made_on not in source.ready:
        fact = f"{array.name} uses elements that stream {source.made_on} has not finished"
        ex.complain(Broken.DATA_RACE, fact, "__dlpack__/stream-synchronised", array.record)
