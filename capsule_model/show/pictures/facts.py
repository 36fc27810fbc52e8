"""What a picture shows of a process: its objects, blocks, strings and functions, and which word points to what.

A snapshot is plain data, taken without asking the API, so that looking changes nothing and is never undefined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from capsule_model.layout import capsule_words
from capsule_model.memory import NULL, Block
from capsule_model.objects import FIRST, IMMORTAL, NOTHING, SHIFT, TYPES, Capsule, PyModule_Type, PyObject, PyType_Type
from capsule_model.show.pictures.safe import quoted, safe

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = ["Facts", "Field", "Row", "Thing", "facts_of", "found_at", "thing_at"]

# How much is shown of each thing.
MOST_ROWS = 16
MOST_BYTES = 16
# A pointer of the struct that is NULL in every capsule that does not use it is still a word, and shown.
POINTERS = frozenset({"pointer", "name", "context", "destructor", "traverse_func", "clear_func"})


@dataclass(frozen=True, slots=True)
class Row:
    """One word of a thing: its offset in bytes (None for what is no word), its name, its value, and what it points to.

    ``target`` is the first address of the thing pointed to, None where there is none; ``dangling`` tells that this is
    dead, ``inside`` how many bytes behind its first address the word points.
    """

    offset: int | None
    name: str
    value: str
    target: int | None = None
    dangling: bool = False
    inside: int = 0


@dataclass(frozen=True, slots=True)
class Thing:
    """One object, block, string or function.

    ``kind`` is ``capsule``, ``object``, ``malloc``, ``static``, ``opaque`` or ``function``; ``label`` is what whoever
    looks calls it (empty where nobody does), ``born`` and ``died`` are moments in words, None where there is none.
    ``short`` says in a few words what it is, ``note`` what is in it where it has no rows.
    """

    address: int
    kind: str
    title: str
    short: str
    label: str = ""
    born: str | None = None
    died: str | None = None
    rows: tuple[Row, ...] = ()
    note: str = ""
    refcnt: int | None = None
    tracked: bool | None = None

    @property
    def dead(self) -> bool:
        """Tell whether it was freed."""
        return self.died is not None

    @property
    def history(self) -> str:
        """Say when it came and when it went."""
        parts = [] if self.born is None else [f"since {self.born}"]
        if self.died is not None:
            parts = [f"born at {self.born}", f"freed at {self.died}"]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct in a block: offset and size in bytes, name, and whether it is signed or a pointer."""

    offset: int
    size: int
    name: str
    signed: bool = False
    pointer: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """A snapshot: ``things`` by address in the order in which they are shown, and what is true of the whole process.

    ``left_out`` counts what there was no room for, by kind; ``error`` is the exception that is pending, ``thread`` the
    running one (empty for the first).
    """

    profile: str
    error: str | None
    thread: str
    things: dict[int, Thing]
    left_out: dict[str, int] = field(default_factory=dict)


# Names that whoever looks has for addresses, and the structs that blocks hold: a title and its fields.
Names = Mapping[int, str]
Structs = Mapping[int, tuple[str, Sequence[Field]]]


