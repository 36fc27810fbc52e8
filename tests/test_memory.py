"""Memory: blocks, C strings, words, and a diagnosis for every access that a C program must not make."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from capsule_model import NULL, Interpreter, Kind, UndefinedBehavior
from capsule_model.memory import ALIGNMENT, GAP, Memory, strcmp

# A busy machine is no failure.
CALM = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
ORDERS: list[Literal["little", "big"]] = ["little", "big"]


@pytest.fixture
def memory() -> Memory:
    """Return the memory of a 64-bit little-endian machine, in its second step."""
    made = Memory(8, "little")
    made.label("step 2")
    return made


def diagnosis(call: Callable[..., object], *arguments: object) -> UndefinedBehavior:
    """Return the undefined behaviour that a call is."""
    with pytest.raises(UndefinedBehavior) as found:
        call(*arguments)
    return found.value


def buffer(memory: Memory, value: bytes) -> int:
    """Return the address of a heap block that holds exactly these bytes."""
    address = memory.malloc(len(value))
    memory.write(address, value)
    return address


@pytest.mark.parametrize("word", [4, 8])
def test_blocks_are_aligned_and_apart(word: int) -> None:
    """Each block begins at a multiple of 16, behind a gap that belongs to nobody; addresses fit the word."""
    memory = Memory(word, "little")
    sizes = [1, 15, 16, 17, 100]
    for allocate in (memory.malloc, memory.reserve, lambda size: memory.literal(bytes(size))):
        addresses = [allocate(size) for size in sizes]
        assert all(address % ALIGNMENT == 0 for address in addresses)
        assert max(addresses) < 1 << (8 * word)
        for size, this, following in zip(sizes, addresses, addresses[1:], strict=False):
            assert following - (this + size) >= GAP


def test_addresses_never_come_back(memory: Memory) -> None:
    """Freed memory is not given out again, so that a dangling pointer stays one."""
    seen = set()
    for _ in range(50):
        address = memory.malloc(32)
        seen.add(address)
        memory.free(address)
    assert len(seen) == 50


def test_free_of_null_does_nothing(memory: Memory) -> None:
    """As in C."""
    memory.free(NULL)


def test_static_storage_lives_on(memory: Memory) -> None:
    """A literal can be read and compared, and neither freed nor, unless it is a buffer, written to."""
    literal, shared = memory.literal(b"abc"), memory.literal(b"abc", writable=True)
    assert memory.read(literal, 4) == b"abc\0"
    memory.write(shared, b"x")
    assert memory.c_string(shared) == b"xbc"
    assert diagnosis(memory.write, literal, b"x").kind is Kind.READ_ONLY_WRITE
    assert diagnosis(memory.free, literal).kind is Kind.INVALID_FREE
    assert diagnosis(memory.write, memory.reserve(16), b"x").kind is Kind.READ_ONLY_WRITE


def test_what_was_not_written_cannot_be_read(memory: Memory) -> None:
    """Every byte must have been written, not only the first."""
    address = memory.malloc(8)
    assert diagnosis(memory.read, address, 1).kind is Kind.UNINITIALISED_READ
    memory.write(address, b"abcd")
    assert memory.read(address, 4) == b"abcd"
    assert diagnosis(memory.read, address, 5).kind is Kind.UNINITIALISED_READ
    assert diagnosis(memory.read, memory.reserve(16), 1).kind is Kind.UNINITIALISED_READ
    memory.write(address + 4, b"efgh")
    assert memory.read(address, 8) == b"abcdefgh"


@pytest.mark.parametrize("offset", [-1, 8, 9, 8 + GAP - 1, -GAP])
def test_accesses_beside_a_block(memory: Memory, offset: int) -> None:
    """In front of a block, behind it and in its gap is out of bounds, for reading and for writing."""
    address = buffer(memory, bytes(8))
    memory.malloc(1)
    for found in (diagnosis(memory.read, address + offset, 1), diagnosis(memory.write, address + offset, b"x")):
        assert found.kind is Kind.OUT_OF_BOUNDS
        assert found.address == address
        assert f"{hex(address + offset)}, {offset} bytes from the start of a block of 8" in found.fact


def test_an_access_that_begins_inside_and_ends_outside(memory: Memory) -> None:
    """The whole access must lie in the block."""
    address = buffer(memory, bytes(8))
    assert memory.read(address + 7, 1) == b"\0"
    found = diagnosis(memory.read, address + 7, 2)
    assert (found.kind, found.address) == (Kind.OUT_OF_BOUNDS, address)
    assert "reads 2 bytes at" in found.fact
    assert "7 bytes into a block of 8" in found.fact
    assert memory.read(address + 8, 0) == b""


@pytest.mark.parametrize("address", [1, 0x1000, 0x7FFF_FFFF_0000, (1 << 64) - 8])
def test_wild_pointers(memory: Memory, address: int) -> None:
    """An address far from all blocks is told from one that missed a block."""
    memory.malloc(8)
    found = diagnosis(memory.read, address, 1)
    assert (found.kind, found.history) == (Kind.WILD_POINTER, [])
    assert hex(address) in found.fact
    assert diagnosis(memory.c_string, address).kind is Kind.WILD_POINTER


def test_null(memory: Memory) -> None:
    """NULL is written as such, and is no wild pointer."""
    for found in (
        diagnosis(memory.read, NULL, 1),
        diagnosis(memory.write, NULL, b"x"),
        diagnosis(memory.c_string, NULL),
        diagnosis(memory.load_word, NULL),
    ):
        assert found.kind is Kind.NULL_DEREFERENCE
        assert found.fact.endswith("at NULL")
        assert found.consequence == "the process dies of a segmentation fault"


def test_freed_memory(memory: Memory) -> None:
    """Whatever touches a freed block is told when it came and when it went."""
    address = buffer(memory, b"abc\0")
    memory.label("step 3")
    memory.free(address)
    memory.label("step 4")
    history = ["malloc block of 4 bytes, allocated at step 2", "freed at step 3"]
    for call, arguments in (
        (memory.read, (address + 1, 1)),
        (memory.write, (address + 1, b"x")),
        (memory.c_string, (address + 1,)),
    ):
        found = diagnosis(call, *arguments)
        assert (found.kind, found.history, found.address) == (Kind.USE_AFTER_FREE, history, address)
        assert found.fact.startswith("step 4 ")
        assert f"at {hex(address + 1)}, 1 bytes into a block of 4" in found.fact
    again = diagnosis(memory.free, address)
    assert (again.kind, again.history) == (Kind.DOUBLE_FREE, history)


def test_only_the_start_of_a_block_is_freed(memory: Memory) -> None:
    """An interior pointer and an address of nobody were never given out."""
    address = memory.malloc(8)
    assert diagnosis(memory.free, address + 4).kind is Kind.INVALID_FREE
    assert diagnosis(memory.free, 0x10).kind is Kind.INVALID_FREE
    memory.free(address)
    assert diagnosis(memory.free, address + 4).kind is Kind.INVALID_FREE


def test_a_diagnosis_as_text(memory: Memory) -> None:
    """It has one line an item: kind and fact, consequence, where, and the history."""
    address = memory.malloc(4)
    memory.label("step 5")
    lines = str(diagnosis(memory.read, address + 2, 4)).splitlines()
    assert lines == [
        f"out-of-bounds: step 5 reads 4 bytes at {address + 2:#x}, 2 bytes into a block of 4",
        "  consequence: a neighbouring block is read or overwritten",
        "  where: the program itself",
        "  history: malloc block of 4 bytes, allocated at step 2",
    ]


def test_without_labels_events_are_counted() -> None:
    """A program that names no steps gets the numbers of what was created and freed."""
    memory = Memory(8, "little")
    memory.literal(b"a")
    address = memory.malloc(4)
    memory.free(address)
    found = diagnosis(memory.read, address, 1)
    assert found.history == ["malloc block of 4 bytes, allocated at event 2", "freed at event 3"]


def test_where_is_the_c_function() -> None:
    """A diagnosis made inside a C function names it, and who called it."""
    py = Interpreter()
    name = py.malloc(4)
    capsule = py.PyCapsule_New(py.malloc(1), name, NULL)
    assert (
        diagnosis(py.PyCapsule_GetPointer, capsule, py.cstring("a")).where == "strcmp, called by PyCapsule_GetPointer"
    )
    assert diagnosis(py.free, 1).where == "free"
    assert diagnosis(py.Py_INCREF, NULL).where == "Py_INCREF"
    function = py.function(lambda op: py.PyCapsule_IsValid(op, name))
    other = py.PyCapsule_New(1, py.cstring("a"), function)
    assert "PyCapsule_IsValid" in (where := diagnosis(py.Py_DECREF, other).where)
    assert where.endswith("called by Py_DECREF")


@pytest.mark.parametrize(
    ("word", "order", "stored"),
    [
        (4, "little", b"\x04\x03\x02\x01"),
        (4, "big", b"\x01\x02\x03\x04"),
        (8, "little", b"\x04\x03\x02\x01\0\0\0\0"),
        (8, "big", b"\0\0\0\0\x01\x02\x03\x04"),
    ],
)
def test_words(word: int, order: Literal["little", "big"], stored: bytes) -> None:
    """A word is stored in the machine's size and byte order, and lies at a multiple of its size."""
    memory = Memory(word, order)
    address = memory.malloc(2 * word)
    memory.store_word(address + word, 0x01020304)
    assert memory.read(address + word, word) == stored
    assert memory.load_word(address + word) == 0x01020304
    for call, arguments in ((memory.load_word, (address + 1,)), (memory.store_word, (address + 1, 0))):
        found = diagnosis(call, *arguments)
        assert (found.kind, found.address) == (Kind.MISALIGNED, address)
        assert f"1 bytes into a block of {2 * word}" in found.fact
    with pytest.raises(OverflowError):
        memory.store_word(address, 1 << (8 * word))


