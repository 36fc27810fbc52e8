"""Programs from a seed, in bulk: an implementation is held to the model, without Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache

from capsule_model.fuzz.programs import Choices, Seeded
from capsule_model.profiles import PROFILES, Profile
from dlpack_model.fuzz.findings import Finding, judged
from dlpack_model.fuzz.play import DEFAULT, Implementation, Play, Played, playing
from dlpack_model.fuzz.programs import Programs, Step, giving_back
from dlpack_model.fuzz.shrink import shrunk
from dlpack_model.parties import NOBODY, Parties

__all__ = ["Campaign", "campaign", "program"]

STEPS_A_PROGRAM = 60


@dataclass(frozen=True)
class Campaign:
    """What a campaign came to: how many steps were compared, in how many programs, and the first finding.

    ``steps`` counts up to the step that differs, where one does; ``skipped`` counts the programs that the
    implementation could not play.
    """

    steps: int
    programs: int
    skipped: int = 0
    finding: Finding | None = None


def program(
    choices: Choices, length: int = STEPS_A_PROGRAM, profile: Profile = DEFAULT, ops: Collection[str] | None = None
) -> tuple[list[Step], Played]:
    """Make a program that keeps the rules; return its steps, and what the model did in them.

    It has ``length`` steps, and as many more as give back what it owns. ``AssertionError`` where the model itself
    breaks a rule: its fault, or that of the generator.
    """
    running, programs = Play(profile=profile), Programs(choices, ops)
    alive = True
    while alive and len(running.program) < length:
        alive = running.step(programs.next_step(running.machine))
    for steps in (programs.closing_steps, programs.closing_steps, giving_back):
        for step in steps(running.machine) if alive else ():
            alive = alive and running.step(step)
    if not alive:
        raise AssertionError(f"the model breaks a rule: {running.seen.harm}")
    return running.program, running.end()


@lru_cache(256)
def _numbered(
    seed: int, number: int, length: int, profile: str, ops: frozenset[str] | None
) -> tuple[tuple[Step, ...], Played]:
    steps, seen = program(Seeded(f"{seed}.{number}"), length, PROFILES[profile], ops)
    return tuple(steps), seen


def campaign(
    steps: int,
    seed: int,
    implementation: Parties | Implementation = NOBODY,
    *,
    length: int = STEPS_A_PROGRAM,
    profile: Profile = DEFAULT,
    ops: Collection[str] | None = None,
    shrink: bool = True,
    progress: Callable[[int], None] = lambda done: None,
) -> Campaign:
    """Hold an implementation to the model in programs from a seed, until ``steps`` steps were compared, or one differs.

    ``implementation`` are parties that stand in for the model's own, or what plays a program. ``ops`` are the
    operations that it has (None: all). The same seed makes the same programs, whatever is held to them. What is found
    is made small unless ``shrink`` is false. ``progress`` is called with the steps made, after each program.
    """
    plays = playing(implementation, profile)
    known = None if ops is None else frozenset(ops)
    done = number = skipped = 0
    while done < steps:
        made, expected = _numbered(seed, number, length, profile.name, known)
        number += 1
        seen = plays(made)
        skipped += seen.skipped is not None
        found = judged(made, expected, seen, profile)
        if found is not None:
            done += min(found.step + 1, len(made))
            return Campaign(done, number, skipped, shrunk(found, plays) if shrink else found)
        done += len(made)
        progress(done)
    return Campaign(done, number, skipped)
