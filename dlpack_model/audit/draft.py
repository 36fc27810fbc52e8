"""Draft expectations of an audit: entries for what nothing declares, whose reasons and links a person fills in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from capsule_model.trace.wording import clean
from dlpack_model.audit.expected import Known, finding_hash, known_key
from dlpack_model.audit.outcome import Finding, Report

__all__ = ["draft", "drafts"]

_NUMBER = re.compile(r"[0-9A-Za-z+_-]+(\.[0-9A-Za-z+_-]+)*")
_MOST_HASHES = 16


def draft(report: Report, known: Mapping[str, Known]) -> str:
    """Return the TOML of a file with an entry for every finding of a library that is not ``known``.

    It is as specs/formats/audit-expectations.md says, but for empty reasons and links. ``ValueError`` where the report
    is about several libraries: a file is about one.
    """
    found = drafts(report, known)
    if len(found) != 1:
        named = ", ".join(clean(library, 60) for library in found) or "no library"
        raise ValueError(f"the report is about {named}; a draft is about one library")
    return next(iter(found.values()))


def drafts(report: Report, known: Mapping[str, Known]) -> dict[str, str]:
    """Return such a draft for every library of the report, by its name."""
    return {library: _draft(library, report, known) for library in dict.fromkeys(a.library for a in report.audits)}


def _draft(library: str, report: Report, known: Mapping[str, Known]) -> str:
    found: dict[str, list[Finding]] = {}
    for finding in report.findings():
        if finding.library == library and known_key(finding) not in known:
            found.setdefault(finding.id, []).append(finding)
    lines = [
        "# A draft of dlpack-model audit: each reason and link is to be filled in.",
        "format = 1",
        f"library = {_quoted(library)}",
    ]
    for findings in found.values():
        lines += _entries(findings)
    return "\n".join(lines) + "\n"


def _entries(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the entries for one finding: versions that show the same stand in one."""
    hashes: dict[str, set[str]] = {}
    for finding in findings:
        hashes.setdefault(_number(finding.version), set()).add(finding_hash(finding))
    for shown in dict.fromkeys(tuple(sorted(seen)) for seen in hashes.values()):
        versions = [version for version, seen in hashes.items() if tuple(sorted(seen)) == shown]
        about = next(finding for finding in findings if finding_hash(finding) in shown)
        values = ", ".join(f'"{value}"' for value in shown[:_MOST_HASHES])
        yield ""
        yield f"# {clean(about.severity, 40)}, {clean(about.rule, 100)}: {clean(about.seen, 160)}"
        yield "[[finding]]"
        yield f"versions = [{', '.join(_quoted(version) for version in versions)}]"
        yield 'reason = ""'
        yield 'link = ""'
        yield "[finding.findings]"
        yield f"{_quoted(about.id)} = {values if len(shown) == 1 else f'[{values}]'}"


def _number(version: str) -> str:
    """Return the number that a version begins with, or what stands for every version."""
    number = (version.split() or [""])[0]
    return number if _NUMBER.fullmatch(number) else "*"


def _quoted(text: str) -> str:
    """Return ``text`` as a TOML string on one line; what is not printable is shown by its escape."""
    shown = clean(text, 120).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'
