"""Real memory with the face of the simulated one: blocks that are never given back before the vector ends."""

from __future__ import annotations

import ctypes
import sys
from bisect import bisect_right, insort
from collections.abc import Callable

from capsule_model import NULL
from capsule_model.memory import ALIGNMENT, Block, Memory
from capsule_model.undefined import Kind

__all__ = ["MOST_BYTES", "RealMemory"]

# What all blocks of one vector may take together.
MOST_BYTES = 1 << 26


class RealMemory(Memory):
    """The blocks that one vector was given.

    A block that is freed is only marked: what still points to it reads what was there, and nothing else ever lies at
    its address. Only what lies in a block is read or written; anything else raises ``UndefinedBehavior``.
    ``string_elsewhere`` returns the bytes of a C string that lies in none of the blocks, None where there is none.
    """

    def __init__(self, string_elsewhere: Callable[[int], bytes | None]) -> None:
        super().__init__(ctypes.sizeof(ctypes.c_void_p), sys.byteorder)
        self.string_elsewhere = string_elsewhere
        self.buffers: list[ctypes.Array[ctypes.c_char]] = []
        self.starts: list[int] = []
        self.blocks: dict[int, Block] = {}
        self.total = 0

    def malloc(self, size: int) -> int:
        """Allocate zeroed bytes and return their address, aligned to 16."""
        return self._place(size, "malloc")

    def literal(self, value: bytes, *, writable: bool = False) -> int:
        """Place a C string (NUL appended) where it stays and return its address."""
        address = self._place(len(value) + 1, "static")
        self.write(address, value)
        return address

    def _place(self, size: int, kind: str) -> int:
        self.total += size + ALIGNMENT
        if self.total > MOST_BYTES:
            raise ValueError(f"{size} more bytes of memory: expected at most {MOST_BYTES} for one vector")
        buffer = ctypes.create_string_buffer(size + ALIGNMENT)
        address = ctypes.addressof(buffer)
        address += -address % ALIGNMENT
        self.buffers.append(buffer)
        insort(self.starts, address)
        self.blocks[address] = self.last = Block(address, size, kind, self.tick(), bytearray(), None)
        return address

    def free(self, address: int) -> None:
        """Mark a block as freed; NULL is ignored, and so is a block that is dead already."""
        if address == NULL:
            return
        block = self.blocks.get(address)
        if block is None:
            raise self.complain(Kind.INVALID_FREE, address, "frees", self.nearest(address))
        if block.died is None:
            block.died = self.tick()

    def nearest(self, address: int) -> Block | None:
        """Return the block at or just below the address, dead or alive."""
        place = bisect_right(self.starts, address)
        return self.blocks[self.starts[place - 1]] if place else None

    def holds(self, address: int, size: int) -> bool:
        """Tell whether ``size`` bytes at ``address`` lie in a block, dead or alive."""
        block = self.nearest(address)
        return block is not None and address + size <= block.address + block.size

    def block_at(self, address: int, size: int, doing: str) -> Block:
        """Return the block, dead or alive, that holds ``size`` bytes at ``address``, or raise the diagnosis."""
        block = self.nearest(address)
        if block is None or not self.holds(address, size):
            raise self.complain(Kind.OUT_OF_BOUNDS, address, doing, block)
        return block

    def read(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes of a block."""
        self.block_at(address, size, f"reads {size} bytes at")
        return ctypes.string_at(address, size)

    def load_word(self, address: int) -> int:
        """Return the machine word at an address."""
        return int.from_bytes(self.read(address, self.word), self.order)

    def write(self, address: int, value: bytes) -> None:
        """Write bytes into a block."""
        self.block_at(address, len(value), f"writes {len(value)} bytes at")
        ctypes.memmove(address, value, len(value))

    def c_string(self, address: int) -> bytes:
        """Return the bytes of the C string at an address, the NUL left out."""
        block = self.block_at(address, 1, "reads a C string at")
        text, end, _ = self.read(address, block.address + block.size - address).partition(b"\0")
        if not end:
            raise self.complain(Kind.OUT_OF_BOUNDS, address, "reads a C string without a NUL at", block)
        return text

    def peek_string(self, address: int) -> bytes | None:
        """Return the bytes of a C string for somebody who looks on, None where a program could not read them."""
        block = self.nearest(address)
        if block is None or address >= block.address + block.size:
            return self.string_elsewhere(address)
        return self.c_string(address) if block.died is None else None
