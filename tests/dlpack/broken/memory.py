"""The memory in which the library's own elements lie."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

from .switches import on

__all__ = ["KEPT", "Memory", "overwrite_later"]

# What a switch wants never to be given back.
KEPT: list[Any] = []


class Memory:
    """A block of ``size`` bytes, all 0, at ``address``; with ``high_first``, bytes are filled from their high bits."""

    __slots__ = ("__weakref__", "address", "block", "high_first", "size")

    def __init__(self, size: int) -> None:
        self.block = (ctypes.c_char * max(size, 1))()
        self.address = ctypes.addressof(self.block)
        self.size = size
        self.high_first = on("DLDataType/packed-bits")


def overwrite_later(memory: Any) -> None:
    """Overwrite the elements with 0xAA when the last array with them dies; the block itself stays."""
    if isinstance(memory, Memory):
        KEPT.append(memory.block)
        weakref.finalize(memory, ctypes.memset, memory.address, 0xAA, memory.size).atexit = False
