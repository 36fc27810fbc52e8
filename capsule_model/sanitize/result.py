"""The result of a run under a checker: what it says of each vector, and of each kind, as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from capsule_model import __version__
from capsule_model.conform.answers import Started
from capsule_model.conform.report import vectors_digest
from capsule_model.conform.runner import sent
from capsule_model.profiles import Profile
from capsule_model.sanitize.limits import limit_for
from capsule_model.sanitize.run import Seen
from capsule_model.sanitize.tools import Setup
from capsule_model.sanitize.verdict import Claim, compare
from capsule_model.trace.files import read_text
from capsule_model.undefined import Kind
from capsule_model.whole import write_whole

__all__ = ["MOST_READ", "digest_of", "merged", "read_document", "result_of", "shortcomings", "write_document"]

MOST_READ = 8 * 1024 * 1024
Document = dict[str, Any]


def result_of(
    setup: Setup,
    about: Started,
    profile: Profile,
    vectors: Sequence[Mapping[str, Any]],
    claims: Mapping[str, Claim],
    seen: Mapping[str, Seen],
) -> Document:
    """Return the result of one run, as it stands in the list `runs` of a document."""
    rows = [_row(setup, vector, claims[vector["id"]], seen[vector["id"]]) for vector in vectors if vector["id"] in seen]
    return {
        "tool": {"name": setup.tool, "version": setup.version},
        "implementation": {"name": about.implementation, "version": about.version, "instrumented": setup.instrumented},
        "profile": profile.name,
        "specification": {"version": __version__, "vectors": digest_of(vectors)},
        "totals": _totals(rows),
        "kinds": {kind: _totals([row for row in rows if row["kind"] == kind]) for kind in _kinds(rows)},
        "not_applicable": sorted(vector["id"] for vector in vectors if vector["id"] not in seen),
        "vectors": rows,
    }


def digest_of(vectors: Iterable[Mapping[str, Any]]) -> str:
    """Return the hash of what is performed of vectors: titles, rules and expectations are not."""
    return vectors_digest([sent(dict(vector)) for vector in vectors])


def shortcomings(result: Mapping[str, Any]) -> list[str]:
    """Return a line for each vector that makes a run a bad one: a false alarm, a miss without a reason, not run."""
    lines = []
    for row in result["vectors"]:
        if row["verdict"] == "missed" and row["limit"] is None:
            lines.append(f"{row['id']}: missed, and no limit of the tool explains it")
        elif row["verdict"] in ("false alarm", "not run"):
            at = "" if row["step"] is None else f" at step {row['step']}"
            lines.append(f"{row['id']}: {row['verdict']}: {row['seen']} {row['word']}".rstrip() + at)
    return lines


def merged(earlier: Document | None, result: Document) -> Document:
    """Return the document with a run in it, in place of an earlier one of the same tool."""
    runs = [] if earlier is None else [run for run in earlier["runs"] if run["tool"]["name"] != result["tool"]["name"]]
    return {"format": 1, "runs": sorted([*runs, result], key=lambda run: str(run["tool"]["name"]))}


def read_document(file: Path) -> Document:
    """Read what `write_document` wrote; raise `ValueError` with one line where it is something else."""
    text = read_text(file, MOST_READ, "results of capsule-model sanitize")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON; expected results of capsule-model sanitize") from None
    runs = document.get("runs") if isinstance(document, dict) and document.get("format") == 1 else None
    if not isinstance(runs, list) or not all(isinstance(run, dict) and _is_run(run) for run in runs):
        raise ValueError("has no runs of format 1; expected results of capsule-model sanitize")
    return dict(document)


def write_document(document: Document, file: Path) -> None:
    """Write a document, a vector a line; raise `OSError` where it cannot be written."""
    write_whole(_dump(document), file)


def _is_run(run: Mapping[str, Any]) -> bool:
    keys = {"tool", "implementation", "profile", "specification", "totals", "kinds", "not_applicable", "vectors"}
    return run.keys() >= keys and isinstance(run["tool"], dict) and isinstance(run["tool"].get("name"), str)


def _row(setup: Setup, vector: Mapping[str, Any], claim: Claim, seen: Seen) -> Document:
    _, kind, pair = str(vector["id"]).split(".", 2) if str(vector["id"]).count(".") > 1 else ("", "", "")
    compared = compare(claim, seen)
    missed = compared.verdict == "missed" and claim.kind is not None
    limit = limit_for(setup.tool, setup.instrumented, str(claim.kind), pair) if missed else None
    return {
        "id": vector["id"],
        "kind": str(claim.kind or kind),
        "undefined": claim.kind is not None,
        "model_step": None if claim.kind in (None, Kind.LEAK) else claim.step,
        "seen": seen.outcome,
        "word": "leak" if claim.kind == Kind.LEAK and seen.leaks and not seen.word else seen.word,
        "step": seen.step,
        "leaks": seen.leaks,
        "verdict": compared.verdict,
        "later": compared.later,
        "limit": None if limit is None else limit.word,
    }


def _kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    known = [str(kind) for kind in Kind]
    return sorted({row["kind"] for row in rows}, key=lambda kind: (known.index(kind) if kind in known else 99, kind))


def _totals(rows: Sequence[Mapping[str, Any]]) -> Document:
    """Count verdicts, those of undefined vectors and of defined ones apart."""
    undefined = Counter(row["verdict"] for row in rows if row["undefined"])
    defined = Counter(row["verdict"] for row in rows if not row["undefined"])
    return {
        "undefined": sum(undefined.values()),
        "seen": undefined["agrees"],
        "later": sum(row["later"] for row in rows),
        "missed": undefined["missed"],
        "unexplained": sum(row["verdict"] == "missed" and row["limit"] is None for row in rows),
        "defined": sum(defined.values()),
        "silent": defined["agrees"],
        "false_alarms": undefined["false alarm"] + defined["false alarm"],
        "not_run": undefined["not run"] + defined["not run"],
    }


def _dump(document: Document) -> str:
    runs = []
    for run in document["runs"]:
        lines = []
        for key, value in run.items():
            text = json.dumps(value)
            if key in ("kinds", "vectors") and value:
                items = (
                    [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in value.items()]
                    if key == "kinds"
                    else list(map(json.dumps, value))
                )
                ends = "{}" if key == "kinds" else "[]"
                text = ends[0] + "\n   " + ",\n   ".join(items) + ends[1]
            lines.append(f"  {json.dumps(key)}: {text}")
        runs.append("{\n" + ",\n".join(lines) + "}")
    return '{"format": 1, "runs": [\n ' + ",\n ".join(runs) + "\n]}\n"
