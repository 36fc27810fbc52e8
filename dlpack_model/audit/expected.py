"""Know the findings that are accounted for: read what is declared of a library, and judge a report by it.

The file format is that of specs/formats/audit-expectations.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from capsule_model.conform.declarations import Form, begins, components, first_clash, read_toml
from capsule_model.conform.observation import hash16, lasting
from capsule_model.locate import specs
from capsule_model.trace.schema import Validator
from capsule_model.trace.wording import clean
from dlpack_model.audit.outcome import Audit, Finding, Report, Result

__all__ = [
    "Entry",
    "Expected",
    "Known",
    "Verdict",
    "finding_hash",
    "finding_id",
    "judge",
    "known_key",
    "load_expected",
]

# How long something took and how much memory was measured: another figure in the next run.
_MEASURED = re.compile(r"\b\d+(?:\.\d+)?\s?(?:ns|µs|us|ms|s|seconds?|minutes?|[KMG]i?B)\b")
_FORM = Form(
    entry="finding",
    hashes="findings",
    right={
        "format": "1",
        "library": "the name that the audit gives the library",
        "versions": 'a list of beginnings of version numbers, such as ["2.4"], or ["*"]',
        "reason": "a sentence or two that say why",
        "link": "the http or https address of a source",
    },
    source="audit",
)


@dataclass(frozen=True, slots=True)
class Known:
    """Why a library breaks a rule: a reason in a sentence or two, and the address of a source."""

    reason: str
    link: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``[[finding]]`` of a file: ``place`` says where it is, ``findings`` has the hashes by finding id."""

    place: str
    why: Known
    versions: tuple[str, ...]
    findings: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Expected:
    """The declared findings of one library."""

    library: str
    entries: tuple[Entry, ...] = ()

    def applying(self, version: str) -> dict[str, Entry]:
        """Return the entry for each finding that has one for a version of the library."""
        return {name: entry for entry in self.entries if begins(entry.versions, version) for name in entry.findings}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is declared of a report: the reasons by ``known_key``, and in one line each what is not as declared."""

    known: Mapping[str, Known] = field(default_factory=dict)
    faults: Sequence[str] = ()


def known_key(finding: Finding) -> str:
    """Return under which key a verdict has a finding: its id and version."""
    return f"{finding.id} {finding.version}"


def finding_id(library: str, probe: str) -> str:
    """Return what the ids of a probe's findings on a library begin with, in characters that a file's name may have."""
    return re.sub(r"[^a-z0-9]+", "-", f"{library}-{probe}".lower()).strip("-")


def finding_hash(finding: Finding) -> str:
    """Return the hash of what was found, 16 hex digits, the same in every run and on every machine."""
    seen = lasting(_MEASURED.sub("…", finding.seen))
    return hash16(
        {"rule": finding.rule, "severity": finding.severity, "cases": sorted(set(finding.cases)), "seen": seen}
    )


def load_expected(file: Path) -> Expected:
    """Read a file of expectations of an audit.

    Raises ``ValueError`` with one line for the first thing that is wrong: where, and what would be right.
    """
    try:
        return _expected(read_toml(file, "expectations of an audit in TOML"), file.name)
    except ValueError as error:
        raise ValueError(f"{clean(str(file), 300)}: {clean(str(error), 600)}") from None


def judge(expected: Sequence[Expected], report: Report) -> Verdict:
    """Hold a report against what is declared; of two entries for one finding and version the later holds.

    Versions that were not audited and probes that were not run are left alone.
    """
    known: dict[str, Known] = {}
    told: dict[str, None] = {}
    at_fault: set[str] = set()
    for audit in report.audits:
        applying: dict[str, Entry] = {}
        for one in expected:
            applying |= one.applying(audit.version) if one.library == audit.library else {}
        for name, entry in applying.items():
            found = [finding for finding in audit.findings if finding.id == name]
            faults = list(_faults(entry, name, found, audit))
            told |= dict.fromkeys(f"{entry.place}: {clean(audit.version, 100)}: {name}: {fault}" for fault in faults)
            keys = {known_key(finding) for finding in found}
            known |= dict.fromkeys(keys, entry.why)
            at_fault |= keys if faults else set()
    # Several audits may be of one version: it is known where none of them is at fault.
    return Verdict({key: why for key, why in known.items() if key not in at_fault}, tuple(told))


def _faults(entry: Entry, name: str, found: Sequence[Finding], audit: Audit) -> Iterator[str]:
    declared = entry.findings[name]
    for seen in map(finding_hash, found):
        if seen not in declared:
            yield f"another observation: {seen}; expected {' or '.join(declared)}"
    verdicts = {one.verdict for one in _results(audit, name)}
    if not found and verdicts - {"unsupported"}:
        ended = ", ".join(sorted(verdicts))
        yield f"the finding has gone: {ended}; expected no entry for this version"


def _results(audit: Audit, name: str) -> list[Result]:
    """Return the results of the probe that the id of a finding names: the longest, where several begin it."""
    begins_it: dict[str, list[Result]] = {}
    for result in audit.results:
        begin = finding_id(audit.library, result.probe)
        if name == begin or name.startswith(f"{begin}-"):
            begins_it.setdefault(begin, []).append(result)
    return begins_it[max(begins_it, key=len)] if begins_it else []


@cache
def _validator() -> Validator:
    return Validator(json.loads((specs() / "formats" / "audit-expectations.schema.json").read_text("utf-8")))


def _expected(document: dict[str, Any], name: str) -> Expected:
    for path, text in _validator().faults(document, 1):
        raise ValueError(_FORM.located(document, path, text))
    tables = document.get("finding", ())
    begin = finding_id(document["library"], "")
    for index, table in enumerate(tables):
        for identifier in table["findings"]:
            if not identifier.startswith(f"{begin}-"):
                place = _FORM.place(document, index)
                raise ValueError(f"{place}: {identifier} is no finding of {document['library']}; expected {begin}-…")
    _refuse_repeated(document)
    return Expected(
        document["library"],
        tuple(
            Entry(
                f"{clean(name, 100)}: {_FORM.place(document, index)}",
                Known(" ".join(table["reason"].split()), table["link"]),
                tuple(table["versions"]),
                {key: (value,) if isinstance(value, str) else tuple(value) for key, value in table["findings"].items()},
            )
            for index, table in enumerate(tables)
        ),
    )


def _refuse_repeated(document: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` where two entries name a finding for one version."""
    found = first_clash(
        [
            [(name, *components(version)) for name in table["findings"] for version in table["versions"]]
            for table in document.get("finding", ())
        ]
    )
    if found is not None:
        index, other, (name, *version) = found
        twice = f"{_FORM.place(document, index)}: {name} is in {_FORM.place(document, other)}, too"
        raise ValueError(f"{twice}, for version {'.'.join(version) or '*'}; expected every finding once a version")
