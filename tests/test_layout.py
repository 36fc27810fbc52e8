"""The bytes of a capsule: word for word those of the running interpreter, and by hand for other machines."""

from __future__ import annotations

import ctypes
import struct
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from capsule_model import NULL, PROFILES, Interpreter, Kind, NotModelled, PyCapsule_Type, UndefinedBehavior
from capsule_model.fuzz.lockstep import this_interpreter
from capsule_model.layout import THREAD_ID
from capsule_model.objects import NONE
from capsule_model.python_view import sys_getsizeof

WORD = ctypes.sizeof(ctypes.c_void_p)
ADDRESS = ctypes.c_void_p
API = ctypes.pythonapi
NEW = ctypes.PYFUNCTYPE(ADDRESS, ADDRESS, ADDRESS, ADDRESS)(("PyCapsule_New", API))
SET_CONTEXT = ctypes.PYFUNCTYPE(ctypes.c_int, ADDRESS, ADDRESS)(("PyCapsule_SetContext", API))
SET_NAME = ctypes.PYFUNCTYPE(ctypes.c_int, ADDRESS, ADDRESS)(("PyCapsule_SetName", API))
INCREF = ctypes.PYFUNCTYPE(None, ADDRESS)(("Py_IncRef", API))
DECREF = ctypes.PYFUNCTYPE(None, ADDRESS)(("Py_DecRef", API))
CLEAR = ctypes.cast(API.PyErr_Clear, ADDRESS).value or 0
CAPSULE_TYPE = ctypes.addressof(ctypes.c_char.in_dll(API, "PyCapsule_Type"))


@dataclass
class Case:
    """What is done to a fresh capsule, on both sides."""

    name: bytes | None = None
    destructor: bool = False
    context: bool = False
    references: int = 1
    renamed: bool = False


CASES = {
    "fresh": Case(),
    "named": Case(b"mod.attr"),
    "with an empty name": Case(b""),
    "with a destructor": Case(b"mod.attr", destructor=True),
    "with a context": Case(context=True),
    "held three times": Case(b"mod.attr", references=3),
    "with everything": Case(b"mod.attr", destructor=True, context=True, references=2),
    "whose name was taken away": Case(b"mod.attr", renamed=True),
}


@pytest.fixture(scope="module")
def here() -> Interpreter:
    """Return a process of the running interpreter's profile."""
    try:
        return Interpreter(this_interpreter()[0])
    except ValueError as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_word_is_the_real_one(here: Interpreter, case: Case) -> None:
    """Model and interpreter store the same words at the same offsets; the type word is the type's address."""
    box, context = ctypes.create_string_buffer(16), ctypes.create_string_buffer(16)
    buffer = ctypes.create_string_buffer(case.name or b"")
    name = ctypes.addressof(buffer) if case.name is not None else NULL
    destructor = CLEAR if case.destructor else NULL

    real = NEW(ctypes.addressof(box), name, destructor)
    modelled = here.PyCapsule_New(ctypes.addressof(box), name, destructor)
    if case.context:
        assert SET_CONTEXT(real, ctypes.addressof(context)) == 0
        assert here.PyCapsule_SetContext(modelled, ctypes.addressof(context)) == 0
    if case.renamed:
        assert SET_NAME(real, NULL) == here.PyCapsule_SetName(modelled, NULL) == 0
    for _ in range(case.references - 1):
        INCREF(real)
        here.Py_INCREF(modelled)

    size = here.profile.basicsize
    theirs = struct.unpack(f"@{size // WORD}N", ctypes.string_at(real, size))
    ours = struct.unpack(f"@{size // WORD}N", here.capsule_bytes(modelled))
    for field, mine, right in zip(here.profile.fields, ours, theirs, strict=True):
        if field == "ob_type":
            assert (mine, right) == (PyCapsule_Type, CAPSULE_TYPE)
        elif field != "ob_tid":
            assert mine == right, field
    for _ in range(case.references):
        DECREF(real)


