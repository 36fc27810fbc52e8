"""Every transition from a state, counted and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from capsule_model.explore.bound import Bound
from capsule_model.explore.invariants import MERGE, STOPPED, by_operation
from capsule_model.explore.lifetime import spoilt
from capsule_model.explore.states import State
from capsule_model.explore.step import Step
from capsule_model.explore.threads import ThreadedWorld
from capsule_model.explore.world import World
from capsule_model.undefined import Abort

__all__ = ["Broken", "Expanded", "expand", "world_of"]


@dataclass(frozen=True, slots=True)
class Broken:
    """A transition that breaks an invariant: from which state of those that were given, and how."""

    invariant: str
    state: int
    seen: str


@dataclass(slots=True)
class Expanded:
    """What comes of some states.

    ``found`` are the states that are new, each with the number of the state that led there first; ``taken`` counts
    transitions by operation, ``undefined`` and ``aborted`` those that nobody survives; ``broken`` has the first
    transition for each invariant that is broken.
    """

    found: list[tuple[State, int]] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    undefined: int = 0
    aborted: int = 0
    broken: dict[str, Broken] = field(default_factory=dict)


def world_of(bound: Bound) -> World:
    """Return a world for a bound; where counts have two parts, one that keeps them."""
    biased = "biased-reference-counts" in bound.described.behaviours
    return ThreadedWorld(bound) if biased else World(bound)


_CHECKS = by_operation()


def expand(world: World, states: Iterable[State], known: set[State]) -> Expanded:
    """Take every transition from each state, and return what is not ``known``, which grows by it.

    What follows a transition that breaks an invariant, or that is undefined, is not looked at.
    """
    done = Expanded()
    taken = done.taken
    for number, state in enumerate(states):
        known.add(state)
        world.restore(state)
        operations = world.operations(state)
        taken.update([operation.op for operation in operations])
        for operation in operations:
            step = world.perform(operation)
            broken = check(step)
            if broken:
                for invariant, seen in broken:
                    done.broken.setdefault(invariant, Broken(invariant, number, seen))
                world.restore(state)
                continue
            if world.unchanged(step):
                continue
            if ends(step):
                if isinstance(step.stopped, Abort):
                    done.aborted += 1
                else:
                    done.undefined += 1
            else:
                successor = world.follow(step)
                if successor not in known:
                    known.add(successor)
                    done.found.append((successor, number))
            world.undo(step)
    return done


def check(step: Step) -> Sequence[tuple[str, str]]:
    """Return the invariants that a step breaks, each with what was seen."""
    if step.earlier is not None:
        broken = check(step.earlier)
        if broken or ends(step.earlier):
            return broken
    if step.stopped is not None:
        kind = STOPPED, False
    else:
        kind = MERGE if step.operation is None else step.operation.op, step.fails
    found = []
    for invariant, broken_by in _CHECKS[kind]:
        seen = broken_by(step)
        if seen is not None:
            found.append((invariant, seen))
    return found


def ends(step: Step) -> bool:
    """Tell whether nothing can follow a step: it was stopped, or what it did is undefined."""
    earlier = step.earlier is not None and ends(step.earlier)
    return earlier or step.spent or step.stopped is not None or (bool(step.runs) and spoilt(step) is not None)
