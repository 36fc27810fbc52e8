"""Hold the results of several implementations side by side, chapter by chapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from capsule_model.conform.expectations import DIVERGING
from capsule_model.show.results import Column, Entry
from capsule_model.trace.needs import FEATURES

__all__ = [
    "KINDS",
    "LEGEND",
    "LOUD",
    "NOTHING",
    "QUIET",
    "Cell",
    "Comparison",
    "Group",
    "Kind",
    "compare",
    "groups",
    "lacking",
    "noted",
    "shortcomings",
]

_NEEDS = "needs "


@dataclass(frozen=True, slots=True)
class Kind:
    """What outcomes come to: a mark, and words for one vector, for several, in a heading and in a legend."""

    mark: str
    one: str
    several: str
    long: str
    meaning: str

    def of(self, count: int) -> str:
        """Return `count` vectors of this kind in words."""
        return f"{count} {self.one if count == 1 else self.several}"


# By severity: the first one that a cell has is what the cell is.
KINDS: Mapping[str, Kind] = {
    "unexpected": Kind(
        "✗", "unexpected", "unexpected", "unexpected", "failed, crashed or silent, and nobody has declared why"
    ),
    "crash": Kind("‡", "crashes", "crash", "crash", "ends the process; declared, with a reason"),
    "differs": Kind("≠", "differs", "differ", "differs", "differs from CPython; declared, with a reason"),
    "by-design": Kind("≈", "by design", "by design", "by design", "differs by design; declared, with a reason"),
    "unsupported": Kind("○", "unsupported", "unsupported", "unsupported", "the adapter lacks what the vector needs"),
    "passed": Kind("✓", "passed", "passed", "passed", "as the specification has it"),
    "quiet": Kind(
        "·", "not asked", "not asked", "not asked", "not applicable under the profile, or undefined behaviour"
    ),
}
QUIET = ("passed", "quiet")
# What may not have passed, the mildest first, and the order in which to explain the marks.
LOUD = tuple(kind for kind in KINDS if kind not in QUIET)[::-1]
LEGEND = ("passed", *LOUD, "quiet")
NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Cell:
    """One chapter of one implementation: the number of its vectors by kind."""

    counts: Mapping[str, int]

    @property
    def worst(self) -> str | None:
        """Return the severest kind that occurs, None where the chapter has no vectors."""
        return next((kind for kind in KINDS if self.counts.get(kind)), None)

    @property
    def loud(self) -> list[tuple[str, int]]:
        """Return kind and number of what did not pass although it was to, the severest first."""
        return [(kind, self.counts[kind]) for kind in LOUD[::-1] if self.counts.get(kind)]

    @property
    def words(self) -> str:
        """Return all of it in words."""
        told = [f"{self.counts['passed']} passed"] if self.counts.get("passed") else []
        told += [KINDS[kind].of(count) for kind, count in self.loud]
        told += [f"{self.counts['quiet']} not asked"] if self.counts.get("quiet") else []
        return ", ".join(told) or "no vectors"


@dataclass(frozen=True, slots=True)
class Group:
    """Vectors of one kind with one reason. `lacks` names what is not there, each with the adapter's reason or None."""

    kind: str
    reason: str | None
    link: str | None
    lacks: Sequence[tuple[str, str | None]]
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The columns in their order; `chapters` by id, with the words to show; `suspects` by vector id."""

    columns: Sequence[Column]
    chapters: Mapping[str, str]
    cells: Mapping[tuple[str, str], Cell]
    totals: Mapping[str, Cell]
    suspects: Mapping[str, Mapping[str, Entry]]
    others: Mapping[str, str]

    @property
    def findings(self) -> list[str]:
        """Return in a line each what is not as it should be; empty where all is well."""
        lines = [f"{column.name}: {', '.join(found)}" for column in self.columns if (found := shortcomings(column))]
        count = len(self.suspects)
        if count:
            lines.append(f"{count} suspect vector{'' if count == 1 else 's'}: failed wherever they ran")
        return lines


def compare(columns: Sequence[Column]) -> Comparison:
    """Put `columns` side by side."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for column in columns:
        for entry in column.entries:
            counts.setdefault((column.name, entry.chapter), Counter())[entry.kind] += 1
    cells = {place: Cell(counted) for place, counted in counts.items()}
    return Comparison(
        columns,
        _chapters({chapter for _, chapter in cells}),
        cells,
        {column.name: Cell(column.kinds) for column in columns},
        _suspects(columns),
        _others(columns),
    )


