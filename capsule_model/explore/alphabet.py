"""The operations that an exploration chooses from, as calls of the model with all their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from capsule_model import capsule, errors, runtime
from capsule_model.memory import NULL

__all__ = ["NONE", "PENDING", "Operation", "Words", "operations"]

# Where an operation is about no capsule, or about NULL.
NONE = -1
PENDING = "KeyError"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: the name of the C function, the model's function, its C arguments by name, and who makes it.

    ``slot`` is the number of the capsule that it is about, ``word`` that of the word which it stores. ``refused`` says
    that it fails in every state, ``matches`` that it fails where the name is another.
    """

    op: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    parameters: tuple[str, ...]
    slot: int = NONE
    refused: bool = False
    matches: bool = False
    word: int = NONE
    thread: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """The addresses that arguments are chosen from; names to ask for are copies of those that are stored."""

    slots: tuple[int, ...]
    names: tuple[int, ...]
    asked: tuple[int, ...]
    pointers: tuple[int, ...]
    contexts: tuple[int, ...]
    destructors: tuple[int, ...]


_ONE = ("capsule",)
_ASKING: dict[str, Callable[..., Any]] = {
    "PyCapsule_IsValid": capsule.PyCapsule_IsValid,
    "PyCapsule_GetPointer": capsule.PyCapsule_GetPointer,
}
_READING: dict[str, Callable[..., Any]] = {
    "PyCapsule_GetName": capsule.PyCapsule_GetName,
    "PyCapsule_GetDestructor": capsule.PyCapsule_GetDestructor,
    "PyCapsule_GetContext": capsule.PyCapsule_GetContext,
}
_COUNTING: dict[str, Callable[..., Any]] = {"Py_INCREF": runtime.Py_INCREF, "Py_DECREF": runtime.Py_DECREF}


def operations(words: Words, alive: int, most: int, thread: int = 0) -> list[Operation]:
    """Return all operations where ``alive`` capsules are there and ``most`` may be, made by one thread, in their order.

    None of them uses a dead capsule; what a destructor that it runs does may be undefined all the same.
    """
    found = [*_errors(), *(_new(words) if alive < most else ())]
    for slot in range(NONE, alive):
        address = NULL if slot == NONE else words.slots[slot]
        found += _about(words, slot, address, words.slots[:alive])
    if thread:
        return [
            Operation(
                one.op, one.function, one.args, one.parameters, one.slot, one.refused, one.matches, one.word, thread
            )
            for one in found
        ]
    return found


def _errors() -> Iterator[Operation]:
    yield Operation("PyErr_SetString", errors.PyErr_SetString, (PENDING, "pending"), ("type", "message"))
    yield Operation("PyErr_Clear", errors.PyErr_Clear, (), ())


def _new(words: Words) -> Iterator[Operation]:
    named = ("pointer", "name", "destructor")
    for pointer in (NULL, *words.pointers):
        for name in words.names:
            for destructor in words.destructors:
                args = (pointer, name, destructor)
                yield Operation("PyCapsule_New", capsule.PyCapsule_New, args, named, refused=pointer == NULL)


def _about(words: Words, slot: int, address: int, capsules: Sequence[int]) -> Iterator[Operation]:
    """Yield what can be done to one capsule, or to NULL."""
    null = slot == NONE
    for op, function in _ASKING.items():
        for name in words.asked:
            refused = null and op != "PyCapsule_IsValid"
            yield Operation(
                op, function, (address, name), ("capsule", "name"), slot, refused, op == "PyCapsule_GetPointer"
            )
    for op, function in _READING.items():
        yield Operation(op, function, (address,), _ONE, slot, null)
    for word, (op, function, parameter, values) in enumerate(_setters(words, capsules), 1):
        for value in values:
            refused = null or (op == "PyCapsule_SetPointer" and value == NULL)
            yield Operation(op, function, (address, value), ("capsule", parameter), slot, refused, word=word)
    if not null:
        for op, function in _COUNTING.items():
            yield Operation(op, function, (address,), ("op",), slot)


def _setters(words: Words, capsules: Sequence[int]) -> list[tuple[str, Callable[..., Any], str, Sequence[int]]]:
    """Return the setters in the order of the words that they store."""
    return [
        ("PyCapsule_SetPointer", capsule.PyCapsule_SetPointer, "pointer", (NULL, *words.pointers)),
        ("PyCapsule_SetName", capsule.PyCapsule_SetName, "name", words.names),
        ("PyCapsule_SetContext", capsule.PyCapsule_SetContext, "context", (NULL, *words.contexts, *capsules)),
        ("PyCapsule_SetDestructor", capsule.PyCapsule_SetDestructor, "destructor", words.destructors),
    ]
