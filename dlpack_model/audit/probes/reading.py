"""Whether a consumer reads what is there: layouts and element types, value by value."""

from __future__ import annotations

from typing import Any

from dlpack_model.abi import IS_SUBBYTE_TYPE_PADDED
from dlpack_model.audit.kit import Source, attempt, told
from dlpack_model.audit.probe import Case, probe
from dlpack_model.dtypes import NAMED, DType

ROW = [[0, 1, 2], [3, 4, 5]]
INT8 = {"bits": 8}
RAW = bytes(range(24))


def _layout(label: str, rule: str, wanted: Any, **fields: Any) -> Case:
    return Case(label, {"fields": repr(fields), "wanted": repr(wanted), "rule": repr(rule)})


def _layouts() -> tuple[Case, ...]:
    same, zero = "from_dlpack/same-values", "DLTensor/zero-dimensional"
    nothing, rows = "DLTensor/data-of-nothing", [[0, 1, 2], [4, 5, 6], [8, 9, 10]]
    plain = {"raw": RAW, "bits": 8}
    return (
        _layout("transposed", same, [[0, 3], [1, 4], [2, 5]], shape=(3, 2), strides=(1, 3), **plain),
        _layout("every second row", same, [[0, 1, 2], [6, 7, 8]], strides=(6, 1), **plain),
        _layout("padded rows", same, rows, shape=(3, 3), strides=(4, 1), **plain),
        _layout("broadcast", same, [[0, 1, 2], [0, 1, 2]], strides=(0, 1), **plain),
        _layout("negative strides", same, [[5, 4, 3], [2, 1, 0]], strides=(-3, -1), shift=5, **plain),
        _layout("odd stride of length 1", same, [[0, 1, 2]], shape=(1, 3), strides=(77, 1), **plain),
        _layout("byte offset", "DLTensor/byte-offset", [[8, 9, 10], [11, 12, 13]], byte_offset=8, **plain),
        _layout("odd byte offset", "DLTensor/byte-offset", [[1, 2, 3], [4, 5, 6]], byte_offset=1, **plain),
        _layout(
            "byte offset without strides",
            "DLTensor/byte-offset",
            [[8, 9, 10], [11, 12, 13]],
            name=b"dltensor",
            strides=None,
            byte_offset=8,
            **plain,
        ),
        _layout("NULL strides, old struct", "DLTensor/strides-not-null", ROW, name=b"dltensor", strides=None, **plain),
        _layout(
            "NULL strides, 1.0", "DLTensor/strides-not-null", ROW, name=b"dltensor_versioned", strides=None, **plain
        ),
        _layout("misaligned", "DLTensor/data-alignment", ROW, raw=b"\x09" + _int32(range(6)), shift=1),
        _layout("no dimensions", zero, 0, shape=(), strides=(), **plain),
        _layout("no dimensions, NULL pointers", zero, 0, shape=None, strides=None, **plain),
        _layout("no elements", nothing, [], shape=(0, 3), strides=(3, 1), data=None, **plain),
        _layout("no elements, last", nothing, [[], []], shape=(2, 0), strides=(0, 1), data=None, **plain),
        _layout(
            "seven dimensions", same, [[[[[[[0, 1, 2]]]]]]], shape=(1,) * 6 + (3,), strides=(3,) * 6 + (1,), **plain
        ),
    )


def _int32(numbers: Any) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def _types() -> tuple[Case, ...]:
    """Make a case of every element type that the header has, with the numbers that it can hold of a few."""
    named = {name: kind for name, kind in NAMED.items() if kind.lanes == 1 and name != "handle64"}
    return *(_type(name, kind) for name, kind in named.items()), _padded()


def _type(name: str, kind: DType) -> Case:
    numbers = [0, 1, 1, 0, 1, 0] if kind.bits < 4 else [1, 2, 4, 1, 2, 4] if "e8m0" in name else [0, 1, 2, 3, 4, 6]
    if kind.bits < 8:
        packed = sum(kind.to_bits(number) << kind.bits * place for place, number in enumerate(numbers))
        raw, rule = packed.to_bytes(8, "little"), "DLDataType/packed-bits"
    else:
        raw, rule = b"".join(kind.write(number, "little") for number in numbers), "from_dlpack/same-values"
    wanted = [_plain(kind.of_bits(kind.to_bits(number))) for number in numbers]
    fields = {"raw": raw, "code": int(kind.code), "bits": kind.bits, "shape": (6,), "strides": (1,)}
    return _layout(name, rule, wanted, **fields)


def _padded() -> Case:
    kind = NAMED["int4"]
    fields = {"raw": bytes((0, 1, 2, 3, 4, 6)), "code": 0, "bits": 4, "shape": (6,), "strides": (1,)}
    wanted = [_plain(kind.of_bits(kind.to_bits(number))) for number in (0, 1, 2, 3, 4, 6)]
    more = {"name": b"dltensor_versioned", "minor": 1, "flags": IS_SUBBYTE_TYPE_PADDED}
    return _layout("int4, padded", "DLDataType/packed-bits", wanted, **fields, **more)


def _plain(value: Any) -> Any:
    """Return a number as the shortest of those that are equal to it."""
    return int(value.real) if value == int(value.real) else float(value)


@probe("layout", "consumer", "from_dlpack/same-values", _layouts())
def layout(consume: Any, values: Any, fields: Any, wanted: Any, rule: Any) -> tuple[str, ...]:
    """Give elements in some layout, and compare what is read."""
    source = Source(**fields)
    source.fields["data"] = source.fields["data"] and source.data + fields.get("shift", 0)
    result, error = attempt(consume, source)
    if error:
        return "choice", f"refused: {told(error)}", rule
    found = values(result)
    return "kept" if found == wanted else "wrong values", f"{found} is read, where {wanted} is right", rule


@probe("type", "consumer", "from_dlpack/same-values", _types())
def element_type(consume: Any, values: Any, fields: Any, wanted: Any, rule: Any) -> tuple[str, ...]:
    """Give elements of some type, and compare what is read."""
    result, error = attempt(consume, Source(**fields))
    if error:
        return "choice", f"refused: {told(error)}", rule
    found, error = attempt(values, result)
    if error:
        return "unsupported", f"taken; its values cannot be had: {told(error)}", rule
    return "kept" if found == wanted else "wrong values", f"{found} is read, where {wanted} is right", rule
