"""The picture of memory: what is in it, with an arrow from each word to what it points to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from capsule_model.memory import NULL
from capsule_model.show.pictures.diagnosis import draw_diagnosis
from capsule_model.show.pictures.draw import SMALL, Canvas, width_of
from capsule_model.show.pictures.facts import Facts, Row, Thing, facts_of, found_at, thing_at
from capsule_model.show.pictures.picture import Picture
from capsule_model.show.pictures.terminal import diagnosis_text, facts_text

if TYPE_CHECKING:
    from capsule_model.process import Process
    from capsule_model.show.pictures.facts import Names, Structs
    from capsule_model.undefined import UndefinedBehavior

__all__ = ["draw_memory", "memory_picture", "object_picture"]

MARGIN = 16
ROW = 20
HEAD = 46
GAP = 18
BETWEEN = 96
LAST_COLUMN = 3


def memory_picture(
    py: Process,
    diagnosis: UndefinedBehavior | None = None,
    *,
    names: Names | None = None,
    structs: Structs | None = None,
    most: int = 12,
) -> Picture:
    """Return the picture of a process's memory: objects, blocks, strings, functions, and arrows between them.

    With a ``diagnosis``, what that is about stands out, and the diagnosis below it. ``names`` are those that the reader
    knows addresses by, ``structs`` say what blocks hold, ``most`` is the number of objects, and of blocks, to show.
    """
    about = NULL if diagnosis is None else diagnosis.address
    facts = facts_of(py, names, structs, about=about, most=most)
    text = facts_text(facts)
    canvas = Canvas(f"Memory of {facts.profile}", text)
    _heading(canvas, "Memory", facts)
    bottom = draw_memory(canvas, facts, 58, found_at(py, about))
    if diagnosis is not None:
        draw_diagnosis(canvas, diagnosis, MARGIN, bottom + GAP, wide=max(canvas.width - MARGIN, 560))
        text += "\n" + diagnosis_text(diagnosis)
    return Picture(canvas.svg(MARGIN), text)


def object_picture(py: Process, address: int, *, names: Names | None = None, structs: Structs | None = None) -> Picture:
    """Return the picture of one capsule, object, block or function, and of what its words point to.

    ``ValueError`` where nothing is or was at the address.
    """
    facts = thing_at(py, address, names, structs)
    text = facts_text(facts)
    first = next(iter(facts.things.values()))
    canvas = Canvas(f"{first.title} at {first.address:#x}", text)
    _heading(canvas, first.label or first.title, facts)
    draw_memory(canvas, facts, 58, None)
    return Picture(canvas.svg(MARGIN), text)


def _heading(canvas: Canvas, title: str, facts: Facts) -> None:
    canvas.text(MARGIN, 26, title, "title")
    thread = f", thread {facts.thread}" if facts.thread else ""
    canvas.text(MARGIN, 43, f"{facts.profile}{thread}, error indicator: ", "small soft")
    x = MARGIN + width_of(f"{facts.profile}{thread}, error indicator: ", SMALL)
    canvas.text(x, 43, facts.error or "clear", "small red" if facts.error else "small green")


@dataclass(slots=True)
class _Box:
    """A thing with its place: column, left edge, top, size."""

    thing: Thing
    column: int
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0

    def row_at(self, place: int) -> float:
        """Return the middle of a row."""
        return self.y + HEAD + ROW * place + 8


def draw_memory(canvas: Canvas, facts: Facts, top: float, loud: int | None) -> float:
    """Draw things in columns, each right of what points to it, with arrows; return where the lowest one ends.

    ``loud`` is the address of the thing that stands out.
    """
    boxes = {address: _Box(thing, column) for (address, thing), column in _columns(facts)}
    x: float = MARGIN
    bottom = top
    for column in range(LAST_COLUMN + 1):
        inside = [box for box in boxes.values() if box.column == column]
        if not inside:
            continue
        width = max(_width(box.thing) for box in inside)
        wanted = {box.thing.address: _wanted(box.thing.address, boxes, column, top) for box in inside}
        y = top
        for box in sorted(inside, key=lambda box: wanted[box.thing.address]):
            box.x, box.width, box.height = x, width, _height(box.thing)
            box.y = max(y, min(wanted[box.thing.address], bottom) if column else y)
            y = box.y + box.height + GAP
            bottom = max(bottom, box.y + box.height)
        x += width + BETWEEN
    for box in boxes.values():
        _draw_box(canvas, box, loud == box.thing.address)
    for box in boxes.values():
        for place, row in enumerate(box.thing.rows):
            if row.target in boxes:
                _draw_arrow(canvas, box, place, row, boxes[row.target])
    for kind, count in facts.left_out.items():
        bottom += ROW
        canvas.text(MARGIN, bottom, f"… and {count} more {kind}", "small soft")
    if not facts.things:
        bottom += ROW
        canvas.text(MARGIN, bottom, "nothing was made yet", "soft")
    canvas.reach(MARGIN, bottom)
    return bottom


def _columns(facts: Facts) -> list[tuple[tuple[int, Thing], int]]:
    """Return each thing with its column: objects first, then what is pointed to from one column further left."""
    things = facts.things
    first = [address for address, thing in things.items() if thing.kind in ("capsule", "object")]
    pointed = {row.target for thing in things.values() for row in thing.rows}
    first = first or [address for address in things if address not in pointed]
    depth = dict.fromkeys(first, 0)
    waiting = list(first)
    for address in waiting:
        for row in things[address].rows:
            if row.target in things and row.target not in depth:
                depth[row.target] = min(depth[address] + 1, LAST_COLUMN)
                waiting.append(row.target)
        if address == waiting[-1]:
            # What nothing points to comes next to what the objects point to, and may point on.
            loose = [other for other in things if other not in depth and other not in pointed]
            depth |= dict.fromkeys(loose, 1)
            waiting += loose
    return [(item, depth.get(item[0], 1)) for item in things.items()]


def _wanted(address: int, boxes: dict[int, _Box], column: int, top: float) -> float:
    """Return where a thing would best begin: level with the first word that points to it from the left."""
    if column == 0:
        return top
    levels = [
        box.row_at(place) - 14
        for box in boxes.values()
        if box.column < column
        for place, row in enumerate(box.thing.rows)
        if row.target == address
    ]
    return min(levels, default=1e6)


def _value_column(thing: Thing) -> float:
    """Return where the values of a thing's rows begin, from its left edge."""
    return 46 + max((width_of(row.name) for row in thing.rows), default=0) + 12


