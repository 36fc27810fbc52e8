"""Processes of this machine that perform calls; each has a pipe of its own, so that killing one harms no other."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

__all__ = ["Call", "Died", "Processes"]

Call = tuple[Callable[..., Any], tuple[Any, ...]]
# A process that is begun anew so often without an answer in between cannot be begun at all.
PATIENCE = 20


@dataclass(frozen=True)
class Died:
    """What became of a call whose process ended before it had an answer."""

    how: str


@dataclass
class _Process:
    process: SpawnProcess
    pipe: Connection


class Processes:
    """At most ``count`` processes, begun when there is something to do; one that dies is replaced."""

    def __init__(self, count: int) -> None:
        self._count = count
        # A process made by fork would share this one's threads and locks.
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[_Process] = []
        self._busy: dict[Connection, tuple[_Process, int]] = {}
        self._failures = 0

    def perform(
        self, calls: Iterable[Call], again: Callable[[int, Died], Call | None] = lambda place, died: None
    ) -> Iterator[tuple[int, Any]]:
        """Perform calls, and give the place of each with its result as it comes in.

        What ``again`` returns for the place of a call whose process died is performed instead; where that is None, the
        result is ``Died``. What a call raises is raised here.
        """
        waiting = deque(enumerate(calls))
        while waiting or self._busy:
            while waiting and len(self._busy) < self._count:
                self._give(*waiting.popleft())
            for pipe in wait(list(self._busy)):
                assert isinstance(pipe, Connection)
                process, place = self._busy.pop(pipe)
                answer = _answer(process)
                if isinstance(answer, Died):
                    self._failures += 1
                    call = again(place, answer) if self._failures < PATIENCE else None
                    if call is None:
                        yield place, answer
                    else:
                        waiting.appendleft((place, call))
                    continue
                self._failures = 0
                self._idle.append(process)
                succeeded, value = answer
                if not succeeded:
                    raise value
                yield place, value

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for one in (*self._idle, *(one for one, _ in self._busy.values())):
            one.pipe.close()
            one.process.kill()
            one.process.join()
        self._idle.clear()
        self._busy.clear()

    def _give(self, place: int, call: Call) -> None:
        process = self._idle.pop() if self._idle else self._begin()
        # A pipe whose reader is gone: its end shows when the answer is waited for.
        with suppress(BrokenPipeError, ConnectionResetError):
            process.pipe.send(call)
        self._busy[process.pipe] = process, place

    def _begin(self) -> _Process:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        # With this end closed, the death of the process is the end of the pipe.
        theirs.close()
        return _Process(process, ours)


def _answer(one: _Process) -> Any:
    try:
        return one.pipe.recv()
    except (EOFError, OSError):
        one.pipe.close()
        one.process.join()
        code = one.process.exitcode or 0
        return Died(f"died of {_named(-code)}" if code < 0 else f"ended with exit code {code}")


def _serve(pipe: Connection) -> None:
    """Perform calls until the other end is closed."""
    # An interrupt from the keyboard reaches all processes of a terminal; it is for the one that asks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        try:
            answer: tuple[bool, Any] = True, function(*arguments)
        except Exception as error:
            answer = False, _sendable(error)
        pipe.send(answer)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _named(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
