"""The same pictures in words, for a terminal and for those who hear them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capsule_model.show.pictures.safe import cells, safe

if TYPE_CHECKING:
    from capsule_model.show.pictures.facts import Facts, Row, Thing
    from capsule_model.undefined import UndefinedBehavior

__all__ = ["diagnosis_text", "facts_text", "named", "padded"]


def facts_text(facts: Facts) -> str:
    """Return a snapshot in lines: each thing with its words, and what they point to."""
    thread = f", thread {facts.thread}" if facts.thread else ""
    lines = [f"{facts.profile}{thread}, error indicator: {facts.error or 'clear'}"]
    for thing in facts.things.values():
        lines += _thing(thing, facts)
    lines += [f"… and {count} more {kind}" for kind, count in facts.left_out.items()]
    return "\n".join(lines)


def named(thing: Thing) -> str:
    """Return what to call a thing in a few words: its label, what is in it, and whether it is dead."""
    shown = f"{thing.label}: {thing.short}" if thing.label else thing.short
    return f"{shown}, DEAD" if thing.dead else shown


def _thing(thing: Thing, facts: Facts) -> Iterator[str]:
    label = f"{thing.label}: " if thing.label else ""
    parts = [f"{label}{thing.title} at {thing.address:#x}"]
    parts += [f"refcnt {thing.refcnt}"] if thing.refcnt is not None else []
    parts += ["tracked by the GC" if thing.tracked else "not tracked"] if thing.tracked is not None else []
    parts += [thing.history] if thing.history else []
    yield ("✗ " if thing.dead else "● ") + ", ".join(parts)
    wide = max((cells(row.name) for row in thing.rows), default=0)
    yield from (f"    {_row(row, facts, wide)}" for row in thing.rows)
    if thing.note:
        yield f"    {thing.note}"


def _row(row: Row, facts: Facts, wide: int) -> str:
    offset = "" if row.offset is None else f"+{row.offset}"
    shown = f"{offset:<5}{padded(row.name, wide)}  {row.value}"
    target = None if row.target is None else facts.things.get(row.target)
    return shown if target is None else f"{shown} → {named(target)}"


def padded(text: str, wide: int) -> str:
    """Return a text with spaces behind it that make it so many cells wide."""
    return text + " " * (wide - cells(text))


def diagnosis_text(diagnosis: UndefinedBehavior) -> str:
    """Return a diagnosis, one line an item, as a terminal may show it."""
    return "\n".join(safe(line, 500) for line in str(diagnosis).split("\n"))
