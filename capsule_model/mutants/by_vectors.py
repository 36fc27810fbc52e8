"""How soon the vectors of the suite notice a mutant: it is judged as ``conform`` judges an implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from capsule_model.mutants.session import MutantSession
from capsule_model.mutants.twin import Twin
from capsule_model.profiles import Profile, profile_named
from capsule_model.suites import vectors_of
from capsule_model.trace.execute import Run, run
from capsule_model.trace.expectation import compare, holds, latitude, match_step, resolved
from capsule_model.trace.files import load

__all__ = ["FIRST", "OTHERS", "Killed", "first_killer", "judged", "suite"]

Vector = Mapping[str, Any]

FIRST = "cpython-3.13"
# With the first, these have every behaviour that code asks for; who survives that one meets them, too.
OTHERS = (
    "cpython-3.11",
    "cpython-3.13-free-threaded",
    "cpython-3.9",
    "cpython-3.13-debug",
    "cpython-3.11-debug",
    "cpython-3.13-32",
    "cpython-3.13-be",
)


@dataclass(frozen=True, slots=True)
class Killed:
    """The first vector that notices a mutant, under which profile, and how many steps had been made by then."""

    vector: str
    profile: str
    steps: int


@cache
def suite() -> tuple[Vector, ...]:
    """Return the vectors of the suite ``capsule``, in their order; raise ``ValueError`` where one is broken."""
    loaded = load(vectors_of())
    if loaded.problems:
        raise ValueError(str(loaded.problems[0]))
    return tuple(loaded.vectors)


@cache
def _sent(profile: Profile) -> tuple[tuple[Vector, Run], ...]:
    """Return the vectors that an implementation of a profile is sent, each with what the model makes of it."""
    conditions = profile.behaviours.__contains__
    apply = [vector for vector in suite() if all(holds(one, conditions) for one in vector.get("requires", ()))]
    ran = [(vector, run(vector, profile)) for vector in apply]
    return tuple((vector, model) for vector, model in ran if model.diagnosis is None)


def first_killer(twin: Twin, profiles: Sequence[str] = (FIRST, *OTHERS)) -> Killed | None:
    """Return what notices a mutant first, under the profiles in their order; None where it survives them all."""
    done = 0
    for name in profiles:
        profile = profile_named(name)
        for vector, model in _sent(profile):
            steps, killed = judged(vector, model, MutantSession(twin, vector, name), profile)
            done += steps
            if killed:
                return Killed(str(vector["id"]), name, done)
    return None


def judged(vector: Vector, model: Run, session: MutantSession, profile: Profile) -> tuple[int, bool]:
    """Run a vector on a mutant; return how many steps were made, and whether something differs after the last.

    What counts is what ``conform`` compares: returns, errors, the indicator, events, words and leaks, with what the
    vector expects and with what the model does.
    """
    expected, functions = resolved(vector, profile.behaviours.__contains__)
    for index, (step, expect) in enumerate(zip(vector["steps"], expected, strict=True)):
        path = str(index)
        seen = session.step(step, path)
        if model.aborted is not None and index == len(model.steps):
            return index + 1, not session.aborted
        if match_step(expect, seen, path, functions):
            return index + 1, True
        if not latitude(expect) and compare(model.steps[index], seen, path, functions):
            return index + 1, True
    return len(expected), sorted(session.close()) != sorted(model.leaks)
