"""A producer that real libraries can import from, and that sees all that they do to it.

What it exports is decided by the model: its ``__dlpack__`` runs the model's, and what that leaves in simulated
memory, struct, shape and elements, is laid out again in real memory, byte for byte. Real memory is never given back,
so that a library which calls a deleter twice is counted and lives.
"""

from __future__ import annotations

import builtins
import ctypes
from collections.abc import Callable, Mapping
from typing import Any

from capsule_model import NULL, Interpreter
from dlpack_model.arrays import Array
from dlpack_model.exchange import Exchange, Record
from dlpack_model.producer import __dlpack__, __dlpack_device__
from dlpack_model.real import capi
from dlpack_model.real.capi import take_pending
from dlpack_model.real.scenarios import Scenario, make_array, overwrite
from dlpack_model.real.structures import STRUCTURES

__all__ = ["Instrument", "plain_keywords"]

# What the data of real blocks are aligned to, as far as the simulated ones are.
ALIGNMENT = 4096
# Nothing that a library was ever given goes away before the process does.
KEPT: list[Any] = []


def plain_keywords(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords as they are compared and written: numbers without their types, tuples as lists."""
    return {key: _plain(value) for key, value in keywords.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool) else int(value)


class Simulated(Exchange):
    """The exchange in which the model decides what is exported."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(Interpreter(), watch=frozenset())
        self.scenario = scenario

    def give(self, record: Record, capsule: int) -> None:
        """Write what a scenario wants to be wrong over a struct that has just got its capsule."""
        super().give(record, capsule)
        overwrite(self, self.scenario, record)


class Instrument:
    """Export the array of one scenario, and log what happens to it.

    ``events`` is the log: calls of the methods, of destructors and of deleters, in order. With ``watched``, a
    reference to each capsule is kept, so that a look at it is possible after the import.
    """

    def __init__(self, scenario: Scenario, *, watched: bool = False) -> None:
        self.scenario = scenario
        self.watched = watched
        self.events: list[dict[str, Any]] = []
        self.capsules: list[int] = []
        self.held: list[int] = []
        self.absorbed: BaseException | None = None
        self.model = Simulated(scenario)
        self.array: Array = self.model.arrays[make_array(self.model, scenario)]
        self.blocks: dict[int, int] = {}
        self.again: Any = None

    def source(self) -> Any:
        """Return what ``from_dlpack`` is to be given."""
        if self.scenario.source == "object":
            return object()
        if self.scenario.source == "capsule":
            capsule = self.export({"max_version": (1, 3)})
            self.events.clear()
            return capsule
        return Exporter(self)

    def device(self) -> tuple[int, ...]:
        """Answer as ``__dlpack_device__`` of the model does."""
        self.events.append({"event": "__dlpack_device__"})
        return __dlpack_device__(self.model, self.array)

    def export(self, keywords: Mapping[str, Any]) -> Any:
        """Answer as ``__dlpack__`` of the model does, with a real capsule or a real exception."""
        self.events.append({"event": "__dlpack__", "keywords": plain_keywords(keywords)})
        if self.again is not None:
            return self.again
        result = __dlpack__(self.model, self.array, keywords)
        error = self.model.py.error
        if result == NULL:
            self.model.py.PyErr_Clear()
            raise getattr(builtins, "SystemError" if error is None else error.type)("" if error is None else error.text)
        record = self.model.by_capsule.get(result)
        if record is None:
            return {"int": 7}.get(self.array.producer.returns or "")
        capsule = self.capsule(record, result)
        if self.array.producer.repeats:
            self.again = capsule
        return capsule

    def capsule(self, record: Record, simulated: int) -> Any:
        """Return a real capsule around a real copy of the managed tensor in a simulated one."""
        struct = self.model.py.capsule_at(simulated)
        assert struct is not None
        name = ctypes.create_string_buffer(self.model.memory.c_string(struct.name))
        managed = self.managed(record)
        destructor = self.destructor(record, managed, struct.destructor)
        KEPT.extend((name, destructor))
        capsule = capi.PyCapsule_New(managed, name, destructor)
        self.capsules.append(id(capsule))
        if self.watched:
            capi.Py_IncRef(id(capsule))
            self.held.append(id(capsule))
        return capsule

    def managed(self, record: Record) -> int:
        """Return the address of a real managed tensor; pointers lead to real copies of the blocks they lead to."""
        name = "DLManagedTensorVersioned" if record.versioned else "DLManagedTensor"
        address = self.real(record.address)
        managed: Any = STRUCTURES[name].from_address(address)
        tensor = managed.dl_tensor
        for pointer in ("data", "shape", "strides"):
            setattr(tensor, pointer, self.real(getattr(tensor, pointer) or NULL))
        if managed.deleter:
            deleter = capi.Deleter(self.deleter())
            KEPT.append(deleter)
            managed.deleter = ctypes.cast(deleter, ctypes.c_void_p).value
        return address

    def real(self, address: int) -> int:
        """Return where in real memory a copy of a simulated block lies, at the byte that an address names."""
        block = self.model.memory.nearest(address)
        if block is None:
            return address
        if block.address not in self.blocks:
            room = (ctypes.c_char * (block.size + 2 * ALIGNMENT))()
            KEPT.append(room)
            base = ctypes.addressof(room)
            start = base + (block.address - base) % ALIGNMENT
            ctypes.memmove(start, bytes(block.data), block.size)
            self.blocks[block.address] = start
        return self.blocks[block.address] + address - block.address

    def destructor(self, record: Record, managed: int, simulated: int) -> Any:
        """Return a capsule destructor that logs its call and calls the deleter where the model's does."""
        known = self.model.destructors.get(simulated)
        if known is None:
            return None
        declared, names = known[0], record.names

        def destroy(op: int) -> None:
            # A plain name: looking up an attribute clears what is pending where the lookup is not cached.
            pending = take_pending()
            name = capi.name_at(op)
            told = None if pending is None else type(pending).__name__
            self.events.append({"event": "destructor", "name": name, "pending": told})
            self.absorbed = pending or self.absorbed
            self.capsules.remove(op)
            if declared.deletes(None if name is None else name.encode(), names):
                self.call_deleter(managed, record.versioned)

        return capi.Destructor(destroy)

    def call_deleter(self, managed: int, versioned: bool) -> None:
        """Call the deleter that stands in a real managed tensor, if one does."""
        struct: Any = STRUCTURES["DLManagedTensorVersioned" if versioned else "DLManagedTensor"].from_address(managed)
        if struct.deleter:
            capi.Deleter(struct.deleter)(managed)

    def deleter(self) -> Callable[[int], None]:
        """Return a deleter that logs its call and gives nothing back."""
        events = self.events

        def delete(managed: int) -> None:
            pending = take_pending()
            events.append({"event": "deleter"})
            self.absorbed = pending or self.absorbed

        return delete

    def look(self) -> list[dict[str, Any]]:
        """Return what can be seen of the capsules that are alive: only those that are watched surely are."""
        return [{"name": capi.name_at(op), "destructor": bool(capi.PyCapsule_GetDestructor(op))} for op in self.held]

    def let_go(self) -> None:
        """Give back the references of the instrument."""
        while self.held:
            capi.Py_DecRef(self.held.pop())

    def end(self) -> None:
        """Give back the capsule that a producer returns again and again."""
        self.again = None

    def owns(self, address: int) -> bool:
        """Tell whether a real address lies in what was exported."""
        ends = ((start, start + self.model.memory.block_at(block, 0, "").size) for block, start in self.blocks.items())
        return any(start <= address < end for start, end in ends)


class Exporter:
    """The object with the two methods, as a library sees it."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument

    def __dlpack_device__(self) -> tuple[int, ...]:
        """Answer where the elements lie."""
        return self._instrument.device()

    def __dlpack__(self, **keywords: Any) -> Any:
        """Export the elements."""
        return self._instrument.export(keywords)
