"""Print a comparison to a terminal: a line for each implementation, then what is not as it should be."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from capsule_model.show.comparison import KINDS, LOUD, Cell, Comparison
from capsule_model.show.texts import MOST_LISTED, about, limited, notices

__all__ = ["print_comparison", "print_findings"]

_STYLES = {"unexpected": "bold red", "crash": "red", "differs": "yellow", "by-design": "cyan", "unsupported": "dim"}


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print rules reached and vectors by kind, then chapters that have more to say, then the findings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("result", no_wrap=True)
    table.add_column("implementation", overflow="fold")
    for heading in ("rules", "%", "passed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("otherwise")
    for column in comparison.columns:
        kinds = column.kinds
        implementation, version, _ = about(column)
        table.add_row(
            Text(column.name, "bold"),
            Text(f"{implementation} {version}"),
            f"{column.reached}/{column.total}",
            f"{column.percent:g}",
            f"{kinds['passed']}/{len(column.entries) - kinds['quiet']}",
            _marks(comparison.totals[column.name]),
        )
    console.print(table)
    used = [kind for kind in LOUD if any(column.kinds[kind] for column in comparison.columns)]
    for column in comparison.columns:
        told = Text("")
        for chapter, words in comparison.chapters.items():
            cell = comparison.cells.get((column.name, chapter))
            if cell is not None and cell.loud:
                told.append(f"  {words} ").append(_marks(cell))
        if told:
            console.print(Text(f"{column.name}:", "bold"), told, soft_wrap=False, sep="")
    if used:
        _line(console, ", ".join(f"{KINDS[kind].mark} {KINDS[kind].long}" for kind in used), "dim")
    for line in notices(comparison):
        _line(console, line, "yellow")
    print_findings(comparison, console)


def print_findings(comparison: Comparison, console: Console) -> None:
    """Print what makes the exit code 1."""
    for line in comparison.findings:
        _line(console, line, "bold red")
    if comparison.suspects:
        _line(console, f"suspect: {', '.join(limited(list(comparison.suspects), MOST_LISTED))}")


def _marks(cell: Cell) -> Text:
    return Text(" ").join(Text(f"{KINDS[kind].mark}{count}", _STYLES[kind]) for kind, count in cell.loud)


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=True, highlight=False)
