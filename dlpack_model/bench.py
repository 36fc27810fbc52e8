"""Measure one exchange in the model against NumPy's own ``from_dlpack`` of an array of its own, in one run.

Rounds alternate between the two, and the median round counts, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from capsule_model import NULL, Interpreter
from capsule_model.whole import write_whole
from dlpack_model.arrays import new_array
from dlpack_model.consumer import consumer_named, from_dlpack
from dlpack_model.exchange import Exchange
from dlpack_model.producer import Producer

__all__ = ["main", "measure"]

GOAL = 150
ROUNDS = 41
# Calls a round: about as long for the one as for the other.
MODEL_CALLS, REAL_CALLS = 200, 20_000
# A process remembers every address that it gave out; a new one now and then keeps that from being measured.
CALLS_A_PROCESS = 2_000


def _model() -> Callable[[], None]:
    """Return one exchange in the model: import, check every invariant, drop, and check again."""
    ex = Exchange(Interpreter("cpython-3.13"))
    x = new_array(ex, Producer("numpy"), "int32", (2, 3))
    consumer = consumer_named("rename-only")

    def exchange() -> None:
        result = from_dlpack(ex, consumer, x)
        ex.check()
        ex.py.Py_DECREF(result)
        ex.check()

    probe = from_dlpack(ex, consumer, x)
    if probe == NULL or ex.arrays[probe].layout.shape != (2, 3):
        raise AssertionError(f"the exchange that is measured fails: {ex.py.error!r}")
    ex.py.Py_DECREF(probe)
    return exchange


def _real(numpy: Any) -> dict[str, Any]:
    """Return what one exchange in NumPy is made of: its function, and an array of its own."""
    return {"exchange": numpy.from_dlpack, "x": numpy.arange(6, dtype="int32").reshape(2, 3)}


def measure(numpy: Any, rounds: int = ROUNDS, calls: tuple[int, int] = (MODEL_CALLS, REAL_CALLS)) -> dict[str, Any]:
    """Return the median nanoseconds of an exchange on either side, and the model's as a multiple of NumPy's."""
    real = timeit.Timer("exchange(x)", globals=_real(numpy))
    taken: list[tuple[float, float]] = []
    model, made = timeit.Timer(_model()), 0
    for _ in range(rounds):
        if made >= CALLS_A_PROCESS:
            model, made = timeit.Timer(_model()), 0
        taken.append((model.timeit(calls[0]) / calls[0], real.timeit(calls[1]) / calls[1]))
        made += calls[0]
    ours, theirs = (statistics.median(column) * 1e9 for column in zip(*taken, strict=True))
    return {
        "format": 1,
        "python": sys.version.split()[0],
        "numpy": numpy.__version__,
        "rounds": rounds,
        "model_ns": ours,
        "numpy_ns": theirs,
        "ratio": ours / theirs,
        "goal": GOAL,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the figures; return 0, or 2 for bad usage or where NumPy is missing."""
    parser = argparse.ArgumentParser(prog="dlpack-model bench", description=main.__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    options = parser.parse_args(arguments)
    if options.json is not None and (options.json.is_dir() or not options.json.absolute().parent.is_dir()):
        print(f"bench: --json {options.json}: expected a file in a folder that exists", file=sys.stderr)
        return 2
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        print("bench: NumPy is not installed here: expected numpy 1.23 or later to compare with", file=sys.stderr)
        return 2
    found = measure(numpy)
    print(
        f"one exchange, all invariants checked: {found['model_ns'] / 1000:.1f} µs in the model, "
        f"{found['numpy_ns'] / 1000:.2f} µs in NumPy {found['numpy']}, ratio {found['ratio']:.0f} (goal: {GOAL})"
    )
    if options.json is not None:
        write_whole(json.dumps(found, indent=1) + "\n", options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
