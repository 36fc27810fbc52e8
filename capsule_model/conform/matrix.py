"""The command `matrix`: hold many interpreters to the specification at once, and write what was seen of each."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from capsule_model.command_line import input_error
from capsule_model.conform.commands import known_names
from capsule_model.conform.interpreters import CannotRun, Interpreter, Kind, choose, find, probe
from capsule_model.conform.matrix_run import Task, run_all
from capsule_model.conform.matrix_show import Row, print_table, shown_while
from capsule_model.locate import specs
from capsule_model.suites import vectors_of
from capsule_model.trace.files import load
from capsule_model.trace.wording import clean

__all__ = ["matrix"]


def matrix(
    names: Sequence[str],
    folder: Path,
    output: Path,
    adapter: Literal["auto"] | Kind = "auto",
    vectors: Path | None = None,
    jobs: int | None = None,
    time_limit: float = 60.0,
) -> int:
    """Run the interpreters of those names in `folder`, write `output`/NAME.json for each, and return the exit code.

    `jobs` run at a time (default: as many as there are cores). A start, and a vector, may take `time_limit` seconds.
    Raises `ValueError` with one line for bad usage.
    """
    chosen = choose(names, find(folder))
    source = (vectors_of() if vectors is None else vectors).absolute()
    loaded = load(source, known_names())
    if loaded.problems:
        for problem in loaded.problems:
            print(f"capsule-model: {problem}", file=sys.stderr)
        return 2
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output {clean(str(output), 300)}: {input_error(error)}") from None
    jobs = jobs or os.cpu_count() or 1
    rows = {interpreter.name: Row(interpreter.name, total=len(loaded.vectors)) for interpreter in chosen}
    ordered = list(rows.values())
    with (
        tempfile.TemporaryDirectory(prefix="capsule-matrix-", ignore_cleanup_errors=True) as scratch,
        shown_while(ordered) as ended,
    ):
        places = _places(folder, output, source, Path(scratch))
        tasks = [
            Task(
                interpreter,
                kind,
                source,
                output / f"{interpreter.name}.json",
                Path(scratch, interpreter.name),
                time_limit,
                places,
            )
            for interpreter, kind in _slowest_first(chosen, adapter, jobs, time_limit, rows)
        ]
        for row in ordered:
            if row.broken is not None:
                ended(row)
        run_all(tasks, rows, jobs, ended)
    print_table(ordered)
    if any(row.broken is not None for row in ordered):
        return 2
    return 1 if any(row.figures is None or row.figures.shortcomings for row in ordered) else 0


def _slowest_first(
    chosen: Sequence[Interpreter],
    adapter: Literal["auto"] | Kind,
    jobs: int,
    time_limit: float,
    rows: dict[str, Row],
) -> list[tuple[Interpreter, Kind]]:
    """Start each interpreter to see which adapter it takes; those that took longest come first.

    What is slow to start is slow to run; begun last, it would keep all waiting. One that cannot be started is broken.
    """
    found: list[tuple[float, Interpreter, Kind]] = []

    def look(interpreter: Interpreter) -> None:
        row = rows[interpreter.name]
        row.state = "starting"
        row.begin()
        try:
            seen = probe(interpreter, time_limit)
        except CannotRun as error:
            row.broken = str(error)
        else:
            kind: Kind = ("ctypes" if seen.pythonapi else "c") if adapter == "auto" else adapter
            found.append((seen.seconds, interpreter, kind))
        row.state = "waiting"
        row.end()

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(look, chosen))
    return [(interpreter, kind) for _, interpreter, kind in sorted(found, key=lambda seen: -seen[0])]


def _places(*folders: Path) -> tuple[str, ...]:
    """Return the folders of this machine that a text may name, in each way of writing them, longest first."""
    known = [*folders, specs(), Path(tempfile.gettempdir()), Path.home(), Path.cwd()]
    written = {str(way) for place in known for way in (place, place.absolute(), place.resolve())}
    return tuple(
        sorted((place for place in written if place.startswith("/") and len(place) > 1), key=len, reverse=True)
    )
