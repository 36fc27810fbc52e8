"""The command `sanitize`: hold the model's undefined behaviour against a checker, and say where they differ."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from capsule_model.command_line import input_error
from capsule_model.conform.commands import known_names, progress
from capsule_model.conform.interpreters import CannotRun
from capsule_model.conform.runner import choose_profile
from capsule_model.profiles import Profile
from capsule_model.sanitize.page import page
from capsule_model.sanitize.reports import Tool
from capsule_model.sanitize.result import merged, read_document, result_of, shortcomings, write_document
from capsule_model.sanitize.run import Checked
from capsule_model.sanitize.tools import prepare
from capsule_model.sanitize.verdict import Claim, claim_of
from capsule_model.suites import undefined_vectors
from capsule_model.trace.files import load
from capsule_model.trace.operations import BadVector
from capsule_model.trace.wording import clean
from capsule_model.whole import write_whole

__all__ = ["run_once", "sanitize"]

_MOST_SHOWN = 20
_PLAIN_WIDTH = 200


def sanitize(
    interpreter: Path,
    tool: Tool,
    jobs: int | None = None,
    json_file: Path | None = None,
    markdown_file: Path | None = None,
    vectors: Path | None = None,
    time_limit: int = 60,
) -> int:
    """Run vectors on an interpreter under a checker, show and write the result, and return the exit code.

    Raises `ValueError` with one line for bad usage.
    """
    earlier = None
    for option, file in (("--json", json_file), ("--markdown", markdown_file)):
        if file is not None and not file.absolute().parent.is_dir():
            raise ValueError(f"{option} {clean(str(file))}: no such folder; expected a file in one that exists")
        if file is not None and file.is_dir():
            raise ValueError(f"{option} {clean(str(file))}: is a folder; expected a file")
    if json_file is not None and json_file.exists():
        try:
            earlier = read_document(json_file)
        except ValueError as error:
            raise ValueError(f"--json {clean(str(json_file))}: {error}") from None
    loaded = load(undefined_vectors() if vectors is None else vectors, known_names())
    if loaded.problems or not loaded.vectors:
        for problem in loaded.problems:
            print(f"capsule-model: {problem}", file=sys.stderr)
        return 2
    try:
        result = run_once(interpreter, tool, loaded.vectors, jobs or os.cpu_count() or 1, time_limit)
    except CannotRun as error:
        raise ValueError(f"--interpreter {clean(str(interpreter), 300)}: {error}") from None
    document = merged(earlier, result)
    wrong = shortcomings(result)
    console = Console(highlight=False)
    _show(result, wrong, console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH))
    try:
        if json_file is not None:
            write_document(document, json_file)
        if markdown_file is not None:
            write_whole(page(document), markdown_file)
    except OSError as error:
        raise ValueError(input_error(error)) from None
    return 1 if wrong else 0


def run_once(
    interpreter: Path, tool: Tool, vectors: Sequence[Mapping[str, Any]], jobs: int, time_limit: int = 60
) -> dict[str, Any]:
    """Run vectors on an interpreter under a checker and return the result; raise `CannotRun`.

    Raises `ValueError` for a profile that is not known, or a vector of which the model does not know what it does.
    """
    with tempfile.TemporaryDirectory(prefix="capsule-sanitize-", ignore_cleanup_errors=True) as scratch:
        setup = prepare(interpreter, tool, Path(scratch))
        with Checked(setup, jobs) as checked:
            about = checked.ask_about()
            profile, _ = choose_profile(about, None)
            claims = _claims(vectors, profile)
            applying = [vector for vector in vectors if vector["id"] in claims]
            with progress(len(applying), "vectors") as advance:
                seen = checked.perform_all(applying, time_limit, advance)
        return result_of(setup, about, profile, vectors, claims, seen)


def _claims(vectors: Sequence[Mapping[str, Any]], profile: Profile) -> dict[str, Claim]:
    claims = {}
    for vector in vectors:
        required = vector.get("requires", ())
        if all((name.removeprefix("!") in profile.behaviours) != name.startswith("!") for name in required):
            try:
                claims[str(vector["id"])] = claim_of(vector, profile)
            except BadVector as error:
                raise ValueError(f"vector {clean(str(vector['id']))}: {error}") from None
    return claims


def _show(result: Mapping[str, Any], wrong: Sequence[str], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("kind", no_wrap=True)
    columns = ("undefined", "seen", "later", "missed", "unexplained", "defined", "silent", "false_alarms", "not_run")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right", no_wrap=True)
    for name, totals in [*result["kinds"].items(), ("all", result["totals"])]:
        table.add_row(name, *(str(totals[column] or "·") for column in columns))
    console.print(table)
    for line in wrong[:_MOST_SHOWN]:
        console.print(Text(line), soft_wrap=True)
    if len(wrong) > _MOST_SHOWN:
        console.print(Text(f"and {len(wrong) - _MOST_SHOWN} more"))