def _sub(thing: Thing) -> str:
    """Return the line below a thing's title."""
    return f"{thing.address:#x}" + (f" · {thing.history}" if thing.history else "")


def _chips(thing: Thing) -> str:
    """Return what stands at the right of a thing's title."""
    parts = []
    if thing.refcnt is not None and all(row.name != "ob_refcnt" for row in thing.rows):
        parts.append(f"refcnt {thing.refcnt}")
    if thing.tracked is not None:
        parts.append("tracked by the GC" if thing.tracked else "not tracked")
    if thing.dead:
        parts.append("dead")
    return ", ".join(parts)


def _title(thing: Thing) -> str:
    return f"{thing.label}: {thing.title}" if thing.label else thing.title


def _width(thing: Thing) -> float:
    chips = _chips(thing)
    return 24 + max(
        [width_of(_title(thing)) + (width_of(chips, SMALL) + 24 if chips else 0), width_of(_sub(thing), SMALL)]
        + [_value_column(thing) - 12 + width_of(row.value) + 14 for row in thing.rows]
        + [width_of(thing.note)]
    )


def _height(thing: Thing) -> float:
    return HEAD + ROW * len(thing.rows) + (ROW if thing.note else 0)


def _draw_box(canvas: Canvas, box: _Box, loud: bool) -> None:
    thing, x, y = box.thing, box.x, box.y
    if thing.dead:
        canvas.hatch(x, y, box.width, box.height)
    canvas.rect(x, y, box.width, box.height, "loud" if loud else "dead" if thing.dead else "box")
    if thing.kind == "capsule":
        canvas.rect(x + 1, y + 1, box.width - 2, 22, "tint", rx=3)
    struck = " strike" if thing.dead else ""
    if thing.dead:
        # The text is read on a plate, not on the hatching.
        canvas.rect(x + 8, y + 4, width_of(_title(thing)) + 8, 17, "plate", rx=2)
        canvas.rect(x + 8, y + 24, width_of(_sub(thing), SMALL) + 8, 16, "plate", rx=2)
    canvas.text(x + 12, y + 17, _title(thing), f"head{struck}")
    chips = _chips(thing)
    if chips:
        if thing.dead:
            wide = width_of(chips, SMALL)
            canvas.rect(x + box.width - 14 - wide, y + 4, wide + 6, 16, "plate", rx=2)
        canvas.text(x + box.width - 10, y + 16, chips, "small red" if thing.dead else "small soft", anchor="end")
    canvas.text(x + 12, y + 35, _sub(thing), "small red" if thing.dead else "small soft")
    values = _value_column(thing)
    for place, row in enumerate(thing.rows):
        level = y + HEAD + ROW * place
        canvas.line(x, level - 2, x + box.width, level - 2, "rule")
        if row.offset is not None:
            canvas.text(x + 12, level + 12, f"+{row.offset}", "small soft")
        canvas.text(x + 46, level + 12, row.name)
        canvas.text(x + values, level + 12, row.value, "red" if row.dangling else "")
    if thing.note:
        level = y + HEAD + ROW * len(thing.rows)
        canvas.text(x + 12, level + 12, thing.note, "blue" if thing.note.startswith('"') else "soft")


def _draw_arrow(canvas: Canvas, box: _Box, place: int, row: Row, target: _Box) -> None:
    """Draw the arrow from a row to the head of what it points to."""
    y1, y2 = box.row_at(place), target.y + 12
    if target is box and row.inside:
        inner = [number for number, other in enumerate(box.thing.rows) if other.offset == row.inside]
        y2 = box.row_at(inner[0]) if inner else y2
    if target.column > box.column:
        x1, x2 = box.x + box.width - 8, target.x
        canvas.dot(x1, y1, 3, "badtip" if row.dangling else "tip")
        bend = min((x2 - x1) / 2, 70)
        canvas.curve([(x1, y1), (x1 + bend, y1), (x2 - bend, y2), (x2, y2)], bad=row.dangling)
        return
    if target.column == box.column:
        x1 = box.x + box.width - 8
        x2 = target.x + target.width
        canvas.dot(x1, y1, 3, "badtip" if row.dangling else "tip")
        out = x2 + 30 + min(abs(y2 - y1) / 8, 30)
        canvas.curve([(x1, y1), (out, y1), (out, y2), (x2, y2)], bad=row.dangling, left=True)
        return
    x1, x2 = box.x + 4, target.x + target.width
    canvas.dot(x1, y1, 3, "badtip" if row.dangling else "tip")
    bend = min((x1 - x2) / 2, 60)
    canvas.curve([(x1, y1), (x1 - bend, y1), (x2 + bend, y2), (x2, y2)], bad=row.dangling, left=True)
