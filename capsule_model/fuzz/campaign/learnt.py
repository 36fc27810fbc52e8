"""What a campaign has learnt: how often each state and each rule was reached, and by which kinds of steps.

A round begins with what all rounds before have learnt, and nothing is learnt within it: so its cases do not depend on
which process runs them, nor in which order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Learnt", "Prefix"]

# Beginnings of programs that are kept: each reached a state that nothing before it had.
KEPT = 64
# The share of choices that what is rare gets.
STEERED = 0.5

Prefix = dict[str, Any]


@dataclass
class Learnt:
    """Counts of states, rules and, by kind of step, of states; and the beginnings of programs that reached rare states.

    ``states`` are those of vector programs, ``batch`` those of compact ones, by their numbers. A prefix has ``state``
    (what its last step reached), ``shared`` (functions and modules), ``steps`` and ``writer`` (what the writer of
    programs knows).
    """

    states: Counter[str] = field(default_factory=Counter)
    batch: Counter[int] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    prefixes: list[Prefix] = field(default_factory=list)

    def add(self, case: Mapping[str, Any]) -> None:
        """Learn from a case's record."""
        self.batch.update(dict(case.get("batch", ())))
        self.rules.update(case.get("rules", {}))
        for kind, states in case.get("kinds", {}).items():
            self.states.update(states)
            self.kinds.setdefault(kind, Counter()).update(states)
        known = {prefix["state"] for prefix in self.prefixes}
        for prefix in case.get("kept", ()):
            if prefix["state"] not in known:
                known.add(prefix["state"])
                self.prefixes.append(prefix)

    def settle(self) -> None:
        """End a round: of the prefixes, keep those whose states are the rarest."""
        self.prefixes.sort(key=lambda prefix: (self.states[prefix["state"]], prefix["state"]))
        del self.prefixes[KEPT:]

    def weights(self, base: Mapping[str, int]) -> dict[str, float]:
        """Return how often each kind of step is to be made, from how often it is made when nothing is known.

        One half stays as it was. The other goes to the kinds that still reach new states: a kind's chance to do so is
        estimated as Good and Turing do, by the share of its steps that reached a state which nothing else reached.
        """
        whole = sum(base.values())
        chances = {kind: self._chance(kind) for kind in base}
        wanted = sum(chances[kind] * base[kind] for kind in base)
        return {
            kind: weight * ((1 - STEERED) / whole + STEERED * chances[kind] / wanted) for kind, weight in base.items()
        }

    def _chance(self, kind: str) -> float:
        seen = self.kinds.get(kind, Counter())
        single = sum(1 for count in seen.values() if count == 1)
        return (single + 1) / (sum(seen.values()) + 1)

    def as_json(self) -> dict[str, Any]:
        """Return what is learnt as a JSON object, in an order that does not depend on how it was learnt."""
        return {
            "states": _sorted(self.states),
            "batch": sorted(self.batch.items()),
            "rules": _sorted(self.rules),
            "kinds": {kind: _sorted(self.kinds[kind]) for kind in sorted(self.kinds)},
            "prefixes": self.prefixes,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Learnt:
        """Return what ``as_json`` wrote down."""
        return cls(
            Counter(value["states"]),
            Counter(dict(value["batch"])),
            Counter(value["rules"]),
            {kind: Counter(states) for kind, states in value["kinds"].items()},
            list(value["prefixes"]),
        )


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return {key: counts[key] for key in sorted(counts)}
