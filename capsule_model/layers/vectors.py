"""The operations of the suite ``layers``: what a step of a vector does in the models of what is built on capsules."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from capsule_model.trace.extensions import Extension
from capsule_model.trace.operations import Operation

__all__ = ["EXTENSION", "PARTS"]

# Each a module or a package of capsule_model.layers with OPERATIONS, and with MODULES where rules are carried out.
PARTS = ("pyo3",)

_OPERATIONS: dict[str, Operation] = {}
_MODULES: list[ModuleType] = []
for _part in map(import_module, (f"capsule_model.layers.{name}" for name in PARTS)):
    _OPERATIONS |= _part.OPERATIONS
    _MODULES += getattr(_part, "MODULES", (_part,))

EXTENSION = Extension("layers", _OPERATIONS, tuple(_MODULES))
