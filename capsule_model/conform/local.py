"""Run vectors in this process: through an adapter file, or on the model behind the adapter protocol."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started, Unsupported, parse_line, ran, started
from capsule_model.profiles import Profile
from capsule_model.trace.contract import operations
from capsule_model.trace.needs import FEATURES

__all__ = ["InProcess", "ModelAdapter"]


class InProcess:
    """An adapter file imported here; its crash is this program's crash, and its hang too."""

    def __init__(self, file: Path) -> None:
        spec = importlib.util.spec_from_file_location("capsule_model_adapter", file)
        if spec is None or spec.loader is None or not file.is_file():
            raise FileNotFoundError(f"{file}: expected an adapter in Python")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
            self._adapter: Any = module.Adapter()
        except Exception as error:
            raise ValueError(f"{file} cannot be used here: {type(error).__name__}: {error}") from error

    def start(self) -> Started:
        """Return what the adapter says of itself."""
        return started(_as_sent({"protocol": 1, **self._adapter.start()}))

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Perform one vector."""
        try:
            answer = self._adapter.run(vector)
        except Exception as error:
            raise Misbehaviour("errored", f"raised {type(error).__name__}: {error}") from error
        return ran(_as_sent(answer))

    def stop(self) -> None:
        """Do nothing: the adapter ends with this process."""


class ModelAdapter:
    """The model behind the interface of an adapter, under one profile."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def start(self) -> Started:
        """Return what the model says of itself."""
        return Started(
            "capsule-model", "model", self._profile.name, frozenset(operations()), frozenset(FEATURES), behaviours=None
        )

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Perform one vector on the model; undefined behaviour and an aborted process are a crash."""
        from capsule_model.trace.execute import BadVector, run

        try:
            seen = run(vector, self._profile)
        except BadVector as error:
            return Refused(error.message, error.path)
        if seen.diagnosis is not None or seen.aborted is not None:
            raise Misbehaviour("crashed", str(seen.diagnosis or seen.aborted).partition("\n")[0])
        return Ran(list(seen.steps), list(seen.leaks))

    def stop(self) -> None:
        """Do nothing: the model holds no resources."""


def _as_sent(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return `answer` as the other end of a pipe would read it."""
    return parse_line(json.dumps(answer).encode())
