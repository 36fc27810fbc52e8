"""The state of the exchange in one simulated process, and the book that is kept of every export.

The book knows how often a managed tensor was exported, who has promised to call its deleter, and how often that
was called. What is not as the rules have it is a diagnosis, as soon as it can be seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capsule_model import NULL, Interpreter, UndefinedBehavior
from dlpack_model.abi import STANDARD_DEVICES, Abi, DLTensor, abi_for, header_named
from dlpack_model.parties import NOBODY, Parties
from dlpack_model.readings import readings_named
from dlpack_model.violations import Broken, Violation

if TYPE_CHECKING:
    from capsule_model.memory import Block
    from capsule_model.show import Picture
    from dlpack_model.arrays import Array
    from dlpack_model.destructors import Destructor
    from dlpack_model.exchange_api import Api
    from dlpack_model.tensor import Layout

__all__ = ["EVERYTHING", "NAMES", "Exchange", "Names", "Record"]

EVERYTHING = frozenset(Broken)
# How many moments that no book has are remembered for pictures.
REMEMBERED = 512


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a capsule before and after it was consumed."""

    unused: bytes
    used: bytes


# By whether the struct is versioned.
NAMES = {
    False: Names(b"dltensor", b"used_dltensor"),
    True: Names(b"dltensor_versioned", b"used_dltensor_versioned"),
}
INTERNAL = {False: b"internal_dltensor", True: b"internal_dltensor_versioned"}
EXCHANGE_API = b"dlpack_exchange_api"


class Record:
    """One managed tensor: how often it was exported, who owns it, and what became of it.

    ``exports`` counts the promises that its deleter will be called once, ``calls`` how often it was. ``claims`` are
    the owners that are no capsules, by name; ``consumed`` the capsules that were consumed, with the consumer.
    ``deleted`` tells that the deleter was called for every export. ``block`` is the memory that it lies in.
    """

    exports = 0
    calls = 0
    deleted = False

    def __init__(
        self,
        address: int,
        versioned: bool,
        number: int,
        array: Array,
        copied: bool,
        has_deleter: bool,
        block: Block,
    ) -> None:
        self.address = address
        self.versioned = versioned
        self.number = number
        self.array = array
        self.copied = copied
        self.has_deleter = has_deleter
        self.block = block
        self.capsules: list[int] = []
        self.claims: list[tuple[str, int]] = []
        self.consumed: dict[int, str] = {}
        self.history: list[tuple[int, str, tuple[object, ...]]] = []

    @property
    def producer(self) -> str:
        """Return the name of the library that exported it."""
        return self.array.producer.name

    @property
    def names(self) -> Names:
        """Return the names of its capsules."""
        return NAMES[self.versioned]


