"""How soon the vectors of the suite notice a faulty party: it is judged as ``conform`` judges an implementation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from capsule_model.profiles import Profile
from capsule_model.suites import vectors_of
from capsule_model.trace.execute import Run, run
from capsule_model.trace.expectation import compare, holds, latitude, match_step, resolved
from capsule_model.trace.files import load
from dlpack_model.fuzz.play import DEFAULT, Play
from dlpack_model.parties import Parties
from dlpack_model.violations import Broken

__all__ = ["Killed", "first_killer", "notices", "suite"]

Vector = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Killed:
    """The first vector that notices a faulty party, and how many steps had been made by then."""

    vector: str
    steps: int


@cache
def suite(profile: Profile = DEFAULT) -> tuple[tuple[Vector, Run], ...]:
    """Return the vectors of the suite ``dlpack`` that are sent to implementations, and what the model does in each.

    ``ValueError`` names the first that is broken.
    """
    loaded = load(vectors_of("dlpack"))
    if loaded.problems:
        raise ValueError(str(loaded.problems[0]))
    applies = profile.behaviours.__contains__
    vectors = [one for one in loaded.vectors if all(holds(condition, applies) for condition in one.get("requires", ()))]
    ran = [(vector, run(vector, profile)) for vector in vectors]
    return tuple((vector, model) for vector, model in ran if model.diagnosis is None and model.aborted is None)


def first_killer(
    parties: Parties, profile: Profile = DEFAULT, *, watch: frozenset[Broken] = frozenset()
) -> Killed | None:
    """Return the vector that notices these parties first, in the order of the files; None where none does.

    By default the model watches over nothing: what is seen of an implementation is all there is, and a use of memory
    that is not there. With kinds of broken rules to ``watch``, one that is broken is noticed.
    """
    done = 0
    for vector, model in suite(profile):
        steps, noticed = notices(vector, model, parties, profile, watch)
        done += steps
        if noticed:
            return Killed(str(vector["id"]), done)
    return None


def notices(
    vector: Vector, model: Run, parties: Parties, profile: Profile = DEFAULT, watch: frozenset[Broken] = frozenset()
) -> tuple[int, bool]:
    """Play a vector by these parties; return how many steps were made, and whether something differs after the last.

    Compared is what ``conform`` compares, with what the vector expects and with what the model does.
    """
    running = Play(parties, profile, vector=vector, watch=watch)
    expected, functions = resolved(vector, profile.behaviours.__contains__)
    for number, step in enumerate(vector["steps"]):
        path = str(number)
        if not running.step(step):
            return number + 1, True
        seen = running.seen.steps[number]
        if list(match_step(expected[number], seen, path, functions)):
            return number + 1, True
        if not latitude(expected[number]) and compare(model.steps[number], seen, path, functions):
            return number + 1, True
    return len(vector["steps"]), running.end().leaks != model.leaks
