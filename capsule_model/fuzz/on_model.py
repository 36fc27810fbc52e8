"""A declared destructor on the model: what it does wrong is diagnosed, or seen in the events of its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsule_model.conform.words import error_text
from capsule_model.fuzz.broken import GIVES_BACK, Wrong
from capsule_model.profiles import Profile
from capsule_model.trace.execute import Machine
from capsule_model.undefined import Abort, UndefinedBehavior

__all__ = ["OnModel", "declared"]

_MOST_CALLS = 1000


def declared(destructor: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the functions of a program: the destructor as ``mine``, those that it names, and those of the machine."""
    mine = {"max_calls": _MOST_CALLS, **destructor} if "native" not in destructor else dict(destructor)
    held = {"op": "PyCapsule_GetContext", "args": {"capsule": {"arg": 0}}, "bind": "held"}
    drops = [held, {"op": "Py_DecRef", "args": {"o": {"ref": "held"}}}]
    drop = {"op": "Py_DECREF", "args": {"op": {"arg": 0}}}
    return {
        "mine": mine,
        "outer": {"kind": "destructor", "max_calls": _MOST_CALLS, "steps": drops},
        "t_self": {"kind": "traverse", "visit": [{"arg": 0}]},
        "c_self": {"kind": "clear", "max_calls": _MOST_CALLS, "steps": [drop]},
        **others,
    }


class OnModel:
    """The simulated process in which a declared destructor runs."""

    def __init__(self, functions: Mapping[str, Any], profile: Profile) -> None:
        self.profile = profile
        self.machine = Machine({"functions": functions}, profile)
        self.done: set[str] = set()
        self.number = 0

    def perform(self, step: Mapping[str, Any]) -> None:
        """Perform a step and look at each call of the destructor in it."""
        path, self.number = str(self.number), self.number + 1
        try:
            seen = self.machine.step(step, path)
        except UndefinedBehavior as diagnosis:
            told = str(diagnosis).replace("\n ", ";")
            rule = f"what a destructor does is defined in every state that its capsule dies in: no {diagnosis.kind}"
            raise Wrong(rule, told) from None
        except Abort as death:
            raise Wrong("a destructor does nothing that the process is ended for", str(death)) from None
        self._events(seen["events"])
        if seen["indicator"] not in ("clear", "unchanged"):
            raise Wrong("what was pending before a capsule died is pending after", error_text(seen["error"]))

    def end(self) -> None:
        """See that nothing is owned any more."""
        self.machine.finish()
        leaks = self.machine.leaks()
        if leaks:
            raise Wrong(GIVES_BACK, f"still owned: {', '.join(leaks)}")

    def _events(self, events: list[Mapping[str, Any]]) -> None:
        for event in events:
            if "unraisable" in event:
                raise Wrong("a destructor leaves no error that nobody receives", error_text(event["unraisable"]))
            if event.get("beyond"):
                raise Wrong("a destructor ends", f"{event['call']} was called more than {_MOST_CALLS} times")
            for inner in event.get("steps", ()):
                self._events(inner["events"])
            if event["call"] == "mine":
                self._call(event)

    def _call(self, event: Mapping[str, Any]) -> None:
        token = event["args"][0]
        if token in self.done:
            raise Wrong("a destructor runs once for a capsule", f"called again with {token}")
        self.done.add(token)
        if event["before"] != event["after"]:
            seen = f"entered with {error_text(event['before'])}, left with {error_text(event['after'])}"
            raise Wrong("a destructor leaves the error indicator as it found it", seen)
        if self.machine.owned.get(self.machine.tokens.address.get(token, 0), 0) > 0:
            raise Wrong("a destructor does not keep its capsule", f"it took a reference to {token}, which is freed")
