"""Know what programs leave out for an implementation, and which differences are accounted for: read the declared file.

The file format is that of specs/formats/fuzz-expectations.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

from capsule_model.conform.answers import Started
from capsule_model.conform.declarations import Form, begins, read_toml
from capsule_model.conform.expectations import Expected
from capsule_model.conform.observation import hash16
from capsule_model.fuzz.campaign.patterns import alike, fits
from capsule_model.fuzz.campaign.states import words_of
from capsule_model.locate import specs
from capsule_model.trace.contract import operations
from capsule_model.trace.execute import Machine
from capsule_model.trace.expectation import Difference
from capsule_model.trace.schema import Validator
from capsule_model.trace.wording import clean, shown

__all__ = ["Avoided", "Declared", "Explained", "declared_for", "load_declared"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RIGHT = {
    "format": "1",
    "implementation": "the name that the adapter gives in its answer to start",
    "class": "by-design, differs, crash or slow",
    "versions": 'a list of beginnings of version numbers, such as ["7.3.11"], or ["*"]',
    "reason": "a sentence or two that say why, each once",
    "link": "the http or https address of a source",
    "op": "a list of operations",
    "key": 'a list of keys of differences, such as ["error", "events.*.before"]',
    "inside": "true for steps inside functions, false for those outside",
    "pending": "true for steps that an exception is pending in, false for others",
    "one_in": "a number from 2 to 1000: one step in so many is not left out",
}
_FORMS = {sort: Form(entry=sort, hashes="", right=_RIGHT, source="") for sort in ("avoid", "explained")}


@dataclass(frozen=True, slots=True)
class Avoided:
    """Steps that programs do not contain: of the operations ``ops``, with arguments that are what their words say.

    None in ``inside`` and ``pending`` stands for both cases. Of ``one_in`` such steps one is kept.
    """

    why: Expected
    versions: tuple[str, ...]
    ops: frozenset[str]
    args: Mapping[str, tuple[str, ...]]
    inside: bool | None
    pending: bool | None
    one_in: int | None

    def takes(self, step: Mapping[str, Any], machine: Machine) -> bool:
        """Tell whether a step of a program is one of these, in the state that the machine is in."""
        if step["op"] not in self.ops or self.inside is True:
            return False
        if self.pending is not None and self.pending is not is_pending(step, machine):
            return False
        given = step.get("args", {})
        for name, words in self.args.items():
            if name not in given or words_of(machine, given[name]).isdisjoint(words):
                return False
        return self.one_in is None or crc32(json.dumps(step, sort_keys=True).encode()) % self.one_in != 0

    def takes_inside(self, step: Mapping[str, Any]) -> bool:
        """Tell whether a step of a function is one of these; what arguments are is not known there."""
        return step["op"] in self.ops and self.inside is not False and not self.args and self.pending is None


@dataclass(frozen=True, slots=True)
class Explained:
    """Differences that are accounted for: of ``ops`` (empty: of all), by key; what is at ``ignoring`` alone may differ.

    With nothing in ``ignoring`` everything may. ``args`` is a pattern of the step's arguments; of the patterns in
    ``expected`` and in ``seen`` one has to fit, where there are any.
    """

    why: Expected
    versions: tuple[str, ...]
    ops: frozenset[str]
    args: Mapping[str, Any]
    keys: tuple[str, ...]
    inside: bool | None
    expected: tuple[Any, ...]
    seen: tuple[Any, ...]
    ignoring: tuple[str, ...]

    def accounts(self, step: Mapping[str, Any], difference: Difference) -> bool:
        """Tell whether a difference in a step is one of these."""
        if self.ops and step.get("op") not in self.ops:
            return False
        if not fits(self.args, step.get("args", {})):
            return False
        if not any(fnmatchcase(difference.key, key) for key in self.keys):
            return False
        if self.inside is not None and self.inside is not ("/" in difference.path):
            return False
        if self.expected and not any(fits(pattern, difference.expected) for pattern in self.expected):
            return False
        if self.seen and not any(fits(pattern, difference.seen) for pattern in self.seen):
            return False
        return not self.ignoring or alike(difference.expected, difference.seen, self.ignoring)


@dataclass(frozen=True, slots=True)
class Declared:
    """What is declared of one implementation and version."""

    avoid: tuple[Avoided, ...] = ()
    explained: tuple[Explained, ...] = ()

    def applying(self, version: str) -> Declared:
        """Return what is about that version."""
        return Declared(
            tuple(entry for entry in self.avoid if begins(entry.versions, version)),
            tuple(entry for entry in self.explained if begins(entry.versions, version)),
        )

    def followed_by(self, other: Declared) -> Declared:
        """Return these entries and those of ``other``."""
        return Declared(self.avoid + other.avoid, self.explained + other.explained)

    def avoids(self, step: Mapping[str, Any], machine: Machine) -> Avoided | None:
        """Return the first entry that a step of a program is to be left out for."""
        return next((entry for entry in self.avoid if entry.takes(step, machine)), None)

    def avoids_inside(self, step: Mapping[str, Any]) -> Avoided | None:
        """Return the first entry that a step of a function is to be left out for."""
        return next((entry for entry in self.avoid if entry.takes_inside(step)), None)

    def explains(self, step: Mapping[str, Any], difference: Difference) -> Explained | None:
        """Return the first entry that accounts for a difference in a step; it is empty for one at the end."""
        return next((entry for entry in self.explained if entry.accounts(step, difference)), None)

    def reasons(self) -> dict[str, list[str]]:
        """Return the reasons of what is explained and of what is avoided."""
        return {
            "explained": [entry.why.reason for entry in self.explained],
            "avoided": [entry.why.reason for entry in self.avoid],
        }

    def digest(self) -> str:
        """Return the hash of what is declared, the same in every process."""
        entries = [*map(asdict, self.avoid), *map(asdict, self.explained)]
        return hash16([{**entry, "ops": sorted(entry["ops"])} for entry in entries])


def is_pending(step: Mapping[str, Any], machine: Machine) -> bool:
    """Tell whether an exception is pending in a step."""
    return "pending" in step or machine.py.error is not None


def declared_for(about: Started, files: Sequence[Path], *, shipped: bool = True) -> Declared:
    """Return what the ``shipped`` file and ``files`` declare of an implementation.

    Raises ``ValueError`` with one line for a bad file, or one that is about another implementation.
    """
    found = Declared()
    own = specs() / "expectations" / "fuzz" / f"{about.implementation}.toml"
    there = shipped and _NAME.fullmatch(about.implementation) is not None and own.is_file()
    for file in (*([own] if there else []), *files):
        name, declared = load_declared(file)
        if name != about.implementation:
            told = f"implementation is {shown(name, 100)}; expected {shown(about.implementation, 100)}"
            raise ValueError(f"{clean(str(file), 300)}: {told}, as the adapter says")
        found = found.followed_by(declared)
    return found.applying(about.version)


def load_declared(file: Path) -> tuple[str, Declared]:
    """Read a file: the name of the implementation, and what is declared of all its versions.

    Raises ``ValueError`` with one line for the first thing that is wrong: where, and what would be right.
    """
    try:
        return _declared(read_toml(file, "expectations of a campaign in TOML"))
    except ValueError as error:
        raise ValueError(f"{clean(str(file), 300)}: {clean(str(error), 600)}") from None


@cache
def _validator() -> Validator:
    return Validator(json.loads((specs() / "formats" / "fuzz-expectations.schema.json").read_text("utf-8")))


def _declared(document: dict[str, Any]) -> tuple[str, Declared]:
    for path, text in _validator().faults(document, 1):
        raise ValueError(_FORMS.get(str(path[0]) if path else "", _FORMS["avoid"]).located(document, path, text))
    reasons: dict[str, str] = {}
    for sort, form in _FORMS.items():
        for index, table in enumerate(document.get(sort, ())):
            place = form.place(document, index)
            for name in table.get("op", ()):
                if name not in operations():
                    raise ValueError(f"{place}: no operation {clean(name, 60)}; expected one of formats/vector.md")
            earlier = reasons.setdefault(_reason(table), place)
            if earlier != place:
                raise ValueError(f"{place}: reason is that of {earlier}, too; expected every reason once")
    return document["implementation"], Declared(
        tuple(map(_avoided, document.get("avoid", ()))), tuple(map(_explained, document.get("explained", ())))
    )


def _reason(table: Mapping[str, Any]) -> str:
    return " ".join(table["reason"].split())


def _why(table: Mapping[str, Any]) -> Expected:
    return Expected(table["class"], _reason(table), table["link"])


def _avoided(table: Mapping[str, Any]) -> Avoided:
    return Avoided(
        _why(table),
        tuple(table["versions"]),
        frozenset(table["op"]),
        {name: tuple(words) for name, words in table.get("args", {}).items()},
        table.get("inside"),
        table.get("pending"),
        table.get("one_in"),
    )


def _explained(table: Mapping[str, Any]) -> Explained:
    return Explained(
        _why(table),
        tuple(table["versions"]),
        frozenset(table.get("op", ())),
        table.get("args", {}),
        tuple(table["key"]),
        table.get("inside"),
        tuple(table.get("expected", ())),
        tuple(table.get("seen", ())),
        tuple(table.get("ignoring", ())),
    )
