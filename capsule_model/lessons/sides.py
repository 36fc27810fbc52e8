"""Run one program on the model and on the interpreter that runs this, and put what they say side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from capsule_model.interpreter import Interpreter
from capsule_model.lessons.here import Here, missing
from capsule_model.profiles import PROFILES, Profile

__all__ = ["Sides", "compare", "profile_here"]


@dataclass(frozen=True, slots=True)
class Sides:
    """What the model says and what the running interpreter says; ``reason`` is why the latter could not be asked."""

    model: Any
    here: Any
    reason: str | None = None

    @property
    def agree(self) -> bool:
        """Tell whether both say the same."""
        return self.reason is None and bool(self.model == self.here)

    def _lines(self) -> list[tuple[str, str]]:
        lines = [("model", repr(self.model))]
        if self.reason is not None:
            return [*lines, ("not asked", self.reason)]
        verdict = "the same" if self.agree else "different: the interpreter is right, and the model has a fault"
        return [*lines, ("this interpreter", repr(self.here)), ("verdict", verdict)]

    def __repr__(self) -> str:
        """Return both sides, a line each, and whether they agree."""
        return "\n".join(f"{label + ':':<18}{text}" for label, text in self._lines())

    def _repr_html_(self) -> str:
        """Return both sides as a table."""
        left = 'style="text-align: left"'
        rows = (
            f"<tr><th {left}>{label}</th><td {left}><code>{escape(text)}</code></td></tr>"
            for label, text in self._lines()
        )
        return f"<table>{''.join(rows)}</table>"


def compare(program: Callable[[Any], Any]) -> Sides:
    """Run ``program(py)`` on the model and on this interpreter; what it returns is compared.

    Addresses differ between the two: a program returns what it finds out about them. It must be defined, for the
    second time it runs in this process.
    """
    model = program(Interpreter(profile_here()))
    reason = missing()
    return Sides(model, None, reason) if reason is not None else Sides(model, program(Here()))


def profile_here() -> Profile:
    """Return the profile of the version that runs this, or of the latest one that is older."""
    minors = {int(name.partition("3.")[2]): name for name in PROFILES if name.count("-") == 1}
    older = [minor for minor in minors if minor <= sys.version_info[1]]
    return PROFILES[minors[max(older) if older else min(minors)]]
