"""Match values of observations against patterns that a person wrote, and leave parts of them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from json import JSONEncoder
from typing import Any

from capsule_model.trace.expectation import compare

__all__ = ["alike", "as_text", "fits", "without"]

# What is no JSON, as a key that is not there, is equal to itself alone.
as_text = JSONEncoder(sort_keys=True, default=repr).encode


def fits(pattern: Any, value: Any) -> bool:
    """Tell whether a value is as a pattern says.

    A table fits one that has at least its keys, a list one of its length. A text may have ``*`` and ``?``; ``NULL`` is
    what there is not, and ``*`` alone is anything, except that.
    """
    match pattern:
        case "NULL":
            return value is None
        case "*":
            return value is not None
        case str():
            return isinstance(value, str) and fnmatchcase(value, pattern)
        case Mapping():
            return isinstance(value, Mapping) and all(
                key in value and fits(inner, value[key]) for key, inner in pattern.items()
            )
        case list():
            return (
                isinstance(value, list | tuple)
                and len(value) == len(pattern)
                and all(fits(*pair) for pair in zip(pattern, value, strict=True))
            )
        case _:
            return type(pattern) is type(value) and bool(pattern == value)


def without(value: Any, paths: Iterable[str]) -> Any:
    """Return a value without what is at some paths of keys joined by dots.

    A key is that of each table in a list; a table in a list that has no other keys is left out itself.
    """
    for path in paths:
        value = _without(value, path.split("."))
    return value


def _without(value: Any, keys: list[str]) -> Any:
    first, *rest = keys
    if isinstance(value, list | tuple):
        return [kept for inner in value if (kept := _without(inner, keys)) != {} or inner == {}]
    if not isinstance(value, Mapping) or first not in value:
        return value
    if not rest:
        return {key: inner for key, inner in value.items() if key != first}
    return {**value, first: _without(value[first], rest)}


def alike(expected: Any, seen: Any, paths: Iterable[str]) -> bool:
    """Tell whether two values of an observation differ at most in what is at some paths."""
    one, other = without(expected, paths), without(seen, paths)
    return as_text(one) == as_text(other) or not compare({"return": one}, {"return": other}, "")
