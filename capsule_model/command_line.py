"""Run a group of commands as a program: every error is one line on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from capsule_model.trace.wording import clean

__all__ = ["input_error", "run_group"]


def run_group(group: click.Group, program: str, arguments: Sequence[str] | None = None) -> int:
    """Run a group's command line and return the exit code: that of the command, 2 for bad usage or bad input."""
    try:
        outcome = group.main(args=None if arguments is None else list(arguments), standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        click.echo(f"{program}: {' '.join(error.format_message().split())}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{program}: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of a pipe went away; a second failure while flushing at exit is of no interest.
        sys.stdout = None
        return 1
    except OSError as error:
        click.echo(f"{program}: {input_error(error)}", err=True)
        return 2


def input_error(error: OSError) -> str:
    """Return an operating-system error as one line."""
    name = f"{clean(str(error.filename), 300)}: " if error.filename else ""
    return f"{name}{error.strerror}" if error.strerror else clean(str(error), 500)
