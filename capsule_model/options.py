"""What the options of several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

__all__ = ["PATH", "console", "length", "time_limit"]

PATH = click.Path(path_type=Path)
_Command = TypeVar("_Command", bound=Callable[..., Any])


def console() -> Console:
    """Return the console that commands write to."""
    return Console(highlight=False)


def length(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return the value of an option as seconds."""
    from capsule_model.fuzz.command import seconds_of

    try:
        return None if value is None else seconds_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def time_limit(default: float) -> Callable[[_Command], _Command]:
    """Return the option --time-limit."""
    return click.option(
        "--time-limit",
        metavar="SECONDS",
        type=click.FloatRange(0.01, 86400),
        default=default,
        show_default=True,
        help="How long one vector may take.",
    )
