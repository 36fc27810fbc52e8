"""Keep an adapter alive over many vectors: restart it, and find out which vector a misbehaviour belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capsule_model.conform.adapter import Adapter
from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started, Unsupported
from capsule_model.trace.wording import clean

__all__ = ["Answer", "Session"]

_PATIENCE = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one vector; `earlier` is what the process did after the vector before had its answer."""

    what: Ran | Unsupported | Refused | Misbehaviour
    earlier: Misbehaviour | None = None


class Session:
    """An adapter that is started again after every misbehaviour.

    A misbehaviour in a process that had answered another vector before may be that vector's doing: noise
    that came late, memory that it corrupted. The vector is then tried again in a fresh process; where
    it succeeds, the earlier one is to blame. After 20 failures in a row without an answer in between,
    to start or to answer in time, the adapter is given up.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._running = False
        self._fresh = True
        self._failures = 0

    def start(self) -> Started:
        """Start the adapter; raise `Misbehaviour` where it cannot be."""
        try:
            about = self._adapter.start()
        except OSError as error:
            program = f"{clean(str(error.filename))}: " if error.filename else ""
            reason = f"cannot be started: {program}{error.strerror or error}; expected a program and its arguments"
            raise Misbehaviour("errored", reason) from None
        self._running = self._fresh = True
        return about

    def ask(self, vector: Mapping[str, Any], *, crash_expected: bool = False) -> Answer:
        """Return the answer to one vector; a misbehaviour is an answer, too."""
        if self._failures >= _PATIENCE:
            return Answer(Misbehaviour("errored", f"not run: the adapter failed {_PATIENCE} times in a row"))
        fresh = self._fresh or not self._running
        first = self._try(vector)
        if not isinstance(first, Misbehaviour) or fresh or crash_expected or first.outcome == "timed-out":
            return Answer(first)
        second = self._try(vector)
        return Answer(second) if isinstance(second, Misbehaviour) else Answer(second, first)

    def stop(self) -> None:
        """End the adapter."""
        self._adapter.stop()

    def _try(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused | Misbehaviour:
        if not self._running:
            try:
                self.start()
            except Misbehaviour as failure:
                self._failures += 1
                return Misbehaviour(failure.outcome, f"did not start again: {failure}")
        try:
            answer = self._adapter.run(vector)
        except Misbehaviour as failure:
            self._running = False
            self._failures += failure.outcome == "timed-out"
            return failure
        self._fresh = False
        self._failures = 0
        return answer
