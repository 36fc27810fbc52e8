"""Know the divergences of an implementation that are accounted for: read them, and judge the results of a run.

The file format is that of specs/formats/expectations.md.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from capsule_model.conform.answers import Started
from capsule_model.conform.observation import hash16, observation_hash
from capsule_model.conform.runner import Result
from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.trace.files import MAX_DEPTH, read_text
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

_MAX_FILE = 1024 * 1024
# A dotted key of 17 parts or more: tomllib keeps every beginning of a key, and needs the square of its length.
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+"""
_DEEP_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:\.[ \t]*+{_PART}){{16}}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# What would be right, by the last key of the place of a fault.
_RIGHT = {
    "format": "1",
    "implementation": "the name that the adapter gives in its answer to start",
    "class": f"one of {', '.join(CLASSES)}",
    "versions": 'a list of beginnings of version numbers, such as ["7.3.11"], or ["*"]',
    "profiles": 'a list of names of profiles, such as ["cpython-3.13-32"]',
    "outcome": f"one of {', '.join(DIVERGING)}, unsupported",
    "reason": "a sentence or two that say why",
    "link": "the http or https address of a source",
}


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
        number = _components((version.split() or [""])[0])
        beginnings = map(_components, self.versions)
        fits = any(number[: len(beginning)] == beginning for beginning in beginnings)
        return fits and (self.profiles is None or profile in self.profiles)


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
    """Return the ids of the vectors that travel with this package."""
    files = sorted((specs() / "vectors").rglob("*.json"))
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
        return _expectations(_parsed(file), file.name, known_ids)
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


def _components(version: str) -> tuple[str, ...]:
    """Return the components of a version number; `*`, the beginning of every one, has none."""
    return () if version == "*" else tuple(version.split("."))


def _parsed(file: Path) -> dict[str, Any]:
    text = read_text(file, _MAX_FILE, "expectations in TOML")
    try:
        if _DEEP_KEY.search(text):
            raise RecursionError
        document = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"nested too deep; expected at most {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise ValueError(f"not TOML: {error}; expected each key once, and what the format says") from None
    return {key: _plain(value, (key,)) for key, value in document.items()}


def _plain(value: Any, path: tuple[str, ...]) -> Any:
    """Return a value of TOML as one of JSON; raise `ValueError` for dates, fractions, what is too deep or too big."""
    if len(path) > MAX_DEPTH:
        raise ValueError(f"nested too deep; expected at most {MAX_DEPTH} levels")
    match value:
        case dict():
            return {key: _plain(inner, (*path, key)) for key, inner in value.items()}
        case list():
            return [_plain(inner, (*path, str(index))) for index, inner in enumerate(value, 1)]
        case bool() | str():
            return value
        case int() if abs(value) < 1 << 63:
            return value
    raise ValueError(f"{'.'.join(path)}: found {str(value)[:80]}; expected text, or what the format says")


@cache
def _validator() -> Validator:
    return Validator(json.loads((specs() / "formats" / "expectations.schema.json").read_text("utf-8")))


def _expectations(document: dict[str, Any], name: str, known_ids: Collection[str]) -> Expectations:
    for path, text in _validator().faults(document, 1):
        raise ValueError(_located(document, path, text))
    entries = tuple(_entry(document, index, name) for index in range(len(document.get("divergence", ()))))
    for index, entry in enumerate(entries):
        place = _place(document, index)
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
        f"{clean(name, 100)}: {_place(document, index)}",
        Expected(table["class"], " ".join(table["reason"].split()), table["link"]),
        tuple(table["versions"]),
        tuple(table["profiles"]) if "profiles" in table else None,
        table["outcome"],
        {key: (value,) if isinstance(value, str) else tuple(value) for key, value in table["vectors"].items()},
    )


def _refuse_repeated(document: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Raise `ValueError` where two entries name a vector for one version, under one profile."""
    # By vector and version or beginning of one: the entries that name just it, and those that name a longer one.
    exactly: dict[tuple[str, ...], list[int]] = {}
    below: dict[tuple[str, ...], list[int]] = {}
    for index, entry in enumerate(entries):
        claims = [(name, *_components(version)) for name in entry.vectors for version in entry.versions]
        for claim in claims:
            beginnings = [claim[:length] for length in range(1, len(claim) + 1)]
            for other in (*below.get(claim, ()), *(i for b in beginnings for i in exactly.get(b, ()))):
                if other != index and _share_a_profile(entry, entries[other]):
                    twice = f"{_place(document, index)}: {claim[0]} is in {_place(document, other)}, too"
                    version = ".".join(claim[1:]) or "*"
                    raise ValueError(f"{twice}, for version {version}; expected every vector once a version")
            exactly.setdefault(claim, []).append(index)
            for beginning in beginnings[:-1]:
                below.setdefault(beginning, []).append(index)


def _share_a_profile(one: Entry, other: Entry) -> bool:
    return one.profiles is None or other.profiles is None or not set(one.profiles).isdisjoint(other.profiles)


def _place(document: Mapping[str, Any], index: int) -> str:
    """Return the name of a divergence: its number, counted from 1, and the first vector that it names."""
    table = document["divergence"][index]
    vectors = table.get("vectors") if isinstance(table, dict) else None
    first = next(iter(vectors), None) if isinstance(vectors, dict) else None
    return f"divergence {index + 1}" + (f" ({clean(first, 120)})" if first else "")


def _located(document: Mapping[str, Any], path: Sequence[str | int], text: str) -> str:
    """Put a fault that the schema found into words: its place, what is there, and what would be right."""
    value: Any = document
    for part in path:
        value = value[part]
    match path:
        case ("divergence", int(index), *rest):
            places = [_place(document, index)]
        case _:
            places, rest = [], list(path)
    keys = [part for part in rest if isinstance(part, str)]
    if keys[:1] == ["vectors"] and len(rest) > 1:
        places.append(str(rest[1]))
        text = f"found {shown(value, 80)}; expected 16 hex digits as conform shows them, or a list of such"
    elif keys and keys[-1] in _RIGHT:
        places.append(keys[-1])
        text = f"found {shown(value, 80)}; expected {_RIGHT[keys[-1]]}"
    else:
        places += [str(part) for part in rest]
    return ": ".join([*places, text])
