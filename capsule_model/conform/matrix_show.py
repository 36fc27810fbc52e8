"""Show how far a matrix has come, and in the end a table of all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from capsule_model.trace.wording import clean

__all__ = ["Figures", "Row", "print_table", "progress_table", "shown_while"]

_PLAIN_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """What the table says of an interpreter that was run; `shortcomings` are empty where it is conformant."""

    version: str
    profile: str
    percent: float
    passed: int
    declared: int
    unexpected: int
    unsupported: int
    shortcomings: tuple[str, ...]


@dataclass(slots=True)
class Row:
    """What is known of one interpreter so far: `figures` where it was run, `broken` says why it could not be."""

    name: str
    state: str = "waiting"
    done: int = 0
    total: int = 0
    begun: float | None = None
    seconds: float = 0.0
    figures: Figures | None = None
    broken: str | None = None

    def begin(self) -> None:
        """Start its clock."""
        self.begun = time.monotonic()

    def end(self) -> None:
        """Stop its clock."""
        if self.begun is not None:
            self.seconds, self.begun = time.monotonic() - self.begun, None

    @property
    def running(self) -> bool:
        """Tell whether it is at work."""
        return self.begun is not None

    @property
    def verdict(self) -> str | None:
        """Return in a line how it ended, None where it has not."""
        if self.broken is not None:
            return self.broken
        if self.figures is None:
            return None
        shortcomings = self.figures.shortcomings
        return "not conformant: " + ", ".join(shortcomings) if shortcomings else "conformant"

    @property
    def style(self) -> str:
        """Return how it is to be printed."""
        fine = self.broken is None and (self.figures is None or not self.figures.shortcomings)
        return "dim" if self.verdict is None and not self.running else "" if fine else "red"


@contextmanager
def shown_while(rows: Sequence[Row]) -> Iterator[Callable[[Row], None]]:
    """Show the rows on standard error as they change; where that is no terminal, a line for each that has ended.

    The function that is handed out is to be called with a row that has ended.
    """
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with Live(console=console, get_renderable=lambda: progress_table(rows), transient=True):
            yield lambda row: None
    else:
        yield lambda row: console.print(
            Text(f"{row.name}: {row.verdict} ({row.seconds:.1f} s)"), soft_wrap=True, highlight=False
        )


def print_table(rows: Sequence[Row]) -> None:
    """Print the figures of all rows, and below them a line for each that is not as it should be."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("version", no_wrap=True)
    table.add_column("profile", overflow="fold")
    for heading in ("rules", "passed", "declared", "unexpected", "unsupported", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        figures = row.figures
        if figures is None:
            table.add_row(Text(row.name), "could not be run", *[""] * 6, f"{row.seconds:.1f}", style=row.style)
            continue
        counts = (figures.passed, figures.declared, figures.unexpected, figures.unsupported)
        shown = (f"{figures.percent:g} %", *map(str, counts), f"{row.seconds:.1f}")
        table.add_row(Text(row.name), Text(figures.version), Text(figures.profile), *shown, style=row.style)
    console.print(table)
    for row in rows:
        if row.broken is not None or (row.figures is not None and row.figures.shortcomings):
            console.print(Text(f"{row.name}: {row.verdict}", style="bold red"), soft_wrap=True, highlight=False)


def progress_table(rows: Sequence[Row]) -> Table:
    """Return the rows as they stand: those at work first, since a terminal may have no room for all."""
    table = Table(box=None, pad_edge=False, show_header=False)
    ordered = sorted(rows, key=lambda row: (not row.running, row.verdict is not None))
    for row in ordered:
        seconds = time.monotonic() - row.begun if row.begun is not None else row.seconds
        state = row.verdict or (f"running {row.done}/{row.total}" if row.state == "running" else row.state)
        clock = f"{seconds:.0f} s" if row.running or row.verdict is not None else ""
        table.add_row(Text(row.name), Text(clean(state, 120)), clock, style=row.style)
    return table
