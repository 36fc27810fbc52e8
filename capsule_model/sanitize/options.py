"""The options of ``capsule-model sanitize``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from capsule_model.options import PATH

__all__ = ["sanitize"]


@click.command()
@click.option("--tool", type=click.Choice(["asan", "valgrind"]), required=True, help="The checker.")
@click.option(
    "--interpreter",
    metavar="PATH",
    type=PATH,
    default=sys.executable,
    help="The Python to run, one built with AddressSanitizer for asan; PATH-cc, where it is there, compiles for it"
    " (default: this interpreter).",
)
@click.option("--jobs", metavar="K", type=click.IntRange(1, 1024), help="How many to run at once (default: the cores).")
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write the result to FILE, beside other tools'.")
@click.option("--markdown", "markdown_file", metavar="FILE", type=PATH, help="Write the page of all results to FILE.")
@click.option("--vectors", metavar="PATH", type=PATH, help="A file or a folder of vectors (default: the pairs).")
@click.option(
    "--time-limit",
    metavar="SECONDS",
    type=click.IntRange(1, 86400),
    default=60,
    show_default=True,
    help="How long one vector may take.",
)
def sanitize(
    tool: Literal["asan", "valgrind"],
    interpreter: Path,
    jobs: int | None,
    json_file: Path | None,
    markdown_file: Path | None,
    vectors: Path | None,
    time_limit: int,
) -> int:
    """Hold what the model calls undefined against AddressSanitizer or Valgrind."""
    from capsule_model.sanitize.command import sanitize as run_sanitize

    try:
        return run_sanitize(interpreter, tool, jobs, json_file, markdown_file, vectors, time_limit)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
