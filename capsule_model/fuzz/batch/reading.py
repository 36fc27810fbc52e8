"""Read a compact program back: its steps, and what each must show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from capsule_model.fuzz.batch import code

__all__ = ["Call", "Step", "steps_of"]


@dataclass(frozen=True)
class Call:
    """One call of a destructor: which, its capsule, what was pending, the words, and what it did and left.

    ``actions`` are the calls inside, the error and the return of each action.
    """

    destructor: int
    of: int
    before: int
    words: tuple[int, ...]
    actions: list[tuple[list[Call], int, int]]
    after: int


@dataclass(frozen=True)
class Step:
    """One step: what it does, and what it must show; ``start`` and ``end`` are its places in the program.

    ``words`` is None where no capsule lies in the register. A step that the model could not take has neither
    error nor return, and an ``end`` of -1.
    """

    start: int
    operation: str
    place: int
    arguments: tuple[int, ...]
    leave: bool
    pending: str | None
    calls: list[Call] = field(default_factory=list)
    error: int = 0
    result: int = 0
    words: tuple[int, ...] | None = None
    end: int = -1


_NAMES = tuple(code.OPERATIONS)
_END = code.operation("end")
_SCRIPTS = tuple(code.DESTRUCTORS.values())


def steps_of(program: Sequence[int]) -> Iterator[Step]:
    """Yield the steps of a program; the last may be one that the model could not take."""
    at = 0
    while at < len(program) and program[at] != _END:
        step = _step(program, at)
        yield step
        if step.end < 0:
            return
        at = step.end


def _step(program: Sequence[int], start: int) -> Step:
    head, place = program[start], program[start + 1]
    operation = head & 0xFF
    at = start + 2 + code.ARITY[operation]
    pending = code.EXCEPTIONS[(head >> 9) - 1] if head >> 9 else None
    begun = Step(start, _NAMES[operation], place, tuple(program[start + 2 : at]), bool(head >> 8 & 1), pending)
    try:
        calls, at = _calls(program, at)
        words = None if program[at + 2] < 0 else tuple(program[at + 2 : at + 2 + len(code.WORDS)])
        error, result = program[at], program[at + 1]
    except IndexError:
        return begun
    end = at + 2 + (1 if words is None else len(words))
    return Step(start, begun.operation, place, begun.arguments, begun.leave, pending, calls, error, result, words, end)


def _calls(program: Sequence[int], at: int) -> tuple[list[Call], int]:
    """Return the calls of destructors that begin here, and where they end."""
    calls = []
    while program[at] & code.ENTER:
        number, of, before = program[at] & ~code.ENTER, program[at + 1], program[at + 2]
        at += 3
        words = tuple(program[at : at + len(code.WORDS)])
        at += len(code.WORDS)
        actions = []
        for _ in _SCRIPTS[number]:
            inner, at = _calls(program, at)
            actions.append((inner, program[at], program[at + 1]))
            at += 2
        calls.append(Call(number, of, before, words, actions, program[at] & ~code.LEAVE))
        at += 1
    return calls, at
