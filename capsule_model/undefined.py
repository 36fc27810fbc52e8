"""Undefined behaviour: its kinds, and how a diagnosis is worded."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

__all__ = ["Abort", "Kind", "NotModelled", "UndefinedBehavior", "diagnose"]


class Kind(StrEnum):
    """Name the kinds of undefined behaviour; the value is the stable word that vectors use."""

    NULL_DEREFERENCE = "null-dereference"
    WILD_POINTER = "wild-pointer"
    USE_AFTER_FREE = "use-after-free"
    DOUBLE_FREE = "double-free"
    INVALID_FREE = "invalid-free"
    OUT_OF_BOUNDS = "out-of-bounds"
    MISALIGNED = "misaligned"
    UNINITIALISED_READ = "uninitialised-read"
    READ_ONLY_WRITE = "read-only-write"
    NOT_AN_OBJECT = "not-an-object"
    WRONG_FUNCTION_TYPE = "wrong-function-type"
    NEGATIVE_REFCOUNT = "negative-refcount"
    DEALLOC_REENTERED = "dealloc-reentered"
    PENDING_EXCEPTION = "pending-exception"
    NO_EXCEPTION = "no-exception"
    LEAK = "leak"


CONSEQUENCE: dict[str, str] = {
    Kind.NULL_DEREFERENCE: "the process dies of a segmentation fault",
    Kind.WILD_POINTER: "the process reads, writes or jumps to memory that nobody gave it",
    Kind.USE_AFTER_FREE: "the memory may already belong to another object: wrong values or a crash",
    Kind.DOUBLE_FREE: "the allocator's lists are corrupted: two later owners get the same memory",
    Kind.INVALID_FREE: "the allocator is handed an address that it never gave out",
    Kind.OUT_OF_BOUNDS: "a neighbouring block is read or overwritten",
    Kind.MISALIGNED: "the read tears a word apart, or traps, depending on the machine",
    Kind.UNINITIALISED_READ: "the result depends on what the memory held before",
    Kind.READ_ONLY_WRITE: "the process dies, or every user of the literal sees the change",
    Kind.NOT_AN_OBJECT: "bytes that are no object are read as a reference count and a type",
    Kind.WRONG_FUNCTION_TYPE: "the function reads arguments that nobody passed, or returns into nowhere",
    Kind.NEGATIVE_REFCOUNT: "the object is freed while it is being destroyed, or never",
    Kind.DEALLOC_REENTERED: "the destructor runs again and the memory is freed twice, or the stack overflows",
    Kind.PENDING_EXCEPTION: "the exception is lost, or the call fails although its target is good",
    Kind.NO_EXCEPTION: "NULL is read as an exception: newer releases and debug builds die",
    Kind.LEAK: "the memory is lost until the process ends, and its destructor never runs",
}


# What a chain of calls names besides the functions of the C API.
NAMED = frozenset(
    "capsule_dealloc malloc free strcmp gc_collect gc_get_referents gc_is_tracked pickle_object subclass "
    "weakref_ref sys_getsizeof types_CapsuleType".split()
)
# How many functions of a call chain a diagnosis names.
SHOWN = 6


class UndefinedBehavior(Exception):
    """Report undefined behaviour: kind, fact, consequence, where, and the history of what it is about.

    ``address`` is the block or object concerned (0 where there is none). A subclass may have kinds of its own, with
    their ``consequences``, and functions that a chain of calls names beside those of the C API.
    """

    consequences: ClassVar[Mapping[str, str]] = CONSEQUENCE
    named: ClassVar[frozenset[str]] = NAMED

    def __init__(self, kind: str, fact: str, where: str, history: list[str], address: int = 0) -> None:
        super().__init__(kind, fact)
        self.kind = kind
        self.fact = fact
        self.consequence = self.consequences[kind]
        self.where = where
        self.history = history
        self.address = address

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the diagnosis in IPython, and in a notebook that shows no pictures."""
        printer.text(str(self))

    def __str__(self) -> str:
        """Return the diagnosis, one line an item."""
        lines = [f"{self.kind}: {self.fact}", f"  consequence: {self.consequence}", f"  where: {self.where}"]
        lines += [f"  history: {line}" for line in self.history]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the diagnosis in a notebook, its history as a time line."""
        from capsule_model.show.pictures.diagnosis import diagnosis_picture

        return diagnosis_picture(self)._repr_html_()

    def _repr_svg_(self) -> str:
        """Show the diagnosis in a notebook, its history as a time line."""
        from capsule_model.show.pictures.diagnosis import diagnosis_picture

        return diagnosis_picture(self)._repr_svg_()


class Abort(Exception):
    """Report that the interpreter ends the process itself (``Py_FatalError``), as debug builds do."""


class NotModelled(Exception):
    """Report a question that the model has no answer to; it is no fault of the program."""


def diagnose(
    kind: str, fact: str, history: list[str], address: int = 0, made: type[UndefinedBehavior] = UndefinedBehavior
) -> UndefinedBehavior:
    """Return the diagnosis, of the class ``made``, with the C functions that are running as its ``where``."""
    return made(kind, fact, _running(made.named), history, address)


def _running(named: frozenset[str]) -> str:
    """Return the chain of C functions on the stack, innermost first; ``named`` are those that are not called Py….

    Read off the interpreter's own frames, so that a call which is defined pays nothing for it.
    """
    names: list[str] = []
    frame = sys._getframe(2)
    while True:
        name = frame.f_code.co_name
        if name.startswith(("Py", "_Py")) or name in named:
            # A function of the face and the one that it calls may share a name: C has but one.
            names += [name] if names[-1:] != [name] else []
        if frame.f_back is None:
            break
        frame = frame.f_back
    chain = ", called by ".join(names[:SHOWN]) or "the program itself"
    more = len(names) - SHOWN
    return chain if more <= 0 else f"{chain} and so on, {more} more, up to {names[-1]}"
