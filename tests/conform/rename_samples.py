"""Steps and vectors that the tests of renaming are made of."""

from __future__ import annotations

from typing import Any

Step = dict[str, Any]


def vector(*steps: Step, **keys: Any) -> dict[str, Any]:
    """Return a vector of `steps`."""
    return {"id": "test.rename.one", "title": "x", "rules": ["A/b"], "steps": list(steps), **keys}


def new(name: str, bind: str = "c") -> Step:
    """Return the step that makes a capsule of a name."""
    args = {"pointer": {"ptr": "p1"}, "name": {"cstr": name}, "destructor": None}
    return {"op": "PyCapsule_New", "args": args, "bind": bind}


def string(text: str, bind: str) -> Step:
    """Return the step that makes a string."""
    return {"op": "string", "args": {"bytes": {"cstr": text}}, "bind": bind}


def get(name: str, capsule: str = "c") -> Step:
    """Return the step that takes the pointer out of a capsule."""
    return {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": capsule}, "name": {"cstr": name}}}
