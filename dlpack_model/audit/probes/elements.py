"""What a producer's struct says of the elements, of many types and layouts."""

from __future__ import annotations

import ctypes
import json
import math
from ctypes import c_int64
from typing import Any

from dlpack_model.audit.kit import GetName, attempt, lengths, opened, told
from dlpack_model.audit.probe import probe

# The cases are those of the library's description: an array, its shape, and its type as code, bits, lanes.


@probe("tensor", "producer", "DLDataType/code-and-bits", ())
def tensor(make: Any, shape: Any, dtype: Any) -> tuple[str, ...]:
    """Look at the fields of a tensor before anything is read through them."""
    capsule, error = attempt(make().__dlpack__, max_version=(1, 3))
    capsule, error = attempt(make().__dlpack__) if isinstance(error, TypeError) else (capsule, error)
    if error:
        return "choice", f"refused: {told(error)}"
    managed = opened(capsule)
    if managed.ndim != len(shape):
        return "contract", f"ndim is {managed.ndim}, where the shape is {shape}", "DLTensor/ndim"
    if shape and not managed.shape:
        return "contract", f"the pointer to the shape is NULL, where the shape is {shape}", "DLTensor/shape"
    if lengths(managed) != list(shape):
        rule = "DLTensor/shape-not-negative" if min(lengths(managed)) < 0 else "DLTensor/size-in-64-bits"
        return "contract", f"the shape is {lengths(managed)}, where {shape} is right", rule
    if 0 in shape:
        return (
            "style" if managed.data else "kept",
            f"no elements, and data is {'not ' * bool(managed.data)}NULL",
            "DLTensor/data-of-nothing",
        )
    if not managed.data:
        return "contract", "there are elements, and data is NULL", "DLTensor/data"
    if shape and not managed.strides:
        late = GetName(capsule) == b"dltensor_versioned" and (managed.major, managed.minor) >= (1, 2)
        return "contract" if late else "choice", "strides are NULL", "DLTensor/strides-not-null"
    seen = managed.code, managed.bits, managed.lanes
    rule = "DLDataType/sub-byte-bits" if dtype[1] < 8 else "DLDataType/code-and-bits"
    return "kept" if seen == dtype else "contract", f"code, bits, lanes: {seen}, where {dtype} is right", rule


def facts(make: Any, values: Any) -> tuple[str, ...]:
    """Return what a struct says, the bytes that it says it about, and what the library itself reads there, as JSON."""
    array = make()
    capsule, error = attempt(array.__dlpack__, max_version=(1, 3))
    capsule, error = attempt(array.__dlpack__) if isinstance(error, TypeError) else (capsule, error)
    if error:
        return "choice", f"refused: {told(error)}"
    managed, versioned = opened(capsule), GetName(capsule) == b"dltensor_versioned"
    shape = lengths(managed)
    strides = list((c_int64 * len(shape)).from_address(managed.strides)) if managed.strides and shape else []
    strides = strides or [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    padded = versioned and bool(managed.flags & 4)
    bits = (
        managed.bits * managed.lanes if managed.bits % 8 and not padded else -(-managed.bits * managed.lanes // 8) * 8
    )
    reach = [(length - 1) * stride * bits for length, stride in zip(shape, strides, strict=True)]
    low, high = (sum(step for step in reach if (step < 0) == down) // 8 for down in (True, False))
    size = high - low + -(-bits // 8) + 1 if math.prod(shape) else 0
    if max(size, math.prod(shape)) > 1 << 20:
        return "unsupported", f"{max(size, math.prod(shape))} are too many to read"
    said = {name: getattr(managed, name) for name in ("code", "bits", "lanes")}
    said |= {"shape": shape, "strides": strides, "padded": padded, "versioned": versioned, "low": low}
    raw = ctypes.string_at((managed.data or 0) + managed.byte_offset + low, size - 1) if size else b""
    return "facts", json.dumps(said | {"raw": raw.hex(), "values": _flat(values(array))})


def _flat(found: Any) -> Any:
    if isinstance(found, (list, tuple)):
        return [value for part in found for value in _flat(part)]
    return [[found.real, found.imag] if isinstance(found, complex) else found]


@probe("element", "producer", "from_dlpack/same-values", (), look=facts)
def element(make: Any, index: Any, raw: Any, value: Any, rule: Any) -> tuple[str, ...]:
    """Read the bytes of one element where the struct says that it lies."""
    capsule, error = attempt(make().__dlpack__, max_version=(1, 3))
    managed = opened(attempt(make().__dlpack__)[0] if error else capsule)
    strides = list((c_int64 * len(index)).from_address(managed.strides)) if managed.strides else []
    strides = strides or [math.prod(lengths(managed)[axis + 1 :]) for axis in range(len(index))]
    padded = hasattr(managed, "flags") and managed.flags & 4
    width = 8 if padded else managed.bits * managed.lanes
    bits = sum(i * stride for i, stride in zip(index, strides, strict=True)) * width
    found = ctypes.string_at(managed.data + managed.byte_offset + bits // 8, len(raw))
    if managed.bits < 8:
        found = bytes((found[0] >> bits % 8 & (1 << managed.bits) - 1,))
    text = f"element {index} is {value}, {raw.hex()} in memory; where the struct says it lies is {found.hex()}"
    return "kept" if found == raw else "wrong values", text, rule
