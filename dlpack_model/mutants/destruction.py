"""Mistakes in capsule destructors and in deleters."""

from __future__ import annotations

from capsule_model import NULL
from dlpack_model.deleters import (
    call_deleter,
    careless_late,
    keeps_owner,
    keeps_self,
    normal,
    nothing,
    raises,
    without_gil,
)
from dlpack_model.destructors import always_deletes, never_deletes, save_error
from dlpack_model.exchange import Exchange
from dlpack_model.mutants.mutant import Mutant, deleting, destroying, having_bug, producing

__all__ = ["DELETERS", "DESTRUCTORS"]


def _delete(ex: Exchange, self: int, versioned: bool) -> None:
    """Call the deleter of what is in a capsule, whatever its name."""
    name = ex.py.PyCapsule_GetName(self)
    call_deleter(ex, ex.py.PyCapsule_GetPointer(self, name), versioned=versioned)


def _only_when_renamed(ex: Exchange, self: int, versioned: bool) -> None:
    if ex.py.PyCapsule_IsValid(self, ex.name_addresses[versioned][1]):
        _delete(ex, self, versioned)


def _unaware_of_used_name(ex: Exchange, self: int, versioned: bool) -> None:
    managed = ex.py.PyCapsule_GetPointer(self, ex.name_addresses[versioned][0])
    if managed == NULL:
        ex.py.PyErr_WriteUnraisable(NULL)
        return
    call_deleter(ex, managed, versioned=versioned)


def _legacy_names_alone(ex: Exchange, self: int, versioned: bool) -> None:
    unused, used = ex.name_addresses[False]
    if ex.py.PyCapsule_IsValid(self, used) or ex.name_of(self) == b"used_dltensor_versioned":
        return
    managed = ex.py.PyCapsule_GetPointer(self, unused)
    if managed == NULL:
        ex.py.PyErr_WriteUnraisable(NULL)
        return
    call_deleter(ex, managed, versioned=versioned)


def _name_by_pointer(ex: Exchange, self: int, versioned: bool) -> None:
    struct = ex.py.capsule_at(self)
    if struct is not None and struct.name == ex.name_addresses[versioned][0]:
        _delete(ex, self, versioned)


def _used_by_prefix(ex: Exchange, self: int, versioned: bool) -> None:
    if not (ex.name_of(self) or b"").startswith(b"used_"):
        save_error(ex, self, versioned)


def _unused_by_prefix(ex: Exchange, self: int, versioned: bool) -> None:
    if (ex.name_of(self) or b"").startswith(ex.memory.c_string(ex.name_addresses[versioned][0])):
        _delete(ex, self, versioned)
        return
    save_error(ex, self, versioned)


def _clears_error(ex: Exchange, self: int, versioned: bool) -> None:
    ex.py.PyErr_Clear()
    save_error(ex, self, versioned)


def _calls_null(ex: Exchange, self: int, versioned: bool) -> None:
    unused, used = ex.name_addresses[versioned]
    if not ex.py.PyCapsule_IsValid(self, used):
        managed = ex.py.PyCapsule_GetPointer(self, unused)
        if managed == NULL:
            ex.py.PyErr_WriteUnraisable(NULL)
            return
        call_deleter(ex, managed, versioned=versioned, checks_null=False)


def _frees_struct(ex: Exchange, self: int, versioned: bool) -> None:
    managed = ex.py.PyCapsule_GetPointer(self, ex.py.PyCapsule_GetName(self))
    unused = ex.py.PyCapsule_IsValid(self, ex.name_addresses[versioned][0])
    save_error(ex, self, versioned)
    if unused:
        ex.py.free(managed)


def _renames_instead(ex: Exchange, self: int, versioned: bool) -> None:
    ex.py.PyCapsule_SetName(self, ex.name_addresses[versioned][1])


def _deletes_twice(ex: Exchange, self: int, versioned: bool) -> None:
    save_error(ex, self, versioned)
    if ex.py.PyCapsule_IsValid(self, ex.name_addresses[versioned][0]):
        _delete(ex, self, versioned)


