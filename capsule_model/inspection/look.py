"""Capsules by name, each looked at in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsule_model.inspection.judge import asked_of, capsule_of, own_path
from capsule_model.inspection.names import steps_of
from capsule_model.inspection.processes import Dead, Python, converse
from capsule_model.inspection.record import Capsule
from capsule_model.trace.wording import clean

__all__ = ["fresh_import", "look"]


def look(name: str, python: Python, limit: float) -> tuple[str, str, Capsule]:
    """Return version and profile of a Python, and its capsule at a NAME; ``ValueError`` with one line for none."""
    request = {"do": "look", "steps": steps_of(name), "path": name}
    said: list[dict[str, Any]] = []
    try:
        said.extend(converse(python, request, limit))
    except Dead as dead:
        raise ValueError(f"{clean(name)}: {dead}; expected a module that can be imported") from None
    try:
        hello, told = said
        if "missing" in told:
            raise ValueError(f"{clean(name)}: {clean(str(told['missing']), 400)}")
        facts = told["capsule"]
        version, profile = str(hello["python"]), str(hello["profile"])
        path = own_path(facts)
        return version, profile, capsule_of(facts, profile, None if path is None else fresh_import(path, python, limit))
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{clean(name)}: the process answers with what is no answer") from None


def fresh_import(path: str, python: Python, limit: float) -> Mapping[str, Any] | None:
    """Return what ``PyCapsule_Import`` makes of a path in a process that has imported nothing, None where that died."""
    try:
        said = list(converse(python, {"do": "import", "name": path.encode().hex()}, limit))
        found: dict[str, Any] = said[1]["asked"]
        asked_of(found, "", fresh=True)
    except (Dead, AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return found