def test_the_size_is_the_real_one(here: Interpreter) -> None:
    """The struct's size and what `sys.getsizeof` adds to it are the interpreter's."""
    real = ctypes.cast(NEW(1, NULL, NULL), ctypes.py_object).value
    assert type(real).__basicsize__ == here.profile.basicsize
    assert sys.getsizeof(real) == sys_getsizeof(here, here.PyCapsule_New(1, NULL, NULL))
    assert (id(type(real)), here.profile.word, here.profile.order) == (CAPSULE_TYPE, WORD, sys.byteorder)


# One capsule: pointer 0x11223344, a NULL name, the destructor at 0x55667788, the context 0x99aabbcc, counted twice.
BY_HAND = {
    "cpython-3.9": (
        "0200000000000000 8020000000000000 4433221100000000 0000000000000000 ccbbaa9900000000 8877665500000000"
    ),
    "cpython-3.9-be": (
        "0000000000000002 0000000000002080 0000000011223344 0000000000000000 0000000099aabbcc 0000000055667788"
    ),
    "cpython-3.9-32": "02000000 80200000 44332211 00000000 ccbbaa99 88776655",
    "cpython-3.13": (
        "0200000000000000 8020000000000000 4433221100000000 0000000000000000 ccbbaa9900000000 8877665500000000"
        "0000000000000000 0000000000000000"
    ),
    "cpython-3.13-be": (
        "0000000000000002 0000000000002080 0000000011223344 0000000000000000 0000000099aabbcc 0000000055667788"
        "0000000000000000 0000000000000000"
    ),
    "cpython-3.13-32": "02000000 80200000 44332211 00000000 ccbbaa99 88776655 00000000 00000000",
    "cpython-3.13-free-threaded": (
        f"{struct.pack('<Q', THREAD_ID).hex()} 00000000 02000000 0000000000000000 8020000000000000"
        "4433221100000000 0000000000000000 ccbbaa9900000000 8877665500000000 0000000000000000 0000000000000000"
    ),
}


@pytest.mark.parametrize("profile", BY_HAND)
def test_bytes_by_hand(profile: str) -> None:
    """Word size, byte order, the collector's fields and the free-threaded header are where the machine has them."""
    py = Interpreter(profile)
    op = py.PyCapsule_New(0x11223344, NULL, 0x55667788)
    py.PyCapsule_SetContext(op, 0x99AABBCC)
    py.Py_INCREF(op)
    assert py.capsule_bytes(op) == bytes.fromhex(BY_HAND[profile])
    assert len(py.capsule_bytes(op)) == py.profile.basicsize


@pytest.mark.parametrize(
    ("profile", "size", "with_header"),
    [
        ("cpython-3.9", 48, 48),
        ("cpython-3.12-debug", 48, 48),
        ("cpython-3.13", 64, 80),
        ("cpython-3.13-free-threaded", 80, 80),
        ("cpython-3.15", 64, 80),
        ("cpython-3.9-32", 24, 24),
        ("cpython-3.13-32", 32, 40),
        ("cpython-3.13-be", 64, 80),
    ],
)
def test_sizes(profile: str, size: int, with_header: int) -> None:
    """The struct grew in 3.13, when the collector got a header in front of it; free-threaded builds keep none."""
    py = Interpreter(profile)
    op = py.PyCapsule_New(1, NULL, NULL)
    assert (py.profile.basicsize, py.sys_getsizeof(op)) == (size, with_header)


def test_the_free_threaded_header() -> None:
    """The owner's count stands in the upper half of the second word, the mark of the collector at byte 3."""
    py = Interpreter("cpython-3.13-free-threaded")
    op = py.PyCapsule_New(1, NULL, NULL)
    for _ in range(6):
        py.Py_INCREF(op)
    assert py._PyCapsule_SetTraverse(op, 0x10, 0x20) == 0
    assert py.read(op + 8, 8) == bytes([0, 0, 0, 1, 7, 0, 0, 0])
    words = py.capsule_words(op)
    assert list(words)[:4] == ["ob_tid", "ob_flags", "ob_ref_shared", "ob_type"]
    assert words["ob_ref_shared"] == 0
    assert (words["traverse_func"], words["clear_func"]) == (0x10, 0x20)


