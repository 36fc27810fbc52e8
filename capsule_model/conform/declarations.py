"""Read files in which a person declares what is known: TOML with entries about versions, each with hashes by id.

What is wrong with one is said in one line: where, what is there, and what would be right.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsule_model.trace.files import MAX_DEPTH, read_text
from capsule_model.trace.wording import clean, shown

__all__ = ["Form", "begins", "components", "first_clash", "read_toml"]

_MAX_FILE = 1024 * 1024
# A dotted key of 17 parts or more: tomllib keeps every beginning of a key, and needs the square of its length.
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+"""
_DEEP_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:\.[ \t]*+{_PART}){{16}}")


def read_toml(file: Path, expected: str) -> dict[str, Any]:
    """Return the document in a file of at most 1 MiB, of values that JSON has; `ValueError` with one line for others.

    `expected` says what should be in the file.
    """
    text = read_text(file, _MAX_FILE, expected)
    try:
        if _DEEP_KEY.search(text):
            raise RecursionError
        document = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"nested too deep; expected at most {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise ValueError(f"not TOML: {error}; expected each key once, and what the format says") from None
    return {key: _plain(value, (key,)) for key, value in document.items()}


def components(version: str) -> tuple[str, ...]:
    """Return the components of a version number; `*`, the beginning of every one, has none."""
    return () if version == "*" else tuple(version.split("."))


def begins(beginnings: Iterable[str], version: str) -> bool:
    """Tell whether the first word of `version` begins with one of `beginnings`, component by component."""
    number = components((version.split() or [""])[0])
    return any(number[: len(beginning)] == beginning for beginning in map(components, beginnings))


def first_clash(
    claims: Sequence[Collection[tuple[str, ...]]], collide: Callable[[int, int], bool] = lambda one, other: True
) -> tuple[int, int, tuple[str, ...]] | None:
    """Return the first entry with a claim that an entry has, too, the latter, and the claim; None where there is none.

    `claims` has for each entry what it is about: an id, then the components of a beginning of a version number.
    """
    # By claim: the entries that make just it, and those that make a longer one.
    exactly: dict[tuple[str, ...], list[int]] = {}
    below: dict[tuple[str, ...], list[int]] = {}
    for index, entry in enumerate(claims):
        for claim in entry:
            beginnings = [claim[:length] for length in range(1, len(claim) + 1)]
            for other in (*below.get(claim, ()), *(i for b in beginnings for i in exactly.get(b, ()))):
                if other != index and collide(index, other):
                    return index, other, claim
            exactly.setdefault(claim, []).append(index)
            for beginning in beginnings[:-1]:
                below.setdefault(beginning, []).append(index)
    return None


@dataclass(frozen=True, slots=True)
class Form:
    """The keys of a kind of file: `entry` is that of its entries, `hashes` that of the hashes in an entry.

    `right` says by key what would be right, `source` who shows the hashes.
    """

    entry: str
    hashes: str
    right: Mapping[str, str]
    source: str

    def place(self, document: Mapping[str, Any], index: int) -> str:
        """Return the name of an entry: its number, counted from 1, and the first id that it names."""
        table = document[self.entry][index]
        named = table.get(self.hashes) if isinstance(table, dict) else None
        first = next(iter(named), None) if isinstance(named, dict) else None
        return f"{self.entry} {index + 1}" + (f" ({clean(first, 120)})" if first else "")

    def located(self, document: Mapping[str, Any], path: Sequence[str | int], text: str) -> str:
        """Put a fault that the schema found into words: its place, what is there, and what would be right."""
        value: Any = document
        for part in path:
            value = value[part]
        if len(path) > 1 and path[0] == self.entry and isinstance(path[1], int):
            places, rest = [self.place(document, path[1])], list(path[2:])
        else:
            places, rest = [], list(path)
        keys = [part for part in rest if isinstance(part, str)]
        if keys[:1] == [self.hashes] and len(rest) > 1:
            places.append(str(rest[1]))
            text = f"found {shown(value, 80)}; expected 16 hex digits as {self.source} shows them, or a list of such"
        elif keys and keys[-1] in self.right:
            places.append(keys[-1])
            text = f"found {shown(value, 80)}; expected {self.right[keys[-1]]}"
        else:
            places += [str(part) for part in rest]
        return ": ".join([*places, text])


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
