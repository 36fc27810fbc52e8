"""The Hypothesis machine of an implementation behind the adapter protocol.

A program is sent as a whole when it has come to its end, not again after every step: what a step shows does not
depend on when it is asked for, the generator looks at the model alone, and a program of n steps costs n steps instead
of n²/2. The answer is compared step by step. Where the adapter dies or hangs, that is what differs, at the end of the
program; the step is found when the failure is told, by sending shorter programs.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from typing import Any, ClassVar

from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started
from capsule_model.conform.held import adapter_process, hold
from capsule_model.conform.runner import sent
from capsule_model.conform.session import Session as Adapter
from capsule_model.fuzz.lockstep import Divergence, Lockstep
from capsule_model.fuzz.machine import LockstepMachine, with_settings
from capsule_model.fuzz.shrink import died
from capsule_model.fuzz.worlds import Step
from capsule_model.profiles import Profile
from capsule_model.trace.execute import BadVector, run
from capsule_model.trace.expectation import Difference, compare
from capsule_model.trace.needs import needs
from capsule_model.trace.returns import MISSING

__all__ = ["AdapterMachine", "Behind", "machine_for_adapter"]

_TRIES = 50
_HEAD = {"format": 1, "id": "fuzz.found", "title": "Found by chance", "rules": ["PyCapsule_New/returns-capsule"]}
# Without these nothing may leave an error, nor meet one.
_FOR_ERRORS = ("error-indicator", "compiled-destructors")


class Behind:
    """An implementation behind an adapter's command, started again after whatever it does.

    ``command`` None is the adapter of the interpreter that runs this, in a process of its own; ``profile`` names what
    it is held to, None for what the adapter suggests. Raises ``ValueError`` with one line where it does not start.
    """

    def __init__(self, command: str | None, profile: str | None = None, time_limit: float = 10.0) -> None:
        self._process = adapter_process(command, time_limit)
        self._session = Adapter(self._process)
        held = hold(self._session, profile, None)
        self.about: Started = held.about
        self.profile: Profile = held.profile
        atexit.register(self._process.stop)

    def perform(self, vector: Mapping[str, Any]) -> Divergence | None:
        """Send a program that is defined on the model, and return where the answer is not what the model says."""
        shared = {key: vector[key] for key in ("functions", "modules") if key in vector}
        steps: list[dict[str, Any]] = list(vector["steps"])
        try:
            model = run({**shared, "steps": steps}, self.profile)
        except BadVector as error:
            return self._found(shared, steps, [Difference(error.path, "the model", "a step", error.message)])
        if model.diagnosis is not None or model.aborted is not None:
            told = [Difference(str(len(model.steps)), "the model", "a step", str(model.diagnosis or model.aborted))]
            return self._found(shared, steps[: len(model.steps) + 1], told)
        answer = self._session.ask(self._message(shared, steps, model.steps)).what
        match answer:
            case Ran():
                pass
            case Misbehaviour():
                # A fresh one has patience again, and knows that the next program begins in a fresh process.
                self._session = Adapter(self._process)
                return died(answer, shared, steps, "end")
            case Refused():
                refused = Difference(answer.step or "end", "refused", "an answer", answer.text)
                return self._found(shared, steps, [refused])
            case _:
                return self._found(shared, steps, [Difference("end", "unsupported", "an answer", answer.what)])
        for index, expected in enumerate(model.steps):
            seen = answer.steps[index] if index < len(answer.steps) else None
            path = str(index)
            lacks = [Difference(path, "steps", "an observation", MISSING)]
            differences = lacks if seen is None else compare(expected, seen, path)
            if differences:
                return self._found(shared, steps[: index + 1], differences)
        if sorted(model.leaks) != sorted(answer.leaks):
            leaks = Difference("end", "leaks", sorted(model.leaks), sorted(answer.leaks))
            return self._found(shared, steps, [leaks])
        return None

    def allows(self, step: Mapping[str, Any]) -> bool:
        """Tell whether the adapter has what a step needs."""
        return step["op"] in self.about.ops and needs({"steps": [step]}) <= self.about.features

    def adapted(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a program declares without what the adapter has not: modules, native functions, errors."""
        quiet = any(feature not in self.about.features for feature in _FOR_ERRORS)
        functions = {name: self._function(function, quiet) for name, function in shared["functions"].items()}
        return {"functions": functions, "modules": shared["modules"] if "modules" in self.about.features else {}}

    def stop(self) -> None:
        """End the adapter; the next program starts it again."""
        self._process.stop()
        self._session = Adapter(self._process)

    def _function(self, function: Mapping[str, Any], quiet: bool) -> dict[str, Any]:
        if "native" in function and (quiet or "native-destructors" not in self.about.features):
            return {"kind": "destructor", "max_calls": 64, "steps": []}
        if "steps" not in function:
            return dict(function)
        steps = [{k: v for k, v in step.items() if not quiet or k != "leave"} for step in function["steps"]]
        return {**function, "steps": [step for step in steps if self.allows(step)]}

    def _message(self, shared: dict[str, Any], steps: list[Step], seen: list[dict[str, Any]]) -> dict[str, Any]:
        message = sent({**_HEAD, **shared, "steps": steps})
        if self.about.defers:
            native = any("native" in function for function in shared.get("functions", {}).values())
            for step, observation in zip(message["steps"], seen, strict=True):
                if observation["events"] or native:
                    step["settle"] = True
        return message

    def _found(self, shared: dict[str, Any], steps: list[Step], differences: list[Difference]) -> Divergence:
        return Divergence(differences, {**_HEAD, **shared, "steps": steps})


