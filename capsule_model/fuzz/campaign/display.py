"""Show a campaign while it runs, and what came out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from capsule_model.fuzz.campaign.corpus import State
from capsule_model.fuzz.campaign.rounds import SHARDS, Progress
from capsule_model.trace.wording import clean

__all__ = ["live", "print_outcome"]


@contextmanager
def live(console: Console, before: int, wanted: int | None) -> Iterator[Callable[[Progress], None]]:
    """Show on a terminal, while the block runs, steps a second, states and rules reached, and findings.

    ``before`` is how many steps were done earlier, ``wanted`` how many are in all.
    """
    if not console.is_terminal:
        yield lambda progress: None
        return
    begun = time.monotonic()
    now = [Progress(0, 0, before, 0, 0, 0)]

    def shown() -> Table:
        progress = now[0]
        passed = max(time.monotonic() - begun, 1e-9)
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for column in ("steps", "steps/s", "states", "rules", "findings", "round", "time"):
            table.add_column(column, justify="right")
        table.add_row(
            f"{progress.steps:,}" + (f" of {wanted:,}" if wanted is not None else ""),
            f"{(progress.steps - before) / passed:,.0f}",
            f"{progress.states:,}",
            f"{progress.rules}",
            f"[red]{progress.findings}[/red]" if progress.findings else "0",
            f"{progress.round} ({progress.shards}/{SHARDS})",
            f"{passed:,.0f} s",
        )
        return table

    with Live(get_renderable=shown, console=console, refresh_per_second=4, transient=True):
        yield lambda progress: now.__setitem__(0, progress)


def print_outcome(console: Console, state: State, told: Mapping[str, str | None], ended: str) -> None:
    """Print one line on the whole, then what was found, each in about ten lines.

    ``ended`` is why the campaign is not at its end, empty where it is.
    """

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    about, count = state.about, len(state.findings)
    states = len(state.learnt.states) + len(state.learnt.batch)
    pace = f" ({state.steps / state.seconds:,.0f} a second)" if state.seconds > 0 else ""
    outcome = "no divergence" if not count else "1 divergence" if count == 1 else f"{count} divergences"
    say(
        f"{clean(about['implementation'])} {clean(about['version'])} as {about['profile']}, seed {state.seed}: "
        f"{state.steps:,} steps in {state.seconds:.1f} s{pace}, {states:,} states, {len(state.learnt.rules)} rules, "
        f"{outcome}{ended and '; ' + ended}"
    )
    for reason in state.about.get("declared", {}).get("explained", ()):
        say(f"  accounted for, {state.explained[reason]:,} times: {clean(reason, 300)}")
    for kind, ends in sorted(state.undefined.items()):
        say(f"  undefined, {kind}: " + ", ".join(f"{end} {count}" for end, count in sorted(ends.items())))
    for name, found in sorted(state.findings.items()):
        say("")
        say(told[name] or f"{found['title']} (found by {found['seed']}, not made small yet: run the command again)")
