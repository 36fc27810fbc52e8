"""Why a consumer does not take a tensor, and when it makes a copy of its own."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from capsule_model import NULL
from dlpack_model.abi import READ_ONLY, DLTensor
from dlpack_model.dtypes import element_type

if TYPE_CHECKING:
    from dlpack_model.contract import Call
    from dlpack_model.exchange import Exchange
    from dlpack_model.styles import Consumer
    from dlpack_model.tensor import Layout

__all__ = ["copies_itself", "senseless", "unreachable", "unsuited", "unsupported"]


def unreachable(consumer: Consumer, answer: tuple[int, ...]) -> str | None:
    """Return why the consumer does not go on with what ``__dlpack_device__`` answers, None where it does."""
    if consumer.unpacks_device and len(answer) != 2:
        return "answer"
    if consumer.platforms is not None and answer[0] not in consumer.platforms:
        return "device platform"
    if answer[0] in consumer.absent:
        return "runtime"
    number = answer[1] if len(answer) > 1 else 0
    if consumer.device_numbers is not None and number >= consumer.device_numbers:
        return "number"
    return None


def unsupported(consumer: Consumer, tensor: DLTensor, flags: int) -> str | None:
    """Return why the consumer does not take a tensor by its scalar fields, None where it does."""
    _, device_type, _, ndim, code, bits, lanes, _, strides, byte_offset = tensor
    if device_type not in consumer.devices:
        return f"device {device_type}"
    if ndim > consumer.most_ndim:
        return "ndim"
    if not consumer.lanes and lanes != consumer.lanes_of.get((code, bits), 1):
        return "lanes"
    # rule: from_dlpack/unknown-dtype
    if element_type(code, bits, lanes) is None and not consumer.trusts_dtype:
        return "dtype"
    if consumer.dtypes is not None and (code, bits) not in consumer.dtypes:
        return "dtype"
    if consumer.read_only == "refuses" and flags & READ_ONLY:
        return "read-only"
    if strides == NULL:
        if not consumer.null_strides and ndim > 0:
            return "null-strides"
        if not consumer.offset_without_strides and byte_offset:
            return "offset-without-strides"
    return None


def senseless(ex: Exchange, consumer: Consumer, tensor: DLTensor) -> str | None:
    """Return why a tensor makes no sense to a consumer that looks for such a thing: it has an exception for it."""
    errors = consumer.errors
    if tensor.ndim < 0:
        return "negative-ndim" if "negative-ndim" in errors else None
    if "negative-length" not in errors and "too-large" not in errors:
        return None
    shape = ex.abi.integers_from(ex.memory.read(tensor.shape, 8 * tensor.ndim)) if tensor.ndim else ()
    if min(shape, default=0) < 0 and "negative-length" in errors:
        return "negative-length"
    if prod(shape) * tensor.bits >= 1 << 66 and "too-large" in errors:
        return "too-large"
    return None


def unsuited(consumer: Consumer, layout: Layout, call: Call) -> str | None:
    """Return why the consumer does not take elements that lie like this, None where it does."""
    if not consumer.negative_strides and min(layout.strides, default=0) < 0:
        return "negative-strides"
    if consumer.compact_only and layout.size and not _compact(layout):
        return "strides"
    if call.copy == 0 and _misaligned(consumer, layout) and "misaligned" in consumer.errors:
        return "misaligned"
    return None


def copies_itself(consumer: Consumer, layout: Layout, call: Call) -> bool:
    """Tell whether the consumer makes a copy of its own: also where the producer did not hear of the one wanted."""
    if call.copy == 1 and consumer.copies == "consumer":
        # rule: from_dlpack/copy-true
        return not (consumer.copy_may_share and _compact(layout, row_major=True) and not _misaligned(consumer, layout))
    unheard = call.copy == 1 and consumer.copies == "producer" and "copy" not in call.sent
    if consumer.copies == "always" or unheard:
        # rule: from_dlpack/copy-true
        return True
    return call.copy != 0 and _misaligned(consumer, layout)


def _compact(layout: Layout, *, row_major: bool = False) -> bool:
    """Tell whether the elements fill their memory, with the dimensions in some order or in that of the shape."""
    steps = [(stride, length) for stride, length in zip(layout.strides, layout.shape, strict=True) if length != 1]
    expected = 1
    for stride, length in reversed(steps) if row_major else sorted(steps):
        if stride != expected:
            return False
        expected *= length
    return True


def _misaligned(consumer: Consumer, layout: Layout) -> bool:
    return consumer.copies_if_misaligned != 0 and layout.address % consumer.copies_if_misaligned != 0
