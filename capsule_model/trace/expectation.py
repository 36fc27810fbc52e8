"""Match what was seen against what a vector expects, and one observation against another.

The meaning of every key is that of specs/formats/vector.md, "Expectations" and "Observations".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from capsule_model.trace.contract import error_codes
from capsule_model.trace.returns import MISSING, canonical, return_matches, same

__all__ = ["Difference", "compare", "error_code", "latitude", "match_step", "resolve", "resolved"]

Observation = Mapping[str, Any]
Expectation = Mapping[str, Any]

_KEYS = ("return", "error", "indicator", "events")
_NO_CHANGE = ("clear", "unchanged")
_OF_CALLS = ("args", "refcnt", "object")
_OF_ERRORS = ("before", "after", "unraisable")
_OF_DLPACK = ("of", "name", "keywords", "stream")


@dataclass(frozen=True, slots=True)
class Difference:
    """One key of one step in which two sides disagree; `path` is the step's path."""

    path: str
    key: str
    expected: Any
    seen: Any


def resolve(step: Mapping[str, Any], has: Callable[[str], bool]) -> Expectation:
    """Return what `step` expects under the profile whose behaviours `has` knows; an empty one expects no change."""
    for variant in step.get("variants", ()):
        if holds(variant["when"], has):
            chosen: Expectation = variant["expect"]
            return chosen
    plain: Expectation = step.get("expect", {})
    return plain


def holds(condition: str, has: Callable[[str], bool]) -> bool:
    """Tell whether a `when` or `requires` condition, `name` or `!name`, is true of a profile."""
    return not has(condition[1:]) if condition.startswith("!") else has(condition)


def resolved(
    vector: Mapping[str, Any], has: Callable[[str], bool]
) -> tuple[list[Expectation], dict[str, list[Expectation]]]:
    """Return the expectations of the top-level steps, and by name those of the steps of each function."""
    steps = [resolve(step, has) for step in vector["steps"]]
    functions = {
        name: [resolve(step, has) for step in function.get("steps", ())]
        for name, function in vector.get("functions", {}).items()
    }
    return steps, functions


def latitude(expect: Expectation) -> frozenset[str]:
    """Return the keys in which implementations may differ from each other: those that an `any_of` covers."""
    return frozenset(_KEYS) if "any_of" in expect else frozenset()


def match_step(
    expect: Expectation, seen: Observation, path: str, functions: Mapping[str, list[Expectation]]
) -> list[Difference]:
    """Return every difference between `expect` and the observation `seen` of the step at `path`.

    `functions` holds what the steps of each declared function expect: every call of it is matched
    against them, unless the expected event brings `steps` of its own.
    """
    if "any_of" in expect:
        tries = [match_step(choice, seen, path, functions) for choice in expect["any_of"]]
        if any(not differences for differences in tries):
            return []
        return [Difference(path, "any_of", list(expect["any_of"]), _without_unseen(seen))]
    if "undefined" in expect:
        return [Difference(path, "undefined", expect["undefined"], _without_unseen(seen))]
    if "abort" in expect:
        return [Difference(path, "abort", True, _without_unseen(seen))]
    return list(_differences(expect, seen, path, functions))


def _differences(
    expect: Expectation, seen: Observation, path: str, functions: Mapping[str, list[Expectation]]
) -> Iterator[Difference]:
    unseen = seen.get("unseen", ())
    if "return" in expect and "return" not in unseen:
        value = seen.get("return", MISSING)
        if not return_matches(expect["return"], value):
            yield Difference(path, "return", expect["return"], value)
    if "error" in expect and not _error_matches(expect["error"], seen.get("error")):
        yield Difference(path, "error", expect["error"], seen.get("error"))
    indicator = seen.get("indicator")
    if "indicator" in expect:
        if indicator != expect["indicator"]:
            yield Difference(path, "indicator", expect["indicator"], indicator)
    elif "error" not in expect and indicator not in _NO_CHANGE:
        yield Difference(path, "error", "no change of the error indicator", seen.get("error"))
    yield from _event_differences(expect.get("events", []), seen.get("events", []), path, functions)


def _event_differences(
    expected: list[Any], seen: list[Any], path: str, functions: Mapping[str, list[Expectation]]
) -> Iterator[Difference]:
    if len(expected) != len(seen) or any(_subject(e) != _subject(s) for e, s in zip(expected, seen, strict=False)):
        yield Difference(path, "events", [_subject(e) for e in expected], [_subject(s) for s in seen])
        return
    calls: dict[str, int] = {}
    for index, (want, event) in enumerate(zip(expected, seen, strict=True)):
        for key in _OF_DLPACK if "dlpack" in event else _OF_CALLS:
            if key in want and not same(canonical(want[key]), canonical(event.get(key, MISSING))):
                yield Difference(path, f"events.{index}.{key}", want[key], event.get(key, MISSING))
        for key in _OF_ERRORS:
            if key in want and not _error_matches(want[key], event.get(key)):
                yield Difference(path, f"events.{index}.{key}", want[key], event.get(key))
        if "call" not in event:
            continue
        name = event["call"]
        calls[name] = calls.get(name, 0) + 1
        inner = want.get("steps", functions.get(name, []))
        yield from _nested(inner, event.get("steps", []), f"{path}/{name}.{calls[name]}", functions, event)


