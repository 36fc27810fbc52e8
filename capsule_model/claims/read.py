"""Read the claims and their documents from `specs/claims/*.toml`, and name what is wrong with them.

The meaning of every key is that of specs/formats/claims.md.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capsule_model.trace.wording import clean

__all__ = ["NO_BEHAVIOUR", "Claim", "Claims", "Document", "Place", "Proof", "Subject", "faults", "read_claims"]

NO_BEHAVIOUR = "no behaviour"
DOCUMENTS = "documents.toml"
_VERDICT = re.compile(r"true|false|depends|no behaviour|true (?:since|until) 3\.(\d+)")
_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SCRIPT = re.compile(r"([a-z_]+)\.([a-z_0-9]+)")
_MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """A text that makes claims; a `seed` is one of those that the collection began with, and has to be covered."""

    id: str
    title: str
    url: str
    seed: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a claim stands: a document's id, and the section or the example."""

    document: str
    at: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Something that runs: a vector, or a function of a script.

    `predicts` is what the claim foretells of a vector's step; without it the claim agrees with all that the vector
    expects. `holds` says what the proof has to find where the verdict alone does not say it.
    """

    vector: str | None = None
    script: str | None = None
    step: int | None = None
    predicts: Mapping[str, Any] | None = None
    holds: bool | None = None

    @property
    def name(self) -> str:
        """Return the vector, or the function."""
        return self.vector or self.script or ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of a text: what it says, where, and what is so."""

    id: str
    says: str
    where: tuple[Place, ...]
    verdict: str
    truth: str
    proofs: tuple[Proof, ...]

    def expected(self, proof: Proof, minor: int) -> bool:
        """Return whether `proof` has to find that the claim holds, on the version 3.`minor`."""
        if proof.holds is not None:
            return proof.holds
        since, until = (self.verdict.startswith(f"true {word} ") for word in ("since", "until"))
        if since or until:
            bound = int(self.verdict.rpartition(".")[2])
            return minor >= bound if since else minor <= bound
        return self.verdict == "true"


@dataclass(frozen=True, slots=True)
class Subject:
    """A table of the page: the claims of one file."""

    title: str
    file: Path
    claims: tuple[Claim, ...]


@dataclass(slots=True)
class Claims:
    """All that was read, and what is wrong with it, a line each."""

    documents: dict[str, Document] = field(default_factory=dict)
    subjects: list[Subject] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def all(self) -> list[Claim]:
        """Return the claims of all subjects, in order."""
        return [claim for subject in self.subjects for claim in subject.claims]


def read_claims(folder: Path) -> Claims:
    """Return what the files of `folder` hold; what is malformed is a problem, and hides nothing else."""
    claims = Claims()
    listed = _read(folder / DOCUMENTS, claims.problems)
    for entry in _entries(listed, "document", DOCUMENTS, claims.problems):
        document = Document(
            str(entry.get("id", "")), str(entry.get("title", "")), str(entry.get("url", "")), bool(entry.get("seed"))
        )
        claims.documents[document.id] = document
    for name in listed.get("subjects", ()):
        file = folder / f"{name}.toml"
        table = _read(file, claims.problems)
        found = []
        for entry in _entries(table, "claim", file.name, claims.problems):
            try:
                found.append(_claim(entry))
            except (KeyError, TypeError, ValueError) as error:
                reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
                claims.problems.append(f"{file.name}: claim {clean(str(entry.get('id')))}: {clean(reason, 300)}")
        claims.subjects.append(Subject(str(table.get("title", name)), file, tuple(found)))
    return claims


def faults(claims: Claims, vectors: Collection[str], folder: Path) -> Iterator[str]:
    """Yield a line for everything that claims lack or contradict; `vectors` are the ids that exist."""
    yield from claims.problems
    functions = _functions(folder)
    for name, count in Counter(claim.id for claim in claims.all()).items():
        if count > 1:
            yield f"claim {name}: stands {count} times; expected once"
    for claim in claims.all():
        for fault in _faults_of(claim, claims.documents, vectors, functions):
            yield f"claim {claim.id}: {fault}"
    covered = {place.document for claim in claims.all() for place in claim.where}
    for document in claims.documents.values():
        if document.id not in covered:
            yield f"document {document.id}: no claim is from it; expected at least one"


