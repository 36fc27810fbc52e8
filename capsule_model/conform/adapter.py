"""Drive an adapter in a process of its own: whatever it does, the caller gets an answer or a `Misbehaviour`."""

from __future__ import annotations

import json
import os
import queue
import select
import shlex
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, Protocol, TypeVar

from capsule_model.conform.answers import (
    MAX_LINE,
    Misbehaviour,
    Ran,
    Refused,
    Started,
    Unsupported,
    parse_line,
    ran,
    started,
)
from capsule_model.trace.wording import clean

__all__ = ["Adapter", "AdapterProcess", "command_of", "end_group"]

_T = TypeVar("_T")

_STDERR_LINES = 3
_STDERR_BYTES = 4096
_GRACE = 1.0


class Adapter(Protocol):
    """What the runner needs of an adapter."""

    def start(self) -> Started:
        """Begin a fresh run-time and return what the adapter says of itself; raise `Misbehaviour`."""
        ...

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Perform one vector; after a `Misbehaviour` the adapter must be started again."""
        ...

    def stop(self) -> None:
        """End the adapter."""
        ...


def command_of(text: str) -> list[str]:
    """Split an adapter command as a shell would, without one; raise `ValueError` with one line."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(
            f"adapter command {clean(text)}: {error}; expected words as a shell would split them"
        ) from None
    if not words:
        raise ValueError("adapter command is empty; expected a program")
    return words


class AdapterProcess:
    """An adapter behind the JSON-lines protocol, with a time limit in seconds for each answer."""

    def __init__(self, command: Sequence[str], time_limit: float = 10.0) -> None:
        self._command = list(command)
        self._time_limit = time_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._output = _Lines()
        self._errors: deque[bytes] = deque(maxlen=_STDERR_LINES)
        self._error_reader: threading.Thread | None = None
        self._writer: threading.Thread | None = None
        self._seq = 0

    def start(self) -> Started:
        """Start the program afresh and return what it says of itself.

        Raises `FileNotFoundError` or another `OSError` where there is no such program, `Misbehaviour`
        where it does not answer as it should.
        """
        self._kill()
        self._errors = deque(maxlen=_STDERR_LINES)
        self._output = _Lines()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=os.name == "posix",
        )
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        _thread(self._output.read, stdout)
        self._error_reader = _thread(_read_tail, stderr, self._errors)
        return self._guarded({"cmd": "start", "protocol": 1}, started)

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Send one vector and return the answer; a process that misbehaves is ended before `Misbehaviour`."""
        return self._guarded({"cmd": "run", "vector": vector}, ran)

    def stop(self) -> None:
        """Ask the program to end, and end it."""
        if self._process is not None and self._process.poll() is None:
            try:
                self._ask({"cmd": "stop"}, _GRACE)
                self._process.wait(_GRACE)
            except (Misbehaviour, subprocess.TimeoutExpired):
                pass
        self._kill()

    def _guarded(self, request: dict[str, Any], read: Callable[[Mapping[str, Any]], _T]) -> _T:
        try:
            return read(self._ask(request, self._time_limit))
        except BaseException:
            self._kill()
            raise

    def _ask(self, request: dict[str, Any], time_limit: float) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None:
            raise Misbehaviour("errored", "is not running")
        self._refuse_unasked()
        self._seq += 1
        text = json.dumps({"seq": self._seq, **request}, separators=(",", ":"), ensure_ascii=False)
        data = text.encode() + b"\n"
        if len(data) > MAX_LINE:
            raise Misbehaviour("errored", f"was not asked: the vector needs a line longer than {MAX_LINE} bytes")
        if (self._writer is None or not self._writer.is_alive()) and _takes(process.stdin, data):
            _write(process.stdin, data)
        else:
            # In a thread of its own, for a write blocks for ever on an adapter that does not read.
            self._writer = _thread(_write, process.stdin, data)
        try:
            line = self._output.lines.get(timeout=time_limit)
        except queue.Empty:
            raise Misbehaviour("timed-out", f"gave no answer within {time_limit:g} seconds{self._stderr()}") from None
        if line is None:
            raise self._death(process)
        if len(line) > MAX_LINE:
            raise Misbehaviour("errored", f"answered a line longer than {MAX_LINE} bytes")
        if not line.endswith(b"\n"):
            raise self._death(process, "in the middle of a line")
        answer = parse_line(line)
        if answer.get("seq") != self._seq or isinstance(answer.get("seq"), bool):
            seq = clean(repr(answer.get("seq")), 40)
            raise Misbehaviour("errored", f"answered out of order: seq {seq}; expected {self._seq}")
        return answer

    def _refuse_unasked(self) -> None:
        """Raise for a line that came without a request; the end of the output is left for the next answer."""
        try:
            line = self._output.lines.get_nowait()
        except queue.Empty:
            return
        if line is None:
            self._output.lines.put(None)
            return
        raise Misbehaviour("errored", f"a line that nobody asked for: {clean(repr(line[:80]), 120)}")

    def _death(self, process: subprocess.Popen[bytes], when: str = "") -> Misbehaviour:
        try:
            code = process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return Misbehaviour("errored", f"closed its standard output {when}".rstrip() + self._stderr())
        if self._error_reader is not None:
            self._error_reader.join(_GRACE)
        how = f"died of {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        text = f"{how} {when}".rstrip() + self._stderr()
        return Misbehaviour("crashed", text, -code if code < 0 else None)

    def _stderr(self) -> str:
        lines = [clean(line.decode("utf-8", "backslashreplace").strip(), 160) for line in list(self._errors)]
        said = " / ".join(line for line in lines if line)
        return f"; its standard error ends: {said}" if said else ""

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._output.closed = True
        # The group is ended even where its leader is already gone: what it left behind would hold the pipes.
        end_group(process)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
        if self._writer is not None:
            self._writer.join(_GRACE)
        if process.stdin is not None and (self._writer is None or not self._writer.is_alive()):
            _close(process.stdin)


class _Lines:
    """The lines of a stream, handed over by a thread that never holds more than a few of them."""

    def __init__(self) -> None:
        self.lines: queue.Queue[bytes | None] = queue.Queue(maxsize=4)
        self.closed = False

    def read(self, stream: IO[bytes]) -> None:
        """Hand over the lines of `stream`, none longer than the limit by more than a byte, then None."""
        try:
            while line := stream.readline(MAX_LINE + 1):
                if not self._hand_over(line) or len(line) > MAX_LINE:
                    break
        except (OSError, ValueError):
            pass
        self._hand_over(None)
        _close(stream)

    def _hand_over(self, line: bytes | None) -> bool:
        while not self.closed:
            try:
                self.lines.put(line, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, with all that it started."""
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass


def _thread(target: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


def _takes(stream: IO[bytes], data: bytes) -> bool:
    """Tell whether a pipe is certain to take the data without blocking: POSIX promises it `PIPE_BUF` bytes."""
    if os.name != "posix" or len(data) > select.PIPE_BUF:
        return False
    try:
        return bool(select.select((), (stream,), (), 0)[1])
    except (OSError, ValueError):
        return False


def _write(stream: IO[bytes], data: bytes) -> None:
    # A broken pipe shows as the end of the adapter's output, where it is reported.
    with suppress(OSError, ValueError):
        stream.write(data)
        stream.flush()


def _read_tail(stream: IO[bytes], tail: deque[bytes]) -> None:
    try:
        while line := stream.readline(_STDERR_BYTES):
            tail.append(line)
    except (OSError, ValueError):
        pass
    _close(stream)


def _close(stream: IO[bytes]) -> None:
    with suppress(OSError, ValueError):
        stream.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
