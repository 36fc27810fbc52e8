"""A shard: a fixed share of the steps of a round, made of cases, which one process performs."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from capsule_model.fuzz.campaign.journal import Case, journal
from capsule_model.fuzz.campaign.learnt import Learnt

__all__ = ["Engine", "Orphaned", "Shard", "close_engine", "engine", "in_turn", "perform"]


class Engine(Protocol):
    """What carries out cases: the model in lockstep with an implementation."""

    def case(self, number: int, seed: str, steps: int, learnt: Learnt) -> Case:
        """Carry out one case of at most ``steps`` steps and a few to end it, and return its record.

        ``number`` is its place in the shard. A record has ``steps`` and, where there is something to say, ``batch``,
        ``kinds``, ``rules``, ``kept`` (see ``Learnt``), ``undefined`` and ``finding``: what differed, with ``vector``.
        """
        ...

    def lost(self, number: int, seed: str, steps: int, learnt: Learnt, how: str) -> Case:
        """Return the record of a case that ends the process that performs it; it is not performed."""
        ...

    def close(self) -> None:
        """End the implementation."""
        ...


@dataclass(frozen=True)
class Shard:
    """Which share of a campaign's steps: ``seed`` names its cases, ``steps`` is how many it has.

    ``open`` makes its engine; in one process equal ones share it. ``learnt`` is JSON, as ``Learnt.as_json`` gives it.
    ``file`` is its journal, kept where its folder is there. At ``until``, in seconds since the epoch, the rest is left
    undone. ``lost`` are cases that no process outlives, each with how it died.
    """

    seed: str
    steps: int
    open: Callable[[], Engine]
    learnt: dict[str, Any]
    file: Path
    until: float | None = None
    lost: tuple[tuple[int, str], ...] = ()


class Orphaned(Exception):
    """The process that asked for the shard is gone."""


# An implementation in this process is one, and so is what notes the rules: a cluster's threads take turns.
in_turn = threading.Lock()
# The engine of this process, and what opened it.
_opened: list[tuple[Callable[[], Engine], Engine]] = []


def engine(open_engine: Callable[[], Engine]) -> Engine:
    """Return the engine of this process, opened when it is first asked for; another one is closed before."""
    if not _opened or _opened[0][0] != open_engine:
        close_engine()
        _opened.append((open_engine, open_engine()))
    return _opened[0][1]


def close_engine() -> None:
    """Close the engine of this process, if there is one."""
    while _opened:
        _opened.pop()[1].close()


def perform(shard: Shard, parent: int | None = None) -> list[Case]:
    """Carry out the cases of a shard that are not in its journal yet, and return the records of all of them.

    Raises ``Orphaned`` before the next case where this process is no child of ``parent`` any more, and ``Busy`` where
    another process does not let go of the journal.
    """
    with in_turn, tempfile.TemporaryDirectory() as folder:
        file = shard.file if shard.file.parent.is_dir() else Path(folder) / "journal"
        with journal(file) as book:
            carries_out = engine(shard.open)
            learnt = Learnt.from_json(shard.learnt)
            lost = dict(shard.lost)
            done = sum(case["steps"] for case in book.cases)
            while done < shard.steps and (shard.until is None or time.time() < shard.until):
                if parent is not None and os.getppid() != parent:
                    raise Orphaned(f"process {parent} is gone")
                number = len(book.cases)
                seed = f"{shard.seed}.{number}"
                book.begin()
                if number in lost:
                    case = carries_out.lost(number, seed, shard.steps - done, learnt, lost[number])
                else:
                    case = carries_out.case(number, seed, shard.steps - done, learnt)
                book.add(case)
                done += case["steps"]
            return book.cases
