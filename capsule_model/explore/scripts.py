"""What destructors do that an exploration puts into capsules, each written as the function of a vector."""

from __future__ import annotations

from typing import Any

__all__ = ["DROP", "LEAVE", "RECORD", "RENAME", "SCRIPTS", "function_of"]

RECORD = "record"
RENAME = "rename"
LEAVE = "leave"
DROP = "drop"

_DYING = {"arg": 0}

# By name: what it does, and its steps; every step leaves in the error indicator what it found or made there.
SCRIPTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    RECORD: ("does nothing but be noticed", []),
    RENAME: (
        "gives its capsule no name and no destructor",
        [
            {"op": "PyCapsule_SetName", "args": {"capsule": _DYING, "name": None}},
            {"op": "PyCapsule_SetDestructor", "args": {"capsule": _DYING, "destructor": None}},
        ],
    ),
    LEAVE: (
        "leaves an exception",
        [{"op": "PyErr_SetString", "args": {"type": {"cstr": "KeyError"}, "message": {"cstr": "left"}}}],
    ),
    DROP: (
        "gives back a reference to the capsule that is its context",
        [
            {"op": "PyCapsule_GetContext", "args": {"capsule": _DYING}, "bind": "held"},
            {"op": "Py_DecRef", "args": {"o": {"ref": "held"}}},
        ],
    ),
}


def function_of(script: str, max_calls: int) -> dict[str, Any]:
    """Return the function of a vector that a script is, which may be called so often."""
    steps = [{**step, "leave": True} for step in SCRIPTS[script][1]]
    return {"kind": "destructor", "max_calls": max_calls, "steps": steps}
