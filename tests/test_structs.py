"""C structs in simulated memory, against ctypes and against hand-computed bytes."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_model import Kind, Struct, StructView, UndefinedBehavior
from capsule_model.memory import Memory

WORD = ctypes.sizeof(ctypes.c_void_p)
CTYPES: dict[str, Any] = {
    f"{sign}int{bits}_t": getattr(ctypes, f"c_{sign}int{bits}") for bits in (8, 16, 32, 64) for sign in ("", "u")
}
CTYPES |= {"pointer": ctypes.c_void_p, "size_t": ctypes.c_size_t, "Py_ssize_t": ctypes.c_ssize_t}


@given(st.lists(st.sampled_from(sorted(CTYPES)), min_size=1, max_size=12))
def test_layout_is_the_compilers(kinds: list[str]) -> None:
    """Offsets, size and alignment equal those that ctypes computes for this machine, for any order of fields."""
    fields = {f"f{number}": kind for number, kind in enumerate(kinds)}
    real = type("Real", (ctypes.Structure,), {"_fields_": [(name, CTYPES[kind]) for name, kind in fields.items()]})
    struct = Struct(WORD, **fields)
    assert struct.offsets == {name: getattr(real, name).offset for name in fields}
    assert (struct.size, struct.alignment) == (ctypes.sizeof(real), ctypes.alignment(real))


def test_nested_structs_are_aligned_and_viewed() -> None:
    """A struct inside a struct keeps its own alignment, and its fields are reached through a view."""
    device = Struct(8, device_type="int32_t", device_id="int32_t")
    tensor = Struct(8, data="pointer", device=device, ndim="int32_t", shape="pointer", byte_offset="uint64_t")
    assert tensor.offsets == {"data": 0, "device": 8, "ndim": 16, "shape": 24, "byte_offset": 32}
    memory = Memory(8, "little")
    view = StructView(memory, tensor, memory.malloc(tensor.size))
    inner = view["device"]
    assert isinstance(inner, StructView)
    inner["device_id"] = -3
    assert memory.read(view.address + 12, 4) == b"\xfd\xff\xff\xff"
    assert inner["device_id"] == -3
    with pytest.raises(TypeError, match="device is a struct: write its fields"):
        view["device"] = 1


@pytest.mark.parametrize(("order", "raw"), [("little", b"\x02\x01\x00\x00"), ("big", b"\x00\x00\x01\x02")])
def test_byte_order_and_word_size(order: Any, raw: bytes) -> None:
    """A word has the machine's size and byte order."""
    memory = Memory(4, order)
    view = StructView(memory, Struct(4, p="pointer"), memory.malloc(4))
    view["p"] = 0x102
    assert memory.read(view.address, 4) == raw
    assert view["p"] == 0x102


def test_a_view_is_checked_by_the_memory() -> None:
    """Fields that nobody wrote, that lie outside the block, or at an odd address are diagnosed."""
    memory = Memory(8, "little")
    struct = Struct(8, a="int64_t", b="int64_t")
    block = memory.malloc(8)
    for address, name, kind in (
        (block, "a", Kind.UNINITIALISED_READ),
        (block, "b", Kind.OUT_OF_BOUNDS),
        (block + 1, "a", Kind.MISALIGNED),
    ):
        with pytest.raises(UndefinedBehavior) as caught:
            StructView(memory, struct, address)[name]
        assert caught.value.kind == kind


def test_an_unknown_type_is_named() -> None:
    """A C type that is not known is refused in one line that lists the known ones."""
    with pytest.raises(ValueError, match=r"^unknown C type 'long': expected one of int8_t, .*Py_ssize_t$"):
        Struct(8, a="long")


def test_a_value_must_fit() -> None:
    """A value beyond the field's type is refused, not cut."""
    memory = Memory(8, "little")
    view = StructView(memory, Struct(8, a="uint8_t"), memory.malloc(1))
    with pytest.raises(OverflowError):
        view["a"] = 256
