"""What a capsule holds, and what its name guards against."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
import tempfile
from ctypes import CFUNCTYPE, PYFUNCTYPE, c_double, c_int, c_void_p, py_object

from capi import (
    DESTRUCTOR,
    GetName,
    GetPointer,
    Import,
    IsValid,
    New,
    SetContext,
    SetName,
    SetPointer,
    Skip,
    capsule_type,
    told,
)

WORD = ctypes.sizeof(c_void_p)


def pointer_comes_back() -> tuple[bool, str]:
    """Tell whether a pointer put into a capsule is the one that C code takes out."""
    block = ctypes.create_string_buffer(16)
    capsule = New(ctypes.addressof(block), b"claims.block", None)
    found = GetPointer(capsule, b"claims.block")
    return found == ctypes.addressof(block), f"{found:#x} of {ctypes.addressof(block):#x}"


def name_makes_type_safe() -> tuple[bool, str]:
    """Tell whether a name keeps memory of another kind from being taken for the one that it names."""
    numbers, text = (c_double * 2)(1.5, 2.5), ctypes.create_string_buffer(b"no numbers here!")
    honest = New(ctypes.addressof(numbers), b"claims.two_doubles", None)
    forged = New(ctypes.addressof(text), b"claims.two_doubles", None)
    accepted = [told(GetPointer, capsule, b"claims.two_doubles") for capsule in (honest, forged)]
    return not accepted[1].isdigit(), f"asked for the same name, both capsules give a pointer: {', '.join(accepted)}"


def names_are_unique() -> tuple[bool, str]:
    """Tell whether no two capsules can have one name."""
    first, second = (New(pointer, b"claims.once", None) for pointer in (16, 32))
    both = [IsValid(capsule, b"claims.once") for capsule in (first, second)]
    return both != [1, 1], f"two capsules of one name are valid: {both}"


def ctypes_cannot_open_it() -> tuple[bool, str]:
    """Tell whether Python code has no way to the pointer in a capsule."""
    import datetime

    capsule = datetime.datetime_CAPI
    pointer = GetPointer(capsule, GetName(capsule))
    first = c_void_p.from_address(pointer).value
    return first != id(datetime.date), f"read with ctypes alone: pointer {pointer:#x}, its first word is the type date"


def a_receiver_is_stored() -> tuple[bool, str]:
    """Tell whether a capsule says whom it is for."""
    capsule = New(16, b"claims.x", None)
    words = capsule_type().__basicsize__ // WORD
    header = object.__basicsize__ // WORD
    values = [c_void_p.from_address(id(capsule) + WORD * n).value or 0 for n in range(header, words)]
    named = values[2:]
    return any(named), f"beside pointer and name, {len(named)} words, all NULL in a new capsule: {not any(named)}"


def capsule_holds_a_file() -> tuple[bool, str]:
    """Tell whether a C file in a capsule can be read by who has the capsule, and is closed by its destructor."""
    if os.name != "posix":
        raise Skip("reads a C file, which is written for POSIX")
    libc = ctypes.CDLL(None)
    fopen = CFUNCTYPE(c_void_p, ctypes.c_char_p, ctypes.c_char_p)(("fopen", libc))
    fgetc, fclose = (CFUNCTYPE(c_int, c_void_p)((name, libc)) for name in ("fgetc", "fclose"))
    raw_pointer = PYFUNCTYPE(c_void_p, c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
    closed = []

    @DESTRUCTOR  # type: ignore[untyped-decorator]
    def close(dying: int) -> None:
        closed.append(fclose(raw_pointer(dying, b"file_handle")))

    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(b"Z")
    try:
        capsule = New(fopen(os.fsencode(file.name), b"r"), b"file_handle", ctypes.cast(close, c_void_p))
        letter = chr(fgetc(GetPointer(capsule, b"file_handle")))
        del capsule
    finally:
        os.unlink(file.name)
    return letter == "Z" and closed == [0], f"read {letter!r}, then fclose returned {closed}"


def _absolute() -> tuple[object, int]:
    """Return a C function of int, and its address."""
    function = CFUNCTYPE(c_int, c_int)(("abs", ctypes.CDLL(None)))
    return function, ctypes.cast(function, c_void_p).value or 0


def capsule_holds_a_function() -> tuple[bool, str]:
    """Tell whether a C function in a capsule can be taken out and called."""
    if os.name != "posix":
        raise Skip("looks a C function up as POSIX has it")
    _, address = _absolute()
    capsule = New(address, b"callback_func", None)
    answer = CFUNCTYPE(c_int, c_int)(GetPointer(capsule, b"callback_func"))(-7)
    return answer == 7, f"abs(-7), called through a capsule, is {answer}"


def capsule_holds_a_python_callback() -> tuple[bool, str]:
    """Tell whether a Python function, made a C function, is called by C code that has only the capsule."""
    heard = []

    @CFUNCTYPE(None, c_int)  # type: ignore[untyped-decorator]
    def callback(number: int) -> None:
        heard.append(number)

    capsule = New(ctypes.cast(callback, c_void_p), b"claims.callback", None)
    CFUNCTYPE(None, c_int)(GetPointer(capsule, b"claims.callback"))(5)
    return heard == [5], f"called with {heard}"


def import_result_is_called() -> tuple[bool, str]:
    """Tell whether what PyCapsule_Import returns can be cast to a function pointer and called."""
    if os.name != "posix":
        raise Skip("looks a C function up as POSIX has it")
    _, address = _absolute()
    sys.modules["claims_fast"] = module = type(sys)("claims_fast")
    module.absolute = New(address, b"claims_fast.absolute", None)  # type: ignore[attr-defined]
    answer = CFUNCTYPE(c_int, c_int)(Import(b"claims_fast.absolute", 0))(-7)
    return answer == 7, f"abs(-7), cast from what PyCapsule_Import returned, is {answer}"


def pointer_outlives_capsule() -> tuple[bool, str]:
    """Tell whether a function that was taken out of a capsule is called without it, even after its end."""
    if os.name != "posix":
        raise Skip("looks a C function up as POSIX has it")
    _, address = _absolute()
    capsule = New(address, b"claims.absolute", None)
    function = CFUNCTYPE(c_int, c_int)(GetPointer(capsule, b"claims.absolute"))
    del capsule
    return function(-7) == 7, "called after the capsule had gone"


def whole_table() -> tuple[bool, str]:
    """Tell whether one capsule shares a whole table of functions: that of datetime makes a date."""
    import datetime

    table = Import(b"datetime.datetime_CAPI", 0)
    types = [c_void_p.from_address(table + WORD * n).value for n in range(5)]
    expected = [
        id(kind) for kind in (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.tzinfo)
    ]
    make = PYFUNCTYPE(py_object, c_int, c_int, c_int, c_void_p)(c_void_p.from_address(table + WORD * 6).value or 0)
    made = make(2026, 11, 27, types[0])
    return types == expected and made == datetime.date(2026, 11, 27), f"five types, and a function that made {made!r}"


def early_then_filled() -> tuple[bool, str]:
    """Tell whether a capsule can be made first and told later what it holds, under which name."""
    capsule = New(1, b"claims.not-yet", None)
    done = [SetPointer(capsule, 4096), SetName(capsule, b"claims.ready"), SetContext(capsule, 8192)]
    found = GetPointer(capsule, b"claims.ready")
    return done == [0, 0, 0] and found == 4096, f"made with a placeholder, then filled: {found}"


def early_without_placeholder() -> tuple[bool, str]:
    """Tell whether a capsule can be made before there is any pointer."""
    said = told(New, None, b"claims.not-yet", None)
    return not said.startswith("ValueError"), said


def swapped_tables_are_refused() -> tuple[bool, str]:
    """Tell whether a capsule that stands where another module looks for its own is refused."""
    import _socket
    import datetime

    kept = datetime.datetime_CAPI
    datetime.datetime_CAPI = _socket.CAPI
    try:
        said = told(Import, b"datetime.datetime_CAPI", 0)
    finally:
        datetime.datetime_CAPI = kept
    return not said.isdigit(), said


def no_pointer_without_capsule() -> tuple[bool, str]:
    """Tell whether an ordinary object has no interface that gives C code the address of its memory."""
    data = bytearray(b"elements")
    address = ctypes.addressof(ctypes.c_char.from_buffer(data))
    ctypes.memset(address, ord("E"), 1)
    return data[:1] != b"E", f"written through the address that the buffer interface gives: {bytes(data)!r}"


def builtins_attribute() -> tuple[bool, str]:
    """Tell whether a capsule named builtins.capsule, stored in builtins, is found by that name."""
    import builtins

    block = ctypes.c_uint32(123)
    builtins.capsule = New(ctypes.addressof(block), b"builtins.capsule", None)  # type: ignore[attr-defined]
    found = ctypes.c_uint32.from_address(Import(b"builtins.capsule", 0)).value
    del builtins.capsule  # type: ignore[attr-defined]
    return found == 123, f"the value found there is {found}"


def capsule_holds_any_type() -> tuple[bool, str]:
    """Tell whether, whatever is inside, capsules are of one type."""
    double, text = c_double(1.5), ctypes.create_string_buffer(b"text")
    types = {type(New(ctypes.addressof(block), b"claims.any", None)) for block in (double, text)}
    return types == {capsule_type()}, f"a number and a text are both in a {capsule_type().__name__}"
