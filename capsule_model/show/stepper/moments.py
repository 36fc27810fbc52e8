"""A vector's run as moments: every step, every function that it calls, every event, with what changed until then."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from capsule_model.conform.words import call_text, error_text, event_text, indicator_text, step_at, value_text
from capsule_model.profiles import Profile
from capsule_model.show.stepper.cards import Cards, Changes, TooMuch
from capsule_model.trace.execute import Machine, Run, run
from capsule_model.trace.wording import clean
from capsule_model.undefined import Abort, UndefinedBehavior

__all__ = ["KINDS", "Moment", "moments"]

KINDS = ("start", "begin", "step", "enter", "leave", "event", "death", "end")
MOST_MOMENTS = 50_000
# How many frames looking on may take, beyond those that the run has.
_LOOKING = 200


@dataclass(slots=True)
class Moment:
    """One moment of a run.

    ``at`` is its name, unlike any other's: the path of a step, and for what is inside one more than that. ``depth`` is
    how deep it lies in others. ``text`` says what was called, ``told`` what came of it, a line each, ``error`` what is
    in the error indicator, None for nothing. ``back`` is what the indicator is put back to after the step, where that
    is something else. ``thread`` is the one that runs, empty for the first, ``elsewhere`` what is in the error
    indicators of others. ``rules`` were carried out since the last moment.
    """

    at: str
    kind: str
    depth: int
    text: str
    told: list[str] = field(default_factory=list)
    error: str | None = None
    back: str | None = None
    thread: str = ""
    elsewhere: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)


def moments(vector: Mapping[str, Any], profile: Profile) -> tuple[list[Moment], Run]:
    """Return the moments of a vector's run under a profile, and the run.

    Raises ``BadVector`` as ``run`` does, and ``TooMuch`` for a run that is too long to be looked at.
    """
    seen: list[Moment] = []

    def watched(*arguments: Any) -> _Watched:
        return _Watched(seen, *arguments)

    return seen, run(vector, profile, rules=True, machine=watched)


@contextmanager
def _deeper(frames: int) -> Iterator[None]:
    """Let the stack grow by so many frames more: where it ends is for the run to meet, not for who looks on."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + frames)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@dataclass(slots=True)
class _Open:
    """A step that is running: where, since which moment, and what it found in the error indicator."""

    path: str
    text: str
    error: str | None
    events: int = 0


