"""The command `fuzz`: open the implementation, run the campaign, show and write what came out."""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from capsule_model.conform.report import write_json
from capsule_model.fuzz.batch.states import words
from capsule_model.fuzz.campaign.corpus import Corpus, State
from capsule_model.fuzz.campaign.display import live, print_outcome
from capsule_model.fuzz.campaign.engine import Open
from capsule_model.fuzz.campaign.rounds import Budget, Sizes, campaign, settle_all, so_far
from capsule_model.fuzz.campaign.workers import Inline, Local, OnDask, Workers
from capsule_model.trace.wording import clean

__all__ = ["fuzz", "seconds_of"]

FORMAT = 1
STEPS = 1_000_000
# Of a shard, in the first round and at the most: a compact step costs microseconds, any other a hundred.
SIZES = {"compact": Sizes(20_000, 320_000), "vectors": Sizes(400, 12_800)}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> float:
    """Return a length of time in seconds: a number with s, m, h, d or nothing behind it; raise `ValueError`."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([smhd]?)", text.strip())
    if found is None or float(found[1]) == 0:
        raise ValueError(f"{clean(text, 40)!r} is no length of time; expected one such as 90s, 10m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def fuzz(
    open_engine: Open,
    *,
    steps: int | None,
    seed: int,
    jobs: int | None,
    seconds: float | None,
    folder: Path | None,
    json_file: Path | None,
    dask: str | None,
    console: Console,
) -> int:
    """Run a campaign and return the exit code; raises `ValueError` with one line for bad usage.

    It ends when it has ``steps`` steps in all, or ``seconds`` seconds from now. With neither, it has a million steps.
    """
    if json_file is not None and (json_file.is_dir() or not json_file.absolute().parent.is_dir()):
        raise ValueError(f"--json {clean(str(json_file))}: expected a file in a folder that exists")
    if steps is None and seconds is None:
        steps = STEPS
    about = open_engine.about()
    with ExitStack() as stack:
        corpus = Corpus(folder or Path(stack.enter_context(tempfile.TemporaryDirectory())))
        state = corpus.open(seed, about)
        if steps is not None and state.steps >= steps:
            more = f"has {state.steps:,} steps already; expected --steps beyond that, or --time"
            raise ValueError(f"--corpus {clean(str(folder))}: {more}")
        workers = _workers(jobs or os.cpu_count() or 1, dask, isolated=open_engine.command is not None)
        stack.callback(workers.close)
        ended = _run(corpus, state, open_engine, workers, Budget(steps, seconds and time.time() + seconds))
        whole, _ = so_far(corpus, state, open_engine)
        report = _report(corpus, whole, complete=not ended)
        print_outcome(console, whole, {name: corpus.finding(name)[1] for name in whole.findings}, ended)
    if json_file is not None:
        write_json(report, json_file)
    return 1 if whole.findings else 0


def _workers(jobs: int, dask: str | None, *, isolated: bool) -> Workers:
    """Return who performs shards; this process does it alone only where the implementation has one of its own."""
    if dask is not None:
        return OnDask(dask)
    return Inline() if jobs == 1 and isolated else Local(jobs)


def _run(corpus: Corpus, state: State, open_engine: Open, workers: Workers, budget: Budget) -> str:
    """Run the campaign and say why it is not at its end, in an empty text where it is."""
    try:
        with live(Console(stderr=True), state.steps, budget.steps) as told:
            campaign(corpus, state, open_engine, workers, budget, SIZES[state.about["programs"]], told=told)
        # What the round in progress has found is told, too; it is not a part of the state before the round is done.
        settle_all(corpus, so_far(corpus, state, open_engine)[1], workers)
    except KeyboardInterrupt:
        return "interrupted"
    finally:
        corpus.keep(state)
    return "" if budget.steps is not None and state.steps >= budget.steps else "the time is up"


def _in_words(batch: Mapping[int, int]) -> Counter[str]:
    """Return the states of compact programs by their words."""
    return Counter({words(number): count for number, count in batch.items()})


def _counted(state: State, sort: str, counts: Counter[str]) -> dict[str, int]:
    """Return how often each thing that is declared was met, those that never were included."""
    return {reason: counts[reason] for reason in state.about.get("declared", {}).get(sort, ())}


def _report(corpus: Corpus, state: State, *, complete: bool) -> dict[str, Any]:
    """Return what `--json` writes."""
    divergences = []
    for name in sorted(state.findings):
        vector, _ = corpus.finding(name)
        steps = None if vector is None else len(vector["steps"])
        divergences.append({"id": name, **state.findings[name], "steps": steps, "vector": vector})
    return {
        "format": FORMAT,
        "implementation": {"name": state.about["implementation"], "version": state.about["version"]},
        "profile": state.about["profile"],
        "programs": state.about["programs"],
        "python": platform.python_version(),
        "seed": state.seed,
        "steps": state.steps,
        "seconds": round(state.seconds, 3),
        "complete": complete,
        "rounds": state.round,
        "states": dict(sorted((state.learnt.states + _in_words(state.learnt.batch)).items())),
        "rules": dict(sorted(state.learnt.rules.items())),
        "divergences": divergences,
        "explained": _counted(state, "explained", state.explained),
        "avoided": _counted(state, "avoided", state.avoided),
        "undefined": {kind: dict(sorted(ends.items())) for kind, ends in sorted(state.undefined.items())},
    }
