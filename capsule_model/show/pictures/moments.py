"""A run as a list of moments: what was called, what came of it, and what was in memory afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from capsule_model.memory import NULL
from capsule_model.process import Process
from capsule_model.show.pictures.facts import Facts, Thing, facts_of, found_at, thing_at
from capsule_model.show.pictures.safe import quoted, safe
from capsule_model.undefined import UndefinedBehavior

__all__ = ["CLEARED", "Call", "Moment", "Tape"]

# What is said of a call that took the pending exception away.
CLEARED = "error indicator cleared"
# What a tape holds at most; later moments are counted.
MOST_MOMENTS = 600
# How many objects, and how many blocks, are followed.
FOLLOWED = 16


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it was made: the function's name and its arguments; words alone where ``arguments`` is None."""

    name: str
    arguments: tuple[object, ...] | None = None


@dataclass(slots=True)
class Moment:
    """One call, or its end: ``outcome`` is what it returned (None where nothing), ``error`` what it left pending.

    ``facts`` are what was in memory when it was over, or, where other moments lie inside it, when it began. ``depth``
    counts the calls that it is inside. ``undefined`` is the kind of undefined behaviour that ended it.
    """

    call: Call
    depth: int
    facts: Facts
    outcome: object = None
    error: str = ""
    undefined: str = ""
    returns: bool = False


@dataclass(slots=True)
class Tape:
    """The moments of a run, and the things that were met in it by address.

    ``names`` are those that the reader knows addresses by; they may be added later. ``left_out`` counts the moments
    that there was no room for.
    """

    py: Process
    names: dict[int, str] = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)
    met: dict[int, Thing] = field(default_factory=dict)
    start: Facts | None = None
    depth: int = 0
    left_out: int = 0
    diagnosis: UndefinedBehavior | None = None

    def begin(self, call: Call) -> tuple[Moment | None, int]:
        """Note that a call begins; what is returned is to be handed to ``end``."""
        self.depth += 1
        if len(self.moments) >= MOST_MOMENTS:
            self.left_out += 1
            return None, 0
        for argument in call.arguments or ():
            self._meet(argument)
        moment = Moment(call, self.depth - 1, self.look())
        self.moments.append(moment)
        return moment, len(self.moments)

    def end(self, begun: tuple[Moment | None, int], outcome: object = None, error: str = "") -> None:
        """Note that a call has returned, with what, and the exception that it set."""
        self.depth -= 1
        moment, place = begun
        if moment is None:
            return
        if len(self.moments) > place:
            # Others lie inside: what was in memory when it began stays true of the line that it has.
            moment = Moment(moment.call, moment.depth, moment.facts, returns=True)
            self.moments.append(moment)
        self._meet(outcome)
        moment.facts, moment.outcome, moment.error = self.look(), outcome, safe(error, 300)

    def undefined(self, begun: tuple[Moment | None, int], diagnosis: UndefinedBehavior) -> None:
        """Note that a call came to no end."""
        self.depth -= 1
        moment, _ = begun
        if self.diagnosis is not diagnosis and moment is not None:
            # The innermost call is the one that did it.
            self.diagnosis = diagnosis
            moment.undefined = str(diagnosis.kind)
            moment.facts = self.look(diagnosis.address)

    def look(self, about: int = NULL) -> Facts:
        """Return what is in memory now."""
        facts = facts_of(self.py, about=about, most=FOLLOWED)
        # What is dead says no more what it was.
        for address, thing in facts.things.items():
            if not thing.dead or address not in self.met:
                self.met[address] = thing
        return facts

    def _meet(self, value: object) -> None:
        if isinstance(value, int) and value not in self.met:
            base = found_at(self.py, value)
            if base is not None and base not in self.met:
                self.met[base] = thing_at(self.py, base).things[base]

    def labels(self) -> Mapping[int, str]:
        """Return what to call each thing that was met: its given name, or else what it is with a number."""
        counts: dict[str, int] = {}
        found: dict[int, str] = {}
        for address, thing in self.met.items():
            if thing.kind in ("function", "static"):
                label = thing.short
            elif thing.kind == "object" and thing.title != "object":
                label = thing.title
            else:
                kind = {"malloc": "block"}.get(thing.kind, thing.kind)
                counts[kind] = counts.get(kind, 0) + 1
                label = f"{kind} {counts[kind]}"
            found[address] = safe(self.names.get(address, label), 40)
        return found

    def said(self, value: object, labels: Mapping[int, str]) -> str:
        """Return a value in words: what is at an address, or else itself."""
        if isinstance(value, int) and not isinstance(value, bool):
            if value in labels:
                return labels[value]
            base = found_at(self.py, value)
            if base is not None and base in labels and value > 1:
                return f"{labels[base]} + {value - base}"
            return str(value) if abs(value) < 1 << 12 else hex(value)
        if isinstance(value, bytes):
            return quoted(value, 24)
        return safe(value if isinstance(value, str) else repr(value), 60)
