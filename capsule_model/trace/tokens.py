"""Collect the names of a vector: its one name space of tokens, and which of them exist when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from capsule_model.trace.contract import OBJECT_KINDS
from capsule_model.trace.wording import shown

__all__ = ["Names", "names_of"]

Vector = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one vector."""

    functions: frozenset[str]
    modules: frozenset[str]
    everything: frozenset[str]
    collisions: tuple[str, ...]
    _early: frozenset[str]
    _binds: tuple[str | None, ...]

    def bound_before(self, index: int) -> frozenset[str]:
        """Return the names that may exist when the top-level step `index` begins."""
        return self._early.union(name for name in self._binds[:index] if name is not None)


def names_of(vector: Vector) -> Names:
    """Collect the names of a schema-valid `vector`."""
    functions = vector.get("functions", {})
    modules = vector.get("modules", {})
    inner = [step for function in functions.values() for step in function.get("steps", ())]
    binds = tuple(step.get("bind") for step in vector["steps"])
    attributes = set(_module_tokens(modules))
    bound = {name for name in binds if name} | {step["bind"] for step in inner if "bind" in step}
    spaces: dict[str, set[str]] = {
        "a bound name": bound | attributes,
        "a ptr token": set(_pointers([vector["steps"], functions, modules])),
        "a function": set(functions),
        "a module": set(modules),
        "an object kind": set(OBJECT_KINDS),
    }
    early = frozenset().union(*spaces.values()) - {name for name in binds if name}
    early |= {step["bind"] for step in inner if "bind" in step} | set(attributes)
    everything = frozenset().union(*spaces.values())
    return Names(frozenset(functions), frozenset(modules), everything, tuple(_collisions(spaces)), early, binds)


def _collisions(spaces: Mapping[str, set[str]]) -> Iterator[str]:
    kinds = list(spaces)
    for position, first in enumerate(kinds):
        for second in kinds[position + 1 :]:
            for name in sorted(spaces[first] & spaces[second]):
                yield f"{shown(name)} is {first} and {second}; expected one meaning for each name"


def _module_tokens(modules: Vector) -> Iterator[str]:
    """Yield the tokens of the capsules that modules make: their `bind`, else MODULE.ATTR."""
    for module, declared in modules.items():
        if declared is not None:
            yield from _value_tokens(module, declared)


def _value_tokens(path: str, declared: Vector) -> Iterator[str]:
    named = {key: declared[key] for key in ("entry", "becomes") if key in declared}
    for table in ("attrs", "class_attrs", "getattr"):
        named |= declared.get(table, {})
    for attribute, value in named.items():
        if "capsule" in value:
            yield value.get("bind", f"{path}.{attribute}")
        for holder in ("class", "instance"):
            if holder in value:
                yield from _value_tokens(f"{path}.{attribute}", value[holder])


def _pointers(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        pointer = value.get("ptr")
        if isinstance(pointer, str) and len(value) == 1:
            yield pointer
        else:
            for inner in value.values():
                if isinstance(inner, dict | list):
                    yield from _pointers(inner)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict | list):
                yield from _pointers(inner)
