"""The rules of the exchange that no library is asked about, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["UNPROBED"]

STREAMS = "it takes a device with streams, which no machine without an accelerator has"

UNPROBED: Mapping[str, str] = {
    "DLPackExchangeAPI/own-type": "a table used with a foreign object does anything; it cannot be seen in time",
    "DLTensor/data-alignment": "any alignment is right; what a consumer does with an odd one is told as a choice",
    "__dlpack__/stream-cuda": STREAMS,
    "__dlpack__/stream-rocm": STREAMS,
    "__dlpack__/stream-minus-one": STREAMS,
    "__dlpack__/stream-synchronised": STREAMS,
}