@pytest.mark.parametrize("profile", PROFILES)
def test_reading_through_a_pointer(profile: str) -> None:
    """The inside of a capsule is memory: its words are read like any other, at the offsets of the profile."""
    py = Interpreter(profile)
    op, word = py.PyCapsule_New(0x1230, py.cstring("n"), NULL), py.profile.word
    raw = py.capsule_bytes(op)
    assert py.read(op, len(raw)) == raw
    for number, (field, value) in enumerate(py.capsule_words(op).items()):
        assert py.profile.fields[number] == field
        assert py.read(op + number * word, word) == value.to_bytes(word, py.profile.order)
    block = py.malloc(4)
    py.memory.write(block, b"abcd")
    assert py.read(block + 1, 2) == b"bc"


def test_reading_beside_and_after() -> None:
    """A read that leaves the struct is out of bounds; one of a dead capsule is a use after free."""
    py = Interpreter("cpython-3.9")
    py.memory.label("step 1")
    op = py.PyCapsule_New(1, NULL, NULL)
    assert py.read(op + 47, 1) == b"\0"
    for address, size in ((op + 47, 2), (op + 48, 1), (op, 49)):
        assert _diagnosis(py, address, size).kind is Kind.OUT_OF_BOUNDS
    found = _diagnosis(py, op + 40, 16)
    assert (found.address, found.history) == (op, ["object created at step 1"])
    assert "reads 16 bytes, 40 bytes into a struct of 48" in found.fact
    py.Py_DECREF(op)
    assert (_diagnosis(py, op + 8, 8).kind, _diagnosis(py, op + 8, 8).address) == (Kind.USE_AFTER_FREE, op)
    assert _diagnosis(py, NULL, 1).kind is Kind.NULL_DEREFERENCE


def _diagnosis(py: Interpreter, address: int, size: int) -> UndefinedBehavior:
    with pytest.raises(UndefinedBehavior) as found:
        py.read(address, size)
    return found.value


@pytest.mark.parametrize("field", ["pointer", "name", "context", "destructor"])
def test_writing_behind_the_api(field: str) -> None:
    """A field that is written directly holds what was written, and no other changes."""
    py = Interpreter("cpython-3.13")
    op = py.PyCapsule_New(1, NULL, NULL)
    before: dict[str, Any] = py.capsule_words(op)
    py.poke(op, field, 0x77)
    assert py.capsule_words(op) == before | {field: 0x77}


def test_what_is_not_written_behind_the_api() -> None:
    """Header fields and objects that are no capsules are refused."""
    py = Interpreter("cpython-3.13")
    op = py.PyCapsule_New(1, NULL, NULL)
    for object, field in ((op, "ob_refcnt"), (op, "ob_type"), (op, "born"), (NONE, "pointer")):
        with pytest.raises(NotModelled):
            py.poke(object, field, 0)
    with pytest.raises(NotModelled):
        py.capsule_bytes(NONE)


def test_the_struct_is_memory() -> None:
    """Words of a capsule can be loaded and stored at their addresses, and the API sees what was stored."""
    py = Interpreter("cpython-3.13")
    name = py.cstring("a")
    op = py.PyCapsule_New(0x1230, name, NULL)
    assert [py.memory.load_word(op + 16), py.memory.load_word(op + 24)] == [0x1230, name]
    py.memory.store_word(op + 16, 0x99)
    assert py.PyCapsule_GetPointer(op, name) == 0x99
    py.write(op + 16, b"\x00")
    assert py.PyCapsule_IsValid(op, name) == 0
    py.memory.store_word(op, 2)
    assert py.Py_REFCNT(op) == 2
    with pytest.raises(NotModelled, match="writing to ob_type"):
        py.memory.store_word(op + 8, 1)


def test_a_name_may_lie_in_a_struct() -> None:
    """Bytes of a capsule are compared as a name like any others, and read anew each time."""
    py = Interpreter("cpython-3.13")
    held = py.PyCapsule_New(0x6261, NULL, NULL)
    named = py.PyCapsule_New(1, held + 16, NULL)
    assert py.PyCapsule_IsValid(named, py.cstring("ab")) == 1
    py.PyCapsule_SetPointer(held, 0x63)
    assert py.PyCapsule_IsValid(named, py.cstring("ab")) == 0
    assert py.PyCapsule_IsValid(named, py.cstring("c")) == 1