def _nested(
    expected: list[Any], seen: list[Any], path: str, functions: Mapping[str, list[Expectation]], event: Observation
) -> Iterator[Difference]:
    if event.get("beyond"):
        return
    if len(expected) != len(seen):
        yield Difference(path, "steps", f"{len(expected)} steps", f"{len(seen)} steps")
    for index, (want, observation) in enumerate(zip(expected, seen, strict=False)):
        yield from match_step(want, observation, f"{path}/{index}", functions)


def _subject(event: Any) -> str:
    if not isinstance(event, Mapping):
        return "no event"
    if "call" in event:
        return f"{event['call']} beyond its calls" if event.get("beyond") else str(event["call"])
    if "dlpack" in event:
        return f"dlpack {event['dlpack']}"
    return "unraisable"


def _error_matches(expected: Any, seen: Any) -> bool:
    if expected is None or not isinstance(seen, Mapping):
        return expected is None and seen is None
    if expected["type"] != seen.get("type"):
        return False
    if "text" in expected and expected["text"] != seen.get("text"):
        return False
    if "code" in expected and not _has_code(seen, expected["code"]):
        return False
    attributes = seen.get("attributes") or {}
    return all(
        _attribute_matches(want, attributes.get(key, MISSING)) for key, want in expected.get("attributes", {}).items()
    )


def _attribute_matches(expected: Any, seen: Any) -> bool:
    if expected == {"absent": True}:
        return seen is MISSING
    return same(canonical(expected), canonical(seen))


def _has_code(error: Mapping[str, Any], code: str) -> bool:
    row = error_codes().get(code)
    if row is None or row["type"] != error.get("type"):
        return False
    return _fits(_pieces(row["text"]), str(error.get("text", "")))


def error_code(error: Mapping[str, Any]) -> str:
    """Return the code of an observed `error` by type and text, or `unclassified`."""
    return next((code for code in error_codes() if _has_code(error, code)), "unclassified")


@cache
def _pieces(template: str) -> tuple[str, ...]:
    return tuple(re.split(r"\{[a-z_]+\}", template))


def _fits(pieces: tuple[str, ...], text: str) -> bool:
    """Tell whether `text` is the `pieces` in order with anything between; linear, where a pattern would backtrack."""
    first, *rest = pieces
    if not rest:
        return text == first
    if not text.startswith(first) or len(text) < len(first) + len(rest[-1]) or not text.endswith(rest[-1]):
        return False
    position, end = len(first), len(text) - len(rest[-1])
    for piece in rest[:-1]:
        position = text.find(piece, position, end)
        if position < 0:
            return False
        position += len(piece)
    return position <= end


def compare(
    expected: Observation, seen: Observation, path: str, functions: Mapping[str, list[Expectation]] | None = None
) -> list[Difference]:
    """Return every difference between two full observations of the step at `path`, keys unseen in `seen` excepted.

    `functions` holds what the steps of each declared function expect: those with latitude are not compared.
    """
    return list(_compared(expected, seen, path, functions or {}))


def _compared(
    expected: Observation, seen: Observation, path: str, functions: Mapping[str, list[Expectation]]
) -> Iterator[Difference]:
    unseen = frozenset(seen.get("unseen", ()))
    for key in ("return", "error", "indicator"):
        if key in unseen:
            continue
        left, right = expected.get(key, MISSING), seen.get(key, MISSING)
        # Written alike is the same, and is found out faster.
        if repr(left) != repr(right) and not same(canonical(left), canonical(_as_far_as_known(left, right))):
            yield Difference(path, key, left, right)
    yield from _events_compared(expected.get("events", []), seen.get("events", []), path, functions)


def _as_far_as_known(left: Any, right: Any) -> Any:
    """Return what was seen without the bytes or the text that the model does not claim to know."""
    if not isinstance(left, Mapping) or not isinstance(right, Mapping):
        return right
    return {key: value for key, value in right.items() if key in left or key not in ("cstr", "hex", "text")}


def _events_compared(
    expected: list[Any], seen: list[Any], path: str, functions: Mapping[str, list[Expectation]]
) -> Iterator[Difference]:
    if not expected and not seen:
        return
    if len(expected) != len(seen) or any(_subject(e) != _subject(s) for e, s in zip(expected, seen, strict=True)):
        yield Difference(path, "events", [_subject(e) for e in expected], [_subject(s) for s in seen])
        return
    calls: dict[str, int] = {}
    for index, (left, right) in enumerate(zip(expected, seen, strict=True)):
        for key in _OF_DLPACK if "dlpack" in right else (*_OF_CALLS, *_OF_ERRORS):
            one, other = left.get(key, MISSING), right.get(key, MISSING)
            if not same(canonical(one), canonical(other)):
                yield Difference(path, f"events.{index}.{key}", one, other)
        if "call" not in right:
            continue
        name = right["call"]
        calls[name] = calls.get(name, 0) + 1
        inner = f"{path}/{name}.{calls[name]}"
        ours, theirs = left.get("steps", []), right.get("steps", [])
        if len(ours) != len(theirs):
            yield Difference(inner, "steps", f"{len(ours)} steps", f"{len(theirs)} steps")
        for position, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            stated = functions.get(name, [])[position : position + 1]
            if not any(map(latitude, stated)):
                yield from _compared(one, other, f"{inner}/{position}", functions)


def _without_unseen(seen: Observation) -> dict[str, Any]:
    return {key: value for key, value in seen.items() if key != "unseen"}
