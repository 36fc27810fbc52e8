"""A sequence diagram: parties side by side, what they tell each other from top to bottom, and who owns what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from capsule_model.show.pictures.diagnosis import draw_diagnosis
from capsule_model.show.pictures.draw import SMALL, Canvas, width_of
from capsule_model.show.pictures.picture import Picture
from capsule_model.show.pictures.safe import cut
from capsule_model.show.pictures.terminal import diagnosis_text
from capsule_model.undefined import UndefinedBehavior

__all__ = ["Lane", "Message", "Sequences", "Span", "sequence_picture"]

MARGIN = 16
ROW = 38
TOP = 92
BAR = 10
MOST_MESSAGES = 60
MOST_LANES = 10
WORDS = 64


@dataclass(slots=True)
class Lane:
    """One party: its name, what it is, and the messages with which it comes and goes (None: there all the time)."""

    title: str
    what: str
    begin: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What one party tells another, by the places of their lanes; of ``kind`` note, what one does by itself."""

    sender: int
    receiver: int
    words: str
    kind: Literal["call", "answer", "note"] = "call"
    bad: bool = False


@dataclass(slots=True)
class Span:
    """How long a party owns something: from one message to another (None: to the end), and what it owns."""

    lane: int
    words: str
    begin: int
    end: int | None = None


@dataclass(slots=True)
class Sequences:
    """A whole sequence; ``legend`` says what it means to own something in it."""

    lanes: list[Lane] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    legend: str = "owns it"

    def say(self, sender: int, receiver: int, words: str, kind: Literal["call", "answer"] = "call") -> int:
        """Add a message and return its number."""
        self.messages.append(Message(sender, receiver, words, kind))
        return len(self.messages) - 1


def sequence_picture(told: Sequences, title: str, diagnosis: UndefinedBehavior | None = None) -> Picture:
    """Return the picture of a sequence, with a diagnosis below it where there is one."""
    left_out = len(told.messages) - MOST_MESSAGES
    shown = list(told.messages[: MOST_MESSAGES - 1] if left_out > 0 else told.messages)
    text = _text(told, title)
    canvas = Canvas(f"{title}: {len(told.messages)} messages", text)
    canvas.text(MARGIN, 26, title, "title")
    if told.spans:
        x = MARGIN + width_of(title) * 1.2 + 24
        canvas.rect(x, 14, BAR, 16, "alive", rx=2)
        canvas.text(x + BAR + 8, 26, told.legend, "small soft")
    used = _used(told, shown)
    places = _places(told, shown, used)
    bottom = TOP + ROW * len(shown) + 8
    for lane in used:
        _draw_lane(canvas, told.lanes[lane], places[lane], bottom, len(shown))
    for span in told.spans:
        if span.lane in places and span.begin < len(shown):
            made = told.lanes[span.lane].begin == span.begin
            begin = TOP + ROW * span.begin + (42 if made else 26)
            _draw_span(canvas, span, told.spans, places[span.lane], begin, bottom, len(shown))
    for number, message in enumerate(shown):
        if message.sender in places and message.receiver in places:
            receiver = told.lanes[message.receiver]
            short = _head(receiver) / 2 if receiver.begin == number else 7
            _draw_message(canvas, message, places, TOP + ROW * number + 24, short)
    notes = [f"… and {left_out + 1} more messages"] if left_out > 0 else []
    hidden = len(told.lanes) - len(used)
    notes += [f"… and {hidden} more parties"] if hidden > 0 else []
    for note in notes:
        bottom += 20
        canvas.text(MARGIN, bottom, note, "small soft")
    canvas.reach(MARGIN, bottom)
    if diagnosis is not None:
        draw_diagnosis(canvas, diagnosis, MARGIN, bottom + 16, wide=max(canvas.width - MARGIN, 560))
        text += "\n" + diagnosis_text(diagnosis)
    return Picture(canvas.svg(MARGIN), text)


def _used(told: Sequences, shown: Sequence[Message]) -> list[int]:
    """Return the lanes that something is drawn on, as many as there is room for."""
    met = {lane for message in shown for lane in (message.sender, message.receiver)}
    return sorted(met)[:MOST_LANES]


def _words(message: Message) -> str:
    return cut(message.words, WORDS)


def _places(told: Sequences, shown: Sequence[Message], used: Sequence[int]) -> dict[int, float]:
    """Return where the lanes are, so far apart that what is written between two of them fits."""
    order = {lane: number for number, lane in enumerate(used)}
    heads = [_head(told.lanes[lane]) for lane in used]
    gaps = [(heads[number] + heads[number + 1]) / 2 + 16 for number in range(len(used) - 1)]
    spans = sorted(
        (message for message in shown if message.sender in order and message.receiver in order),
        key=lambda message: abs(order[message.sender] - order[message.receiver]),
    )
    for message in spans:
        first, last = sorted((order[message.sender], order[message.receiver]))
        needed = width_of(_words(message), SMALL) + 44
        if told.lanes[message.receiver].begin is not None:
            needed += _head(told.lanes[message.receiver]) / 2
        last += message.kind == "note" and first == last
        inside = gaps[first:last]
        if inside and sum(inside) < needed:
            more = (needed - sum(inside)) / len(inside)
            gaps[first:last] = [gap + more for gap in inside]
    x = MARGIN + max(heads[0] / 2 if heads else 0, 40)
    places = {}
    for number, lane in enumerate(used):
        places[lane] = x
        x += gaps[number] if number < len(gaps) else 0
    return places


