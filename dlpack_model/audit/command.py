"""The command ``dlpack-model audit``: audit libraries, judge by what is expected, and write reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from capsule_model.whole import write_whole
from dlpack_model.audit.draft import drafts
from dlpack_model.audit.expected import Verdict, judge, known_key, load_expected
from dlpack_model.audit.outcome import SEVERITIES, Report, at_least
from dlpack_model.audit.page_html import as_html
from dlpack_model.audit.page_markdown import as_markdown, write_findings
from dlpack_model.audit.pairs import pair_up
from dlpack_model.audit.probe import PROBES
from dlpack_model.audit.processes import Missing
from dlpack_model.audit.registry import Library, library_named
from dlpack_model.audit.run import audit
from dlpack_model.audit.show import show

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Outputs", "audit_command", "library_at", "report_command"]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where reports go, each None where it is not wanted, and from which severity on a finding counts."""

    json: Path | None = None
    html: Path | None = None
    markdown: Path | None = None
    findings: Path | None = None
    draft: Path | None = None
    expectations: tuple[Path, ...] = ()
    fail_on: str = SEVERITIES[0]

    def check(self) -> None:
        """Raise ``ValueError`` for a file in a folder that does not exist."""
        for file in (self.json, self.html, self.markdown, self.draft):
            if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
                what = "a folder" if file.is_dir() else "no such folder"
                raise ValueError(f"{file}: {what}; expected a file in one that exists")
        if self.findings is not None and not self.findings.is_dir():
            raise ValueError(f"{self.findings}: no such folder; expected one that exists")


def library_at(place: str) -> Library:
    """Return the library that ``module:attribute`` stands for; ``ValueError`` with one line for anything else.

    The attribute is a ``Library``, or a function that imports as ``from_dlpack`` does.
    """
    module, colon, attribute = place.partition(":")
    names = (*module.split("."), *attribute.split("."))
    if not colon or not all(name.isidentifier() for name in names):
        raise ValueError(f"--library {place[:80]!r}: expected module:attribute, such as mine.arrays:from_dlpack")
    sys.path.insert(0, "")
    try:
        found: Any = import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"--library {place}: {error}; expected a module that is there, and an attribute of it"
        ) from None
    finally:
        sys.path.remove("")
    if isinstance(found, Library):
        return found
    if not callable(found):
        kind = type(found).__name__
        raise ValueError(
            f"--library {place}: an object of type {kind}; expected a Library or a function like from_dlpack"
        )
    call = f"{module}.{attribute}"
    version = f"getattr({module.partition('.')[0]}, '__version__', '?')"
    return Library(place, f"import {module}", version, make=f"{call}(Simple())", consume=call, values="elements")


def audit_command(
    libraries: Sequence[Library],
    python: str,
    outputs: Outputs,
    console: Console,
    *,
    limit: float,
    probes: Sequence[str] = (),
    pairs: bool = True,
) -> int:
    """Audit libraries, show and write what was found, and return the exit code; ``ValueError`` for bad usage."""
    import_module("dlpack_model.audit.probes")
    for name in probes:
        if name not in PROBES:
            raise ValueError(f"no probe {name[:40]!r}: expected one of {', '.join(sorted(PROBES))}")
    outputs.check()
    # Scripts run in folders of their own.
    python = str(Path(python).absolute()) if os.sep in python else python
    expected = [load_expected(file) for file in outputs.expectations]
    report, there, absent = Report((), ()), list[Library](), list[str]()
    with _progress(console) as advance:
        for library in libraries:
            step = advance(f"audit {library.name}")
            try:
                done = audit(library, python, chosen=lambda one: not probes or one.id in probes, limit=limit, step=step)
            except Missing as missing:
                absent.append(str(missing))
                continue
            there.append(library)
            report = report.joined([Report((done,), ())])
        if pairs and not probes and len(there) > 1:
            found = pair_up(there, python, limit, advance("pairs"))
            report = report.joined([Report((), tuple(found))])
    outcome = _tell(report, judge(expected, report), outputs, console) if there else 0
    if absent:
        # What was asked for and is not there is bad usage, also where the others were audited.
        raise ValueError("; ".join(absent))
    return outcome


def report_command(files: Sequence[Path], outputs: Outputs, console: Console) -> int:
    """Put the reports of several audits side by side; as `audit_command` otherwise."""
    outputs.check()
    expected = [load_expected(file) for file in outputs.expectations]
    reports = [_read(file) for file in files]
    report = Report((), ()).joined(reports)
    return _tell(report, judge(expected, report), outputs, console)


def _read(file: Path) -> Report:
    try:
        return Report.from_json(file.read_text("utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: {error}") from None


def _tell(report: Report, verdict: Verdict, outputs: Outputs, console: Console) -> int:
    """Show a report, write it where it is wanted, and return the exit code."""
    known = verdict.known
    if outputs.json is not None:
        write_whole(report.as_json(), outputs.json)
    if outputs.html is not None:
        write_whole(as_html(report, known), outputs.html)
    if outputs.markdown is not None:
        write_whole(as_markdown(report, known), outputs.markdown)
    if outputs.findings is not None:
        write_findings(report, outputs.findings)
    if outputs.draft is not None:
        write_whole("\n".join(drafts(report, known).values()), outputs.draft)
    show(report, known, console, scripts=False)
    if report.findings() and outputs.findings is None:
        console.print("--findings FOLDER writes the script of each", markup=False)
    for fault in verdict.faults:
        console.print(f"not as expected: {fault}", markup=False)
    new = [one for one in report.findings() if known_key(one) not in known and at_least(one.severity, outputs.fail_on)]
    return 1 if new or verdict.faults else 0


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Show how far an audit is, where the console is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = Console(stderr=True)
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:

        def advance(name: str) -> Callable[[int, int], None]:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield advance


def libraries_named(names: Sequence[str], places: Sequence[str], python: str) -> list[Library]:
    """Return the libraries of the command line; ``ValueError`` with one line where there are none."""
    here = python == sys.executable
    known = [library_named(name, here=here) for name in dict.fromkeys(names)]
    found = [*known, *map(library_at, dict.fromkeys(places))]
    if not found:
        raise ValueError("no library: expected the names of libraries, such as numpy, or --library module:attribute")
    return found