def facts_of(
    py: Process, names: Names | None = None, structs: Structs | None = None, *, about: int = NULL, most: int = 12
) -> Facts:
    """Take a snapshot of a process: the ``most`` newest objects and blocks, and all that these point to.

    Strings and functions are shown where something shown points to them. ``about`` is an address that is shown in any
    case.
    """
    look = _Look(py, names or {}, structs or {})
    objects, hidden_objects = _newest(_live_objects(py), most)
    dead, hidden_dead = _newest(py.objects.deaths[::3], most // 3)
    blocks, hidden_blocks = _newest([block.address for block in py.memory.heap.blocks], most)
    chosen = sorted({*objects, *dead}) + blocks
    found = found_at(py, about) if about != NULL else None
    if found is not None and found not in chosen:
        chosen.append(found)
    things = _reached(look, chosen, most)
    # What was left out at first, and then found to be pointed to, is shown after all.
    others = {address: thing.kind for address, thing in things.items() if address not in chosen}
    left = {
        "objects": hidden_objects - sum(kind in ("capsule", "object") for kind in others.values()),
        "dead objects": hidden_dead,
        "blocks": hidden_blocks - sum(kind == "malloc" for kind in others.values()),
    }
    return Facts(
        py.profile.name,
        None if py.error is None else safe(repr(py.error), 200),
        safe(py.thread, 40),
        things,
        {kind: count for kind, count in left.items() if count > 0},
    )


def thing_at(py: Process, address: int, names: Names | None = None, structs: Structs | None = None) -> Facts:
    """Take a snapshot of one thing and of what it points to; ``ValueError`` where nothing is or was at the address."""
    base = found_at(py, address)
    if base is None:
        raise ValueError(f"nothing is at {address:#x}: expected the address of an object, a block or a function")
    look = _Look(py, names or {}, structs or {})
    things = {base: look.thing(base)}
    for row in things[base].rows:
        if row.target is not None:
            things.setdefault(row.target, replace(look.thing(row.target), rows=()))
    return Facts(py.profile.name, None if py.error is None else safe(repr(py.error), 200), safe(py.thread, 40), things)


def found_at(py: Process, address: int) -> int | None:
    """Return the first address of what holds an address, dead or alive; None for NULL and where there is nothing."""
    if address == NULL:
        return None
    if address in py.functions:
        return address
    base = address >> SHIFT << SHIFT
    if py.objects.existed(base) or base in py.objects:
        return base
    block = py.memory.nearest(address)
    if block is None or not block.address <= address < block.address + max(block.size, 1):
        return None
    return block.address


def _live_objects(py: Process) -> list[int]:
    """Return the addresses of the objects that programs made; those of a process's start and classes are left out."""
    table = py.objects.table[FIRST:]
    return [one.address for one in table if one is not NOTHING and not _is_scenery(one)]


def _is_scenery(struct: Any) -> bool:
    return bool(struct.ob_type == PyType_Type and struct.ob_refcnt >= IMMORTAL)


def _newest(addresses: list[int], most: int) -> tuple[list[int], int]:
    """Return the last ones of a list, and how many others there are."""
    return addresses[-most:] if most else [], max(len(addresses) - most, 0)


def _reached(look: _Look, chosen: list[int], most: int) -> dict[int, Thing]:
    """Return things and what they point to, at most four times as many as ``most``."""
    things: dict[int, Thing] = {}
    waiting = list(chosen)
    for address in waiting:
        if address in things or len(things) >= 4 * most:
            continue
        thing = things[address] = look.thing(address)
        waiting += [row.target for row in thing.rows if row.target is not None]
    return things


class _Look:
    """Somebody who looks at a process, with names for its addresses."""

    def __init__(self, py: Process, names: Names, structs: Structs) -> None:
        self.py = py
        self.names = names
        self.structs = structs
        self.deaths = {
            op: (born, died)
            for op, born, died in zip(*(py.objects.deaths[start::3] for start in range(3)), strict=True)
        }

    def thing(self, address: int) -> Thing:
        """Return what is known of the thing at an address, which is its first."""
        label = safe(self.names.get(address, ""), 60)
        if label.startswith("#"):
            # So vectors call what an argument makes; what is in it says more.
            label = ""
        function = self.py.functions.get(address)
        if function is not None:
            name = safe(function.name, 60)
            label = "" if label == name else label
            kind = safe(function.type, 40)
            note = f"a {kind} function" if kind in ("traverse", "clear") else f"a {kind}"
            return Thing(address, "function", f"{name}()", f"{name}()", label, note=note)
        struct = self.py.objects.get(address)
        if struct is not None:
            return self._capsule(struct, label) if isinstance(struct, Capsule) else self._object(struct, label)
        if address in self.deaths:
            born, died = map(self.py.memory.when, self.deaths[address])
            return Thing(address, "object", "object", "a dead object", label, safe(born, 90), safe(died, 90))
        block = self.py.memory.nearest(address)
        assert block is not None
        return self._block(block, label)

    def _capsule(self, struct: Capsule, label: str) -> Thing:
        word = self.py.profile.word
        rows = []
        for place, (name, value) in enumerate(capsule_words(self.py, struct.address).items()):
            rows.append(self._word(place * word, name, value, name in POINTERS))
        born = safe(self.py.memory.when(struct.born), 90)
        tracked = struct.is_tracked if "gc-capsule" in self.py.behaviours else None
        refcnt = struct.ob_refcnt
        return Thing(
            struct.address, "capsule", "capsule", "a capsule", label, born, None, tuple(rows), "", refcnt, tracked
        )

    def _object(self, struct: PyObject, label: str) -> Thing:
        cls = self.py.objects.get(struct.ob_type)
        kind = safe(cls.name if isinstance(cls, PyObject) else TYPES.get(struct.ob_type, "object"), 40)
        title = f"{kind} {safe(struct.name, 40)}" if struct.name else kind
        if struct.ob_type == PyModule_Type:
            title = f"module {self._module_name(struct.address)}"
        note = "" if struct.value is None else f"value {safe(repr(struct.value), 40)}"
        rows = [self._word(None, f".{safe(name, 30)}", value, True) for name, value in struct.attrs.items()]
        rows, more = rows[:MOST_ROWS], len(rows) - MOST_ROWS
        if more > 0:
            note = f"and {more} more attributes"
        born = safe(self.py.memory.when(struct.born), 90) if struct.born else None
        count = struct.ob_refcnt if struct.ob_refcnt < IMMORTAL else None
        return Thing(struct.address, "object", title, f"the {title}", label, born, None, tuple(rows), note, count)

    def _module_name(self, address: int) -> str:
        return safe(next((name for name, value in self.py.sys_modules.items() if value == address), ""), 40)

    def _block(self, block: Block, label: str) -> Thing:
        known = self.structs.get(block.address)
        what = {"malloc": "malloc", "static": "C string", "opaque": "opaque"}.get(block.kind, safe(block.kind, 40))
        title = f"{what}, {block.size} bytes"
        rows: tuple[Row, ...] = ()
        note = ""
        if block.died is None:
            if known is not None:
                title = f"{safe(known[0], 60)}, {block.size} bytes"
                rows = tuple(self._fields(block, known[1]))
            else:
                note = _string_in(block)
                rows = () if note else tuple(self._words(block))
                note = note or ("" if rows else _bytes_in(block))
        when = self.py.memory.when
        born, died = safe(when(block.born), 90), None if block.died is None else safe(when(block.died), 90)
        short = note if note.startswith('"') else f"{block.size} bytes" if known is None else safe(known[0], 60)
        return Thing(block.address, block.kind, title, short, label, born, died, rows, note)

    def _words(self, block: Block) -> Iterator[Row]:
        """Yield the words of a block in which at least one points to something, nothing where none does."""
        word = self.py.memory.word
        values = [
            (offset, _integer(self.py, block, offset, word))
            for offset in range(0, min(block.size // word, MOST_ROWS) * word, word)
        ]
        if any(value is not None and found_at(self.py, value) is not None for _, value in values):
            for offset, value in values:
                yield Row(offset, "", "unwritten") if value is None else self._word(offset, "", value, True)

    def _fields(self, block: Block, fields: Sequence[Field]) -> Iterator[Row]:
        for one in fields:
            value = _integer(self.py, block, one.offset, one.size, signed=one.signed)
            if value is None:
                yield Row(one.offset, safe(one.name, 40), "unwritten")
            else:
                yield self._word(one.offset, safe(one.name, 40), value, one.pointer)

    def _word(self, offset: int | None, name: str, value: int, pointer: bool) -> Row:
        if name == "ob_type":
            return Row(offset, name, TYPES.get(value, hex(value)))
        if not pointer:
            return Row(offset, name, str(value) if abs(value) < 1 << 32 else hex(value))
        if value == NULL:
            return Row(offset, name, "NULL")
        base = found_at(self.py, value)
        if base is None:
            return Row(offset, name, f"{value:#x}")
        inside = f" + {value - base}" if value != base else ""
        block = self.py.memory.nearest(base) if base not in self.py.functions else None
        dead = base in self.deaths or (block is not None and block.died is not None)
        return Row(offset, name, f"{base:#x}{inside}", base, dead, value - base)


def _integer(py: Process, block: Block, offset: int, size: int, *, signed: bool = False) -> int | None:
    """Return an integer in a live block, None where it was not written or does not lie in the block."""
    if offset + size > block.size or block.died is not None or not _written(block, offset, size):
        return None
    return int.from_bytes(block.data[offset : offset + size], py.memory.order, signed=signed)


def _written(block: Block, offset: int, size: int) -> bool:
    if block.defined is None:
        return True
    return len(block.defined) > 0 and 0 not in block.defined[offset : offset + size]


def _string_in(block: Block) -> str:
    """Return the C string that fills a block, as C writes it; empty where it holds something else."""
    end = block.data.find(0)
    if block.kind == "opaque" or end < 0 or not _written(block, 0, end + 1):
        return ""
    raw = bytes(block.data[:end])
    # A program may keep anything in memory of its own: what it fills as a text is one.
    if block.kind == "malloc" and (end + 1 < block.size or not all(32 <= byte < 127 for byte in raw[:80])):
        return ""
    return quoted(raw)


def _bytes_in(block: Block) -> str:
    """Return the first bytes of a block in hexadecimal; those that were never written are dots."""
    if block.kind == "opaque":
        return "never read through"
    if block.defined is not None and not block.defined:
        return "nothing written yet"
    shown = [
        f"{block.data[place]:02x}" if _written(block, place, 1) else "··"
        for place in range(min(block.size, MOST_BYTES))
    ]
    more = block.size - MOST_BYTES
    return " ".join(shown) + (f" and {more} more" if more > 0 else "")
