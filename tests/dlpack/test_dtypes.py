"""Element types: what the bits of an element mean, held against a library that has the small ones."""

from __future__ import annotations

import importlib
import math
import struct
from itertools import pairwise
from typing import Any

import pytest

from dlpack_model.dtypes import NAMED, DType, dtype_named

NARROW = [name for name, dtype in NAMED.items() if dtype.bits * dtype.lanes <= 16 and dtype.lanes == 1]
SMALL = [name for name in NARROW if name.startswith(("float4", "float6", "float8", "bfloat"))]


def _written_back(dtype: DType, raw: int) -> Any:
    size = dtype.itemsize
    value = dtype.read(raw.to_bytes(size, "little"), "little")
    return value, int.from_bytes(dtype.write(value, "little"), "little")


@pytest.mark.parametrize("name", [name for name in NARROW if not name.startswith("bool")])
def test_every_pattern_of_bits_is_written_back(name: str) -> None:
    """What is read and written again has the bits that it had, the sign of a zero among them; NaN stays NaN."""
    dtype = dtype_named(name)
    for raw in range(1 << dtype.bits):
        value, again = _written_back(dtype, raw)
        if isinstance(value, float) and math.isnan(value):
            again_value, _ = _written_back(dtype, again)
            assert math.isnan(again_value), raw
        else:
            assert again == raw, value


@pytest.mark.parametrize("name", SMALL)
def test_small_floats_are_those_of_another_library(name: str) -> None:
    """Each pattern of bits means what it does in ml_dtypes, and what lies between two is rounded alike."""
    other = pytest.importorskip("ml_dtypes", reason="ml_dtypes is lacking: it comes with the extra jax")
    numpy = importlib.import_module("numpy")
    dtype, theirs = dtype_named(name), getattr(other, name)
    unsigned = "<u2" if dtype.bits == 16 else "u1"
    numbers = numpy.arange(1 << dtype.bits, dtype=unsigned).view(theirs)
    finite = []
    for raw, number in enumerate(map(float, numbers)):
        mine: Any = dtype.read(raw.to_bytes(dtype.itemsize, "little"), "little")
        assert struct.pack("<d", mine) == struct.pack("<d", number) or (math.isnan(number) and math.isnan(mine)), raw
        if math.isfinite(number) and dtype.bits <= 8 and not name.endswith("e8m0fnu"):
            finite.append(number)
    finite.sort()
    for low, high in pairwise(finite):
        middle = (low + high) / 2
        raw = int(numpy.array([middle]).astype(theirs).view(unsigned)[0])
        assert int.from_bytes(dtype.write(middle, "little"), "little") == raw, middle
