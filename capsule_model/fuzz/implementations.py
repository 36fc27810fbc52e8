"""What is held against the model: this interpreter, in this process, or whatever an adapter drives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started
from capsule_model.conform.held import adapter_process
from capsule_model.conform.runner import choose_profile
from capsule_model.conform.session import Session as AdapterSession
from capsule_model.fuzz.lockstep import Divergence, Session, this_interpreter
from capsule_model.fuzz.written import Written
from capsule_model.profiles import Profile
from capsule_model.trace.expectation import Difference, compare
from capsule_model.trace.returns import MISSING

__all__ = ["BehindAdapter", "Here", "Implementation", "as_divergence"]

HEAD = {"format": 1, "id": "fuzz.found", "title": "Found by chance", "rules": ["PyCapsule_New/returns-capsule"]}
Differences = Sequence[Difference]


class Implementation(Protocol):
    """An implementation that performs a program which the model has performed before."""

    profile: Profile

    def perform(self, written: Written) -> Divergence | None:
        """Perform a program and return what differs first; nothing is performed after that, where it can be helped."""
        ...

    def allows(self, step: Mapping[str, Any]) -> bool:
        """Tell whether the implementation has what a step needs."""
        ...

    def close(self) -> None:
        """End the implementation."""
        ...


def as_divergence(written: Written, differences: Differences, steps: int) -> Divergence:
    """Return differences with the program up to the step that shows them."""
    shared = {key: value for key, value in written.vector.items() if key != "steps"}
    return Divergence(list(differences), {**HEAD, **shared, "steps": written.vector["steps"][:steps]})


def _leaks(written: Written, seen: list[str]) -> Divergence | None:
    if sorted(written.leaks) == sorted(seen):
        return None
    leaks = Difference("end", "leaks", sorted(written.leaks), sorted(seen))
    return as_divergence(written, [leaks], len(written.vector["steps"]))


class Here:
    """The running interpreter, driven in this process; raises ``ValueError`` with one line where it cannot be."""

    def __init__(self, opened: tuple[Profile, Callable[[dict[str, Any]], Session]] | None = None) -> None:
        self.profile, self._session = this_interpreter() if opened is None else opened

    def perform(self, written: Written) -> Divergence | None:
        """Perform a program step by step, up to the first difference."""
        session = self._session({key: value for key, value in written.vector.items() if key != "steps"})
        try:
            for index, expected in enumerate(written.observations):
                path = str(index)
                found = compare(expected, session.step(written.vector["steps"][index], path), path)
                if found:
                    return as_divergence(written, found, index + 1)
            return _leaks(written, session.close())
        finally:
            session.close()

    def allows(self, step: Mapping[str, Any]) -> bool:
        """Allow everything: what programs need was asked for at the start."""
        return True

    def close(self) -> None:
        """Do nothing: this process goes on."""


class BehindAdapter:
    """An implementation behind the adapter protocol, started again after whatever it does."""

    def __init__(self, command: str | None, profile: str | None, time_limit: float) -> None:
        self._session = AdapterSession(adapter_process(command, time_limit))
        try:
            self.about: Started = self._session.start()
            self.profile = choose_profile(self.about, profile)[0]
        except Misbehaviour as failure:
            raise ValueError(f"the adapter {failure}") from None
        except ValueError:
            self._session.stop()
            raise
        self._allows = Needs(self.about)

    def perform(self, written: Written) -> Divergence | None:
        """Send a program as a whole, and compare what comes back step by step."""
        answer = self._session.ask(self.message(written)).what
        whole = len(written.vector["steps"])
        match answer:
            case Ran():
                pass
            case Misbehaviour() as wrong:
                told = str(wrong).partition("; its standard error ends: ")[0]
                return as_divergence(written, [Difference("end", wrong.outcome, "an answer", told)], whole)
            case Refused() as refusal:
                path = refusal.step or "end"
                return as_divergence(written, [Difference(path, "refused", "an answer", refusal.text)], whole)
            case lack:
                return as_divergence(written, [Difference("end", "unsupported", "an answer", lack.what)], whole)
        for index, expected in enumerate(written.observations):
            seen = answer.steps[index] if index < len(answer.steps) else None
            path = str(index)
            found = (
                [Difference(path, "steps", "an observation", MISSING)]
                if seen is None
                else compare(expected, seen, path)
            )
            found = [difference for difference in found if not self.explains(written, difference)]
            if found:
                return as_divergence(written, found, index + 1)
        return _leaks(written, answer.leaks)

    def explains(self, written: Written, difference: Difference) -> bool:
        """Tell whether a difference is a declared one."""
        return False

    def message(self, written: Written) -> dict[str, Any]:
        """Return the vector as it is sent: where destructors wait, with a settle in steps that call them."""
        vector = {**HEAD, **written.vector, "rules": None}
        del vector["rules"], vector["title"]
        if self.about.defers:
            native = any("native" in function for function in vector.get("functions", {}).values())
            vector["steps"] = [
                {**step, "settle": True} if seen["events"] or native else step
                for step, seen in zip(vector["steps"], written.observations, strict=True)
            ]
        return vector

    def allows(self, step: Mapping[str, Any]) -> bool:
        """Tell whether the adapter has what a step needs."""
        return self._allows(step)

    def close(self) -> None:
        """End the adapter."""
        self._session.stop()


@dataclass(frozen=True)
class Needs:
    """Tell of a step whether an adapter that says ``about`` of itself has what it needs."""

    about: Started

    def __call__(self, step: Mapping[str, Any]) -> bool:
        """Return true where operation and features are there."""
        from capsule_model.trace.needs import needs

        if step["op"] not in self.about.ops:
            return False
        return needs({"steps": [step]}) <= self.about.features
