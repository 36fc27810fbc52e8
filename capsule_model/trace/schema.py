"""Validate against a JSON Schema, with one readable line for each fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import jsonschema_rs

from capsule_model.trace.wording import clean, shown

__all__ = ["Validator"]

Path = tuple[str | int, ...]

_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "boolean": "true or false",
    "null": "null",
}


class Validator:
    """A compiled JSON Schema of draft 2020-12."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._compiled = jsonschema_rs.Draft202012Validator(dict(schema))

    def faults(self, value: Any, limit: int) -> Iterator[tuple[Path, str]]:
        """Yield at most `limit` faults of `value`: the path to each, and what was found and expected."""
        if self._compiled.is_valid(value):
            return
        for error in islice(self._compiled.iter_errors(value), limit):
            yield self._explained(error)

    def _explained(self, error: Any) -> tuple[Path, str]:
        while error.kind.name == "oneOf" and hasattr(error.kind, "context"):
            branches = [branch for branch in _meant(error) if branch]
            if not branches:
                choices = " or ".join(map(self._choice, self._at(error.schema_path)))
                return tuple(error.instance_path), f"found {shown(error.instance, 80)}; expected {choices}"
            constants = [shown(b[0].kind.expected_value) for b in branches if b[0].kind.name == "const"]
            error = _telling(branches[0], len(error.instance_path))
            if len(constants) == len(branches) > 1:
                return tuple(error.instance_path), f"found {shown(error.instance, 80)}; expected {_either(constants)}"
        return tuple(error.instance_path), self._worded(error)

    def _at(self, schema_path: list[str | int]) -> Any:
        place: Any = self._schema
        for part in schema_path:
            place = place[part]
        return place

    def _choice(self, branch: Mapping[str, Any]) -> str:
        if "$ref" in branch:
            branch = self._at(branch["$ref"].removeprefix("#/").split("/"))
        if branch.get("required"):
            return "{" + ", ".join(f'"{key}": …' for key in branch["required"]) + "}"
        if branch.get("type") == "object":
            return "an object with " + ", ".join(branch.get("properties", {}))
        return _TYPES.get(str(branch.get("type")), "another form")

    def _worded(self, error: Any) -> str:
        kind, value = error.kind, shown(error.instance, 80)
        match kind.name:
            case "additionalProperties":
                unknown = ", ".join(shown(key, 60) for key in kind.unexpected)
                expected = ", ".join(self._at(error.schema_path[:-1]).get("properties", {}))
                return f"unknown key {unknown}; expected only {expected}"
            case "required":
                return f"found {value}; expected the key {shown(kind.property)}"
            case "type":
                return f"found {value}; expected {_either([_TYPES.get(t, t) for t in kind.types])}"
            case "const":
                return f"found {value}; expected {shown(kind.expected_value)}"
            case "enum":
                return f"found {value}; expected {_either([shown(option) for option in kind.options])}"
            case "pattern":
                return f"found {value}; expected text that matches {kind.pattern}"
            case "propertyNames":
                return f"a key is wrong: {self._worded(kind.error)}"
            case "uniqueItems":
                return f"found {value}; expected no item twice"
            case _ if hasattr(kind, "limit"):
                return f"found {value}; expected {kind.name} {kind.limit}"
            case _:
                return clean(f"found {value}; expected otherwise: {error.message}", 300)


def _meant(error: Any) -> list[list[Any]]:
    """Return the branches of a failed `oneOf` that the writer may have meant, the likeliest first."""
    own = len(error.instance_path)
    ranked = []
    for branch in error.kind.context:
        here = [e.kind.name for e in branch if len(e.instance_path) == own]
        if "type" in here or here.count("required") > 1 or ("required" in here and "additionalProperties" in here):
            continue
        if "required" in here and not error.instance:
            continue
        ranked.append((any(e.kind.name == "const" for e in branch), len(here), branch))
    ranked.sort(key=lambda entry: entry[:2])
    return [branch for wrong, count, branch in ranked if (wrong, count) == ranked[0][:2]]


def _telling(branch: list[Any], own: int) -> Any:
    return next((e for e in branch if len(e.instance_path) > own), branch[0])


def _either(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else "one of " + ", ".join(choices)
