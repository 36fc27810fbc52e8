"""What was exchanged, as a sequence of messages between program, consumers, capsules and producers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from capsule_model import NULL
from capsule_model.show.pictures.safe import quoted, safe
from capsule_model.show.pictures.sequence import Lane, Message, Sequences, Span
from dlpack_model.exchange_api import CALLER

if TYPE_CHECKING:
    from dlpack_model.arrays import Array
    from dlpack_model.contract import Call
    from dlpack_model.exchange import Exchange, Record
    from dlpack_model.styles import Consumer

__all__ = ["told"]

# The exports that are told of: the last ones.
MOST_EXPORTS = 64
# Consumers stand left of the capsules, producers right.
_ORDER = {"program": 0, "consumer": 1, "capsule": 2, "producer": 3}


def told(ex: Exchange) -> Sequences:
    """Return what was exchanged so far in one process, in the order in which it happened."""
    return _Story(ex).tell()


def _moments(ex: Exchange) -> list[tuple[int, int, str, Any]]:
    """Return what happened, in order: the number of the event, what decides between equals, its kind, and details."""
    found: list[tuple[int, int, str, Any]] = [(entry[0], 1, entry[1], entry[2:]) for entry in ex.journal]
    died = dict(zip(ex.py.objects.deaths[::3], ex.py.objects.deaths[2::3], strict=True))
    born = dict(zip(ex.py.objects.deaths[::3], ex.py.objects.deaths[1::3], strict=True))
    for record in list(ex.records.values())[-MOST_EXPORTS:]:
        found += [(event, 0, text.partition(" ")[0], (record, about)) for event, text, about in record.history]
        for capsule in record.capsules:
            struct = ex.py.capsule_at(capsule)
            found.append((born.get(capsule, 0) if struct is None else struct.born, 0, "capsule", (record, capsule)))
            if capsule in died:
                found.append((died[capsule], 0, "gone", (capsule,)))
    return sorted(found, key=lambda moment: moment[:2])


class _Story:
    """Turns moments into messages; lanes are put in order when all are known."""

    def __init__(self, ex: Exchange) -> None:
        self.ex = ex
        self.sequence = Sequences(legend="owns an export: has to call its deleter, once")
        self.lanes: dict[tuple[str, Any], int] = {}
        self.calls: list[tuple[Consumer, Array | None, Call]] = []
        self.owner: dict[tuple[int, int], Span] = {}
        self.deleted: dict[int, int] = {}
        self.program = self.lane("program", "the program", "Python code")

    def tell(self) -> Sequences:
        """Return the whole sequence."""
        for _, _, kind, details in _moments(self.ex):
            tell = getattr(self, f"_{kind.replace('__', '')}", None)
            if tell is not None:
                tell(*details)
        self._return()
        return _in_order(self.sequence, self.lanes)

    def lane(self, kind: str, title: str, what: str, key: Any = None) -> int:
        """Return the number of a party's lane, made when it is first met."""
        place = kind, title if key is None else key
        if place not in self.lanes:
            self.lanes[place] = len(self.sequence.lanes)
            self.sequence.lanes.append(Lane(safe(title, 60), what))
        return self.lanes[place]

    def consumer(self, consumer: Consumer) -> int:
        """Return a consumer's lane."""
        return self.lane("consumer", consumer.name, "consumer")

    def producer(self, record: Record) -> int:
        """Return the lane of the producer of an export."""
        return self.lane("producer", record.producer, "producer")

    def note(self, lane: int, words: str, *, bad: bool = False) -> int:
        """Add what a party does by itself."""
        self.sequence.messages.append(Message(lane, lane, words, "note", bad))
        return len(self.sequence.messages) - 1

    def _return(self) -> None:
        """Let the call that is running return, where it has."""
        while self.calls:
            consumer, _, call = self.calls.pop()
            if call.result not in (None, NULL):
                self.sequence.say(
                    self.consumer(consumer), self.program, f"an array of {safe(consumer.name, 30)}", "answer"
                )

    def _from_dlpack(self, consumer: Consumer, array: Array | None, call: Call) -> None:
        self._return()
        what = "a capsule" if call.given else "an object" if array is None else array.name
        self.calls.append((consumer, array, call))
        self.sequence.say(self.program, self.consumer(consumer), f"from_dlpack({safe(what, 24)}{_options(call)})")

    def _failed(self, consumer: Consumer, call: Call, error: Any) -> None:
        lane = self.consumer(consumer)
        array = self.calls[-1][1] if self.calls else None
        words = "no exception" if error is None else f"{error.type}: {error}"
        if call.record is None and call.sent and array is not None:
            producer = self.lane("producer", array.producer.name, "producer")
            self.sequence.say(lane, producer, f"__dlpack__({_keywords(call)})")
            if call.raised:
                self._bad(producer, lane, words)
        if self.calls:
            self.calls.pop()
        self._bad(lane, self.program, f"NULL, {words}")

    def _bad(self, sender: int, receiver: int, words: str) -> None:
        self.sequence.messages.append(Message(sender, receiver, safe(words, 120), "answer", bad=True))

    def _export(self, record: Record, about: tuple[Any, ...]) -> None:
        asker = self.consumer(self.calls[-1][0]) if self.calls and self._inside(record) else self.program
        keywords = _keywords(self.calls[-1][2]) if asker != self.program else ""
        if asker == self.program:
            self._return()
        words = f"__dlpack__({keywords})" if record.capsules else "exports through the C exchange API"
        self.sequence.say(asker, self.producer(record), words)

    def _inside(self, record: Record) -> bool:
        """Tell whether an export was made for the call that is running."""
        return self.calls[-1][2].record is record and not self.calls[-1][2].given

    def _capsule(self, record: Record, capsule: int) -> None:
        name = record.array.producer.capsule_name or record.names.unused
        number = sum(kind == "capsule" for kind, _ in self.lanes) + 1
        lane = self.lane("capsule", f"capsule {number}", f"of export {record.number}", capsule)
        at = self.sequence.say(self.producer(record), lane, f"PyCapsule_New(…, {quoted(name, 30)})")
        self.sequence.lanes[lane].begin = at
        if record.has_deleter:
            self._owns(record, lane, at)
        inside = self.calls and self._inside(record)
        asker = self.consumer(self.calls[-1][0]) if inside else self.program
        self.sequence.say(self.producer(record), asker, f"capsule {number}", "answer")

    def _owns(self, record: Record, lane: int, at: int) -> None:
        """Let a party own an export from now on."""
        span = self.owner[record.address, lane] = Span(lane, f"export {record.number}", at)
        self.sequence.spans.append(span)

    def _renamed(self, consumer: Consumer, capsule: int, name: int) -> None:
        lane = self.lanes.get(("capsule", capsule))
        text = self.ex.text_at(name)
        if lane is not None:
            words = "a name that cannot be read" if text is None else quoted(text, 30)
            at = self.sequence.say(self.consumer(consumer), lane, f"PyCapsule_SetName({words})")
            record = self.ex.by_capsule[capsule]
            if text != record.names.unused:
                # Its destructor leaves the tensor alone from here on.
                self._owns_no_more(lane, at)

    def _taken(self, record: Record, about: tuple[Any, ...]) -> None:
        party = about[0]
        lane = self.consumer(self.calls[-1][0]) if self.calls else self.lane("consumer", party, "owner")
        at = self.note(lane, f"{safe(party, 40)} owns export {record.number}")
        before = self.lanes.get(("consumer", CALLER))
        if before is not None and before != lane:
            # Who takes a tensor through the exchange API steals it.
            self._owns_no_more(before, at)
        self._owns(record, lane, at)

    def _owns_no_more(self, lane: int, at: int) -> None:
        for key in [key for key in self.owner if key[1] == lane]:
            self.owner.pop(key).end = at

    def _destructor(self, capsule: int, name: str) -> None:
        lane = self.lanes.get(("capsule", capsule))
        if lane is not None:
            self.note(lane, f"destructor runs ({safe(name, 30)})")

    def _gone(self, capsule: int) -> None:
        lane = self.lanes.get(("capsule", capsule))
        if lane is not None:
            at = self.sequence.lanes[lane].end = self.note(lane, "freed")
            self._owns_no_more(lane, at)

    def _deleter(self, record: Record, about: tuple[Any, ...]) -> None:
        calls = self.deleted[record.address] = self.deleted.get(record.address, 0) + 1
        lane = self._deleting(record, about[:-1])
        bad = calls > record.exports
        words = f"deleter(export {record.number})" + (", a second time" if bad else "")
        self.sequence.messages.append(Message(lane, self.producer(record), words, "call", bad))
        at = len(self.sequence.messages) - 1
        for key in [key for key in self.owner if key[0] == record.address][:1]:
            self.owner.pop((record.address, lane) if (record.address, lane) in self.owner else key).end = at
        if calls == record.exports and record.block.died is not None:
            self.note(self.producer(record), f"struct freed, {safe(record.array.name, 24)} given back")

    def _deleting(self, record: Record, running: tuple[tuple[str, ...], ...]) -> int:
        """Return the lane of whoever calls a deleter."""
        caller = running[-1] if running else ("",)
        if caller[0].startswith("the destructor"):
            for capsule in reversed(record.capsules):
                lane = self.lanes.get(("capsule", capsule))
                if lane is not None and self.sequence.lanes[lane].end is None:
                    return lane
        if caller[0] == "from_dlpack" and self.calls:
            return self.consumer(self.calls[-1][0])
        if not running:
            self._return()
        owners = [lane for address, lane in self.owner if address == record.address]
        if owners and not running and self.sequence.lanes[owners[-1]].title != CALLER:
            self.note(owners[-1], "its array dies")
        return owners[-1] if owners else self.program


def _in_order(sequence: Sequences, lanes: dict[tuple[str, Any], int]) -> Sequences:
    """Return the same sequence with lanes from left to right: program, consumers, capsules, producers."""
    order = sorted(lanes.items(), key=lambda item: (_ORDER[item[0][0]], item[1]))
    place = {old: new for new, (_, old) in enumerate(order)}
    return Sequences(
        [sequence.lanes[old] for _, old in order],
        [Message(place[m.sender], place[m.receiver], m.words, m.kind, m.bad) for m in sequence.messages],
        [Span(place[span.lane], span.words, span.begin, span.end) for span in sequence.spans],
        sequence.legend,
    )


def _options(call: Call) -> str:
    return "".join(f", {text}" for text in _options_of(call))


def _options_of(call: Call) -> Iterator[str]:
    if call.asked is not None:
        yield f"device={call.asked}"
    if call.copy is not None:
        yield f"copy={bool(call.copy)}"


def _keywords(call: Call) -> str:
    return safe(", ".join(f"{name}={value}" for name, value in call.sent.items()), 50)
