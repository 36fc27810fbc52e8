"""Draft expectations: entries for what no expectation explains, whose reasons and links a person fills in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from capsule_model.conform.answers import Started
from capsule_model.conform.expectations import DIVERGING
from capsule_model.conform.observation import observation_hash
from capsule_model.conform.runner import Result
from capsule_model.conform.words import in_words
from capsule_model.trace.needs import FEATURES
from capsule_model.trace.returns import MISSING
from capsule_model.trace.wording import clean

__all__ = ["draft"]

_CLASSES = {"failed": "differs", "errored": "differs", "crashed": "crash", "timed-out": "crash"}
_NUMBER = re.compile(r"[0-9A-Za-z+_-]+(\.[0-9A-Za-z+_-]+)*")


def draft(about: Started, results: Sequence[Result], explained: Collection[str]) -> str:
    """Return the TOML of a file of expectations for each divergence among `results` that is not `explained`.

    It is as specs/formats/expectations.md says, but for empty reasons and links.
    """
    left = [result for result in results if result.id not in explained]
    lines = [
        "# A draft of capsule-model conform: each reason and link is to be filled in, each class to be thought about.",
        "# Entries of class unsupported may be deleted: what is unsupported needs no reason.",
        "format = 1",
        f"implementation = {_quoted(about.implementation)}",
    ]
    for outcome in DIVERGING:
        found = [result for result in left if result.outcome == outcome]
        lines += _entry(about, found, _CLASSES[outcome])
    unsupported = [result for result in left if result.outcome == "unsupported"]
    for lacking in sorted({_lacking(result) for result in unsupported}):
        found = [result for result in unsupported if _lacking(result) == lacking]
        lines += _entry(about, found, "unsupported", _absences(about, lacking))
    return "\n".join(lines) + "\n"


def _entry(about: Started, results: Sequence[Result], class_: str, comments: Iterable[str] = ()) -> Iterator[str]:
    if not results:
        return
    number = (about.version.split() or [""])[0]
    yield ""
    yield from (f"# {comment}" for comment in comments)
    yield "[[divergence]]"
    yield f'class = "{class_}"'
    yield f'versions = ["{number if _NUMBER.fullmatch(number) else "*"}"]'
    yield f'outcome = "{results[0].outcome}"'
    yield 'reason = ""'
    yield 'link = ""'
    yield "[divergence.vectors]"
    for result in results:
        seen = _seen(result)
        yield f'"{result.id}" = "{observation_hash(result)}"' + (f"  # {seen}" if seen else "")


def _seen(result: Result) -> str:
    """Return in a few words what was seen: the first difference, and how many more there are."""
    if result.outcome == "unsupported":
        return ""
    if not result.divergences:
        return clean(result.detail or "", 160)
    first = result.divergences[0]
    sides = [
        f"{side} {in_words(first.key, value)}"
        for side, value in (("expected", first.expected), ("seen", first.seen))
        if value is not MISSING
    ]
    more = f"; and {len(result.divergences) - 1} more" if len(result.divergences) > 1 else ""
    return clean(f"{first.path}: {first.key}: {', '.join(sides)}", 160) + more


def _lacking(result: Result) -> tuple[str, ...]:
    """Return the features that a vector lacks, which operations follow from; the operations where it lacks none."""
    return tuple(name for name in result.lacking if name in FEATURES) or result.lacking


def _absences(about: Started, lacking: Sequence[str]) -> Iterator[str]:
    yield "lacks " + ", ".join(clean(name) for name in dict.fromkeys(lacking))
    for name in dict.fromkeys(lacking):
        if name in about.absent:
            yield f"{clean(name)}: {clean(about.absent[name])}"


def _quoted(text: str) -> str:
    """Return `text` as a TOML string on one line; what is not printable is shown by its escape."""
    shown = clean(text, 100).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'
