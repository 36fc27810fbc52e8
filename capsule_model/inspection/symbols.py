"""Symbols of ELF files: which function or datum lies at an address, static ones where the file was not stripped."""

from __future__ import annotations

import mmap
import struct
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Symbols", "symbols_of"]

MAGIC = b"\x7fELF"
PT_LOAD, SHT_SYMTAB, SHT_DYNSYM = 1, 2, 11
# Data, functions, and functions that are chosen when the file is loaded.
KINDS = {1, 2, 10}
MOST_SYMBOLS, MOST_HEADERS, MOST_NAME = 2_000_000, 4096, 500


@dataclass(frozen=True, slots=True)
class Symbols:
    """The symbols of one file, in order of address; addresses are those in the file, from which it is moved as a whole.

    ``first`` is the address that the beginning of the file is loaded at.
    """

    first: int = 0
    starts: tuple[int, ...] = ()
    entries: tuple[tuple[int, str], ...] = ()

    def at(self, offset: int) -> tuple[str, int] | None:
        """Return the symbol that covers what lies ``offset`` bytes after the file's beginning, and how far into it."""
        address = self.first + offset
        place = bisect_right(self.starts, address) - 1
        if place < 0:
            return None
        size, name = self.entries[place]
        into = address - self.starts[place]
        return (name, into) if into < max(size, 1) else None


@lru_cache(maxsize=64)
def symbols_of(file: Path) -> Symbols:
    """Read the symbols of a file; none where it is no ELF file, cannot be read or is broken."""
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(data)
    except (OSError, ValueError, OverflowError, struct.error, IndexError):
        return Symbols()


def _read(data: mmap.mmap) -> Symbols:
    """Read the tables of an ELF file of either word size and byte order."""
    if data[:4] != MAGIC:
        return Symbols()
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    head = struct.unpack_from(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), data, 16)
    program, sections, program_size, programs, section_size, count = (
        head[4],
        head[5],
        head[8],
        head[9],
        head[10],
        head[11],
    )
    loaded = []
    for number in range(min(programs, MOST_HEADERS)):
        at = program + number * program_size
        if wide:
            kind, _, offset, address = struct.unpack_from(order + "IIQQ", data, at)
        else:
            kind, offset, address = struct.unpack_from(order + "III", data, at)
        if kind == PT_LOAD:
            loaded.append(address - address % 0x1000)
    found: dict[int, tuple[int, str]] = {}
    form = order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII")
    for number in range(min(count, MOST_HEADERS)):
        _, kind, _, _, offset, size, link, *_ = struct.unpack_from(form, data, sections + number * section_size)
        if kind in (SHT_SYMTAB, SHT_DYNSYM):
            names = struct.unpack_from(form, data, sections + link * section_size)[4]
            _table(data, order, wide, (offset, size, names), found)
    starts = tuple(sorted(found))
    return Symbols(min(loaded, default=0), starts, tuple(found[start] for start in starts))


def _table(
    data: mmap.mmap, order: str, wide: bool, place: tuple[int, int, int], found: dict[int, tuple[int, str]]
) -> None:
    """Add the symbols of one table; of several at one address, the one that covers most, then the first by name."""
    offset, size, names = place
    entry = struct.Struct(order + ("IBBHQQ" if wide else "IIIBBH"))
    whole = min(size // entry.size, MOST_SYMBOLS) * entry.size
    for fields in entry.iter_unpack(data[offset : offset + whole]):
        if wide:
            name, info, _, section, value, length = fields
        else:
            name, value, length, info, _, section = fields
        if section == 0 or info & 15 not in KINDS:
            continue
        start = names + name
        text = data[start : start + MOST_NAME].partition(b"\0")[0].decode(errors="replace")
        old = found.get(value)
        if text and (old is None or (-length, text) < (-old[0], old[1])):
            found[value] = (length, text)
