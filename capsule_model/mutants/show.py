"""The scores of mutants as a table: on a terminal, and as the page beside the committed results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

__all__ = ["page", "table", "totals"]

Entry = Mapping[str, Any]
NONE = "·"

INTRO = """\
# Mutants

Faulty implementations, each the model with one plausible mistake, and how soon each way of looking notices it: the
vectors in their order, the state machine of Hypothesis, and campaigns of programs made by chance from {seeds} seeds.
The figures are steps until the first difference. All of it is in [mutants.json](mutants.json), in the format of
[mutants.md](../formats/mutants.md), and is made again by

    capsule-model mutants --json specs/results/mutants.json --markdown specs/results/mutants.md

"""


def totals(entries: Sequence[Entry]) -> list[str]:
    """Return what the scores come to, a line each."""
    real = [entry for entry in entries if entry["equivalent"] is None]
    medians = sorted(m for entry in real if (m := entry["steps"]["campaign"]["median"]) is not None)
    mosts = [m for entry in real if (m := entry["steps"]["campaign"]["most"]) is not None]
    lines = [f"{len(entries)} mutants, {len(entries) - len(real)} of them declared equivalent"]
    for way in ("vectors", "hypothesis", "campaign"):
        killed = sum(bool(entry["killed_by"][way]) for entry in real)
        lines.append(f"{way}: {killed} of {len(real)} killed")
    if medians and mosts:
        lines.append(
            f"steps of the campaign: median of the medians {medians[len(medians) // 2]:,}, "
            f"largest median {medians[-1]:,}, most from any seed {max(mosts):,}"
        )
    return lines


def table(entries: Sequence[Entry]) -> Table:
    """Return the scores as a table for a terminal: steps until killed, by way of looking."""
    shown = Table(box=None, header_style="bold")
    shown.add_column("mutant", overflow="fold")
    for column in ("vectors", "hypothesis", "median", "most"):
        shown.add_column(column, justify="right")
    for entry in entries:
        shown.add_row(entry["id"], *_figures(entry))
    return shown


def page(entries: Sequence[Entry]) -> str:
    """Return the scores as a page in Markdown: totals, a table for each subject, and who survives and why."""
    seeds = max((len(entry["steps"]["campaign"]["seeds"]) for entry in entries), default=0)
    lines = [INTRO.format(seeds=seeds) + "\n".join(f"- {line}" for line in totals(entries)), ""]
    lines += ["| mutant | what it does wrong | vectors | Hypothesis | campaign, median | most | first vector |"]
    lines += ["|---|---|--:|--:|--:|--:|---|"]
    for entry in entries:
        vector = entry["killed_by"]["vectors"]
        cells = [
            f"`{entry['id']}`",
            entry["title"].replace("|", "\\|"),
            *_figures(entry),
            f"`{vector}`" if vector else NONE,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    equivalent = [entry for entry in entries if entry["equivalent"] is not None]
    if equivalent:
        lines += ["", "## Equivalent", "", "No defined program tells these from the model.", ""]
    for entry in equivalent:
        ran = entry.get("small_programs", {}).get("count", 0)
        tried = f" All {ran:,} small programs do the same on both." if ran else ""
        lines.append(f"- `{entry['id']}`: {entry['equivalent']}{tried}")
    return "\n".join(lines) + "\n"


def _figures(entry: Entry) -> list[str]:
    steps = entry["steps"]
    found = (steps["vectors"], steps["hypothesis"], steps["campaign"]["median"], steps["campaign"]["most"])
    return [NONE if figure is None else f"{figure:,}" for figure in found]
