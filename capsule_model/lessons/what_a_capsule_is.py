"""Exercises of the notebook "What a capsule is"."""

from __future__ import annotations

from typing import Any

from capsule_model.interpreter import Interpreter
from capsule_model.lessons.exercise import Judge
from capsule_model.lessons.judging import predicted
from capsule_model.lessons.verdict import NotYet
from capsule_model.memory import NULL
from capsule_model.objects import Capsule
from capsule_model.undefined import UndefinedBehavior

__all__ = ["EXERCISES"]


def first_capsule(given: Any) -> str:
    """Judge a program that returns a capsule of 8 bytes, named shop.till, with the context 0x2000."""
    py = Interpreter()
    op = given(py)
    if op is None:
        raise NotYet("your program returns nothing", "the last line is: return cap")
    if op == NULL:
        raise NotYet(f"your program returns NULL, and {py.error!r} is pending", "what is the first argument?")
    capsule = py.objects.get(op)
    if not isinstance(capsule, Capsule):
        raise NotYet("what your program returns is no capsule that is alive", "return what PyCapsule_New returned")
    _is_eight_bytes(py, capsule.pointer)
    name = py.memory.peek_string(capsule.name)
    if name != b"shop.till":
        said = "NULL" if capsule.name == NULL else repr(name)
        raise NotYet(f"the name is {said}, not b'shop.till'", "the name is a C string: py.cstring(…)")
    if capsule.destructor != NULL:
        raise NotYet("the capsule has a destructor", "the third argument can be NULL, which is 0")
    if capsule.context != 0x2000:
        hint = "PyCapsule_New has no argument for it: PyCapsule_SetContext sets it afterwards"
        raise NotYet(f"the context is {capsule.context:#x}, not 0x2000", hint)
    return "pointer, name and context are what they should be"


def _is_eight_bytes(py: Interpreter, pointer: int) -> None:
    """See that a pointer is that of 8 bytes which are alive."""
    block = py.memory.nearest(pointer)
    try:
        py.memory.block_at(pointer, 8, "looks for 8 bytes at")
    except UndefinedBehavior as diagnosis:
        raise NotYet(f"the pointer is not that of 8 bytes: {diagnosis.kind}", "py.malloc(8) returns it") from None
    if block is None or block.kind != "malloc" or block.size != 8 or block.address != pointer:
        raise NotYet("the pointer is not that of a block of 8 bytes", "py.malloc(8) returns it")


def zero_words(given: Any) -> str:
    """Judge which words of a capsule are NULL if only its pointer is given."""
    py = Interpreter()
    words = py.capsule_words(py.PyCapsule_New(py.malloc(8), NULL, NULL))
    seen = {field for field in ("pointer", "name", "context", "destructor") if words[field] == NULL}
    hint = "two were passed as NULL, and one cannot be passed at all"
    predicted(set(given), seen, "the words that are NULL", hint)
    return "the context starts as NULL, and is set by PyCapsule_SetContext alone"


def one_box(given: Any) -> str:
    """Judge what is read through two capsules of one block after a write through one of them."""
    py = Interpreter()
    box = py.malloc(1)
    py.write(box, b"A")
    first, second = (py.PyCapsule_New(box, NULL, NULL) for _ in range(2))
    py.write(py.PyCapsule_GetPointer(second, NULL), b"B")
    seen = [py.read(py.PyCapsule_GetPointer(capsule, NULL), 1) for capsule in (first, second)]
    predicted(list(given), seen, "what is read", "how many boxes are there?")
    return "a capsule stores an address, and copies nothing of what lies there"


def no_pointer(given: Any) -> str:
    """Judge what PyCapsule_New does with a NULL pointer."""
    py = Interpreter()
    returned = py.PyCapsule_New(NULL, py.cstring("shop.box"), NULL)
    hint = "a C function that fails returns NULL, and leaves an exception; its type is a word here, such as 'KeyError'"
    predicted(list(given), [returned, py.PyErr_Occurred()], "what comes back, and what is pending", hint)
    return "a capsule always has a pointer: NULL is kept for saying that there is none"


EXERCISES: dict[str, Judge] = {
    "first-capsule": first_capsule,
    "zero-words": zero_words,
    "one-box": one_box,
    "no-pointer": no_pointer,
}
