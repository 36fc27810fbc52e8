"""The command line. Exit codes: 0 the model is right, 1 it is not, 2 bad usage or bad input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from capsule_model import __version__

__all__ = ["main", "run"]

_PATH = click.Path(path_type=Path)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; every error is one line on standard error."""
    try:
        outcome = main.main(args=None if arguments is None else list(arguments), standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        click.echo(f"dlpack-model: {' '.join(error.format_message().split())}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("dlpack-model: interrupted", err=True)
        return 130
    except OSError as error:
        click.echo(f"dlpack-model: {error.filename or 'input'}: {error.strerror}", err=True)
        return 2


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
