"""Run scenarios on a real library: ``python -m dlpack_model.real.probe MODULE``.

A line on standard input is a scenario as JSON, with ``watched``; a line on standard output is what was seen. The
first line answers with the library's version. What the library itself prints goes to standard error.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from dlpack_model.real.faces import Face, face_of
from dlpack_model.real.instrument import Instrument
from dlpack_model.real.observed import Observed, told_value
from dlpack_model.real.scenarios import Scenario

__all__ = ["main", "play"]


def play(face: Face, scenario: Scenario, *, watched: bool = False) -> Observed:
    """Run a scenario on a library and return what was seen."""
    instrument, seen = Instrument(scenario, watched=watched), Observed()
    source = instrument.source()
    kept: list[Any] = []
    # Without the collector, what dies does so at a moment that the scenario decides.
    gc.disable()
    for _ in range(scenario.calls):
        seen.outcomes.append(_call(face, scenario, instrument, source, kept))
    seen.during = _taken(instrument)
    seen.capsules = instrument.look()
    instrument.let_go()
    seen.released = _taken(instrument)
    while kept:
        kept.pop(0)
        gc.collect()
    seen.dropped = _taken(instrument, patience=face.patience)
    del source
    gc.collect()
    instrument.end()
    seen.ended = _taken(instrument)
    gc.enable()
    return seen


def _taken(instrument: Instrument, patience: float = 0.0) -> list[dict[str, Any]]:
    if patience and not any(event["event"] == "deleter" for event in instrument.events):
        time.sleep(patience)
    taken = instrument.events[:]
    instrument.events.clear()
    return taken


def _call(face: Face, scenario: Scenario, instrument: Instrument, source: Any, kept: list[Any]) -> dict[str, Any]:
    """Call ``from_dlpack`` once; result or exception goes to the end of ``kept``."""
    keywords: dict[str, Any] = {}
    if scenario.copy is not None:
        keywords["copy"] = scenario.copy
    if scenario.device is not None:
        keywords["device"] = face.device(scenario.device)
    try:
        result = face.from_dlpack(source, **keywords)
    except BaseException as error:
        kept.append(error)
        return {"raised": _type_of(error, instrument)}
    kept.append(result)
    return _told(face, instrument, result)


def _type_of(error: BaseException, instrument: Instrument) -> str:
    """Return the name of an exception's nearest built-in type.

    An exception that the instrument had to take away, to be able to run while it was pending, is put in the place of
    what the library then raised for want of it.
    """
    if type(error) is SystemError and instrument.absorbed is not None:
        error = instrument.absorbed
    instrument.absorbed = None
    return next(base.__name__ for base in type(error).__mro__ if base.__module__ == "builtins")


def _told(face: Face, instrument: Instrument, result: Any) -> dict[str, Any]:
    face.settle(result)
    told: dict[str, Any] = {"shape": list(result.shape)}
    values = face.values(result)
    told["values"] = None if values is None else [told_value(value) for value in values]
    if face.writeable is not None:
        told["writeable"] = face.writeable(result)
    if told["values"]:
        told["shares"] = instrument.owns(face.address(result))
    return told


def _answer(face: Face, request: Mapping[str, Any]) -> dict[str, Any]:
    return play(face, Scenario.from_json(request["scenario"]), watched=request["watched"]).as_json()


def main(module: str) -> None:
    """Answer requests until standard input ends."""
    # What a library writes to standard output must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    face = face_of(module)
    # What the library has made for itself needs no looking at, each time that the collector is called.
    gc.freeze()
    print(json.dumps({"version": face.version}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(face, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
