"""What a producer does with the keywords of ``__dlpack__``: copies, devices, streams, and what it does not know."""

from __future__ import annotations

from typing import Any

from dlpack_model.audit.kit import GetName, attempt, opened, told
from dlpack_model.audit.probe import cases_of, probe


@probe("copy-true", "producer", "__dlpack__/copy-true")
def copy_true(make: Any) -> tuple[str, ...]:
    """Ask for a copy, and compare where the elements lie."""
    array = make()
    shared = array.__dlpack__()
    copy, error = attempt(array.__dlpack__, max_version=(1, 0), copy=True)
    if error:
        return "unsupported" if isinstance(error, TypeError) else "choice", told(error)
    one, other = opened(shared), opened(copy)
    if one.data + one.byte_offset == other.data + other.byte_offset:
        return "contract", "copy=True gives the address of the array's own elements"
    if GetName(copy) == b"dltensor_versioned" and not other.flags & 2:
        return "contract", f"copy=True copies, and the flags are {other.flags}", "DLManagedTensorVersioned/is-copied"
    return "kept", "copied" + ", and marked" * (GetName(copy) == b"dltensor_versioned")


@probe("copy-false", "producer", "__dlpack__/copy-false")
def copy_false(make: Any) -> tuple[str, ...]:
    """Ask twice for no copy: both tensors lie where the array does."""
    array = make()
    capsules, error = attempt(lambda: [array.__dlpack__(copy=False) for _ in range(2)])
    if error:
        return "unsupported" if isinstance(error, TypeError) else "choice", told(error)
    one, other = map(opened, capsules)
    same = one.data + one.byte_offset == other.data + other.byte_offset
    return (
        "kept" if same else "contract",
        "shared" if same else "copy=False gives two addresses for one array: it copies",
    )


@probe("copy-unasked", "producer", "DLManagedTensorVersioned/is-copied")
def copy_unasked(make: Any) -> tuple[str, ...]:
    """Ask twice for anything: a copy that nobody asked for is marked."""
    array = make()
    capsules, error = attempt(lambda: [array.__dlpack__(max_version=(1, 0)) for _ in range(2)])
    if error or GetName(capsules[0]) != b"dltensor_versioned":
        return "unsupported", told(error) if error else "the old struct, which cannot say it"
    one, other = map(opened, capsules)
    if one.data + one.byte_offset == other.data + other.byte_offset:
        return ("style", "the flag IS_COPIED on what is shared") if one.flags & 2 else ("kept", "shared")
    return "kept" if one.flags & 2 else "contract", f"a copy each time, and the flags are {one.flags}"


@probe("device-cpu", "producer", "__dlpack__/dl-device")
def device_cpu(make: Any) -> tuple[str, ...]:
    """Ask for the CPU, which everybody offers."""
    capsule, error = attempt(make().__dlpack__, dl_device=(1, 0))
    if error:
        known = "dl_device" not in str(error) or not isinstance(error, TypeError)
        return "contract" if known else "unsupported", f"dl_device=(1, 0): {told(error)}"
    found = opened(capsule).device_type
    return "kept" if found == 1 else "contract", f"dl_device=(1, 0) gives device type {found}"


@probe(
    "device-other",
    "producer",
    "__dlpack__/device-unsupported",
    cases_of(CUDA={"device": (2, 0)}, Metal={"device": (8, 0)}, unknown={"device": (99, 0)}),
)
def device_other(make: Any, device: Any) -> tuple[str, ...]:
    """Ask for a device that is not there."""
    capsule, error = attempt(make().__dlpack__, dl_device=device)
    if error is None:
        return "contract", f"dl_device={device} gives device type {opened(capsule).device_type}", "__dlpack__/dl-device"
    text = f"dl_device={device}: {told(error)}"
    if isinstance(error, SystemError):
        return "contract", text, "__dlpack__/error-with-null"
    if isinstance(error, TypeError) and "dl_device" in str(error):
        return "unsupported", text
    return "kept" if isinstance(error, BufferError) else "contract", text


@probe(
    "stream",
    "producer",
    "__dlpack__/stream-cpu",
    cases_of(**{f"stream_{number}": {"stream": number} for number in (0, 1, 2, 1234)}, no_sync={"stream": -1}),
)
def stream_on_cpu(make: Any, stream: Any) -> tuple[str, ...]:
    """Hand over a stream where there are none."""
    error = attempt(make().__dlpack__, stream=stream)[1]
    if isinstance(error, SystemError):
        return "contract", f"stream={stream}: SystemError: {error}", "__dlpack__/error-with-null"
    text = f"stream={stream} on the CPU"
    if error:
        return "kept", f"{text}: {told(error)}"
    return "style" if stream == -1 else "contract", f"{text} is accepted"


@probe("unknown-keyword", "producer", "__dlpack__/unknown-keyword")
def unknown_keyword(make: Any) -> tuple[str, ...]:
    """Hand over a keyword that no version of the protocol has."""
    error = attempt(make().__dlpack__, no_such_keyword=1)[1]
    if error is None:
        return "contract", "__dlpack__(no_such_keyword=1) is accepted"
    return "kept" if isinstance(error, TypeError) else "contract", told(error)


@probe("foreign-byte-order", "producer", "DLDataType/native-endianness")
def foreign_byte_order(swapped: Any) -> tuple[str, ...]:
    """Export elements in the other byte order."""
    error = attempt(swapped().__dlpack__)[1]
    if error is None:
        return "wrong values", "an array in the other byte order is exported; nothing can say so"
    kept = isinstance(error, BufferError)
    return "kept" if kept else "style", told(error), "__dlpack__/buffer-error"


@probe("padded-old-struct", "producer", "__dlpack__/padded-needs-flags")
def padded_old_struct(padded: Any) -> tuple[str, ...]:
    """Export padded elements of less than a byte in the struct that cannot say so."""
    capsule, error = attempt(padded().__dlpack__)
    if error:
        return "kept" if isinstance(error, BufferError) else "style", told(error)
    managed = opened(capsule)
    flagged = GetName(capsule) == b"dltensor_versioned" and managed.flags & 4
    return "kept" if flagged or managed.bits >= 8 else "contract", f"{managed.bits} bits, in {GetName(capsule)!r}"
