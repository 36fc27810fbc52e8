"""What is held against the model: this interpreter, in this process, or whatever an adapter drives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started
from capsule_model.conform.held import adapter_process
from capsule_model.conform.runner import choose_profile
from capsule_model.conform.session import Session as AdapterSession
from capsule_model.fuzz.campaign.declared import Declared, declared_for
from capsule_model.fuzz.campaign.lacking import Needs, adapted
from capsule_model.fuzz.campaign.patterns import as_text
from capsule_model.fuzz.campaign.written import Written, performed
from capsule_model.fuzz.lockstep import Divergence, Session, this_interpreter
from capsule_model.profiles import Profile
from capsule_model.trace.execute import Machine
from capsule_model.trace.expectation import Difference, compare
from capsule_model.trace.returns import MISSING

__all__ = ["BehindAdapter", "Here", "Implementation", "as_divergence", "judged", "stopped"]

HEAD = {"format": 1, "id": "fuzz.found", "title": "Found by chance", "rules": ["PyCapsule_New/returns-capsule"]}
Differences = Sequence[Difference]


class Implementation(Protocol):
    """An implementation that performs a program which the model has performed before.

    ``explained`` counts by reason the differences of the latest program that are accounted for, and ``avoided`` the
    steps that were left out since then.
    """

    profile: Profile
    explained: Counter[str]
    avoided: Counter[str]

    def perform(self, written: Written) -> Divergence | None:
        """Perform a program and return what differs first; nothing is performed after that, where it can be helped."""
        ...

    def allows(self, step: Mapping[str, Any], machine: Machine) -> bool:
        """Tell whether the implementation may be given a step in the state that the model's machine is in."""
        ...

    def adapted(self, shared: dict[str, Any]) -> dict[str, Any]:
        """Return functions and modules of a program as the implementation can have them."""
        ...

    def close(self) -> None:
        """End the implementation."""
        ...


def as_divergence(written: Written, differences: Differences, steps: int) -> Divergence:
    """Return differences with the program up to the step that shows them."""
    shared = {key: value for key, value in written.vector.items() if key != "steps"}
    return Divergence(list(differences), {**HEAD, **shared, "steps": written.vector["steps"][:steps]})


def stopped(written: Written) -> Divergence | None:
    """Return what there is to say where the model itself cannot go on with a program."""
    if written.stopped is None:
        return None
    last = len(written.observations)
    told = Difference(str(last), "the model", "a step that it can take", written.stopped)
    return as_divergence(written, [told], last + 1)


def judged(implementation: Implementation, vector: Mapping[str, Any]) -> Divergence | None:
    """Let the model perform a vector's steps, then an implementation; return what differs first."""
    written = performed(vector, implementation.profile)
    return stopped(written) or implementation.perform(written)


def _leaks(written: Written, seen: list[str]) -> Divergence | None:
    if sorted(written.leaks) == sorted(seen):
        return None
    leaks = Difference("end", "leaks", sorted(written.leaks), sorted(seen))
    return as_divergence(written, [leaks], len(written.vector["steps"]))


def _step(vector: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Return the step with that path, in functions as well; an empty one where there is none."""
    *outer, last = path.split("/")
    try:
        holder = vector["functions"][outer[-1].rpartition(".")[0]] if outer else vector
        step: Mapping[str, Any] = holder["steps"][int(last)]
        return step
    except (KeyError, IndexError, ValueError):
        return {}


class Here:
    """The running interpreter, driven in this process; raises ``ValueError`` with one line where it cannot be."""

    def __init__(self, opened: tuple[Profile, Callable[[dict[str, Any]], Session]] | None = None) -> None:
        self.profile, self._session = this_interpreter() if opened is None else opened
        self.explained: Counter[str] = Counter()
        self.avoided: Counter[str] = Counter()

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

    def allows(self, step: Mapping[str, Any], machine: Machine) -> bool:
        """Allow everything: what programs need was asked for at the start."""
        return True

    def adapted(self, shared: dict[str, Any]) -> dict[str, Any]:
        """Change nothing."""
        return shared

    def close(self) -> None:
        """Do nothing: this process goes on."""


class BehindAdapter:
    """An implementation behind the adapter protocol, started again after whatever it does.

    ``expectations`` are files that come on top of what is shipped about it, None for none at all.
    """

    def __init__(
        self, command: str | None, profile: str | None, time_limit: float, expectations: Sequence[Path] | None = ()
    ) -> None:
        self._process = adapter_process(command, time_limit)
        self.renew()
        try:
            self.about: Started = self._session.start()
            self.profile = choose_profile(self.about, profile)[0]
            own = self.profile == choose_profile(self.about, None)[0]
            self.declared = Declared() if expectations is None else declared_for(self.about, expectations, shipped=own)
        except Misbehaviour as failure:
            raise ValueError(f"the adapter {failure}") from None
        except ValueError:
            self._session.stop()
            raise
        self.explained: Counter[str] = Counter()
        self.avoided: Counter[str] = Counter()
        self._has = Needs(self.about)

    def renew(self) -> None:
        """Have patience again with an adapter that failed many times in a row."""
        self._session = AdapterSession(self._process)

    def perform(self, written: Written) -> Divergence | None:
        """Send a program as a whole, and compare what comes back step by step.

        One that is not answered in time is sent once more: a machine may be busy, a program that hangs does so again.
        """
        self.explained = Counter()
        message = self.message(written)
        answer = self._session.ask(message).what
        if isinstance(answer, Misbehaviour) and answer.outcome == "timed-out":
            answer = self._session.ask(message).what
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
            # Most are the same to the letter, which is told much sooner than what differs.
            if seen is not None and as_text(seen) == as_text(expected):
                continue
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
        """Tell whether a difference is a declared one, and count it if so."""
        found = self.declared.explains(_step(written.vector, difference.path), difference)
        if found is not None:
            self.explained[found.why.reason] += 1
        return found is not None

    def message(self, written: Written) -> dict[str, Any]:
        """Return the vector as it is sent: where destructors wait, with a settle in steps that call them."""
        vector = {**HEAD, **written.vector, "rules": None}
        del vector["rules"], vector["title"]
        if self.about.defers:
            vector["steps"] = [
                {**step, "settle": True} if seen["events"] else step
                for step, seen in zip(vector["steps"], written.observations, strict=True)
            ]
        return vector

    def allows(self, step: Mapping[str, Any], machine: Machine) -> bool:
        """Tell whether the adapter has what a step needs, and nothing declares that it is left out."""
        if not self._has(step):
            return False
        found = self.declared.avoids(step, machine)
        if found is not None:
            self.avoided[found.why.reason] += 1
        return found is None

    def adapted(self, shared: dict[str, Any]) -> dict[str, Any]:
        """Return functions without the steps that the implementation may not be given, and modules if it has any."""
        return adapted(shared, self.about, self._inside)

    def _inside(self, step: Mapping[str, Any]) -> bool:
        if not self._has(step):
            return False
        found = self.declared.avoids_inside(step)
        if found is not None:
            self.avoided[found.why.reason] += 1
        return found is None

    def close(self) -> None:
        """End the adapter."""
        self._session.stop()
