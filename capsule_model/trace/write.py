"""Write vectors as JSON in the layout that the specification keeps: a step a line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["dump_vectors"]


def dump_vectors(vectors: Sequence[Mapping[str, Any]]) -> str:
    """Return a vector file as text: sorted by nothing, a key of a vector a line, a step a line."""
    written = ",\n".join(_vector(vector) for vector in vectors)
    return f'{{"format": 1, "vectors": [\n{written}\n]}}\n'


def _vector(vector: Mapping[str, Any]) -> str:
    lines = [f' "{key}": {_entry(key, value)}' for key, value in vector.items()]
    return "{" + ",\n".join(lines)[1:] + "}"


def _entry(key: str, value: Any) -> str:
    if key == "steps" and value:
        return "[\n  " + ",\n  ".join(_line(step) for step in value) + "]"
    if key in ("functions", "modules") and value:
        inner = ",\n  ".join(f"{_line(name)}: {_line(described)}" for name, described in value.items())
        return "{\n  " + inner + "}"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
