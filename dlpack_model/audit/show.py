"""Show an audit on the terminal: the libraries, what they break, the worst first, and what pairs of them do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from capsule_model.show.texts import limited, number, web_address
from capsule_model.trace.wording import clean
from dlpack_model.audit.expected import Known
from dlpack_model.audit.markup import short
from dlpack_model.audit.outcome import VERDICTS, Report, at_least
from dlpack_model.audit.view import CONSEQUENCES, Entry, Matrix, entries, left, matrix

__all__ = ["show"]

_MOST_LINES = 80
_MOST_CASES = 8
_VERDICT_WORDS = {"choice": "choices"}


def show(report: Report, known: Mapping[str, Known], console: Console, *, scripts: bool = True) -> None:
    """Print a report; of findings that are not ``known`` also the script, unless ``scripts`` says otherwise."""
    console.print(_summary(report))
    found = entries(report, known)
    for entry in found:
        _line(console, "")
        _print_finding(entry, console, scripts=scripts)
    for one in left(report, "unconfirmed"):
        _line(console, "")
        named = f"{short(one.library, 60)} {_listed(one.versions)}"
        _line(console, f"unconfirmed: {named}: {one.severity}: {_listed(one.probes, _MOST_CASES)}", "yellow")
        _line(console, f"  seen once, and not by its script: {short(one.seen, 500)}")
    if report.pairs:
        _print_pairs(matrix(report.pairs), console)
    declared = sum(entry.known for entry in found)
    told = (
        f"{number(len(found), 'finding')}, {declared} of them declared" if declared else number(len(found), "finding")
    )
    _line(console, "")
    _line(console, told, "bold red" if len(found) > declared else "bold green")


def _summary(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("library", "version"):
        table.add_column(name, no_wrap=True)
    table.add_column("roles", overflow="fold", min_width=12)
    for verdict in VERDICTS:
        table.add_column(_VERDICT_WORDS.get(verdict, verdict), justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for audit in report.audits:
        counts = audit.count()
        named = (short(audit.library, 60), short(audit.version, 60), _listed(audit.roles))
        table.add_row(
            *map(Text, named),
            *(
                Text(str(counts.get(verdict, 0)), style="bold red" if verdict == "broken" and counts[verdict] else "")
                for verdict in VERDICTS
            ),
            Text(f"{audit.seconds:.1f}"),
        )
    return table


def _print_finding(entry: Entry, console: Console, *, scripts: bool) -> None:
    finding = entry.finding
    style = "" if entry.known else "bold red" if at_least(entry.severity, "leak") else "bold yellow"
    named = f"{short(finding.library, 60)} {_listed(entry.versions)}"
    _line(console, f"{entry.severity}: {short(finding.id, 120)}: {named}", style)
    _line(console, f"  {CONSEQUENCES[entry.severity]}")
    _line(console, f"  rule {short(finding.rule, 120)} ({short(finding.level, 20)}): {short(finding.text, 400)}")
    _line(console, f"  asked: {short(finding.asked, 300)}")
    for seen in entry.seen:
        where = f" in {_listed(seen.versions)}" if len(entry.seen) > 1 else ""
        _line(console, f"  seen{where}: {short(seen.text, 500)}")
        cases = [case for case in seen.cases if case]
        if cases:
            _line(console, f"  cases: {_listed(cases, _MOST_CASES)}")
        if seen.known is not None:
            address = web_address(seen.known.link) or clean(seen.known.link, 200)
            _line(console, f"  known{where}: {short(seen.known.reason, 1000)} ({address})")
    if scripts and not entry.known:
        _line(console, "  script:")
        for line in _lines(finding.script):
            _line(console, f"    {line}", "dim")
        _line(console, "  which says:")
        for line in _lines(finding.shown):
            _line(console, f"    {line}", "dim")


def _lines(text: str) -> Iterator[str]:
    lines = text.expandtabs(4).splitlines()
    yield from (clean(line, 300) for line in lines[:_MOST_LINES])
    if len(lines) > _MOST_LINES:
        yield f"… and {len(lines) - _MOST_LINES} more lines"


def _print_pairs(found: Matrix, console: Console) -> None:
    """Print the matrix, as many consumers beside each other as the terminal has room for."""
    words = [one.text for cells in found.cells.values() for one in cells]
    consumers = [short(name, 30) for name in found.consumers]
    width = 2 + max(map(len, (*words, *consumers)), default=0)
    margin = 2 + max((len(short(name, 30)) for name in found.producers), default=8)
    abreast = max(1, (console.width - margin) // width)
    for start in range(0, len(consumers), abreast):
        _line(console, "")
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("producer", overflow="fold")
        for name in consumers[start : start + abreast]:
            table.add_column(Text(name), overflow="fold")
        for producer in found.producers:
            own = (found.cells.get((producer, name), ()) for name in found.consumers[start : start + abreast])
            cells = (
                Text("\n").join(Text(one.text, style="bold red" if one.loud else "") for one in cell) for cell in own
            )
            table.add_row(Text(short(producer, 30)), *cells)
        console.print(table)
    for pair in found.loud:
        named = f"{short(pair.producer, 60)} to {short(pair.consumer, 60)}"
        _line(console, f"  {named}: {short(pair.outcome, 40)}: {short(pair.seen, 300)}", "red")
    for (consumer, seen), producers in found.refusals.items():
        _line(console, f"  {short(consumer, 60)} refuses {_listed(producers)}: {short(seen, 300)}")


def _listed(names: Sequence[str], most: int = 40) -> str:
    return ", ".join(short(name, 100) for name in limited(names, most))


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True, highlight=False)
