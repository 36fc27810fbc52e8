"""Hold the model against a real library, scenario by scenario, in processes of the library's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlpack_model.libraries import Library, library_for
from dlpack_model.real.observed import Observed
from dlpack_model.real.predict import predict
from dlpack_model.real.scenarios import SCENARIOS, Scenario

__all__ = ["Compared", "Missing", "Probe", "compare", "differences", "hold"]

TIME_LIMIT = 60.0


class Missing(Exception):
    """Say that a library cannot be run here, and why."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One scenario on one library: what the model says, what was seen, where they differ, which rules were broken."""

    scenario: Scenario
    watched: bool
    differences: tuple[str, ...]
    broken: tuple[str, ...]


class Probe:
    """A process that runs scenarios on one library, started anew when one has ended it."""

    def __init__(self, module: str, python: str = sys.executable) -> None:
        self.module = module
        self.python = python
        self.process: subprocess.Popen[str] | None = None
        self.version = ""
        self.start()

    def start(self) -> None:
        """Start the process; raise ``Missing`` where the library cannot be imported."""
        command = [self.python, "-m", "dlpack_model.real.probe", self.module]
        # No library is to look for accelerators, and none is to ask how many cores there are.
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        here = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        answer = self.read()
        if "version" not in answer:
            self.stop()
            raise Missing(f"{self.module} is not installed; pip install 'capsule-model[{self.module}]'")
        self.version = answer["version"]

    def read(self) -> dict[str, Any]:
        """Return the next answer; without one, how the process ended."""
        process = self.process
        assert process is not None
        assert process.stdout is not None
        limit = threading.Timer(TIME_LIMIT, process.kill)
        limit.start()
        try:
            line = process.stdout.readline()
        finally:
            limit.cancel()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = process.wait()
        return {"died": signal.Signals(-code).name if code < 0 else f"exit code {code}"}

    def run(self, scenario: Scenario, *, watched: bool) -> dict[str, Any]:
        """Return what a scenario shows; where it ended the process, how."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"scenario": scenario.as_json(), "watched": watched}) + "\n")
        self.process.stdin.flush()
        answer = self.read()
        if self.module in scenario.alone:
            self.stop()
        return {**Observed().as_json(), **answer}

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def differences(predicted: dict[str, Any], seen: dict[str, Any]) -> tuple[str, ...]:
    """Return where what was seen is not what the model says, a line each; of a death, only that it came counts."""
    if predicted["died"] and seen["died"]:
        return ()
    return tuple(
        f"{name}: model {json.dumps(told)}, seen {json.dumps(seen[name])}"
        for name, told in predicted.items()
        if told != seen[name]
    )


def compare(scenario: Scenario, library: Library, probe: Probe, *, watched: bool = False) -> Compared:
    """Run a scenario in the model and in reality."""
    predicted, broken = predict(scenario, library, watched=watched)
    # Through JSON, as what was seen came: a tuple is a list there.
    told = json.loads(json.dumps(predicted.as_json()))
    found = differences(told, probe.run(scenario, watched=watched))
    rules = tuple(dict.fromkeys(violation.rule for violation in broken))
    return Compared(scenario, watched, found, rules)


def scenarios_for(library: Library) -> list[Scenario]:
    """Return the scenarios that are defined for a library."""
    return [one for one in SCENARIOS.values() if one.libraries is None or library.name in one.libraries]


def hold(probe: Probe, scenarios: Sequence[Scenario] | None = None) -> Iterator[Compared]:
    """Compare scenarios (default: all that are defined) on the library of a probe, each with and without watching."""
    library = library_for(probe.module, probe.version)
    for scenario in scenarios_for(library) if scenarios is None else scenarios:
        for watched in (False, True):
            yield compare(scenario, library, probe, watched=watched)
