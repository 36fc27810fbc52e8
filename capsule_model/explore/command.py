"""The command `explore`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from capsule_model.explore.bound import Bound, checked
from capsule_model.explore.report import (
    bound_line,
    broken_lines,
    counterexamples,
    level_line,
    outcome_line,
    part,
    report,
)
from capsule_model.explore.search import MOST_STATES, Explored, explore
from capsule_model.trace.wording import clean
from capsule_model.trace.write import dump_vectors
from capsule_model.whole import write_whole

__all__ = ["run"]


def run(
    bounds: list[Bound],
    jobs: int | None = None,
    most: int = MOST_STATES,
    json_file: Path | None = None,
    vectors_file: Path | None = None,
    console: Console | None = None,
) -> int:
    """Explore bounds, the first of one thread, tell what was covered, and return the exit code.

    1 means that an invariant is broken, or that a bound has more than ``most`` states. Raises ``ValueError`` with one
    line for a bound that makes no sense, and ``OSError`` where a file cannot be written.
    """
    shown = console or Console(highlight=False)
    for bound in bounds:
        checked(bound)
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
    if json_file is not None:
        write_whole(json.dumps(report(parts[0], parts[1:], None), indent=1, ensure_ascii=False) + "\n", json_file)
    if vectors_file is not None:
        write_whole(dump_vectors(vectors), vectors_file)
    return 0 if fine else 1


def _one(bound: Bound, jobs: int, most: int, shown: Console) -> Explored:
    _print(shown, bound_line(bound))
    explored = explore(bound, jobs, most, lambda level: _print(shown, f"  {level_line(level)}"))
    _print(shown, f"  {outcome_line(explored)}")
    return explored


def _print(shown: Console, line: str) -> None:
    shown.print(clean(line, 2000), markup=False, soft_wrap=True)
