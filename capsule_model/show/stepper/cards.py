"""What is alive in a simulated process, as cards of named fields, and what changed since somebody last looked.

Looking on leaves no trace: no token is given, no rule is counted as carried out, nothing is read that a program could
not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capsule_model.layout import capsule_words
from capsule_model.memory import NULL, Block
from capsule_model.objects import FIRST, IMMORTAL, NONE, SHIFT, Capsule, PyModule_Type, PyObject, PyType_Type
from capsule_model.trace.wording import clean

if TYPE_CHECKING:
    from capsule_model.trace.execute import Machine

__all__ = ["SECTIONS", "Card", "Cards", "Changes", "TooMuch", "object_card"]

SECTIONS = ("Capsules", "Python objects", "Memory blocks", "C strings", "Opaque pointers", "Functions")
_CAPSULES, _OBJECTS, _BLOCKS, _STRINGS, _OPAQUE, _FUNCTIONS = SECTIONS
_SECTION_OF = {"malloc": _BLOCKS, "static": _STRINGS, "opaque": _OPAQUE}
# Of a block so many bytes are shown, in rows of so many.
MOST_BYTES, ROW = 128, 16
MOST_ATTRIBUTES = 64
# How many things are looked at in one run; no vector of a suite comes near it.
MOST_LOOKS = 4_000_000
_OWNED = "program owns"

Fields = dict[str, str]


@dataclass(slots=True)
class Card:
    """One thing that is alive: in which section it stands, what it is called, where it lies, and its fields."""

    section: str
    label: str
    at: str
    fields: Fields


@dataclass(slots=True)
class Changes:
    """What changed between two looks: cards that are new, fields that are others, and what went, with when it did.

    In ``changed``, a field that is no more is None, and the key ``#label`` is the name of the card itself.
    """

    new: dict[str, Card] = field(default_factory=dict)
    changed: dict[str, dict[str, str | None]] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Tell whether anything changed."""
        return bool(self.new or self.changed or self.gone)


class TooMuch(Exception):
    """Report a run of which more would have to be looked at than is reasonable."""


