"""What PyO3 puts behind a capsule's pointer: a box with the value first, and who empties it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from capsule_model.capsule import PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer
from capsule_model.layers.pyo3.crate import Crate
from capsule_model.memory import NULL
from capsule_model.undefined import Abort

__all__ = ["Closure", "Value", "box_contents", "box_value", "capsule_destructor", "value_destructor"]

# What a destructor closure is called with: the bytes of the value, and the capsule's context.
Body = Callable[[bytes, int], object]
MAX_ALIGN = 16


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a Rust type: its bytes, the type's alignment, and whether the type is Send."""

    data: bytes
    align: int = 1
    send: bool = True


@dataclass(frozen=True, slots=True)
class Closure:
    """A destructor closure: what it does, and of its type whether it is Send.

    ``borrows`` is the address of what it borrows and reads when it runs, NULL where it borrows nothing; ``panics``
    says that it panics.
    """

    body: Body = lambda value, context: None
    send: bool = True
    borrows: int = NULL
    panics: bool = False


def box_value(rust: Crate, value: Value) -> int:
    """Box a value alone and return the pointer: for a type of no size the alignment, and no memory.

    Source: new_with_value in src/types/capsule.rs:132 (0.29.2).
    """
    if not value.data:
        # rule: PyO3.new_with_value/zero-sized-is-dangling
        return value.align
    # rule: PyO3.new_with_value/boxes-the-value
    return _boxed(rust, value.data)


def box_contents(rust: Crate, value: Value, name: int) -> tuple[int, int]:
    """Box a value with its destructor and a copy of the name; return the pointers to the box and to the name's bytes.

    The value comes first, so that the pointer to the box is one to the value. A NULL name is kept as none.
    Source: CapsuleContents in src/types/capsule.rs:624 (0.29.2).
    """
    word = rust.py.profile.word
    copy = NULL
    if name != NULL:
        text = rust.py.memory.c_string(name)
        # rule: PyO3.new/owns-a-copy-of-the-name
        copy = _boxed(rust, text + b"\0")
    kept = copy.to_bytes(word, rust.py.profile.order) + bytes(word)
    # rule: PyO3.new/value-comes-first
    return _boxed(rust, value.data + bytes(-len(value.data) % word) + kept), copy


def value_destructor(rust: Crate, value: Value) -> int:
    """Return the address of the destructor of a box that holds a value alone: it drops the box.

    Source: src/types/capsule.rs:144 (0.29.2).
    """

    def destructor(capsule: int) -> None:
        pointer = _own_pointer(rust, capsule)
        if value.data:
            # rule: PyO3.destructor/drops-the-box
            rust.py.free(pointer)

    return rust.py.function(destructor, "destructor", "destructor::<T>")


def capsule_destructor(rust: Crate, value: Value, closure: Closure, name: int) -> int:
    """Return the address of the destructor of a box with contents: it empties the box, then calls the closure.

    ``name`` is the copy that the box owns, NULL where it owns none. Source: src/types/capsule.rs:635 (0.29.2).
    """

    def destructor(capsule: int) -> None:
        py = rust.py
        pointer = _own_pointer(rust, capsule)
        # rule: PyO3.destructor/gets-the-context
        context = PyCapsule_GetContext(py, capsule)
        data = py.memory.read(pointer, len(value.data)) if value.data else b""
        if name != NULL:
            # rule: PyO3.destructor/name-goes-before-the-closure
            py.free(name)
        # rule: PyO3.destructor/drops-the-box
        py.free(pointer)
        if closure.borrows != NULL:
            # rule: PyO3.destructor/borrowed-and-gone
            py.memory.read(closure.borrows, 1)
        # rule: PyO3.destructor/closure-gets-value-and-context
        closure.body(data, context)
        if closure.panics:
            # rule: PyO3.destructor/panic-aborts
            raise Abort("panic in a function that cannot unwind: a capsule's destructor is extern C")

    return rust.py.function(destructor, "destructor", "capsule_destructor::<T, F>")


def _own_pointer(rust: Crate, capsule: int) -> int:
    """Return the capsule's pointer, asked for with the name that the capsule has now."""
    name = PyCapsule_GetName(rust.py, capsule)
    # rule: PyO3.destructor/asks-with-the-present-name
    # rule: PyO3.destructor/trusts-the-present-pointer
    return PyCapsule_GetPointer(rust.py, capsule, name)


def _boxed(rust: Crate, data: bytes) -> int:
    address = rust.py.malloc(len(data))
    rust.py.memory.write(address, data)
    return address