class _Watched(Machine):
    """A machine that notes the moments of its run."""

    def __init__(self, seen: list[Moment], vector: Mapping[str, Any], *arguments: Any) -> None:
        self.seen = seen
        self.vector = vector
        self.open: list[_Open] = [_Open("modules", "the modules are made", None)]
        self.entered: list[str] = []
        self.noted = 0
        self.cards: Cards | None = None
        super().__init__(vector, *arguments)
        self.open.clear()
        self._note("start", "start", "before the first step")

    def step(self, step: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Perform one step, and note the moments in it and the one at its end."""
        with _deeper(_LOOKING):
            self.open.append(_Open(path, self._called(step, path), self._found(step)))
        try:
            observation = super().step(step, path)
        except (UndefinedBehavior, Abort) as end:
            self._dies(end)
            raise
        with _deeper(_LOOKING):
            self._ended(step, path, observation)
        return observation

    def _ended(self, step: Mapping[str, Any], path: str, observation: Mapping[str, Any]) -> None:
        opened = self.open.pop()
        told = [f"returns {value_text(observation['return'])}"] if "return" in observation else []
        indicator = indicator_text(observation)
        told += [indicator] if indicator else []
        told += [f"note: {clean(step['note'], 300)}"] if "note" in step else []
        moment = self._note(path, "step", opened.text, told)
        left, moment.error = moment.error, _error(observation["error"])
        if left != moment.error:
            moment.back = left or "no error"
        if opened.events:
            moment.text = f"{opened.text} ends"

    def event(self, event: dict[str, Any]) -> None:
        """Note what happens inside a step."""
        super().event(event)
        with _deeper(_LOOKING):
            self._happens(event)

    def _happens(self, event: Mapping[str, Any]) -> None:
        self._begin()
        if "call" in event and not event.get("beyond"):
            at = f"{self._path()}/{event['call']}.{self.calls[event['call']]}"
            before = event.get("before")
            told = [] if before is None else [f"entered with {error_text(before)}"]
            self.entered.append(at)
            self._note(at, "enter", event_text(event), told, 2 * len(self.entered) - 1)
        else:
            number = self.open[-1].events if self.open else self._of_end()
            self._note(f"{self._path()}/event-{number}", "event", event_text(event), [], 2 * len(self.entered) + 1)

    def left(self, event: Mapping[str, Any]) -> None:
        """Note that a function returned."""
        after = event.get("after")
        told = [] if after is None else [f"leaves {error_text(after)}"]
        depth = 2 * len(self.entered) - 1
        with _deeper(_LOOKING):
            self._note(f"{self.entered[-1]}/end", "leave", f"{event['call']} returns", told, depth)
        self.entered.pop()

    def finish(self) -> None:
        """Note the end, and what is owned there."""
        try:
            super().finish()
        except (UndefinedBehavior, Abort) as end:
            self._dies(end)
            raise
        self._note("end", "end", "the end", [f"still owned: {', '.join(self.leaks()) or 'nothing'}"])

    def _begin(self) -> None:
        """Note, before the first event of a step, that the step has begun."""
        if not self.open:
            return
        opened = self.open[-1]
        opened.events += 1
        if opened.events > 1:
            return
        if len(self.seen) > MOST_MOMENTS:
            raise TooMuch
        kind = "start" if opened.path == "modules" else "begin"
        at, depth = f"{opened.path}/begin", 2 * len(self.entered)
        moment = Moment(at, kind, depth, f"{opened.text} begins", error=opened.error, thread=self.py.thread)
        self.seen.append(moment)

    def _note(self, at: str, kind: str, text: str, told: list[str] | None = None, depth: int | None = None) -> Moment:
        if len(self.seen) > MOST_MOMENTS:
            raise TooMuch
        cards = self.cards = self.cards or Cards(self)
        rules = self._reached()
        depth = 2 * len(self.entered) if depth is None else depth
        moment = Moment(at, kind, depth, text, told or [], self._pending(), rules=rules, changes=cards.look())
        moment.thread, moment.elsewhere = self.py.thread, self._elsewhere()
        self.seen.append(moment)
        return moment

    def _reached(self) -> list[str]:
        """Return the rules carried out since the last moment, each once."""
        if self.sink is None:
            return []
        reached = list(dict.fromkeys(rule for _, rule in self.sink.reached[self.noted :]))
        self.noted = len(self.sink.reached)
        return reached

    def _dies(self, end: UndefinedBehavior | Abort) -> None:
        if not self.seen or self.seen[-1].kind != "death":
            path, text = (self.open[-1].path, self.open[-1].text) if self.open else ("end", "the end")
            self._note(f"{path}/death", "death", text, [clean(line, 500) for line in str(end).splitlines()])

    def _path(self) -> str:
        return self.open[-1].path if self.open else "end"

    def _of_end(self) -> int:
        return sum(moment.at.startswith("end/event-") for moment in self.seen) + 1

    def _called(self, step: Mapping[str, Any], path: str) -> str:
        told = step_at(self.vector, path) or step
        thread = f" on thread {step['thread']}" if "thread" in step else ""
        pending = f" with {error_text(step['pending'])} pending" if "pending" in step else ""
        return f"{call_text(told)}{thread}{pending}"

    def _found(self, step: Mapping[str, Any]) -> str | None:
        """Return what the step will find in the error indicator."""
        if "pending" in step:
            return error_text(step["pending"])
        thread = self.py.thread if self.frames else step.get("thread", "")
        found = self.py.error if thread == self.py.thread else self.py.errors.get(thread)
        return None if found is None else self._worded(found.type, str(found))

    def _pending(self) -> str | None:
        """Return what is in the error indicator."""
        error = self.py.error
        return None if error is None else self._worded(error.type, str(error))

    def _elsewhere(self) -> list[str]:
        """Return what is in the error indicators of threads that do not run."""
        pending = {name: error for name, error in self.py.errors.items() if error is not None}
        return [f"{_thread(name)}: {self._worded(error.type, str(error))}" for name, error in pending.items()]

    def _worded(self, type: str, text: str) -> str:
        return error_text({"type": type, "text": self.tokens.in_text(text)})


def _thread(name: str) -> str:
    return f"thread {name}" if name else "the first thread"


def _error(seen: Mapping[str, Any] | None) -> str | None:
    """Return an exception as the indicator shows it: type and text."""
    return None if seen is None else error_text({"type": seen["type"], "text": seen["text"]})
