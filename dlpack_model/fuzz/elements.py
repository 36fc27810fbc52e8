"""The elements of arrays in programs: how many, how they lie, and values that a vector can write."""

from __future__ import annotations

from dlpack_model.abi import DLDataTypeCode
from dlpack_model.dtypes import DType, Value
from dlpack_model.tensor import compact_strides

__all__ = ["count_of", "strides_of", "value_of"]


def strides_of(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Return the strides of a layout, in elements."""
    if layout == "columns":
        return compact_strides(shape[::-1])[::-1]
    factor = {"rows": 1, "reversed": -1, "gaps": 2}[layout]
    return tuple(factor * stride for stride in compact_strides(shape))


def count_of(shape: tuple[int, ...]) -> int:
    """Return the number of elements of a shape."""
    count = 1
    for length in shape:
        count *= length
    return count


def value_of(kind: DType, number: int) -> Value:
    """Return an element that a vector can write: integers of any size, other numbers that are short when written."""
    lanes = tuple(_lane(kind, number + 31 * lane) for lane in range(kind.lanes))
    return lanes[0] if kind.lanes == 1 else lanes


def _lane(kind: DType, number: int) -> int | float | complex | bool:
    if kind.code in _INTEGERS:
        # A word of a vector has 64 characters, for all lanes together.
        bits = kind.bits if kind.lanes == 1 else min(kind.bits, 40)
        return kind.decode(number * 0x9E37_79B9_7F4A_7C15 & (1 << bits) - 1)
    if kind.code == DLDataTypeCode.kDLComplex:
        return complex(number % 64 / 4 - 8, number % 61 / 4)
    return kind.decode(kind.encode(number % 64 / 4 - (0 if kind.code in _UNSIGNED else 8)))


_INTEGERS = {DLDataTypeCode.kDLInt, DLDataTypeCode.kDLUInt, DLDataTypeCode.kDLOpaqueHandle, DLDataTypeCode.kDLBool}
_UNSIGNED = {DLDataTypeCode.kDLFloat8_e8m0fnu}
