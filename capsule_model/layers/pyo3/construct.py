"""PyO3's constructors of capsules, in the order of its source, and what the compiler asks of their types."""

from __future__ import annotations

from capsule_model.capsule import PyCapsule_New
from capsule_model.layers.pyo3.contents import (
    Closure,
    Value,
    box_contents,
    box_value,
    capsule_destructor,
    value_destructor,
)
from capsule_model.layers.pyo3.crate import Crate, DoesNotCompile, Ok, PyResult, fetch
from capsule_model.memory import NULL

__all__ = [
    "new",
    "new_with_destructor",
    "new_with_pointer",
    "new_with_pointer_and_destructor",
    "new_with_value",
    "new_with_value_and_destructor",
]


def new_with_value(rust: Crate, value: Value, name: int) -> PyResult:
    """Box a value and return a capsule around the box; ``name`` is a ``&'static CStr``, whose address is stored.

    Source: src/types/capsule.rs:132 (0.29.2).
    """
    rust.needs("takes-values-with-static-names", "new_with_value")
    _bounds(rust, value, Closure())
    _static(rust, name)
    # rule: PyO3.new_with_value/name-is-stored
    return _made(rust, box_value(rust, value), name, value_destructor(rust, value))


def new(rust: Crate, value: Value, name: int) -> PyResult:
    """Do what ``new_with_destructor`` does, with a closure that does nothing.

    Source: src/types/capsule.rs:169 (0.29.2).
    """
    # rule: PyO3.new/is-new_with_destructor
    return new_with_destructor(rust, value, name, Closure())


def new_with_value_and_destructor(rust: Crate, value: Value, name: int, destructor: Closure) -> PyResult:
    """Box a value together with a closure that will get it; ``name`` is a ``&'static CStr``, whose address is stored.

    Source: src/types/capsule.rs:192 (0.29.2).
    """
    rust.needs("takes-values-with-static-names", "new_with_value_and_destructor")
    _bounds(rust, value, destructor)
    _static(rust, name)
    box, _ = box_contents(rust, value, NULL)
    # rule: PyO3.new_with_value/name-is-stored
    return _made(rust, box, name, capsule_destructor(rust, value, destructor, NULL))


def new_with_destructor(rust: Crate, value: Value, name: int, destructor: Closure) -> PyResult:
    """Box a value together with a closure that will get it, and with the name: an ``Option<CString>``, NULL for none.

    Before 0.17 the name is a ``&CStr`` whose address is stored, and cannot be absent.
    Source: src/types/capsule.rs:233 (0.29.2), src/types/capsule.rs:92 (0.16.0).
    """
    _bounds(rust, value, destructor)
    if rust.has("owns-name"):
        box, copy = box_contents(rust, value, name)
        return _made(rust, box, copy, capsule_destructor(rust, value, destructor, copy))
    if name == NULL:
        # rule: PyO3.new/needed-a-name
        raise DoesNotCompile("&CStr", "a name of type &CStr cannot be absent")
    box, _ = box_contents(rust, value, NULL)
    # rule: PyO3.new/borrowed-the-name
    return _made(rust, box, name, capsule_destructor(rust, value, destructor, NULL))


def new_with_pointer(rust: Crate, pointer: int, name: int) -> PyResult:
    """Return a capsule around a pointer that nobody will free. Source: src/types/capsule.rs:304 (0.29.2)."""
    # rule: PyO3.new_with_pointer/has-no-destructor
    return new_with_pointer_and_destructor(rust, pointer, name, NULL)


def new_with_pointer_and_destructor(rust: Crate, pointer: int, name: int, destructor: int) -> PyResult:
    """Return a capsule around a pointer; ``destructor`` is an ``extern "C"`` function that gets the capsule, or NULL.

    Source: src/types/capsule.rs:362 (0.29.2).
    """
    rust.needs("takes-pointers", "new_with_pointer")
    if pointer == NULL:
        # rule: PyO3.new_with_pointer/cannot-be-null
        raise DoesNotCompile("NonNull", "NULL is no NonNull<c_void>")
    _static(rust, name)
    # rule: PyO3.new_with_pointer/stores-what-it-gets
    # rule: PyO3.new_with_value/name-is-stored
    return _made(rust, pointer, name, destructor)


def _made(rust: Crate, pointer: int, name: int, destructor: int) -> PyResult:
    capsule = PyCapsule_New(rust.py, pointer, name, destructor)
    # A box is never NULL, and neither is a NonNull.
    return Ok(capsule) if capsule != NULL else fetch(rust)


def _bounds(rust: Crate, value: Value, closure: Closure) -> None:
    """Raise ``DoesNotCompile`` for types that do not meet the bounds of this version."""
    if not value.send:
        # rule: PyO3.new/value-is-send
        raise DoesNotCompile("Send", "the value's type is not Send: the destructor may run on any thread")
    if not value.data and not rust.has("allows-zero-sized"):
        # rule: PyO3.new/zero-sized-refused
        raise DoesNotCompile("AssertNotZeroSized", "PyCapsule value type T must not be zero-sized!")
    if not closure.send and rust.has("destructor-is-send"):
        # rule: PyO3.new/destructor-is-send
        raise DoesNotCompile("Send", "the closure's type is not Send: it may be called on any thread")
    if closure.borrows != NULL and rust.has("destructor-is-static"):
        # rule: PyO3.new/destructor-is-static
        raise DoesNotCompile("'static", "the closure borrows what may die before the capsule")


def _static(rust: Crate, name: int) -> None:
    """Raise ``DoesNotCompile`` for a name that is absent, or that lies in memory which can be freed."""
    block = rust.py.memory.nearest(name) if name != NULL else None
    if block is None or block.kind == "malloc":
        # rule: PyO3.new_with_value/name-is-static
        raise DoesNotCompile("&'static CStr", "the name must live as long as the process")