class _Silent:
    """A session that performs nothing: the program is sent when it has come to its end."""

    def step(self, step: dict[str, Any], path: str) -> dict[str, Any]:
        """Perform nothing."""
        return {}

    def close(self) -> list[str]:
        """Own nothing."""
        return []


class _Whole(Lockstep):
    """The model in a program; the implementation gets it at the end."""

    def __init__(self, shared: dict[str, Any], behind: Behind) -> None:
        super().__init__(shared, behind.profile, _Silent())
        self.behind = behind

    def step(self, step: dict[str, Any]) -> Divergence | None:
        """Let the model perform a step; what it cannot take ends the program."""
        found = super().step(step)
        return found if found is not None and found.differences[0].key == "the model" else None

    def close(self) -> Divergence | None:
        """Send the program and compare."""
        return self.behind.perform({**self.shared, "steps": self.steps})


class AdapterMachine(LockstepMachine):
    """One program on the model and, when it has come to its end, behind an adapter."""

    behind: ClassVar[Behind]
    budget = 100

    def open(self, shared: dict[str, Any]) -> Lockstep:
        """Return the model at the beginning of a program that the adapter can perform."""
        self.opened = _Silent()
        return _Whole(self.behind.adapted(shared), self.behind)

    def fails(self, vector: dict[str, Any]) -> Divergence | None:
        """Send a program again and return what differs."""
        return self.behind.perform(vector)

    def next_step(self) -> Step:
        """Return a defined step that the adapter has what it needs for."""
        for _ in range(_TRIES):
            step = super().next_step()
            if self.behind.allows(step):
                return step
            self._forget(step)
        return {"op": "PyCapsule_IsValid", "args": {"capsule": None, "name": None}}

    def _forget(self, step: Step) -> None:
        """Take back what the generator believes of a step that is not performed."""
        token = step.get("bind")
        if token is not None:
            self.programs.waiting.clear()
            for known in (self.programs.capsules, self.programs.names):
                if token in known:
                    known.remove(token)


def machine_for_adapter(
    command: str | None, profile: str | None = None, time_limit: float = 10.0
) -> type[AdapterMachine]:
    """Return a state machine that holds the model against the implementation behind an adapter.

    ``command`` is the adapter's, None for that of this interpreter; ``time_limit`` is in seconds, for each program.
    The adapter is started here and ends with this process; what it cannot do, programs do without. A difference, a
    crash and a hang each fail with the shortest program. Raises ``ValueError`` with one line where it does not start.
    """
    behind = Behind(command, profile, time_limit)
    space = {"profile": behind.profile, "behind": behind, "__doc__": AdapterMachine.__doc__}
    return with_settings(type("AdapterHere", (AdapterMachine,), space))