def groups(entries: Iterable[Entry], absent: Mapping[str, str]) -> list[Group]:
    """Group what did not pass by kind and reason, the severest first; `absent` has the adapter's reasons by name."""
    found: dict[tuple[str, str | None, str | None, tuple[str, ...]], list[Entry]] = {}
    for entry in entries:
        if entry.kind in QUIET:
            continue
        _, reason, link = (None, None, None) if entry.why is None or entry.kind == "unexpected" else entry.why
        names = lacking(entry, absent) if entry.kind == "unsupported" else ()
        found.setdefault((entry.kind, reason, link, names), []).append(entry)
    order = list(KINDS)
    ordered = sorted(found.items(), key=lambda item: order.index(item[0][0]))
    return [
        Group(kind, reason, link, [(name, absent.get(name)) for name in names], members)
        for (kind, reason, link, names), members in ordered
    ]


def noted(column: Column) -> Iterator[tuple[str, list[Entry]]]:
    """Yield the chapters of a column of which there is something to say, each with its vectors."""
    for chapter, entries in groupby(sorted(column.entries, key=lambda entry: entry.chapter), lambda e: e.chapter):
        listed = list(entries)
        if any(entry.kind not in QUIET for entry in listed):
            yield chapter, listed


def lacking(entry: Entry, absent: Mapping[str, str]) -> tuple[str, ...]:
    """Return what an unsupported vector lacks, as its detail has it: features alone where there are any.

    The operations that go with a feature follow from it.
    """
    detail = entry.detail or "something that it does not name"
    if not detail.startswith(_NEEDS):
        return (detail,)
    names = detail.removeprefix(_NEEDS).split(", ")
    features = tuple(name for name in names if name in FEATURES or name in absent)
    return features or tuple(names)


def shortcomings(column: Column) -> list[str]:
    """Return why a result is not as it should be, in a few words each."""
    kinds = column.kinds
    unexpected = kinds["unexpected"]
    reasons = [f"{unexpected} unexpected divergence{'' if unexpected == 1 else 's'}"] if unexpected else []
    reasons += [] if kinds["passed"] else ["nothing passed"]
    for faults, what in ((column.faults, "of expectations that do not hold"), (column.problems, "of bad input")):
        reasons += [f"{len(faults)} {'line' if len(faults) == 1 else 'lines'} {what}"] if faults else []
    return reasons


def _chapters(ids: set[str]) -> dict[str, str]:
    """Return the words for each chapter: the second of its id, both where not all begin alike."""
    alike = len({identifier.partition(".")[0] for identifier in ids}) == 1
    return {
        identifier: identifier.partition(".")[2] if alike else identifier.replace(".", " ")
        for identifier in sorted(ids)
    }


def _suspects(columns: Sequence[Column]) -> dict[str, dict[str, Entry]]:
    """Return the vectors that two implementations or more ran and none passed, with what became of them."""
    ran: dict[str, dict[str, Entry]] = {}
    for column in columns:
        for entry in column.entries:
            if entry.outcome == "passed" or entry.outcome in DIVERGING:
                ran.setdefault(entry.id, {})[column.name] = entry
    return {
        identifier: entries
        for identifier, entries in sorted(ran.items())
        if len(entries) > 1 and all(entry.outcome in DIVERGING for entry in entries.values())
    }


def _others(columns: Sequence[Column]) -> dict[str, str]:
    """Return the columns whose vectors are not those of most, each with its digest in words."""
    counted = Counter(column.vectors for column in columns)
    most = max(counted, key=lambda digest: counted[digest], default=None)
    return {column.name: column.vectors or "not named" for column in columns if column.vectors != most}
