"""The options of ``capsule-model inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from capsule_model.options import PATH, length

__all__ = ["inspect"]


@click.command()
@click.argument("names", metavar="NAME…", nargs=-1)
@click.option(
    "--all", "everything", is_flag=True, help="All capsules of the standard library and of what is installed."
)
@click.option("--only", metavar="DISTRIBUTION", multiple=True, help="Of --all, these alone; stdlib is one (repeated).")
@click.option(
    "--python", "pythons", metavar="PATH", multiple=True, help="Inspect this Python (repeated; default: this)."
)
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write what was seen to FILE as JSON.")
@click.option("--markdown", "markdown_file", metavar="FILE", type=PATH, help="Write a page to FILE.")
@click.option("--jobs", metavar="N", type=click.IntRange(1, 1024), default=2, show_default=True, help="At once.")
@click.option("--time", "whole", metavar="T", callback=length, default="20m", show_default=True, help="End after T.")
@click.option(
    "--time-limit",
    metavar="SECONDS",
    type=click.FloatRange(0.01, 86400),
    default=20.0,
    show_default=True,
    help="How long one import may take.",
)
@click.option("--verbose", is_flag=True, help="Name the modules that could not be imported, and why.")
def inspect(
    names: tuple[str, ...],
    everything: bool,
    only: tuple[str, ...],
    pythons: tuple[str, ...],
    json_file: Path | None,
    markdown_file: Path | None,
    jobs: int,
    whole: float,
    time_limit: float,
    verbose: bool,
) -> int:
    """Look at real capsules: what they hold, and whether PyCapsule_Import accepts them."""
    from capsule_model.inspection.command import inspect as run_inspect
    from capsule_model.inspection.scan import Limits

    try:
        return run_inspect(
            names,
            pythons,
            Limits(time_limit, whole, jobs),
            everything=everything,
            only=only,
            json_file=json_file,
            markdown_file=markdown_file,
            verbose=verbose,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
