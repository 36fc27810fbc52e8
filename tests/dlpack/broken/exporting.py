"""Managed tensors: a struct, what it keeps alive, and the deleter that lets go of both."""

from __future__ import annotations

import atexit
import ctypes
from typing import TYPE_CHECKING, Any

from .capi import Deleter, address_of, keep
from .describing import describe, lengths_bytes
from .ending import DIES_WITHOUT_GIL, HARMLESS, replace_callback
from .memory import KEPT, Memory, overwrite_later
from .pending import leaving, take_pending
from .structs import IS_COPIED, IS_PADDED, READ_ONLY, DLManagedTensor, DLManagedTensorVersioned, managed_at
from .switches import on

if TYPE_CHECKING:
    from .arrays import Array

__all__ = ["ENDED", "EXPORTS", "Export", "export"]

VERSION = (1, 3)
STRAY_FLAG = 1 << 8
# A block of less would hardly be seen where it leaks.
LEAST = 256

# Not empty once the handlers of the exit have run: callbacks that are still called do nothing.
ENDED: list[bool] = []


class Export:
    """A managed tensor at ``address``: the block that it lies in, and the array that it keeps until it is deleted."""

    __slots__ = ("address", "array", "block", "versioned")

    def __init__(self, block: Any, versioned: bool, array: Array | None) -> None:
        self.block = block
        self.address = ctypes.addressof(block)
        self.versioned = versioned
        self.array = array

    @property
    def managed(self) -> Any:
        """Return the struct."""
        return managed_at(self.address, self.versioned)


EXPORTS: dict[int, Export] = {}


def export(array: Array, *, versioned: bool, copied: bool = False, keeps_alive: bool = True) -> Export:
    """Return a managed tensor of an array's elements, which its deleter lets go of."""
    if on("DLManagedTensor/one-owner:producer"):
        shared = EXPORTS.get(array._shared)
        if shared is not None and shared.versioned == versioned:
            return shared
    head = ctypes.sizeof(DLManagedTensorVersioned if versioned else DLManagedTensor)
    made = Export((ctypes.c_char * max(head + lengths_bytes(array), LEAST))(), versioned, array)
    managed = made.managed
    type_of = type(managed)
    describe(array, made.address + type_of.dl_tensor.offset, made.address + head, strides_needed=versioned)
    if versioned:
        managed.version.major, managed.version.minor = VERSION
        managed.flags = _flags(array, copied)
    managed.manager_ctx = id(array)
    managed.deleter = _deleter()
    if on("DLTensor/inside-allocation:dies") or not keeps_alive:
        made.array = None
        overwrite_later(array.owner)
    EXPORTS[made.address] = made
    if on("DLManagedTensor/one-owner:producer"):
        KEPT.append(made.block)
        array._shared = made.address
    if ENDED:
        _outlive(made)
    return made


def _flags(array: Array, copied: bool) -> int:
    flags = 0
    if not array.writable and not on("DLManagedTensorVersioned/read-only"):
        flags |= READ_ONLY
    if copied and not on("DLManagedTensorVersioned/is-copied"):
        flags |= IS_COPIED
    if array.padded:
        flags |= IS_PADDED
    if on("DLManagedTensorVersioned/flags-default-zero"):
        flags |= STRAY_FLAG
    return flags


def _deleter() -> int:
    return DIES_WITHOUT_GIL if on("DLManagedTensor/deleter-acquires-gil") else DELETER


def _delete(
    address: int, take: Any = take_pending, leave: Any = leaving, ended: list[bool] = ENDED, exports: Any = EXPORTS
) -> Any:
    # What is used at the exit is bound here: the globals may have gone.
    pending = take()
    if not ended:
        made = exports.pop(address, None)
        if made is not None:
            _break_deletion(made)
        if on("DLManagedTensor/deleter-leaves-error-indicator"):
            pending = MemoryError()
    return leave(pending)


def _break_deletion(made: Export) -> None:
    if on("DLManagedTensor/deleter-releases-owner"):
        KEPT.append(made.array)
    if on("DLManagedTensor/deleter-deletes-self") or on("capsule-destructor/deletes-while-unconsumed:always"):
        KEPT.append(made.block)
    if on("DLManagedTensor/one-owner:producer"):
        ctypes.memset(made.address, 0, ctypes.sizeof(made.block))
        if made.array is not None and isinstance(made.array.owner, Memory):
            ctypes.memset(made.array.owner.address, 0, made.array.owner.size)


CALLBACK = keep(Deleter(_delete))
DELETER = address_of(CALLBACK)


def _outlive(made: Export) -> None:
    """Let a struct be used once the interpreter has ended: it stays, and its deleter is no callback."""
    keep(made)
    managed = made.managed
    if managed.deleter == DELETER:
        managed.deleter = _after_the_end()


def _after_the_end() -> int:
    return DIES_WITHOUT_GIL if on("DLManagedTensor/deleter-after-finalisation") else HARMLESS


@atexit.register
def _end() -> None:
    ENDED.append(True)
    replace_callback(CALLBACK, _after_the_end())
    for made in list(EXPORTS.values()):
        _outlive(made)
