"""What a consumer asks of a producer, and what it makes of the answers."""

from __future__ import annotations

import ctypes
from typing import Any

from dlpack_model.audit.kit import Older, Source, Uncopied, attempt, told
from dlpack_model.audit.probe import cases_of, probe


@probe("no-methods", "consumer", "from_dlpack/needs-the-methods")
def no_methods(consume: Any, standard: Any) -> tuple[str, ...]:
    """Give an object without the methods."""
    error = attempt(consume, object())[1]
    if error is None:
        return "contract", "an object without __dlpack__ is taken"
    if isinstance(error, AttributeError):
        return "kept", f"AttributeError: {error}"
    return "contract" if standard else "choice", told(error)


@probe(
    "older-producer",
    "consumer",
    "from_dlpack/type-error-retry",
    cases_of(knows_stream={"known": ("stream",)}, knows_nothing={"known": ()}),
)
def older_producer(consume: Any, known: Any) -> tuple[str, ...]:
    """Give an array whose method does not have the newer keywords."""
    error = attempt(consume, type("Producer", (Older,), {"known": known})())[1]
    if error is None:
        return "kept", "taken"
    if not known:
        return "choice", f"a method without stream: {told(error)}"
    return "style" if isinstance(error, TypeError) else "choice", told(error)


@probe(
    "exceptions",
    "consumer",
    "from_dlpack/propagates",
    cases_of(
        BufferError={"base": "BufferError", "method": "__dlpack__"},
        KeyError={"base": "KeyError", "method": "__dlpack__"},
        own={"base": "Exception", "method": "__dlpack__"},
        device_ValueError={"base": "ValueError", "method": "__dlpack_device__"},
        device_own={"base": "Exception", "method": "__dlpack_device__"},
    ),
)
def exceptions(consume: Any, base: Any, method: Any) -> tuple[str, ...]:
    """Raise an exception of the producer's own."""
    Mine = type("Mine", (eval(base),), {})

    def fail(self: Any, **keywords: Any) -> Any:
        raise Mine("of the producer")

    error = attempt(consume, type("Failing", (Source,), {method: fail})())[1]
    if error is None:
        return "choice", f"{method} is not called"
    return "kept" if isinstance(error, Mine) else "contract", f"{base} of {method} arrives as {type(error).__name__}"


@probe("keywords", "consumer", "from_dlpack/passes-stream")
def keywords_sent(consume: Any) -> tuple[str, ...]:
    """Look at what is asked for."""
    asked: list[Any] = []

    def export(self: Any, **keywords: Any) -> Any:
        asked.append(keywords)
        return Source.__dlpack__(self, **keywords)

    attempt(consume, type("Asked", (Source,), {"__dlpack__": export})())
    text = "asks " + ", then ".join(map(str, asked))
    return "contract" if any(each.get("stream") is not None for each in asked) else "choice", text


@probe("copy-true-of-older", "consumer", "from_dlpack/copy-true", standard=True)
def copy_true_of_older(consume: Any, values: Any) -> tuple[str, ...]:
    """Want a copy of what a producer can only share, since it does not know the keyword."""
    source = type("Older", (Source,), {"__dlpack__": lambda self, stream=None: Source.__dlpack__(self)})()
    result, error = attempt(consume, source, copy=True)
    if error:
        return "choice", told(error)
    ctypes.memset(source.data, 1, 24)
    shares = values(result) != [[0, 1, 2], [3, 4, 5]]
    return "contract" if shares else "kept", "copy=True shares what the producer has" if shares else "copied"


@probe("copy-true-life", "consumer", "DLManagedTensor/deleter-once", standard=True)
def copy_true_life(consume: Any) -> tuple[str, ...]:
    """Want a copy, and count the calls of the deleter."""
    source = type("Older", (Source,), {"__dlpack__": lambda self, stream=None: Source.__dlpack__(self)})()
    text = f"{type(attempt(consume, source, copy=True)[1]).__name__}".replace("NoneType", "taken")
    calls, left = source.state()
    text += f"; deleted {calls} times, left to {left} destructors, of {len(source.exports)}"
    more = calls + left - len(source.exports)
    return (
        ("double free" if more > 0 else "kept", text)
        if more >= 0
        else ("leak", text, "DLManagedTensor/deleter-is-called")
    )


@probe(
    "copy-false-import",
    "consumer",
    "from_dlpack/copy-false",
    cases_of(aligned={"at": 0, "size": 4}, misaligned={"at": 4, "size": 4}, int64={"at": 0, "size": 8}),
    standard=True,
)
def copy_false_import(consume: Any, values: Any, at: Any, size: Any) -> tuple[str, ...]:
    """Want no copy."""
    source = Source(
        raw=bytes(at) + b"".join(i.to_bytes(size, "little") for i in range(6)), byte_offset=at, bits=8 * size
    )
    result, error = attempt(consume, source, copy=False)
    if error:
        return "unsupported" if isinstance(error, TypeError) else "choice", told(error)
    ctypes.memset(source.data, 1, 64)
    shares = values(result) != [[0, 1, 2], [3, 4, 5]]
    return "kept" if shares else "contract", "shared" if shares else "copy=False gives a copy"