def test_c_strings_end_at_the_first_nul(memory: Memory) -> None:
    """Bytes behind a NUL are no part of the string; a string can be read from its middle."""
    address = buffer(memory, b"ab\0cd\0")
    assert memory.c_string(address) == b"ab"
    assert memory.c_string(address + 1) == b"b"
    assert memory.c_string(address + 2) == b""
    assert memory.c_string(address + 3) == b"cd"


def test_c_strings_that_have_no_end(memory: Memory) -> None:
    """A string without a NUL runs out of its block; one with bytes that were never written is not read."""
    assert diagnosis(memory.c_string, buffer(memory, b"abc")).kind is Kind.OUT_OF_BOUNDS
    partly = memory.malloc(8)
    memory.write(partly, b"ab")
    assert diagnosis(memory.c_string, partly).kind is Kind.UNINITIALISED_READ
    memory.write(partly + 2, b"\0")
    assert memory.c_string(partly) == b"ab"


def test_writing_changes_the_string(memory: Memory) -> None:
    """A string that was read before is read anew after a write, also from its middle."""
    address = buffer(memory, b"abc\0")
    assert (memory.c_string(address), memory.c_string(address + 1)) == (b"abc", b"bc")
    memory.write(address + 1, b"XY")
    assert (memory.c_string(address), memory.c_string(address + 1)) == (b"aXY", b"XY")
    memory.write(address + 1, b"\0")
    assert strcmp(memory, address, memory.literal(b"a")) == 0


