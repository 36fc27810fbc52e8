"""A mutant as an implementation: sessions that programs are run on, and what its death looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from capsule_model.mutants.mutant import Mutant, patched
from capsule_model.mutants.twin import Twin, twin

__all__ = ["MutantSession", "Open", "loaded", "opener"]

Open = Callable[[dict[str, Any]], "MutantSession"]


class MutantSession:
    """One vector in progress on a mutant.

    A mutant whose process would die, or could not be relied on any more, answers every step from then on with the
    return ``{"died": WHY}``, which no implementation that lives gives. ``aborted`` says that it ended by itself, as
    a debug build does; ``refused`` is what is wrong with the vector, where that is why it cannot go on.
    """

    def __init__(self, twin: Twin, vector: Mapping[str, Any], profile: str) -> None:
        self.twin = twin
        self.died: str | None = None
        self.aborted = False
        self.refused: str | None = None
        self.machine: Any = None
        try:
            self.machine = twin.machine(vector, profile)
        except Exception as end:
            self._die(end)

    def step(self, step: dict[str, Any], path: str) -> dict[str, Any]:
        """Perform a step and return the observation."""
        if self.died is None:
            try:
                observation: dict[str, Any] = self.machine.step(step, path)
            except Exception as end:
                self._die(end)
            else:
                return observation
        return {"return": {"died": self.died}, "error": None, "indicator": "clear", "events": []}

    def close(self) -> list[str]:
        """End the vector and return the tokens that it still owns: none of a mutant that died."""
        if self.died is not None:
            return []
        try:
            self.machine.finish()
            leaks: list[str] = self.machine.leaks()
        except Exception as end:
            self._die(end)
            return []
        return leaks

    def _die(self, end: Exception) -> None:
        self.aborted = isinstance(end, self.twin.abort)
        if isinstance(end, self.twin.bad_vector):
            self.refused = str(end)
        self.died = f"{type(end).__name__}: {end}".partition("\n")[0]


@cache
def loaded(mutant: Mutant) -> Twin:
    """Return the copy of the model that has a mutant's mistake; it is loaded once in a process."""
    return twin(patched(mutant.edits))


def opener(mutant: Mutant, profile: str) -> Open:
    """Return what opens a session on a mutant under the profile of that name, as campaigns and machines want it."""
    copy = loaded(mutant)
    return lambda shared: MutantSession(copy, shared, profile)
