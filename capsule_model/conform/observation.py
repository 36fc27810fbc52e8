"""Make of what was observed a hash that is the same in every run and on every machine.

The normalised observation is that of specs/formats/expectations.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from capsule_model.conform.runner import Divergence, Result
from capsule_model.trace.returns import MISSING

__all__ = ["hash16", "lasting", "observation_hash"]

_STDERR = "; its standard error ends: "
_LATE = re.compile(r"^after its answer, before that of [^:]*: ")
_DEATH = re.compile(r"died of (?:SIG\w+|signal \d+)|ended with exit code \d+")
# What differs from run to run and from machine to machine: addresses and hashes in digits, and paths of files.
_PASSING = re.compile(r"0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|\b[0-9]{6,}\b|(?<![\w/.])(?:/[\w.+-]+){2,}")
_BIG = 0x10000


def hash16(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of `value` as JSON with sorted keys and no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def observation_hash(result: Result) -> str | None:
    """Return the hash of what was observed, the same in every run; None for an outcome that is no divergence."""
    match result.outcome:
        case "failed":
            ordered = sorted(result.divergences, key=lambda divergence: (divergence.path, divergence.key))
            return hash16({"outcome": "failed", "differences": [_difference(divergence) for divergence in ordered]})
        case "crashed":
            told = _told(result.detail)
            death = _DEATH.search(told)
            return hash16({"outcome": "crashed", "death": death[0] if death else told})
        case "errored":
            return hash16({"outcome": "errored", "detail": _told(result.detail)})
        case "timed-out":
            return hash16({"outcome": "timed-out"})
        case "unsupported":
            return hash16({"outcome": "unsupported", "lacking": sorted(lasting(name) for name in result.lacking)})
    return None


def _difference(divergence: Divergence) -> dict[str, Any]:
    seen = {} if divergence.seen is MISSING else {"seen": lasting(divergence.seen)}
    return {"path": divergence.path, "key": divergence.key, **seen}


def _told(detail: str | None) -> str:
    """Return a detail without what the process wrote on standard error and which vector came next."""
    text = (detail or "").partition(_STDERR)[0]
    return str(lasting(_LATE.sub("", text)))


def lasting(value: Any) -> Any:
    """Return `value` without what is another in the next run; bytes, in `hex`, stay."""
    match value:
        case str():
            return _PASSING.sub("…", value)
        case bool() | None:
            return value
        case int():
            return "…" if abs(value) >= _BIG else value
        case Mapping():
            return {key: inner if key == "hex" else lasting(inner) for key, inner in value.items()}
        case list() | tuple():
            return [lasting(inner) for inner in value]
    return value
