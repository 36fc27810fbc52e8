"""The exchange API of a type: the table, and each function in it; and what a consumer makes of another's table."""

from __future__ import annotations

import ctypes
import gc
import math
import sys
from ctypes import c_char_p, c_int, c_int32, c_int64, c_void_p, py_object
from typing import Any

from dlpack_model.audit.kit import (
    BARE,
    TABLE,
    VERSIONED,
    GetName,
    New,
    Source,
    attempt,
    delete,
    export,
    first,
    lengths,
    table_of,
    told,
)
from dlpack_model.audit.probe import cases_of, probe


@probe("table", "exchange-api", "DLPackExchangeAPI/on-the-type")
def table_found(make: Any) -> tuple[str, ...]:
    """Look for the table on the type."""
    found = getattr(type(make()), "__dlpack_c_exchange_api__", None)
    if found is None:
        return "choice", "the type has no __dlpack_c_exchange_api__", "DLPackExchangeAPI/absent"
    if type(found).__name__ != "PyCapsule":
        return "contract", f"__dlpack_c_exchange_api__ is an object of type {type(found).__name__}"
    name = GetName(found)
    kept = name == b"dlpack_exchange_api"
    return "kept" if kept else "contract", f"a capsule named {name!r}", "DLPackExchangeAPI/capsule-name"


@probe("table-static", "exchange-api", "DLPackExchangeAPI/static")
def table_static(make: Any) -> tuple[str, ...]:
    """Look the table up twice, and read the first afterwards."""
    array = make()
    one, error = attempt(table_of, array)
    if error:
        return "unsupported", f"there is no table: {told(error)}"
    before, places = bytes(one), {ctypes.addressof(one)}
    gc.collect()
    places.add(ctypes.addressof(table_of(array)))
    kept = len(places) == 1 and bytes(one) == before
    return "kept" if kept else "contract", f"two lookups give {len(places)} addresses of a table"


@probe("table-layout", "exchange-api", "DLPackExchangeAPI/layout")
def table_layout(make: Any) -> tuple[str, ...]:
    """Look at the header of the table, and whether its functions are there."""
    table, error = attempt(table_of, make())
    if error:
        return "unsupported", f"there is no table: {told(error)}"
    if table.major != 1 or table.minor > 99:
        return "contract", f"the header says version {table.major}.{table.minor}"
    absent = [name for name in ("allocator", "export", "steal", "stream") if not getattr(table, name)]
    if absent:
        return "contract", f"NULL in the table: {', '.join(absent)}", "DLPackExchangeAPI/functions-not-null"
    return "kept", f"version {table.major}.{table.minor}"


@probe("table-borrow", "exchange-api", "dltensor_from_py_object_no_sync/borrows")
def table_borrow(make: Any, shape: Any) -> tuple[str, ...]:
    """Borrow a tensor, and see that the array is as free as before."""
    array = make()
    table, error = attempt(table_of, array)
    if error:
        return "unsupported", f"there is no table: {told(error)}"
    if not table.borrow:
        return "choice", "there is no function to borrow", "dltensor_from_py_object_no_sync/may-be-null"
    borrow = ctypes.PYFUNCTYPE(c_int, py_object, c_void_p)(table.borrow)
    tensor, before = BARE(), sys.getrefcount(array)
    failed = [borrow(array, ctypes.addressof(tensor)) for _ in range(10)]
    more = sys.getrefcount(array) - before
    right = not any(failed) and lengths(tensor) == list(shape)
    return (
        "kept" if right and not more else "contract",
        f"shape {lengths(tensor)}, {more} references more after 10 calls",
    )


@probe("table-stream", "exchange-api", "current_work_stream/cpu-null")
def table_stream(make: Any) -> tuple[str, ...]:
    """Ask for the current stream of the CPU."""
    table, error = attempt(table_of, make())
    if error:
        return "unsupported", f"there is no table: {told(error)}"
    out = c_void_p(77)
    call = ctypes.PYFUNCTYPE(c_int, c_int, c_int, c_void_p)(table.stream)
    failed, error = attempt(call, 1, 0, ctypes.byref(out))
    text = told(error) if error else f"returns {failed}, stream {out.value}"
    return "kept" if error or failed or not out.value else "style", text


