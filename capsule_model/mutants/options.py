"""The options of ``capsule-model mutants``."""

from __future__ import annotations

from pathlib import Path

import click

from capsule_model.options import PATH, console

__all__ = ["mutants"]


@click.command()
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write the scores to FILE as JSON.")
@click.option("--markdown", metavar="FILE", type=PATH, help="Write the scores to FILE as a page.")
@click.option("--only", metavar="ID", multiple=True, help="Score this mutant alone; can be repeated.")
@click.option(
    "--seeds",
    metavar="K",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Campaigns from this many seeds.",
)
@click.option(
    "--steps",
    metavar="N",
    type=click.IntRange(1, 100_000_000),
    default=200_000,
    show_default=True,
    help="How many steps a campaign may take to notice a mutant.",
)
@click.option("--jobs", metavar="K", type=click.IntRange(1, 1024), default=1, show_default=True, help="At once.")
def mutants(
    json_file: Path | None, markdown: Path | None, only: tuple[str, ...], seeds: int, steps: int, jobs: int
) -> int:
    """Score faulty implementations: how soon vectors, Hypothesis and campaigns notice each."""
    from capsule_model.mutants.command import mutants as run_mutants
    from capsule_model.mutants.scores import Bounds

    try:
        return run_mutants(only, Bounds(seeds, steps), jobs, json_file, markdown, console())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
