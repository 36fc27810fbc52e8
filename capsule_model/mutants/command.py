"""The command `mutants`: score faulty implementations, show the scores, and write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from capsule_model.command_line import input_error
from capsule_model.conform.commands import progress
from capsule_model.mutants.registry import MUTANTS
from capsule_model.mutants.scores import Bounds, faults, json_text, of_other_parties, score_all
from capsule_model.mutants.show import page, table, totals
from capsule_model.trace.wording import clean
from capsule_model.whole import write_whole

__all__ = ["mutants"]


def mutants(
    only: Sequence[str], bounds: Bounds, jobs: int, json_file: Path | None, markdown: Path | None, console: Console
) -> int:
    """Run the command and return its exit code; raises `ValueError` with one line for bad usage.

    `only` are ids, none for all. `json_file` and `markdown` get the scores when all are there.
    """
    for option, file in (("--json", json_file), ("--markdown", markdown)):
        if file is not None and not file.absolute().parent.is_dir():
            raise ValueError(f"{option} {clean(str(file))}: no such folder; expected a file in one that exists")
    chosen = set(only) or None
    # What other parties are asked for first is what may not exist.
    others = [] if chosen is None else _of_others(chosen, bounds)
    entries: list[dict[str, Any]] = []
    with progress(len(MUTANTS) if chosen is None else len(chosen & MUTANTS.keys()), "mutants") as advance:
        for entry in score_all(chosen, bounds, jobs):
            entries.append(entry)
            advance()
    entries += others if chosen is not None else of_other_parties(None, bounds)
    console.print(table(entries))
    for line in totals(entries):
        console.print(line)
    found = faults(entries)
    for line in found:
        console.print(f"finding: {line}")
    for option, file, text in (
        ("--json", json_file, json_text(entries)),
        ("--markdown", markdown, page(entries)),
    ):
        if file is not None:
            try:
                write_whole(text, file)
            except OSError as error:
                raise ValueError(f"{option} {clean(str(file))}: {input_error(error)}") from None
    return 1 if found else 0


def _of_others(chosen: set[str], bounds: Bounds) -> list[dict[str, Any]]:
    """Return the entries of what is not known here; raise `ValueError` for an id that nobody knows."""
    elsewhere = chosen - MUTANTS.keys()
    try:
        entries = of_other_parties(elsewhere, bounds) if elsewhere else []
    except ValueError as error:
        raise ValueError(f"--only: {clean(str(error), 300)}") from None
    for id in sorted(elsewhere - {entry["id"] for entry in entries}):
        raise ValueError(f"--only {clean(id, 80)}: no such mutant; expected an id such as {next(iter(MUTANTS))}")
    return entries
