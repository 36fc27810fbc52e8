"""Streams: which values of ``stream`` a device allows, and how a producer makes the consumer's stream wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlpack_model.abi import DLDeviceType
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.arrays import Array
    from dlpack_model.exchange import Exchange

__all__ = ["NO_SYNCHRONISATION", "STREAMED", "Refused", "allowed", "stream_of", "stream_on", "synchronise"]

CUDA = frozenset({int(DLDeviceType.kDLCUDA), int(DLDeviceType.kDLCUDAManaged)})
ROCM = frozenset({int(DLDeviceType.kDLROCM)})
STREAMED = CUDA | ROCM
NO_SYNCHRONISATION = -1
LEGACY_DEFAULT = 1


class Refused(Exception):
    """Report a stream that the producer does not accept, as the exception that it raises."""

    type = "ValueError"


def allowed(device_type: int, stream: int | None) -> str | None:
    """Return None where a device accepts a stream, else what is wrong with it.

    Source: array API standard, draft of April 2026, ``__dlpack__``, ``stream``.
    """
    if device_type in CUDA:
        # rule: __dlpack__/stream-cuda
        if stream == 0 or (stream is not None and stream < NO_SYNCHRONISATION):
            return f"stream {stream} is ambiguous on CUDA; expected None, -1, 1, 2 or a pointer"
    elif device_type in ROCM:
        # rule: __dlpack__/stream-rocm
        if stream in (1, 2) or (stream is not None and stream < NO_SYNCHRONISATION):
            return f"stream {stream} is not supported on ROCm; expected None, -1, 0 or a pointer"
    # rule: __dlpack__/stream-cpu
    elif stream is not None:
        return f"stream {stream} on a device without streams; expected None"
    return None


def stream_of(device_type: int, stream: int | None) -> int:
    """Return the stream that a value stands for: None is the legacy default stream, 1 on CUDA and 0 on ROCm."""
    if stream is None:
        return 0 if device_type in ROCM else LEGACY_DEFAULT
    return stream


def stream_on(device_type: int, stream: int | None) -> int | None:
    """Return the number that a consumer's stream has on a device: the legacy default stream is 1, and 0 on ROCm."""
    return 0 if stream == LEGACY_DEFAULT and device_type in ROCM else stream


def synchronise(ex: Exchange, array: Array, device: tuple[int, int], stream: int | None) -> None:
    """Make the consumer's stream wait for what is still being computed; raise ``Refused`` for a bad stream.

    With -1 nothing is synchronised; a copy to a device without streams waits until all is done.
    """
    wrong = None if array.producer.ignores_stream else allowed(device[0], stream)
    if wrong is not None:
        raise Refused(wrong)
    if array.made_on is None:
        return
    # rule: __dlpack__/stream-minus-one
    if stream == NO_SYNCHRONISATION:
        if not array.producer.synchronises_anyway:
            return
        fact = f"{array.producer.name} synchronises, and was told not to"
        ex.complain(Broken.CONTRACT, fact, "__dlpack__/stream-minus-one", None, array.address)
    # rule: __dlpack__/stream-synchronised
    array.ready |= {array.made_on}
    if ex.event is None:
        return
    waiting = stream_of(device[0], stream) if device[0] in STREAMED else None
    ex.event({"dlpack": "synchronise", "of": array.address, "stream": waiting})
