"""A bulk campaign: rounds of a fixed number of shards, and what was learnt merged between them.

Which steps a campaign performs depends on its seed and on how many it is asked for, not on who performs them: the
shards of a round know what earlier rounds have learnt, and their results are merged in the order of the shards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from capsule_model.fuzz.campaign.corpus import Corpus, State
from capsule_model.fuzz.campaign.engine import Open
from capsule_model.fuzz.campaign.findings import Raw, Settled, as_found, settle
from capsule_model.fuzz.campaign.journal import Case
from capsule_model.fuzz.campaign.shard import Shard
from capsule_model.fuzz.campaign.workers import Workers

__all__ = ["SHARDS", "Budget", "Progress", "Sizes", "campaign", "round_steps", "settle_all", "so_far"]

Settling = Callable[[Raw], Settled]

SHARDS = 16
# What one round may spend on making findings small; what is beyond it stays as it was found.
SETTLED_A_ROUND = 32


@dataclass(frozen=True)
class Sizes:
    """How many steps a shard has in the first round; each round doubles them, up to ``largest``."""

    smallest: int
    largest: int


@dataclass(frozen=True)
class Budget:
    """When to end: at so many steps in all, or at a time, in seconds since the epoch; None for never."""

    steps: int | None
    until: float | None


@dataclass(frozen=True)
class Progress:
    """Where a campaign stands while it runs."""

    round: int
    shards: int
    steps: int
    states: int
    rules: int
    findings: int


def round_steps(sizes: Sizes, number: int, left: int | None) -> list[int]:
    """Return how many steps each shard of a round has, where ``left`` are left to do in all."""
    each = min(sizes.smallest << min(number, 40), sizes.largest)
    if left is None or left >= each * SHARDS:
        return [each] * SHARDS
    return [left // SHARDS + (shard < left % SHARDS) for shard in range(SHARDS)]


def campaign(
    corpus: Corpus,
    state: State,
    open_engine: Open,
    workers: Workers,
    budget: Budget,
    sizes: Sizes,
    settling: Settling = settle,
    told: Callable[[Progress], None] = lambda progress: None,
) -> bool:
    """Go on with a campaign up to its budget; return whether no round was left unfinished.

    ``settling`` makes a finding small; ``told`` is called whenever a shard is done.
    """
    while (budget.steps is None or state.steps < budget.steps) and not _is_late(budget):
        begun = time.monotonic()
        try:
            quotas = round_steps(sizes, state.round, None if budget.steps is None else budget.steps - state.steps)
            results = _perform(corpus, state, open_engine, workers, budget, quotas, told)
            if any(sum(case["steps"] for case in results[place]) < quota for place, quota in enumerate(quotas)):
                return False
            new = _add(state, state.round, results, open_engine)
            settle_all(corpus, new, workers, settling)
            state.learnt.settle()
            state.round += 1
        finally:
            state.seconds += time.monotonic() - begun
        corpus.keep(state)
    return True


def so_far(corpus: Corpus, state: State, open_engine: Open) -> tuple[State, list[Raw]]:
    """Return where a campaign stands, the cases of the round in progress included, and what they found that is new."""
    whole = State.from_json(state.as_json())
    return whole, _add(whole, state.round, corpus.unfinished(state, SHARDS), open_engine)


def settle_all(corpus: Corpus, found: Sequence[Raw], workers: Workers, settling: Settling = settle) -> None:
    """Make findings small, side by side, and write them down.

    They stay as they are where they are too many, or a process died of them.
    """
    small: list[Settled | None] = workers.call(settling, found[:SETTLED_A_ROUND])
    for raw, settled in zip(found, [*small, *[None] * (len(found) - len(small))], strict=True):
        shown = as_found(raw) if settled is None else settled
        corpus.keep_finding(raw.finding["id"], shown.vectors, shown.told)


def _is_late(budget: Budget) -> bool:
    return budget.until is not None and time.time() >= budget.until


def _perform(
    corpus: Corpus,
    state: State,
    open_engine: Open,
    workers: Workers,
    budget: Budget,
    quotas: Sequence[int],
    told: Callable[[Progress], None],
) -> list[list[Case]]:
    """Have the shards of a round performed, and return the cases of each in their order."""
    number, learnt = state.round, state.learnt.as_json()
    shards = [
        Shard(f"{state.seed}.{number}.{place}", quota, open_engine, learnt, corpus.journal(number, place), budget.until)
        for place, quota in enumerate(quotas)
    ]
    results: list[list[Case]] = [[] for _ in shards]
    states: set[str | int] = {*state.learnt.states, *state.learnt.batch}
    rules, causes = set(state.learnt.rules), set(state.findings)
    steps = state.steps
    for done, (place, cases) in enumerate(workers.perform(shards), 1):
        results[place] = cases
        for case in cases:
            steps += case["steps"]
            states.update(*case.get("kinds", {}).values(), (number for number, _ in case.get("batch", ())))
            rules.update(case.get("rules", ()))
            causes.update([case["finding"]["id"]] if "finding" in case else [])
        told(Progress(number, done, steps, len(states), len(rules), len(causes)))
    return results


def _add(state: State, number: int, results: Sequence[Sequence[Case]], open_engine: Open) -> list[Raw]:
    """Count the cases of a round, in the order of its shards, and return what is found for the first time."""
    new: list[Raw] = []
    for place, cases in enumerate(results):
        for index, case in enumerate(cases):
            found = state.add(case, f"{state.seed}.{number}.{place}.{index}")
            if found is not None:
                new.append(Raw(found, open_engine))
    return new
