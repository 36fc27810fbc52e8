"""Consumers: ``from_dlpack``, and how it asks a producer for a capsule.

The function returns what it returns to Python: a new reference to an array, or NULL with the error indicator set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from capsule_model import NULL
from dlpack_model.arrays import Array
from dlpack_model.contract import REQUESTS, Call, check_import
from dlpack_model.importing import import_capsule
from dlpack_model.producer import __dlpack__, __dlpack_device__
from dlpack_model.streams import stream_on
from dlpack_model.styles import CONSUMER_QUIRKS, CONSUMERS, Consumer, consumer_named
from dlpack_model.suitability import unreachable

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange

__all__ = ["CONSUMERS", "CONSUMER_QUIRKS", "Consumer", "consumer_named", "from_dlpack", "receive"]


def from_dlpack(
    ex: Exchange, consumer: Consumer, x: int, *, device: tuple[int, int] | None = None, copy: int | None = None
) -> int:
    """Import what ``x`` exports, an array or, where the consumer takes those, a capsule.

    Source: array API standard, draft of April 2026, ``from_dlpack``; dlpack.h 1.3.
    """
    call = Call(copy, device)
    ex.journal.append((ex.memory.count, "from_dlpack", consumer, ex.arrays.get(x), call))
    ex.running.append(consumer.running)
    try:
        own = ex.parties.imports
        result = (receive if own is None else own)(ex, consumer, x, device, call)
        if result == NULL:
            ex.journal.append((ex.memory.count, "failed", consumer, call, ex.py.error))
        check_import(ex, consumer, call, result)
        call.result = result
    finally:
        ex.running.pop()
    return result


def receive(ex: Exchange, consumer: Consumer, x: int, device: tuple[int, int] | None, call: Call) -> int:
    """Do what a consumer does in ``from_dlpack``, unwatched: return a new reference, or NULL with the exception."""
    if device is not None or call.copy is not None:
        missing = _not_taken(consumer, device, call)
        if missing is not None:
            return ex.set_error("TypeError", f"from_dlpack() takes no keyword {missing!r}")
    array = ex.arrays.get(x)
    if array is None:
        return _from_capsule(ex, consumer, x, device, call)
    answer = __dlpack_device__(ex, array) if consumer.asks_device else array.layout.device
    reason = None if consumer.any_device else unreachable(consumer, answer)
    if reason is not None:
        call.refused = reason.partition(" ")[0]
        return ex.set_error(consumer.error_for(reason), f"no {reason}")
    call.device = answer[:2]  # type: ignore[assignment]
    if device is not None and call.copy == 0 and device != call.device and consumer.asks_device:
        # rule: from_dlpack/blocked-copy
        kind = "BufferError" if "blocked-copy-buffer-error" in ex.readings else "ValueError"
        return ex.set_error(consumer.errors.get("blocked-copy", kind), "another device needs a copy")
    capsule = _ask(ex, consumer, array, device, call)
    if capsule == NULL:
        if consumer.swallows_errors:
            ex.py.PyErr_Clear()
            return ex.set_error("RuntimeError", "the import failed")
        # rule: from_dlpack/propagates
        return NULL
    return import_capsule(ex, consumer, capsule, call)


def _not_taken(consumer: Consumer, device: tuple[int, int] | None, call: Call) -> str | None:
    """Return a keyword that the consumer's own ``from_dlpack`` does not take, None where it takes all."""
    given = {"device"} if device is not None else set()
    if call.copy is not None:
        given.add("copy")
    return min(given - consumer.takes, default=None)


def _from_capsule(ex: Exchange, consumer: Consumer, x: int, device: tuple[int, int] | None, call: Call) -> int:
    """Import what the user hands over: a capsule, or something that cannot be imported."""
    if not consumer.takes_capsules or ex.py.capsule_at(x) is None:
        # rule: from_dlpack/needs-the-methods
        return ex.set_error(consumer.errors.get("methods", "AttributeError"), "no attribute '__dlpack__'")
    if (device is not None or call.copy is not None) and "capsule-keywords" in consumer.errors:
        return ex.set_error(consumer.error_for("capsule-keywords"), "a capsule takes no keywords")
    ex.py.Py_INCREF(x)
    call.given = True
    return import_capsule(ex, consumer, x, call)


def _ask(ex: Exchange, consumer: Consumer, array: Array, device: tuple[int, int] | None, call: Call) -> int:
    """Call ``__dlpack__``, and again with fewer keywords where it does not know one; return a new capsule or NULL."""
    keywords = dict(consumer.plain)
    if device is not None and consumer.sends_device and not consumer.forgets_device:
        keywords["dl_device"] = device
    if consumer.sends_copy and (call.copy == 0 or (call.copy == 1 and consumer.copies == "producer")):
        keywords["copy"] = call.copy
    asked = device or call.device or array.layout.device
    if consumer.sends_stream and asked[0] in consumer.streamed:
        # rule: from_dlpack/passes-stream
        keywords["stream"] = stream_on(asked[0], consumer.stream)
    call.sent = keywords
    capsule = __dlpack__(ex, array, keywords)
    if capsule != NULL and not consumer.retries_none:
        return capsule
    for attempt in _further(ex, consumer, keywords):
        if capsule != NULL and not (consumer.retries_none and array.producer.returns == "NoneType"):
            break
        if capsule != NULL:
            ex.py.Py_DECREF(capsule)
        elif ex.py.error is None or ex.py.error.type != "TypeError":
            break
        else:
            call.raised.append("TypeError")
            # rule: from_dlpack/type-error-retry
            ex.py.PyErr_Clear()
        call.sent = attempt
        capsule = __dlpack__(ex, array, attempt)
    if capsule != NULL:
        # What was raised before is answered by that.
        call.raised.clear()
    elif ex.py.error is not None:
        call.raised.append(ex.py.error.type)
    return capsule


def _further(ex: Exchange, consumer: Consumer, keywords: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the keywords of each further attempt, fewer every time."""
    asks = any(keywords.get(request) is not None for request in REQUESTS)
    if asks and (consumer.retries_plain or "requests-are-not-dropped" in ex.readings):
        return
    for dropped in consumer.retries:
        fewer = {key: value for key, value in keywords.items() if key not in dropped}
        if fewer != keywords or consumer.retries_unchanged:
            yield fewer
        keywords = fewer
