"""What steers a case: how often each choice is made, and what was reached least made more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from capsule_model.fuzz.batch import code, states

__all__ = ["OWN", "TWIN", "Weights", "flags_of", "place_of", "table"]

OWN, TWIN = "its own", "its own bytes elsewhere"
# What each of the names of code.py is called, NULL before them.
LABELS = (
    "NULL",
    "mod.attr",
    "mod.attr elsewhere",
    "longer",
    "prefix",
    "prefix elsewhere",
    "empty",
    "empty elsewhere",
    "not UTF-8",
    "not UTF-8 elsewhere",
    "not ASCII",
    "written to",
    "longer, written to",
)
# By how much steering may raise or lower a weight.
MOST = 4.0

_OPERATIONS: dict[str, float] = {
    "PyCapsule_IsValid": 8,
    "PyCapsule_GetPointer": 12,
    "PyCapsule_GetName": 5,
    "PyCapsule_GetDestructor": 5,
    "PyCapsule_GetContext": 7,
    "PyCapsule_SetPointer": 4,
    "PyCapsule_SetName": 5,
    "PyCapsule_SetDestructor": 5,
    "PyCapsule_SetContext": 4,
    "poke": 0.4,
    "PyCapsule_CheckExact": 4,
    "Py_INCREF": 2.5,
    "Py_IncRef": 1.5,
    "Py_REFCNT": 4,
    "PyErr_Clear": 0.5,
    "PyCapsule_New": 2,
    "Py_DECREF": 5,
    "Py_DecRef": 1.5,
    "PyCapsule_Import": 0.6,
    "rename": 0.5,
    "hold": 1.2,
}
_TARGETS: dict[str, float] = {f"capsule {place}": 1.0 for place in range(code.SLOTS)} | {"NULL": 0.7}
_TARGETS |= {f"object {kind}": 0.07 for kind in code.KINDS}
_NAMES: dict[str, float] = dict.fromkeys(LABELS, 1.0) | {OWN: 9.0, TWIN: 5.0}
_POINTERS: dict[str, float] = {"NULL": 0.4, "p1": 1.0, "p2": 1.0, "p3": 1.0}
_DESTRUCTORS: dict[str, float] = {"none": 7.0} | dict.fromkeys([*code.DESTRUCTORS, *code.NATIVE], 1.0)
_ERRORS: dict[str, float] = {"none": 80.0, "left": 1.0}
_ERRORS |= {f"{name} pending": 0.3 for name in code.EXCEPTIONS}
_ERRORS |= {f"{name} pending, left": 0.1 for name in code.EXCEPTIONS}
_PATHS: dict[str, float] = {
    path.decode(errors="backslashreplace"): 4.0 if path.decode("latin-1") in code.HELD else 1.0 for path in code.PATHS
}
_PATHS |= {"cm_batch_nowhere.cap": 0.1}


_DEFAULTS: dict[str, dict[str, float]] = {
    "operations": _OPERATIONS,
    "targets": _TARGETS,
    "names": _NAMES,
    "pointers": _POINTERS,
    "destructors": _DESTRUCTORS,
    "contexts": _POINTERS,
    "paths": _PATHS,
    "errors": _ERRORS,
}


@dataclass(frozen=True)
class Weights:
    """How often each choice is made, relative to the others of its kind.

    ``operations`` by their names; ``targets`` are the registers they work on; ``names``, ``pointers``,
    ``destructors``, ``contexts`` and ``paths`` (for ``PyCapsule_Import``) are their arguments; ``errors`` say what is
    pending before a call and whether what it leaves stays. A choice whose weight is above 0 is always possible.
    """

    operations: dict[str, float] = field(default_factory=_OPERATIONS.copy)
    targets: dict[str, float] = field(default_factory=_TARGETS.copy)
    names: dict[str, float] = field(default_factory=_NAMES.copy)
    pointers: dict[str, float] = field(default_factory=_POINTERS.copy)
    destructors: dict[str, float] = field(default_factory=_DESTRUCTORS.copy)
    contexts: dict[str, float] = field(default_factory=_POINTERS.copy)
    paths: dict[str, float] = field(default_factory=_PATHS.copy)
    errors: dict[str, float] = field(default_factory=_ERRORS.copy)

    def __post_init__(self) -> None:
        for kind, known in _DEFAULTS.items():
            given = getattr(self, kind)
            unknown = [name for name in given if name not in known]
            if unknown:
                raise ValueError(f"weights: {kind} has {unknown[0]!r}: expected some of {', '.join(known)}")
            if not any(given.values()) or min(given.values()) < 0:
                raise ValueError(f"weights: {kind}: expected numbers from 0 on, and one above")
            # In one order, and with all names, so that what is equal makes equal cases.
            object.__setattr__(self, kind, {name: float(given.get(name, 0)) for name in known})

    @classmethod
    def from_counts(cls, reached: Mapping[str, int]) -> Weights:
        """Return weights that raise what leads to the states that were reached least, and lower what leads to others.

        ``reached`` is what cases say that they reached, added up. The same counts give the same weights.
        """
        return cls._from([(tuple(states.parsed(state).items()), count) for state, count in sorted(reached.items())])

    @classmethod
    def from_numbers(cls, reached: Mapping[int, int]) -> Weights:
        """Return the same from states by their numbers."""
        return cls._from([(states.parts(state), count) for state, count in sorted(reached.items())])

    @classmethod
    def _from(cls, reached: list[tuple[tuple[tuple[str, str], ...], int]]) -> Weights:
        found = [(parts, count) for parts, count in reached if count > 0]
        if not found:
            return cls()
        rare: dict[tuple[str, str], list[float]] = {}
        for parts, count in found:
            for part in parts:
                rare.setdefault(part, []).append(count**-0.5)
        mean = sum(count**-0.5 for _, count in found) / len(found)

        def factor(dimension: str, value: str) -> float:
            seen = rare.get((dimension, value))
            return MOST if seen is None else min(max(sum(seen) / len(seen) / mean, 1 / MOST), MOST)

        plain = cls()
        return cls(
            operations={name: weight * factor("operation", name) for name, weight in plain.operations.items()},
            names={
                name: weight * (1 if name in (OWN, TWIN) else factor("name", states.name_kind(place - 1)))
                for place, (name, weight) in enumerate(plain.names.items())
            },
            destructors={
                name: weight * factor("destructor", states.destructor_kind(name))
                for name, weight in plain.destructors.items()
            },
            contexts={
                name: weight * factor("context", "NULL" if name == "NULL" else "opaque")
                for name, weight in plain.contexts.items()
            },
            errors={
                name: weight * (factor("pending", "pending") if "pending" in name or name == "left" else 1)
                for name, weight in plain.errors.items()
            },
        )


def table(weights: Mapping[str, float], values: Sequence[int] | None = None) -> bytes:
    """Return 256 bytes of which each value has its share, at least one where its weight is above 0.

    The values are those given, else the places of the weights.
    """
    values = range(len(weights)) if values is None else values
    some = [(weight, value) for weight, value in zip(weights.values(), values, strict=True) if weight > 0]
    total = sum(weight for weight, _ in some)
    shares = [[max(1, round(256 * weight / total)), value] for weight, value in some]
    while (over := sum(share for share, _ in shares) - 256) != 0:
        # What has most can best spare one, or take one more.
        most = max(shares, key=lambda share: share[0])
        most[0] -= 1 if over > 0 else -1
    return bytes(value for share, value in shares for _ in range(share))


def place_of(target: str) -> int:
    """Return the register of a target."""
    kind, _, name = target.partition(" ")
    if kind == "NULL":
        return code.NULL_SLOT
    return int(name) if kind == "capsule" else code.OBJECTS + code.KINDS.index(name)


def flags_of(errors: str) -> int:
    """Return the flags of a step that has this pending, or leaves what it ends with."""
    name, _, rest = errors.partition(" ")
    leave = int(errors.endswith("left"))
    return leave if not rest else (code.EXCEPTIONS.index(name) + 1) << 1 | leave
