"""The command `explore`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from capsule_model.explore.bound import Bound, checked
from capsule_model.explore.real import Open, hold
from capsule_model.explore.report import (
    bound_line,
    broken_lines,
    counterexamples,
    held_line,
    level_line,
    outcome_line,
    part,
    report,
)
from capsule_model.explore.search import MOST_STATES, Explored, explore
from capsule_model.fuzz.lockstep import this_interpreter
from capsule_model.trace.wording import clean
from capsule_model.trace.write import dump_vectors
from capsule_model.whole import write_whole

__all__ = ["here", "run"]


def run(
    bounds: Sequence[Bound],
    jobs: int | None = None,
    most: int = MOST_STATES,
    json_file: Path | None = None,
    vectors_file: Path | None = None,
    *,
    open_session: Open | None = None,
    console: Console | None = None,
) -> int:
    """Explore bounds, the first of one thread, tell what was covered, and return the exit code.

    ``open_session`` opens a session on an implementation that the first is held against. 1 means that an invariant is
    broken, that the implementation differs, or that a bound has more than ``most`` states. Raises ``ValueError`` with
    one line for a bound that makes no sense, and ``OSError`` where a file cannot be written.
    """
    shown = console or Console(highlight=False)
    for bound in bounds:
        checked(bound)
    real: dict[str, Any] | None = None
    parts: list[dict[str, Any]] = []
    vectors: list[dict[str, Any]] = []
    fine = True
    for bound in bounds:
        explored = _one(bound, jobs or os.cpu_count() or 1, most, shown)
        broken = counterexamples(explored)
        for found in broken:
            for line in broken_lines(found):
                _print(shown, line)
        parts.append(part(explored, broken))
        vectors += [found.vector for found in broken]
        fine = fine and explored.complete and not broken
        if open_session is not None and not bound.threads:
            held = hold(explored, open_session)
            _print(shown, f"  {held_line(bound, held)}")
            real = held.as_json(bound.profile)
            if held.divergence is not None:
                shown.print(str(held.divergence), markup=False, soft_wrap=True)
                vectors.append(held.divergence.vector)
                fine = False
    if json_file is not None:
        write_whole(json.dumps(report(parts[0], parts[1:], real), indent=1, ensure_ascii=False) + "\n", json_file)
    if vectors_file is not None:
        write_whole(dump_vectors(vectors), vectors_file)
    return 0 if fine else 1


def here(profile: str | None) -> tuple[str, Open]:
    """Return the name of this interpreter's profile, and what opens a session on it.

    Raises ``ValueError`` with one line where another profile is wanted, or where something cannot be seen.
    """
    found, session = this_interpreter()
    if profile not in (None, found.name):
        raise ValueError(f"--real under {profile}: expected {found.name}, which this interpreter is")
    return found.name, session


def _one(bound: Bound, jobs: int, most: int, shown: Console) -> Explored:
    _print(shown, bound_line(bound))
    explored = explore(bound, jobs, most, lambda level: _print(shown, f"  {level_line(level)}"))
    _print(shown, f"  {outcome_line(explored)}")
    return explored


def _print(shown: Console, line: str) -> None:
    shown.print(clean(line, 2000), markup=False, soft_wrap=True)
