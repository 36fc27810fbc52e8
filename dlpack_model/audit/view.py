"""What the pages show of a report: findings of several versions as one, pairs as a matrix, choices side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from capsule_model.conform.specification import read_rules
from capsule_model.suites import chapters_of
from dlpack_model.audit.expected import Known, known_key
from dlpack_model.audit.outcome import SEVERITIES, Finding, Pair, Report, Result

__all__ = [
    "CONSEQUENCES",
    "Cell",
    "Choice",
    "Entry",
    "Left",
    "Matrix",
    "Seen",
    "choices",
    "entries",
    "in_order",
    "left",
    "matrix",
    "place_of",
]

# What a user of the library meets, by severity.
CONSEQUENCES = {
    "crash": "The process dies, or answers no more.",
    "double free": "A deleter runs twice, or somebody uses what was freed: what happens then is undefined.",
    "wrong values": "Somebody reads other elements than were handed over, or writes where nobody may, and is not told.",
    "leak": "Memory is not given back before the process ends.",
    "contract": "A promise to the other side is broken; it does harm where the other side relies on it.",
    "style": "What is recommended is not done; others have to cope with it.",
}
_LOUD = ("crashes", "hangs")
# What a library does, each with the versions that do it.
Answers = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in some versions, in some cases, and the reason where it is declared."""

    versions: tuple[str, ...]
    text: str
    cases: tuple[str, ...]
    known: Known | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One finding in all its versions: ``finding`` is that of the newest, ``severity`` the worst of any."""

    finding: Finding
    severity: str
    versions: tuple[str, ...]
    seen: tuple[Seen, ...]

    @property
    def known(self) -> bool:
        """Tell whether it is declared for every version."""
        return all(seen.known is not None for seen in self.seen)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a pair does, in a few words; ``loud`` where that should not be."""

    text: str
    loud: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    """What pairs do: by producer and consumer, and behind each word what was seen."""

    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    cells: Mapping[tuple[str, str], tuple[Cell, ...]]
    loud: tuple[Pair, ...]
    refusals: Mapping[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What libraries make of a choice, in cases that are alike: by library, each answer with its versions."""

    probe: str
    cases: tuple[str, ...]
    rule: str
    cells: Mapping[str, Answers]


@dataclass(frozen=True, slots=True)
class Left:
    """What a library could not be asked, or showed only once: why, and in which probes."""

    library: str
    versions: tuple[str, ...]
    seen: str
    probes: tuple[str, ...]
    severity: str | None


def in_order(versions: Iterable[str]) -> tuple[str, ...]:
    """Return versions without repetition, the oldest first."""
    return tuple(sorted(dict.fromkeys(versions), key=_age))


def entries(report: Report, known: Mapping[str, Known]) -> list[Entry]:
    """Return the findings, those of one id and library as one, the worst first."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in report.findings():
        groups.setdefault((finding.library, finding.id), []).append(finding)
    merged = [_entry(group, known) for group in groups.values()]
    return sorted(merged, key=lambda one: (-SEVERITIES.index(one.severity), one.finding.library, one.finding.id))


def matrix(pairs: Sequence[Pair]) -> Matrix:
    """Return the pairs by producer and consumer, both in the order in which they come."""
    cells: dict[tuple[str, str], dict[Cell, None]] = {}
    refusals: dict[tuple[str, str], dict[str, None]] = {}
    for pair in pairs:
        cells.setdefault((pair.producer, pair.consumer), {})[_cell(pair)] = None
        if pair.outcome == "refuses" and not _cell(pair).loud:
            refusals.setdefault((pair.consumer, pair.seen), {})[pair.producer] = None
    return Matrix(
        tuple(dict.fromkeys(pair.producer for pair in pairs)),
        tuple(dict.fromkeys(pair.consumer for pair in pairs)),
        {place: tuple(found) for place, found in cells.items()},
        tuple(pair for pair in pairs if _cell(pair).loud),
        {why: tuple(producers) for why, producers in refusals.items()},
    )


def choices(report: Report) -> list[Choice]:
    """Return the probes that some library answered with a choice; cases that all libraries answer alike are one."""
    rules: dict[tuple[str, str], str] = {}
    said: dict[tuple[str, str], dict[str, dict[str, list[str]]]] = {}
    for audit in report.audits:
        for result in audit.results:
            asked = (result.probe, result.case)
            chosen = result.verdict == "choice"
            if chosen:
                rules.setdefault(asked, result.rule)
            answers = said.setdefault(asked, {}).setdefault(audit.library, {})
            answers.setdefault(result.seen if chosen else result.verdict, []).append(audit.version)
    alike: dict[tuple[str, str, tuple[tuple[str, Answers], ...]], list[str]] = {}
    for (probe, case), rule in rules.items():
        cells = (
            (library, tuple((answer, in_order(versions)) for answer, versions in answers.items()))
            for library, answers in said[probe, case].items()
        )
        alike.setdefault((probe, rule, tuple(cells)), []).append(case)
    return [Choice(probe, tuple(cases), rule, dict(cells)) for (probe, rule, cells), cases in alike.items()]


def left(report: Report, verdict: str) -> list[Left]:
    """Return the results of a verdict, those of a library that say the same as one."""
    groups: dict[tuple[str, str, str | None], list[tuple[str, Result]]] = {}
    for audit in report.audits:
        for result in audit.results:
            if result.verdict == verdict:
                key = (audit.library, result.seen, result.severity)
                groups.setdefault(key, []).append((audit.version, result))
    return [
        Left(
            library,
            in_order(version for version, _ in found),
            seen,
            tuple(dict.fromkeys(result.name for _, result in found)),
            severity,
        )
        for (library, seen, severity), found in groups.items()
    ]


def place_of(rule: str) -> tuple[str, str] | None:
    """Return the chapter of a rule, without its ending, and the anchor of its heading there; None for no rule."""
    chapter = _chapters().get(rule)
    return None if chapter is None else (chapter, re.sub(r"[^\w\- ]", "", rule.lower()).replace(" ", "-"))


@cache
def _chapters() -> dict[str, str]:
    return {rule.id: rule.file.stem for rule in read_rules(chapters_of("dlpack"))}


def _entry(findings: Sequence[Finding], known: Mapping[str, Known]) -> Entry:
    versions = in_order(finding.version for finding in findings)
    said: dict[tuple[str, tuple[str, ...], Known | None], list[str]] = {}
    for finding in sorted(findings, key=lambda one: versions.index(one.version), reverse=True):
        said.setdefault((finding.seen, finding.cases, known.get(known_key(finding))), []).append(finding.version)
    return Entry(
        next(finding for finding in findings if finding.version == versions[-1]),
        max((finding.severity for finding in findings), key=SEVERITIES.index),
        versions,
        tuple(Seen(in_order(found), text, cases, why) for (text, cases, why), found in said.items()),
    )


def _cell(pair: Pair) -> Cell:
    count = "" if pair.deleted is None else f" ·{pair.deleted}"
    wrong = ", wrong values" if pair.right is False else ""
    loud = bool(wrong) or pair.outcome in _LOUD or pair.deleted not in (None, 1)
    return Cell(f"{pair.outcome}{count}{wrong}", loud)


def _age(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return what orders versions: numbers by their value, and words such as rc before the end."""
    parts = re.findall(r"\d+|[a-z]+", version.lower())
    numbered = ((2, len(part.lstrip("0")), part.lstrip("0")) if part.isdigit() else (0, 0, part) for part in parts)
    return (*numbered, (1, 0, ""))
