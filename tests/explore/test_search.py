"""The search: every sequence is covered, each state once, and the outcome is always the same."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from capsule_model.explore.bound import Bound, threads_bound
from capsule_model.explore.counterexample import Program, retrace
from capsule_model.explore.expand import check, ends, world_of
from capsule_model.explore.search import explore
from capsule_model.explore.states import State
from capsule_model.explore.world import World

SMALL = Bound(depth=3, names=(None, "a", "a"), pointers=2, contexts=2, destructors=("rename", "drop"))
TINY = Bound(depth=3, names=(None, "a"), pointers=1)
THREADS = threads_bound(2, 3)
# Deep enough for capsules whose form has them in another order than they were made.
TURNED = Bound(depth=4, names=(None,), pointers=1, destructors=())
# Small enough for contexts that point to dead capsules.
GRAVES = Bound(depth=5, names=(None,), pointers=1, contexts=0, destructors=("drop",))
PROFILES_OF_ALL_KINDS = (
    "cpython-3.9",
    "cpython-3.11-debug",
    "cpython-3.13-debug",
    "cpython-3.15",
    "cpython-3.13-32",
    "cpython-3.13-be",
    "cpython-3.13-free-threaded",
    "cpython-3.14-free-threaded-debug",
)


def unmerged(world: World, depth: int) -> list[set[State]]:
    """Return the states after each number of operations, told apart by every name, and nothing else left out."""
    levels = [{world.initial()}]
    for _ in range(depth):
        found = set()
        for state in levels[-1]:
            for operation in world.operations(state):
                world.restore(state)
                step = world.perform(operation)
                if not check(step) and not ends(step):
                    found.add(world.outcome(step))
        levels.append(found)
    return levels


def form(world: World, state: State) -> State:
    """Return the form of a state."""
    if state.queues:
        return world.forms.form_of_threads(state.capsules, state.errors, state.parts, state.queues)
    return world.forms.form(state.capsules, state.errors)


@pytest.mark.parametrize(
    "bound",
    [SMALL, GRAVES, THREADS, threads_bound(3, 2)],
    ids=["names", "graves", "two threads", "three threads"],
)
def test_merging_loses_nothing(bound: Bound) -> None:
    """The forms of all states that sequences lead to are the states that were explored, no more and no fewer."""
    world = world_of(bound)
    levels = unmerged(world, bound.depth)
    explored = explore(bound)
    forms = {form(world, state) for states in levels for state in states}
    assert forms == set(explored.came)
    assert len(forms) < len(set().union(*levels))


def test_a_form_is_its_own() -> None:
    """A state that was brought to its form is left by it, so that no state has two."""
    world = world_of(SMALL)
    states = explore(SMALL).came
    assert all(form(world, state) == state for state in states)


def test_ways_are_shortest() -> None:
    """Each state on a way is one operation from the next, and none is on a level before."""
    explored = explore(TINY)
    depths: dict[State, int] = {}
    for state in explored.came:
        depths[state] = len(explored.way(state)) - 1
    assert [sum(depth == level.depth for depth in depths.values()) for level in explored.levels] == [
        level.states for level in explored.levels
    ]
    assert all(
        depths[after] == depths[before] + 1 for state in depths for before, after in pairwise(explored.way(state))
    )


@pytest.mark.parametrize("bound", [TURNED, threads_bound(2, 2)], ids=["one thread", "two threads"])
def test_a_program_leads_to_each_state(bound: Bound) -> None:
    """Every way can be retraced, a step for each operation, although states are called by their forms."""
    world = world_of(bound)
    explored = explore(bound)
    for state in explored.came:
        way, program = explored.way(state), Program(world)
        retrace(program, way)
        assert form(world, program.state) == state
        assert len(program.steps) == len(program.lines) == len(way) - 1


@pytest.mark.parametrize("bound", [TINY, THREADS], ids=["one thread", "two threads"])
def test_jobs_change_nothing(bound: Bound, monkeypatch: pytest.MonkeyPatch) -> None:
    """States, the ways to them and all counts are the same in one process, in several, and for pieces of any size."""
    alone = explore(bound)
    monkeypatch.setattr("capsule_model.explore.search.CHUNK", 7)
    for jobs in (1, 3):
        other = explore(bound, jobs)
        assert (other.levels, other.taken) == (alone.levels, alone.taken)
        assert list(other.came.items()) == list(alone.came.items())


@pytest.mark.parametrize("profile", PROFILES_OF_ALL_KINDS)
def test_all_hold_under_every_kind_of_profile(profile: str) -> None:
    """Versions, word sizes and builds break no invariant; where a debug build ends the process, that is counted."""
    explored = explore(replace(TINY, profile=profile))
    assert explored.found == {}
    assert (sum(level.aborted for level in explored.levels) > 0) == profile.endswith("-debug")


def test_what_is_undefined_is_counted_and_left() -> None:
    """A destructor that gives back its own capsule, or an opaque context, ends the sequence there."""
    explored = explore(Bound(depth=3, capsules=1, names=(None,), pointers=1, destructors=("drop",)))
    # The context is the capsule or the opaque one; three operations leave no time to set an exception before.
    assert [level.undefined for level in explored.levels] == [0, 0, 0, 2]
    assert explored.levels[3].states > 0


def test_too_many_states_are_not_begun() -> None:
    """A bound with more states than wanted is covered up to where it is, and says so."""
    explored = explore(TINY, most=20)
    assert not explored.complete
    assert 0 < explored.levels[-1].depth < TINY.depth
    assert explore(TINY, most=10**6).complete
