"""Reports of audits made by hand for the tests: good and hostile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dlpack_model.audit.outcome import Audit, Finding, Pair, Report, Result

LINK = "https://example.org/why#here"
HOSTILE = (
    "b``</style><script>alert(1)</script> \"'><img src=x onerror=alert(1)> `a` | * _x_ [l](javascript:x) [red]r[/red]"
    "\n\n# h \u202e \x1b[31m http://x.example www.x.example\r\x00\ud800"
)
SCRIPT = '''"""numpy.from_dlpack takes a copy for a view."""

import numpy

print("shared:", numpy.shares_memory(numpy.zeros(3), numpy.ones(3)))
'''
COPY_FALSE = "`from_dlpack` with `copy=False` never gives a copy."


def result(probe: str, verdict: str = "kept", seen: str = "", **keys: Any) -> Result:
    """Return a result of a consumer's probe; ``keys`` replace parts of it."""
    severity = "contract" if verdict in ("broken", "unconfirmed") else None
    return replace(Result(probe, "", "consumer", "from_dlpack/copy-false", verdict, severity, seen), **keys)


def finding(library: str = "numpy", version: str = "2.4.6", probe: str = "copy-false", **keys: Any) -> Finding:
    """Return a finding; ``keys`` replace parts of it."""
    plain = Finding(
        id=f"{library}-{probe}",
        library=library,
        version=version,
        probe=probe,
        side="consumer",
        rule="from_dlpack/copy-false",
        level="MUST",
        text=COPY_FALSE,
        asked="Want no copy.",
        severity="contract",
        seen="an array in memory of its own, and no exception",
        cases=(),
        script=SCRIPT,
        shown="shared: False\n",
    )
    return replace(plain, **keys)


def audit(*findings: Finding, library: str = "numpy", version: str = "2.4.6", results: Any = (), **keys: Any) -> Audit:
    """Return the audit of one library with a broken result for each finding, and more ``results``."""
    broken = tuple(
        Result(one.probe, case, one.side, one.rule, "broken", one.severity, one.seen)
        for one in findings
        for case in one.cases or ("",)
    )
    plain = Audit(library, version, "3.11.7", ("producer", "consumer"), 12.345, (*broken, *results), findings)
    return replace(plain, **keys)


def report(*audits: Audit, pairs: tuple[Pair, ...] = ()) -> Report:
    """Return a report."""
    return Report(audits, pairs)


def sample() -> Report:
    """Return a report as an audit of three libraries, one of them in two versions, makes it."""
    null = {
        "rule": "DLManagedTensor/deleter-may-be-null",
        "level": "MAY",
        "text": "The deleter may be NULL, and is not called then.",
        "severity": "crash",
    }
    device = {
        "rule": "from_dlpack/unsupported-device",
        "level": "SHOULD",
        "text": "A consumer that cannot use the device of a tensor raises `BufferError`.",
        "severity": "style",
    }
    old = finding(version="1.26.4", probe="device", seen="RuntimeError: Unsupported device", cases=("2", "4"), **device)
    new = replace(old, version="2.4.6", seen="RuntimeError: Unsupported device in DLTensor.", cases=("2", "4", "7"))
    twice = finding(
        "torch",
        "2.14.0",
        "deleted-twice",
        rule="DLManagedTensor/deleter-once",
        level="UNDEFINED",
        text="The deleter is called once for every export.",
        severity="double free",
        seen="the deleter ran 2 times",
        cases=("device 4",),
    )
    died = finding("jax", "0.10.2", "null-deleter", seen="died of SIGABRT", shown="died of SIGABRT\n", **null)
    copies = finding("jax", "0.10.2", cases=("int64", "float64", "complex128"))
    chosen = result("null-strides", "choice", "taken for row-major", rule="DLTensor/strides-not-null")
    return report(
        audit(old, version="1.26.4", results=(result("copy-true"), chosen)),
        audit(new, results=(result("copy-true"), chosen, result("table", "unsupported", "no exchange API"))),
        audit(
            twice,
            library="torch",
            version="2.14.0",
            results=(
                replace(chosen, seen="refused: `BufferError`: strides must not be NULL"),
                result("drops-owner", "unconfirmed", "128 MiB are still there", severity="leak"),
            ),
        ),
        audit(died, copies, library="jax", version="0.10.2", results=(replace(chosen, verdict="kept"),)),
        pairs=(
            Pair("numpy", "numpy", "views", 1, True, ""),
            Pair("numpy", "torch", "views", 1, True, ""),
            Pair("numpy", "jax", "copies", 2, True, "the deleter ran again when the array died"),
            Pair("torch", "numpy", "views", 1, False, "0 1 2 became 0 2 1"),
            Pair("torch", "torch", "crashes", None, None, "died of SIGSEGV"),
            Pair("torch", "jax", "refuses", None, None, "`BufferError`: requires grad"),
            Pair("jax", "numpy", "views", 1, True, ""),
        ),
    )


def hostile() -> Report:
    """Return a report in which everything that is a text is hostile, short and long."""
    long = HOSTILE * 500
    found = finding(
        **dict.fromkeys(("id", "library", "version", "probe", "side", "rule", "level", "text", "seen"), HOSTILE),
        cases=(HOSTILE, long),
        script=long,
        shown=long,
    )
    seen = Result(HOSTILE, HOSTILE, HOSTILE, HOSTILE, "choice", None, HOSTILE)
    strange = audit(
        found,
        replace(found, id=long, seen=long, severity="crash"),
        library=HOSTILE,
        version=long,
        python=HOSTILE,
        roles=(HOSTILE, long),
        results=(
            seen,
            replace(seen, case=long, seen=long),
            replace(seen, probe="other", verdict="unsupported"),
            replace(seen, probe="more", verdict="unconfirmed", severity="leak", seen=long),
        ),
    )
    pairs = (
        Pair(HOSTILE, HOSTILE, "views", 1, True, HOSTILE),
        Pair(HOSTILE, long, "refuses", None, None, long),
        Pair("numpy", HOSTILE, "crashes", None, None, HOSTILE),
    )
    return report(strange, audit(finding()), pairs=pairs)
