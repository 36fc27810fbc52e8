"""One case after another on the model and on the running interpreter: what was reached, and where they differ."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from capsule_model.fuzz.batch import code, states
from capsule_model.fuzz.batch.generate import Choices, choices, make_program
from capsule_model.fuzz.batch.perform import Errors, Side
from capsule_model.fuzz.batch.reading import steps_of
from capsule_model.fuzz.batch.real import DIFFERING, Real, Report
from capsule_model.fuzz.batch.translate import Translation
from capsule_model.fuzz.batch.weights import Weights
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.trace.expectation import Difference
from capsule_model.undefined import Abort, NotModelled, UndefinedBehavior

__all__ = ["Batch", "Case", "open_batch"]

LENGTH = 500
# A process of the model is left after so many steps: its objects are numbered, and batch.c has a table of them.
STEPS_A_SIDE = 40_000


@dataclass(frozen=True)
class Case:
    """What a case did: the steps that were compared, how often each state was reached, and the first difference.

    ``numbers`` has the states by their numbers, ``reached`` in words.
    """

    steps: int
    numbers: dict[int, int] = field(default_factory=dict)
    divergence: Divergence | None = None

    @property
    def reached(self) -> dict[str, int]:
        """Return how often each state was reached, by its words."""
        return {states.words(number): count for number, count in self.numbers.items()}


class Batch:
    """The model and the running interpreter in lockstep, whole programs at a time; opened once in a process."""

    def __init__(self, real: Real) -> None:
        self.profile = real.profile
        self._real = real
        self._errors = Errors()
        self._side: Side | None = None
        self._left = 0
        self._choices: tuple[Weights, Choices] | None = None

    def case(self, seed: str, weights: Weights | None = None, steps: int = 2000) -> Case:
        """Run programs until so many steps were compared, or the two sides differ.

        Returns, errors, reference counts, every word of the struct, calls of destructors and leaks are compared. The
        same seed, weights and steps give the same programs on every machine.
        """
        made = self._made(Weights() if weights is None else weights)
        chance = random.Random(seed)
        done = 0
        found: Divergence | None = None
        while done < steps and found is None:
            alike, found = self._program(made, chance, min(LENGTH, steps - done))
            done += alike
        return Case(done, self._real.reached(), found)

    def vectors(self, seed: str, weights: Weights | None = None, steps: int = 2000) -> list[dict[str, Any]]:
        """Return the programs of a case as vectors, made on the model alone: what to look at where a case is deadly."""
        made = self._made(Weights() if weights is None else weights)
        chance = random.Random(seed)
        side = Side(self.profile, self._real.places, self._errors)
        done = 0
        programs: list[dict[str, Any]] = []
        while done < steps:
            side.undo_writing()
            program = make_program(side, made, chance, min(LENGTH, steps - done))
            programs.append(Translation(program, self._real.places, self._errors).vector())
            done += sum(1 for _ in steps_of(program))
        return programs

    def close(self) -> None:
        """Take away what the batch put into this process; it cannot be used any more."""
        self._real.close()

    def _made(self, weights: Weights) -> Choices:
        if self._choices is None or self._choices[0] != weights:
            self._choices = weights, choices(weights, self.profile, self._real.places)
        return self._choices[1]

    def _program(self, made: Choices, chance: random.Random, length: int) -> tuple[int, Divergence | None]:
        """Run one program on both sides; return how many steps were alike, and the first difference."""
        side = self._begun()
        stopped: Exception | None = None
        try:
            program = make_program(side, made, chance, length)
        except (Abort, NotModelled, UndefinedBehavior) as reason:
            program, stopped = side.out, reason
        except Exception as failure:
            # A model that is broken fails as Python code does.
            program, stopped = side.out, failure
        taken = program if stopped is None else program[: _taken(program)]
        alike, report = self._real.run(taken, self._errors)
        self._left -= alike
        if stopped is None and report is None:
            return alike, None
        self._side = None
        if report is not None and report.text == b"" and b"'KeyboardInterrupt'" in report.type:
            # Somebody pressed Ctrl-C while a module was imported; those of programs have a text.
            raise KeyboardInterrupt
        translation = Translation(program, self._real.places, self._errors)
        if report is not None:
            return alike, _divergence(translation, report, alike)
        self._real.give_back()
        step = min(alike, len(translation.compact) - 1)
        path = str(translation.paths[step]) if translation.paths else "0"
        difference = Difference(path, "the model", "a step that it can take", str(stopped) or type(stopped).__name__)
        return alike, Divergence([difference], translation.upto(step))

    def _begun(self) -> Side:
        """Return a side of the model on which nothing is left of the programs before, as on the real side."""
        side = self._side
        if side is None or self._left <= 0:
            side = self._side = Side(self.profile, self._real.places, self._errors)
            self._left = STEPS_A_SIDE
        self._real.undo_writing()
        side.undo_writing()
        return side


def open_batch() -> Batch:
    """Return a batch on the running interpreter; ``ValueError`` with one line where there can be none."""
    return Batch(Real())


def _taken(program: Sequence[int]) -> int:
    """Return where the steps end that the model could take."""
    return max((step.end for step in steps_of(program)), default=0) if program else 0


def _divergence(translation: Translation, report: Report, step: int) -> Divergence:
    """Return a difference that batch.c reports, in the words of vectors."""
    key = DIFFERING[report.what]
    if key == "leaks":
        difference = Difference("end", key, f"{report.expected} capsules", f"{report.seen} capsules")
        return Divergence([difference], translation.vector())
    path = str(translation.paths[step])
    if report.inside:
        path += f"/d_{list(code.DESTRUCTORS)[report.inside - 1]}"
    return Divergence([Difference(path, *_compared(translation, report, key))], translation.upto(step))


def _compared(translation: Translation, report: Report, key: str) -> tuple[str, Any, Any]:
    """Return what differs, what was expected of it, and what was seen."""
    expected, seen = report.expected, report.seen
    if key in ("error", "indicator"):
        wanted = translation.error(expected) if expected != 1 else "unchanged"
        found = {"type": _type_name(report.type.decode()), "text": report.text.decode(errors="replace")}
        return key, wanted, None if seen == 0 else "unchanged" if seen == 1 else found
    if key == "words":
        name = code.WORDS[report.which]
        if name == "ob_refcnt":
            return name, expected, seen
        return name, translation.shown(expected), translation.shown(seen)
    if key == "alive":
        return key, bool(expected), bool(seen)
    if key == "events":
        return key, _call_name(expected), _call_name(seen)
    if list(code.OPERATIONS)[report.which] in code.ADDRESSES:
        return key, translation.shown(expected), translation.shown(seen)
    return key, expected, seen


def _type_name(shown: str) -> str:
    found = re.search(r"'([^']+)'", shown)
    return found.group(1) if found else shown


def _call_name(number: int) -> str:
    return f"d_{list(code.DESTRUCTORS)[number]}" if 0 <= number < len(code.DESTRUCTORS) else "no call"
