"""Perform vectors under a checker, each in a process of its own with limits on time and output."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from capsule_model.conform.adapter import end_group
from capsule_model.conform.answers import Misbehaviour, Refused, Started, Unsupported, parse_line, ran, started
from capsule_model.conform.interpreters import CannotRun
from capsule_model.conform.runner import sent
from capsule_model.sanitize.reports import read_reports, running_step
from capsule_model.sanitize.tools import Setup
from capsule_model.trace.wording import clean

__all__ = ["Checked", "Outcome", "Seen"]

Outcome = Literal["reported", "silent", "died", "timed-out", "refused"]

# How much of what a process wrote is looked at, in bytes.
_MOST = 1 << 22
_START_SECONDS = 120.0
_GRACE = 30.0
# A script that goes down, not the process that it forked, says nothing of the vector.
_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one vector: the checker's word, the signal or the reason, and the step that was running then.

    `leaks` counts the reports of memory that was lost.
    """

    outcome: Outcome
    word: str = ""
    step: str | None = None
    leaks: int = 0


class _Server:
    """The script under the checker: it forks for every vector, and is started again where it went down."""

    def __init__(self, setup: Setup, scratch: Path) -> None:
        scratch.mkdir()
        self._setup = setup
        self._scratch = scratch
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None
        self._read = 0
        self._rest = b""
        self._ended = False

    def perform(self, requests: Sequence[Mapping[str, Any]], limit: int) -> tuple[int, bytes, str, str]:
        """Have requests answered in a process of their own; return exit code, answers, standard error and log."""
        lines = "".join(json.dumps(request, ensure_ascii=False) + "\n" for request in requests)
        (self._scratch / "in").write_text(lines, "utf-8")
        told = None
        for _ in range(_ATTEMPTS):
            self._start()
            for name in ("out", "err"):
                (self._scratch / name).unlink(missing_ok=True)
            told = self._ask({"folder": str(self._scratch), "limit": limit}, limit + _GRACE)
            if not self._ended:
                break
            # Its end of the pipe is closed a moment before it is gone.
            self.stop()
        code = -signal.SIGALRM if told is None else int(told["code"])
        if told is None:
            self.stop()
        return code, _head(self._scratch / "out"), _text(_head(self._scratch / "err")), self._new_log()

    def stop(self) -> None:
        """End the script and what it has forked."""
        process, self._process = self._process, None
        if process is None:
            return
        end_group(process)
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        command, self._log = self._setup.started_in(self._scratch)
        with (self._scratch / "noise").open("wb") as noise:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=noise,
                env=dict(self._setup.environment),
                start_new_session=True,
            )
        self._rest = b""
        self._ended = False
        told = self._line(_START_SECONDS)
        if told is None:
            code = self._process.poll()
            self.stop()
            said = _text(_head(self._scratch / "noise")).strip().splitlines()
            said = said or (_text(_head(self._log)).strip().splitlines()[:1] if self._log is not None else [])
            how = f"not within {_START_SECONDS:g} seconds" if code is None else _end_of(code)
            raise CannotRun(f"does not start under {self._setup.tool}: {clean(said[-1], 200) if said else how}")
        self._read = self._log.stat().st_size if self._log is not None else 0

    def _ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        return self._line(seconds)

    def _line(self, seconds: float) -> dict[str, Any] | None:
        """Return the next line of the script, None where there is none in time."""
        assert self._process is not None
        stream: IO[bytes] | None = self._process.stdout
        assert stream is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([stream], [], [], max(end - time.monotonic(), 0))
            chunk = os.read(stream.fileno(), 4096) if ready else b""
            if not chunk:
                self._ended = bool(ready)
                return None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    def _new_log(self) -> str:
        """Return what the checker wrote since this was asked before."""
        if self._log is None:
            return ""
        with self._log.open("rb") as stream:
            stream.seek(self._read)
            data = stream.read()
        self._read += len(data)
        return _text(data[:_MOST])


class Checked:
    """An interpreter under a checker, in as many processes as there are jobs; it is used in a ``with`` statement."""

    def __init__(self, setup: Setup, jobs: int) -> None:
        self._setup = setup
        self._servers = [_Server(setup, setup.folder / f"worker-{number}") for number in range(jobs)]

    def __enter__(self) -> Checked:
        """Return itself; nothing runs yet."""
        return self

    def __exit__(self, *raised: object) -> None:
        """End all processes."""
        for server in self._servers:
            server.stop()

    def ask_about(self) -> Started:
        """Start the adapter and return what it says of itself; raise `CannotRun`."""
        request = {"seq": 1, "cmd": "start", "protocol": 1}
        code, out, _, _ = self._servers[0].perform([request], int(_START_SECONDS))
        try:
            about = started(parse_line(out.split(b"\n")[0]))
        except Misbehaviour as wrong:
            raise CannotRun(f"the adapter {wrong}; its process ended with {_end_of(code)}") from None
        if "undefined" not in about.features:
            raise CannotRun("the adapter lacks the feature undefined; expected one that performs such steps")
        return about

    def perform_all(
        self, vectors: Sequence[Mapping[str, Any]], limit: int, advance: Callable[[], None] = lambda: None
    ) -> dict[str, Seen]:
        """Perform vectors, `limit` seconds each, and return what was seen by id; raise `CannotRun`."""
        waiting: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        for vector in vectors:
            waiting.put(vector)
        found: dict[str, Seen] = {}

        def work(server: _Server) -> None:
            with suppress(queue.Empty):
                while True:
                    vector = waiting.get_nowait()
                    found[vector["id"]] = _seen(self._setup, server, vector, limit)
                    advance()

        with ThreadPoolExecutor(len(self._servers)) as pool:
            try:
                for done in [pool.submit(work, server) for server in self._servers]:
                    done.result()
            except BaseException:
                # Whoever asked has had enough, or nothing can be run: those at work end with what they have in hand.
                with suppress(queue.Empty):
                    while True:
                        waiting.get_nowait()
                raise
        return found


def _seen(setup: Setup, server: _Server, vector: Mapping[str, Any], limit: int) -> Seen:
    run = {"seq": 1, "cmd": "run", "undefined": True, "vector": sent(vector)}
    code, out, errors, log = server.perform([run, {"seq": 2, "cmd": "stop"}], limit)
    reports = read_reports(setup.tool, errors if setup.tool == "asan" else log)
    memory = [report for report in reports if not report.leak]
    leaks = len(reports) - len(memory)
    if memory:
        return Seen("reported", memory[0].word, memory[0].step, leaks)
    step = running_step(errors)
    if code == -signal.SIGALRM:
        return Seen("timed-out", f"{limit} seconds", step, leaks)
    if code != 0:
        return Seen("died", _end_of(code), step, leaks)
    try:
        answer = ran(parse_line(out.split(b"\n")[0]))
    except Misbehaviour as wrong:
        return Seen("refused", clean(str(wrong), 200), step, leaks)
    if isinstance(answer, Refused | Unsupported):
        said = answer.text if isinstance(answer, Refused) else answer.what
        return Seen("refused", clean(said, 200), step, leaks)
    return Seen("silent", leaks=leaks)


def _end_of(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MOST)
    except OSError:
        return b""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
