"""The command line. Exit codes: 0 fine, 1 divergences or findings, 2 bad usage or bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal

import click

from capsule_model import __version__
from capsule_model.command_line import run_group
from capsule_model.conform.commands import conform as run_conform
from capsule_model.conform.commands import known_names
from capsule_model.explore.options import explore
from capsule_model.fuzz.options import fuzz
from capsule_model.inspection.options import inspect
from capsule_model.locate import specs
from capsule_model.mutants.options import mutants
from capsule_model.options import PATH, console, time_limit
from capsule_model.profiles import BEHAVIOURS, PROFILES, profile_named
from capsule_model.sanitize.options import sanitize
from capsule_model.suites import CAPSULE, SUITES, vectors_of

__all__ = ["main", "run"]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; every error is one line on standard error."""
    return run_group(main, "capsule-model", arguments)


def _percent(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return the value of an option as a number from 0 to 100."""
    if value is None:
        return None
    try:
        number = float(value.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100:
        raise click.BadParameter(f"{value!r} is no percentage; expected a number from 0 to 100", context, parameter)
    return number


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="capsule-model")
def main() -> None:
    """Show, check and prove what PyCapsule does."""


for command in (explore, fuzz, inspect, mutants, sanitize):
    main.add_command(command)


@main.command()
@click.option("--adapter", metavar="CMD", help="Run this adapter (default: the suite's, on this interpreter).")
@click.option("--profile", metavar="NAME", help="Hold it to this profile (default: what the adapter suggests).")
@click.option("--suite", type=click.Choice(SUITES), help="Run the vectors of this suite (default: capsule).")
@click.option("--vectors", metavar="PATH", type=PATH, help="A file or a folder of vectors (default: the suite's).")
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write the report to FILE as JSON.")
@click.option(
    "--expectations",
    metavar="FILE",
    type=PATH,
    multiple=True,
    help="Declared divergences beyond the shipped ones (may be repeated).",
)
@click.option("--no-expectations", is_flag=True, help="Declare nothing: show every divergence in full.")
@click.option("--draft", metavar="FILE", type=PATH, help="Write expectations for what nothing explains to FILE.")
@click.option("--in-process", is_flag=True, help="Run the ctypes adapter here instead of in a process of its own.")
@click.option("--no-copies", is_flag=True, help="Do not run each vector again with its names replaced.")
@click.option("--min-rules", metavar="PERCENT", callback=_percent, help="Fail if fewer rules are reached.")
@time_limit(10.0)
def conform(
    adapter: str | None,
    profile: str | None,
    suite: str | None,
    vectors: Path | None,
    json_file: Path | None,
    expectations: tuple[Path, ...],
    no_expectations: bool,
    draft: Path | None,
    in_process: bool,
    no_copies: bool,
    min_rules: float | None,
    time_limit: float,
) -> int:
    """Hold model, specification and a real implementation against each other."""
    if adapter is not None and in_process:
        raise click.UsageError("--adapter and --in-process exclude each other; expected one of them")
    if suite is not None and vectors is not None:
        raise click.UsageError("--suite and --vectors exclude each other; expected one of them")
    if expectations and no_expectations:
        raise click.UsageError("--expectations and --no-expectations exclude each other; expected one of them")
    declared = None if no_expectations else expectations
    try:
        return run_conform(
            adapter,
            profile,
            vectors,
            json_file,
            in_process,
            min_rules,
            time_limit,
            declared,
            draft,
            copies=not no_copies,
            suite=suite or CAPSULE,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@click.argument("what", metavar="ID|FILE")
@click.option("--profile", metavar="NAME", help="Run it under this profile (default: that of this interpreter).")
@click.option("--html", "html_file", metavar="OUT", type=PATH, help="Write one page to step through to OUT instead.")
def explain(what: str, profile: str | None, html_file: Path | None) -> int:
    """Tell a vector's run in words, step by step."""
    from capsule_model.conform.explain import explain as run_explain

    try:
        if html_file is not None:
            from capsule_model.show.stepper.command import explain_page

            return explain_page(what, profile, html_file, console())
        return run_explain(what, profile, console())
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@click.argument("results", metavar="RESULT.json…", nargs=-1, required=True, type=PATH)
@click.option("--html", "html_file", metavar="FILE", type=PATH, help="Write one self-contained page to FILE.")
@click.option("--markdown", "markdown_file", metavar="FILE", type=PATH, help="Write Markdown to FILE.")
def report(results: tuple[Path, ...], html_file: Path | None, markdown_file: Path | None) -> int:
    """Show results of conform --json side by side, a column each."""
    from capsule_model.show.command import report as run_report

    try:
        return run_report(results, html_file, markdown_file, console())
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@click.argument("names", metavar="NAME…|all", nargs=-1, required=True)
@click.option(
    "--interpreters",
    metavar="DIR",
    type=PATH,
    required=True,
    help="DIR/bin/NAME behaves like python; DIR/bin/NAME-cc MODULE SOURCE FOLDER [FLAG…], where it is there, compiles"
    " a C file into an extension module and prints its name.",
)
@click.option(
    "--output",
    metavar="DIR",
    type=PATH,
    default="results",
    show_default=True,
    help="Write the report of each to DIR/NAME.json.",
)
@click.option(
    "--adapter",
    type=click.Choice(["auto", "ctypes", "c"]),
    default="auto",
    show_default=True,
    help="auto: ctypes where it reaches the C API, the C adapter elsewhere.",
)
@click.option(
    "--vectors", metavar="PATH", type=PATH, help="A file or a folder of vectors (default: the suite capsule)."
)
@click.option("--jobs", metavar="N", type=click.IntRange(1, 1024), help="How many to run at once (default: the cores).")
@time_limit(60.0)
def matrix(
    names: tuple[str, ...],
    interpreters: Path,
    output: Path,
    adapter: Literal["auto", "ctypes", "c"],
    vectors: Path | None,
    jobs: int | None,
    time_limit: float,
) -> int:
    """Hold many interpreters to the specification at once, and write what was seen of each."""
    from capsule_model.conform.matrix import matrix as run_matrix

    try:
        return run_matrix(names, interpreters, output, adapter, vectors, jobs, time_limit)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@click.option("--fix", is_flag=True, help="Rewrite the generated lines of the chapters.")
def check(fix: bool) -> int:
    """Tie rules, code and vectors together; name what is missing."""
    from capsule_model.conform.check import check as run_check

    return run_check(specs(), fix=fix, console=console())


@main.group()
def profiles() -> None:
    """Show what versions and builds do differently."""


@profiles.command("list")
def list_profiles() -> None:
    """Name all profiles."""
    for name in PROFILES:
        click.echo(name)


@profiles.command()
@click.argument("name")
def show(name: str) -> None:
    """List the behaviours of a profile."""
    try:
        profile = profile_named(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for behaviour in BEHAVIOURS.values():
        if behaviour.name in profile.behaviours:
            click.echo(f"{behaviour.name}: {behaviour.sentence} [{behaviour.source}]")


@profiles.command()
@click.argument("left", metavar="A")
@click.argument("right", metavar="B")
@click.option("--vectors", "with_vectors", is_flag=True, help="List the vectors that show it, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, vectors included.")
def diff(left: str, right: str, with_vectors: bool, as_json: bool) -> int:
    """List what two profiles do differently."""
    from capsule_model.conform.profile_diff import profile_diff
    from capsule_model.trace.files import load

    try:
        pair = profile_named(left), profile_named(right)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    loaded = load(vectors_of(), known_names())
    found = profile_diff(*pair, loaded.vectors)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
    else:
        for line in found.lines(vectors=with_vectors):
            click.echo(line)
    for problem in loaded.problems:
        click.echo(str(problem), err=True)
    return 2 if loaded.problems else 0


@main.command()
@click.option("--json", "json_file", metavar="FILE", help="Write the figures to FILE as JSON.")
def bench(json_file: str | None) -> int:
    """Time every operation on the model and through ctypes."""
    result: int = import_module("capsule_model.conform.bench").main(json_file)
    return result


@main.command()
@click.argument("ids", metavar="[ID…]", nargs=-1)
@click.option("--python", metavar="PATH", help="Run what proves them on this interpreter (default: the running one).")
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write what was seen to FILE as JSON.")
@click.option("--record", is_flag=True, help="Add it to the measurements of the specification, and write its page.")
def claims(ids: tuple[str, ...], python: str | None, json_file: Path | None, record: bool) -> int:
    """Run what proves the claims of specs/claims.md, and say whether their verdicts are right."""
    from capsule_model.claims.command import claims as run_claims

    try:
        return run_claims(ids, python, json_file, recorded=record, console=console())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
