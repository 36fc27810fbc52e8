"""The memory of one simulated process: blocks with addresses, C strings, words.

A pointer is an integer and NULL is 0. Nothing is ever put at an address twice, and between two blocks lies a
gap, so that every bad access can be told from a good one and traced to the block that it missed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from capsule_model.undefined import Kind, UndefinedBehavior, diagnose

__all__ = ["NULL", "Block", "Memory", "strcmp"]

NULL = 0
ALIGNMENT = 16
GAP = 64

# Where functions, static storage and the heap begin, by word size; objects lie below.
TEXT = {4: 0x9000_0000, 8: 0x5500_0000_0000}
STATIC = {4: 0xA000_0000, 8: 0x5580_0000_0000}
HEAP = {4: 0xB000_0000, 8: 0x5600_0000_0000}


@dataclass(slots=True)
class Block:
    """One block of memory: ``size`` bytes at ``address``, allocated at event ``born`` and freed at ``died``.

    ``defined`` marks the bytes that were written: empty before any is, None once all are. ``strings`` are the addresses
    of the C strings in it that are remembered.
    """

    address: int
    size: int
    kind: str
    born: int
    data: bytearray
    defined: bytearray | None
    writable: bool = True
    died: int | None = None
    strings: tuple[int, ...] = ()


class Region:
    """A range of addresses that grows upwards; its blocks never move and never come back."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.next = start
        self.bases: list[int] = []
        self.blocks: list[Block] = []

    def add(self, size: int, kind: str, born: int, data: bytearray, *, defined: bool, writable: bool) -> Block:
        """Put a block behind the last one and its gap."""
        address = self.next
        self.next = address + size + GAP + (-size % ALIGNMENT)
        block = Block(address, size, kind, born, data, None if defined else bytearray(), writable)
        self.bases.append(address)
        self.blocks.append(block)
        return block

    def nearest(self, address: int) -> Block | None:
        """Return the block that holds the address, or else the one whose gap it lies in."""
        if not self.start - GAP <= address < self.next or not self.blocks:
            return None
        # What was allocated last is asked for most.
        if address >= self.bases[-1]:
            return self.blocks[-1]
        return self.blocks[max(bisect_right(self.bases, address) - 1, 0)]


