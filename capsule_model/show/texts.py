"""Put parts of a result into words that are safe to show: one line each, of bounded length, nothing unprintable."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from capsule_model.conform.words import in_words
from capsule_model.show.comparison import Comparison, Group
from capsule_model.show.results import Column, Entry
from capsule_model.trace.wording import clean, shown

__all__ = [
    "about",
    "differences",
    "lacks",
    "limited",
    "made_of",
    "notices",
    "number",
    "spans",
    "web_address",
    "web_label",
]

MOST_DIFFERENCES = 8
MOST_LISTED = 40
MOST_EXPLAINED = 25

_WIDTH = 300
_CODE = re.compile(r"`([^`]+)`")
_MOST_ITEMS = 200
_WEB = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][!-~]*)?")


def number(count: int, what: str) -> str:
    """Return `count` things in words: 1 vector, 2 vectors."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def limited(items: Sequence[str], most: int = MOST_LISTED) -> list[str]:
    """Return the first `most` items, and how many more there are."""
    left = len(items) - most
    return [*items[:most], f"and {left} more"] if left > 0 else list(items)


def spans(text: str) -> list[tuple[str, bool]]:
    """Split what somebody wrote at its backticks: parts of the text, each with whether it is code."""
    return [(part, bool(index % 2)) for index, part in enumerate(_CODE.split(text)) if part]


def web_address(text: str | None) -> str | None:
    """Return `text` if it is an address that can be linked to: http or https, with no name before the host."""
    return text if text is not None and len(text) <= 500 and _WEB.fullmatch(text) else None


def web_label(address: str) -> str:
    """Return what to show of an address: host and path, so that a reader sees where it leads."""
    return clean(address.partition("://")[2].removesuffix("/"), 70)


def differences(entry: Entry) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return where a vector differs: the place, then each side that says something, by its name."""
    found = []
    for difference in entry.differences[:MOST_DIFFERENCES]:
        path, key = clean(difference["path"], 80), clean(difference["key"], 80)
        where = f"step {path}" if path != "end" else "at the end"
        sides = [
            (side, _in_words(difference["key"], difference[side]))
            for side in ("expected", "model", "seen")
            if side in difference
        ]
        found.append((f"{where}: {key}", sides))
    left = len(entry.differences) - MOST_DIFFERENCES
    return [*found, (f"and {number(left, 'more difference')}", [])] if left > 0 else found


def lacks(group: Group) -> list[tuple[str, str | None]]:
    """Return what a group lacks, name by name, each with the adapter's reason or None."""
    named = [(clean(name, _WIDTH), None if why is None else clean(why, 500)) for name, why in group.lacks[:MOST_LISTED]]
    left = len(group.lacks) - MOST_LISTED
    return [*named, (f"and {left} more", None)] if left > 0 else named


def about(column: Column) -> tuple[str, str, str]:
    """Return implementation, version and profile."""
    return clean(column.implementation, 60), clean(column.version, 120), clean(column.profile, 80)


def made_of(column: Column) -> list[tuple[str, str]]:
    """Return what else is known of a result, as pairs of a name and a text, without what says nothing."""
    outcomes = column.outcomes
    quiet = [
        f"{number(outcomes[outcome], 'vector')} {words}"
        for outcome, words in (
            ("not-applicable", "not applicable under this profile"),
            ("undefined", "ending in undefined behaviour, which only the model ran"),
        )
        if outcomes[outcome]
    ]
    absent = [f"{clean(name, 80)}: {clean(why)}" for name, why in column.absent.items()]
    late = f"{number(column.settled, 'vector')} passed with steps that wait for destructors" if column.settled else ""
    pairs = [
        ("not asked", "; ".join(quiet)),
        ("settled", late),
        ("features", ", ".join(limited([clean(feature, 60) for feature in column.features]))),
        ("absent", "; ".join(limited(absent))),
        ("expectations", ", ".join(limited([clean(name, 100) for name in column.expectations]))),
        ("vectors", clean(column.vectors, 40) if column.vectors else ""),
        ("made by", f"capsule-model {clean(column.specification, 40)}" if column.specification else ""),
        ("expectations that do not hold", "; ".join(limited([clean(fault, 600) for fault in column.faults]))),
        ("bad input", "; ".join(limited([clean(problem) for problem in column.problems]))),
    ]
    return [(name, text) for name, text in pairs if text]


def notices(comparison: Comparison) -> list[str]:
    """Return what a reader must know before comparing the columns."""
    if not comparison.others:
        return []
    told = ", ".join(f"{name} ({clean(digest, 40)})" for name, digest in comparison.others.items())
    usual = next(c for c in comparison.columns if c.name not in comparison.others).vectors
    return [
        f"Other vectors than those of most ({clean(usual or 'not named', 40)}): {told}. Their figures do not compare."
    ]


def _in_words(key: str, value: Any) -> str:
    value = _few(value)
    try:
        return clean(in_words(key, value), _WIDTH)
    except (AttributeError, KeyError, TypeError):
        # Not of a form that an observation has.
        return shown(value, _WIDTH)


def _few(value: Any) -> Any:
    """Return the beginning of a value: more is not shown, and need not be written out to be cut."""
    match value:
        case list():
            return [_few(inner) for inner in value[:_MOST_ITEMS]]
        case Mapping():
            return {key[:_WIDTH]: _few(inner) for key, inner in list(value.items())[:_MOST_ITEMS]}
        case str():
            return value[: _WIDTH + 1]
    return value