def test_freeing_forgets_the_string(memory: Memory) -> None:
    """A string that was read before cannot be read any more after its block was freed."""
    address = buffer(memory, b"abc\0")
    assert memory.c_string(address + 1) == b"bc"
    memory.free(address)
    assert diagnosis(memory.c_string, address + 1).kind is Kind.USE_AFTER_FREE
    assert memory.peek_string(address + 1) is None


def test_strcmp_reads_no_further_than_the_first_difference(memory: Memory) -> None:
    """A byte that nobody wrote, or that lies outside, counts only where the strings are equal up to it."""
    partly, unending, whole = memory.malloc(8), buffer(memory, b"abX"), memory.literal(b"abc")
    memory.write(partly, b"abX")
    for other in (partly, unending):
        assert strcmp(memory, other, whole) < 0
        assert strcmp(memory, whole, other) > 0
    assert diagnosis(strcmp, memory, partly, memory.literal(b"abXY")).kind is Kind.UNINITIALISED_READ
    assert diagnosis(strcmp, memory, unending, memory.literal(b"abXY")).kind is Kind.OUT_OF_BOUNDS
    assert diagnosis(strcmp, memory, whole, NULL).kind is Kind.NULL_DEREFERENCE


def test_an_onlooker_reads_only_what_a_program_could(memory: Memory) -> None:
    """`peek_string` gives None where a program's read would be undefined, and diagnoses nothing."""
    assert memory.peek_string(memory.literal(b"a\0b")) == b"a"
    partly = memory.malloc(8)
    memory.write(partly, b"ab")
    freed = buffer(memory, b"a\0")
    memory.free(freed)
    ended = buffer(memory, b"ab\0")
    assert memory.peek_string(ended + 1) == b"b"
    for address in (NULL, 0x10, partly, buffer(memory, b"ab"), freed, ended + 3, ended - 1, memory.reserve(16)):
        assert memory.peek_string(address) is None


