"""Exercises of the notebook "Capsules from Rust"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capsule_model.interpreter import Interpreter
from capsule_model.layers.pyo3 import Closure, DoesNotCompile, Err, PyO3, PyResult, Value
from capsule_model.lessons.exercise import Judge
from capsule_model.lessons.judging import leaves_nothing, predicted
from capsule_model.lessons.verdict import NotYet
from capsule_model.memory import NULL
from capsule_model.undefined import UndefinedBehavior

__all__ = ["COMPILES", "EXERCISES", "OWNED"]

_TILL = b"shop.till\0"
_VALUE = Value(b"\x2a\0\0\0", align=4)


def _fresh() -> tuple[Interpreter, PyO3, int]:
    """Return a process with a Rust extension, and a static name there."""
    py = Interpreter()
    return py, PyO3(py), py.cstring(_TILL[:-1])


def _made(result: PyResult) -> int:
    """Return the capsule that a constructor made: with these arguments none fails."""
    assert not isinstance(result, Err)
    return result.value or NULL


def _block(py: Interpreter, data: bytes) -> int:
    block = py.malloc(len(data))
    py.write(block, data)
    return block


def value(py: Interpreter, rust: PyO3, name: int) -> tuple[int, int]:
    """Make a capsule around a value."""
    cap = _made(rust.new_with_value(_VALUE, name))
    return cap, py.capsule_words(cap)["pointer"]


def static_name(py: Interpreter, rust: PyO3, name: int) -> tuple[int, int]:
    """Make a capsule whose name is stored."""
    return _made(rust.new_with_value(_VALUE, name)), name


def owned_name(py: Interpreter, rust: PyO3, name: int) -> tuple[int, int]:
    """Make a capsule whose name is copied."""
    cap = _made(rust.new(_VALUE, name))
    return cap, py.capsule_words(cap)["name"]


def context(py: Interpreter, rust: PyO3, name: int) -> tuple[int, int]:
    """Make a capsule with a context."""
    cap, block = _made(rust.new_with_value(_VALUE, name)), _block(py, bytes(8))
    rust.set_context(cap, block)
    return cap, block


def plain_pointer(py: Interpreter, rust: PyO3, name: int) -> tuple[int, int]:
    """Make a capsule around a pointer."""
    block = _block(py, bytes(8))
    return _made(rust.new_with_pointer(block, name)), block


# Each returns a capsule and the address that the question is about.
OWNED: dict[str, Callable[[Interpreter, PyO3, int], tuple[int, int]]] = {
    "value": value,
    "static name": static_name,
    "owned name": owned_name,
    "context": context,
    "plain pointer": plain_pointer,
}


def who_frees(given: Any) -> str:
    """Judge what of five things is gone after the last reference to a capsule was dropped."""
    seen: dict[str, str] = {}
    for name, make in OWNED.items():
        py, rust, text = _fresh()
        cap, address = make(py, rust, text)
        rust.drop(cap)
        try:
            py.read(address, 1)
            seen[name] = "nobody"
        except UndefinedBehavior:
            seen[name] = "the capsule"
    hint = "what PyO3 has put into the box goes with the box; what it was only told the address of stays"
    predicted(given, seen, "who frees", hint)
    return "the box, and what is in it; everything else needs a closure, or lives as long as the process"


COMPILES: dict[str, Callable[[Interpreter, PyO3, int], object]] = {
    "no size": lambda py, rust, name: rust.new_with_value(Value(b""), name),
    "not Send": lambda py, rust, name: rust.new_with_value(Value(b"data", send=False), name),
    "short-lived name": lambda py, rust, name: rust.new_with_value(_VALUE, _block(py, _TILL)),
    "short-lived name, new": lambda py, rust, name: rust.new(_VALUE, _block(py, _TILL)),
    "no name, new": lambda py, rust, name: rust.new(_VALUE, NULL),
    "borrows": lambda py, rust, name: rust.new_with_destructor(_VALUE, name, Closure(borrows=_block(py, bytes(8)))),
}


def what_compiles(given: Any) -> str:
    """Judge which of six calls the compiler accepts."""
    seen: set[str] = set()
    for name, call in COMPILES.items():
        py, rust, text = _fresh()
        try:
            call(py, rust, text)
        except DoesNotCompile:
            continue
        seen.add(name)
    hint = "who keeps a copy can take any name, or none; what may be dropped late, on any thread, must not borrow"
    predicted(set(given), seen, "what compiles", hint)
    return "the compiler looks after threads and lifetimes, and a box without memory is fine since 0.29"


def change_context(given: Any) -> str:
    """Judge a function that replaces a capsule's context: nothing leaks, and no exception is lost."""
    for title, had, pending in (
        ("a capsule without a context", False, False),
        ("a capsule with a context", True, False),
        ("a capsule with a context while a KeyError is pending", True, True),
        ("a capsule without a context while a KeyError is pending", False, True),
    ):
        _is_changed(given, title, had=had, pending=pending)
    return "the pending exception goes aside first, so that PyO3 cannot take it for an answer"


