"""Results made by hand for the tests: reports as `conform --json` writes them, good and hostile."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsule_model.conform.runner import OUTCOMES
from capsule_model.show.comparison import Comparison, compare
from capsule_model.show.results import read_results

DIGEST = "0123456789abcdef"
LINK = "https://example.org/why#here"
HOSTILE = (
    "b``</style><script>alert(1)</script> \"'><img src=x onerror=alert(1)> `a` | * _x_ [l](javascript:x)"
    "\n\n# h \u202e http://x.example www.x.example"
)


def passed(name: str) -> dict[str, Any]:
    """Return the entry of a vector that passed."""
    return {"id": name, "outcome": "passed", "rules": []}


def failed(name: str, seen: Any = "p2", key: str = "return", **keys: Any) -> dict[str, Any]:
    """Return the entry of a vector that failed at its first step."""
    difference = {"path": "0", "key": key, "expected": {"ptr": "p1"}, "model": "p1", "seen": seen}
    return {"id": name, "outcome": "failed", "rules": [], "differences": [difference], **keys}


def declared(name: str, class_: str, reason: str = "it waits", link: str = LINK, **keys: Any) -> dict[str, Any]:
    """Return the entry of a vector whose divergence is declared."""
    return failed(name, expected={"class": class_, "reason": reason, "link": link}, **keys)


def lacking(name: str, *what: str) -> dict[str, Any]:
    """Return the entry of a vector that is unsupported."""
    return {"id": name, "outcome": "unsupported", "rules": [], "detail": f"needs {', '.join(what)}"}


def result(*vectors: Mapping[str, Any], about: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Return a report of `vectors`; `about` and `keys` replace parts of it."""
    counted = Counter(vector["outcome"] for vector in vectors)
    implementation: dict[str, Any] = {"name": "sample", "version": "1.0", "profile": None, "features": [], "absent": {}}
    return {
        "format": 1,
        "specification": {"version": "0.1.0", "vectors": DIGEST},
        "implementation": {**implementation, **(about or {})},
        "profile": "cpython-3.13",
        "summary": {
            **{outcome: counted[outcome] for outcome in OUTCOMES},
            "rules": {"reached": 3, "total": 4, "percent": 75.0},
        },
        "vectors": list(vectors),
        "problems": [],
        **keys,
    }


def written(folder: Path, results: Mapping[str, Any]) -> list[Path]:
    """Write `results` by name into `folder` and return the files."""
    files = [folder / f"{name}.json" for name in results]
    for file, document in zip(files, results.values(), strict=True):
        file.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return files


def compared(folder: Path, **results: Any) -> Comparison:
    """Return the comparison of `results`, written into `folder` and read from there."""
    return compare(read_results(written(folder, results)))


def hostile() -> dict[str, Any]:
    """Return a result in which everything that an adapter or a file of expectations can say is hostile."""
    long = HOSTILE * 8000
    return result(
        passed("capsule.a.good"),
        failed("capsule.a.text", HOSTILE, detail=HOSTILE),
        failed("capsule.a.long", long, detail=long),
        failed("capsule.a.error", {"type": HOSTILE, "text": HOSTILE, "attributes": {HOSTILE: long}}, "error"),
        failed("capsule.a.events", [HOSTILE, {HOSTILE: HOSTILE}], "events"),
        failed("capsule.a.unworded", {"same": {"module": 5}}),
        failed("capsule.a.half", "\ud800 half a pair"),
        {**failed("capsule.a.key", key=HOSTILE)},
        declared("capsule.b.reason", "differs", HOSTILE, "https://example.org/(<script>)[x]|`'\"&copy;"),
        declared("capsule.b.reason-long", "crash", long, "https://user@example.org/"),
        lacking("capsule.c.lacking", "layout", HOSTILE),
        {"id": "capsule.c.unnamed", "outcome": "unsupported", "rules": [], "detail": long},
        {"id": "capsule.c.crashed", "outcome": "crashed", "rules": [], "detail": HOSTILE},
        about={
            "name": f"# {HOSTILE}",
            "version": long,
            "profile": HOSTILE,
            "features": [HOSTILE, long],
            "absent": {"layout": HOSTILE, HOSTILE: long},
        },
        profile=HOSTILE,
        expectations={"files": [HOSTILE], "digest": DIGEST, "faults": [long]},
        problems=[HOSTILE, long],
    )
