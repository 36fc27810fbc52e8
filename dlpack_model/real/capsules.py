"""The adapter of the capsule API, a file of the specification, as a module that arrays are added to."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from capsule_model.locate import specs

__all__ = ["CAPSULES"]


def _load() -> Any:
    """Return a copy of the module of our own, so that its tables may be added to."""
    spec = importlib.util.spec_from_file_location(f"{__name__}.ctypes_adapter", specs() / "adapters/ctypes_adapter.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CAPSULES = _load()
