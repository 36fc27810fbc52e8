"""Arrays: elements, views of them, and what they are outside."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

from .dtypes import Dtype, Number, dtype_named
from .layouts import indexed, row_major
from .memory import Memory
from .producing import dlpack, dlpack_device

__all__ = ["Array", "arange", "asarray", "filled"]


class Array:
    """A view of elements that ``owner`` keeps: ``place`` is the address of the first one in bits, strides are elements.

    ``writable`` says whether anybody may write, ``padded`` that small elements take a byte each, ``swapped`` that the
    bytes of an element are in foreign order.
    """

    __slots__ = (
        "__weakref__",
        "_lent",
        "_shared",
        "kind",
        "owner",
        "padded",
        "place",
        "shape",
        "strides",
        "swapped",
        "writable",
    )

    def __init__(
        self,
        owner: Any,
        place: int,
        kind: Dtype,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *,
        writable: bool = True,
        padded: bool = False,
        swapped: bool = False,
    ) -> None:
        self.owner = owner
        self.place = place
        self.kind = kind
        self.shape = shape
        self.strides = strides
        self.writable = writable
        self.padded = padded
        self.swapped = swapped
        self._lent: Any = None
        self._shared = 0

    def __repr__(self) -> str:
        return f"Array({self.tolist()}, dtype={self.dtype!r})"

    @property
    def dtype(self) -> str:
        """Return the name of the element type."""
        return self.kind.name

    @property
    def pointer(self) -> int:
        """Return the address of the first element."""
        return self.place // 8

    @property
    def width(self) -> int:
        """Return the bits that an element takes."""
        return 8 if self.kind.small and self.padded else self.kind.bits

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return prod(self.shape)

    @property
    def compact(self) -> bool:
        """Tell whether the elements lie one behind the other, the last index first."""
        return self.size == 0 or all(
            stride == wanted
            for length, stride, wanted in zip(self.shape, self.strides, row_major(self.shape), strict=True)
            if length != 1
        )

    def places(self) -> Iterator[int]:
        """Yield the place of each element, in the order of their indices."""
        steps = [stride * self.width for stride in self.strides]
        for index in product(*map(range, self.shape)):
            yield self.place + sum(i * step for i, step in zip(index, steps, strict=True))

    def raw(self, place: int) -> bytes:
        """Return the bytes of the element at a place, those of a small one in the low bits."""
        byte, bit = divmod(place, 8)
        if self.width >= 8:
            return ctypes.string_at(byte, self.width // 8)
        high_first = isinstance(self.owner, Memory) and self.owner.high_first
        return bytes([ctypes.string_at(byte, 1)[0] >> (4 - bit if high_first else bit) & 15])

    def tolist(self) -> Any:
        """Return the numbers in nested lists, or the number where there are no dimensions."""
        numbers = (self.kind.decode(self.raw(place), self.swapped) for place in self.places())
        return _nested(numbers, self.shape)

    def view(self, **changes: Any) -> Array:
        """Return another array of the same elements."""
        same: dict[str, Any] = {
            "place": self.place,
            "shape": self.shape,
            "strides": self.strides,
            "writable": self.writable,
            "padded": self.padded,
            "swapped": self.swapped,
        }
        return Array(self.owner, kind=self.kind, **(same | changes))

    def copied(self) -> Array:
        """Return a compact copy in memory of its own, which may be written to."""
        copy = _new(self.kind, self.shape, padded=self.padded)
        if self.compact and self.width >= 8:
            ctypes.memmove(copy.pointer, self.pointer, self.size * self.width // 8)
        else:
            _write(copy, (self.raw(place) for place in self.places()))
        copy.swapped = self.swapped
        return copy

    def reshape(self, *shape: int) -> Array:
        """Return a view of another shape; ``ValueError`` where the array is not compact or has another size."""
        if not self.compact or prod(shape) != self.size or any(length < 0 for length in shape):
            raise ValueError(f"{self.shape} cannot be reshaped to {shape}")
        return self.view(shape=shape, strides=row_major(shape))

    def __getitem__(self, index: int | slice | tuple[int | slice, ...]) -> Array:
        start, shape, strides = indexed(self.shape, self.strides, index if isinstance(index, tuple) else (index,))
        return self.view(place=self.place + start * self.width, shape=shape, strides=strides)

    @property
    def T(self) -> Array:
        """Return a view with the dimensions in reverse."""
        return self.view(shape=self.shape[::-1], strides=self.strides[::-1])

    def broadcast_to(self, shape: Sequence[int]) -> Array:
        """Return a view in which new dimensions, and those of length 1, repeat; ``ValueError`` where that cannot be."""
        new = len(shape) - len(self.shape)
        if new < 0 or any(have not in (1, want) for have, want in zip(self.shape, shape[new:], strict=True)):
            raise ValueError(f"{self.shape} cannot be broadcast to {tuple(shape)}")
        strides = (
            stride if have == want else 0
            for have, want, stride in zip(self.shape, shape[new:], self.strides, strict=True)
        )
        return self.view(shape=tuple(shape), strides=(0,) * new + tuple(strides))

    def readonly(self) -> Array:
        """Return a view that nobody may write to."""
        return self.view(writable=False)

    def byteswapped(self) -> Array:
        """Return a copy of the same numbers in foreign byte order."""
        copy, part = self.copied(), self.kind.part
        for place in range(copy.pointer, copy.pointer + copy.size * copy.width // 8, part):
            ctypes.memmove(place, ctypes.string_at(place, part)[::-1], part)
        copy.swapped = not self.swapped
        return copy

    def __dlpack_device__(self) -> Any:
        """Return device type and number: (1, 0), the CPU."""
        return dlpack_device()

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None, **unknown: Any
    ) -> Any:
        """Return a capsule with the elements; ``BufferError`` where they cannot be exported as asked for."""
        return dlpack(self, stream, max_version, dl_device, copy, unknown)


def _nested(numbers: Iterator[Number], shape: tuple[int, ...]) -> Any:
    return [_nested(numbers, shape[1:]) for _ in range(shape[0])] if shape else next(numbers)


def _new(kind: Dtype, shape: tuple[int, ...], *, padded: bool = False) -> Array:
    width = 8 if kind.small and padded else kind.bits
    memory = Memory((prod(shape) * width + 7) // 8)
    return Array(memory, memory.address * 8, kind, shape, row_major(shape), padded=kind.small and padded)


def _write(array: Array, elements: Iterator[bytes]) -> None:
    """Write elements to a new array in the order of their indices."""
    if array.width >= 8:
        content = b"".join(elements)
    else:
        nibbles = [element[0] & 15 for element in elements]
        nibbles.append(0)
        first = 4 if array.owner.high_first else 0
        pairs = zip(nibbles[::2], nibbles[1::2], strict=False)
        content = bytes(one << first | other << 4 - first for one, other in pairs)
    ctypes.memmove(array.pointer, content, len(content))


def empty(kind: Dtype, shape: tuple[int, ...]) -> Array:
    """Return a compact array of zeros."""
    return _new(kind, shape)


def filled(size: int) -> Array:
    """Return that many bytes, none of them 0."""
    array = _new(dtype_named("uint8"), (size,))
    ctypes.memset(array.pointer, 1, size)
    return array


def asarray(numbers: Sequence[Number], dtype: str = "int32", padded: bool = False) -> Array:
    """Return an array of one dimension; floats of four bits are given as their codes."""
    kind = dtype_named(dtype)
    array = _new(kind, (len(numbers),), padded=padded)
    _write(array, map(kind.encode, numbers))
    return array


def arange(n: int, dtype: str = "int32") -> Array:
    """Return the numbers from 0 to below ``n``."""
    return asarray(range(n), dtype)
