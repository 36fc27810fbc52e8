"""Run interpreters of a matrix, each in a process of its own that writes the result and tells how far it is."""

from __future__ import annotations

import os
import re
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, Literal, cast

from capsule_model.command_line import input_error
from capsule_model.conform.adapter import AdapterProcess
from capsule_model.conform.commands import known_names
from capsule_model.conform.expectations import DIVERGING
from capsule_model.conform.held import hold, report_of
from capsule_model.conform.interpreters import CannotRun, Interpreter, Kind, adapter_command
from capsule_model.conform.matrix_show import Figures, Row
from capsule_model.conform.observation import lasting
from capsule_model.conform.report import Report, as_json, write_json
from capsule_model.conform.session import Session
from capsule_model.trace.files import load
from capsule_model.trace.wording import clean

__all__ = ["Task", "nowhere", "run_all"]

_STEP = 10
_STDERR = re.compile(r"; its standard error ends: .*")

# What a process tells: its state, how many vectors it has run, that it is broken and why, its figures.
_Message = tuple[Literal["state", "done", "broken"], Any] | Figures


@dataclass(frozen=True, slots=True)
class Task:
    """One interpreter to be run: which adapter, which vectors, where the result goes, a folder of its own to work in.

    `places` are folders that no result may name.
    """

    interpreter: Interpreter
    kind: Kind
    vectors: Path
    result: Path
    scratch: Path
    time_limit: float
    places: tuple[str, ...]


def run_all(tasks: Sequence[Task], rows: Mapping[str, Row], jobs: int, ended: Callable[[Row], None]) -> None:
    """Run the tasks in order, `jobs` at a time; keep the rows up to date, and call `ended` with each that has ended."""
    waiting = deque(tasks)
    running: dict[Connection, tuple[Row, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                row = rows[task.interpreter.name]
                row.state = "starting"
                row.begin()
                pipe, process = _started(task)
                running[pipe] = row, process
            for ready in wait(list(running)):
                pipe = cast(Connection, ready)
                row, process = running[pipe]
                try:
                    _take(row, pipe.recv())
                except EOFError:
                    del running[pipe]
                    pipe.close()
                    process.join()
                    if row.verdict is None:
                        row.broken = f"the process that held it to the vectors ended with exit code {process.exitcode}"
                    row.end()
                    ended(row)
    finally:
        for _, process in running.values():
            process.terminate()
        for pipe, (_, process) in running.items():
            process.join()
            pipe.close()


def nowhere(value: Any, places: Sequence[str]) -> Any:
    """Return a document without the names of files in `places`, so that it is the same wherever it was made."""
    match value:
        case str():
            for place in places:
                value = re.sub(rf"(?<![\w.-]){re.escape(place)}(?:/[^\s'\":;,)]*|(?![\w-]|\.\w))", "…", value)
            return value
        case dict():
            return {key: nowhere(inner, places) for key, inner in value.items()}
        case list():
            return [nowhere(inner, places) for inner in value]
    return value


def _started(task: Task) -> tuple[Connection, SpawnProcess]:
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(task, writer), daemon=True)
    process.start()
    writer.close()
    return reader, process


def _take(row: Row, message: _Message) -> None:
    match message:
        case Figures():
            row.figures = message
        case ("state", state):
            row.state = state
        case ("done", done):
            row.done = done
        case ("broken", why):
            row.broken = why


def _work(task: Task, pipe: Connection) -> None:
    """Do one task, in a process of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    # An adapter that crashes is started again, and should not compile the standard library each time.
    os.environ["PYTHONPYCACHEPREFIX"] = str(task.scratch / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Whoever asked is gone, or has had enough: the adapter has been ended on the way here.
    with suppress(KeyboardInterrupt, BrokenPipeError):
        try:
            pipe.send(_figures(task, pipe))
        except (CannotRun, ValueError) as error:
            pipe.send(("broken", clean(str(error), 600)))
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            pipe.send(("broken", input_error(error)))


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Leave, once: a second signal must not keep the adapter from being ended."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: None)
    raise KeyboardInterrupt


def _figures(task: Task, pipe: Connection) -> Figures:
    pipe.send(("state", "compiling"))
    command = adapter_command(task.interpreter, task.kind, task.scratch / "made")
    pipe.send(("state", "starting"))
    loaded = load(task.vectors, known_names())
    session = Session(AdapterProcess(command, task.time_limit))
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done % _STEP == 0:
            pipe.send(("done", done))

    try:
        held = hold(session, ids=loaded.files)
        pipe.send(("state", "running"))
        report = report_of(session, held, loaded, advance)
    finally:
        session.stop()
    for result in report.results:
        # What a process said last, on standard error, names files of this machine.
        result.detail = None if result.detail is None else _STDERR.sub("", result.detail)
    write_json(nowhere(_as_next_time(as_json(report)), task.places), task.result)
    return _counted(report)


def _as_next_time(document: dict[str, Any]) -> dict[str, Any]:
    """Return a report without the addresses and hash values that another run would give."""
    for entry in document["vectors"]:
        for difference in entry.get("differences", ()):
            if "seen" in difference:
                difference["seen"] = lasting(difference["seen"])
        if "detail" in entry:
            entry["detail"] = lasting(entry["detail"])
    return document


def _counted(report: Report) -> Figures:
    counts = report.counts
    declared = sum(r.outcome in DIVERGING and r.id in report.verdict.expected for r in report.results)
    version = (report.about.version.split() or [""])[0]
    bad = [f"{len(report.problems)} bad vectors"] if report.problems else []
    return Figures(
        clean(f"{report.about.implementation} {version}", 60),
        report.profile.name,
        report.percent,
        counts["passed"],
        declared,
        len(report.unexpected),
        counts["unsupported"],
        (*report.shortcomings(None), *bad),
    )
