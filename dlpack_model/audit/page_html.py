"""Write an audit as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from capsule_model.show.texts import limited, spans, web_address, web_label
from capsule_model.trace.wording import clean
from dlpack_model.audit.expected import Known
from dlpack_model.audit.markup import short
from dlpack_model.audit.outcome import SEVERITIES, VERDICTS, Audit, Report
from dlpack_model.audit.view import CONSEQUENCES, Entry, choices, entries, left, matrix, place_of

__all__ = ["as_html"]

_MOST_LINES = 400
_MOST_CASES = 12
_MOST_PROBES = 20


def as_html(report: Report, known: Mapping[str, Known], chapters: str | None = None) -> str:
    """Return the whole page; rules are linked where ``chapters`` says where the chapters are from there."""
    found = entries(report, known)
    pairs = matrix(report.pairs)
    return _template().render(
        audits=[_audit(audit) for audit in report.audits],
        verdicts=[*VERDICTS],
        severities=[
            (severity, CONSEQUENCES[severity], [(i, _entry(e)) for i, e in enumerate(found) if e.severity == severity])
            for severity in SEVERITIES[::-1]
        ],
        libraries=list(dict.fromkeys(audit.library for audit in report.audits)),
        by_library=_by_library(found),
        pairs=pairs,
        choices=[(choice, [case for case in choice.cases if case]) for choice in choices(report)],
        unconfirmed=left(report, "unconfirmed"),
        unsupported=left(report, "unsupported"),
        chapters=chapters,
        most_probes=_MOST_PROBES,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("dlpack_model.audit", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"place_of": place_of, "prose": _prose}
    environment.filters |= {"short": short, "listed": _listed}
    return environment.get_template("report.html.jinja")


def _audit(audit: Audit) -> dict[str, Any]:
    severities = Counter(finding.severity for finding in audit.findings)
    return {
        "library": audit.library,
        "version": audit.version,
        "python": audit.python,
        "roles": audit.roles,
        "counts": {verdict: audit.count().get(verdict, 0) for verdict in VERDICTS},
        "severities": {severity: severities[severity] for severity in SEVERITIES},
    }


def _by_library(found: Sequence[Entry]) -> dict[str, list[tuple[int, Entry]]]:
    own: dict[str, list[tuple[int, Entry]]] = {}
    for index, entry in enumerate(found):
        own.setdefault(entry.finding.library, []).append((index, entry))
    return own


def _entry(entry: Entry) -> dict[str, Any]:
    finding = entry.finding
    return {
        "finding": finding,
        "versions": entry.versions,
        "known": entry.known,
        "seen": [
            {
                "versions": seen.versions if len(entry.seen) > 1 else (),
                "text": seen.text,
                "cases": limited([case for case in seen.cases if case], _MOST_CASES),
                "reason": None if seen.known is None else seen.known.reason,
                "address": None if seen.known is None else web_address(seen.known.link),
                "label": "" if seen.known is None else _label(seen.known.link),
            }
            for seen in entry.seen
        ],
        "script": _lines(finding.script),
        "shown": _lines(finding.shown),
    }


def _label(address: str) -> str:
    usable = web_address(address)
    return clean(address, 200) if usable is None else web_label(usable)


def _prose(text: str, limit: int = 600) -> list[tuple[str, bool]]:
    """Return the parts of foreign sentences, each with whether it is code."""
    return spans(short(text, limit))


def _listed(names: Sequence[str], most: int = 40) -> str:
    return ", ".join(short(name, 100) for name in limited(names, most))


def _lines(text: str) -> str:
    """Return foreign lines, the first ones where there are many, with everything unprintable escaped."""
    lines = text.expandtabs(4).splitlines()
    more = [f"… and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    return "\n".join([*(clean(line, 300) for line in lines[:_MOST_LINES]), *more])
