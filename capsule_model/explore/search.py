"""Explore breadth first, a level at a time, in as many processes as are wanted, always with the same outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from capsule_model.explore.bound import Bound
from capsule_model.explore.expand import Expanded, expand, world_of
from capsule_model.explore.states import State

__all__ = ["Explored", "Found", "Level", "explore"]

CHUNK = 128
MOST_STATES = 5_000_000

Expand = Callable[[list[list[State]]], Iterator[Expanded]]


@dataclass(frozen=True, slots=True)
class Level:
    """What one more operation added: states that no shorter sequence leads to, and the transitions that led there.

    ``undefined`` are the transitions in which a destructor did what is undefined, ``aborted`` those in which a debug
    build ends the process.
    """

    depth: int
    states: int
    transitions: int
    undefined: int
    aborted: int


@dataclass(frozen=True, slots=True)
class Found:
    """A shortest way to break an invariant: the states on it, and what was seen in the transition from the last one."""

    invariant: str
    states: tuple[State, ...]
    seen: str

    @property
    def length(self) -> int:
        """Return how many operations it takes."""
        return len(self.states)


@dataclass(slots=True)
class Explored:
    """What was explored: the levels, transitions by operation, and what breaks invariants.

    ``came`` gives for each state the one before it on a shortest way. Not ``complete`` is what had too many states.
    """

    bound: Bound
    levels: list[Level] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    found: dict[str, Found] = field(default_factory=dict)
    came: dict[State, State | None] = field(default_factory=dict)
    complete: bool = True

    def way(self, state: State) -> tuple[State, ...]:
        """Return the states on a shortest way to a state, which is the last of them."""
        way = [state]
        while (before := self.came[way[-1]]) is not None:
            way.append(before)
        return tuple(reversed(way))


def explore(
    bound: Bound, jobs: int = 1, most: int = MOST_STATES, progress: Callable[[Level], None] = lambda level: None
) -> Explored:
    """Explore a bound in ``jobs`` processes, up to the level that would make it more than ``most`` states.

    The outcome is the same in every run, and for every number of jobs.
    """
    done = Explored(bound)
    frontier = [world_of(bound).initial()]
    done.came[frontier[0]] = None
    done.levels.append(Level(0, 1, 0, 0, 0))
    progress(done.levels[0])
    with _expanding(bound, jobs) as expanding:
        for depth in range(1, bound.depth + 1):
            frontier = _level(done, depth, frontier, expanding, most)
            if not done.complete:
                break
            progress(done.levels[-1])
    return done


def _level(done: Explored, depth: int, frontier: list[State], expanding: Expand, most: int) -> list[State]:
    """Take every transition from the states of one level, and return those of the next.

    Where there are more than ``most`` states, the level is not covered, and leaves no counts.
    """
    chunks = [frontier[start : start + CHUNK] for start in range(0, len(frontier), CHUNK)]
    found: list[State] = []
    undefined = aborted = 0
    taken: Counter[str] = Counter()
    for chunk, expanded in zip(chunks, expanding(chunks), strict=True):
        for state, number in expanded.found:
            if state not in done.came:
                done.came[state] = chunk[number]
                found.append(state)
        for broken in expanded.broken.values():
            if broken.invariant not in done.found:
                way = done.way(chunk[broken.state])
                done.found[broken.invariant] = Found(broken.invariant, way, broken.seen)
        taken += expanded.taken
        undefined += expanded.undefined
        aborted += expanded.aborted
        if len(done.came) > most:
            done.complete = False
            return []
    done.taken += taken
    done.levels.append(Level(depth, len(found), taken.total(), undefined, aborted))
    return found


@contextmanager
def _expanding(bound: Bound, jobs: int) -> Iterator[Expand]:
    """Provide what expands chunks of states, in their order, here or in processes of its own."""
    if jobs == 1:
        _begin(bound)
        yield lambda chunks: map(_expand, chunks)
        return
    with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(bound,)) as pool:
        yield lambda chunks: pool.map(_expand, chunks)


class _Here:
    """What a process keeps: its world, and the states that it has met or told of."""

    def __init__(self, bound: Bound) -> None:
        self.world = world_of(bound)
        self.known: set[State] = set()


_here: list[_Here] = []


def _begin(bound: Bound) -> None:
    _here[:] = [_Here(bound)]


def _expand(chunk: list[State]) -> Expanded:
    return expand(_here[0].world, chunk, _here[0].known)
