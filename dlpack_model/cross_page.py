"""The results of the cross, as a page to read and as the complete list in JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Any

from dlpack_model.cross_run import (
    ALONE,
    FATES,
    PRODUCERS,
    REFUSED,
    SAFE,
    STYLES,
    Combination,
    Outcome,
)
from dlpack_model.deleters import DELETERS
from dlpack_model.destructors import DESTRUCTORS

__all__ = ["GOOD", "document", "json_text", "page", "verdict"]

Results = Mapping[Combination, Outcome]
GOOD = Combination("1.3", "save-error", "normal", "consumed", "rename-only")

INTRO = """\
# Producers, destructors, deleters and consumers, crossed

Every combination of what a producer speaks, its capsule destructor, its deleter, the consumer, and what becomes of
the capsule, each run in the model in a fresh process: {count:,} of them, all listed in
[dlpack-cross.json](dlpack-cross.json). Each says which rule was broken first, and what it came to when the run went
on: a broken promise need not do harm in every combination. This page is made again by

    dlpack-model cross --output specs/results

| mark | meaning |
|:-:|---|
| ✓ | safe: no rule was broken, nothing is left over |
| ○ | refused: nobody got the tensor, and the exception says so; no rule was broken |
| △ | a rule was broken, and in this combination no harm was done |
| ✗ | a rule was broken, and the run ended in the harm that is named last |
"""

RECURSION = """\
## The example destructor on a real interpreter

The destructor that stands as an example in the Python specification for DLPack, `specification-example`, hands a
capsule of a foreign name to `PyErr_WriteUnraisable`, which takes a reference to the dying capsule and gives it back:
the capsule is deallocated again, and the destructor runs again inside itself. In the model that is
`dealloc-reentered`. On CPython {python}, with the example compiled as it was published and a stack of {stack:,} KiB, a
process of its own went {depth:,} calls deep and ended by {signal}.
`dlpack-model recursion` shows it on the interpreter at hand.
"""

# A table a row: title, what is fixed, rows and columns with their axes; the rest is as in GOOD.
TABLES = (
    (
        "Destructors and what becomes of the capsule",
        "Producer 1.3, deleter `normal`, consumer `rename-only` where there is one.",
        tuple(DESTRUCTORS),
        "destructor",
        (*ALONE, *FATES),
        "fate",
    ),
    (
        "Consumers and versions",
        "Consumed, read and dropped; destructor `save-error`, deleter `normal`.",
        tuple(STYLES),
        "consumer",
        tuple(PRODUCERS),
        "producer",
    ),
    (
        "Consumers and what becomes of the capsule",
        "Producer 1.3, destructor `save-error`, deleter `normal`.",
        tuple(STYLES),
        "consumer",
        tuple(FATES),
        "fate",
    ),
    (
        "Deleters and what becomes of the capsule",
        "Producer 1.3, destructor `save-error`, consumer `rename-only` where there is one.",
        tuple(DELETERS),
        "deleter",
        (*ALONE, *FATES),
        "fate",
    ),
)


def verdict(outcome: Outcome) -> str:
    """Return the mark of an outcome, with the kind of what was broken first and, if it is another, of the end."""
    if not outcome.first and outcome.end in (SAFE, REFUSED):
        return "✓" if outcome.end == SAFE else "○"
    first = outcome.first or outcome.end
    if outcome.end in (SAFE, REFUSED):
        return f"△ {first}"
    return f"✗ {first}" if first == outcome.end else f"✗ {first}, {outcome.end}"


def _mark(outcome: Outcome) -> str:
    return verdict(outcome)[0]


def page(results: Results, recursion: Mapping[str, Any] | None) -> str:
    """Return the page; ``recursion`` is what was measured on a real interpreter, if it was."""
    parts = [INTRO.format(count=len(results)), _summary(results)]
    for title, about, rows, row_axis, columns, column_axis in TABLES:
        lines = [f"## {title}", "", about, "", f"| {row_axis} | {' | '.join(columns)} |"]
        lines.append(f"|---|{'---|' * len(columns)}")
        for row in rows:
            cells = (verdict(results[_of({row_axis: row, column_axis: column})]) for column in columns)
            lines.append(f"| `{row}` | {' | '.join(cells)} |")
        parts.append("\n".join([*lines, ""]))
        if row_axis == "destructor" and recursion is not None:
            parts.append(RECURSION.format(**{"stack": recursion["stack_kib"], **recursion}))
    return "\n".join(parts)


def _of(words: dict[str, str]) -> Combination:
    """Return a combination that is good but for what is named."""
    found = replace(GOOD, **words)
    return replace(found, consumer="") if found.fate in ALONE else found


def _summary(results: Results) -> str:
    marks = Counter(map(_mark, results.values()))
    ends = Counter(outcome.end for outcome in results.values() if _mark(outcome) == "✗")
    firsts = Counter((outcome.first, outcome.rule) for outcome in results.values() if outcome.first)
    lines = ["## Summary", "", "| | combinations |", "|:-:|--:|"]
    lines += [f"| {mark} | {marks[mark]:,} |" for mark in "✓○△✗"]
    lines += ["", "| ends in | combinations |", "|---|--:|"]
    lines += [f"| {end} | {count:,} |" for end, count in sorted(ends.items(), key=lambda one: (-one[1], one[0]))]
    lines += ["", "| broken first | rule | combinations |", "|---|---|--:|"]
    for (first, rule), count in sorted(firsts.items(), key=lambda one: (-one[1], one[0])):
        lines.append(f"| {first} | {f'`{rule}`' if rule else 'the memory tells'} | {count:,} |")
    return "\n".join([*lines, ""])


def document(results: Results) -> dict[str, Any]:
    """Return the complete list: a row for each producer, destructor and deleter, a column for each fate."""
    outcomes = sorted(set(results.values()), key=astuple)
    number = {outcome: index for index, outcome in enumerate(outcomes)}
    columns = [(fate, "") for fate in ALONE] + [(fate, consumer) for fate in FATES for consumer in STYLES]
    rows = [
        {
            "producer": producer,
            "destructor": destructor,
            "deleter": deleter,
            "outcomes": [number[results[Combination(producer, destructor, deleter, *column)]] for column in columns],
        }
        for producer in PRODUCERS
        for destructor in DESTRUCTORS
        for deleter in DELETERS
    ]
    return {
        "format": 1,
        "combinations": len(results),
        "columns": [{"fate": fate, "consumer": consumer or None} for fate, consumer in columns],
        "outcomes": [
            {"first": one.first or None, "rule": one.rule or None, "end": one.end, "mark": _mark(one)}
            for one in outcomes
        ],
        "rows": rows,
    }


def json_text(found: Mapping[str, Any]) -> str:
    """Return a document as text, each entry of a list on a line of its own."""
    entries = []
    for key, value in found.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            lines = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in value)
            text = f"[\n  {lines}\n ]"
        entries.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}\n"
