"""How soon programs made by chance notice a mutant: those of a campaign from a seed, and those of Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from capsule_model.fuzz.lockstep import Session, campaign
from capsule_model.mutants.session import Open
from capsule_model.profiles import Profile

__all__ = ["EXAMPLES", "LENGTH", "Campaign", "by_campaign", "by_hypothesis", "spread"]

# (steps, seed, profile, what opens a session) -> (steps made, what differs or None).
Campaign = Callable[[int, int, Profile, Callable[[dict[str, Any]], Session]], tuple[int, object | None]]

# What Hypothesis may try: programs, and steps of each but for those that bring it to its end.
EXAMPLES, LENGTH = 120, 50


def by_campaign(
    open: Open, profile: Profile, steps: int, seeds: Sequence[int], campaign: Campaign = campaign
) -> list[int | None]:
    """Return, for each seed, after how many steps a campaign notices a mutant, None where ``steps`` do not do."""
    found: list[int | None] = []
    for seed in seeds:
        done, divergence = campaign(steps, seed, profile, open)
        found.append(None if divergence is None else done)
    return found


def spread(found: Sequence[int | None]) -> tuple[int | None, int | None]:
    """Return the median (the lower one of two) and the largest number of steps; None stands for more than all."""
    if not found:
        return None, None
    ordered = sorted(found, key=lambda steps: (steps is None, steps or 0))
    return ordered[(len(ordered) - 1) // 2], ordered[-1]


def by_hypothesis(open: Open, profile: Profile, examples: int = EXAMPLES) -> int | None:
    """Return after how many steps the state machine notices a mutant, None where it does not.

    Which programs these are depends on the version of Hypothesis, and on the modules that are loaded, whose constants
    it tries. Needs the extra ``fuzz``.
    """
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    from capsule_model.fuzz.machine import machine

    made = 0
    first: int | None = None

    class Counting:
        """A session that counts the steps of all."""

        def __init__(self, shared: dict[str, Any]) -> None:
            self.inner = open(shared)
            self.before = made

        def step(self, step: dict[str, Any], path: str) -> dict[str, Any]:
            nonlocal made
            made += 1
            return self.inner.step(step, path)

        def close(self) -> list[str]:
            return self.inner.close()

    class Scored(machine(Counting, profile)):  # type: ignore[misc]
        """A machine that notes how many steps there were when it first failed: later ones are about that failure."""

        def teardown(self) -> None:
            nonlocal first
            try:
                super().teardown()
            finally:
                if self.diverged and first is None:
                    first = self.opened.before + len(self.lockstep.steps)

    bounded = settings(
        max_examples=examples,
        stateful_step_count=LENGTH,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(Scored, settings=bounded)
    except AssertionError:
        if first is None:
            raise
    return first