def _is_changed(given: Any, title: str, *, had: bool, pending: bool) -> None:
    py, rust, name = _fresh()
    cap = _made(rust.new_with_value(_VALUE, name))
    if had:
        rust.set_context(cap, _block(py, bytes(16)))
    block = _block(py, bytes(8))
    if pending:
        py.PyErr_SetString("KeyError", "of somebody else")
    before = py.error
    stale = "with a NULL context, context() takes a pending exception for its own: put it aside, and back at the end"
    try:
        given(rust, cap, block)
    except AttributeError as error:
        raise NotYet(f"{title}: your function raises AttributeError: {error}", stale) from None
    except UndefinedBehavior as diagnosis:
        hint = "the old context is freed, and the new one kept"
        raise NotYet(f"{title}: {diagnosis.kind}, {diagnosis.fact}", hint) from None
    if py.error is not before:
        raise NotYet(f"{title}: {before!r} was pending before, and {py.error!r} is after", stale)
    if py.PyCapsule_GetContext(cap) != block:
        raise NotYet(f"{title}: the context is not the new block", "rust.set_context(capsule, block)")
    try:
        py.read(block, 8)
    except UndefinedBehavior as diagnosis:
        raise NotYet(f"{title}: {diagnosis.kind}, the new block is freed", "free the one that was there") from None
    rust.drop(cap)
    py.free(block)
    leaves_nothing(py, "set_context frees nothing: ask for the old context before it is replaced")


def forge_one(given: Any) -> str:
    """Judge a capsule that PyO3 accepts, and behind which there is no value of four bytes."""
    py, rust, name = _fresh()
    cap = given(py)
    if py.capsule_at(cap) is None:
        raise NotYet("what your program returns is no capsule that is alive", "return what PyCapsule_New returned")
    found = rust.pointer_checked(cap, name)
    if isinstance(found, Err):
        raise NotYet(f"PyO3 refuses it: {found.error!r}", "which name does it ask for?")
    try:
        seen = py.read(found.value or NULL, 4)
    except UndefinedBehavior as diagnosis:
        return f"PyO3 accepts it, and reading a value there is {diagnosis.kind}"
    hint = "a block that is too small, or gone, or an address at which nothing is"
    raise NotYet(f"four bytes can be read there: {seen.hex(' ')}", hint)


def tell_apart(given: Any) -> str:
    """Judge a function that accepts a capsule by name and destructor, and sets no exception."""
    for title, name, ours in (
        ("a true capsule", _TILL[:-1], True),
        ("a forged one without a destructor", _TILL[:-1], None),
        ("a forged one with a destructor of its own", _TILL[:-1], False),
        ("a true one that was renamed", b"shop.box", True),
        ("a true one whose name was taken away", None, True),
    ):
        py = Interpreter()
        own, other = (py.function(lambda op: None, name=text) for text in ("ours", "theirs"))
        destructor = NULL if ours is None else own if ours else other
        box = _block(py, bytes(4))
        cap = py.PyCapsule_New(box, NULL if name is None else py.cstring(name), destructor)
        found = given(py, cap, own)
        wanted = box if ours and name == _TILL[:-1] else NULL
        if py.error is not None:
            hint = "PyCapsule_IsValid asks for the name and sets no exception"
            raise NotYet(f"{title}: {py.error!r} is pending afterwards", hint)
        if found != wanted:
            told = "the pointer" if wanted else "NULL"
            hint = "name and destructor both: PyCapsule_IsValid and PyCapsule_GetDestructor"
            raise NotYet(f"{title}: what comes back is not {told}", hint)
    return "a destructor is an address in your own library: no stranger has it by accident"


EXERCISES: dict[str, Judge] = {
    "who-frees": who_frees,
    "what-compiles": what_compiles,
    "change-context": change_context,
    "forge-one": forge_one,
    "tell-apart": tell_apart,
}