class Exchange:
    """One process in which arrays are exchanged.

    ``py`` is the interpreter, ``header`` the version of ``dlpack.h`` that the rules are taken from, ``watch`` the
    kinds of broken rules that end the run; others are noted in ``unwatched`` and the run goes on. ``readings`` are
    those of ``readings.READINGS`` for which the other side is taken. ``event``, where somebody listens, is called with
    what happens, a dict each. ``parties`` stand in for the model's own. ``journal`` holds what the books of the exports
    do not say: the number of the event before, the kind of moment, and what it is about.
    """

    def __init__(
        self,
        py: Interpreter,
        *,
        header: tuple[int, int] = (1, 3),
        watch: frozenset[Broken] = EVERYTHING,
        readings: frozenset[str] = frozenset(),
        most: int = 8,
        event: Callable[[dict[str, Any]], None] | None = None,
        parties: Parties = NOBODY,
    ) -> None:
        self.py = py
        self.memory = py.memory
        self.follow(header, readings)
        self.memory.most = most
        self.abi: Abi = abi_for(py.profile.word, py.profile.order, most)
        self.watch = watch
        self.unwatched: list[Violation] = []
        self.event = event
        self.parties = parties
        self.arrays: dict[int, Array] = {}
        self.array_dealloc: Callable[[int], None] | None = None
        self.records: dict[int, Record] = {}
        self.live: dict[int, Record] = {}
        self.by_capsule: dict[int, Record] = {}
        self.destructors: dict[int, tuple[Destructor, bool]] = {}
        self.registered: dict[Any, int] = {}
        self.accepted: dict[tuple[object, ...], Layout] = {}
        self.static: dict[bytes, int] = {}
        self.text_of: dict[int, bytes] = {}
        self.tables: dict[int, Api] = {}
        self.on_types: dict[str, int] = {}
        self.running: list[tuple[str, ...]] = []
        self.journal: deque[tuple[Any, ...]] = deque(maxlen=REMEMBERED)
        self.name_addresses = {
            versioned: (self.cstring(names.unused), self.cstring(names.used)) for versioned, names in NAMES.items()
        }
        self.gil = True
        self.finalised = False
        self.exported = 0
        self.given = 0

    def follow(self, header: tuple[int, int], readings: frozenset[str]) -> None:
        """Take the rules from a version of ``dlpack.h``, and of each contradiction the side that is named."""
        self.header = header_named(header)
        self.readings = readings_named(readings)
        self.null_strides = self.header.null_strides or "null-strides" in readings
        of_standard = "devices-of-the-standard" in readings
        self.device_types = STANDARD_DEVICES if of_standard else self.header.device_types
        # What was found to be in order under other rules has to be looked at again.
        self.rules = f"{header} {sorted(readings)}"

    def cstring(self, text: bytes) -> int:
        """Return the address of a statically allocated string, the same one each time."""
        address = self.static.get(text)
        if address is None:
            address = self.static[text] = self.py.cstring(text)
            self.text_of[address] = text
        return address

    def name_of(self, capsule: int) -> bytes | None:
        """Return the name of a live capsule without asking the API; None for NULL and for what cannot be read."""
        struct = self.py.capsule_at(capsule)
        return None if struct is None else self.text_at(struct.name)

    def text_at(self, address: int) -> bytes | None:
        """Return the C string at an address; None for NULL and for what cannot be read."""
        if address == NULL:
            return None
        return self.text_of.get(address) or self.memory.peek_string(address)

    def register(self, key: Any, type: str, name: str, call: Callable[..., int | None]) -> int:
        """Return the address of a C function, made when it is first asked for."""
        address = self.registered.get(key)
        if address is None:
            address = self.registered[key] = self.py.function(call, type, name)
        return address

    def within(self, what: tuple[str, ...], call: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function, and say meanwhile what is running, for the ``where`` of a diagnosis."""
        self.running.append(what)
        try:
            return call(*arguments)
        finally:
            self.running.pop()

    def complain(self, kind: Broken, fact: str, rule: str, record: Record | None = None, address: int = 0) -> None:
        """Raise the diagnosis of a broken rule where its kind is watched for, else note it."""
        found = self.diagnosis(kind, fact, rule, record, address)
        if kind in self.watch:
            raise found
        self.unwatched.append(found)

    def diagnosis(
        self, kind: Broken, fact: str, rule: str, record: Record | None = None, address: int = 0
    ) -> Violation:
        """Return the diagnosis of a broken rule, about an address or else about the array of a managed tensor."""
        history = [] if record is None else self.history(record)
        about = address or (record.array.address if record is not None else 0)
        where = ", called by ".join(" of ".join(part) for part in reversed(self.running)) or "the program itself"
        return Violation(kind, f"{self.memory.now()}: {fact}", rule, where, history, about)

    def history(self, record: Record) -> list[str]:
        """Return what happened to a managed tensor, a line each."""
        return [f"{text.format(*about)} at {self.memory.when(event)}" for event, text, about in record.history]

    def book(self, address: int, array: Array, versioned: bool, copied: bool, has_deleter: bool) -> Record:
        """Open the book for a managed tensor that was just filled in; one that is shared is exported once more."""
        record = self.live.get(address)
        if record is None:
            self.exported = number = self.exported + 1
            # What was filled in is what was written to last.
            record = Record(address, versioned, number, array, copied, has_deleter, self.memory.last)
            self.records[address] = self.live[address] = record
        record.exports += 1
        memory = self.memory
        memory.count = event = memory.count + 1
        record.history.append((event, "export {} of {} made by {}", (record.number, array.name, array.producer.name)))
        return record

    def give(self, record: Record, capsule: int) -> None:
        """Note that a capsule was made around a managed tensor."""
        self.given += 1
        record.capsules.append(capsule)
        self.by_capsule[capsule] = record

    def claim(self, record: Record, party: str, owner: int, capsule: int = NULL) -> None:
        """Note that somebody who is no capsule has taken the tensor over, and will call its deleter."""
        if capsule != NULL:
            # rule: from_dlpack/consumed-once
            if capsule in record.consumed:
                fact = f"{party} consumes a capsule that {record.consumed[capsule]} has consumed"
                self.complain(Broken.CONSUMED_TWICE, fact, "from_dlpack/consumed-once", record, capsule)
            record.consumed[capsule] = party
        record.claims.append((party, owner))
        memory = self.memory
        memory.count = event = memory.count + 1
        record.history.append((event, "taken over by {}", (party, capsule)))

    def unclaim(self, record: Record, owner: int) -> None:
        """Note that an owner is no more."""
        for claim in record.claims:
            if claim[1] == owner:
                record.claims.remove(claim)
                return

    def deleting(self, record: Record) -> None:
        """Note that a deleter was entered."""
        if self.event is not None:
            self.event({"dlpack": "deleter", "of": record.address})
        record.calls += 1
        # rule: DLManagedTensor/deleter-once
        if record.calls > record.exports:
            fact = f"the deleter of export {record.number} is called a second time"
            self.complain(Broken.DELETER_TWICE, fact, "DLManagedTensor/deleter-once", record)
        memory = self.memory
        memory.count = event = memory.count + 1
        record.history.append((event, "deleter called", tuple(self.running)))
        if record.calls >= record.exports:
            record.deleted = True
            self.live.pop(record.address, None)

    def touch(self, record: Record | None, who: str, doing: str) -> None:
        """Diagnose somebody who uses a managed tensor after its deleter was called."""
        # rule: DLManagedTensor/no-use-after-deleter
        if record is not None and record.deleted:
            fact = f"{who} {doing} export {record.number}, whose deleter was called"
            self.complain(Broken.USE_AFTER_DELETER, fact, "DLManagedTensor/no-use-after-deleter", record)

    def check(self) -> None:
        """Diagnose a managed tensor that has no owner any more, or more than one for an export."""
        if not self.live:
            return
        for record in tuple(self.live.values()):
            if record.has_deleter:
                self._check_owners(record)

    def _check_owners(self, record: Record) -> None:
        owners = record.claims
        for capsule in record.capsules:
            struct = self.py.capsule_at(capsule)
            if struct is None or struct.destructor == NULL:
                continue
            known = self.destructors.get(struct.destructor)
            if known is None:
                # Who deletes is not known where a program brings a destructor of its own.
                return
            destructor, versioned = known
            if destructor.deletes(self.text_at(struct.name), NAMES[versioned]):
                owners = [*owners, ("its capsule", capsule)]
        outstanding = record.exports - record.calls
        # rule: DLManagedTensor/one-owner
        if len(owners) > outstanding:
            fact = f"export {record.number} is owned by {' and by '.join(name for name, _ in owners)}"
            self.complain(Broken.TWO_OWNERS, fact, "DLManagedTensor/one-owner", record)
        # rule: DLManagedTensor/deleter-is-called
        if len(owners) < outstanding:
            fact = f"export {record.number} has no owner left, and its deleter was not called"
            self.complain(Broken.NO_OWNER, fact, "DLManagedTensor/deleter-is-called", record)

    def sequence_picture(self, diagnosis: UndefinedBehavior | None = None) -> Picture:
        """Return the sequence diagram of what was exchanged: who asked whom, and who owns each export meanwhile.

        A ``diagnosis`` stands below it.
        """
        from dlpack_model.pictures import sequence_picture

        return sequence_picture(self, diagnosis)

    def memory_picture(self, diagnosis: UndefinedBehavior | None = None, *, most: int = 12) -> Picture:
        """Return the picture of the memory, with the structs of ``dlpack.h`` field by field."""
        from dlpack_model.pictures import memory_picture

        return memory_picture(self, diagnosis, most=most)

    def picture(self, address: int) -> Picture:
        """Return the picture of an array with its shape, strides and bytes, or of a capsule, object, block or function.

        ``ValueError`` where nothing is or was at the address.
        """
        from dlpack_model.pictures import picture

        return picture(self, address)

    def _repr_html_(self) -> str:
        """Show the sequence diagram in a notebook."""
        return self.sequence_picture()._repr_html_()

    def _repr_svg_(self) -> str:
        """Show the sequence diagram in a notebook."""
        return self.sequence_picture()._repr_svg_()

    def __str__(self) -> str:
        """Show the sequence in a terminal."""
        return str(self.sequence_picture())

    def leaks(self) -> list[Record]:
        """Return the managed tensors whose deleter has not been called for every export, to ask at the end."""
        return [record for record in self.live.values() if record.has_deleter]

    def set_error(self, type: str, text: str) -> int:
        """Raise a Python exception: set the error indicator and return NULL."""
        self.py.PyErr_SetString(type, text)
        return NULL

    def need_gil(self, doing: str, record: Record | None = None) -> None:
        """Diagnose somebody who uses Python without holding the GIL, or when there is no interpreter any more."""
        if self.finalised:
            fact = f"{doing} after Py_FinalizeEx"
            # rule: DLManagedTensor/deleter-after-finalisation
            self.complain(Broken.AFTER_FINALISATION, fact, "DLManagedTensor/deleter-after-finalisation", record)
        # rule: DLManagedTensor/deleter-acquires-gil
        if not self.gil:
            fact = f"{doing} without holding the GIL"
            self.complain(Broken.GIL_NOT_HELD, fact, "DLManagedTensor/deleter-acquires-gil", record)

    def tensor_at(self, managed: int, versioned: bool) -> tuple[DLTensor, int, tuple[int, int]]:
        """Return tensor, flags and version of a managed tensor, as they stand in memory; the old struct has none."""
        codec = self.abi.versioned if versioned else self.abi.legacy
        fields = codec.unpack(self.memory.read(managed, codec.size))
        # As DLTensor._make does, spelled out: every export and every import passes here.
        if versioned:
            return tuple.__new__(DLTensor, fields[5:]), fields[4], fields[:2]
        return tuple.__new__(DLTensor, fields[:10]), 0, (0, 0)
