"""Compute the features that an adapter must have to run a vector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from capsule_model.trace.contract import operations

__all__ = ["FEATURES", "needs", "operations_used"]

Vector = Mapping[str, Any]

FEATURES = (
    "error-indicator",
    "compiled-destructors",
    "native-destructors",
    "macros",
    "layout",
    "poke",
    "gc",
    "modules",
    "memory",
    "python",
    "threads",
    "dlpack",
    "returns-on-failure",
)

_RELEASING = frozenset(
    {
        "Py_DECREF",
        "Py_DecRef",
        "PyCapsule_Import",
        "PyErr_WriteUnraisable",
        "PyObject_SetAttrString",
        "gc.collect",
        "import",
        "settle",
    }
)
_RAISING = frozenset({"PyErr_SetString", "PyErr_NoMemory"})
_WITH_AN_ERROR_BEFORE = frozenset({"unchanged", "replaced", "cleared"})


def needs(vector: Vector, observed: Iterable[Vector] | None = None) -> frozenset[str]:
    """Return the features that `vector` needs, as specs/formats/vector.md "Features" defines them.

    What a destructor meets and leaves is known only from a run: with `observed`, the observations of the
    model, that is exact; without, every step that may release a capsule while an error is pending counts.
    """
    found: set[str] = set()
    for step in _steps(vector):
        operation = operations().get(step["op"])
        found |= operation.needs if operation else frozenset()
        if "thread" in step:
            found.add("threads")
        if "pending" in step or step.get("leave") or any(map(_names_earlier_error, _expectations(step))):
            found.add("error-indicator")
    functions = vector.get("functions", {}).values()
    if any("native" in function for function in functions):
        found.add("native-destructors")
    if vector.get("modules"):
        found.add("modules")
    if _meets_errors(vector) if observed is None else _met_errors(observed):
        found.add("compiled-destructors")
    return frozenset(found)


def operations_used(vector: Vector) -> frozenset[str]:
    """Return the operations of all steps of `vector`, those inside functions included."""
    used = {step["op"] for step in vector["steps"]}
    for function in vector.get("functions", {}).values():
        used.update([step["op"] for step in function.get("steps", ())])
    return frozenset(used)


def _steps(vector: Vector) -> Iterator[Vector]:
    yield from vector["steps"]
    for function in vector.get("functions", {}).values():
        yield from function.get("steps", ())


def _expectations(step: Vector) -> Iterator[Vector]:
    for expect in [step.get("expect", {}), *(variant["expect"] for variant in step.get("variants", ()))]:
        yield expect
        yield from expect.get("any_of", ())


def _names_earlier_error(expect: Vector) -> bool:
    return expect.get("indicator") in _WITH_AN_ERROR_BEFORE


def _meets_errors(vector: Vector) -> bool:
    destructors = [f for f in vector.get("functions", {}).values() if f.get("kind") in ("destructor", "clear")]
    if any(step.get("leave") for function in destructors for step in function.get("steps", ())):
        return True
    if any(f.get("native") == "PyErr_NoMemory" for f in vector.get("functions", {}).values()) and destructors:
        return True
    if not destructors:
        return False
    left = False
    for step in vector["steps"]:
        if step["op"] in _RELEASING and (left or "pending" in step):
            return True
        left = left or bool(step.get("leave"))
    inner = (step for function in destructors for step in function.get("steps", ()))
    return any("pending" in step and step["op"] in _RELEASING for step in inner)


def _met_errors(observed: Iterable[Vector]) -> bool:
    for step in observed:
        for event in step.get("events", ()):
            if "call" not in event:
                continue
            if event.get("before") is not None or event.get("after") is not None:
                return True
            if _met_errors(event.get("steps", ())):
                return True
    return False