@probe("table-export", "exchange-api", "managed_tensor_from_py_object_no_sync/owned")
def table_export(make: Any, shape: Any) -> tuple[str, ...]:
    """Export twice, let go of the array, delete one tensor, and read the other."""
    array = make()
    error = attempt(table_of, array)[1]
    if error:
        return "unsupported", f"there is no table: {told(error)}"
    one, other = export(array), export(array)
    if not one or not other:
        return "contract", "an export fails without an exception", "DLPackExchangeAPI/error-with-failure"
    del array
    gc.collect()
    same = ctypes.addressof(one) == ctypes.addressof(other)
    delete(one)
    found = list((c_int32 * math.prod(shape)).from_address(other.data + other.byte_offset)) if other.data else []
    right = not same and lengths(other) == list(shape) and found == list(range(math.prod(shape)))
    if right:
        delete(other)
    return "kept" if right else "wrong values", f"after one of two exports is deleted, the other has {found}"


@probe("table-import", "exchange-api", "managed_tensor_to_py_object_no_sync/steals")
def table_import(make: Any) -> tuple[str, ...]:
    """Import a tensor, drop the array, and count the calls of the deleter."""
    table, error = attempt(table_of, make())
    if error:
        return "unsupported", f"there is no table: {told(error)}"
    source, out = Source(b"dltensor_versioned"), py_object()
    source.__dlpack__()
    managed, before = source.exports[0][1:3]
    steal = ctypes.PYFUNCTYPE(c_int, c_void_p, c_void_p)(table.steal)
    failed, error = attempt(steal, ctypes.addressof(managed), ctypes.byref(out))
    if error or failed:
        return "choice", f"refused: {told(error)}"
    ctypes.pythonapi.Py_DecRef(out)
    gc.collect()
    calls = first(managed) - before
    return "kept" if calls == 1 else "double free" if calls else "leak", f"deleted {calls} times when the array is gone"


@probe(
    "table-import-fails",
    "exchange-api",
    "DLPackExchangeAPI/error-with-failure",
    cases_of(version_2={"fields": {"major": 2}}, unknown_type={"fields": {"code": 99}}),
)
def table_import_fails(make: Any, fields: Any) -> tuple[str, ...]:
    """Import what cannot be imported."""
    table, error = attempt(table_of, make())
    if error:
        return "unsupported", f"there is no table: {told(error)}"
    source, out = Source(b"dltensor_versioned", **fields), py_object()
    source.__dlpack__()
    managed, before = source.exports[0][1:3]
    steal = ctypes.PYFUNCTYPE(c_int, c_void_p, c_void_p)(table.steal)
    failed, error = attempt(steal, ctypes.addressof(managed), ctypes.byref(out))
    if error is None:
        return ("contract", f"returns {failed}, and no exception is pending") if failed else ("choice", "taken")
    if first(managed) != before:
        text = f"fails with {type(error).__name__}, and has called the deleter"
        return "choice", text, "managed_tensor_to_py_object_no_sync/failure-keeps"
    return "kept", told(error)


