"""The options of ``capsule-model fuzz``."""

from __future__ import annotations

from pathlib import Path

import click

from capsule_model.options import PATH, console, length, time_limit

__all__ = ["fuzz"]


@click.command()
@click.option("--adapter", metavar="CMD", help="Hold this adapter to the model (default: this interpreter).")
@click.option("--profile", metavar="NAME", help="The adapter's profile (default: what it suggests).")
@click.option("--steps", metavar="N", type=click.IntRange(1), help="End after N steps in all (default: 1000000).")
@click.option("--seed", metavar="S", type=int, default=1, show_default=True, help="Which programs to make.")
@click.option("--jobs", metavar="K", type=click.IntRange(1, 1024), help="How many processes (default: the cores).")
@click.option("--time", "seconds", metavar="T", callback=length, help="End after 90s, 10m, 2h.")
@click.option("--corpus", metavar="DIR", type=PATH, help="Keep everything in DIR, and go on from there.")
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write the results to FILE as JSON.")
@click.option(
    "--expectations",
    metavar="FILE",
    type=PATH,
    multiple=True,
    help="What is declared of the implementation beyond the shipped file (may be repeated).",
)
@click.option("--no-expectations", is_flag=True, help="Declare nothing: leave nothing out, and show every divergence.")
@click.option("--undefined", is_flag=True, help="Also perform undefined behaviour, in processes that are thrown away.")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster with this scheduler.")
@time_limit(10.0)
def fuzz(
    adapter: str | None,
    profile: str | None,
    steps: int | None,
    seed: int,
    jobs: int | None,
    seconds: float | None,
    corpus: Path | None,
    json_file: Path | None,
    expectations: tuple[Path, ...],
    no_expectations: bool,
    undefined: bool,
    dask: str | None,
    time_limit: float,
) -> int:
    """Look for differences with programs made by chance, model and implementation in lockstep."""
    from capsule_model.fuzz.campaign.engine import Open
    from capsule_model.fuzz.command import fuzz as run_fuzz

    if profile is not None and adapter is None:
        raise click.UsageError("--profile is for --adapter; this interpreter has a profile of its own")
    if dask is not None and jobs is not None:
        raise click.UsageError("--dask and --jobs exclude each other; the cluster has its own workers")
    if expectations and no_expectations:
        raise click.UsageError("--expectations and --no-expectations exclude each other; expected one of them")
    if expectations and adapter is None:
        raise click.UsageError("--expectations is for --adapter; nothing is declared of this interpreter")
    try:
        return run_fuzz(
            Open(adapter, profile, time_limit, undefined, None if no_expectations else expectations),
            steps=steps,
            seed=seed,
            jobs=jobs,
            seconds=seconds,
            folder=corpus,
            json_file=json_file,
            dask=dask,
            console=console(),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