def _faults_of(
    claim: Claim, documents: Collection[str], vectors: Collection[str], functions: Collection[str]
) -> Iterator[str]:
    if not _ID.fullmatch(claim.id):
        yield "its id is not made of words in lower case and hyphens"
    if not claim.where:
        yield "says nowhere where it stands; expected DOCUMENT: PLACE"
    for place in claim.where:
        if place.document not in documents:
            yield f"no document {clean(place.document)}; expected one of {', '.join(sorted(documents))}"
        if not place.at:
            yield f"no place in {clean(place.document)}; expected DOCUMENT: PLACE"
    if not _VERDICT.fullmatch(claim.verdict):
        yield f"verdict {clean(claim.verdict)}; expected true, false, depends, true since or until 3.N, no behaviour"
    if claim.verdict != "true" and not claim.truth:
        yield "not simply true, and does not say what is so"
    if claim.verdict == NO_BEHAVIOUR:
        if claim.proofs:
            yield "has proofs, though it is about no behaviour"
        return
    if not claim.proofs:
        yield "has no proof"
    for proof in claim.proofs:
        if proof.vector is not None and proof.vector not in vectors:
            yield f"no vector {clean(proof.vector)}"
        if proof.script is not None and proof.script not in functions:
            yield f"no function {clean(proof.script)} in specs/claims; expected FILE.FUNCTION"
    sides = {proof.holds for proof in claim.proofs}
    if claim.verdict == "depends" and sides != {True, False}:
        yield "depends, and its proofs do not show both sides; expected holds = true and holds = false"
    if claim.verdict != "depends" and sides != {None}:
        yield "a proof says holds, which the verdict says already"


def _claim(entry: Mapping[str, Any]) -> Claim:
    unknown = sorted(entry.keys() - {"id", "says", "where", "verdict", "truth", "proofs"})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    places = []
    for text in entry["where"]:
        document, _, at = text.partition(": ")
        places.append(Place(document, at))
    proofs = tuple(_proof(proof) for proof in entry.get("proofs", ()))
    return Claim(entry["id"], entry["says"], tuple(places), entry["verdict"], entry.get("truth", ""), proofs)


def _proof(entry: Mapping[str, Any]) -> Proof:
    unknown = sorted(entry.keys() - {"vector", "script", "step", "predicts", "holds"})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r} of a proof")
    if ("vector" in entry) == ("script" in entry):
        raise ValueError("a proof is neither a vector nor a script; expected one of them")
    if "script" in entry and not _SCRIPT.fullmatch(entry["script"]):
        raise ValueError(f"script {entry['script']!r}; expected FILE.FUNCTION")
    predicts = json.loads(entry["predicts"]) if "predicts" in entry else None
    if predicts is not None and (predicts.keys() == {"defined"}) == ("step" in entry):
        raise ValueError("predicts goes with the step that it is about, and defined with none")
    return Proof(entry.get("vector"), entry.get("script"), entry.get("step"), predicts, entry.get("holds"))


def _functions(folder: Path) -> frozenset[str]:
    """Return the functions that scripts offer, as FILE.FUNCTION."""
    found = set()
    for file in folder.glob("*.py"):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                found.add(f"{file.stem}.{node.name}")
    return frozenset(found)


def _read(file: Path, problems: list[str]) -> dict[str, Any]:
    try:
        text = file.read_bytes()[: _MAX_FILE + 1]
        if len(text) > _MAX_FILE:
            raise ValueError(f"more than {_MAX_FILE} bytes")
        return tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        problems.append(f"{file.name}: {error.strerror}")
    except ValueError as error:
        problems.append(f"{file.name}: {clean(str(error), 300)}")
    return {}


def _entries(table: Mapping[str, Any], key: str, name: str, problems: list[str]) -> list[dict[str, Any]]:
    found = table.get(key, [])
    if isinstance(found, list) and all(isinstance(entry, dict) for entry in found):
        return found
    problems.append(f"{name}: {key} is no list of tables; expected [[{key}]]")
    return []
