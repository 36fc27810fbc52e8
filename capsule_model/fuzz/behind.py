"""The Hypothesis machine of an implementation behind the adapter protocol.

A program is sent as a whole when it has come to its end, not again after every step: what a step shows does not
depend on when it is asked for, the generator looks at the model alone, and a program of n steps costs n steps instead
of n²/2. The answer is compared step by step. Where the adapter dies or hangs, that is what differs, at the end of the
program; the step is found when the failure is told, by sending shorter programs.
"""

from __future__ import annotations

import atexit
from typing import Any, ClassVar

from capsule_model.fuzz.campaign.implementations import BehindAdapter, judged
from capsule_model.fuzz.lockstep import Divergence, Lockstep
from capsule_model.fuzz.machine import LockstepMachine, with_settings
from capsule_model.fuzz.worlds import Step

__all__ = ["AdapterMachine", "machine_for_adapter"]

_TRIES = 50


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

    def __init__(self, shared: dict[str, Any], behind: BehindAdapter) -> None:
        super().__init__(shared, behind.profile, _Silent())
        self.behind = behind

    def step(self, step: dict[str, Any]) -> Divergence | None:
        """Let the model perform a step; what it cannot take ends the program."""
        found = super().step(step)
        return found if found is not None and found.differences[0].key == "the model" else None

    def close(self) -> Divergence | None:
        """Send the program and compare."""
        return judged(self.behind, {**self.shared, "steps": self.steps})


class AdapterMachine(LockstepMachine):
    """One program on the model and, when it has come to its end, behind an adapter."""

    behind: ClassVar[BehindAdapter]
    budget = 100

    def open(self, shared: dict[str, Any]) -> Lockstep:
        """Return the model at the beginning of a program that the adapter can perform."""
        self.opened = _Silent()
        return _Whole(self.behind.adapted(shared), self.behind)

    def fails(self, vector: dict[str, Any]) -> Divergence | None:
        """Send a program again and return what differs."""
        self.behind.renew()
        return judged(self.behind, vector)

    def next_step(self) -> Step:
        """Return a defined step that the adapter has what it needs for."""
        for _ in range(_TRIES):
            step = super().next_step()
            if self.behind.allows(step, self.lockstep.machine):
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
    crash and a hang each fail with the shortest program; what is declared about the implementation in the
    specification is none of them. Raises ``ValueError`` with one line where it does not start.
    """
    behind = BehindAdapter(command, profile, time_limit)
    atexit.register(behind.close)
    space = {"profile": behind.profile, "behind": behind, "__doc__": AdapterMachine.__doc__}
    return with_settings(type("AdapterHere", (AdapterMachine,), space))
