"""Element types: what a type code, a number of bits and a number of lanes mean for the bytes of an element.

An element is read as an int, a float, a bool or a complex, or as a tuple of these where there are lanes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from dlpack_model.abi import DLDataTypeCode

__all__ = ["NAMED", "SUB_BYTE_CODES", "DType", "Order", "Value", "dtype_named", "element_type"]

Value = int | float | complex | bool | tuple[int | float | complex | bool, ...]
Order = Literal["little", "big"]

C = DLDataTypeCode


@dataclass(frozen=True, slots=True)
class MiniFloat:
    """A floating-point format of at most a byte: widths of exponent and mantissa, bias, and its special values.

    ``infinities``: the largest exponent means infinity and NaN, as in IEEE 754. ``nan``: ``all`` where all ones are
    a NaN, ``zero`` where minus zero is the only one, None without any. ``unsigned``: no sign bit and no mantissa.
    """

    exponent: int
    mantissa: int
    bias: int
    infinities: bool = False
    nan: Literal["all", "zero"] | None = "all"
    unsigned: bool = False

    def value(self, raw: int) -> float:
        """Return the number that the bits stand for."""
        if self.unsigned:
            return math.nan if raw == 0xFF else 2.0 ** (raw - self.bias)
        sign = -1.0 if raw >> (self.exponent + self.mantissa) & 1 else 1.0
        exponent = raw >> self.mantissa & (1 << self.exponent) - 1
        fraction = raw & (1 << self.mantissa) - 1
        top = exponent == (1 << self.exponent) - 1
        if self.infinities and top:
            return math.nan if fraction else sign * math.inf
        if self.nan == "all" and top and fraction == (1 << self.mantissa) - 1:
            return math.nan
        if self.nan == "zero" and raw == 1 << (self.exponent + self.mantissa):
            return math.nan
        if exponent == 0:
            return sign * fraction * 2.0 ** (1 - self.bias - self.mantissa)
        return sign * (1 + fraction / (1 << self.mantissa)) * 2.0 ** (exponent - self.bias)


# Names read exponent e, mantissa m, then f for finite (no infinities), n for one NaN, uz for no minus zero.
MINI = {
    C.kDLFloat8_e3m4: MiniFloat(3, 4, 3, infinities=True),
    C.kDLFloat8_e4m3: MiniFloat(4, 3, 7, infinities=True),
    C.kDLFloat8_e4m3b11fnuz: MiniFloat(4, 3, 11, nan="zero"),
    C.kDLFloat8_e4m3fn: MiniFloat(4, 3, 7),
    C.kDLFloat8_e4m3fnuz: MiniFloat(4, 3, 8, nan="zero"),
    C.kDLFloat8_e5m2: MiniFloat(5, 2, 15, infinities=True),
    C.kDLFloat8_e5m2fnuz: MiniFloat(5, 2, 16, nan="zero"),
    C.kDLFloat8_e8m0fnu: MiniFloat(8, 0, 127, unsigned=True),
    C.kDLFloat6_e2m3fn: MiniFloat(2, 3, 1, nan=None),
    C.kDLFloat6_e3m2fn: MiniFloat(3, 2, 3, nan=None),
    C.kDLFloat4_e2m1fn: MiniFloat(2, 1, 1, nan=None),
}
# The bits that each of the small formats must say; the header leaves others unspecified.
SUB_BYTE_CODES = {C.kDLFloat6_e2m3fn: 6, C.kDLFloat6_e3m2fn: 6, C.kDLFloat4_e2m1fn: 4}
_IEEE = {16: "e", 32: "f", 64: "d"}


@cache
def _mini_table(code: int, bits: int) -> tuple[float, ...]:
    return tuple(MINI[C(code)].value(raw) for raw in range(1 << bits))


def _encoder(table: tuple[float, ...]) -> Callable[[int | float | complex | bool], int]:
    """Return what turns a value into the bits of the number next to it; most values are one of the numbers."""
    exact = {(number, math.copysign(1.0, number)): raw for raw, number in enumerate(table)}

    def encode(value: int | float | complex | bool) -> int:
        number = float(value.real)
        known = exact.get((number, math.copysign(1.0, number)))
        return _nearest(table, number) if known is None else known

    return encode


def _nearest(table: tuple[float, ...], value: float) -> int:
    """Return the bits of the number next to a value, of two that are as near those that are even."""
    if math.isnan(value):
        return next(raw for raw, known in enumerate(table) if math.isnan(known))
    numbers = [raw for raw, known in enumerate(table) if not math.isnan(known)]
    sign = math.copysign(1.0, value)

    def worth(raw: int) -> tuple[float, int, bool, int]:
        number = table[raw]
        distance = abs(number - value) if number != value else 0.0
        return distance, raw & 1, math.copysign(1.0, number) != sign, raw

    return min(numbers, key=worth)


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """One element type: ``code``, ``bits`` of one lane, ``lanes``, and its ``name``.

    ``decode`` turns the unsigned integer that the bits of one lane make into a value, ``encode`` turns it back.
    ``triple`` is what stands in a ``DLDataType``, ``element_bits`` counts all lanes together, ``itemsize`` the bytes
    that an element takes where it is not packed. There is one object for each type: they are compared by identity.
    """

    code: int
    bits: int
    lanes: int
    name: str
    decode: Callable[[int], int | float | complex | bool]
    encode: Callable[[int | float | complex | bool], int]

    triple: tuple[int, int, int] = (0, 0, 0)
    element_bits: int = 0
    itemsize: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "triple", (self.code, self.bits, self.lanes))
        object.__setattr__(self, "element_bits", self.bits * self.lanes)
        object.__setattr__(self, "itemsize", (self.bits * self.lanes + 7) // 8)

    def read(self, raw: bytes, order: Order) -> Value:
        """Return the element that bytes of memory stand for; the unused bits of a padded one do not count."""
        if self.lanes == 1 and self.code != C.kDLComplex:
            return self.decode(int.from_bytes(raw, order) & (1 << self.bits) - 1)
        if self.bits % 8:
            return self.of_bits(int.from_bytes(raw, "little"))
        size = self.bits // 8
        lanes = tuple(self.decode(self._lane(raw[at : at + size], order)) for at in range(0, len(raw), size))
        return lanes[0] if self.lanes == 1 else lanes

    def _lane(self, raw: bytes, order: Order) -> int:
        """Return the bits of one lane; the two parts of a complex number lie in this order on every machine."""
        if self.code != C.kDLComplex:
            return int.from_bytes(raw, order)
        half = len(raw) // 2
        return int.from_bytes(raw[:half], order) | int.from_bytes(raw[half:], order) << 8 * half

    def write(self, value: Value, order: Order) -> bytes:
        """Return the bytes of an element, padded to whole bytes."""
        if self.bits % 8:
            return self.to_bits(value).to_bytes(self.itemsize, "little")
        lanes = value if isinstance(value, tuple) else (value,) * self.lanes
        parts = 2 if self.code == C.kDLComplex else 1
        size = self.bits // 8 // parts
        mask = (1 << 8 * size) - 1
        return b"".join(
            (self.encode(lane) >> 8 * size * part & mask).to_bytes(size, order)
            for lane in lanes
            for part in range(parts)
        )

    def of_bits(self, raw: int) -> Value:
        """Return the element that packed bits stand for, the first lane in the lowest ones."""
        mask = (1 << self.bits) - 1
        lanes = tuple(self.decode(raw >> self.bits * lane & mask) for lane in range(self.lanes))
        return lanes[0] if self.lanes == 1 else lanes

    def to_bits(self, value: Value) -> int:
        """Return the packed bits of an element."""
        lanes = value if isinstance(value, tuple) else (value,) * self.lanes
        return sum(self.encode(lane) << self.bits * number for number, lane in enumerate(lanes))


@cache
def element_type(code: int, bits: int, lanes: int) -> DType | None:
    """Return the element type of a ``DLDataType``, None where the header gives it no meaning."""
    if lanes < 1 or bits < 1 or code not in C._value2member_map_:
        return None
    kind = C(code)
    name = f"{_stem(kind)}{'' if kind in MINI or kind == C.kDLBool else bits}{f'x{lanes}' if lanes > 1 else ''}"
    if kind in (C.kDLInt, C.kDLUInt, C.kDLOpaqueHandle):
        if kind == C.kDLInt:
            return DType(
                code,
                bits,
                lanes,
                name,
                lambda raw: raw - (raw >> bits - 1 << bits),
                lambda value: int(value.real) & (1 << bits) - 1,
            )
        return DType(code, bits, lanes, name, lambda raw: raw, lambda value: int(value.real) & (1 << bits) - 1)
    if kind == C.kDLBool:
        return DType(code, bits, lanes, name, bool, lambda value: int(bool(value)))
    if kind == C.kDLFloat and bits in _IEEE:
        return DType(code, bits, lanes, name, *_ieee(bits))
    if kind == C.kDLBfloat and bits == 16:
        return DType(code, bits, lanes, name, _bfloat, lambda value: _float_bits(32, value.real) >> 16)
    if kind == C.kDLComplex and bits // 2 in _IEEE and bits % 2 == 0:
        return DType(code, bits, lanes, name, *_complex(bits // 2))
    if kind in MINI and bits == SUB_BYTE_CODES.get(kind, 8):
        table = _mini_table(code, bits)
        return DType(code, bits, lanes, name, table.__getitem__, _encoder(table))
    return None


def _stem(kind: DLDataTypeCode) -> str:
    return {
        C.kDLInt: "int",
        C.kDLUInt: "uint",
        C.kDLFloat: "float",
        C.kDLOpaqueHandle: "handle",
        C.kDLBfloat: "bfloat",
        C.kDLComplex: "complex",
        C.kDLBool: "bool",
    }.get(kind) or kind.name.removeprefix("kDL").lower()


def _float_bits(bits: int, value: float) -> int:
    return int.from_bytes(struct.pack(f"<{_IEEE[bits]}", value), "little")


def _bits_float(bits: int, raw: int) -> float:
    value: float = struct.unpack(f"<{_IEEE[bits]}", raw.to_bytes(bits // 8, "little"))[0]
    return value


def _ieee(
    bits: int,
) -> tuple[Callable[[int], float], Callable[[int | float | complex | bool], int]]:
    return lambda raw: _bits_float(bits, raw), lambda value: _float_bits(bits, value.real)


def _bfloat(raw: int) -> float:
    return _bits_float(32, raw << 16)


def _complex(
    half: int,
) -> tuple[Callable[[int], complex], Callable[[int | float | complex | bool], int]]:
    """Return how a complex number is read and written: a struct of two numbers, the real part first in memory."""
    mask = (1 << half) - 1

    def decode(raw: int) -> complex:
        return complex(_bits_float(half, raw & mask), _bits_float(half, raw >> half))

    def encode(value: int | float | complex | bool) -> int:
        number = complex(value)
        return _float_bits(half, number.real) | _float_bits(half, number.imag) << half

    return decode, encode


def _named() -> dict[str, DType]:
    triples = [(code, bits) for code in (C.kDLInt, C.kDLUInt) for bits in (1, 2, 4, 8, 16, 32, 64)]
    triples += [(C.kDLFloat, bits) for bits in (16, 32, 64)]
    triples += [(C.kDLBfloat, 16), (C.kDLComplex, 64), (C.kDLComplex, 128), (C.kDLBool, 8), (C.kDLOpaqueHandle, 64)]
    triples += [(code, SUB_BYTE_CODES.get(code, 8)) for code in MINI]
    types = [element_type(code, bits, lanes) for code, bits in triples for lanes in (1, 2, 4)]
    return {one.name: one for one in types if one is not None}


NAMED: dict[str, DType] = _named()


def dtype_named(name: str) -> DType:
    """Return the element type of a name such as ``float32``, ``float4_e2m1fn`` or ``int8x4``; else ``ValueError``."""
    try:
        return NAMED[name]
    except KeyError:
        raise ValueError(f"no element type {name[:40]!r}: expected one of {', '.join(NAMED)}") from None
