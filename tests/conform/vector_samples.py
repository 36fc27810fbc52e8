"""Small vectors, and an adapter that answers as it is told: what the tests of the runner are made of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started, Unsupported
from capsule_model.conform.runner import Result, run_vectors
from capsule_model.conform.session import Session
from capsule_model.profiles import PROFILES
from capsule_model.trace.contract import operations
from capsule_model.trace.needs import FEATURES

ROOT = Path(__file__).resolve().parents[2]
CONTROLS = f"{sys.executable} -m capsule_model.conform.controls"

NEW: dict[str, Any] = {
    "op": "PyCapsule_New",
    "args": {"pointer": {"ptr": "p1"}, "name": {"cstr": "a"}, "destructor": None},
    "bind": "c",
}
GET: dict[str, Any] = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "a"}}}
SOUND = GET | {"expect": {"return": {"ptr": "p1"}}}
WRONG = GET | {"expect": {"return": None}}
QUIET: dict[str, Any] = {"error": None, "indicator": "clear", "events": []}
FREE: list[dict[str, Any]] = [
    {"op": "malloc", "args": {"size": 8}, "bind": "b"},
    {"op": "free", "args": {"ptr": {"ref": "b"}}},
    {"op": "free", "args": {"ptr": {"ref": "b"}}},
]


def vector(name: str, *steps: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """Return a vector that makes a capsule, then does `steps`, and leaks the capsule."""
    start = {"id": f"test.sample.{name}", "title": f"{name} is shown", "rules": ["PyCapsule_New/returns-capsule"]}
    return {**start, "steps": [NEW, *steps], "leaks": ["c"], **keys}


class Fake:
    """An adapter that answers with what `answers` has for a vector's id, else as the model does."""

    def __init__(self, answers: Mapping[str, Any], profile: str = "cpython-3.13", **changes: Any) -> None:
        self.answers = answers
        self.sent: list[str] = []
        about = {"ops": frozenset(operations()), "features": frozenset(FEATURES), **changes}
        self.about = Started("fake", "1", profile, **about)

    def start(self) -> Started:
        """Begin."""
        return self.about

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Answer as told."""
        from capsule_model.trace.execute import run as model

        self.sent.append(vector["id"])
        answer = self.answers.get(vector["id"].rpartition(".")[2])
        if isinstance(answer, Misbehaviour):
            raise answer
        if answer is not None:
            return answer  # type: ignore[no-any-return]
        seen = model(vector, PROFILES["cpython-3.13"])
        return Ran(seen.steps, seen.leaks)

    def stop(self) -> None:
        """End."""


def results(fake: Fake, *vectors: Any, profile: str = "cpython-3.13") -> list[Result]:
    """Return the results of `vectors` with the adapter `fake`."""
    found, bad = run_vectors(vectors, Session(fake), fake.about, PROFILES[profile], copies=False)
    assert bad == []
    return found
