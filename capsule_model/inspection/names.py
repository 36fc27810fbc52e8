"""The little language that says where a capsule is: a module, attributes, items."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["steps_of"]

MOST = 2000
_WORD = re.compile(r"[^\W\d]\w*")
_LITERAL = re.compile(r'\[("(?:[^"\\]|\\.)*"|-?\d{1,18})\]')
_BARE = re.compile(r"\[([^\[\]\"]+)\]")


def steps_of(name: str) -> list[tuple[str, Any]]:
    """Return the steps of a NAME such as ``lxml.etree.__pyx_capi__[deepcopyNodeToDocument]``: pairs of kind and key.

    The first is a ``module``; after it come an ``attribute`` for each dot and an ``item`` for each pair of brackets,
    with a whole number or a string in quotes, as JSON writes it, as the key; without quotes it is a string as well.
    ``ValueError`` with one line for what is none.
    """
    if len(name) > MOST:
        raise ValueError(f"a name of {len(name)} characters; expected at most {MOST}")
    match = _WORD.match(name)
    if match is None:
        raise ValueError(f"{name!r} does not begin with a module; expected such as datetime.datetime_CAPI")
    steps: list[tuple[str, Any]] = [("module", match[0])]
    at = match.end()
    while at < len(name):
        if name[at] == "." and (match := _WORD.match(name, at + 1)):
            steps.append(("attribute", match[0]))
        elif match := _LITERAL.match(name, at):
            steps.append(("item", _key(name, match[1])))
        elif match := _BARE.match(name, at):
            steps.append(("item", match[1]))
        else:
            raise ValueError(f"{name!r}: {name[at:][:20]!r} is neither .attribute nor [key]; expected one of these")
        at = match.end()
    return steps


def _key(name: str, literal: str) -> Any:
    try:
        return json.loads(literal)
    except ValueError:
        raise ValueError(f"{name!r}: {literal} is no string of JSON and no number; expected one of these") from None
