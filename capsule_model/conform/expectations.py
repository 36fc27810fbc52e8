"""Know the divergences of an implementation that are accounted for: read them, and judge the results of a run.

The file format is that of specs/formats/expectations.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from capsule_model.conform.answers import Started
from capsule_model.conform.declarations import Form, begins, components, first_clash, read_toml
from capsule_model.conform.observation import hash16, observation_hash
from capsule_model.conform.runner import Result
from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.suites import suites_there, vectors_of
from capsule_model.trace.schema import Validator
from capsule_model.trace.wording import clean, shown

__all__ = [
    "CLASSES",
    "DIVERGING",
    "Entry",
    "Expectations",
    "Expected",
    "Verdict",
    "builtin_expectations",
    "expectations_for",
    "hash16",
    "load_expectations",
    "observation_hash",
    "shipped_ids",
]

CLASSES = ("by-design", "differs", "crash", "unsupported")
DIVERGING = ("failed", "errored", "crashed", "timed-out")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FORM = Form(
    entry="divergence",
    hashes="vectors",
    right={
        "format": "1",
        "implementation": "the name that the adapter gives in its answer to start",
        "class": f"one of {', '.join(CLASSES)}",
        "versions": 'a list of beginnings of version numbers, such as ["7.3.11"], or ["*"]',
        "profiles": 'a list of names of profiles, such as ["cpython-3.13-32"]',
        "outcome": f"one of {', '.join(DIVERGING)}, unsupported",
        "reason": "a sentence or two that say why",
        "link": "the http or https address of a source",
    },
    source="conform",
)


@dataclass(frozen=True, slots=True)
class Expected:
    """Why a vector diverges: one of `CLASSES`, a reason in a sentence or two, and the address of a source."""

    class_: str
    reason: str
    link: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One `[[divergence]]` of a file: `place` says where it is, `vectors` has the observation hashes by vector id."""

    place: str
    why: Expected
    versions: tuple[str, ...]
    profiles: tuple[str, ...] | None
    outcome: str
    vectors: Mapping[str, tuple[str, ...]]

    def applies(self, version: str, profile: str | None) -> bool:
        """Tell whether the entry is about that version of the implementation, and the profile that it suggests."""
        return begins(self.versions, version) and (self.profiles is None or profile in self.profiles)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What expectations say of a run: the reasons by vector id, and in one line each what is not as declared."""

    expected: Mapping[str, Expected] = field(default_factory=dict)
    faults: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Expectations:
    """The declared divergences of one implementation. Of two entries for one vector and version the later holds."""

    implementation: str
    entries: tuple[Entry, ...] = ()
    files: tuple[str, ...] = ()

    def applying(self, about: Started) -> dict[str, Entry]:
        """Return the entry for each vector that has one for this version and profile of the implementation."""
        if about.implementation != self.implementation:
            return {}
        found = [entry for entry in self.entries if entry.applies(about.version, about.profile)]
        return {name: entry for entry in found for name in entry.vectors}

    def judge(self, about: Started, results: Sequence[Result]) -> Verdict:
        """Hold `results` against the entries; vectors without a result are left alone."""
        expected: dict[str, Expected] = {}
        faults: list[str] = []
        if about.implementation != self.implementation and self.entries:
            faults.append(f"{', '.join(self.files)}: {_other(self.implementation, about.implementation)}")
        applying = self.applying(about)
        for result in results:
            entry = applying.get(result.id)
            if entry is None:
                continue
            fault = _fault(entry, result)
            if fault is None:
                expected[result.id] = entry.why
            else:
                faults.append(f"{entry.place}: {result.id}: {fault}")
        return Verdict(expected, faults)

    def digest(self, about: Started) -> str:
        """Return the hash of what the entries say that apply to this version and profile."""
        return hash16(
            [
                [name, entry.outcome, entry.vectors[name], entry.why.class_, entry.why.reason, entry.why.link]
                for name, entry in sorted(self.applying(about).items())
            ]
        )

    def followed_by(self, other: Expectations) -> Expectations:
        """Return these entries and those of `other`, which take precedence."""
        return Expectations(self.implementation, self.entries + other.entries, self.files + other.files)


def expectations_for(
    implementation: str, files: Sequence[Path], known_ids: Collection[str], *, shipped: bool = True
) -> Expectations:
    """Return the `shipped` expectations of `implementation`, followed by those of `files`.

    Raises `ValueError` with one line for a bad file, or one that is about another implementation.
    """
    found = (builtin_expectations(implementation, known_ids) if shipped else None) or Expectations(implementation)
    for file in files:
        given = load_expectations(file, known_ids)
        if given.implementation != implementation:
            raise ValueError(f"{clean(str(file), 300)}: {_other(given.implementation, implementation)}")
        found = found.followed_by(given)
    return found


@cache
def shipped_ids() -> frozenset[str]:
    """Return the ids of the vectors of all suites that travel with this package."""
    files = sorted(file for suite in suites_there() for file in vectors_of(suite).rglob("*.json"))
    return frozenset(vector["id"] for file in files for vector in json.loads(file.read_text("utf-8"))["vectors"])


def builtin_expectations(implementation: str, known_ids: Collection[str]) -> Expectations | None:
    """Return the shipped expectations of `implementation`, None where there are none."""
    if not _NAME.fullmatch(implementation):
        return None
    file = specs() / "expectations" / f"{implementation}.toml"
    if not file.is_file():
        return None
    found = load_expectations(file, known_ids)
    if found.implementation != implementation:
        raise ValueError(f"{clean(str(file), 300)}: {_other(found.implementation, implementation)}")
    return found


def load_expectations(file: Path, known_ids: Collection[str]) -> Expectations:
    """Read a file of expectations about vectors of `known_ids`.

    Raises `ValueError` with one line for the first thing that is wrong: where, and what would be right.
    """
    try:
        return _expectations(read_toml(file, "expectations in TOML"), file.name, known_ids)
    except ValueError as error:
        raise ValueError(f"{clean(str(file), 300)}: {clean(str(error), 600)}") from None


def _other(found: str, expected: str) -> str:
    return f"implementation is {shown(found, 100)}; expected {shown(expected, 100)}, as the adapter says"


def _fault(entry: Entry, result: Result) -> str | None:
    """Return in what `result` is not as `entry` declares."""
    seen = observation_hash(result)
    if seen is None:
        return f"the divergence has gone: {result.outcome}; expected no entry for this version"
    if result.outcome != entry.outcome:
        return f"another outcome: {result.outcome} with observation {seen}; expected {entry.outcome}"
    if seen not in entry.vectors[result.id]:
        return f"another observation: {seen}; expected {' or '.join(entry.vectors[result.id])}"
    return None


@cache
def _validator() -> Validator:
    return Validator(json.loads((specs() / "formats" / "expectations.schema.json").read_text("utf-8")))


def _expectations(document: dict[str, Any], name: str, known_ids: Collection[str]) -> Expectations:
    for path, text in _validator().faults(document, 1):
        raise ValueError(_FORM.located(document, path, text))
    entries = tuple(_entry(document, index, name) for index in range(len(document.get("divergence", ()))))
    for index, entry in enumerate(entries):
        place = _FORM.place(document, index)
        if (entry.why.class_ == "unsupported") != (entry.outcome == "unsupported"):
            raise ValueError(
                f"{place}: class is {entry.why.class_} where outcome is {entry.outcome}; expected unsupported in both"
            )
        for profile in entry.profiles or ():
            if profile not in PROFILES:
                raise ValueError(f"{place}: no profile {clean(profile, 100)}; expected one that `profiles list` names")
        for identifier in entry.vectors:
            if identifier not in known_ids:
                nearest = get_close_matches(identifier, known_ids, 1, 0.4)
                raise ValueError(
                    f"{place}: no vector {identifier}; expected {nearest[0] if nearest else 'the id of a vector'}"
                )
    _refuse_repeated(document, entries)
    return Expectations(document["implementation"], entries, (name,))


def _entry(document: Mapping[str, Any], index: int, name: str) -> Entry:
    table = document["divergence"][index]
    return Entry(
        f"{clean(name, 100)}: {_FORM.place(document, index)}",
        Expected(table["class"], " ".join(table["reason"].split()), table["link"]),
        tuple(table["versions"]),
        tuple(table["profiles"]) if "profiles" in table else None,
        table["outcome"],
        {key: (value,) if isinstance(value, str) else tuple(value) for key, value in table["vectors"].items()},
    )


def _refuse_repeated(document: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Raise `ValueError` where two entries name a vector for one version, under one profile."""
    found = first_clash(
        [[(name, *components(version)) for name in entry.vectors for version in entry.versions] for entry in entries],
        lambda one, other: _share_a_profile(entries[one], entries[other]),
    )
    if found is not None:
        index, other, (name, *version) = found
        twice = f"{_FORM.place(document, index)}: {name} is in {_FORM.place(document, other)}, too"
        raise ValueError(f"{twice}, for version {'.'.join(version) or '*'}; expected every vector once a version")


def _share_a_profile(one: Entry, other: Entry) -> bool:
    return one.profiles is None or other.profiles is None or not set(one.profiles).isdisjoint(other.profiles)
