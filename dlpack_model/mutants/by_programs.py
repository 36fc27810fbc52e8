"""How soon programs made by chance notice a faulty party: those of a campaign, and those of Hypothesis."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from dlpack_model.fuzz.campaign import campaign
from dlpack_model.parties import Parties

__all__ = ["HYPOTHESIS_STEPS", "by_campaign", "by_hypothesis", "spread"]

# How many steps Hypothesis may make.
HYPOTHESIS_STEPS = 20_000


def by_campaign(parties: Parties, steps: int, seeds: Sequence[int]) -> list[int | None]:
    """Return, for each seed, after how many steps a campaign notices the parties; None where ``steps`` do not do."""
    found = (campaign(steps, seed, parties, shrink=False) for seed in seeds)
    return [one.steps if one.finding is not None else None for one in found]


def spread(found: Sequence[int | None]) -> tuple[int | None, int | None]:
    """Return the median and the largest number of steps: None where that seed did not notice."""
    if not found:
        return None, None
    last = len(found) - 1
    ordered = sorted(found, key=lambda steps: (steps is None, steps or 0))
    low, high = ordered[last // 2], ordered[(last + 1) // 2]
    median = None if low is None or high is None else round(statistics.mean((low, high)))
    return median, ordered[-1]


def by_hypothesis(parties: Parties, steps: int = HYPOTHESIS_STEPS) -> int | None:
    """Return after how many steps the state machine notices the parties, None where ``steps`` do not do.

    The programs are the same in every run. Needs the extra ``fuzz``.
    """
    from dlpack_model.fuzz.machine import machine, run_machine

    made = machine(parties)
    run_machine(made, steps)
    return None if made.found is None else made.found[0]