def _raises(ex: Exchange, self: int, versioned: bool) -> None:
    save_error(ex, self, versioned)
    ex.py.PyErr_SetString("RuntimeError", "raised in a capsule destructor")


UNCONSUMED = "capsule-destructor/deletes-while-unconsumed"
ERROR_INDICATOR = "capsule-destructor/leaves-error-indicator"

DESTRUCTORS = (
    Mutant(
        "destructor.always-deletes",
        "The capsule destructor calls the deleter of consumed capsules as well.",
        (UNCONSUMED, "DLManagedTensor/deleter-once"),
        destroying(always_deletes),
    ),
    Mutant(
        "destructor.never-deletes",
        "The capsule destructor leaves the deleter to somebody else, also where nobody consumed the capsule.",
        (UNCONSUMED, "DLManagedTensor/deleter-is-called"),
        destroying(never_deletes),
    ),
    Mutant(
        "destructor.only-when-renamed",
        "The capsule destructor has its condition the wrong way round, and deletes what was consumed alone.",
        (UNCONSUMED, "DLManagedTensor/deleter-once"),
        destroying(_only_when_renamed),
    ),
    Mutant(
        "destructor.unaware-of-used-name",
        "The capsule destructor reports every consumed capsule as an error.",
        (UNCONSUMED,),
        destroying(_unaware_of_used_name),
    ),
    Mutant(
        "destructor.legacy-names-alone",
        "The capsule destructor of versioned structs looks for the name of the old one.",
        (UNCONSUMED, "DLManagedTensor/deleter-is-called"),
        destroying(_legacy_names_alone),
    ),
    Mutant(
        "destructor.name-by-pointer",
        "The capsule destructor compares the name by its address, not by its text.",
        (UNCONSUMED, "DLManagedTensor/deleter-is-called"),
        destroying(_name_by_pointer),
    ),
    Mutant(
        "destructor.used-by-prefix",
        "The capsule destructor takes every name that begins with used_ for that of a consumed capsule.",
        (UNCONSUMED,),
        destroying(_used_by_prefix),
    ),
    Mutant(
        "destructor.unused-by-prefix",
        "The capsule destructor compares only as many letters of the name as the unconsumed one has.",
        (UNCONSUMED,),
        destroying(_unused_by_prefix),
    ),
    Mutant(
        "destructor.leaves-error",
        "The capsule destructor asks for the pointer whatever the name, and leaves the exception of a failure.",
        (ERROR_INDICATOR,),
        having_bug("error-clobbered"),
    ),
    Mutant(
        "destructor.clears-error",
        "The capsule destructor clears an exception that is on its way to somebody.",
        (ERROR_INDICATOR,),
        destroying(_clears_error),
    ),
    Mutant(
        "destructor.raises",
        "The capsule destructor leaves an exception of its own.",
        (ERROR_INDICATOR,),
        destroying(_raises),
    ),
    Mutant(
        "destructor.calls-null",
        "The capsule destructor calls the deleter without asking whether there is one.",
        ("DLManagedTensor/deleter-may-be-null",),
        destroying(_calls_null),
    ),
    Mutant(
        "destructor.frees-struct",
        "The capsule destructor frees the struct that the deleter has freed.",
        ("DLManagedTensor/deleter-deletes-self",),
        destroying(_frees_struct),
    ),
    Mutant(
        "destructor.renames-instead",
        "The capsule destructor marks its own capsule as consumed, and calls nothing.",
        (UNCONSUMED, "DLManagedTensor/deleter-is-called"),
        destroying(_renames_instead),
    ),
    Mutant(
        "destructor.deletes-twice",
        "The capsule destructor calls the deleter of an unconsumed capsule twice.",
        ("DLManagedTensor/deleter-once",),
        destroying(_deletes_twice),
    ),
    Mutant(
        "destructor.none",
        "The capsule has no destructor.",
        ("__dlpack__/capsule-destructor",),
        producing(destructor="none"),
    ),
)


