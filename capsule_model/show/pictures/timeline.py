"""The picture of a run: time goes down, each object and block has a lane, and the lane says who owns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from capsule_model.show.pictures.diagnosis import draw_diagnosis
from capsule_model.show.pictures.draw import SMALL, Canvas, width_of
from capsule_model.show.pictures.facts import Facts, Thing
from capsule_model.show.pictures.moments import CLEARED, Moment, Tape
from capsule_model.show.pictures.picture import Picture
from capsule_model.show.pictures.safe import cells, cut
from capsule_model.show.pictures.terminal import diagnosis_text, padded

__all__ = ["tape_picture"]

MARGIN = 16
ROW = 36
INDENT = 16
LANE = 178
MOST_ROWS = 48
MOST_LANES = 8
CALL = 62


@dataclass(frozen=True, slots=True)
class _State:
    """What is true of a thing at a moment: alive, dead and still pointed to, or dead; and who owns it, in words."""

    mark: str
    words: str


def tape_picture(tape: Tape, title: str = "Who owns what") -> Picture:
    """Return the time line of a run: its calls from top to bottom, and a lane for each object and block."""
    labels = tape.labels()
    lanes, more_lanes = _lanes(tape)
    rows = _rows(tape.moments)
    text = _text(tape, title, rows, lanes, labels)
    canvas = Canvas(f"{title}: {len(tape.moments)} calls and returns", text)
    canvas.text(MARGIN, 26, title, "title")
    calls = [None if moment is None else _call(tape, moment, labels) for moment in rows]
    wide = max([260.0] + [_indent(moment) + width_of(call) for moment, call in zip(rows, calls, strict=True) if call])
    ends = [_outcome(tape, moment, labels) if moment else "" for moment in rows]
    wide = max([wide] + [_indent(m) + width_of(end, SMALL) for m, end in zip(rows, ends, strict=True)])
    left = MARGIN + 8 + wide + 24
    top = 84
    _draw_rows(canvas, tape, rows, calls, ends, top, left + LANE * len(lanes))
    for number, address in enumerate(lanes):
        x = left + number * LANE
        canvas.text(x + 6, top - 30, cut(labels[address], 20), "head")
        canvas.text(x + 6, top - 14, cut(_what(tape.met[address]), 23), "small soft")
        _draw_lane(canvas, tape, address, rows, labels, x, top)
    bottom = top + ROW * len(rows)
    notes = [f"… and {more_lanes} more objects and blocks"] if more_lanes else []
    notes += [f"… and {tape.left_out} more calls"] if tape.left_out else []
    for note in notes:
        bottom += 20
        canvas.text(MARGIN, bottom, note, "small soft")
    canvas.reach(left, bottom)
    if tape.diagnosis is not None:
        draw_diagnosis(canvas, tape.diagnosis, MARGIN, bottom + 16, wide=max(canvas.width - MARGIN, 560))
        text += "\n" + diagnosis_text(tape.diagnosis)
    return Picture(canvas.svg(MARGIN), text)


def _lanes(tape: Tape) -> tuple[list[int], int]:
    """Return the addresses that have a lane, in the order in which they were met, and how many others there are."""
    shown = [address for address, thing in tape.met.items() if thing.kind in ("capsule", "object", "malloc")]
    moving = [address for address in shown if any(_concerned(moment, address) for moment in tape.moments)]
    # Where there is no room for all, those that something is done with go first.
    still = [address for address in shown if address not in moving]
    chosen = {*[*moving, *still][:MOST_LANES]}
    return [address for address in shown if address in chosen], len(shown) - len(chosen)


def _concerned(moment: Moment, address: int) -> bool:
    """Tell whether a call is about a thing, or something alive points to it then."""
    if address in (moment.call.arguments or ()) or moment.outcome == address:
        return True
    return any(row.target == address for thing in moment.facts.things.values() for row in thing.rows)


def _rows(moments: Sequence[Moment]) -> list[Moment | None]:
    """Return the moments to draw; None stands for those in the middle of a long run."""
    if len(moments) <= MOST_ROWS:
        return list(moments)
    half = MOST_ROWS // 2
    return [*moments[:half], None, *moments[-half:]]


def _indent(moment: Moment | None) -> float:
    return 0 if moment is None else INDENT * min(moment.depth, 6)


def _what(thing: Thing) -> str:
    return "object" if thing.title == "object" else thing.title.replace("malloc, ", "")


def _call(tape: Tape, moment: Moment, labels: Mapping[int, str]) -> str:
    if moment.call.arguments is None:
        name = moment.call.name
        return cut(f"{name.partition('(')[0].rpartition(' = ')[2]} returns" if moment.returns else name, CALL)
    if moment.returns:
        return cut(f"{moment.call.name} returns", CALL)
    arguments = ", ".join(tape.said(value, labels) for value in moment.call.arguments)
    return cut(f"{moment.call.name}({arguments})", CALL)


def _outcome(tape: Tape, moment: Moment, labels: Mapping[int, str]) -> str:
    """Return what came of a call, in words."""
    if moment.undefined:
        return f"undefined: {moment.undefined}"
    parts = [] if moment.outcome is None else [f"→ {tape.said(moment.outcome, labels)}"]
    parts += [moment.error] if moment.error else []
    return cut(", ".join(parts), CALL + 8)


def _state(facts: Facts, address: int, labels: Mapping[int, str]) -> _State | None:
    """Return what is true of a thing, None before it is there."""
    thing = facts.things.get(address)
    found = [
        (labels.get(other.address, other.short) + (f".{row.name.lstrip('.')}" if row.name else ""), row.offset is None)
        for other in facts.things.values()
        for row in other.rows
        if row.target == address and other.address != address
    ]
    if thing is None:
        return None
    holders = [words for words, _ in found]
    if thing.dead:
        return _State("dangling" if holders else "dead", f"dangling: {', '.join(holders)}" if holders else "freed")
    if thing.refcnt is None:
        return _State("alive", ", ".join(holders) or "program")
    # Pointers of capsules own nothing; attributes of objects own a reference each.
    owners = [words for words, attribute in found if attribute]
    program = ["program"] if thing.refcnt > len(owners) else []
    return _State("alive", f"{thing.refcnt}: {', '.join([*program, *owners]) or 'being destroyed'}")


def _draw_rows(
    canvas: Canvas,
    tape: Tape,
    rows: Sequence[Moment | None],
    calls: Sequence[str | None],
    ends: Sequence[str],
    top: float,
    right: float,
) -> None:
    for number, (moment, call, end) in enumerate(zip(rows, calls, ends, strict=True)):
        y = top + ROW * number
        canvas.line(MARGIN, y, right, y, "rule")
        if moment is None or call is None:
            canvas.text(MARGIN + 8, y + 22, f"… {len(tape.moments) - MOST_ROWS} more …", "soft")
            continue
        x = MARGIN + 8 + _indent(moment)
        kind = "soft" if moment.returns else ""
        canvas.text(x, y + (16 if end else 22), call, kind)
        bad = bool(moment.undefined or moment.error) and moment.error != CLEARED
        canvas.text(x, y + 30, end, "small red" if bad else "small soft") if end else None


def _draw_lane(
    canvas: Canvas,
    tape: Tape,
    address: int,
    rows: Sequence[Moment | None],
    labels: Mapping[int, str],
    x: float,
    top: float,
) -> None:
    """Draw what is true of one thing after each row: one bar as long as nothing changes."""
    states: list[_State | None] = []
    for moment in rows:
        before = states[-1] if states else None
        states.append(before if moment is None else _state(moment.facts, address, labels))
    begin = 0
    for place in range(1, len(states) + 1):
        if place < len(states) and states[place] == states[begin]:
            continue
        state = states[begin]
        if state is not None:
            y, height = top + ROW * begin + 2, ROW * (place - begin) - 4
            if state.mark == "alive":
                canvas.rect(x, y, LANE - 14, height, "alive")
            elif state.mark == "dangling":
                canvas.rect(x, y, LANE - 14, height, "dead")
            else:
                canvas.line(x + 8, y - 2, x + 8, y + height, "bad")
            canvas.text(x + 16 if state.mark == "dead" else x + 8, y + 20, *_fitted(state))
        begin = place


def _fitted(state: _State) -> tuple[str, str]:
    """Return the words of a state as they fit into a lane, and their style."""
    return cut(state.words, 21), "small" if state.mark == "alive" else "small red"


def _text(
    tape: Tape, title: str, rows: Sequence[Moment | None], lanes: Sequence[int], labels: Mapping[int, str]
) -> str:
    """Return the time line for a terminal: each call, and what changed in who owns what."""
    lines = [title]
    before: dict[int, _State | None] = {}
    if tape.start is not None:
        before = {address: _state(tape.start, address, labels) for address in lanes}
        there = [f"{labels[address]} ({state.words})" for address, state in before.items() if state is not None]
        lines += [f"at the start: {', '.join(there)}"] if there else []
    calls = ["…" if moment is None else "  " * moment.depth + _call(tape, moment, labels) for moment in rows]
    wide = min(max(map(cells, calls), default=0), 76)
    for moment, call in zip(rows, calls, strict=True):
        if moment is None:
            lines.append(f"… {len(tape.moments) - MOST_ROWS} more …")
            continue
        changes = []
        for address in lanes:
            state = _state(moment.facts, address, labels)
            if state != before.get(address) and state is not None:
                changes.append(f"{labels[address]} {state.words}")
            before[address] = state
        end = _outcome(tape, moment, labels)
        told = "   ".join(part for part in (end, f"[{'; '.join(changes)}]" if changes else "") if part)
        lines.append(f"{padded(call, wide)}   {told}".rstrip())
    return "\n".join(lines)
