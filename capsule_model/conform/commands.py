"""The command `conform`: choose the vectors, the adapter and the profile, run, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from capsule_model.command_line import input_error
from capsule_model.conform.adapter import Adapter
from capsule_model.conform.draft import draft as draft_of
from capsule_model.conform.held import adapter_process, hold, report_of
from capsule_model.conform.local import InProcess
from capsule_model.conform.report import as_json, print_report, write_json
from capsule_model.conform.session import Session
from capsule_model.conform.specification import read_rules
from capsule_model.locate import specs
from capsule_model.profiles import BEHAVIOURS, profile_named
from capsule_model.suites import CAPSULE, chapters_of, suites_there, vectors_of
from capsule_model.trace.extensions import MODULES, Kinds, extension
from capsule_model.trace.files import load
from capsule_model.trace.meaning import Known
from capsule_model.trace.wording import clean
from capsule_model.whole import write_whole

__all__ = ["conform", "known_names", "progress"]


def conform(
    adapter: str | None,
    profile: str | None,
    vectors: Path | None,
    json_file: Path | None,
    in_process: bool,
    min_rules: float | None,
    time_limit: float,
    expectations: Sequence[Path] | None = (),
    draft: Path | None = None,
    *,
    copies: bool = True,
    suite: str = CAPSULE,
) -> int:
    """Run the command and return its exit code; raises `ValueError` with one line for bad usage.

    Without `vectors`, those of the `suite` are run. `expectations` are files that come on top of the shipped ones;
    None is for no expectations at all. Without `copies`, no vector runs a second time under other names.
    """
    if profile is not None:
        profile_named(profile)
    _refuse_absent(suite)
    for option, file in (("--json", json_file), ("--draft", draft)):
        if file is not None and not file.absolute().parent.is_dir():
            raise ValueError(f"{option} {clean(str(file))}: no such folder; expected a file in one that exists")
        if file is not None and file.is_dir():
            raise ValueError(f"{option} {clean(str(file))}: is a folder; expected a file")
    if draft is not None and draft.exists():
        raise ValueError(f"--draft {clean(str(draft))}: is there already, and may have reasons; expected a new file")
    loaded = load(vectors_of(suite) if vectors is None else vectors, known_names())
    if not loaded.vectors:
        for problem in loaded.problems:
            print(f"capsule-model: {problem}", file=sys.stderr)
        if not loaded.problems:
            raise ValueError(f"--vectors {clean(str(vectors))}: no vectors; expected at least one")
        return 2
    session = Session(_adapter(adapter, in_process, time_limit, suite))
    try:
        held = hold(session, profile, expectations, loaded.files)
        with progress(len(loaded.vectors), "vectors") as advance:
            report = report_of(session, held, loaded, advance, copies=copies)
    finally:
        session.stop()
    print_report(report, Console(highlight=False), min_rules)
    if json_file is not None:
        with _named("--json", json_file):
            write_json(as_json(report), json_file)
    if draft is not None:
        with _named("--draft", draft):
            write_whole(draft_of(held.about, report.results, report.verdict.expected), draft)
    if report.problems:
        return 2
    return 1 if report.shortcomings(min_rules) else 0


def known_names() -> Known:
    """Return the names that vectors may use: rules of all suites, behaviours, kinds of undefined behaviour."""
    rules = frozenset(rule.id for suite in suites_there() for rule in read_rules(chapters_of(suite)))
    return Known(rules or None, BEHAVIOURS.keys(), Kinds())


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


@contextmanager
def _named(option: str, file: Path) -> Iterator[None]:
    """Turn a failure to write `file` into a `ValueError` that names the option."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{option} {clean(str(file))}: {input_error(error)}") from None


def _refuse_absent(suite: str) -> None:
    """Raise `ValueError` for a suite that cannot be run: of which vectors or model are not there."""
    if suite == CAPSULE:
        return
    if not vectors_of(suite).is_dir():
        raise ValueError(f"--suite {suite}: no folder {clean(str(vectors_of(suite)), 300)}; expected its vectors there")
    if extension(suite) is None:
        package = MODULES[suite].partition(".")[0]
        raise ValueError(f"--suite {suite}: its model is not installed; expected the package {package}")


def _adapter(command: str | None, in_process: bool, time_limit: float, suite: str) -> Adapter:
    if in_process:
        return InProcess(specs() / "adapters" / "ctypes_adapter.py")
    return adapter_process(command, time_limit, suite)
