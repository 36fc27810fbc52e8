"""Show foreign values in one safe line."""

from __future__ import annotations

import json
from typing import Any

_LIMIT = 200


def clean(text: str, limit: int = _LIMIT) -> str:
    """Return `text` on one line: at most `limit` characters, everything unprintable escaped."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in cut)


def shown(value: Any, limit: int = _LIMIT) -> str:
    """Return `value` as JSON on one line of at most `limit` characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of type {type(value).__name__}"
    return clean(text, limit)