def _head(lane: Lane) -> float:
    """Return how wide a party's head is."""
    return max(width_of(cut(lane.title, 30)), width_of(lane.what, SMALL)) + 20


def _draw_lane(canvas: Canvas, lane: Lane, x: float, bottom: float, count: int) -> None:
    """Draw a party's head and its life line, which ends in a cross where the party goes."""
    begin = 0 if lane.begin is None else min(lane.begin, count)
    top = TOP - 46 if lane.begin is None else TOP + ROW * begin + 8
    end = bottom if lane.end is None or lane.end >= count else TOP + ROW * lane.end + 32
    title = cut(lane.title, 30)
    wide = _head(lane)
    if lane.begin is None:
        canvas.rect(x - wide / 2, top, wide, 38, "box")
        canvas.text(x, top + 16, title, "head", anchor="middle")
        canvas.text(x, top + 31, lane.what, "small soft", anchor="middle")
        top += 38
    else:
        # What is made on the way stands where it is made.
        canvas.rect(x - wide / 2, top - 2, wide, 34, "plate")
        canvas.rect(x - wide / 2, top - 2, wide, 34, "box")
        canvas.rect(x - wide / 2, top - 2, wide, 34, "tint")
        canvas.text(x, top + 12, title, "head", anchor="middle")
        canvas.text(x, top + 26, lane.what, "small soft", anchor="middle")
        top += 32
    canvas.line(x, top, x, end, "rule")
    if lane.end is not None and lane.end < count:
        for slope in (-6, 6):
            canvas.line(x - 6, end - slope, x + 6, end + slope, "line")


def _draw_span(
    canvas: Canvas, span: Span, spans: list[Span], x: float, begin: float, bottom: float, count: int
) -> None:
    """Draw a bar on a life line: as long as it is, the party owns something; two at a time lie side by side."""
    open_end = span.end is None or span.end >= count
    end = bottom - 4 if open_end else TOP + ROW * (span.end or 0) + 24
    before = [other for other in spans[: spans.index(span)] if other.lane == span.lane]
    beside = sum(other.end is None or other.end > span.begin for other in before)
    canvas.rect(x - BAR / 2 + 7 * beside, begin, BAR, max(end - begin, 4), "plate", rx=2)
    canvas.rect(x - BAR / 2 + 7 * beside, begin, BAR, max(end - begin, 4), "alive", rx=2)


def _draw_message(canvas: Canvas, message: Message, places: dict[int, float], y: float, short: float) -> None:
    """Draw an arrow with its words above it, which ends ``short`` of the receiver's life line; or a note."""
    x1, x2 = places[message.sender], places[message.receiver]
    words = _words(message)
    wide = width_of(words, SMALL)
    style = "small red" if message.bad else "small"
    if message.kind == "note" or message.sender == message.receiver:
        canvas.rect(x1 + 12, y - 12, wide + 16, 20, "plate", rx=9)
        canvas.rect(x1 + 12, y - 12, wide + 16, 20, "loud" if message.bad else "box", rx=9)
        canvas.text(x1 + 20, y + 2, words, style)
        return
    side = 1 if x2 > x1 else -1
    x1, x2 = x1 + 6 * side, x2 - short * side
    middle = _free(x1, x2, sorted(places.values()), wide)
    canvas.rect(middle - wide / 2 - 3, y - 18, wide + 6, 15, "plate", rx=2)
    canvas.text(middle, y - 7, words, style, anchor="middle")
    canvas.arrow(x1, x2, y, bad=message.bad, dashed=message.kind == "answer")


def _free(x1: float, x2: float, lines: list[float], wide: float) -> float:
    """Return where words above an arrow are centred: in its middle, or beside a life line that they would cover."""
    middle = (x1 + x2) / 2
    ends = [min(x1, x2), *(x for x in lines if min(x1, x2) + 12 < x < max(x1, x2) - 12), max(x1, x2)]
    rooms = [(left + right) / 2 for left, right in pairwise(ends) if right - left > wide + 28]
    if not rooms or all(abs(x - middle) > wide / 2 + 14 for x in ends):
        return middle
    return min(rooms, key=lambda room: abs(room - middle))


def _text(told: Sequences, title: str) -> str:
    """Return the sequence for a terminal, a line each."""
    lines = [title]
    for number, message in enumerate(told.messages[: 4 * MOST_MESSAGES]):
        sender, receiver = told.lanes[message.sender].title, told.lanes[message.receiver].title
        mark = "✗ " if message.bad else ""
        way = (
            f"{sender}: "
            if message.kind == "note"
            else f"{sender} {'⇢' if message.kind == 'answer' else '→'} {receiver}: "
        )
        owners = [f"{told.lanes[span.lane].title} owns {span.words}" for span in told.spans if span.begin == number]
        lines.append(f"{number + 1:>3}  {mark}{way}{message.words}" + "".join(f"   [{words}]" for words in owners))
    left = len(told.messages) - 4 * MOST_MESSAGES
    lines += [f"… and {left} more messages"] if left > 0 else []
    open_spans = [f"{told.lanes[span.lane].title} owns {span.words}" for span in told.spans if span.end is None]
    lines += [f"at the end: {', '.join(open_spans[:8]) or 'nothing is owned'}"]
    return "\n".join(lines)
