"""Run the state machine of the exchange: ``dlpack-model fuzz --steps N``, or ``--bugs``.

This module needs Hypothesis, the extra ``fuzz``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from capsule_model import Abort, UndefinedBehavior
from dlpack_model.bugs import BUGS, Bug
from dlpack_model.machine import ExchangeMachine, exchange_machine

__all__ = ["campaign", "exchange_machine", "find", "main"]

# Programs are long where rules meet, short where many are tried in few steps.
LONG, SHORT = 50, 20
PROGRAMS = 50


def campaign(
    machine: type[ExchangeMachine],
    steps: int,
    *,
    start: int = 1,
    length: int = LONG,
    shrink: bool = True,
    progress: Callable[[int], None] = lambda done: None,
) -> BaseException | None:
    """Run programs until ``steps`` steps were made in all; return what failed, None where nothing did.

    A program has ``length`` steps at the most, and the last ones are brought to their end. The same ``start`` makes
    the same programs, however many steps are asked for.
    """
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    number = start
    while machine.steps < steps and machine.found is None:
        quick = settings(
            max_examples=PROGRAMS,
            stateful_step_count=length,
            phases=phases,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(seed(number)(machine), settings=quick)
        except (UndefinedBehavior, Abort, AssertionError) as failure:
            return failure
        progress(machine.steps)
        number += 1
    return None


def find(bug: Bug, steps: int = 1_000, start: int = 1) -> tuple[int, BaseException] | None:
    """Let the bug's party meet all that behave; return the step that finds it, and what it finds."""
    machine = exchange_machine(bug.producers or None, bug.consumers or None)
    campaign(machine, steps, start=start, length=SHORT, shrink=False)
    return machine.found if machine.found and machine.found[0] <= steps else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the state machine of the exchange; return 0, 1 where a rule is broken or a bug not found, 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="dlpack-model fuzz", description=main.__doc__)
    parser.add_argument("--steps", type=int, help="how many steps to make (default: 100000, with --bugs 1000)")
    parser.add_argument("--seed", type=int, default=2, help="which programs to make (default: %(default)s)")
    parser.add_argument(
        "--bugs", action="store_true", help="seed each known bug instead, and find it in that many steps"
    )
    options = parser.parse_args(arguments)
    steps: int = options.steps if options.steps is not None else 1_000 if options.bugs else 100_000
    if steps < 1:
        parser.error(f"argument --steps: {steps} is not a number from 1 on")
    return _bugs(steps, options.seed) if options.bugs else _steps(steps, options.seed)


def _steps(steps: int, start: int) -> int:
    machine = exchange_machine()
    begun = time.monotonic()
    failure = campaign(machine, steps, start=start)
    outcome = "no violation" if failure is None else f"a violation at step {machine.found[0] if machine.found else '?'}"
    print(f"seed {start}: {machine.steps} steps in {time.monotonic() - begun:.1f} s, {outcome}")
    for what, count in sorted(machine.told.items()):
        print(f"  {what}: {count}")
    if failure is not None:
        print("\n".join([str(failure), *getattr(failure, "__notes__", [])]))
    return 0 if failure is None else 1


def _bugs(steps: int, start: int) -> int:
    missed = 0
    for bug in BUGS.values():
        found = find(bug, steps, start)
        hit = found is not None and bug.explains(found[1])
        missed += not hit
        told = "not found" if found is None else f"step {found[0]}, {str(found[1]).splitlines()[0]}"
        print(f"{bug.name}: {told}{'' if hit or found is None else ' (another diagnosis than declared)'}")
    print(f"{len(BUGS) - missed} of {len(BUGS)} bugs found within {steps} steps")
    return 1 if missed else 0
