"""What several judges share: predictions, and programs that must be defined and leave nothing behind."""

from __future__ import annotations

from typing import Any

from capsule_model.interpreter import Interpreter
from capsule_model.lessons.verdict import NotYet
from capsule_model.trace.wording import clean

__all__ = ["NoCapsuleFunctions", "leaves_nothing", "predicted"]

_MOST = 200


def predicted(given: Any, seen: Any, what: str, hint: str) -> None:
    """Compare a prediction with what the model did; it is told where the two part, and not what is right."""
    if given == seen:
        return
    if isinstance(seen, dict) and isinstance(given, dict):
        _keys(given, seen, what)
        wrong = next(key for key in seen if given[key] != seen[key])
        raise NotYet(f"{what}: {wrong!r} is not {_said(given[wrong])}", hint)
    if isinstance(seen, set) and isinstance(given, set):
        surplus, lacking = given - seen, seen - given
        told = [f"{_said(sorted(surplus, key=repr)[0])} does not belong there"] if surplus else []
        told += ["something is missing"] if lacking else []
        raise NotYet(f"{what}: {' and '.join(told)}", hint)
    if isinstance(seen, list) and isinstance(given, list) and len(given) == len(seen):
        place = next(index for index, (mine, model) in enumerate(zip(given, seen, strict=True)) if mine != model)
        raise NotYet(f"{what}: number {place + 1} is not {_said(given[place])}", hint)
    if isinstance(seen, list) and isinstance(given, list):
        raise NotYet(f"{what}: {len(given)} given, {len(seen)} expected", hint)
    raise NotYet(f"{what}: it is not {_said(given)}", hint)


def leaves_nothing(py: Interpreter, hint: str) -> None:
    """See that a simulated process has no capsule and no block left."""
    left = py.leaks()
    if left:
        raise NotYet(f"at the end, {left[0].fact}", hint)


class NoCapsuleFunctions(Interpreter):
    """A process in which a program may call no function of the capsule API."""

    def __getattribute__(self, name: str) -> Any:
        """Return everything but the functions of capsules."""
        if name.startswith(("PyCapsule_", "_PyCapsule_")) or name == "poke":
            raise NotYet(f"your program uses {name}", "the name lies in memory that one can write to: py.write")
        return super().__getattribute__(name)


def _keys(given: dict[Any, Any], seen: dict[Any, Any], what: str) -> None:
    if given.keys() != seen.keys():
        names = ", ".join(repr(key) for key in seen)
        raise NotYet(f"{what}: the keys are not those that were handed out", f"leave the keys as they were: {names}")


def _said(value: Any) -> str:
    return clean(repr(value), _MOST)