class Cards:
    """Everything that is alive in the process of a machine, by id.

    The id is a letter and a number: ``o`` for objects, ``b`` for blocks of the heap, ``s`` for static storage, ``f``
    for functions; extensions have letters of their own.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.cards: dict[str, Card] = {}
        self.marks: dict[str, Any] = {}
        self.objects: dict[int, Capsule | PyObject] = {}
        self.scanned = FIRST
        self.blocks: dict[int, tuple[str, Block]] = {}
        self.placed = {"heap": 0, "static": 0}
        self.extra: set[str] = set()
        self.died: list[tuple[int, int]] = []
        self.looks = 0

    def look(self) -> Changes:
        """Return what changed since the last look; raises ``TooMuch`` where there was too much to look at."""
        sink, memory = self.machine.sink, self.machine.py.memory
        reached, last = 0 if sink is None else len(sink.reached), memory.last
        self.looks += len(self.objects) + len(self.blocks) + 1
        if self.looks > MOST_LOOKS:
            raise TooMuch
        changes = Changes()
        self.died.clear()
        added = self._added()
        self._blocks(changes)
        self._objects(changes, added)
        self._functions(changes)
        self._modules(changes)
        own = {card_id: card for card_id, card in added.items() if card_id not in self.cards or card_id in self.extra}
        for card_id, card in own.items():
            self._seen(changes, card_id, None, card)
        for card_id in self.extra - own.keys():
            self._went(changes, card_id, self.machine.py.memory.now())
        self.extra = set(own)
        if sink is not None:
            del sink.reached[reached:]
        memory.last = last
        return changes

    def _added(self) -> dict[str, Card]:
        """Return the cards of extensions; one with the id of an object says more of that object."""
        shown = (extension.cards for extension in self.machine.extensions if extension.cards is not None)
        return {card_id: card for cards in shown for card_id, card in cards(self.machine, self.text_of).items()}

    def _objects(self, changes: Changes, added: dict[str, Card]) -> None:
        py = self.machine.py
        table = py.objects.table
        for number in range(self.scanned, len(table)):
            if table[number].address == number << SHIFT:
                self.objects[number << SHIFT] = table[number]
        self.scanned = len(table)
        self.died += [(address, address) for address in self.objects if address not in py.objects]
        for address, struct in list(self.objects.items()):
            card_id = object_card(address)
            if address not in py.objects:
                del self.objects[address]
                if card_id in self.cards:
                    self._went(changes, card_id, _last(py.objects.obituary(address)))
            elif isinstance(struct, Capsule):
                mark = self._capsule_mark(struct), more.fields if (more := added.get(card_id)) else None
                if self.marks.get(card_id) != mark:
                    self._seen(changes, card_id, mark, self._capsule(address, struct, more))
            elif address in self.machine.tokens.of_address or card_id in added:
                self._seen(changes, card_id, None, self._object(address, struct, added.get(card_id)))

    def _capsule_mark(self, struct: Capsule) -> tuple[object, ...]:
        """Return what the card of a capsule depends on, for a look that costs little where nothing changed."""
        named, words = self.machine.tokens.of_address, self._words(struct)
        parts = self.machine.py.objects.parts.get(struct.address)
        return (
            struct.ob_refcnt,
            struct.is_tracked,
            self.machine.owned.get(struct.address, 0),
            None if parts is None else (parts.owner, parts.local, parts.queued),
            *words,
            *map(named.get, (struct.address, *words)),
            self.machine.py.memory.peek_string(struct.name),
            # What a word points to may have gone just now.
            any(start <= word <= end for start, end in self.died for word in words),
        )

    def _words(self, struct: Capsule) -> tuple[int, ...]:
        return (
            struct.pointer,
            struct.name,
            struct.context,
            struct.destructor,
            struct.traverse_func,
            struct.clear_func,
        )

    def _capsule(self, address: int, struct: Capsule, more: Card | None) -> Card:
        py = self.machine.py
        words = capsule_words(py, address)
        fields = {"ob_refcnt": str(struct.ob_refcnt)} | self._owned(address)
        for name, word in words.items():
            if name == "ob_type":
                fields[name] = self.text_of(word)
            elif name.startswith("ob_"):
                fields.setdefault(name, f"{word:#x}")
            else:
                fields[name] = self.text_of(word)
        raw = py.memory.peek_string(struct.name)
        if raw is not None and fields["name"] != _literal(raw):
            fields["name"] += f" {_literal(raw)}"
        if struct.is_tracked:
            fields["tracked by the collector"] = "yes"
        return self._joined(Card(_CAPSULES, self._label(address, "capsule"), f"{address:#x}", fields), more)

    def _object(self, address: int, struct: PyObject, more: Card | None) -> Card:
        count = "immortal" if struct.ob_refcnt >= IMMORTAL else str(struct.ob_refcnt)
        fields = {"ob_refcnt": count} | self._owned(address) | {"ob_type": self.text_of(struct.ob_type)}
        if struct.value is not None:
            fields["value"] = clean(repr(struct.value), 80)
        for name, value in list(struct.attrs.items())[:MOST_ATTRIBUTES]:
            fields[f".{clean(name, 80)}"] = self.text_of(value)
        for name, (raised, _) in list(struct.raising.items())[:MOST_ATTRIBUTES]:
            fields[f".{clean(name, 80)}"] = f"raises {raised}"
        kind = "module" if struct.ob_type == PyModule_Type else "class" if struct.ob_type == PyType_Type else "object"
        old = self.cards.get(object_card(address))
        if more is None and old is not None and struct.ob_refcnt == 0:
            # An object that is being destroyed is still what it was.
            said = {name: value for name, value in old.fields.items() if name != _OWNED}
            more = Card(old.section, "", "", {**said, **fields})
        return self._joined(Card(_OBJECTS, self._label(address, kind), f"{address:#x}", fields), more)

    def _joined(self, card: Card, more: Card | None) -> Card:
        if more is not None:
            card.section = more.section or card.section
            card.fields |= more.fields
        return card

    def _owned(self, address: int) -> Fields:
        owned = self.machine.owned.get(address, 0)
        return {_OWNED: str(owned)} if owned else {}

    def _blocks(self, changes: Changes) -> None:
        memory = self.machine.py.memory
        for prefix, region in (("heap", memory.heap), ("static", memory.static)):
            for number in range(self.placed[prefix], len(region.blocks)):
                block = region.blocks[number]
                self.blocks[block.address] = (f"{'b' if prefix == 'heap' else 's'}{number}", block)
            self.placed[prefix] = len(region.blocks)
        for address, (card_id, block) in list(self.blocks.items()):
            if block.died is not None:
                del self.blocks[address]
                self.died.append((address, address + block.size))
                if card_id in self.cards:
                    self._went(changes, card_id, memory.when(block.died))
                continue
            defined = None if block.defined is None else bytes(block.defined[:MOST_BYTES])
            token = self.machine.tokens.of_address.get(address)
            mark = (bytes(block.data[:MOST_BYTES]), defined, block.writable, token)
            if self.marks.get(card_id) != mark:
                self._seen(changes, card_id, mark, self._block(block))
            if token is not None and not block.writable and block.kind != "malloc":
                # Nothing can change what nobody can write to or free.
                del self.blocks[address]

    def _block(self, block: Block) -> Card:
        section = _SECTION_OF.get(block.kind, _OPAQUE)
        fields = {"size": f"{block.size} bytes" if block.size != 1 else "1 byte"}
        if section == _STRINGS:
            raw = bytes(block.data[: MOST_BYTES + 1])
            fields = {"text": _literal(raw[: block.size - 1]), "bytes": _hexadecimal(raw[:MOST_BYTES], None)}
            if block.size > MOST_BYTES:
                fields["more"] = f"{block.size - MOST_BYTES} more bytes"
        elif section == _BLOCKS:
            for start in range(0, min(block.size, MOST_BYTES), ROW):
                defined = None if block.defined is None else bytes(block.defined[start : start + ROW])
                fields[f"+{start}"] = _hexadecimal(bytes(block.data[start : start + ROW]), defined)
            if block.size > MOST_BYTES:
                fields["more"] = f"{block.size - MOST_BYTES} more bytes"
            text = self.machine.py.memory.peek_string(block.address)
            if text:
                fields["text"] = _literal(text)
            if not block.writable:
                fields["writable"] = "no"
        else:
            fields["contents"] = "never read"
        token = self.machine.tokens.of_address.get(block.address)
        label = self._block_label(block) if token is None else clean(token, 256)
        return Card(section, label, f"{block.address:#x}", fields)

    def _block_label(self, block: Block) -> str:
        """Return what a block without a token is called: a string by its text."""
        if block.kind == "static":
            return _literal(bytes(block.data[:-1]))
        return f"{'block' if block.kind == 'malloc' else 'address'} at {block.address:#x}"

    def _functions(self, changes: Changes) -> None:
        calls, named = self.machine.calls, self.machine.tokens.of_address
        for number, (address, function) in enumerate(list(self.machine.py.functions.items())):
            name = named.get(address, function.name)
            mark = (calls.get(name, 0), name)
            card_id = f"f{number}"
            if self.marks.get(card_id) != mark:
                fields = {"type": function.type} | ({"calls": str(mark[0])} if mark[0] else {})
                card = Card(_FUNCTIONS, clean(name, 120), f"{address:#x}", fields)
                self._seen(changes, card_id, mark, card)

    def _modules(self, changes: Changes) -> None:
        modules = self.machine.py.sys_modules
        if modules:
            fields = {f"[{clean(name, 80)}]": self.text_of(address) for name, address in modules.items()}
            self._seen(changes, "sys.modules", None, Card(_OBJECTS, "sys.modules", "", fields))

    def _seen(self, changes: Changes, card_id: str, mark: object, card: Card) -> None:
        """Note how a card is now, and what of it is new."""
        self.marks[card_id] = mark
        old = self.cards.get(card_id)
        self.cards[card_id] = card
        if old is None:
            changes.new[card_id] = card
            return
        fields: dict[str, str | None] = {}
        if old.label != card.label:
            fields["#label"] = card.label
        fields |= {name: value for name, value in card.fields.items() if old.fields.get(name) != value}
        fields |= {name: None for name in old.fields if name not in card.fields}
        if fields:
            changes.changed[card_id] = fields

    def _went(self, changes: Changes, card_id: str, when: str) -> None:
        del self.cards[card_id]
        self.marks.pop(card_id, None)
        changes.gone[card_id] = when

    def text_of(self, address: int) -> str:
        """Return what stands for an address: NULL, a token with an offset, what lies there, or the number."""
        machine = self.machine
        if address == NULL:
            return "NULL"
        token = machine.tokens.of_address.get(address)
        if token is not None:
            return clean(token, 120) + self._fate(address)
        if address in machine.py.functions:
            return clean(machine.py.functions[address].name, 120)
        struct = machine.py.objects.get(address)
        if struct is not None:
            return "None" if address == NONE else self._noun(struct, address)
        block = machine.py.memory.nearest(address)
        if block is None or not block.address <= address <= block.address + block.size:
            return f"{address:#x}" + self._fate(address)
        base = machine.tokens.of_address.get(block.address)
        offset = address - block.address
        named = self._block_label(block) if base is None else clean(base, 120)
        return named + (f" + {offset}" if offset else "") + (", freed" if block.died is not None else "")

    def _fate(self, address: int) -> str:
        """Say that what lay at an address is there no more."""
        objects = self.machine.py.objects
        if objects.existed(address) and address not in objects:
            return ", gone"
        block = self.machine.py.memory.nearest(address)
        return ", freed" if block is not None and block.died is not None else ""

    def _noun(self, struct: Capsule | PyObject, address: int) -> str:
        if isinstance(struct, PyObject) and struct.ob_type == PyType_Type and struct.name:
            return clean(struct.name, 120)
        return f"{'capsule' if isinstance(struct, Capsule) else 'object'} at {address:#x}"

    def _label(self, address: int, noun: str) -> str:
        token = self.machine.tokens.of_address.get(address)
        return f"{noun} at {address:#x}" if token is None else clean(token, 256)


def object_card(address: int) -> str:
    """Return the id of the card of the object at an address."""
    return f"o{address >> SHIFT}"


def _last(obituary: list[str]) -> str:
    """Return the step of `freed at STEP`, the last line of an obituary."""
    return obituary[-1].removeprefix("freed at ")


def _literal(raw: bytes) -> str:
    """Return bytes as a C literal on one line."""
    text = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in raw[:MOST_BYTES]
    )
    return f'"{text}"' + ("…" if len(raw) > MOST_BYTES else "")


def _hexadecimal(raw: bytes, defined: bytes | None) -> str:
    """Return bytes in hexadecimal; those that were never written are dots."""
    if defined is None:
        return raw.hex(" ")
    marks = defined or bytes(len(raw))
    return " ".join(f"{byte:02x}" if mark else "··" for byte, mark in zip(raw, marks, strict=False))
