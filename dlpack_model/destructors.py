"""Capsule destructors: what the producer has done when a capsule dies, consumed or not.

They stand here as they were published, good and bad. Each is a C function that gets the capsule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capsule_model import NULL, Abort
from dlpack_model.deleters import call_deleter
from dlpack_model.exchange import Names
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange

__all__ = ["DESTRUCTORS", "Destructor", "destructor_address"]

Body = Callable[["Exchange", int, bool], None]


@dataclass(frozen=True, slots=True)
class Destructor:
    """One capsule destructor: its ``body``, and under which names of a capsule it means to call the deleter."""

    name: str
    body: Body
    under: frozenset[str] = frozenset({"unused"})

    def deletes(self, name: bytes | None, names: Names) -> bool:
        """Tell whether it calls the deleter of a capsule of that name."""
        kind = "unused" if name == names.unused else "used" if name == names.used else "foreign"
        return kind in self.under


def specification_example(ex: Exchange, self: int, versioned: bool) -> None:
    """Do as the example in the Python specification for DLPack: report a foreign name with the capsule itself."""
    unused, used = ex.name_addresses[versioned]
    if ex.py.PyCapsule_IsValid(self, used):
        return
    managed = ex.py.PyCapsule_GetPointer(self, unused)
    if managed == NULL:
        ex.py.PyErr_WriteUnraisable(self)
        return
    call_deleter(ex, managed, versioned=versioned)


def write_unraisable_null(ex: Exchange, self: int, versioned: bool) -> None:
    """Do as the example, but report without the capsule, so that nobody takes a reference to it."""
    unused, used = ex.name_addresses[versioned]
    if ex.py.PyCapsule_IsValid(self, used):
        return
    managed = ex.py.PyCapsule_GetPointer(self, unused)
    if managed == NULL:
        ex.py.PyErr_WriteUnraisable(NULL)
        return
    call_deleter(ex, managed, versioned=versioned)


def get_pointer_alone(ex: Exchange, self: int, versioned: bool) -> None:
    """Ask for the pointer whatever the name, take the NULL for an answer, and unwrap the deleter.

    A consumed capsule leaves ``ValueError`` behind; a NULL deleter is a panic, which ends the process.
    """
    managed = ex.py.PyCapsule_GetPointer(self, ex.name_addresses[versioned][0])
    if managed == NULL:
        return
    codec = ex.abi.versioned if versioned else ex.abi.legacy
    if ex.memory.load_word(managed + codec.offsets["deleter"][0]) == NULL:
        raise Abort("panic in a function that cannot unwind: called `Option::unwrap()` on a `None` value")
    call_deleter(ex, managed, versioned=versioned)


def return_early(ex: Exchange, self: int, versioned: bool) -> None:
    """Return unless the name is that of an unconsumed capsule: no call can fail."""
    unused = ex.name_addresses[versioned][0]
    if not ex.py.PyCapsule_IsValid(self, unused):
        return
    call_deleter(ex, ex.py.PyCapsule_GetPointer(self, unused), versioned=versioned)


def save_error(ex: Exchange, self: int, versioned: bool) -> None:
    """Put a pending exception aside, do as the example without the capsule, and put the exception back."""
    aside, ex.py.error = ex.py.error, None
    write_unraisable_null(ex, self, versioned)
    if ex.py.error is not None:
        ex.py.PyErr_WriteUnraisable(NULL)
    ex.py.error = aside


def warn_and_leak(ex: Exchange, self: int, versioned: bool) -> None:
    """Delete under the unconsumed name, do nothing under the consumed one, and warn under any other."""
    unused, used = ex.name_addresses[versioned]
    if ex.py.PyCapsule_IsValid(self, used):
        return
    if not ex.py.PyCapsule_IsValid(self, unused):
        if ex.event is not None:
            ex.event({"dlpack": "destructor", "of": self, "name": "warning"})
        return
    call_deleter(ex, ex.py.PyCapsule_GetPointer(self, unused), versioned=versioned)


def always_deletes(ex: Exchange, self: int, versioned: bool) -> None:
    """Call the deleter whatever the name: of a consumed capsule as well."""
    name = ex.py.PyCapsule_GetName(self)
    call_deleter(ex, ex.py.PyCapsule_GetPointer(self, name), versioned=versioned)


def never_deletes(ex: Exchange, self: int, versioned: bool) -> None:
    """Leave the deleter to somebody else, also where nobody consumed the capsule."""


DESTRUCTORS: dict[str, Destructor | None] = {
    one.name: one
    for one in (
        Destructor("specification-example", specification_example),
        Destructor("write-unraisable-null", write_unraisable_null),
        Destructor("get-pointer-alone", get_pointer_alone),
        Destructor("return-early", return_early),
        Destructor("save-error", save_error),
        Destructor("warn-and-leak", warn_and_leak),
        Destructor("always-deletes", always_deletes, frozenset({"unused", "used", "foreign"})),
        Destructor("never-deletes", never_deletes, frozenset()),
    )
}
DESTRUCTORS["none"] = None


def destructor_address(ex: Exchange, which: str | Destructor, versioned: bool) -> int:
    """Return the address of a destructor, of that name or one's own, for capsules of one of the two structs.

    NULL for none.
    """
    destructor = DESTRUCTORS[which] if isinstance(which, str) else which
    if destructor is None:
        return NULL
    key = (which, versioned, "destructor")
    address = ex.registered.get(key)
    if address is not None:
        return address

    def destroy(self: int) -> None:
        if ex.event is not None:
            name = ex.name_of(self)
            text = None if name is None else name.decode(errors="replace")
            ex.event({"dlpack": "destructor", "of": self, "name": text})
        ex.journal.append((ex.memory.count, "destructor", self, destructor.name))
        before = ex.py.error
        ex.running.append(running)
        try:
            destructor.body(ex, self, versioned)
            # rule: capsule-destructor/leaves-error-indicator
            if ex.py.error is not before:
                kind = Broken.ERROR_LEFT if before is None else Broken.ERROR_LOST
                fact = f"the destructor {destructor.name} leaves {ex.py.error!r} where {before!r} was pending"
                rule = "capsule-destructor/leaves-error-indicator"
                ex.complain(kind, fact, rule, ex.by_capsule.get(self), self)
        finally:
            ex.running.pop()

    running = (f"the destructor {destructor.name}",)
    address = ex.register(key, "destructor", f"{destructor.name} destructor", destroy)
    ex.destructors[address] = destructor, versioned
    return address
