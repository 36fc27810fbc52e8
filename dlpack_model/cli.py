"""The command line. Exit codes: 0 all is well, 1 differences or findings, 2 bad usage or bad input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from capsule_model import __version__
from capsule_model.command_line import run_group

__all__ = ["main", "run"]

_PATH = click.Path(path_type=Path)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; every error is one line on standard error."""
    return run_group(main, "dlpack-model", arguments)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dlpack-model")
def main() -> None:
    """Show and prove what a DLPack exchange does."""


@main.command()
@click.argument("libraries", metavar="LIBRARY…", nargs=-1, required=True)
@click.option("--json", "json_file", metavar="FILE", type=_PATH, help="Write the report to FILE as JSON.")
@click.option(
    "--python", metavar="PATH", default=sys.executable, help="A Python that has the libraries (default: this)."
)
def hold(libraries: tuple[str, ...], json_file: Path | None, python: str) -> int:
    """Hold the model against installed libraries: numpy, torch, jax."""
    from dlpack_model.real.report import hold_command

    try:
        return hold_command(libraries, json_file, python, Console(highlight=False, soft_wrap=True))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@click.argument("what", metavar="ID|FILE")
@click.option("--profile", metavar="NAME", help="Run it under this profile (default: that of this interpreter).")
@click.option("--html", "html_file", metavar="OUT", type=_PATH, help="Write one page to step through to OUT instead.")
def explain(what: str, profile: str | None, html_file: Path | None) -> int:
    """Tell a vector's run in words, step by step."""
    from capsule_model.conform.explain import explain as run_explain

    console = Console(highlight=False)
    try:
        if html_file is not None:
            from capsule_model.show.stepper.command import explain_page

            return explain_page(what, profile, html_file, console)
        return run_explain(what, profile, console)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


_OUTPUTS = (
    click.option("--json", "json_file", metavar="FILE", type=_PATH, help="Write the report to FILE as JSON."),
    click.option("--html", metavar="FILE", type=_PATH, help="Write the report to FILE as HTML."),
    click.option("--markdown", metavar="FILE", type=_PATH, help="Write the report to FILE as Markdown."),
    click.option("--findings", metavar="FOLDER", type=_PATH, help="Write the script of every finding to FOLDER."),
    click.option(
        "--expectations", metavar="FILE", type=_PATH, multiple=True, help="Findings that are known, each with a reason."
    ),
    click.option("--draft", metavar="FILE", type=_PATH, help="Write expectations of what is not known to FILE."),
    click.option(
        "--fail-on",
        metavar="SEVERITY",
        default="style",
        help="From which severity on to end with 1: style (default), contract, leak, wrong values, double free, crash.",
    ),
)


def _with_outputs(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OUTPUTS):
        command = option(command)
    return command


def _outputs(given: dict[str, Any]) -> Any:
    from dlpack_model.audit.command import Outputs
    from dlpack_model.audit.outcome import SEVERITIES

    if given["fail_on"] not in SEVERITIES:
        raise ValueError(f"--fail-on {given['fail_on'][:40]!r}: expected one of {', '.join(SEVERITIES)}")
    return Outputs(json=given.pop("json_file"), **given)


@main.command()
@click.argument("libraries", metavar="LIBRARY…", nargs=-1)
@click.option("--library", "places", metavar="MODULE:ATTRIBUTE", multiple=True, help="A library of your own.")
@click.option(
    "--python", metavar="PATH", default=sys.executable, help="A Python that has the libraries (default: this)."
)
@click.option("--probe", "probes", metavar="ID", multiple=True, help="This probe alone; can be repeated.")
@click.option("--limit", metavar="SECONDS", default=20.0, type=click.FloatRange(1, 600), help="For each probe.")
@click.option("--pairs/--no-pairs", default=True, help="Have the libraries import from each other (default).")
@_with_outputs
def audit(
    libraries: tuple[str, ...],
    places: tuple[str, ...],
    python: str,
    probes: tuple[str, ...],
    limit: float,
    pairs: bool,
    **outputs: Any,
) -> int:
    """Put every rule that a library can break to installed libraries, and show what they break."""
    from dlpack_model.audit.command import audit_command, libraries_named

    console = Console(highlight=False, soft_wrap=True)
    try:
        found = libraries_named(libraries, places, python)
        return audit_command(found, python, _outputs(outputs), console, limit=limit, probes=probes, pairs=pairs)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@click.argument("files", metavar="RESULT.json…", nargs=-1, required=True, type=_PATH)
@_with_outputs
def report(files: tuple[Path, ...], **outputs: Any) -> int:
    """Put the results of several audits side by side."""
    from dlpack_model.audit.command import report_command

    try:
        return report_command(files, _outputs(outputs), Console(highlight=False, soft_wrap=True))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _passed_on(name: str, module: str, help: str) -> None:
    """Add a command whose options are those of a module that can be run by itself."""

    @main.command(name, help=help, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> int:
        outcome: int = import_module(module).main(arguments)
        return outcome


_passed_on("cross", "dlpack_model.cross", "Cross producers, destructors, deleters and consumers, and say what is safe.")
_passed_on("interleave", "dlpack_model.interleave", "Run two consumers of one capsule in all interleavings.")
_passed_on("fuzz", "dlpack_model.fuzz.command", "Run the state machine of the exchange, or find the known bugs by it.")
_passed_on("recursion", "dlpack_model.real.recursion", "Show what the specification's example destructor does here.")
_passed_on("bench", "dlpack_model.bench", "Measure an exchange in the model against NumPy's.")
