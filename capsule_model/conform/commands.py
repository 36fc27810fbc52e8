"""The command `conform`: choose the vectors, the adapter and the profile, run, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from capsule_model.conform.adapter import Adapter, AdapterProcess, command_of
from capsule_model.conform.answers import Misbehaviour, Started
from capsule_model.conform.local import InProcess
from capsule_model.conform.report import Report, as_json, print_report, write_json
from capsule_model.conform.runner import choose_profile, run_vectors
from capsule_model.conform.session import Session
from capsule_model.conform.specification import read_rules
from capsule_model.locate import specs
from capsule_model.profiles import BEHAVIOURS, profile_named
from capsule_model.trace.files import Problem, load
from capsule_model.trace.meaning import Known
from capsule_model.trace.wording import clean
from capsule_model.undefined import Kind

__all__ = ["conform", "input_error", "known_names", "progress"]

_START_ATTEMPTS = 3


def conform(
    adapter: str | None,
    profile: str | None,
    vectors: Path | None,
    json_file: Path | None,
    in_process: bool,
    min_rules: float | None,
    time_limit: float,
) -> int:
    """Run the command and return its exit code; raises `ValueError` with one line for bad usage."""
    if profile is not None:
        profile_named(profile)
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise ValueError(f"--json {clean(str(json_file))}: no such folder; expected a file in one that exists")
    rules = read_rules(specs() / "capsule")
    loaded = load(specs() / "vectors" if vectors is None else vectors, known_names())
    if not loaded.vectors:
        for problem in loaded.problems:
            print(f"capsule-model: {problem}", file=sys.stderr)
        return 2
    session = Session(_adapter(adapter, in_process, time_limit))
    try:
        about = _start(session)
        chosen, note = choose_profile(about, profile)
        with progress(len(loaded.vectors), "vectors") as advance:
            results, bad = run_vectors(loaded.vectors, session, about, chosen, advance)
    finally:
        session.stop()
    problems = [str(problem) for problem in loaded.problems]
    problems += [str(Problem(loaded.files[name], error.message, name, error.path)) for name, error in bad]
    binding = [rule.id for rule in rules if rule.level != "UNDEFINED" and rule.applies(chosen)]
    report = Report(about, chosen, note, results, binding, problems)
    print_report(report, Console(highlight=False), min_rules)
    if json_file is not None:
        try:
            write_json(as_json(report), json_file)
        except OSError as error:
            raise ValueError(f"--json {clean(str(json_file))}: {input_error(error)}") from None
    if problems:
        return 2
    return 1 if report.shortcomings(min_rules) else 0


def known_names() -> Known:
    """Return the names that vectors may use: rules of the specification, behaviours, kinds of undefined behaviour."""
    rules = frozenset(rule.id for rule in read_rules(specs() / "capsule"))
    return Known(rules or None, BEHAVIOURS.keys(), frozenset(kind.value for kind in Kind))


def input_error(error: OSError) -> str:
    """Return an operating-system error as one line."""
    name = f"{clean(str(error.filename), 300)}: " if error.filename else ""
    return f"{name}{error.strerror}" if error.strerror else clean(str(error), 500)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[], None]]:
    """Show on standard error how far `total` steps have come, from the second second on, where that is a terminal."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(what, total=total)
    begun = time.monotonic()
    shown = False

    def advance() -> None:
        nonlocal shown
        bar.advance(task)
        if not shown and time.monotonic() - begun > 1:
            shown = True
            bar.start()

    try:
        yield advance
    finally:
        if shown:
            bar.stop()


def _adapter(command: str | None, in_process: bool, time_limit: float) -> Adapter:
    file = specs() / "adapters" / "ctypes_adapter.py"
    if in_process:
        return InProcess(file)
    words = [sys.executable, str(file)] if command is None else command_of(command)
    return AdapterProcess(words, time_limit)


def _start(session: Session) -> Started:
    """Start the adapter; a few attempts, for what it does once it may not do twice."""
    for attempt in range(_START_ATTEMPTS):
        try:
            return session.start()
        except Misbehaviour as failure:
            if attempt == _START_ATTEMPTS - 1 or failure.outcome == "timed-out":
                raise ValueError(f"the adapter {failure}") from None
    raise AssertionError("unreachable")