class Memory:
    """The blocks of one process.

    ``word`` is the size of a machine word in bytes, ``order`` its byte order (``little`` or ``big``).
    ``count`` numbers what is created and what is freed; histories quote it, or the label of the step that was
    running. ``strings`` remembers C strings that were read, until their block is written to or freed. ``structs``
    reads and writes the structs of objects, which lie in no block: (address, size, bytes to write or None) gives
    the bytes, or None where no object ever was. ``most`` is the largest alignment that the machine asks of a scalar.
    """

    most = 8

    def __init__(self, word: int, order: Literal["little", "big"]) -> None:
        self.word = word
        self.order = order
        self.count = 0
        self.labels: list[tuple[int, str]] = []
        self.static = Region(STATIC[word])
        self.heap = Region(HEAP[word])
        # The block of the last access: the next one is likely to be there, too.
        self.last = Block(NULL, -1, "none", 0, bytearray(), None)
        self.strings: dict[int, bytes] = {}
        self.structs: Callable[[int, int, bytes | None], bytes | None] = lambda address, size, written: None

    def label(self, text: str) -> None:
        """Say what step is running from now on."""
        self.labels.append((self.count, text))

    def tick(self) -> int:
        """Count the next event and return its number."""
        self.count += 1
        return self.count

    def when(self, event: int) -> str:
        """Return what to call an event: the step that was running, or else its number."""
        place = bisect_left(self.labels, event, key=lambda labelled: labelled[0])
        return self.labels[place - 1][1] if place else f"event {event}"

    def now(self) -> str:
        """Return what to call the present moment."""
        return self.labels[-1][1] if self.labels else f"after event {self.count}, the program"

    def malloc(self, size: int) -> int:
        """Allocate ``size`` uninitialised bytes and return their address, aligned to 16."""
        self.count = event = self.count + 1
        block = self.last = self.heap.add(size, "malloc", event, bytearray(size), defined=False, writable=True)
        return block.address

    def literal(self, value: bytes, *, writable: bool = False) -> int:
        """Place a C string (NUL appended) in static storage and return its address."""
        data = bytearray(value + b"\0")
        return self.static.add(len(data), "static", self.tick(), data, defined=True, writable=writable).address

    def reserve(self, size: int, kind: str = "opaque") -> int:
        """Set aside addresses that nobody may read through, and return the first."""
        return self.static.add(size, kind, self.tick(), bytearray(size), defined=False, writable=False).address

    def free(self, address: int) -> None:
        """Free a block from ``malloc``; NULL is ignored. Anything else is undefined behaviour."""
        if address == NULL:
            # rule: memory/free-null
            return
        # What was used last is freed most.
        last = self.last
        block = last if last.address == address and last.kind == "malloc" else self.heap.nearest(address)
        if block is None or block.address != address:
            # rule: memory/invalid-free
            raise self.complain(Kind.INVALID_FREE, address, "frees", block)
        if block.died is not None:
            # rule: memory/double-free
            raise self.complain(Kind.DOUBLE_FREE, address, "frees", block)
        # rule: memory/free
        self.count = block.died = self.count + 1
        # Nobody can read it again.
        block.data, block.defined = bytearray(), None
        if block.strings:
            self._forget_strings(block)

    def block_at(self, address: int, size: int, doing: str) -> Block:
        """Return the live block that holds ``size`` bytes at ``address``, or raise the diagnosis."""
        if address == NULL:
            # rule: memory/null-dereference
            raise self.complain(Kind.NULL_DEREFERENCE, address, doing, None)
        block = self.nearest(address)
        if block is None:
            # rule: memory/wild-pointer
            raise self.complain(Kind.WILD_POINTER, address, doing, None)
        if block.died is not None:
            # rule: memory/use-after-free
            raise self.complain(Kind.USE_AFTER_FREE, address, doing, block)
        if not block.address <= address <= block.address + block.size - size:
            # rule: memory/out-of-bounds
            raise self.complain(Kind.OUT_OF_BOUNDS, address, doing, block)
        return block

    def nearest(self, address: int) -> Block | None:
        """Return the block at or just below the address, dead or alive."""
        return self.heap.nearest(address) or self.static.nearest(address)

    def read(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes, from a block or from the inside of an object; each must have been written before."""
        block = self.last
        offset = address - block.address
        if offset < 0 or offset + size > block.size or block.died is not None:
            raw = self.structs(address, size, None) if self.nearest(address) is None else None
            if raw is not None:
                return raw
            block = self.last = self.block_at(address, size, f"reads {size} bytes at")
            offset = address - block.address
        if block.defined is not None and not _all_written(block.defined, offset, size):
            # rule: memory/uninitialised-read
            raise self.complain(Kind.UNINITIALISED_READ, address, f"reads {size} bytes at", block)
        # rule: memory/read
        return bytes(block.data[offset : offset + size])

    def write(self, address: int, value: bytes) -> None:
        """Write bytes into a block that may be written to, or into an object."""
        size = len(value)
        block = self.last
        offset = address - block.address
        if offset < 0 or offset + size > block.size or block.died is not None:
            if self.nearest(address) is None and self.structs(address, size, value) is not None:
                return
            block = self.last = self.block_at(address, size, f"writes {size} bytes at")
            offset = address - block.address
        if not block.writable:
            # rule: memory/read-only-write
            raise self.complain(Kind.READ_ONLY_WRITE, address, f"writes {size} bytes at", block)
        # rule: memory/write
        block.data[offset : offset + size] = value
        if size == block.size:
            block.defined = None
        elif block.defined is not None:
            block.defined = block.defined or bytearray(block.size)
            block.defined[offset : offset + size] = b"\1" * size
        if block.strings:
            self._forget_strings(block)

    def load(self, address: int, size: int, signed: bool) -> int:
        """Return the integer of ``size`` bytes at an address, which must be aligned to its size."""
        if address % size:
            self._aligned(address, size, "reads")
        return int.from_bytes(self.read(address, size), self.order, signed=signed)

    def store(self, address: int, value: int, size: int, signed: bool) -> None:
        """Write an integer of ``size`` bytes to an address, which must be aligned to its size."""
        self._aligned(address, size, "writes")
        self.write(address, value.to_bytes(size, self.order, signed=signed))

    def load_word(self, address: int) -> int:
        """Return the machine word at an address, which must be aligned to its size."""
        word, block = self.word, self.last
        offset = address - block.address
        if address % word:
            self._aligned(address, word, "reads")
        elif 0 <= offset <= block.size - word and block.died is None and block.defined is None:
            # As read does, spelled out: pointers are followed all the time.
            return int.from_bytes(block.data[offset : offset + word], self.order)
        return int.from_bytes(self.read(address, word), self.order)

    def store_word(self, address: int, value: int) -> None:
        """Write a machine word to an address, which must be aligned to its size."""
        self.store(address, value, self.word, signed=False)

    def c_string(self, address: int) -> bytes:
        """Return the bytes of the C string at an address, the NUL left out; each must have been written."""
        known = self.strings.get(address)
        if known is not None:
            return known
        if self.nearest(address) is None and self.structs(address, 1, None) is not None:
            return self._string_in_struct(address)
        block = self.block_at(address, 1, "reads a C string at")
        start = address - block.address
        end = block.data.find(0, start)
        stop = block.size if end < 0 else end
        if block.defined is not None and not _all_written(block.defined, start, stop + 1 - start):
            # rule: memory/uninitialised-string
            raise self.complain(Kind.UNINITIALISED_READ, address, "reads a C string at", block)
        if end < 0:
            # rule: memory/unterminated-string
            raise self.complain(Kind.OUT_OF_BOUNDS, address, "reads a C string without a NUL at", block)
        value = self.strings[address] = bytes(block.data[start:end])
        block.strings += (address,)
        return value

    def _string_in_struct(self, address: int) -> bytes:
        """Return the bytes of an object's struct up to the next zero; they are read anew each time."""
        value = b""
        while (byte := self.read(address + len(value), 1)) != b"\0":
            value += byte
        return value

    def peek_string(self, address: int) -> bytes | None:
        """Return the bytes of a C string for somebody who looks on, None where a program could not read them."""
        block = self.nearest(address)
        if block is None or block.died is not None or not block.address <= address < block.address + block.size:
            return None
        start = address - block.address
        end = block.data.find(0, start)
        if end < 0 or (block.defined is not None and not _all_written(block.defined, start, end + 1 - start)):
            return None
        return bytes(block.data[start:end])

    def complain(self, kind: Kind, address: int, doing: str, block: Block | None) -> UndefinedBehavior:
        """Return the diagnosis of a bad access, with the history of the block that it missed."""
        fact = f"{self.now()} {doing} {'NULL' if address == NULL else hex(address)}"
        if block is None:
            return diagnose(kind, fact, [], address)
        offset = address - block.address
        if offset:
            fact += f", {offset} bytes into" if 0 < offset < block.size else f", {offset} bytes from the start of"
            fact += f" a block of {block.size}"
        return diagnose(kind, fact, self.history(block), block.address)

    def history(self, block: Block) -> list[str]:
        """Return when a block was allocated and when it was freed, a line each."""
        lines = [f"{block.kind} block of {block.size} bytes, allocated at {self.when(block.born)}"]
        if block.died is not None:
            lines.append(f"freed at {self.when(block.died)}")
        return lines

    def _aligned(self, address: int, size: int, doing: str) -> None:
        if address % min(size, self.most):
            raise self.complain(Kind.MISALIGNED, address, f"{doing} {size} bytes at", self.nearest(address))

    def _forget_strings(self, block: Block) -> None:
        for address in block.strings:
            self.strings.pop(address, None)
        block.strings = ()


def _all_written(defined: bytearray, start: int, size: int) -> bool:
    """Tell whether all of some bytes were written; a block with none that was has no marks."""
    return 0 not in defined[start : start + size] if defined else size == 0


def strcmp(memory: Memory, s1: int, s2: int) -> int:
    """Compare two C strings as C does: nothing behind the first byte that differs is read."""
    try:
        a, b = memory.c_string(s1), memory.c_string(s2)
    except UndefinedBehavior:
        return _strcmp_by_bytes(memory, s1, s2)
    return 0 if a == b else -1 if a < b else 1


def _strcmp_by_bytes(memory: Memory, s1: int, s2: int) -> int:
    while True:
        a, b = memory.read(s1, 1), memory.read(s2, 1)
        if a != b:
            return -1 if a < b else 1
        if a == b"\0":
            return 0
        s1, s2 = s1 + 1, s2 + 1
