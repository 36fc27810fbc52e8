"""What the layers add to vectors: the operations, rules and adapter of the suite ``layers``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from capsule_model.trace.extensions import Extension

if TYPE_CHECKING:
    from capsule_model.trace.execute import Machine
    from capsule_model.trace.operations import Operation

__all__ = ["EXTENSION", "PARTS"]

# Sub-modules with OPERATIONS; where they have them, MODULES with marks, and what happens after a step.
PARTS = ("steps", "pyo3")
_FOUND = [import_module(f"capsule_model.layers.{name}") for name in PARTS]


def _operations() -> dict[str, Operation]:
    return {name: operation for part in _FOUND for name, operation in part.OPERATIONS.items()}


def _after_step(machine: Machine) -> None:
    for part in _FOUND:
        if hasattr(part, "after_step"):
            part.after_step(machine)


EXTENSION = Extension(
    "layers",
    _operations(),
    tuple(module for part in _FOUND for module in getattr(part, "MODULES", (part,))),
    adapter=("-m", "capsule_model.layers.adapter"),
    after_step=_after_step,
)
