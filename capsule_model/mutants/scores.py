"""Score mutants: by the vectors, by the Hypothesis machine, by the campaign; and give a reason for who survives."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from typing import Any

from capsule_model.fuzz.lockstep import campaign
from capsule_model.mutants.by_programs import EXAMPLES, Campaign, by_campaign, by_hypothesis, spread
from capsule_model.mutants.by_small_programs import by_small_programs
from capsule_model.mutants.by_vectors import FIRST, first_killer
from capsule_model.mutants.mutant import Mutant
from capsule_model.mutants.registry import MUTANTS, mutant_named
from capsule_model.mutants.session import loaded, opener
from capsule_model.profiles import profile_named

__all__ = [
    "OTHER_PARTIES",
    "PARTY",
    "Bounds",
    "document",
    "faults",
    "json_text",
    "of_other_parties",
    "score",
    "score_all",
]

PARTY = "capsule"
# By party: the module whose ``scores`` gives the same entries. It is imported where it is installed.
OTHER_PARTIES = {"dlpack": "dlpack_model.mutants"}

# A campaign's bound for who is declared equivalent and will reach it.
FRUITLESS = 20_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far each mutant is looked at: the seeds of its campaigns, the steps of each, the programs of Hypothesis."""

    seeds: int = 5
    steps: int = 200_000
    examples: int = EXAMPLES


def score(mutant: Mutant, bounds: Bounds = Bounds(), campaign: Campaign = campaign) -> dict[str, Any]:
    """Return the entry of one mutant, as ``formats/mutants.md`` has it.

    A mutant that is declared equivalent runs all small programs, too.
    """
    profile = profile_named(FIRST)
    open = opener(mutant, FIRST)
    vector = first_killer(loaded(mutant))
    hypothesis = by_hypothesis(open, profile, bounds.examples)
    steps = bounds.steps if mutant.equivalent is None else min(bounds.steps, FRUITLESS)
    seeds = by_campaign(open, profile, steps, range(1, bounds.seeds + 1), campaign)
    median, most = spread(seeds)
    entry: dict[str, Any] = {
        "id": mutant.id,
        "title": mutant.title,
        "party": PARTY,
        "rules": list(mutant.rules),
        "killed_by": {
            "vectors": None if vector is None else vector.vector,
            "hypothesis": hypothesis is not None,
            "campaign": most is not None,
        },
        "steps": {
            "vectors": None if vector is None else vector.steps,
            "hypothesis": hypothesis,
            "campaign": {"median": median, "most": most, "seeds": seeds},
        },
        "equivalent": mutant.equivalent,
    }
    if mutant.equivalent is not None:
        programs, told = by_small_programs(open, profile)
        entry["small_programs"] = {"count": programs, "differs": told}
    return entry


def score_all(
    only: Collection[str] | None,
    bounds: Bounds,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda id: None,
) -> Iterator[dict[str, Any]]:
    """Return the entries of the mutants of these ids, or of all, in the registry's order, whatever ``jobs`` is."""
    chosen = [id for id in MUTANTS if only is None or id in only]
    if jobs == 1:
        for id in chosen:
            yield _scored(bounds, id)
            progress(id)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for entry in pool.map(partial(_scored, bounds), chosen):
            yield entry
            progress(entry["id"])


def _scored(bounds: Bounds, id: str) -> dict[str, Any]:
    return score(mutant_named(id), bounds)


def of_other_parties(
    only: Collection[str] | None, bounds: Bounds, progress: Callable[[str], None] = lambda id: None
) -> list[dict[str, Any]]:
    """Return the entries of the parties whose packages are installed."""
    entries: list[dict[str, Any]] = []
    for name in OTHER_PARTIES.values():
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, name.partition(".")[0]):
                raise
            continue
        entries += module.scores(progress, only, bounds.seeds, bounds.steps)
    return entries


def document(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the result as JSON has it."""
    survivors = [entry["id"] for entry in entries if not any(entry["killed_by"].values())]
    return {"format": 1, "mutants": list(entries), "survivors": survivors}


def json_text(entries: Sequence[dict[str, Any]]) -> str:
    """Return the result as it stands in a file: a line for each mutant."""
    whole = document(entries)
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in whole["mutants"])
    survivors = json.dumps(whole["survivors"])
    return f'{{"format": {whole["format"]}, "mutants": [\n{lines}\n], "survivors": {survivors}}}\n'


def faults(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Return what is wrong with the scores, a line each.

    The vectors, and the campaign from every seed, must kill each mutant that is not declared equivalent; nothing may
    kill one that is.
    """
    found: list[str] = []
    for entry in entries:
        killed, id = entry["killed_by"], entry["id"]
        if entry["equivalent"] is None:
            found += [f"{id}: no vector kills it"] * (killed["vectors"] is None)
            found += [f"{id}: the campaign does not kill it from every seed"] * (not killed["campaign"])
        elif any(killed.values()) or entry.get("small_programs", {}).get("differs"):
            found.append(f"{id}: is declared equivalent, and something tells it from the model")
    return found
