"""The bytes of a capsule: its struct word for word, as a debugger would show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.memory import NULL
from capsule_model.objects import SHIFT, Capsule, Parts
from capsule_model.undefined import Kind, NotModelled, diagnose

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = ["POKED", "capsule_bytes", "capsule_words", "poke", "struct_access"]

# The fields that a program can reach behind the API's back without wrecking the header.
POKED = ("pointer", "name", "context", "destructor")
# What stands for the thread that owns the object; the model does not follow ids.
THREAD_ID = 0x7F00_0000_1000
# The low bits of ob_ref_shared: the owner was asked to merge, or the parts are one. Include/object.h:201 (3.13.5)
QUEUED, MERGED = 2, 3


def capsule_words(py: Process, op: int) -> dict[str, int]:
    """Return the words of a capsule's struct by field name, in the order of their offsets.

    In a free-threaded build the owner's part of the reference count stands in the upper half of ``ob_flags``, that of
    all other threads in ``ob_ref_shared``, above two bits that say whether the parts were merged.
    """
    capsule = py.objects[op]
    if not isinstance(capsule, Capsule):
        raise NotModelled("the words of an object that is no capsule")
    # rule: layout/fields-in-order
    words = {name: getattr(capsule, name, NULL) for name in py.profile.fields}
    if "free-threaded-header" in py.behaviours:
        # rule: layout/free-threaded-header
        words |= _free_threaded_header(py, op, capsule)
    return words


def _free_threaded_header(py: Process, op: int, capsule: Capsule) -> dict[str, int]:
    """Return the owner, the word with flags, mutex and GC bits (a byte each at offsets 2, 3) and both counts."""
    # A count in one part is all the owner's.
    parts = py.objects.parts.get(op) or Parts(py.thread, capsule.ob_refcnt)
    order = py.profile.order
    merged = parts.owner is None
    state = MERGED if merged else QUEUED * parts.queued
    raw = bytes([0, 0, 0, int(capsule.is_tracked)]) + (parts.local & 0xFFFF_FFFF).to_bytes(4, order)
    shared = (capsule.ob_refcnt - parts.local << 2 | state) & (1 << 8 * py.profile.word) - 1
    return {
        "ob_tid": NULL if merged else THREAD_ID,
        "ob_flags": int.from_bytes(raw, order),
        "ob_ref_shared": shared,
    }


def capsule_bytes(py: Process, op: int) -> bytes:
    """Return the struct as the profile's machine stores it, ``basicsize`` bytes."""
    # rule: layout/word-size-and-byte-order
    word, order = py.profile.word, py.profile.order
    values = capsule_words(py, op).values()
    return b"".join(value.to_bytes(word, order) for value in values)


def struct_access(py: Process, address: int, size: int, written: bytes | None) -> bytes | None:
    """Read bytes of a capsule's struct, or write them: what the memory asks for an address in none of its blocks.

    Returns the bytes that are there, None where no object ever was. The header cannot be written to, but for the
    reference count.
    """
    base = address >> SHIFT << SHIFT
    if not py.objects.existed(base):
        return None
    raw = bytearray(capsule_bytes(py, base))
    offset = address - base
    if offset + size > len(raw):
        doing = "reads" if written is None else "writes"
        fact = f"{py.memory.now()} {doing} {size} bytes, {offset} bytes into a struct of {len(raw)}"
        raise diagnose(Kind.OUT_OF_BOUNDS, fact, py.objects.birth(base), base)
    if written is not None:
        raw[offset : offset + size] = written
        _store(py, base, bytes(raw))
    return bytes(raw[offset : offset + size])


def _store(py: Process, base: int, raw: bytes) -> None:
    """Take the fields over from the bytes of a struct."""
    capsule, word = py.objects[base], py.profile.word
    for number, (name, old) in enumerate(capsule_words(py, base).items()):
        new = int.from_bytes(raw[number * word : (number + 1) * word], py.profile.order)
        if new != old:
            if name not in (*POKED, "traverse_func", "clear_func", "ob_refcnt"):
                raise NotModelled(f"writing to {name}")
            setattr(capsule, name, new)


def poke(py: Process, op: int, field: str, value: int) -> None:
    """Write one field of the struct without asking the API."""
    capsule = py.objects[op]
    if field not in POKED or not isinstance(capsule, Capsule):
        raise NotModelled(f"writing the field {field} of that object")
    setattr(capsule, field, value)
