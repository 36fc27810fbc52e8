"""Capsules of real interpreters as a page of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from capsule_model.inspection.judge import VERDICTS
from capsule_model.inspection.record import Capsule, Inspection
from capsule_model.inspection.show import counted, name_text, place_text
from capsule_model.trace.wording import clean

__all__ = ["as_markdown"]

# So many capsules of one kind at one place are told one by one.
MOST_ALIKE = 4
_LAST = re.compile(r"(\.\w+|\[[^\[\]]*\])$")


def as_markdown(inspections: Sequence[Inspection]) -> str:
    """Return the page of some interpreters: what their capsules are, and whether they can be imported."""
    return "\n".join(_lines(inspections)) + "\n"


def _lines(inspections: Sequence[Inspection]) -> Iterator[str]:
    yield "# Capsules of real interpreters"
    yield ""
    yield "What `capsule-model inspect --all` found: every module is imported, and what modules, their classes and"
    yield "their dicts hold is read. For each capsule the C API, the words of the struct, `repr` and the model are held"
    yield "against each other. [The format](../formats/inspect.md) says what the words mean."
    yield ""
    yield "| interpreter | distributions | modules | not importable | capsules | found by name | disagreements |"
    yield "|---|---|---|---|---|---|---|"
    for one in inspections:
        found = sum(capsule.verdict in ("accepted", "needs-import") for capsule in one.capsules)
        groups = ", ".join(map(_cell, one.groups))
        yield (
            f"| {_cell(one.profile)} ({_cell(one.python)}) | {groups} | {sum(one.groups.values())} "
            f"| {len(one.failed)} | {len(one.capsules)} | {found} | {one.disagreements} |"
        )
    yield ""
    yield "| verdict | `PyCapsule_Import` with the capsule's name |"
    yield "|---|---|"
    met = {capsule.verdict for one in inspections for capsule in one.capsules}
    for verdict, sentence in VERDICTS.items():
        if verdict in met:
            yield f"| {verdict} | {sentence} |"
    for one in inspections:
        yield ""
        yield f"## {_cell(one.profile)}: {', '.join(map(_cell, one.groups))}"
        yield ""
        yield f"{counted(one)}."
        yield ""
        yield "| capsule | name | verdict | points to | destructor |"
        yield "|---|---|---|---|---|"
        for group in _groups(one.capsules):
            yield _row(group)


def _groups(capsules: Sequence[Capsule]) -> list[list[Capsule]]:
    """Put capsules at one place with one verdict together."""
    places: dict[tuple[str, str, bool], list[Capsule]] = {}
    for capsule in capsules:
        key = _place(capsule.paths[0]), capsule.verdict, capsule.destructor is None
        places.setdefault(key, []).append(capsule)
    return [
        part
        for group in places.values()
        for part in ([group] if len(group) > MOST_ALIKE else [[capsule] for capsule in group])
    ]


def _place(path: str) -> str:
    """Return a path without its last step; of what classes have under one name, a pattern for all."""
    holder = _LAST.sub("", path)
    last = path[len(holder) :]
    return f"{_LAST.sub('', holder)}.*{last}" if last.startswith(".__") and last.endswith("__") else holder


def _row(group: Sequence[Capsule]) -> str:
    first = group[0]
    if len(group) == 1:
        path, name = _code(first.paths[0]), _code(name_text(first.name))
        pointer = _code(place_text(first.pointer, address=False))
    else:
        path = f"{_code(_place(first.paths[0]))}: {len(group)}, such as {_code(first.paths[0])}"
        names = {capsule.name for capsule in group}
        name = ("" if len(names) == 1 else f"{len(names)} names, such as ") + _code(name_text(first.name))
        libraries = sorted({one.library if (one := capsule.pointer) and one.library else "memory" for capsule in group})
        pointer = ", ".join(map(_code, libraries))
    destructor = _code(place_text(first.destructor, address=False))
    return f"| {path} | {name} | {first.verdict} | {pointer} | {destructor} |"


def _cell(text: str) -> str:
    """Return text for a cell of a table, as text."""
    return re.sub(r"([\\`*_{}\[\]<>#|&])", r"\\\1", clean(text))


def _code(text: str) -> str:
    """Return text for a cell of a table, as code."""
    told = clean(text).replace("`", "'").replace("|", "\\|")
    return told if told == "NULL" else f"`{told}`"
