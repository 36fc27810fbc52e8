"""The picture of a diagnosis: what is undefined, what comes of it, where, and what happened before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.show.pictures.draw import CHAR, Canvas, width_of
from capsule_model.show.pictures.picture import Picture
from capsule_model.show.pictures.safe import cut, safe, wrapped
from capsule_model.show.pictures.terminal import diagnosis_text

if TYPE_CHECKING:
    from capsule_model.undefined import UndefinedBehavior

__all__ = ["diagnosis_picture", "draw_diagnosis"]

MARGIN = 16
LINE = 19
LABELS = 116
MOST_HISTORY = 12


def diagnosis_picture(diagnosis: UndefinedBehavior) -> Picture:
    """Return the picture of a diagnosis, with its history as a small time line that ends at what is undefined."""
    text = diagnosis_text(diagnosis)
    canvas = Canvas(f"Diagnosis: {safe(str(diagnosis.kind), 80)}", text)
    draw_diagnosis(canvas, diagnosis, MARGIN, MARGIN)
    return Picture(canvas.svg(MARGIN), text)


def draw_diagnosis(canvas: Canvas, diagnosis: UndefinedBehavior, x: float, y: float, wide: float = 760) -> float:
    """Draw a diagnosis with its upper left corner at a point; return where it ends."""
    width = int((wide - LABELS - 24) / CHAR)
    top, place = y, y + 26
    frame = len(canvas.shapes)
    canvas.text(x + 16, place, cut(str(diagnosis.kind), 60), "title red")
    place += 10
    rule = getattr(diagnosis, "rule", None)
    about = [("fact", diagnosis.fact), ("consequence", diagnosis.consequence), ("where", diagnosis.where)]
    about[1:1] = [("rule", rule)] if rule else []
    for label, words in about:
        place += LINE + 2
        canvas.text(x + 16, place, label, "soft")
        for number, line in enumerate(wrapped(words, width)):
            place += LINE if number else 0
            canvas.text(x + LABELS, place, line)
    place += 6
    place = _draw_history(canvas, diagnosis, x, place, width)
    canvas.rect(x, top, wide, place - top + 12, "loud", rx=6)
    # The frame lies below what it holds.
    canvas.shapes.insert(frame, canvas.shapes.pop())
    return place + 12


def _draw_history(canvas: Canvas, diagnosis: UndefinedBehavior, x: float, place: float, width: int) -> float:
    """Draw what happened, from top to bottom, each a dot on a line; the last is what is undefined."""
    if not diagnosis.history:
        return place
    before = diagnosis.history[-MOST_HISTORY:]
    left = len(diagnosis.history) - len(before)
    moments = [(f"… {left} before", "tip")] if left else []
    moments += [(line, "tip") for line in before] + [(f"{diagnosis.kind}: here", "badtip")]
    axis = x + LABELS + 5
    place += LINE + 4
    canvas.text(x + 16, place, "history", "soft")
    line = len(canvas.shapes)
    start = place - 4
    for number, (words, kind) in enumerate(moments):
        end = place - 4
        canvas.dot(axis, end, 4.5, kind)
        for position, piece in enumerate(wrapped(words, width - 3)):
            place += LINE if position else 0
            canvas.text(axis + 16, place, piece, "red" if kind == "badtip" else "")
        place += LINE + 2 if number < len(moments) - 1 else 0
    canvas.line(axis, start, axis, end, "line")
    canvas.shapes.insert(line, canvas.shapes.pop())
    canvas.reach(axis + 16 + width_of("here"), place)
    return place
