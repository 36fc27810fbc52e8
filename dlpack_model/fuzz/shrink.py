"""Make a program small that shows a difference: fewer steps, plainer arguments, the same cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from capsule_model.profiles import Profile
from dlpack_model.fuzz.findings import Finding, finding
from dlpack_model.fuzz.play import DEFAULT, Implementation, Play
from dlpack_model.fuzz.programs import Step, giving_back

__all__ = ["closed", "shrunk"]

# How many programs are tried at the most: that takes a second or two.
MOST_TRIES = 800
_PLAIN: dict[str, Any] = {"dtype": "int32", "consumer": "rename-only", "shape": [3]}


def closed(program: Sequence[Step], profile: Profile = DEFAULT) -> list[Step] | None:
    """Return a program with steps behind it that give back what it owns; None where it comes to no good end."""
    running = Play(profile=profile)
    if not all(running.step(step) for step in program):
        return None
    for step in giving_back(running.machine):
        if not running.step(step):
            return None
    return running.program if running.end().harm is None else None


def shrunk(found: Finding, implementation: Implementation) -> Finding:
    """Return a finding of the same cause whose program is as short and as plain as can be had with little effort."""
    tries = 0
    best = found
    steps = list(found.program[: found.step + 1])

    def holds(candidate: list[Step]) -> bool:
        nonlocal tries, best, steps
        if tries >= MOST_TRIES:
            return False
        tries += 1
        program = closed(candidate, found.profile)
        other = None if program is None else finding(program, implementation, found.profile)
        if other is None or other.cause != found.cause:
            return False
        best = other
        steps = candidate[: other.step + 1]
        return True

    if not holds(steps):
        return found
    progress = True
    while progress and tries < MOST_TRIES:
        progress = False
        size = len(steps) // 2
        while size:
            start = len(steps) - size
            while start >= 0:
                progress |= holds(_without(steps, start, size))
                start = min(start, len(steps)) - size
            size //= 2
        number = 0
        while number < len(steps):
            tried = next((step for step in _plainer(steps[number]) if holds(_with(steps, number, step))), None)
            progress |= tried is not None
            number += tried is None
    return best


def _without(steps: list[Step], start: int, size: int) -> list[Step]:
    """Return the steps without some of them, and without those that use what these had bound."""
    left = steps[:start]
    gone = {step["bind"] for step in steps[start : start + size] if "bind" in step}
    for step in steps[start + size :]:
        if gone.isdisjoint(_used(step)):
            left.append(step)
        elif "bind" in step:
            gone.add(step["bind"])
    return left


def _with(steps: list[Step], number: int, step: Step) -> list[Step]:
    return [*steps[:number], step, *steps[number + 1 :]]


def _used(step: Step) -> set[str]:
    return {value["ref"] for value in step["args"].values() if isinstance(value, dict) and "ref" in value}


def _plainer(step: Step) -> Iterator[Step]:
    """Yield a step with one thing less, or one thing plainer."""
    if "pending" in step:
        yield {key: value for key, value in step.items() if key != "pending"}
    args = step["args"]
    for name, value in args.items():
        if name == "quirks":
            for quirk in value:
                yield {**step, "args": {**args, "quirks": [other for other in value if other != quirk]}}
        elif name in _PLAIN and value != _PLAIN[name]:
            if name == "shape" and "values" in args:
                continue
            yield {**step, "args": {**args, name: _PLAIN[name]}}
        elif not (isinstance(value, dict) or name in _PLAIN or name in ("index", "value", "stream")):
            yield {**step, "args": {key: other for key, other in args.items() if key != name}}
    if args.get("quirks") == []:
        yield {**step, "args": {key: value for key, value in args.items() if key != "quirks"}}
