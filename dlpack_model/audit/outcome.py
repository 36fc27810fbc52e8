"""What an audit says: of each probe a result, of each broken rule a finding, of each pair of libraries what they do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["FORMAT", "SEVERITIES", "VERDICTS", "Audit", "Finding", "Pair", "Report", "Result", "at_least"]

FORMAT = 1
# From a rule that is only recommended to the end of the process.
SEVERITIES = ("style", "contract", "leak", "wrong values", "double free", "crash")
# ``choice`` is what the rules leave open; ``unsupported`` is what the library does not have, or nobody can look at
# here; ``unconfirmed`` is what was seen once, and not by the script that should show it.
VERDICTS = ("kept", "broken", "choice", "unsupported", "unconfirmed")


@dataclass(frozen=True, slots=True)
class Result:
    """What one probe saw on one library, in one ``case`` (empty where there is only one).

    ``side`` is producer, consumer, exchange-api or pair; ``severity`` is there where the verdict is broken or
    unconfirmed.
    """

    probe: str
    case: str
    side: str
    rule: str
    verdict: str
    severity: str | None
    seen: str

    @property
    def name(self) -> str:
        """Return probe and case in one."""
        return f"{self.probe}[{self.case}]" if self.case else self.probe


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a library breaks, shown by a script that was run.

    ``id`` names library and probe, ``text`` is the rule's first sentence, ``asked`` what was done, ``cases`` are all
    that show the same, ``shown`` is what the script said when it was run, or how it died.
    """

    id: str
    library: str
    version: str
    probe: str
    side: str
    rule: str
    level: str
    text: str
    asked: str
    severity: str
    seen: str
    cases: tuple[str, ...]
    script: str
    shown: str


@dataclass(frozen=True, slots=True)
class Pair:
    """What happens when ``consumer`` imports from ``producer``.

    ``outcome`` is views, copies, refuses, crashes or hangs; ``deleted`` says how often the producer's deleter ran until
    everything was dropped (None where nobody can tell), ``right`` whether the values arrived.
    """

    producer: str
    consumer: str
    outcome: str
    deleted: int | None
    right: bool | None
    seen: str


@dataclass(frozen=True, slots=True)
class Audit:
    """One library in one version, audited: ``seconds`` is how long it took, ``roles`` what it can be."""

    library: str
    version: str
    python: str
    roles: tuple[str, ...]
    seconds: float
    results: tuple[Result, ...]
    findings: tuple[Finding, ...]

    def count(self) -> Mapping[str, int]:
        """Return how many probes ended in each verdict."""
        return Counter(result.verdict for result in self.results)


@dataclass(frozen=True, slots=True)
class Report:
    """Any number of audits, and what pairs of libraries do."""

    audits: tuple[Audit, ...]
    pairs: tuple[Pair, ...]

    def findings(self) -> list[Finding]:
        """Return all findings, the worst first, then by id and version."""
        found = [finding for audit in self.audits for finding in audit.findings]
        return sorted(found, key=lambda one: (-SEVERITIES.index(one.severity), one.id, one.version))

    def as_json(self) -> str:
        """Return the report as a JSON document with a line feed at its end."""
        return json.dumps({"format": FORMAT, "kind": "dlpack-audit"} | asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what ``as_json`` wrote; ``ValueError`` with one line where it is something else."""
        try:
            document = json.loads(text)
            if document["format"] != FORMAT or document["kind"] != "dlpack-audit":
                raise ValueError("another format")
            return cls(
                tuple(_audit(one) for one in document["audits"]),
                tuple(Pair(**one) for one in document["pairs"]),
            )
        except (KeyError, TypeError, ValueError, RecursionError):
            raise ValueError(f"no report of an audit; expected what `audit --json` writes, format {FORMAT}") from None

    def joined(self, others: Sequence[Report]) -> Report:
        """Return this report with the audits and pairs of others behind its own."""
        return replace(
            self,
            audits=self.audits + tuple(audit for other in others for audit in other.audits),
            pairs=self.pairs + tuple(pair for other in others for pair in other.pairs),
        )


def at_least(severity: str, threshold: str) -> bool:
    """Tell whether a severity is as bad as another one, or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(threshold)


def _audit(document: Mapping[str, Any]) -> Audit:
    return Audit(
        **{key: value for key, value in document.items() if key not in ("roles", "results", "findings")},
        roles=tuple(document["roles"]),
        results=tuple(Result(**one) for one in document["results"]),
        findings=tuple(Finding(**one | {"cases": tuple(one["cases"])}) for one in document["findings"]),
    )
