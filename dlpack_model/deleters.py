"""Deleters: what the producer has done when the tensor is no longer needed.

Each is a C function that gets the managed tensor. A deleter may be called by anybody, on any thread, with or
without the GIL, and after the interpreter has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from capsule_model import NULL
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange

__all__ = ["DELETERS", "Deleter", "call_deleter", "deleter_address"]

_RUNNING = ("the deleter",)
Deleter = Callable[["Exchange", int, int], None]


def PyGILState_Ensure(ex: Exchange) -> bool:
    """Take the GIL, and return whether it was held."""
    # rule: DLManagedTensor/deleter-acquires-gil
    held, ex.gil = ex.gil, True
    return held


def PyGILState_Release(ex: Exchange, held: bool) -> None:
    """Let go of the GIL, unless it was held before."""
    ex.gil = held


def normal(ex: Exchange, self: int, manager_ctx: int) -> None:
    """Free the struct and let go of the array, with the GIL; do nothing once the interpreter is gone."""
    if ex.finalised:
        # rule: DLManagedTensor/deleter-after-finalisation
        return
    # As PyGILState_Ensure and PyGILState_Release do, spelled out: most deleters are this one.
    # rule: DLManagedTensor/deleter-acquires-gil
    held, ex.gil = ex.gil, True
    ex.memory.free(self)
    ex.py.Py_DECREF(manager_ctx)
    ex.gil = held


def without_gil(ex: Exchange, self: int, manager_ctx: int) -> None:
    """Do as if the GIL were held and the interpreter alive."""
    ex.need_gil("the deleter calls Py_DECREF", ex.records.get(self))
    ex.py.free(self)
    ex.py.Py_DECREF(manager_ctx)


def careless_late(ex: Exchange, self: int, manager_ctx: int) -> None:
    """Take the GIL without asking whether there is an interpreter."""
    held = PyGILState_Ensure(ex)
    ex.need_gil("the deleter calls PyGILState_Ensure", ex.records.get(self))
    ex.py.free(self)
    ex.py.Py_DECREF(manager_ctx)
    PyGILState_Release(ex, held)


def raises(ex: Exchange, self: int, manager_ctx: int) -> None:
    """Leave an exception in the error indicator, which nobody is there to receive."""
    normal(ex, self, manager_ctx)
    ex.py.PyErr_SetString("RuntimeError", "raised in a deleter")


def native(ex: Exchange, self: int, manager_ctx: int) -> None:
    """Free struct and owner without Python: what a library does whose tensors count their own references."""
    ex.py.free(self)
    ex.py.Py_DECREF(manager_ctx)


def keeps_self(ex: Exchange, self: int, manager_ctx: int) -> None:
    """Let go of the array, and forget the struct."""
    held = PyGILState_Ensure(ex)
    ex.py.Py_DECREF(manager_ctx)
    PyGILState_Release(ex, held)


def keeps_owner(ex: Exchange, self: int, manager_ctx: int) -> None:
    """Free the struct, and forget the array."""
    ex.py.free(self)


def nothing(ex: Exchange, self: int, manager_ctx: int) -> None:
    """Let go of nothing: what an instrument does, so that a second call does no harm."""


def counts_shares(ex: Exchange, self: int, manager_ctx: int) -> None:
    """Free a struct that several exports share when the last of them is deleted."""
    record = ex.records.get(self)
    if record is None or record.deleted:
        normal(ex, self, manager_ctx)


DELETERS: dict[str, Deleter | None] = {
    "normal": normal,
    "null": None,
    "without-gil": without_gil,
    "careless-late": careless_late,
    "raises": raises,
    "native": native,
    "keeps-self": keeps_self,
    "keeps-owner": keeps_owner,
    "counts-shares": counts_shares,
    "nothing": nothing,
}


def deleter_address(ex: Exchange, which: str | Deleter, versioned: bool) -> int:
    """Return the address of a deleter, of that name or one's own, for one of the two structs, NULL for none."""
    if isinstance(which, str):
        name, body = which, DELETERS[which]
    else:
        name, body = getattr(which, "__name__", "own").replace("_", "-"), which
    if body is None:
        return NULL
    address = ex.registered.get((which, versioned))
    if address is not None:
        return address
    codec = ex.abi.versioned if versioned else ex.abi.legacy
    context = codec.offsets["manager_ctx"][0]

    def deleter(self: int) -> None:
        record = ex.records.get(self)
        ex.running.append(_RUNNING)
        try:
            if record is None:
                fact = f"a deleter is called with {self:#x}, which is no managed tensor"
                ex.complain(Broken.WRONG_STRUCT, fact, "DLManagedTensor/right-struct", None, self)
                return
            ex.deleting(record)
            before = ex.py.error
            body(ex, self, ex.memory.load_word(self + context))
            # rule: DLManagedTensor/deleter-leaves-error-indicator
            if ex.py.error is not before:
                kind = Broken.ERROR_LEFT if before is None else Broken.ERROR_LOST
                fact = f"the deleter leaves {ex.py.error!r} where {before!r} was pending"
                ex.complain(kind, fact, "DLManagedTensor/deleter-leaves-error-indicator", record)
            if record.deleted:
                # rule: DLManagedTensor/deleter-deletes-self
                if record.block.died is None and not ex.finalised:
                    fact = f"the {name} deleter of export {record.number} returns, and its struct was not freed"
                    ex.complain(Broken.NO_OWNER, fact, "DLManagedTensor/deleter-deletes-self", record)
                # rule: DLManagedTensor/deleter-releases-owner
                if name == "keeps-owner":
                    fact = f"the {name} deleter of export {record.number} keeps its reference to {record.array.name}"
                    ex.complain(Broken.NO_OWNER, fact, "DLManagedTensor/deleter-releases-owner", record)
        finally:
            ex.running.pop()

    return ex.register((which, versioned), "deleter", f"{name} deleter", deleter)


def call_deleter(ex: Exchange, managed: int, *, versioned: bool, checks_null: bool = True) -> None:
    """Call the deleter that stands in a managed tensor, with the tensor; where it is NULL, nothing is called."""
    record = ex.records.get(managed)
    if record is not None and record.deleted:
        fact = f"the deleter of export {record.number} is called a second time, out of a struct that was freed"
        ex.complain(Broken.DELETER_TWICE, fact, "DLManagedTensor/deleter-once", record)
    codec = ex.abi.versioned if versioned else ex.abi.legacy
    deleter = ex.memory.load_word(managed + codec.offsets["deleter"][0])
    # rule: DLManagedTensor/deleter-may-be-null
    if deleter == NULL:
        if not checks_null:
            ex.complain(Broken.NULL_DELETER, "a NULL deleter is called", "DLManagedTensor/deleter-may-be-null", record)
        return
    ex.py.call(deleter, "deleter", managed)
