"""Exercises of the notebook "Fuzzing your own destructor"."""

from __future__ import annotations

from typing import Any

from capsule_model.fuzz.broken import RuleBroken
from capsule_model.lessons.by_chance import by_chance
from capsule_model.lessons.exercise import Judge
from capsule_model.lessons.judging import predicted
from capsule_model.lessons.verdict import NotYet

__all__ = ["EXERCISES", "SUSPECTS"]

_GET_CONTEXT = {"op": "PyCapsule_GetContext", "args": {"capsule": {"arg": 0}}, "bind": "block"}
_FREE = {"op": "free", "args": {"ptr": {"ref": "block"}}}
_CLEAR = {"op": "PyErr_Clear", "args": {}, "leave": True}
_BY_NAME = {
    "op": "PyCapsule_GetPointer",
    "args": {"capsule": {"arg": 0}, "name": {"cstr": "mine"}},
    "leave": True,
}


def _destructor(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "destructor", "steps": list(steps)}


# Destructors of which some break a rule; the context of their capsules is a block from malloc.
SUSPECTS: dict[str, dict[str, Any]] = {
    "frees its context": _destructor(_GET_CONTEXT, _FREE),
    "frees it twice": _destructor(_GET_CONTEXT, _FREE, _FREE),
    "does nothing": _destructor(),
    "asks by name first": _destructor(_BY_NAME, _GET_CONTEXT, _FREE),
    "clears the error": _destructor(_GET_CONTEXT, _FREE, _CLEAR),
}


def which_survive(given: Any) -> str:
    """Judge which of five destructors survive every state in which their capsules die."""
    seen = {name for name, suspect in SUSPECTS.items() if by_chance(suspect, resource="malloc") is None}
    hint = "the block goes back once; the error indicator is left as it was found, under every name"
    predicted(set(given), seen, "the survivors", hint)
    return "one of five: what destructors break most is not memory but the error indicator"


def survivor(given: Any) -> str:
    """Judge a declared destructor that frees its context and notes that it ran in a second block of the context."""
    found = by_chance(_as_declared(given), resource="malloc", programs=400, seed=7)
    if found is not None:
        raise NotYet(f"{found.rule}; seen: {found.seen}", _what_was_done(found))
    if not any(step.get("op") == "PyCapsule_SetContext" for step in given["steps"]):
        raise NotYet("it does not set the context to NULL", "PyCapsule_SetContext takes null for NULL")
    return "400 programs from another seed, and no rule broken"


def shortest(given: Any) -> str:
    """Judge a prediction: how many steps the shortest program takes that shows a destructor clearing errors."""
    found = by_chance(SUSPECTS["clears the error"])
    assert found is not None
    hint = "a capsule has to be there, and it has to die while something is pending"
    predicted(given, len(found.program["steps"]), "the number of steps", hint)
    return "make a capsule, and let it die while an exception is pending: two steps, found by chance and then shortened"


def _as_declared(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or given.get("kind") != "destructor" or not isinstance(given.get("steps"), list):
        raise NotYet("that is no destructor", 'a destructor is {"kind": "destructor", "steps": [STEP, …]}')
    return given


def _what_was_done(found: RuleBroken) -> str:
    operations = [str(step["op"]) for step in found.program["steps"]]
    return f"it takes {len(operations)} steps to show it: {', '.join(operations)}"


EXERCISES: dict[str, Judge] = {"which-survive": which_survive, "shortest": shortest, "survivor": survivor}
