"""Measure what a step of a campaign costs, next to Hypothesis's own stepping and to a bare ctypes call, in one run.

``python -m capsule_model.fuzz.measure [--json FILE]`` does it. This module alone needs Hypothesis, the extra
``fuzz``. Rounds alternate between the three, so that what slows the machine down for a while slows all of them; of each
figure the median over the rounds counts, of quotients the median of each round's.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from capsule_model.fuzz.campaign.engine import COMPACT, EVERY, Compact, Open
from capsule_model.fuzz.campaign.learnt import Learnt
from capsule_model.whole import write_whole

__all__ = ["main", "measure"]

ROUNDS = 9
STEPS = COMPACT
CALLS = 50_000
# As Hypothesis comes, but that it forgets what it did, and does the same in every round.
EXAMPLES = settings(database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Empty(RuleBasedStateMachine):
    """A state machine with as many rules as that of ``capsule_model.fuzz.machine``, which do nothing but count."""

    steps = 0

    @rule()
    def step(self) -> None:
        """Do nothing."""
        Empty.steps += 1

    @rule()
    def look(self) -> None:
        """Do nothing."""
        Empty.steps += 1


def measure(engine: Compact, rounds: int = ROUNDS, cases: int = EVERY, calls: int = CALLS) -> dict[str, Any]:
    """Return the figures: steps a second of cases and of Hypothesis, a bare call's nanoseconds, and both quotients.

    The cases of a round are those of a shard, programs of the vector language included.
    """
    bare, capsule = _bare_call()
    learnt = Learnt()
    # What a process does once is not what a step costs, and a campaign has learnt something by then.
    for number in range(cases):
        learnt.add(engine.case(number, f"warm.{number}", STEPS, learnt))
    rows = []
    for number in range(rounds):
        step = _seconds(partial(_cases, engine, learnt, number, cases))
        rows.append((step, _seconds(_hypothesis), _seconds(partial(_calls, bare, *capsule, calls))))
    step, hypothesis, call = (statistics.median(column) for column in zip(*rows, strict=True))
    return {
        "format": 1,
        "python": platform.python_version(),
        "profile": engine.batch.profile.name,
        "rounds": rounds,
        "steps_per_second": 1 / step,
        "hypothesis_steps_per_second": 1 / hypothesis,
        "ratio": statistics.median(row[1] / row[0] for row in rows),
        "step_ns": step * 1e9,
        "bare_ctypes_ns": call * 1e9,
        "bare_calls_a_step": statistics.median(row[0] / row[2] for row in rows),
    }


def _seconds(performed: Callable[[], int]) -> float:
    """Return the seconds that one of so many things took."""
    begun = time.perf_counter()
    count = performed()
    return (time.perf_counter() - begun) / count


def _cases(engine: Compact, learnt: Learnt, number: int, count: int) -> int:
    steps: int = sum(engine.case(place, f"measured.{number}.{place}", STEPS, learnt)["steps"] for place in range(count))
    return steps


def _hypothesis() -> int:
    before = Empty.steps
    run_state_machine_as_test(Empty, settings=EXAMPLES)
    return Empty.steps - before


def _bare_call() -> tuple[Callable[[int, int], int], tuple[int, int]]:
    """Return ``PyCapsule_GetPointer`` by a prototype made once, and a capsule and a name to call it with."""
    word, api = ctypes.c_void_p, ctypes.pythonapi
    call = ctypes.PYFUNCTYPE(word, word, word)(("PyCapsule_GetPointer", api))
    new = ctypes.PYFUNCTYPE(word, word, word, word)(("PyCapsule_New", api))
    # Both live as long as the process.
    name = ctypes.addressof(_NAME)
    return call, (new(0x1000, name, 0), name)


_NAME = ctypes.create_string_buffer(b"mod.attr")


def _calls(call: Callable[[int, int], int], capsule: int, name: int, count: int) -> int:
    for _ in range(count):
        call(capsule, name)
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the figures, and write them to a file where one is named; return 0, or 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="capsule_model.fuzz.measure", description=main.__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, too")
    options = parser.parse_args(arguments)
    target = None if options.json is None else Path(options.json)
    if target is not None and (target.is_dir() or not target.absolute().parent.is_dir()):
        parser.error(f"argument --json: {target}: expected a file in a folder that exists")
    try:
        engine = Open()()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        if not isinstance(engine, Compact):
            print(
                "compact programs cannot be performed here: expected CPython 3.11 or newer and a C compiler",
                file=sys.stderr,
            )
            return 2
        found = measure(engine)
    finally:
        engine.close()
    print(f"{found['profile']}: {found['steps_per_second']:,.0f} steps a second, {found['step_ns']:,.0f} ns each")
    print(f"Hypothesis with empty rules: {found['hypothesis_steps_per_second']:,.0f} steps a second")
    print(f"ratio {found['ratio']:.1f}; a step costs {found['bare_calls_a_step']:.1f} bare calls of ", end="")
    print(f"{found['bare_ctypes_ns']:.0f} ns")
    if target is not None:
        write_whole(json.dumps(found, indent=1) + "\n", target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
