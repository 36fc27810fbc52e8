"""Report a conformance run: to the terminal for people, as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from capsule_model import __version__
from capsule_model.conform.answers import Started
from capsule_model.conform.expectations import CLASSES, DIVERGING, Expectations, Expected, Verdict
from capsule_model.conform.observation import hash16, observation_hash
from capsule_model.conform.runner import OUTCOMES, Divergence, Result
from capsule_model.conform.sides import result_lines
from capsule_model.profiles import Profile
from capsule_model.trace.needs import FEATURES
from capsule_model.trace.returns import MISSING
from capsule_model.trace.wording import clean
from capsule_model.whole import write_whole

__all__ = [
    "Report",
    "as_json",
    "print_report",
    "print_result",
    "vectors_digest",
    "write_json",
]

_MOST_LACKING = 16
_CLASS_WORDS = {
    "by-design": "differs by design",
    "differs": "differs",
    "crash": "crashes",
    "unsupported": "unsupported",
}


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says. `rules` are those that an implementation can be held to.

    That is every level but UNDEFINED, and those alone that apply under the profile. `vectors` are all
    that were loaded, `verdict` is what `expectations` say of the results.
    """

    about: Started
    profile: Profile
    note: str | None
    results: Sequence[Result]
    rules: Collection[str]
    problems: Sequence[str] = ()
    vectors: Sequence[Mapping[str, Any]] = ()
    expectations: Expectations | None = None
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def reached(self) -> frozenset[str]:
        """Return the rules that passed vectors went through."""
        passed = (result.reached for result in self.results if result.outcome == "passed")
        return frozenset().union(*passed) & frozenset(self.rules)

    @property
    def percent(self) -> float:
        """Return how many of the rules were reached, in percent, to one digit."""
        return round(100 * len(self.reached) / len(self.rules), 1) if self.rules else 0.0

    @property
    def settled(self) -> int:
        """Return how many vectors passed only because their steps waited for destructors."""
        return sum(result.settled and result.outcome == "passed" for result in self.results)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of vectors by outcome, every outcome included."""
        counted = Counter(result.outcome for result in self.results)
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    @property
    def unexpected(self) -> list[Result]:
        """Return the results that diverge and that no expectation explains."""
        return [r for r in self.results if r.outcome in DIVERGING and r.id not in self.verdict.expected]

    @property
    def declared(self) -> dict[str, int]:
        """Return the number of vectors that expectations explain, by class, every class included."""
        counted = Counter(expected.class_ for expected in self.verdict.expected.values())
        return {class_: counted[class_] for class_ in CLASSES}

    def shortcomings(self, min_rules: float | None) -> list[str]:
        """Return why the implementation is not conformant, in a few words each; empty where it is."""
        counted = Counter(result.outcome for result in self.unexpected)
        reasons = [f"{counted[outcome]} {outcome}" for outcome in OUTCOMES if counted[outcome]]
        if faults := len(self.verdict.faults):
            reasons.append(f"{faults} {'fault' if faults == 1 else 'faults'} of expectations")
        if not self.counts["passed"]:
            reasons.append("nothing passed")
        if min_rules is not None and self.percent < min_rules:
            reasons.append(f"{self.percent:g} % of the rules reached, below {min_rules:g} %")
        return reasons


def print_report(report: Report, console: Console, min_rules: float | None = None) -> None:
    """Print the report: what was reached and what was not first, then the chapters, then every divergence.

    Those that an expectation explains are counted, a block for each reason.
    """
    about = report.about
    note = f" ({clean(report.note)})" if report.note else ""
    _line(
        console, f"{clean(about.implementation, 100)} {clean(about.version, 200)}, profile {report.profile.name}{note}"
    )
    _line(console, f"rules reached: {len(report.reached)} of {len(report.rules)} ({report.percent:g} %)")
    if report.settled:
        _line(console, f"vectors passed with steps that wait for destructors: {report.settled}")
    _print_unsupported(report, console)
    console.print(_chapters(report.results))
    _print_declared(report.verdict.expected, console)
    for result in report.unexpected:
        print_result(result, console)
    if any(result.outcome == "failed" for result in report.unexpected):
        _line(console, "")
        _line(console, "Where expected, model and seen disagree, a real interpreter is right.")
    for fault in report.verdict.faults:
        _line(console, f"expectations: {clean(fault, 600)}", "red")
    for problem in report.problems:
        _line(console, f"bad input: {problem}", "red")
    reasons = report.shortcomings(min_rules)
    verdict = "not conformant: " + ", ".join(reasons) if reasons else _conformant(report)
    if report.problems:
        lines = "1 line" if len(report.problems) == 1 else f"{len(report.problems)} lines"
        verdict = f"bad input, {lines} above; the other vectors: {verdict}"
    style = "bold red" if reasons or report.problems else "bold green"
    _line(console, f"{verdict} ({_number(len(report.results), 'vector')})", style)


def as_json(report: Report) -> dict[str, Any]:
    """Return the report in the form of specs/formats/report.md."""
    about = report.about
    return {
        "format": 1,
        "specification": {"version": __version__, "vectors": vectors_digest(report.vectors)},
        "implementation": {
            "name": about.implementation,
            "version": about.version,
            "profile": about.profile,
            "features": sorted(about.features),
            "absent": dict(about.absent),
        },
        "profile": report.profile.name,
        "expectations": {
            "files": list(report.expectations.files) if report.expectations else [],
            "digest": report.expectations.digest(about) if report.expectations else hash16([]),
            "faults": [clean(fault, 600) for fault in report.verdict.faults],
        },
        "summary": {
            **report.counts,
            "expected": report.declared,
            "unexpected": len(report.unexpected),
            "settled": report.settled,
            "rules": {"reached": len(report.reached), "total": len(report.rules), "percent": report.percent},
        },
        "vectors": [_result_json(result, report.verdict.expected.get(result.id)) for result in report.results],
        "problems": list(report.problems),
    }


def vectors_digest(vectors: Iterable[Mapping[str, Any]]) -> str:
    """Return the hash of all `vectors`, whatever their order."""
    return hash16(sorted(vectors, key=lambda vector: str(vector["id"])))


def write_json(document: Mapping[str, Any], file: Path) -> None:
    """Write a report to `file`, a vector a line, whole or not at all; raise `OSError` where it cannot be written."""
    entries = ",\n".join(f" {json.dumps(key)}: {_value_text(key, value)}" for key, value in document.items())
    write_whole("{\n" + entries + "\n}\n", file)


def _value_text(key: str, value: Any) -> str:
    if key != "vectors" or not value:
        return json.dumps(value)
    return "[\n  " + ",\n  ".join(json.dumps(entry) for entry in value) + "\n ]"


def _result_json(result: Result, expected: Expected | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": result.id, "outcome": result.outcome, "rules": list(result.vector["rules"])}
    if result.divergences:
        entry["differences"] = [_divergence_json(divergence) for divergence in result.divergences]
    if result.detail is not None:
        entry["detail"] = clean(result.detail, 1000)
    observation = observation_hash(result)
    if observation is not None:
        entry["observation"] = observation
    if result.settled:
        entry["settled"] = True
    if expected is not None:
        entry["expected"] = {"class": expected.class_, "reason": expected.reason, "link": expected.link}
    return entry


def _divergence_json(divergence: Divergence) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": divergence.path, "key": divergence.key}
    for side in ("expected", "model", "seen"):
        value = getattr(divergence, side)
        if value is not MISSING:
            entry[side] = value
    return entry


def _print_unsupported(report: Report, console: Console) -> None:
    count = report.counts["unsupported"]
    _line(console, f"vectors unsupported: {count} of {len(report.results)}")
    lacking = Counter(name for result in report.results for name in result.lacking)
    # Features first: they have reasons, and the operations that go with them follow from them.
    ordered = sorted(lacking.items(), key=lambda entry: (entry[0] not in FEATURES, entry[0]))
    for name, vectors in ordered[:_MOST_LACKING]:
        reason = report.about.absent.get(name)
        why = f": {clean(reason)}" if reason else ""
        _line(console, f"  lacks {clean(name)} ({_number(vectors, 'vector')}){why}")
    if len(ordered) > _MOST_LACKING:
        _line(console, f"  and {len(ordered) - _MOST_LACKING} more")
    for name in sorted(set(report.about.absent) - lacking.keys()):
        _line(console, f"  absent {clean(name)}: {clean(report.about.absent[name])}")


def _chapters(results: Sequence[Result]) -> Table:
    by_chapter: dict[str, Counter[str]] = {}
    for result in results:
        by_chapter.setdefault(_chapter(result.id), Counter())[result.outcome] += 1
    used = [outcome for outcome in OUTCOMES if outcome == "passed" or any(c[outcome] for c in by_chapter.values())]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("chapter", overflow="fold")
    for outcome in used:
        table.add_column(outcome, justify="right", overflow="fold")
    for chapter, counts in sorted(by_chapter.items()):
        table.add_row(Text(chapter), *(str(counts[outcome] or "·") for outcome in used))
    total: Counter[str] = sum(by_chapter.values(), Counter())
    table.add_row("all", *(str(total[outcome]) for outcome in used), style="bold")
    return table


def _chapter(identifier: str) -> str:
    return identifier.split(".")[1]


def _print_declared(expected: Mapping[str, Expected], console: Console) -> None:
    """Print which divergences are declared: a block for each class and reason."""
    blocks: dict[Expected, list[str]] = {}
    for identifier, why in expected.items():
        blocks.setdefault(why, []).append(identifier)
    for why, identifiers in sorted(blocks.items(), key=lambda block: CLASSES.index(block[0].class_)):
        count = "1 vector" if len(identifiers) == 1 else f"{len(identifiers)} vectors"
        _line(console, "")
        _line(console, f"{_CLASS_WORDS[why.class_]}: {count}: {clean(why.reason, 1000)}", "bold")
        _line(console, f"  {clean(why.link, 500)}")
        _line(console, f"  {', '.join(identifiers)}", "dim")


def _conformant(report: Report) -> str:
    count = sum(result.outcome in DIVERGING for result in report.results)
    declared = f" but for {_number(count, 'declared divergence')}" if count else ""
    unsupported = report.counts["unsupported"]
    extent = f" as far as supported: {report.counts['passed']} passed, {unsupported} unsupported" if unsupported else ""
    waiting = f", {report.settled} by waiting for destructors" if report.settled else ""
    return f"conformant{declared}{extent}{waiting}"


def print_result(result: Result, console: Console) -> None:
    """Print one vector's divergences: what each side says, and the hash of the observation."""
    _line(console, "")
    first, *others = result_lines(result)
    _line(console, first, "bold red")
    for line in others:
        _line(console, line)
    _line(console, f"  observation {observation_hash(result)}")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _line(console: Console, text: str, style: str | None = None) -> None:
    console.print(Text(text, style=style or ""), soft_wrap=True, highlight=False)
