"""Make programs that an adapter can perform which lacks features, or which destructors wait behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from capsule_model.conform.answers import Started
from capsule_model.trace.needs import needs

__all__ = ["Needs", "adapted"]

Step = Mapping[str, Any]

# What native functions do, as scripts.
_SCRIPTS: dict[str, list[dict[str, Any]]] = {
    "PyErr_NoMemory": [{"op": "PyErr_NoMemory", "args": {}, "leave": True}],
    "PyErr_Clear": [{"op": "PyErr_Clear", "args": {}, "leave": True}],
    "PyCapsule_GetContext": [{"op": "PyCapsule_GetContext", "args": {"capsule": {"arg": 0}}}],
}


class Needs:
    """Tell of a step whether an adapter that says ``about`` of itself has what it needs."""

    def __init__(self, about: Started) -> None:
        self._ops, self._features = about.ops, about.features
        # An exception that is left meets the next destructor.
        if "compiled-destructors" not in about.features:
            self._features -= {"error-indicator"}
        # With what stands in a step besides its arguments, what it needs is the same for all of its operation.
        self._known: dict[tuple[str, bool], bool] = {}

    def __call__(self, step: Step) -> bool:
        """Return true where operation and features are there."""
        key = step["op"], "pending" in step or bool(step.get("leave"))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = key[0] in self._ops and needs({"steps": [step]}) <= self._features
        return known


def adapted(shared: Mapping[str, Any], about: Started, inside: Callable[[Step], bool]) -> dict[str, Any]:
    """Return what programs declare, as an adapter can have it.

    Scripts keep the steps that ``inside`` allows. Native functions become scripts where destructors wait, since nobody
    could see whether they were called; and where the adapter has none. One that leaves an exception also becomes a
    script where no function that is called after it could meet the exception, as a collection has it.
    """
    scripts = about.defers or "native-destructors" not in about.features
    deaf = "compiled-destructors" not in about.features
    functions: dict[str, Any] = {}
    for name, function in shared["functions"].items():
        if "native" in function and (scripts or (deaf and function["native"] == "PyErr_NoMemory")):
            function = {"kind": "destructor", "max_calls": 64, "steps": _SCRIPTS[function["native"]]}
        if "steps" in function:
            function = {**function, "steps": [step for step in function["steps"] if inside(step)]}
        functions[name] = function
    modules = shared["modules"] if "modules" in about.features else {}
    if "compiled-destructors" not in about.features:
        modules = {name: _without_destructors(module) for name, module in modules.items()}
    return {**shared, "functions": functions, "modules": modules}


def _without_destructors(value: Any) -> Any:
    """Return a part of a module whose capsules call nothing when they die, as they would with an exception pending."""
    if isinstance(value, Mapping):
        return {key: None if key == "destructor" else _without_destructors(inner) for key, inner in value.items()}
    return value
