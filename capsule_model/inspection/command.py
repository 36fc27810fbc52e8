"""The command ``capsule-model inspect``: look at capsules, tell what was seen, and write it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from capsule_model.inspection.look import look
from capsule_model.inspection.page import as_markdown
from capsule_model.inspection.processes import Python
from capsule_model.inspection.record import Inspection, as_json
from capsule_model.inspection.scan import Limits, scan
from capsule_model.inspection.show import in_full, in_short, summary
from capsule_model.whole import write_whole

__all__ = ["inspect"]


def inspect(
    names: Sequence[str],
    pythons: Sequence[str],
    limits: Limits,
    *,
    everything: bool = False,
    only: Sequence[str] = (),
    json_file: Path | None = None,
    markdown_file: Path | None = None,
    verbose: bool = False,
) -> int:
    """Look at the capsules of some names, or at all, in each Python; return the exit code.

    0 where everything agrees, 1 where something does not, 2 where a name leads to no capsule. ``ValueError`` with one
    line for bad usage.
    """
    if everything == bool(names):
        raise ValueError("expected either names, such as datetime.datetime_CAPI, or --all")
    if only and not everything:
        raise ValueError("--only is for --all; expected both or neither")
    for file in (json_file, markdown_file):
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            raise ValueError(
                f"{file}: {'a folder' if file.is_dir() else 'no such folder'}; expected a file in one that exists"
            )
    inspections, problems = list[Inspection](), list[str]()
    for program in pythons or (sys.executable,):
        if everything:
            with _progress(Console(stderr=True)) as step:
                found = scan(Python(_absolute(program)), only, limits, step)
            inspections.append(found)
            _tell(line for one in found.capsules for line in in_short(one))
            _tell(summary(found, verbose=verbose))
        else:
            inspections += _named(names, Python(_absolute(program), here=True), limits, problems)
    if json_file is not None:
        write_whole(as_json(inspections), json_file)
    if markdown_file is not None:
        write_whole(as_markdown(inspections), markdown_file)
    for problem in problems:
        click.echo(f"capsule-model: {problem}", err=True)
    return 2 if problems else int(any(one.disagreements for one in inspections))


def _named(names: Sequence[str], python: Python, limits: Limits, problems: list[str]) -> list[Inspection]:
    """Tell about the capsules of some names; what is wrong with a name goes to the problems."""
    capsules, version, profile = [], "", ""
    for name in names:
        try:
            version, profile, capsule = look(name, python, limits.step)
        except ValueError as error:
            problems.append(str(error))
            continue
        capsules.append(capsule)
        _tell(in_full(capsule, profile))
    return [Inspection(version, profile, tuple(capsules))] if capsules else []


def _absolute(program: str) -> str:
    """Return a program so that it can be started from another folder; a bare name is found as a shell finds it."""
    return str(Path(program).absolute()) if "/" in program or "\\" in program else program


def _tell(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line)


@contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """Show how far a scan is, where somebody looks."""
    columns = TextColumn("inspect"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("inspect", total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
