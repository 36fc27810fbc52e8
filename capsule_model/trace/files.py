"""Load vector files, and say in one line each what is wrong with the bad ones.

A bad file or vector never hides the others: what can be used is returned beside the problems.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsule_model.trace.contract import vector_schema
from capsule_model.trace.meaning import Known, faults
from capsule_model.trace.wording import clean, shown

if TYPE_CHECKING:
    from capsule_model.trace.schema import Validator

__all__ = ["MAX_DEPTH", "MAX_FILE", "MAX_VECTOR", "Loaded", "Problem", "Vector", "load", "read_text", "too_deep"]

MAX_FILE = 8 * 1024 * 1024
MAX_VECTOR = 1024 * 1024
MAX_DEPTH = 64
_MAX_DIGITS = 40
_MAX_PROBLEMS = 20

Vector = dict[str, Any]

# Strings first, so that brackets inside them do not count; an unterminated one runs to the end of the text.
_NESTING = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the input: where, what was found, what was expected."""

    file: Path
    text: str
    vector: str | None = None
    step: str | None = None

    def __str__(self) -> str:
        """Return the problem as one line."""
        parts = [clean(str(self.file), 300)]
        parts += [f"vector {clean(self.vector)}"] if self.vector else []
        parts += [f"step {clean(self.step)}"] if self.step else []
        return ": ".join([*parts, clean(self.text, 600)])


@dataclass(slots=True)
class Loaded:
    """What `load` found: usable vectors in order, where each came from, and the problems."""

    vectors: list[Vector] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


_UNREADABLE = object()


