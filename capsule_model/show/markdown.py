"""Write a comparison as GitHub-flavoured Markdown: the same text for the same results, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import ceil

from capsule_model.show.comparison import KINDS, LEGEND, LOUD, NOTHING, Cell, Comparison, Group, groups, noted
from capsule_model.show.results import Entry
from capsule_model.show.texts import (
    MOST_EXPLAINED,
    about,
    differences,
    lacks,
    made_of,
    notices,
    number,
    spans,
    web_address,
    web_label,
)
from capsule_model.trace.wording import clean

__all__ = ["markdown"]

# So many columns fit on a page beside the chapters.
_ABREAST = 8

_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=[Ww]{3})\.")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def markdown(comparison: Comparison) -> str:
    """Return the whole document."""
    anchors = _anchors(comparison)
    parts = [
        _beginning(comparison),
        ["## Summary", "", *_summary(comparison, anchors), *(f"\n{_text(line)}" for line in notices(comparison))],
        _suspects(comparison, anchors),
        ["## Chapters", "", *_matrix(comparison, anchors)],
        ["## Notes", "", *_notes(comparison)],
    ]
    text = "\n\n".join("\n".join(part).strip("\n") for part in parts if part) + "\n"
    return re.sub("\n{3,}", "\n\n", text)


def _beginning(comparison: Comparison) -> list[str]:
    columns = comparison.columns
    files = " ".join(f"{column.name}.json" for column in columns)
    marks = [f"| {kind.mark} | {kind.long} | {kind.meaning} |" for kind in map(KINDS.__getitem__, LEGEND)]
    return [
        "# Results",
        "",
        f"What {number(len(columns), 'implementation')} of the capsule API made of the vectors of the specification.",
        "Every figure counts vectors; a row is a chapter, a column the result in the file of that name; figures lead",
        "to the notes. Rules reached are those that vectors which passed went through. Vectors that passed by waiting",
        "had steps that end with what destructors do that wait for a collector; a CPython runs them at once.",
        "This page is made again, in the folder of the results, by",
        "",
        f"    capsule-model report {files} --markdown README.md",
        "",
        "| mark | what | meaning |",
        "|:-:|---|---|",
        *marks,
        f"| {NOTHING} | no vectors | the result has none of this chapter |",
    ]


def _summary(comparison: Comparison, anchors: dict[str, str]) -> Iterator[str]:
    yield f"| | implementation | profile | rules reached | passed | {' | '.join(KINDS[kind].long for kind in LOUD)} |"
    yield "|---|---|---|--:|--:|" + "--:|" * len(LOUD)
    for column in comparison.columns:
        kinds = column.kinds
        implementation, version, profile = about(column)
        asked = len(column.entries) - kinds["quiet"]
        cells = [
            f"[{_text(column.name)}](#{anchors[column.name]})",
            _text(f"{implementation} {version}"),
            _text(profile),
            f"{column.reached} of {column.total} ({column.percent:g} %)",
            f"{kinds['passed']} of {asked}" + (f", {column.settled} by waiting" if column.settled else ""),
            *(f"{KINDS[kind].mark} {kinds[kind]}" if kinds[kind] else "0" for kind in LOUD),
        ]
        yield f"| {' | '.join(cells)} |"


def _suspects(comparison: Comparison, anchors: dict[str, str]) -> list[str]:
    if not comparison.suspects:
        return []
    lines = [
        "## Suspect",
        "",
        "These vectors failed wherever they ran, on two implementations or more: the vector or the model may be wrong.",
        "",
        "| vector | outcomes |",
        "|---|---|",
    ]
    for identifier, entries in comparison.suspects.items():
        outcomes = ", ".join(
            f"[{_text(name)}](#{anchors[f'{name}: {comparison.chapters[entry.chapter]}']}) {entry.outcome}"
            for name, entry in entries.items()
        )
        lines.append(f"| `{identifier}` | {outcomes} |")
    return lines


def _matrix(comparison: Comparison, anchors: dict[str, str]) -> Iterator[str]:
    columns = comparison.columns
    tables = ceil(len(columns) / _ABREAST)
    each, more = divmod(len(columns), tables)
    begin = 0
    suspect = {entry.chapter for entries in comparison.suspects.values() for entry in entries.values()}
    for table in range(tables):
        abreast = columns[begin : begin + each + (table < more)]
        begin += len(abreast)
        names = [f"[{_text(column.name)}](#{anchors[column.name]})" for column in abreast]
        yield f"{'' if table == 0 else chr(10)}| chapter | {' | '.join(names)} |"
        yield "|---|" + "--:|" * len(abreast)
        for chapter, words in comparison.chapters.items():
            marked = f"{words} [suspect](#suspect)" if chapter in suspect else words
            figures = [
                _figure(comparison.cells.get((column.name, chapter)), anchors, f"{column.name}: {words}", column.name)
                for column in abreast
            ]
            yield f"| {marked} | {' | '.join(figures)} |"
        totals = [_figure(comparison.totals[column.name], anchors, column.name, column.name) for column in abreast]
        yield f"| **all** | {' | '.join(totals)} |"


def _figure(cell: Cell | None, anchors: dict[str, str], heading: str, otherwise: str) -> str:
    """Return a cell: how many passed, then mark and number of what did not, linked to the notes on it."""
    if cell is None or cell.worst is None:
        return NOTHING
    passed = cell.counts.get("passed", 0)
    told = [f"{KINDS['passed'].mark} {passed}"] if passed else []
    told += [f"{KINDS[kind].mark} {count}" for kind, count in cell.loud]
    return f"[{' '.join(told) or KINDS['quiet'].mark}](#{anchors.get(heading, anchors[otherwise])})"


def _notes(comparison: Comparison) -> Iterator[str]:
    for column in comparison.columns:
        implementation, version, profile = about(column)
        yield f"\n### {_text(column.name)}\n"
        yield f"Profile {_text(profile)}, implementation {_text(implementation)} {_text(version)}.\n"
        for name, text in made_of(column):
            yield f"- {name}: {_text(text)}"
        for chapter, entries in noted(column):
            yield f"\n#### {_text(f'{column.name}: {comparison.chapters[chapter]}')}\n"
            for group in groups(entries, column.absent):
                yield from _group(group, comparison)


def _group(group: Group, comparison: Comparison) -> Iterator[str]:
    kind = KINDS[group.kind]
    head = f"- {kind.mark} **{kind.long}** ({number(len(group.entries), 'vector')})"
    if group.kind == "unexpected":
        yield f"{head}:"
        for entry in group.entries[:MOST_EXPLAINED]:
            yield from _explained(entry, comparison)
        if group.entries[MOST_EXPLAINED:]:
            yield f"  - further ones: {_listed(group.entries[MOST_EXPLAINED:], comparison)}"
        return
    parts = spans(clean(group.reason, 1000)) if group.reason is not None else []
    why = "".join(_code(part) if is_code else _text(part) for part, is_code in parts)
    if group.link is not None:
        why += f" ({_link(group.link)})"
    if group.lacks:
        told = "; ".join(_text(name if reason is None else f"{name}: {reason}") for name, reason in lacks(group))
        why = f"{why}; lacks {told}" if why else f"lacks {told}"
    yield f"{head}: {why}<br>{_listed(group.entries, comparison)}"


def _explained(entry: Entry, comparison: Comparison) -> Iterator[str]:
    detail = f": {_code(clean(entry.detail, 500))}" if entry.detail else ""
    yield f"  - {_listed([entry], comparison)} {entry.outcome}{detail}"
    for place, sides in differences(entry):
        told = ", ".join(f"{side} {_code(text)}" for side, text in sides)
        yield f"    - {_text(place)}{': ' if told else ''}{told}"


def _listed(entries: Sequence[Entry], comparison: Comparison) -> str:
    marks = (" (suspect)" if entry.id in comparison.suspects else "" for entry in entries)
    return ", ".join(f"`{entry.id}`{mark}" for entry, mark in zip(entries, marks, strict=True))


def _link(address: str) -> str:
    usable = web_address(address)
    if usable is None:
        return _code(clean(address, 200))
    quoted = re.sub(r"[^A-Za-z0-9_.~/?#=&;:@!$,+%-]", lambda found: f"%{ord(found[0]):02X}", usable)
    return f"[{_text(web_label(usable))}]({quoted.replace('&', '&amp;')})"


def _text(text: str) -> str:
    """Return foreign text as Markdown that shows it, and does nothing else."""
    return _SPECIAL.sub(r"\\\g<0>", text.translate(_ENTITIES))


def _code(text: str) -> str:
    """Return foreign text as a code span; not for cells of tables."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{pad}{text or ' '}{pad}{fence}"


def _anchors(comparison: Comparison) -> dict[str, str]:
    """Return the anchors of all headings below Notes by their text, made as GitHub makes them."""
    taken: dict[str, int] = {}
    for heading in ("results", "summary", *(["suspect"] if comparison.suspects else []), "chapters", "notes"):
        taken[heading] = 0
    found: dict[str, str] = {}
    for column in comparison.columns:
        chapters = [f"{column.name}: {comparison.chapters[chapter]}" for chapter, _ in noted(column)]
        for heading in (column.name, *chapters):
            slug = unique = re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")
            while unique in taken:
                taken[slug] += 1
                unique = f"{slug}-{taken[slug]}"
            taken[unique] = 0
            found[heading] = unique
    return found