@probe("table-allocate", "exchange-api", "managed_tensor_allocator/prototype")
def table_allocate(make: Any) -> tuple[str, ...]:
    """Have a tensor made after a prototype that has a shape, a type, a device, and nothing else."""
    table, error = attempt(table_of, make())
    if error:
        return "unsupported", f"there is no table: {told(error)}"
    sizes, out = (c_int64 * 2)(2, 3), c_void_p()
    prototype = BARE(device_type=1, ndim=2, code=0, bits=32, lanes=1, shape=ctypes.addressof(sizes))
    call = ctypes.PYFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_void_p)(table.allocator)
    silent = ctypes.CFUNCTYPE(None, c_void_p, c_char_p, c_char_p)(lambda context, kind, text: None)
    failed = call(ctypes.addressof(prototype), ctypes.byref(out), None, ctypes.cast(silent, c_void_p))
    if failed or not out.value:
        return "contract", f"returns {failed}, tensor at {out.value}"
    managed = VERSIONED.from_address(out.value)
    steps = list((c_int64 * 2).from_address(managed.strides)) if managed.strides else [3, 1]
    text = f"shape {lengths(managed)}, strides {steps}"
    right = lengths(managed) == [2, 3] and steps == [3, 1]
    delete(managed)
    return "kept" if right else "contract", text


@probe("table-allocate-fails", "exchange-api", "managed_tensor_allocator/set-error")
def table_allocate_fails(make: Any) -> tuple[str, ...]:
    """Want a tensor that no machine has the memory for."""
    table, error = attempt(table_of, make())
    if error:
        return "unsupported", f"there is no table: {told(error)}"
    sizes, out, calls = (c_int64 * 1)(1 << 60), c_void_p(), []
    prototype = BARE(device_type=1, ndim=1, code=0, bits=32, lanes=1, shape=ctypes.addressof(sizes))
    call = ctypes.PYFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_void_p)(table.allocator)
    note = ctypes.CFUNCTYPE(None, c_void_p, c_char_p, c_char_p)(lambda context, kind, text: calls.append(kind))
    failed, error = attempt(call, ctypes.addressof(prototype), ctypes.byref(out), None, ctypes.cast(note, c_void_p))
    text = f"returns {failed}, SetError is called {len(calls)} times, pending: {type(error).__name__}"
    if failed == 0:
        return "contract" if calls else "choice", text
    return "kept" if len(calls) == 1 and error is None else "contract", text


@probe("other-table", "consumer", "DLPackExchangeAPI/header-major")
def other_table(consume: Any) -> tuple[str, ...]:
    """Give an object whose type has a table of another major version, with traps for functions."""
    table = TABLE(major=99, allocator=16, export=16, steal=16, borrow=16, stream=16)
    capsule = New(ctypes.addressof(table), b"dlpack_exchange_api", None)
    error = attempt(consume, type("Other", (Source,), {"__dlpack_c_exchange_api__": capsule})())[1]
    return "kept", told(error) if error else "goes by __dlpack__"


@probe("own-table", "consumer", "dltensor_from_py_object_no_sync/may-be-null", cases_of(_={"older": False}))
@probe(
    "older-table",
    "consumer",
    "DLPackExchangeAPI/prev-api",
    cases_of(_={"older": True}),
    dies="DLPackExchangeAPI/header-major",
)
def own_table(consume: Any, older: Any) -> tuple[str, ...]:
    """Give an object whose type has a table without the function to borrow, or one of these behind a newer table."""
    source, asked = Source(b"dltensor_versioned"), []
    source.__dlpack__()

    def give(array: Any, out: Any) -> int:
        asked.append(array)
        c_void_p.from_address(out).value = ctypes.addressof(source.exports[0][1])
        return 0

    function = ctypes.PYFUNCTYPE(c_int, py_object, c_void_p)(give)
    trap = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, c_void_p).value
    table = TABLE(
        major=1, minor=3, allocator=trap, export=ctypes.cast(function, c_void_p).value, steal=trap, stream=trap
    )
    newer = TABLE(major=99, prev=ctypes.addressof(table), export=16, steal=16, borrow=16, stream=16)
    capsule = New(ctypes.addressof(newer if older else table), b"dlpack_exchange_api", None)
    error = attempt(consume, type("Own", (Source,), {"__dlpack_c_exchange_api__": capsule})())[1]
    text = ("uses" if asked else "does not use") + (" the older table behind a newer one" if older else " the table")
    text += f"; {told(error)}" if error else ""
    return ("choice", text, "DLPackExchangeAPI/prev-api") if older else ("choice" if not asked else "kept", text)
