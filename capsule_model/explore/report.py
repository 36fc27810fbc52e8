"""What an exploration came to, as JSON and as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from capsule_model.explore.bound import Bound
from capsule_model.explore.counterexample import Counterexample, counterexample
from capsule_model.explore.expand import world_of
from capsule_model.explore.invariants import INVARIANTS
from capsule_model.explore.real import Held
from capsule_model.explore.search import Explored, Level

__all__ = ["bound_line", "broken_lines", "counterexamples", "held_line", "level_line", "outcome_line", "part", "report"]


def counterexamples(explored: Explored) -> list[Counterexample]:
    """Return the shortest program for each invariant that is broken, in the order of the invariants."""
    world = world_of(explored.bound)
    return [counterexample(world, explored.found[one.id]) for one in INVARIANTS if one.id in explored.found]


def part(explored: Explored, broken: Sequence[Counterexample]) -> dict[str, Any]:
    """Return what the report says of one exploration."""
    levels = explored.levels
    return {
        "profile": explored.bound.profile,
        "bound": explored.bound.as_json(),
        "covered": levels[-1].depth,
        "alphabet": dict(sorted(explored.taken.items())),
        "levels": [
            {
                "depth": level.depth,
                "states": level.states,
                "transitions": level.transitions,
                "undefined": level.undefined,
                "aborted": level.aborted,
            }
            for level in levels
        ],
        "totals": {
            "states": sum(level.states for level in levels),
            "transitions": sum(level.transitions for level in levels),
            "undefined": sum(level.undefined for level in levels),
            "aborted": sum(level.aborted for level in levels),
        },
        "counterexamples": [one.as_json() for one in broken],
    }


def report(whole: dict[str, Any], threads: Sequence[dict[str, Any]], real: dict[str, Any] | None) -> dict[str, Any]:
    """Return the report of a run: of one thread, of interleavings, and of a real interpreter where one was asked."""
    parts = [whole, *threads]
    broken = {found["invariant"] for one in parts for found in one["counterexamples"]}
    invariants = [
        {"id": one.id, "sentence": one.sentence, "rules": list(one.rules), "broken": one.id in broken}
        for one in INVARIANTS
    ]
    found = {"format": 1, "kind": "exploration", "invariants": invariants, **whole, "threads": list(threads)}
    return found if real is None else {**found, "real": real}


def bound_line(bound: Bound) -> str:
    """Return what is explored, in one line."""
    names = " ".join("NULL" if name is None else f'"{name}"' for name in bound.names)
    parts = [
        f"{bound.profile}: {bound.threads} threads" if bound.threads else bound.profile,
        _count(bound.capsules, "capsule"),
        f"{'name' if len(bound.names) == 1 else 'names'} {names}",
        _count(bound.pointers, "pointer"),
        _count(bound.contexts, "context"),
        f"destructors NULL {' '.join(bound.destructors)}",
    ]
    return ", ".join(parts)


def level_line(level: Level) -> str:
    """Return one level in one line."""
    line = f"depth {level.depth}: {_count(level.states, 'new state')} by {_count(level.transitions, 'transition')}"
    ends = [f"{level.undefined:,} undefined"] * (level.undefined > 0)
    ends += [f"{level.aborted:,} end the process"] * (level.aborted > 0)
    return f"{line}, {' and '.join(ends)}" if ends else line


def outcome_line(explored: Explored) -> str:
    """Return what was covered, and whether all invariants hold, in one line."""
    totals = [sum(getattr(level, key) for level in explored.levels) for key in ("states", "transitions")]
    depth = explored.levels[-1].depth
    held = "all" if not explored.found else f"{len(INVARIANTS) - len(explored.found)} of"
    line = f"{held} {len(INVARIANTS)} invariants hold in {totals[0]:,} states and {totals[1]:,} transitions: "
    line += f"every sequence of at most {_count(depth, 'operation')}"
    return line if explored.complete else f"{line}, of {explored.bound.depth} wanted; there are too many states"


def held_line(bound: Bound, held: Held) -> str:
    """Return what was held against an implementation, in one line."""
    line = f"held against this {bound.profile}: {held.transitions:,} transitions from {held.states:,} states, "
    return line + ("no divergence" if held.divergence is None else "and the last one differs")


def broken_lines(broken: Counterexample) -> Iterator[str]:
    """Yield a counterexample as lines to read."""
    sentence = next(one.sentence for one in INVARIANTS if one.id == broken.invariant)
    yield f"broken: {broken.invariant}: {sentence}"
    for line in broken.lines:
        yield f"  {line}"
    yield f"  {broken.seen}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