@CALM
@given(value=st.binary(max_size=40), offset=st.integers(0, 8), order=st.sampled_from(ORDERS))
def test_what_was_written_is_read(value: bytes, offset: int, order: Literal["little", "big"]) -> None:
    """Any bytes come back as they went, and their neighbours in the block stay as they were."""
    memory = Memory(8, order)
    address = buffer(memory, b"\xaa" * 48)
    memory.write(address + offset, value)
    assert memory.read(address + offset, len(value)) == value
    assert memory.read(address, 48) == b"\xaa" * offset + value + b"\xaa" * (48 - offset - len(value))


@CALM
@given(word=st.sampled_from([4, 8]), order=st.sampled_from(ORDERS), data=st.data())
def test_words_come_back(word: int, order: Literal["little", "big"], data: st.DataObject) -> None:
    """Any word that fits comes back, at any multiple of its size."""
    memory = Memory(word, order)
    address = memory.malloc(8 * word)
    value = data.draw(st.integers(0, (1 << (8 * word)) - 1))
    place = address + word * data.draw(st.integers(0, 7))
    memory.store_word(place, value)
    assert memory.load_word(place) == value


@CALM
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    distance=st.integers(-20, 60),
    size=st.integers(1, 60),
    data=st.data(),
)
def test_no_read_crosses_a_block(sizes: list[int], distance: int, size: int, data: st.DataObject) -> None:
    """A read succeeds if and only if it lies in one block, and then gives that block's bytes."""
    memory = Memory(8, "little")
    addresses = [buffer(memory, bytes([number]) * size) for number, size in enumerate(sizes)]
    number = data.draw(st.integers(0, len(sizes) - 1))
    place = addresses[number] + distance
    inside = [
        number
        for number, (address, length) in enumerate(zip(addresses, sizes, strict=True))
        if address <= place and place + size <= address + length
    ]
    if inside:
        assert memory.read(place, size) == bytes(inside) * size
    else:
        assert diagnosis(memory.read, place, size).kind in (Kind.OUT_OF_BOUNDS, Kind.WILD_POINTER)


C_STRINGS = st.one_of(st.binary(max_size=6), st.text("ab\0é", max_size=4).map(str.encode))


@CALM
@given(left=C_STRINGS, right=C_STRINGS, static=st.booleans())
def test_strcmp_agrees_with_c(left: bytes, right: bytes, static: bool) -> None:
    """The sign is the C library's, for any bytes, and swapping the strings swaps it."""
    real = ctypes.CDLL(None).strcmp
    real.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    memory = Memory(8, "little")
    s1 = memory.literal(left) if static else buffer(memory, left + b"\0")
    s2 = buffer(memory, right + b"\0")
    wanted = real(left, right)
    assert _sign(strcmp(memory, s1, s2)) == _sign(wanted)
    assert _sign(strcmp(memory, s2, s1)) == -_sign(wanted)


@CALM
@given(left=st.binary(min_size=1, max_size=6), right=C_STRINGS)
def test_strcmp_by_bytes_agrees_with_c(left: bytes, right: bytes) -> None:
    """Where one string has no end that can be read, the comparison up to the difference is the C library's too."""
    common = right.partition(b"\0")[0] + b"\0"
    assume(b"\0" not in left and left != common[: len(left)])
    memory = Memory(8, "little")
    compared = strcmp(memory, buffer(memory, left), memory.literal(right))
    assert _sign(compared) == (1 if left > common else -1)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
