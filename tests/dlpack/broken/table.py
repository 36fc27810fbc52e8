"""The table of the C exchange API: its functions, and where a type has it."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_int32, c_void_p, py_object
from functools import cache
from typing import Any

from .arrays import Array, empty
from .calling import ATTRIBUTE, NAME
from .capi import Deleter, Py_IncRef, PyCapsule_New, address_of, keep
from .describing import describe, lengths_bytes
from .exporting import export
from .pending import leaving
from .producing import check_exportable
from .reading import prototype_of, take_over
from .structs import DLPackExchangeAPI, DLPackExchangeAPISwapped, managed_at
from .switches import on

__all__ = ["offer"]

VERSION = (1, 3)
# What a table is like is decided when it is looked up, by these; what its functions do when they are called.
SHAPES = (
    "DLPackExchangeAPI/layout",
    "DLPackExchangeAPI/functions-not-null",
    "dltensor_from_py_object_no_sync/may-be-null",
)
SetError = ctypes.PYFUNCTYPE(None, c_void_p, c_char_p, c_char_p)


def _allocate(prototype: int, out: int, context: int | None, set_error: int) -> Any:
    try:
        kind, shape = prototype_of(prototype)
        c_void_p.from_address(out).value = export(empty(kind, shape), versioned=True).address
    except Exception as error:
        if on("managed_tensor_allocator/set-error"):
            return -1
        try:
            SetError(set_error)(context, type(error).__name__.encode(), str(error).encode())
        except BaseException as left:
            return leaving(left)
        return -1
    return 0


def _from_py_object(x: Any, out: int) -> Any:
    try:
        array = _own(x)
        check_exportable(array, True)
        keeps_alive = not on("managed_tensor_from_py_object_no_sync/owned")
        c_void_p.from_address(out).value = export(array, versioned=True, keeps_alive=keeps_alive).address
    except BaseException as error:
        return leaving(error)
    return 0


def _to_py_object(address: int, out: int) -> Any:
    try:
        array = take_over(address)
    except BaseException as error:
        if on("managed_tensor_to_py_object_no_sync/failure-keeps"):
            Deleter(managed_at(address, True).deleter)(address)
        return -1 if on("DLPackExchangeAPI/error-with-failure") else leaving(error)
    if on("managed_tensor_to_py_object_no_sync/steals"):
        array.owner.address = 0
    Py_IncRef(array)
    c_void_p.from_address(out).value = id(array)
    return 0


def _dltensor_from_py_object(x: Any, out: int) -> Any:
    try:
        array = _own(x)
        check_exportable(array, True)
        if array.padded:
            raise BufferError("a DLTensor cannot say that elements are padded")
        if array._lent is None:
            array._lent = (ctypes.c_char * max(1, lengths_bytes(array)))()
        describe(array, out, ctypes.addressof(array._lent), strides_needed=True)
    except BaseException as error:
        return leaving(error)
    if on("dltensor_from_py_object_no_sync/borrows"):
        Py_IncRef(array)
    return 0


def _current_work_stream(device_type: int, device_id: int, out: int) -> int:
    c_void_p.from_address(out).value = 1 if on("current_work_stream/cpu-null") else None
    return 0


def _own(x: Any) -> Array:
    if not isinstance(x, Array):
        raise TypeError(f"not an array of this library: {type(x).__name__}")
    return x


# The allocator, and the deleters, are called without the GIL, too: every callback takes it.
FUNCTIONS = {
    name: address_of(keep(ctypes.PYFUNCTYPE(c_int, *arguments)(function)))
    for name, arguments, function in (
        ("managed_tensor_allocator", (c_void_p,) * 4, _allocate),
        ("managed_tensor_from_py_object_no_sync", (py_object, c_void_p), _from_py_object),
        ("managed_tensor_to_py_object_no_sync", (c_void_p, c_void_p), _to_py_object),
        ("dltensor_from_py_object_no_sync", (py_object, c_void_p), _dltensor_from_py_object),
        ("current_work_stream", (c_int32, c_int32, c_void_p), _current_work_stream),
    )
}


def _new_table() -> int:
    swapped = on("DLPackExchangeAPI/layout")
    table: Any = keep(DLPackExchangeAPISwapped() if swapped else DLPackExchangeAPI())
    table.version.major, table.version.minor = VERSION
    table.prev_api = None
    for name, address in FUNCTIONS.items():
        setattr(table, name, address)
    if on("DLPackExchangeAPI/functions-not-null"):
        table.managed_tensor_to_py_object_no_sync = None
    if on("dltensor_from_py_object_no_sync/may-be-null"):
        table.dltensor_from_py_object_no_sync = None
    return ctypes.addressof(table)


@cache
def _static_table(shape: tuple[str, ...]) -> int:
    return _new_table()


@cache
def _static_capsule(table: int, name: bytes) -> Any:
    return PyCapsule_New(table, keep(ctypes.create_string_buffer(name)), None)


PASSING: list[int] = []


def _passing_table() -> int:
    """Return a new table, and overwrite the one before."""
    if PASSING:
        ctypes.memset(PASSING.pop(), 0, ctypes.sizeof(DLPackExchangeAPI))
    PASSING.append(_new_table())
    return PASSING[0]


class Offered:
    """The attribute on the type: the capsule with the table, the same at every lookup."""

    def __get__(self, instance: object, owner: type) -> Any:
        if on("DLPackExchangeAPI/absent"):
            raise AttributeError(ATTRIBUTE)
        passing = on("DLPackExchangeAPI/static")
        table = _passing_table() if passing else _static_table(tuple(shape for shape in SHAPES if on(shape)))
        if on("DLPackExchangeAPI/on-the-type"):
            return table
        return _static_capsule(table, b"exchange_api" if on("DLPackExchangeAPI/capsule-name") else NAME)


def offer(kind: type) -> None:
    """Give a type the table."""
    setattr(kind, ATTRIBUTE, Offered())
