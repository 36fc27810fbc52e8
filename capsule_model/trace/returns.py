"""Compare the values that steps return: addresses by token, strings by identity or bytes, words one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["MISSING", "canonical", "return_matches", "same"]


class _Missing:
    """Stand for a key that an observation does not have."""

    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()


def canonical(value: Any) -> Any:
    """Return `value` with every address written as `{"ref": T}`, an offset only where it is not 0."""
    if isinstance(value, Mapping):
        keys = value.keys()
        if keys == {"ptr"}:
            return {"ref": value["ptr"]}
        if keys == {"function"} or keys == {"object"}:
            return {"ref": value[next(iter(keys))]}
        return {
            key: canonical(inner)
            for key, inner in value.items()
            if not (key == "offset" and "ref" in keys and inner == 0)
        }
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value]
    return value


def same(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are equal; unlike `==`, neither `1 == true` nor `1 == 1.0`."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(inner, right[key]) for key, inner in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def return_matches(expected: Any, seen: Any) -> bool:
    """Tell whether a returned value, as observed, is what the vector's `return` says."""
    if isinstance(expected, Mapping) and isinstance(seen, Mapping):
        if "content" in expected:
            return _bytes(expected["content"]) == _bytes(seen)
        if "same" in expected:
            return same(canonical(expected["same"]), _address(seen))
        if "object" in expected:
            return _object_matches(expected, seen)
        if "fields" in expected:
            return _fields_match(expected["fields"], seen.get("fields"))
        if expected.keys() & {"ref", "ptr", "function"}:
            return same(canonical(expected), _address(seen))
    return same(canonical(expected), canonical(seen))


def _object_matches(expected: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    if "text" in expected and seen.get("text") != expected["text"]:
        return False
    return bool(expected["object"] == seen.get("object", seen.get("ref")))


def _fields_match(expected: Mapping[str, Any], seen: Any) -> bool:
    """Tell whether each field that is expected was seen so; others may be there."""
    if not isinstance(seen, Mapping):
        return False
    return all(same(canonical(value), canonical(seen.get(name, MISSING))) for name, value in expected.items())


def _address(seen: Mapping[str, Any]) -> Any:
    """Return the address of an observed value, without the bytes that a string brings along."""
    return canonical({key: inner for key, inner in seen.items() if key not in ("cstr", "hex")})


def _bytes(value: Mapping[str, Any]) -> bytes | None:
    try:
        if "cstr" in value:
            return str(value["cstr"]).encode("utf-8", "surrogatepass")
        return bytes.fromhex(value["hex"]) if "hex" in value else None
    except (TypeError, ValueError):
        return None
