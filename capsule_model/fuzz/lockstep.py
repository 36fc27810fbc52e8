"""Run programs on the model and on an implementation at once, and stop where they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from capsule_model.fuzz.programs import Programs, Seeded, world
from capsule_model.profiles import Profile
from capsule_model.trace.execute import Machine
from capsule_model.trace.expectation import Difference, compare

__all__ = ["Divergence", "Lockstep", "Session", "campaign"]

STEPS_A_PROGRAM = 200


class Session(Protocol):
    """One vector in progress on an implementation."""

    def step(self, step: dict[str, Any], path: str) -> dict[str, Any]:
        """Perform a step and return the observation."""

    def close(self) -> list[str]:
        """End the vector and return the tokens that it still owns."""


@dataclass(frozen=True)
class Divergence:
    """What the model and the implementation did differently, and the program that shows it."""

    differences: list[Difference]
    vector: dict[str, Any]

    def __str__(self) -> str:
        """Return the differences, a line each, and the step they belong to."""
        lines = [str(difference) for difference in self.differences]
        steps = self.vector["steps"]
        return "\n".join([*lines, f"after {len(steps)} steps, the last one {steps[-1] if steps else None}"])


class Lockstep:
    """The model and an implementation in the same program, compared after every step."""

    def __init__(self, shared: dict[str, Any], profile: Profile, session: Session) -> None:
        self.machine = Machine(shared, profile)
        self.session = session
        self.shared = shared
        self.steps: list[dict[str, Any]] = []

    def step(self, step: dict[str, Any]) -> Divergence | None:
        """Perform a step on both sides and return what differs."""
        path = str(len(self.steps))
        self.steps.append(step)
        expected = self.machine.step(step, path)
        return self._judge(compare(expected, self.session.step(step, path), path))

    def close(self) -> Divergence | None:
        """End the program on both sides and compare what each says is leaked."""
        expected, seen = self.machine.leaks(), self.session.close()
        return self._judge([Difference("end", "leaks", expected, seen)] if expected != seen else [])

    def _judge(self, differences: list[Difference]) -> Divergence | None:
        if not differences:
            return None
        head = {"id": "fuzz.found", "title": "Found by chance", "rules": ["PyCapsule_New/returns-capsule"]}
        return Divergence(differences, {"format": 1, **head, **self.shared, "steps": list(self.steps)})


def campaign(
    steps: int,
    seed: int,
    profile: Profile,
    session: Callable[[dict[str, Any]], Session],
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[int, Divergence | None]:
    """Run programs from a seed until ``steps`` steps were compared, or two sides differ.

    Returns how many steps were compared and the first divergence. The same seed gives the same programs.
    """
    done = program = 0
    while done < steps:
        choices = Seeded(f"{seed}.{program}")
        program += 1
        shared = world(choices)
        lockstep = Lockstep(shared, profile, session(shared))
        programs = Programs(choices, profile)
        found = _program(lockstep, programs) or lockstep.close()
        done += len(lockstep.steps)
        if found:
            return done, found
        progress(done)
    return done, None


def _program(lockstep: Lockstep, programs: Programs) -> Divergence | None:
    """Run one program up to the point where it owns nothing any more."""
    while len(lockstep.steps) < STEPS_A_PROGRAM or programs.waiting:
        found = lockstep.step(programs.next_step(lockstep.machine))
        if found:
            return found
    for step in programs.closing_steps(lockstep.machine):
        found = lockstep.step(step)
        if found:
            return found
    return None