class _Misread:
    """Stand for a value that JSON allows and the format does not."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Repeated(dict[str, Any]):
    """An object in which a key occurs twice."""


def load(path: Path, known: Known | None = None) -> Loaded:
    """Load the vectors of the file `path`, or of every `*.json` file below the folder `path`."""
    loaded = Loaded()
    known = Known() if known is None else known
    if path.is_dir():
        files = sorted(p for p in path.rglob("*.json") if p.is_file())
        if not files:
            loaded.problems.append(Problem(path, "no vector files here: expected at least one *.json"))
    else:
        files = [path]
    for file in files:
        _load_file(file, known, loaded)
    return loaded


def too_deep(text: str, limit: int = MAX_DEPTH) -> int | None:
    """Return the offset at which the brackets of `text` nest deeper than `limit`, or None."""
    depth = 0
    for match in _NESTING.finditer(text):
        first = match[0][0]
        if first in "[{":
            depth += 1
            if depth > limit:
                return match.start()
        elif first in "]}":
            depth -= 1
    return None


def _load_file(file: Path, known: Known, loaded: Loaded) -> None:
    def problem(text: str, vector: str | None = None, step: str | None = None) -> None:
        loaded.problems.append(Problem(file, text, vector, step))

    text = _read(file, problem)
    if text is None:
        return
    document = _parse(text, problem)
    if document is _UNREADABLE:
        return
    if not isinstance(document, dict):
        problem(f"found {_kind(document)}; expected a vector or an object with format and vectors")
        return
    for place, vector in _vectors_of(document, problem):
        name = vector.get("id") if isinstance(vector, dict) else None
        label = name if isinstance(name, str) and name else place
        found = False
        for step, fault in _faults(vector, known, measure=len(text) > MAX_VECTOR):
            problem(fault, label, step)
            found = True
        if not found and label in loaded.files:
            problem(f"id occurs again, first in {loaded.files[label]}; expected every id once", label)
        elif not found:
            loaded.vectors.append(vector)
            loaded.files[label] = file


def _read(file: Path, problem: Any) -> str | None:
    if not file.exists():
        problem("no such file or folder; expected vectors")
        return None
    if not file.is_file():
        problem("not a regular file; expected a file of vectors or a folder")
        return None
    try:
        return read_text(file, MAX_FILE, "vectors")
    except ValueError as error:
        problem(str(error))
    return None


def read_text(file: Path, limit: int, expected: str) -> str:
    """Return the text of a file of at most `limit` bytes; raise `ValueError` with one line for any other."""
    if not file.is_file():
        raise ValueError(f"no such file; expected {expected}")
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
        if len(data) <= limit:
            return data.decode("utf-8")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}; expected {expected}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; expected UTF-8 throughout") from None
    raise ValueError(f"larger than {limit} bytes; expected at most that")


def _parse(text: str, problem: Any) -> Any:
    deep = too_deep(text)
    if deep is not None:
        line = text.count("\n", 0, deep) + 1
        problem(f"line {line}: nested deeper than {MAX_DEPTH}; expected at most {MAX_DEPTH} levels")
        return _UNREADABLE
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=lambda digits: _Misread(f"the number {clean(digits, 40)}; expected an integer"),
            parse_int=_integer,
            parse_constant=lambda word: _Misread(f"{word}; expected a JSON value"),
        )
    except json.JSONDecodeError as error:
        problem(f"not JSON: line {error.lineno} column {error.colno}: {error.msg}; expected a JSON document")
        return _UNREADABLE
    except (ValueError, RecursionError) as error:
        problem(f"not JSON that can be read: {error}; expected a JSON document")
        return _UNREADABLE


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    return result if len(result) == len(pairs) else _Repeated(result)


def _integer(digits: str) -> Any:
    if len(digits) > _MAX_DIGITS:
        return _Misread(f"a number of {len(digits)} digits; expected an integer of at most 64 bits")
    return int(digits)


def _vectors_of(document: dict[str, Any], problem: Any) -> Iterator[tuple[str, Any]]:
    if "vectors" not in document:
        if document.get("format") != 1 or isinstance(document.get("format"), bool):
            problem(f"format is {shown(document.get('format'), 40)}; expected 1")
            return
        yield "at the top", document
        return
    vectors = document["vectors"]
    unknown = sorted(set(document) - {"format", "vectors"})
    if document.get("format") != 1 or isinstance(document.get("format"), bool):
        problem(f"format is {shown(document.get('format'), 40)}; expected 1")
    elif unknown:
        problem(f"unknown key {shown(unknown[0], 60)}; expected only format and vectors")
    elif not isinstance(vectors, list):
        problem(f"vectors is {_kind(vectors)}; expected a list of vectors")
    else:
        for index, vector in enumerate(vectors):
            yield f"number {index}", vector


def _faults(vector: Any, known: Known, *, measure: bool) -> Iterator[tuple[str | None, str]]:
    misread = list(_misreadings(vector, ()))
    if misread:
        yield from misread[:_MAX_PROBLEMS]
        return
    if measure and _size(vector) > MAX_VECTOR:
        yield None, f"larger than {MAX_VECTOR} bytes; expected at most that"
        return
    broken = False
    for path, fault in _validator().faults(vector, _MAX_PROBLEMS):
        step, inside = _step_of(path)
        yield step, f"{inside}: {fault}" if inside else fault
        broken = True
    if not broken:
        for count, found in enumerate(faults(vector, known)):
            if count == _MAX_PROBLEMS:
                return
            yield found


def _size(vector: Any) -> int:
    return len(json.dumps(vector, ensure_ascii=False, separators=(",", ":")).encode())


@cache
def _validator() -> Validator:
    # Here, for whoever only speaks of vectors needs no validator, nor the extra that it is from.
    from capsule_model.trace.schema import Validator

    return Validator(vector_schema())


def _misreadings(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | None, str]]:
    if isinstance(value, dict):
        if isinstance(value, _Repeated):
            yield _located(path, "an object has a key twice; expected each key once")
        for key, inner in value.items():
            if not _encodable(key):
                yield _located(path, "a key has half a surrogate pair; expected Unicode")
            if isinstance(inner, dict | list | str | _Misread):
                yield from _misreadings(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if isinstance(inner, dict | list | str | _Misread):
                yield from _misreadings(inner, (*path, index))
    elif isinstance(value, _Misread):
        yield _located(path, value.text)
    elif isinstance(value, str) and not _encodable(value):
        yield _located(path, "a string has half a surrogate pair; expected Unicode")


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _located(path: tuple[str | int, ...], text: str) -> tuple[str | None, str]:
    step, inside = _step_of(path)
    return step, f"{inside}: {text}" if inside else text


def _step_of(path: tuple[str | int, ...]) -> tuple[str | None, str]:
    """Split a path into the step that it leads to (`3`, `d1/0`) and the rest of the way."""
    match path:
        case ("steps", int(index), *rest):
            step: str | None = str(index)
        case ("functions", str(name), "steps", int(index), *rest):
            step = f"{name}/{index}"
        case _:
            step, rest = None, list(path)
    return step, ".".join(str(part) for part in rest)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number"}
    return names.get(type(value), "null" if value is None else "something else")
