"""The options of ``capsule-model explore``."""

from __future__ import annotations

from pathlib import Path

import click

from capsule_model.options import PATH, console

__all__ = ["explore"]


@click.command()
@click.option("--depth", type=int, default=5, show_default=True, help="The longest sequence of operations.")
@click.option("--capsules", type=int, default=2, show_default=True, help="How many capsules may be alive at once.")
@click.option(
    "--names",
    multiple=True,
    metavar="NAME",
    default=("NULL", "", "mod.attr"),
    help="A name (repeated: one more); NULL is NULL. Default: NULL, the empty name, mod.attr.",
)
@click.option("--pointers", type=int, default=2, show_default=True, help="How many pointers there are.")
@click.option("--contexts", type=int, default=1, show_default=True, help="How many contexts, beside NULL and capsules.")
@click.option(
    "--destructors",
    multiple=True,
    metavar="SCRIPT",
    default=("record", "rename", "leave", "drop"),
    help="What a destructor may do, beside NULL (repeated: one more): record, rename, leave, drop. Default: all.",
)
@click.option("--profile", metavar="NAME", help="Explore this profile (default: cpython-3.13).")
@click.option(
    "--threads", type=click.IntRange(2, 3), multiple=True, help="Explore all interleavings of so many threads, too."
)
@click.option("--thread-depth", type=int, default=5, show_default=True, help="The longest sequence of all threads.")
@click.option(
    "--thread-profile", metavar="NAME", default="cpython-3.13-free-threaded", show_default=True, help="For --threads."
)
@click.option("--jobs", metavar="N", type=click.IntRange(1, 1024), help="How many processes (default: the cores).")
@click.option(
    "--limit",
    metavar="STATES",
    type=click.IntRange(1, 100_000_000),
    default=5_000_000,
    show_default=True,
    help="Stop where there are more states.",
)
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write the report to FILE as JSON.")
@click.option("--vectors", "vectors_file", metavar="FILE", type=PATH, help="Write the counterexamples to FILE.")
@click.option("--real", is_flag=True, help="Hold every transition against this interpreter, too, under its profile.")
def explore(
    depth: int,
    capsules: int,
    names: tuple[str, ...],
    pointers: int,
    contexts: int,
    destructors: tuple[str, ...],
    profile: str | None,
    threads: tuple[int, ...],
    thread_depth: int,
    thread_profile: str,
    jobs: int | None,
    limit: int,
    json_file: Path | None,
    vectors_file: Path | None,
    real: bool,
) -> int:
    """Try every sequence of operations up to a bound, with invariants in each state."""
    from capsule_model.explore.bound import Bound, threads_bound
    from capsule_model.explore.command import here
    from capsule_model.explore.command import run as run_explore

    named = tuple(None if name == "NULL" else name for name in names)
    try:
        under, session = here(profile) if real else (profile or "cpython-3.13", None)
        bounds = [Bound(under, depth, capsules, named, pointers, contexts, destructors)]
        bounds += [threads_bound(count, thread_depth, thread_profile) for count in threads]
        return run_explore(bounds, jobs, limit, json_file, vectors_file, open_session=session, console=console())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
