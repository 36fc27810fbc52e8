"""Element types: their numbers in ``dlpack.h``, and how an element is read from its bytes and written to them."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass

__all__ = ["DTYPES", "Dtype", "Number", "dtype_named", "dtype_of", "guessed"]

Number = bool | int | float | complex

INT, UINT, FLOAT, COMPLEX, BOOL, FLOAT4 = 0, 1, 2, 5, 6, 17
FLOAT4_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
NATIVE, FOREIGN = "<>" if sys.byteorder == "little" else "><"


@dataclass(frozen=True, slots=True)
class Dtype:
    """An element type: ``form`` is the letter of ``struct``, empty for elements of less than a byte."""

    name: str
    code: int
    bits: int
    form: str

    @property
    def small(self) -> bool:
        """Tell whether an element has less than a byte."""
        return self.bits < 8

    @property
    def part(self) -> int:
        """Return the bytes that trade places where the byte order is another one."""
        return max(1, self.bits // (16 if self.code == COMPLEX else 8))

    def decode(self, raw: bytes, swapped: bool = False) -> Number:
        """Return the number in the bytes of one element; the low bits are those of a small one."""
        if self.small:
            low = raw[0] & 15
            if self.code == FLOAT4:
                return FLOAT4_MAGNITUDES[low & 7] * (-1 if low & 8 else 1)
            return low - 16 if low & 8 else low
        parts = struct.unpack((FOREIGN if swapped else NATIVE) + self.form, raw)
        if self.code == COMPLEX:
            return complex(*parts)
        return bool(parts[0]) if self.code == BOOL else parts[0]

    def encode(self, number: Number) -> bytes:
        """Return the bytes of one element, a small one's in the low bits; a float of four bits is given as its code."""
        if self.small:
            return bytes([int(number.real) & 15])
        if self.code == COMPLEX:
            return struct.pack("=" + self.form, number.real, number.imag)
        return struct.pack("=" + self.form, bool(number) if self.code == BOOL else number)


DTYPES: dict[str, Dtype] = {
    one.name: one
    for one in (
        *(Dtype(f"int{bits}", INT, bits, form) for bits, form in zip((8, 16, 32, 64), "bhiq", strict=True)),
        *(Dtype(f"uint{bits}", UINT, bits, form) for bits, form in zip((8, 16, 32, 64), "BHIQ", strict=True)),
        *(Dtype(f"float{bits}", FLOAT, bits, form) for bits, form in zip((16, 32, 64), "efd", strict=True)),
        Dtype("bool", BOOL, 8, "B"),
        Dtype("complex64", COMPLEX, 64, "ff"),
        Dtype("complex128", COMPLEX, 128, "dd"),
        Dtype("int4", INT, 4, ""),
        Dtype("float4_e2m1fn", FLOAT4, 4, ""),
    )
}
BY_NUMBERS = {(one.code, one.bits): one for one in DTYPES.values()}


def dtype_named(name: str) -> Dtype:
    """Return the type of a name; ``TypeError`` where there is none."""
    if name not in DTYPES:
        raise TypeError(f"no dtype {name!r}")
    return DTYPES[name]


def dtype_of(code: int, bits: int, lanes: int) -> Dtype | None:
    """Return the type that three numbers name, None where the library has none."""
    return BY_NUMBERS.get((code, bits)) if lanes == 1 else None


def guessed(bits: int) -> Dtype:
    """Return the integer type of that many bits, or the smallest."""
    return BY_NUMBERS.get((INT, bits), DTYPES["int8"])
