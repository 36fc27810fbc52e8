"""The command `claims`: run what proves them, show what they came to, and write the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from capsule_model.claims.page import counts, page, read_measured
from capsule_model.claims.prove import Judged, Prover
from capsule_model.claims.read import Claim, Claims, faults, read_claims
from capsule_model.conform.commands import known_names, progress
from capsule_model.locate import specs
from capsule_model.suites import suites_there, vectors_of
from capsule_model.trace.files import load
from capsule_model.trace.wording import clean
from capsule_model.whole import write_whole

__all__ = ["Vectors", "as_json", "claims", "load_vectors", "record", "text_of_page"]

_BUILD = """
import sys, sysconfig
threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print("3.%d%s%s" % (sys.version_info[1], threads, " debug" if hasattr(sys, "gettotalrefcount") else ""))
"""

_LIBRARY = re.compile(r"(numpy|torch|jax|Pillow|lxml|PyO3|dlpack\.h) ([0-9][\w.+]*): ")

Vectors = tuple[dict[str, Any], dict[str, str]]


def claims(ids: Sequence[str], python: str | None, json_file: Path | None, *, recorded: bool, console: Console) -> int:
    """Run the command and return its exit code; raise `ValueError` with one line for bad usage.

    Without `ids` all claims are run. `python` is another interpreter; `recorded` adds what it bore out to
    `specs/claims/measured.json` and writes `specs/claims.md`.
    """
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise ValueError(f"--json {clean(str(json_file))}: no such folder; expected a file in one that exists")
    folder = specs() / "claims"
    read = read_claims(folder)
    vectors, suites = load_vectors()
    wrong = list(faults(read, vectors.keys(), folder))
    for line in wrong:
        console.print(Text(line))
    if wrong:
        return 1
    chosen = _chosen(ids, read)
    prover = Prover(python, vectors, suites)
    try:
        with progress(len(chosen), "claims") as advance:
            judged = prover.judge(chosen, advance)
    finally:
        prover.stop()
    _print(judged, prover, console, full=bool(ids))
    if json_file is not None:
        write_whole(json.dumps(as_json(judged, prover), indent=1, ensure_ascii=False) + "\n", json_file)
    if recorded:
        record(read, judged, _build(python))
    return int(any(one.status == "contradicted" for one in judged))


def load_vectors() -> Vectors:
    """Return the vectors of all suites by id, and the suite of each."""
    vectors: dict[str, Any] = {}
    suites: dict[str, str] = {}
    known = known_names()
    for suite in suites_there():
        for vector in load(vectors_of(suite), known).vectors:
            vectors[vector["id"]] = vector
            suites[vector["id"]] = suite
    return vectors, suites


def as_json(judged: Sequence[Judged], prover: Prover) -> dict[str, Any]:
    """Return what was run as the document that specs/formats/claims.md describes."""
    about = prover.about
    return {
        "format": 1,
        "implementation": about.implementation if about else None,
        "version": about.version if about else None,
        "counts": dict(Counter(one.status for one in judged)),
        "verdicts": counts(one.claim for one in judged),
        "claims": [
            {
                "id": one.claim.id,
                "verdict": one.claim.verdict,
                "status": one.status,
                "proofs": [
                    {
                        "vector" if proved.proof.vector else "script": proved.proof.name,
                        "expected": proved.expected,
                        "holds": proved.shown.holds,
                        "saw": proved.shown.saw,
                    }
                    for proved in one.proved
                ],
            }
            for one in judged
        ],
    }


def record(read: Claims, judged: Sequence[Judged], build: str) -> None:
    """Add `build`, and the libraries that were seen, to what bears out each claim that was shown, and write the page.

    A build that contradicts a claim is taken away from it, with all libraries.
    """
    file = specs() / "claims" / "measured.json"
    measured = read_measured(file)
    known = {claim.id for claim in read.all()}
    for one in judged:
        found = set(measured.get(one.claim.id, ()))
        if one.status == "shown":
            found |= {build, *_libraries(one)}
        elif one.status == "contradicted":
            found = {name for name in found - {build} if name.startswith("3.")}
        measured[one.claim.id] = sorted(found)
    kept = {name: found for name, found in sorted(measured.items()) if name in known and found}
    write_whole(json.dumps({"format": 1, "claims": kept}, indent=1) + "\n", file)
    write_whole(text_of_page(read), specs() / "claims.md")


def text_of_page(read: Claims) -> str:
    """Return the page of the claims and of what is recorded."""
    return page(read, read_measured(specs() / "claims" / "measured.json"))


def _libraries(one: Judged) -> set[str]:
    """Return the libraries that scripts looked at, each with its version, which begins what they saw."""
    found = (_LIBRARY.match(proved.shown.saw) for proved in one.proved if proved.shown.holds is not None)
    return {f"{match[1]} {match[2]}" for match in found if match}


def _chosen(ids: Sequence[str], read: Claims) -> list[Claim]:
    everything = {claim.id: claim for claim in read.all()}
    for name in ids:
        if name not in everything:
            raise ValueError(f"no claim {clean(name)}; expected an id of specs/claims.md")
    return [everything[name] for name in dict.fromkeys(ids)] if ids else list(everything.values())


def _build(python: str | None) -> str:
    """Return version and build as the page shows them, such as 3.13 or 3.13t-dbg."""
    done = subprocess.run([python or sys.executable, "-c", _BUILD], capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def _print(judged: Sequence[Judged], prover: Prover, console: Console, *, full: bool) -> None:
    about = prover.about
    if about is not None:
        console.print(Text(f"{clean(about.implementation)} {clean(about.version)}"))
    for one in judged:
        if not full and one.status in ("shown", "skipped", "not run"):
            continue
        console.print(Text(f"{one.claim.id}: {one.claim.verdict}, {one.status}: {one.claim.says}"))
        if one.claim.truth:
            console.print(Text(f"  so it is: {one.claim.truth}"))
        for proved in one.proved:
            found = {None: "not looked at", True: "holds", False: "does not hold"}[proved.shown.holds]
            wrong = f"; expected: {'holds' if proved.expected else 'does not hold'}" if proved.contradicts else ""
            console.print(Text(f"  {proved.proof.name}: {found}{wrong}: {proved.shown.saw}"))
    found_all = Counter(one.status for one in judged)
    verdicts = ", ".join(
        f"{count} {verdict}" for verdict, count in counts(one.claim for one in judged).items() if count
    )
    console.print(Text(f"{len(judged)} claims: {verdicts}"))
    console.print(Text(", ".join(f"{count} {status}" for status, count in found_all.items())))
