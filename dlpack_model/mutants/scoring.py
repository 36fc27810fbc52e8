"""Score vectors, state machine and campaign on the faulty parties: who notices which, after how many steps."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from capsule_model.whole import write_whole
from dlpack_model.exchange import EVERYTHING
from dlpack_model.fuzz.campaign import campaign
from dlpack_model.mutants.by_programs import by_campaign, by_hypothesis, spread
from dlpack_model.mutants.by_vectors import first_killer
from dlpack_model.mutants.mutant import Mutant
from dlpack_model.mutants.registry import MUTANTS
from dlpack_model.parties import NOBODY

__all__ = ["SEEDS", "STEPS", "chosen", "main", "score", "scores", "unharmed"]

SEEDS, STEPS = 5, 200_000
# How long the programs of one seed are that show an equivalent party: it is the same run as for all others.
QUIET = 20_000


def chosen(only: Collection[str] | None) -> list[Mutant]:
    """Return the mutants of these ids (None: all) in their order; ``ValueError`` names one that is not known."""
    known = {mutant.id for mutant in MUTANTS}
    unknown = sorted(set(only or ()) - known)
    if unknown:
        raise ValueError(f"no mutant {unknown[0][:40]!r}: expected ids such as {MUTANTS[0].id}")
    return [mutant for mutant in MUTANTS if only is None or mutant.id in only]


def unharmed(steps: int = QUIET) -> None:
    """Raise ``AssertionError`` where the parties of the model themselves are noticed by a vector or a program."""
    killer = first_killer(NOBODY) or first_killer(NOBODY, watch=EVERYTHING)
    found = campaign(steps, 1, NOBODY, shrink=False).finding
    if killer is not None or found is not None:
        raise AssertionError(f"the model itself is noticed: {killer or found}")


def score(mutant: Mutant, seeds: int = SEEDS, steps: int = STEPS) -> dict[str, Any]:
    """Return who notices one faulty party, and after how many steps.

    ``watched`` tells that no vector shows an observation that differs, and that one ends in a broken rule. What is
    equivalent is given 20,000 steps for each seed.
    """
    killed = first_killer(mutant.parties)
    watched = None if killed is not None else first_killer(mutant.parties, watch=EVERYTHING)
    by_vector = killed or watched
    most_steps = steps if mutant.equivalent is None else min(steps, QUIET)
    found = by_campaign(mutant.parties, most_steps, range(1, seeds + 1))
    median, most = spread(found)
    drawn = by_hypothesis(mutant.parties)
    return {
        "id": mutant.id,
        "title": mutant.title,
        "party": "dlpack",
        "rules": list(mutant.rules),
        "killed_by": {
            "vectors": None if by_vector is None else by_vector.vector,
            "hypothesis": drawn is not None,
            "campaign": bool(found) and None not in found,
        },
        "steps": {
            "vectors": None if by_vector is None else by_vector.steps,
            "hypothesis": drawn,
            "campaign": {"median": median, "most": most, "seeds": found},
        },
        "watched": watched is not None,
        "equivalent": mutant.equivalent,
    }


def scores(
    progress: Callable[[str], None] = lambda line: None,
    only: Collection[str] | None = None,
    seeds: int = SEEDS,
    steps: int = STEPS,
) -> list[dict[str, Any]]:
    """Score the faulty parties of these ids (None: all); ``progress`` gets a line for each.

    A campaign of at most ``steps`` steps is run for each of the seeds from 1 to ``seeds``. The same arguments give
    the same scores. ``ValueError`` names an id that is not known; ``AssertionError`` says that the model itself fails.
    """
    mutants = chosen(only)
    unharmed()
    entries = []
    for mutant in mutants:
        entry = score(mutant, seeds, steps)
        progress(_line(entry))
        entries.append(entry)
    return entries


def _line(entry: Mapping[str, Any]) -> str:
    killed, steps = entry["killed_by"], entry["steps"]
    vector = killed["vectors"] or "no vector"
    watched = " (the broken rule alone)" if entry["watched"] else ""
    campaign, machine = steps["campaign"], steps["hypothesis"]
    if entry["equivalent"] is not None:
        return f"{entry['id']}: equivalent: {entry['equivalent']}"
    return (
        f"{entry['id']}: {vector}{watched} after {_told(steps['vectors'])} steps, Hypothesis {_told(machine)}, "
        f"campaign median {_told(campaign['median'])}, most {_told(campaign['most'])}"
    )


def _told(steps: int | None) -> str:
    return "never" if steps is None else f"{steps:,}"


def survives(entry: Mapping[str, Any]) -> bool:
    """Tell whether vectors, machine or campaign did not notice a faulty party that is not equivalent."""
    killed = entry["killed_by"]
    return entry["equivalent"] is None and not (killed["vectors"] and killed["hypothesis"] and killed["campaign"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the faulty parties; return 0, 1 where one survives that is not equivalent, 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="dlpack_model.mutants", description=main.__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID", help="these alone (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores to FILE")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many campaigns (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="the longest campaign (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("seeds", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"argument --{name}: {getattr(options, name)} is not a number from 1 on")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        parser.error(f"argument --json: {options.json}: no such folder; expected a file in one that exists")
    try:
        entries = scores(lambda line: print(line, flush=True), options.ids or None, options.seeds, options.steps)
    except ValueError as error:
        parser.error(str(error))
    left = [entry["id"] for entry in entries if survives(entry)]
    equivalent = sum(entry["equivalent"] is not None for entry in entries)
    if options.json is not None:
        written = {"format": 1, "mutants": entries, "survivors": left}
        write_whole(json.dumps(written, indent=1, ensure_ascii=False) + "\n", options.json)
    print(f"{len(entries)} faulty parties, {equivalent} equivalent, {len(left)} not noticed by all{_named(left)}")
    return 1 if left else 0


def _named(left: Sequence[str]) -> str:
    return f": {', '.join(left)}" if left else ""


if __name__ == "__main__":
    sys.exit(main())