@probe("wrong-device", "consumer", "from_dlpack/device", dies="from_dlpack/unsupported-device", standard=True)
def wrong_device(consume: Any, cpu: Any) -> tuple[str, ...]:
    """Want an array on the CPU of a producer that does not know ``dl_device``, and whose tensor is elsewhere."""
    older = type("Older", (Source,), {"__dlpack__": lambda self, stream=None: Source.__dlpack__(self)})
    result, error = attempt(consume, older(device_type=2), device=cpu())
    if error:
        return "kept", told(error)
    return "contract", f"a tensor on CUDA is handed on as one on the CPU: {type(result).__name__}"


@probe("blocked-copy", "consumer", "from_dlpack/blocked-copy", dies="from_dlpack/unsupported-device", standard=True)
def blocked_copy(consume: Any, cpu: Any) -> tuple[str, ...]:
    """Want an array on the CPU without a copy, of a tensor that is elsewhere."""
    result, error = attempt(consume, Uncopied(device_type=2), device=cpu(), copy=False)
    if error is None:
        return (
            "contract",
            f"a tensor on CUDA is handed on as one on the CPU: {type(result).__name__}",
            "from_dlpack/device",
        )
    if isinstance(error, TypeError):
        return "unsupported", told(error)
    kept = isinstance(error, (ValueError, BufferError))
    return "kept" if kept else "style", told(error)


DEVICES = {"CUDA": 2, "OpenCL": 4, "Vulkan": 7, "Metal": 8, "VPI": 9, "ROCm": 10, "oneAPI": 14, "Hexagon": 16}


@probe(
    "unsupported-device",
    "consumer",
    "from_dlpack/unsupported-device",
    cases_of(**{name: {"device": number} for name, number in DEVICES.items()}),
)
def unsupported_device(consume: Any, device: Any) -> tuple[str, ...]:
    """Give a tensor on a device that is not there."""
    error = attempt(consume, Source(device_type=device))[1]
    if error is None:
        return "choice", f"a tensor on device type {device} is taken"
    if isinstance(error, SystemError):
        return "contract", f"SystemError: {error}", "from_dlpack/error-with-null"
    text = f"device type {device}: {told(error)}"
    return "kept" if isinstance(error, BufferError) else "style", text


@probe("unknown-device", "consumer", "DLDevice/device-type")
def unknown_device(consume: Any, carrier: Any) -> tuple[str, ...]:
    """Give a tensor on a device that no header has."""
    error = attempt(consume, Source(device_type=99))[1]
    if error:
        return "kept", told(error)
    return "choice" if carrier else "contract", "device type 99 is taken"


@probe("read-only-taken", "consumer", "from_dlpack/read-only-ignored")
def read_only_taken(consume: Any) -> tuple[str, ...]:
    """Give elements that must not be written to."""
    error = attempt(consume, Source(b"dltensor_versioned"))[1]
    if error:
        return "unsupported", f"versioned structs are refused: {type(error).__name__}"
    error = attempt(consume, Source(b"dltensor_versioned", flags=1))[1]
    return "style" if error else "kept", f"refused: {told(error)}" if error else "taken"


@probe("read-only-kept", "consumer", "from_dlpack/read-only-kept")
def read_only_kept(consume: Any, writable: Any) -> tuple[str, ...]:
    """Give elements that must not be written to, and ask the array whether they may be."""
    result, error = attempt(consume, Source(b"dltensor_versioned", flags=1))
    if error:
        return "unsupported", f"refused: {told(error)}"
    may = writable(result)
    return (
        "contract" if may else "kept",
        f"an array of read-only elements says that it is {'' if may else 'not '}writable",
    )


@probe(
    "unknown-type",
    "consumer",
    "from_dlpack/unknown-dtype",
    cases_of(
        code_99={"fields": {"code": 99}},
        int_of_7_bits={"fields": {"bits": 7}},
        float_of_8_bits={"fields": {"code": 2, "bits": 8}},
        four_lanes={"fields": {"lanes": 4}},
    ),
)
def unknown_type(consume: Any, fields: Any, carrier: Any) -> tuple[str, ...]:
    """Give elements of a type that has no meaning, or hardly any library has."""
    error = attempt(consume, Source(**fields))[1]
    if error:
        return "kept", told(error)
    return "choice" if carrier or "lanes" in fields else "contract", f"an element type with {fields} is taken"
