"""What is seen of one scenario, in the model and in reality, in the same form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Observed", "told_value"]

Event = dict[str, Any]


@dataclass(slots=True)
class Observed:
    """What one scenario showed.

    ``during`` are the events while ``from_dlpack`` ran, ``capsules`` what the capsules looked like afterwards, where
    they were watched. Then the instrument lets go of them (``released``), the results and exceptions are dropped
    (``dropped``), and at last what was imported from (``ended``). ``outcomes`` has one entry for each call: the type of
    the exception, or the result.
    """

    outcomes: list[dict[str, Any]] = field(default_factory=list)
    during: list[Event] = field(default_factory=list)
    capsules: list[dict[str, Any]] = field(default_factory=list)
    released: list[Event] = field(default_factory=list)
    dropped: list[Event] = field(default_factory=list)
    ended: list[Event] = field(default_factory=list)
    died: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what was seen as JSON can write it."""
        return asdict(self)


def told_value(value: Any) -> Any:
    """Return an element as it is compared: not-a-number and infinities by name, the rest as JSON has it."""
    if isinstance(value, bool | int):
        return value
    if isinstance(value, complex):
        return [told_value(value.real), told_value(value.imag)]
    if isinstance(value, Sequence):
        return [told_value(inner) for inner in value]
    return value if math.isfinite(value) else str(value)
