"""Read the reports that `conform --json` wrote; whatever is in them is foreign."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from capsule_model.conform.expectations import DIVERGING
from capsule_model.conform.runner import OUTCOMES
from capsule_model.locate import specs
from capsule_model.trace.files import MAX_DEPTH, read_text, too_deep
from capsule_model.trace.schema import Validator
from capsule_model.trace.wording import clean, shown

__all__ = ["Column", "Entry", "read_results"]

MAX_RESULT = 64 * 1024 * 1024
MAX_RESULTS = 100
MAX_VECTORS = 20_000

# A difference lies six levels inside the report, and what an adapter sent may nest as deep as the protocol lets it.
_DEPTH = MAX_DEPTH + 8
_MAX_DIGITS = 1000
_MAX_RULES = 100_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_ID = re.compile(r"[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)+")


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one vector; `why` is class, reason and link where an expectation declares it."""

    id: str
    outcome: str
    differences: Sequence[Mapping[str, Any]] = ()
    detail: str | None = None
    why: tuple[str, str, str] | None = None

    @property
    def kind(self) -> str:
        """Return what the outcome comes to: one of `comparison.KINDS`."""
        if self.outcome in DIVERGING:
            # That something is lacking explains no answer that was given.
            return "unexpected" if self.why is None or self.why[0] == "unsupported" else self.why[0]
        return self.outcome if self.outcome in ("passed", "unsupported") else "quiet"

    @property
    def chapter(self) -> str:
        """Return the first two words of the id, `capsule.import`."""
        return ".".join(self.id.split(".")[:2])


@dataclass(frozen=True, slots=True)
class Column:
    """One implementation's result, under the name of its file. All text in it is as the file has it."""

    name: str
    implementation: str
    version: str
    profile: str
    features: Sequence[str]
    absent: Mapping[str, str]
    reached: int
    total: int
    entries: Sequence[Entry]
    problems: Sequence[str] = ()
    specification: str | None = None
    vectors: str | None = None
    expectations: Sequence[str] = ()
    faults: Sequence[str] = ()
    settled: int = 0

    @property
    def percent(self) -> float:
        """Return how many of the rules were reached, in percent, to one digit."""
        return round(100 * self.reached / self.total, 1) if self.total else 0.0

    @property
    def outcomes(self) -> Counter[str]:
        """Return the number of vectors by outcome."""
        return Counter(entry.outcome for entry in self.entries)

    @property
    def kinds(self) -> Counter[str]:
        """Return the number of vectors by kind."""
        return Counter(entry.kind for entry in self.entries)


def read_results(files: Sequence[Path]) -> list[Column]:
    """Read one column from each of `files`; raise `ValueError` with one line for the first that is bad."""
    if len(files) > MAX_RESULTS:
        raise ValueError(f"{len(files)} results; expected at most {MAX_RESULTS}")
    first: dict[str, Path] = {}
    for file in files:
        if file.suffix != ".json" or not _NAME.fullmatch(file.stem):
            raise ValueError(f"{_path(file)}: no name for a column; expected {_NAME.pattern}.json")
        if file.stem in first:
            earlier = _path(first[file.stem])
            raise ValueError(f"{earlier} and {_path(file)} are both {file.stem}; expected files of different names")
        first[file.stem] = file
    columns = []
    for file in files:
        try:
            columns.append(_column(file.stem, _parsed(read_text(file, MAX_RESULT, "what conform --json wrote"))))
        except ValueError as error:
            raise ValueError(f"{_path(file)}: {clean(str(error), 600)}") from None
    return columns


def _path(file: Path) -> str:
    return clean(str(file), 300)


def _parsed(text: str) -> dict[str, Any]:
    deep = too_deep(text, _DEPTH)
    if deep is not None:
        line = text.count("\n", 0, deep) + 1
        raise ValueError(f"line {line}: nested deeper than {_DEPTH}; expected at most {_DEPTH} levels")
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise ValueError(f"not JSON: {place}: {error.msg}; expected what conform --json wrote") from None
    for path, fault in _validator().faults(document, 1):
        where = ".".join(str(part) for part in path) or "the report"
        raise ValueError(f"{clean(where, 200)}: {fault}")
    result: dict[str, Any] = document
    return result


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Half a surrogate pair is no text that a schema can be asked about.
    pairs = [(key.encode("utf-8", "backslashreplace").decode("utf-8"), value) for key, value in pairs]
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"an object has the key {shown(twice, 60)} twice; expected each key once")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits; expected at most {_MAX_DIGITS}")
    return int(digits)


def _constant(word: str) -> Any:
    raise ValueError(f"found {word}; expected a JSON value")


@cache
def _validator() -> Validator:
    return Validator(json.loads((specs() / "formats" / "report.schema.json").read_text("utf-8")))


def _column(name: str, document: Mapping[str, Any]) -> Column:
    about, summary = document["implementation"], document["summary"]
    entries = _entries(document["vectors"])
    counted = Counter(entry.outcome for entry in entries)
    for outcome in OUTCOMES:
        if summary[outcome] != counted[outcome]:
            found = f"found {shown(summary[outcome], 40)}; expected {counted[outcome]}, as the vectors have it"
            raise ValueError(f"summary.{outcome}: {found}")
    rules = summary["rules"]
    if not rules["reached"] <= rules["total"] <= _MAX_RULES:
        reached, total = shown(rules["reached"], 40), shown(rules["total"], 40)
        raise ValueError(
            f"summary.rules: {reached} of {total} reached; expected no more than all of {_MAX_RULES} at most"
        )
    specification, declared = document.get("specification", {}), document.get("expectations", {})
    return Column(
        name,
        about["name"],
        about["version"],
        document["profile"],
        about["features"],
        about["absent"],
        int(rules["reached"]),
        int(rules["total"]),
        entries,
        document["problems"],
        specification.get("version"),
        specification.get("vectors"),
        declared.get("files", ()),
        declared.get("faults", ()),
        sum(vector["outcome"] == "passed" and vector.get("settled", False) for vector in document["vectors"]),
    )


def _entries(vectors: Sequence[Mapping[str, Any]]) -> list[Entry]:
    if len(vectors) > MAX_VECTORS:
        raise ValueError(f"vectors: {len(vectors)} of them; expected at most {MAX_VECTORS}")
    found: dict[str, Entry] = {}
    for index, vector in enumerate(vectors):
        identifier = vector["id"]
        if len(identifier) > 120 or not _ID.fullmatch(identifier):
            raise ValueError(
                f"vectors.{index}.id: found {shown(identifier, 80)}; expected words with dots between them"
            )
        if identifier in found:
            raise ValueError(f"vectors.{index}.id: {identifier} occurs again; expected every id once")
        why = vector.get("expected")
        found[identifier] = Entry(
            identifier,
            vector["outcome"],
            vector.get("differences", ()),
            vector.get("detail"),
            None if why is None else (why["class"], why["reason"], why["link"]),
        )
    return list(found.values())
