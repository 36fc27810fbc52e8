"""Two threads in one process, one of them running at a time, and a decision at each point where they may change.

Each task runs in an OS thread of its own, which waits for its turn; a schedule is the list of the decisions taken. The
interpreter of such a process is watched; any other pays nothing for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from capsule_model import Abort, Interpreter, UndefinedBehavior
from dlpack_model.exchange import Exchange

__all__ = ["NAMES", "Decision", "Schedule", "Stuck", "Task", "Watched", "exclusive", "point"]

NAMES = ("A", "B")
# No schedule takes longer; a turn takes microseconds.
SECONDS = 20.0
# What is Python code, of the events that the exchange tells.
PYTHON = frozenset({"__dlpack__", "__dlpack_device__", "from_dlpack"})

Task = Callable[[Exchange, int], None]


class Stuck(Exception):
    """Report a thread that did not get its turn, or did not end; a fault of this module or of a task that blocks."""


class _Abandoned(BaseException):
    """End a thread whose schedule is over."""


@dataclass(slots=True)
class Decision:
    """One decision: the threads that could go on, the running one first, and the place of the one that did.

    ``preempts`` tells whether the first of them was running and could have gone on.
    """

    options: tuple[int, ...]
    place: int
    preempts: bool


class Watched(Interpreter):
    """An interpreter whose API calls are points of a schedule."""

    schedule: Schedule | None = None


def _watched(name: str) -> Callable[..., Any]:
    plain = getattr(Interpreter, name)

    def call(self: Watched, *arguments: Any) -> Any:
        schedule = self.schedule
        return plain(self, *arguments) if schedule is None else schedule.call(name, plain, arguments)

    return call


for _name in dir(Interpreter):
    if _name.startswith(("PyCapsule_", "PyErr_", "Py_DEC", "Py_INC", "Py_Dec", "Py_Inc")):
        setattr(Watched, _name, _watched(_name))


@dataclass
class Schedule:
    """One run of two tasks: ``prefix`` are the places of the first decisions, later ones go on where they can.

    With the ``gil``, threads change only in Python code and where a task says so; without it at each call of the API.
    ``decisions`` were taken, ``lines`` are the calls in their order, ``noted`` is how many of them had been made when
    a kind of broken rule was first seen, and ``harm`` is what ended the run.
    """

    ex: Exchange
    gil: bool
    prefix: Sequence[int]
    decisions: list[Decision] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    noted: dict[str, int] = field(default_factory=dict)
    harm: UndefinedBehavior | Abort | None = None

    def run(self, tasks: Sequence[Task], capsule: int) -> None:
        """Run the tasks to their end, or to the first harm; ``Stuck`` if they do not come to it."""
        py = self.ex.py
        assert isinstance(py, Watched)
        self.current = -1
        self.steps: list[int] = []
        self.alive = list(range(len(tasks)))
        self.turns = [threading.Semaphore(0) for _ in tasks]
        self.over = threading.Event()
        self.abandoned = False
        self.holder: int | None = None
        self.waiting: set[int] = set()
        self.error: BaseException | None = None
        self.fresh = dict.fromkeys(self.alive, not self.gil)
        self.named: dict[int, str] = {}
        self.stacks: list[list[tuple[str, ...]]] = [[] for _ in tasks]
        threads = [
            threading.Thread(target=self._body, args=(number, task, capsule), daemon=True)
            for number, task in enumerate(tasks)
        ]
        for thread in threads:
            thread.start()
        py.schedule = self
        plain, self.ex.event = self.ex.event, self._event
        self._hand_to(self._decide(-1))
        ended = self.over.wait(SECONDS)
        self.abandoned = True
        for turn in self.turns:
            turn.release()
        for thread in threads:
            thread.join(SECONDS)
        py.schedule = None
        self.ex.event = plain
        self.ex.running = []
        py.switch_thread("")
        self._note()
        if self.error is not None:
            raise self.error
        if not ended or any(thread.is_alive() for thread in threads):
            raise Stuck(f"a thread did not end within {SECONDS:g} s, after {self.lines[-3:]}")

    def _body(self, number: int, task: Task, capsule: int) -> None:
        try:
            self._wait(number)
            task(self.ex, capsule)
        except BaseException as end:
            if self.abandoned:
                # Whatever comes of unwinding a thread whose schedule is over.
                return
            if isinstance(end, UndefinedBehavior | Abort):
                self.harm = end
            else:
                self.error = end
        self.alive.remove(number)
        if self.alive and self.harm is None and self.error is None:
            self._hand_to(self._decide(-1))
        else:
            self.over.set()

    def _wait(self, number: int) -> None:
        # Longer than the wait for the end, which lets every thread go on.
        if not self.turns[number].acquire(timeout=3 * SECONDS):
            raise Stuck(f"thread {NAMES[number]} did not get its turn within {3 * SECONDS:g} s")
        if self.abandoned:
            raise _Abandoned

    def _decide(self, running: int) -> int:
        """Return which thread goes on: as the prefix says, else the running one where it can."""
        able = [number for number in self.alive if number not in self.waiting]
        options = tuple(sorted(able, key=lambda number: (number != running, number)))
        if len(options) == 1:
            return options[0]
        made = len(self.decisions)
        place = self.prefix[made] if made < len(self.prefix) else 0
        self.decisions.append(Decision(options, place, running in self.alive))
        return options[place]

    def _hand_to(self, number: int) -> None:
        self.current = number
        self.ex.py.switch_thread(NAMES[number])
        self.ex.running = self.stacks[number]
        self.turns[number].release()

    def point(self) -> None:
        """Let the other thread go on here, if that is decided."""
        if self.abandoned:
            raise _Abandoned
        number = self.current
        chosen = self._decide(number)
        if chosen != number:
            self._hand_to(chosen)
            self._wait(number)

    def enter(self) -> None:
        """Enter the critical section, or let the other thread go on until it has left it."""
        number = self.current
        # The first turn is the point before it.
        if not self.fresh[number]:
            self.point()
        self.fresh[number] = False
        while self.holder is not None:
            self.waiting.add(number)
            self._hand_to(self._decide(-1))
            self._wait(number)
        self.holder = number

    def leave(self) -> None:
        """Leave the critical section, which whoever waits may enter."""
        self.holder = None
        self.waiting.clear()

    def call(self, name: str, plain: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Perform a call of the API, after the point before it."""
        number = self.current
        if self.abandoned:
            raise _Abandoned
        # The thread was given its first turn for its first call.
        if not self.gil and not self.fresh.get(number):
            self.point()
        self.fresh[number] = False
        line = self._line(f"{name}({', '.join(map(self._shown, arguments))})")
        result = plain(self.ex.py, *arguments)
        if name == "PyCapsule_New" and result:
            self.named[result] = f"capsule of {NAMES[number]}"
        if result is not None:
            self.lines[line] += f" = {self._shown(result)}"
        return result

    def _line(self, text: str) -> int:
        self._note()
        self.lines.append(f"{NAMES[self.current]}: {text}")
        self.steps.append(self.current)
        return len(self.lines) - 1

    def _note(self) -> None:
        for found in self.ex.unwatched:
            self.noted.setdefault(found.kind.value, len(self.lines))
        if self.harm is not None:
            kind = str(self.harm.kind) if isinstance(self.harm, UndefinedBehavior) else "abort"
            self.noted.setdefault(kind, len(self.lines))

    def _event(self, event: dict[str, Any]) -> None:
        """Take what the exchange tells; where that is Python code, another thread may run meanwhile."""
        if event.get("dlpack") in PYTHON:
            self.python(f"Python code, in {event['dlpack']}")

    def python(self, text: str) -> None:
        """Run Python code, or let go of the GIL."""
        self._line(text)
        self.point()

    def _shown(self, value: Any) -> str:
        """Return an argument or a result as a reader knows it."""
        ex = self.ex
        if value in ex.text_of:
            return f'"{ex.text_of[value].decode()}"'
        if value in ex.by_capsule:
            return "capsule"
        if value in ex.records:
            return "managed tensor"
        if value in ex.arrays:
            return ex.arrays[value].name
        if value in ex.py.functions:
            return ex.py.functions[value].name
        return self.named.get(value) or repr(value)

    def switches(self, steps: int) -> int:
        """Return how often the thread changes in the first steps."""
        return sum(one != other for one, other in zip(self.steps[: steps - 1], self.steps[1:steps], strict=True))


def point(ex: Exchange, text: str) -> None:
    """Say that a task runs Python code here, or lets go of the GIL: threads may change in either kind of build."""
    schedule = ex.py.schedule if isinstance(ex.py, Watched) else None
    if schedule is not None:
        schedule.python(text)


@contextmanager
def exclusive(ex: Exchange) -> Iterator[None]:
    """Hold what ``Py_BEGIN_CRITICAL_SECTION`` holds: two threads that ask for the same object take turns."""
    schedule = ex.py.schedule if isinstance(ex.py, Watched) else None
    if schedule is None or schedule.gil:
        yield
        return
    schedule.enter()
    try:
        yield
    finally:
        schedule.leave()
