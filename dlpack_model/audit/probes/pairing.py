"""What two libraries do together."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

from dlpack_model.audit.kit import COUNTER, attempt, first, opened, told
from dlpack_model.audit.probe import probe


@probe("pair", "pair", "DLManagedTensor/deleter-once")
def pair(make: Any, consume: Any, values: Any, wanted: Any) -> tuple[str, ...]:
    """Import an array of one library into another: outcome, whether the values arrived, how often it was deleted."""
    array, capsules, seen = make(), [], []

    def export(self: Any, **keywords: Any) -> Any:
        capsules.append(array.__dlpack__(**keywords))
        managed = opened(capsules[-1])
        managed.deleter = COUNTER
        seen.append((managed, first(managed), managed.data + managed.byte_offset))
        return capsules[-1]

    methods = {"__dlpack__": export, "__dlpack_device__": lambda self: array.__dlpack_device__()}
    result, error = attempt(consume, type("Between", (), methods)())
    outcome, right, text = "refuses", "", told(error)
    if error is None:
        found, unread = attempt(values, result)
        right, text = ("" if unread or wanted is None else str(found == wanted)), str(unread or "")
        ctypes.memset(seen[-1][2], 1, 24)
        outcome = "copies" if attempt(values, result)[0] == found else "views"
    del result, error
    gc.collect()
    capsules.clear()
    gc.collect()
    return outcome, right, str(sum(first(managed) - before for managed, before, _ in seen)) if seen else "", text
