"""The consumer: ``from_dlpack``, how it asks, and how it takes a tensor over."""

from __future__ import annotations

import ctypes
from typing import Any

from .arrays import Array
from .calling import export_by_table
from .capi import (
    Deleter,
    PyCapsule_GetName,
    PyCapsule_GetPointer,
    PyCapsule_IsValid,
    PyCapsule_SetDestructor,
    PyCapsule_SetName,
    keep,
    name_at,
)
from .capsules import LEGACY, VERSIONED
from .owning import Owner
from .reading import CPU, MAJOR, take_over, view_of
from .structs import IS_COPIED, managed_at
from .switches import on

__all__ = ["from_dlpack"]

NEWEST = (1, 3)
NEWER_KEYWORDS = ("max_version", "dl_device", "copy")
USED = {name: keep(ctypes.create_string_buffer(b"used_" + name)) for name in (LEGACY, VERSIONED)}


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Array:
    """Return an array with the elements of ``x``, a view unless ``copy`` is true.

    ``AttributeError`` where ``x`` has not the two methods, ``BufferError`` for what cannot be read, ``ValueError`` for
    another device than "cpu", for a copy that is needed and forbidden, and for a capsule of another name; what the
    producer raises passes.
    """
    if device not in (None, "cpu"):
        raise ValueError(f"no device {device!r}")
    if device is None and copy is None:
        address = export_by_table(x)
        if address is not None:
            return _steal(address)
    export, ask_device = _methods(x)
    where = tuple(int(getattr(number, "value", number)) for number in ask_device())
    if device == "cpu" and where != CPU and copy is False:
        if on("from_dlpack/blocked-copy"):
            raise RuntimeError("another device needs a copy")
        raise ValueError("another device needs a copy")
    keywords: dict[str, Any] = {"max_version": NEWEST}
    if on("from_dlpack/passes-stream"):
        keywords["stream"] = 1
    if device is not None:
        keywords["dl_device"] = CPU
    if copy is not None and not on("from_dlpack/copy-true" if copy else "from_dlpack/copy-false"):
        keywords["copy"] = copy
    return _import(*_ask(export, keywords), strict=device is not None, copy=copy)


def _steal(address: int) -> Array:
    """Take over a struct that came without a capsule; where that is refused, nobody else calls its deleter."""
    try:
        return take_over(address)
    except BaseException:
        deleter = managed_at(address, True).deleter
        if deleter:
            Deleter(deleter)(address)
        raise


def _methods(x: Any) -> tuple[Any, Any]:
    try:
        return x.__dlpack__, x.__dlpack_device__
    except AttributeError:
        if on("from_dlpack/needs-the-methods"):
            raise TypeError("no methods") from None
        raise


def _ask(export: Any, keywords: dict[str, Any]) -> tuple[Any, bool]:
    """Return a capsule, and whether the newer keywords had to be left out."""
    try:
        return export(**keywords), False
    except TypeError:
        if on("from_dlpack/type-error-retry"):
            raise
    except Exception as error:
        if on("from_dlpack/propagates"):
            raise RuntimeError("the import failed") from error
        raise
    try:
        return export(**{key: value for key, value in keywords.items() if key not in NEWER_KEYWORDS}), True
    except Exception as error:
        if on("from_dlpack/propagates"):
            raise RuntimeError("the import failed") from error
        raise


def _import(capsule: Any, dropped: bool, *, strict: bool, copy: bool | None) -> Array:
    """Take over what is in a capsule; with ``strict`` on the CPU alone."""
    name, versioned = _name(capsule, not dropped)
    address = PyCapsule_GetPointer(capsule, name)
    if on("from_dlpack/deletes-on-error"):
        PyCapsule_SetName(capsule, USED[VERSIONED if versioned else LEGACY])
    anywhere = strict and dropped and on("from_dlpack/device")
    array = view_of(address, versioned, strict=strict, anywhere=anywhere, copy=copy)
    copied = bool(versioned and managed_at(address, True).flags & IS_COPIED)
    needed = bool(copy) and not copied and not on("from_dlpack/copy-true")
    if on("from_dlpack/copy-false") and copy is False:
        needed = True
    result = array.copied() if needed else array
    _rename(capsule, address, array.owner)
    return result


def _rename(capsule: Any, address: int, owner: Owner) -> None:
    """Rename the capsule, and have the owner call the deleter."""
    if on("from_dlpack/renames"):
        owner.capsule = capsule
        return
    if on("from_dlpack/may-clear-destructor"):
        PyCapsule_SetDestructor(capsule, None)
    if not on("DLManagedTensor/one-owner:consumer"):
        PyCapsule_SetName(capsule, USED[VERSIONED if owner.versioned else LEGACY])
    owner.own(address)


def _name(capsule: Any, asked: bool) -> tuple[bytes | None, bool]:
    """Return the name of a capsule, and whether the struct in it is the versioned one; ``asked``: it was asked for."""
    for name in (VERSIONED, LEGACY):
        if PyCapsule_IsValid(capsule, name):
            return name, name == VERSIONED or (asked and on("from_dlpack/name-decides"))
        if on("from_dlpack/consumed-once") and PyCapsule_IsValid(capsule, b"used_" + name):
            return b"used_" + name, name == VERSIONED
    if on("from_dlpack/refuses-other-names"):
        other = name_at(PyCapsule_GetName(capsule))
        if other not in (b"used_" + VERSIONED, b"used_" + LEGACY):
            return other, _looks_versioned(PyCapsule_GetPointer(capsule, other))
    raise ValueError("no capsule named dltensor or dltensor_versioned")


def _looks_versioned(address: int) -> bool:
    """Guess which struct lies at an address: the old one begins with a pointer."""
    return bool(managed_at(address, True).version.major == MAJOR)
