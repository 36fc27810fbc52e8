"""What a type checker could know of a capsule's name, and what it could not (python/cpython#109562).

The idea is a type ``Capsule[Literal["dltensor"]]``: the name is part of the type, so that a capsule of another name
is refused before the program runs. A capsule's name is not part of the object for good: it can be changed, by anybody
who has the capsule, and the string itself can be written to. So a checker knows a name only as long as nobody else
may have had a hand in it.

``Knowledge`` is the checker's book while it reads a program; ``judge`` reads the steps of a vector without running
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["TRANSITIONS", "Judgement", "Knowledge", "Verdict", "judge"]

Name = bytes | None
# DLPack's rename: a consumer that takes a tensor over renames its capsule. Nothing leads back.
TRANSITIONS: dict[Name, Name] = {
    b"dltensor": b"used_dltensor",
    b"dltensor_versioned": b"used_dltensor_versioned",
}


class Verdict(StrEnum):
    """What a checker says of a use: it cannot fail by the name, it must fail, or it cannot be told."""

    KNOWN = "known"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


class Knowledge:
    """The names of capsules as far as a checker knows them; None is the NULL name.

    A variable without entry is unknown.
    """

    def __init__(self) -> None:
        self.names: dict[object, Name] = {}

    def made(self, variable: object, name: Name) -> None:
        """Note a capsule that was made with a literal, or with NULL: its type is ``Capsule[Literal[name]]``."""
        # rule: typed/literal-is-known
        self.names[variable] = name

    def forget(self, variable: object) -> None:
        """Note a capsule that came from somebody else, or went to somebody else: its type is plain ``CapsuleType``."""
        # rule: typed/from-elsewhere-is-unknown
        self.names.pop(variable, None)

    def ask(self, variable: object, name: Name) -> Verdict:
        """Say what becomes of a use of the capsule by a name."""
        if variable not in self.names:
            # rule: typed/unknown-may-do-either
            return Verdict.UNKNOWN
        if self.names[variable] == name:
            # rule: typed/equal-names-are-known
            return Verdict.KNOWN
        # rule: typed/other-name-is-refuted
        return Verdict.REFUTED

    def checked(self, variable: object, name: Name, valid: bool) -> None:
        """Note that ``PyCapsule_IsValid``, or a ``PyCapsule_GetPointer`` that succeeded, has looked at run time."""
        if valid:
            # rule: typed/check-narrows
            self.names[variable] = name

    def renamed(self, variable: object, name: Name) -> str:
        """Note a rename, and call it a ``transition``, ``no-transition``, or a ``rename`` like others."""
        before = self.names.get(variable, b"")
        # rule: typed/rename-changes-the-type
        self.names[variable] = name
        if before in TRANSITIONS:
            # rule: typed/transition
            return "transition" if TRANSITIONS[before] == name else "no-transition"
        if before in TRANSITIONS.values():
            # rule: typed/nothing-leads-back
            return "no-transition"
        return "rename"


@dataclass(frozen=True)
class Judgement:
    """What is said of one step before it runs: the verdict, and why it is not more where it is ``unknown``."""

    step: int
    op: str
    verdict: Verdict
    because: str = ""


# What may run code that a checker of one module does not see is looked through for these.
_CHANGES = frozenset({"PyCapsule_SetName", "poke", "write", "free"})
# What gives a pointer that is not NULL.
_POINTERS = frozenset({"ptr", "cstr", "hex", "function", "object"})
_OPERATIONS = frozenset({"PyCapsule_GetPointer", "PyCapsule_IsValid"})


def judge(vector: Mapping[str, Any]) -> Iterator[Judgement]:
    """Say of each step of a vector that uses a capsule by a name what a checker would say, without running any.

    What is ``known`` gives a pointer, what is ``refuted`` gives NULL, in every run. Where a name may have been
    changed by an alias, by a rename out of sight, or by a write to memory, the verdict is ``unknown``, and says so.
    """
    book, own = Knowledge(), set[str]()
    hidden = [step["op"] for body in vector.get("functions", {}).values() for step in body.get("steps", ())]
    doubt = "renamed or written out of sight" if _CHANGES.intersection(hidden) else ""
    for number, step in enumerate(vector["steps"]):
        op, args, bind = step["op"], step.get("args", {}), step.get("bind")
        if op in _OPERATIONS:
            yield _judged(book, number, op, args, doubt)
        if op in ("poke", "write", "free"):
            doubt = doubt or "memory was written to"
        if op == "PyCapsule_SetName":
            variable, name = _variable(args.get("capsule")), _literal(args.get("name"))
            if variable not in own:
                doubt = doubt or "an alias was renamed"
            elif name is _NOT_LITERAL:
                book.forget(variable)
            else:
                book.renamed(variable, name)
        if bind is not None:
            own.discard(bind)
            book.forget(bind)
        if op == "PyCapsule_New" and bind is not None and _POINTERS.intersection(args.get("pointer") or ()):
            own.add(bind)
            name = _literal(args.get("name"))
            if name is not _NOT_LITERAL:
                book.made(bind, name)


def _judged(book: Knowledge, number: int, op: str, args: Mapping[str, Any], doubt: str) -> Judgement:
    name, variable = _literal(args.get("name")), _variable(args.get("capsule"))
    if doubt:
        return Judgement(number, op, Verdict.UNKNOWN, doubt)
    if name is _NOT_LITERAL:
        return Judgement(number, op, Verdict.UNKNOWN, "the name is no literal")
    verdict = book.ask(variable, name)
    return Judgement(number, op, verdict, "" if verdict != Verdict.UNKNOWN else "the capsule came from elsewhere")


_NOT_LITERAL: Any = object()


def _literal(argument: Any) -> Any:
    """Return the bytes of a name that stands in the program, up to its NUL; None for NULL, a mark for any other."""
    if argument is None:
        return None
    if isinstance(argument, Mapping) and "cstr" in argument:
        return str(argument["cstr"]).encode("utf-8", "surrogateescape").partition(b"\0")[0]
    if isinstance(argument, Mapping) and "hex" in argument:
        return bytes.fromhex(argument["hex"]).partition(b"\0")[0]
    return _NOT_LITERAL


def _variable(argument: Any) -> str:
    """Return the variable that an argument is, the empty word where it is none."""
    plain = isinstance(argument, Mapping) and "ref" in argument and not argument.get("offset")
    return str(argument["ref"]) if plain else ""
