"""A document of runs under checkers, as a page to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from capsule_model.sanitize.limits import LIMITS, Limit

__all__ = ["page"]

Run = Mapping[str, Any]
TOOLS = {"asan": "AddressSanitizer", "valgrind": "Valgrind"}

INTRO = """\
# Undefined behaviour under AddressSanitizer and Valgrind

What the model calls undefined, performed on a real interpreter with the C adapter, each vector in a process of its
own. The vectors come in pairs that differ as little as can be, of which one is undefined and the other is not:
[vectors/undefined](../vectors/undefined). A tool agrees with the model if it reports the first, or the process dies,
and is silent about the second. Every figure counts vectors; [sanitizer.json](sanitizer.json) has each.
[The format](../formats/sanitize.md) says how to make this again:

    capsule-model sanitize --tool asan --interpreter PATH --json sanitizer.json
    capsule-model sanitize --tool valgrind --interpreter PATH --json sanitizer.json --markdown sanitizer.md

*Later* are those of the seen that were reported only after the undefined step, when their damage was met. *Missed*
were not reported at all; [below](#what-is-missed-and-why) stands why.
"""

SEEN = """\
## By kind

Undefined vectors that were seen, of all; those seen later; those missed. Defined vectors that were silent, of all;
false alarms, in which count reports at a step before the undefined one, too.
"""

WORDS = """\
## What the tools call it

The first report of each undefined vector that was seen: the tool's word, or the end of the process.
"""

MISSED = """\
## What is missed, and why

Each limit of a tool explains the misses that stand with it; a miss without one makes the command fail.
"""


def page(document: Mapping[str, Any]) -> str:
    """Return the whole page as Markdown: the same text for the same document."""
    runs: list[Run] = document["runs"]
    parts = [INTRO, "\n".join(_summary(runs)), SEEN, "\n".join(_by_kind(runs)), WORDS, "\n".join(_words(runs)), MISSED]
    return "\n".join(parts) + "".join(f"\n{text}" for text in _limits(runs))


def _summary(runs: Sequence[Run]) -> Iterator[str]:
    yield "| tool | interpreter | undefined | seen | later | missed | defined | silent | false alarms |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for run in runs:
        about, totals = run["implementation"], run["totals"]
        built = ", built for it" if about["instrumented"] else ""
        keys = ("undefined", "seen", "later", "missed", "defined", "silent", "false_alarms")
        figures = " | ".join(f"{totals[key]:,}" for key in keys)
        yield f"| {run['tool']['version']} | {about['name']} {about['version']}{built} | {figures} |"
    yield ""


def _by_kind(runs: Sequence[Run]) -> Iterator[str]:
    names = [TOOLS.get(run["tool"]["name"], run["tool"]["name"]) for run in runs]
    heads = [f"{name}: {what}" for name in names for what in ("seen", "later", "missed", "silent", "false alarms")]
    yield f"| kind | {' | '.join(heads)} |"
    yield "|---|" + "--:|" * len(heads)
    for kind in _kinds(runs):
        cells = [cell for run in runs for cell in _figures(run["kinds"].get(kind))]
        yield f"| {kind} | {' | '.join(cells)} |"
    yield ""


def _figures(totals: Mapping[str, int] | None) -> list[str]:
    if totals is None:
        return [""] * 5
    return [
        f"{totals['seen']}/{totals['undefined']}",
        str(totals["later"] or "·"),
        str(totals["missed"] or "·"),
        f"{totals['silent']}/{totals['defined']}",
        str(totals["false_alarms"] or "·"),
    ]


def _words(runs: Sequence[Run]) -> Iterator[str]:
    yield f"| kind | {' | '.join(TOOLS.get(run['tool']['name'], run['tool']['name']) for run in runs)} |"
    yield "|---|" + "---|" * len(runs)
    for kind in _kinds(runs):
        cells = []
        for run in runs:
            rows = [row for row in run["vectors"] if row["kind"] == kind and row["undefined"]]
            words = Counter(row["word"] for row in rows if row["verdict"] == "agrees")
            said = [f"{word} {count}" for word, count in sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))]
            cells.append(", ".join(said) or "·")
        yield f"| {kind} | {' | '.join(cells)} |"
    yield ""


def _kinds(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(kind for run in runs for kind in run["kinds"]))


def _limits(runs: Sequence[Run]) -> Iterator[str]:
    for limit in LIMITS:
        by_tool = {run["tool"]["name"]: _missed_by(run, limit.word) for run in runs}
        if any(by_tool.values()):
            yield "\n".join(_limit(limit, by_tool))
    unexplained = [
        row["id"] for run in runs for row in run["vectors"] if row["verdict"] == "missed" and not row["limit"]
    ]
    if unexplained:
        yield f"### Unexplained\n\n{_listed(unexplained)}\n"


def _limit(limit: Limit, by_tool: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield f"### {limit.word}\n"
    yield f"{limit.reason}\n"
    missed = {tool: ids for tool, ids in by_tool.items() if ids}
    if len(missed) > 1 and len({tuple(ids) for ids in missed.values()}) == 1:
        ids = next(iter(missed.values()))
        yield f"- {' and '.join(TOOLS.get(tool, tool) for tool in missed)}, {len(ids)} each: {_listed(ids)}"
    else:
        for tool, ids in missed.items():
            yield f"- {TOOLS.get(tool, tool)}, {len(ids)}: {_listed(ids)}"
    yield ""


def _missed_by(run: Run, limit: str) -> list[str]:
    return [row["id"] for row in run["vectors"] if row["verdict"] == "missed" and row["limit"] == limit]


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in ids)