def _clears_what_is_pending(ex: Exchange, self: int, manager_ctx: int) -> None:
    normal(ex, self, manager_ctx)
    ex.py.PyErr_Clear()


def _releases_owner_twice(ex: Exchange, self: int, manager_ctx: int) -> None:
    normal(ex, self, manager_ctx)
    if not ex.finalised:
        ex.py.Py_DECREF(manager_ctx)


def _reads_after_free(ex: Exchange, self: int, manager_ctx: int) -> None:
    if ex.finalised:
        return
    held, ex.gil = ex.gil, True
    ex.py.free(self)
    record = ex.records[self]
    codec = ex.abi.versioned if record.versioned else ex.abi.legacy
    ex.py.Py_DECREF(ex.memory.load_word(self + codec.offsets["manager_ctx"][0]))
    ex.gil = held


def _frees_data(ex: Exchange, self: int, manager_ctx: int) -> None:
    array = ex.records[self].array
    normal(ex, self, manager_ctx)
    if array.block != NULL:
        ex.py.free(array.block)


def _frees_shape(ex: Exchange, self: int, manager_ctx: int) -> None:
    tensor, _, _ = ex.tensor_at(self, ex.records[self].versioned)
    ex.py.free(tensor.shape)
    normal(ex, self, manager_ctx)


def _gives_up_without_gil(ex: Exchange, self: int, manager_ctx: int) -> None:
    if ex.gil:
        normal(ex, self, manager_ctx)


SELF, OWNER = "DLManagedTensor/deleter-deletes-self", "DLManagedTensor/deleter-releases-owner"
GIL, PENDING = "DLManagedTensor/deleter-acquires-gil", "DLManagedTensor/deleter-leaves-error-indicator"

DELETERS = (
    Mutant(
        "deleter.keeps-self", "The deleter lets go of the owner, and forgets the struct.", (SELF,), deleting(keeps_self)
    ),
    Mutant(
        "deleter.keeps-owner", "The deleter frees the struct, and forgets the owner.", (OWNER,), deleting(keeps_owner)
    ),
    Mutant("deleter.nothing", "The deleter does nothing.", (SELF, OWNER), deleting(nothing)),
    Mutant("deleter.without-gil", "The deleter does not take the GIL.", (GIL,), deleting(without_gil)),
    Mutant(
        "deleter.careless-late",
        "The deleter takes the GIL without asking whether there is an interpreter.",
        ("DLManagedTensor/deleter-after-finalisation",),
        deleting(careless_late),
    ),
    Mutant(
        "deleter.gives-up-without-gil",
        "The deleter does nothing where the GIL is not held, instead of taking it.",
        (GIL, SELF),
        deleting(_gives_up_without_gil),
    ),
    Mutant("deleter.raises", "The deleter leaves an exception that nobody receives.", (PENDING,), deleting(raises)),
    Mutant(
        "deleter.clears-error",
        "The deleter clears an exception that is on its way to somebody.",
        (PENDING,),
        deleting(_clears_what_is_pending),
    ),
    Mutant(
        "deleter.releases-owner-twice",
        "The deleter gives back two references to the owner, and took one.",
        (OWNER,),
        deleting(_releases_owner_twice),
    ),
    Mutant(
        "deleter.reads-after-free",
        "The deleter frees the struct, and then reads the owner out of it.",
        (SELF,),
        deleting(_reads_after_free),
    ),
    Mutant(
        "deleter.frees-data",
        "The deleter frees the elements, which are the array's.",
        (OWNER,),
        deleting(_frees_data),
    ),
    Mutant(
        "deleter.frees-shape",
        "The deleter frees the shape by itself, which lies in the block of the struct.",
        (SELF,),
        deleting(_frees_shape),
    ),
    Mutant(
        "deleter.null",
        "A tensor that has something to give back has no deleter.",
        ("DLManagedTensor/deleter-may-be-null",),
        producing(deleter="null"),
    ),
)
