"""What is known of a capsule of a real interpreter, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Asked", "Capsule", "Inspection", "Place", "Unreached", "as_json"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pointer leads: the region, and in a library the symbol that covers it, with the bytes into it.

    ``region`` is ``library``, ``memory``, ``unmapped`` or ``unknown``. Without a symbol ``offset`` counts from the
    beginning of the library. The address means nothing once the process has ended, and is not part of the JSON.
    """

    address: int
    region: str
    library: str | None = None
    symbol: str | None = None
    offset: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the place as the format has it."""
        return {"region": self.region, "library": self.library, "symbol": self.symbol, "offset": self.offset}


@dataclass(frozen=True, slots=True)
class Asked:
    """What ``PyCapsule_Import`` made of a path: in a fresh process, or in one that has imported what it was found in.

    ``error`` is type and text. ``model`` is what the model does in the same situation, None where it cannot tell.
    """

    path: str
    fresh: bool
    accepted: bool
    error: tuple[str, str] | None
    model: tuple[bool, tuple[str, str] | None] | None

    @property
    def agrees(self) -> bool:
        """Tell whether the model does the same, where it can tell."""
        return self.model is None or self.model == (self.accepted, self.error)

    def as_json(self) -> dict[str, Any]:
        """Return the answer as the format has it."""
        model = None if self.model is None else {"accepted": self.model[0], "error": _error(self.model[1])}
        return {
            "path": self.path,
            "fresh": self.fresh,
            "accepted": self.accepted,
            "error": _error(self.error),
            "model": model,
        }


def _error(error: tuple[str, str] | None) -> dict[str, str] | None:
    return None if error is None else {"type": error[0], "text": error[1]}


@dataclass(frozen=True, slots=True)
class Capsule:
    """One capsule: its fields, where they lead, and whether it can be imported.

    ``paths`` are where it was found, the one that its name says first, then the shortest; ``more`` are those beyond.
    ``traverse`` and ``clear`` are None before 3.13 as well. ``references`` are those of others. ``verdict`` is a word,
    ``why`` a sentence, and ``disagreements`` say where the C API, the struct, ``repr`` and the model differ.
    """

    paths: tuple[str, ...]
    more: int
    name: bytes | None
    name_place: Place | None
    pointer: Place | None
    context: Place | None
    destructor: Place | None
    traverse: Place | None
    clear: Place | None
    tracked: bool
    references: int
    verdict: str
    why: str
    asked: tuple[Asked, ...] = ()
    disagreements: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the capsule as the format has it."""
        named = {"name_place": self.name_place, "pointer": self.pointer, "context": self.context}
        named |= {"destructor": self.destructor, "traverse": self.traverse, "clear": self.clear}
        return {
            "paths": list(self.paths),
            "more_paths": self.more,
            "name": name_as_json(self.name),
            **{key: None if place is None else place.as_json() for key, place in named.items()},
            "tracked": self.tracked,
            "references": self.references,
            "import": {"verdict": self.verdict, "why": self.why, "asked": [asked.as_json() for asked in self.asked]},
            "disagreements": list(self.disagreements),
        }


def name_as_json(name: bytes | None) -> dict[str, str] | None:
    """Return a name as vectors write it."""
    if name is None:
        return None
    try:
        return {"cstr": name.decode()}
    except UnicodeDecodeError:
        return {"hex": name.hex()}


@dataclass(frozen=True, slots=True)
class Unreached:
    """Capsules that tracked objects hold and no path leads to: type of the holder, name (empty: NULL), and how many."""

    holder: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen of one interpreter.

    ``groups`` are the distributions that were asked for, each with the number of its modules; ``failed`` are pairs of
    a module that could not be imported and the reason.
    """

    python: str
    profile: str
    capsules: tuple[Capsule, ...]
    groups: dict[str, int] = field(default_factory=dict)
    failed: tuple[tuple[str, str], ...] = ()
    unreached: tuple[Unreached, ...] = ()

    @property
    def disagreements(self) -> int:
        """Count what does not agree."""
        return sum(len(one.disagreements) for one in self.capsules)

    def as_json(self) -> str:
        """Return the inspection as the format has it, with a line for each capsule."""
        head = {
            "python": self.python,
            "profile": self.profile,
            "groups": [{"distribution": name, "modules": count} for name, count in self.groups.items()],
            "failed": [{"module": module, "why": why} for module, why in self.failed],
            "unreached": [{"holder": one.holder, "name": one.name, "count": one.count} for one in self.unreached],
        }
        capsules = ",\n".join(_line(one.as_json()) for one in self.capsules)
        return f'{_line(head)[:-1]}, "capsules": [\n{capsules}\n]}}'


def _line(value: object) -> str:
    # A name may hold what is no text at all.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")


def as_json(inspections: Sequence[Inspection]) -> str:
    """Return inspections as a document of format 1."""
    parts = ",\n".join(one.as_json() for one in inspections)
    return f'{{"format": 1, "kind": "inspection", "interpreters": [\n{parts}\n]}}\n'
