"""The consumer of the C exchange API: how a table is found on a type, and an array exported through it."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_void_p, py_object
from typing import Any

from .capi import PyCapsule_GetPointer, PyCapsule_IsValid
from .reading import MAJOR
from .structs import DLPackExchangeAPI
from .switches import on

__all__ = ["ATTRIBUTE", "NAME", "export_by_table"]

ATTRIBUTE = "__dlpack_c_exchange_api__"
NAME = b"dlpack_exchange_api"
FromPyObject = ctypes.PYFUNCTYPE(c_int, py_object, c_void_p)


def export_by_table(x: Any) -> int | None:
    """Return the address of a versioned struct that the caller owns, None where ``x`` has no table that is known.

    What the function of the table raises passes.
    """
    address = _table_of(type(x))
    if address is None:
        return None
    function = DLPackExchangeAPI.from_address(address).managed_tensor_from_py_object_no_sync
    if not function:
        return None
    out = c_void_p()
    status = FromPyObject(function)(x, ctypes.addressof(out))
    if status or out.value is None:
        raise SystemError(f"the exchange API gave {status} without an exception")
    return out.value


def _table_of(kind: type) -> int | None:
    capsule = getattr(kind, ATTRIBUTE, None)
    if not PyCapsule_IsValid(capsule, NAME):
        return None
    address: int | None = PyCapsule_GetPointer(capsule, NAME)
    while address:
        table = DLPackExchangeAPI.from_address(address)
        if table.version.major == MAJOR or on("DLPackExchangeAPI/header-major"):
            return address
        address = table.prev_api if on("DLPackExchangeAPI/prev-api") else None
    return None
