"""Report a conformance run: to the terminal for people, as JSON for programs."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from capsule_model.conform.answers import Started
from capsule_model.conform.runner import OUTCOMES, Divergence, Result
from capsule_model.conform.words import call_text, error_text, step_at, value_text
from capsule_model.profiles import Profile
from capsule_model.trace.needs import FEATURES
from capsule_model.trace.returns import MISSING
from capsule_model.trace.wording import clean, shown

__all__ = ["Report", "as_json", "print_report", "write_json"]

_BAD = frozenset({"failed", "errored", "crashed", "timed-out"})
_MOST_LACKING = 16


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says. `rules` are those that an implementation can be held to.

    That is every level but UNDEFINED, and those alone that apply under the profile.
    """

    about: Started
    profile: Profile
    note: str | None
    results: Sequence[Result]
    rules: Collection[str]
    problems: Sequence[str] = ()

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
    def counts(self) -> dict[str, int]:
        """Return the number of vectors by outcome, every outcome included."""
        counted = Counter(result.outcome for result in self.results)
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    def shortcomings(self, min_rules: float | None) -> list[str]:
        """Return why the implementation is not conformant, in a few words each; empty where it is."""
        counts = self.counts
        reasons = [f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if outcome in _BAD and counts[outcome]]
        if not counts["passed"]:
            reasons.append("nothing passed")
        if min_rules is not None and self.percent < min_rules:
            reasons.append(f"{self.percent:g} % of the rules reached, below {min_rules:g} %")
        return reasons


def print_report(report: Report, console: Console, min_rules: float | None = None) -> None:
    """Print the report: what was reached and what was not first, then the chapters, then every divergence."""
    about = report.about
    note = f" ({clean(report.note)})" if report.note else ""
    _line(
        console, f"{clean(about.implementation, 100)} {clean(about.version, 200)}, profile {report.profile.name}{note}"
    )
    _line(console, f"rules reached: {len(report.reached)} of {len(report.rules)} ({report.percent:g} %)")
    _print_unsupported(report, console)
    console.print(_chapters(report.results))
    for result in report.results:
        if result.outcome in _BAD:
            _print_result(result, console)
    if report.counts["failed"]:
        _line(console, "")
        _line(console, "Where expected, model and seen disagree, a real interpreter is right.")
    for problem in report.problems:
        _line(console, f"bad input: {problem}", "red")
    reasons = report.shortcomings(min_rules)
    verdict = "conformant" if not reasons else "not conformant: " + ", ".join(reasons)
    if report.problems:
        lines = "1 line" if len(report.problems) == 1 else f"{len(report.problems)} lines"
        verdict = f"bad input, {lines} above; the other vectors: {verdict}"
    style = "bold red" if reasons or report.problems else "bold green"
    _line(console, f"{verdict} ({len(report.results)} vectors)", style)


def as_json(report: Report) -> dict[str, Any]:
    """Return the report in the form of specs/formats/report.md."""
    about = report.about
    return {
        "format": 1,
        "implementation": {
            "name": about.implementation,
            "version": about.version,
            "profile": about.profile,
            "features": sorted(about.features),
            "absent": dict(about.absent),
        },
        "profile": report.profile.name,
        "summary": {
            **report.counts,
            "rules": {"reached": len(report.reached), "total": len(report.rules), "percent": report.percent},
        },
        "vectors": [_result_json(result) for result in report.results],
        "problems": list(report.problems),
    }


def write_json(document: Mapping[str, Any], file: Path) -> None:
    """Write `document` to `file` whole or not at all; raise `OSError` where it cannot be written."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=1)
            stream.write("\n")
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _result_json(result: Result) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": result.id, "outcome": result.outcome, "rules": list(result.vector["rules"])}
    if result.divergences:
        entry["differences"] = [_divergence_json(divergence) for divergence in result.divergences]
    if result.detail is not None:
        entry["detail"] = clean(result.detail, 1000)
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
        _line(console, f"  lacks {clean(name)} ({vectors} vectors){why}")
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


def _print_result(result: Result, console: Console) -> None:
    _line(console, "")
    _line(console, f"{result.outcome}: {result.id}: {clean(result.vector['title'], 300)}", "bold red")
    _line(console, f"  rules: {', '.join(clean(rule) for rule in result.vector['rules'])}")
    if result.detail is not None:
        for line in result.detail.splitlines()[:20]:
            _line(console, f"  {clean(line, 500)}")
    for divergence in result.divergences:
        for line in _divergence_lines(result, divergence):
            _line(console, f"  {line}")


def _divergence_lines(result: Result, divergence: Divergence) -> list[str]:
    step = step_at(result.vector, divergence.path)
    call = f": {call_text(step)}" if step is not None else ""
    where = f"step {divergence.path}" if divergence.path != "end" else "at the end"
    lines = [f"{where}{call}: {divergence.key}"]
    for label, value in (("expected", divergence.expected), ("model", divergence.model), ("seen", divergence.seen)):
        if value is not MISSING:
            lines.append(f"  {label:<9}{_in_words(divergence.key, value)}")
    return lines


def _in_words(key: str, value: Any) -> str:
    last = key.rpartition(".")[2]
    if last in ("error", "before", "after", "unraisable"):
        return error_text(value)
    if last in ("events", "leaks") and isinstance(value, list):
        return ", ".join(clean(str(entry), 80) for entry in value) or "none"
    return value_text(value) if last == "return" else clean(value, 300) if isinstance(value, str) else shown(value, 300)


def _line(console: Console, text: str, style: str | None = None) -> None:
    console.print(Text(text, style=style or ""), soft_wrap=True, highlight=False)
