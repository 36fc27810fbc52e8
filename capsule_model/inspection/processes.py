"""Processes in which capsules are looked at: an import that crashes, hangs or prints harms nobody else."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Dead", "Python", "Unfit", "converse"]

INSIDE = Path(__file__).with_name("inside.py")
# The file's own folder is nowhere to import from.
BOOT = "import runpy, sys; del sys.path[0]; runpy.run_path(sys.argv[1], run_name='__main__')"
MOST_LINE = 1 << 26
# No accelerators, few threads, no window, and no files left behind.
QUIET = {
    "CUDA_VISIBLE_DEVICES": "",
    "DISPLAY": "",
    "JAX_PLATFORMS": "cpu",
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONWARNINGS": "ignore",
    "QT_QPA_PLATFORM": "offscreen",
    "WAYLAND_DISPLAY": "",
}


class Unfit(ValueError):
    """Say in one line that a Python cannot be inspected, and what would be right."""


class Dead(Exception):
    """Say how a process ended before it had told everything."""


@dataclass(frozen=True, slots=True)
class Python:
    """One interpreter: the program, and whether modules in the current folder can be imported as well."""

    program: str
    here: bool = False

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes."""
        paths = [os.environ.get("PYTHONPATH", ""), os.getcwd() if self.here else ""]
        return {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def converse(python: Python, request: Mapping[str, Any], limit: float) -> Iterator[dict[str, Any]]:
    """Put a request to a fresh process and yield what it tells: first who it is, then its answers.

    ``limit`` is how many seconds may go by between two answers. Raises ``Unfit`` where the program does not run
    or has no capsules that can be looked at, and ``Dead`` where it ends too early or is too late.
    """
    with _process(python) as process:
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(process, lines), daemon=True).start()
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.close()
        try:
            hello = _heard(process, lines, limit)
        except Dead as dead:
            raise Unfit(f"{python.program}: {dead}; expected CPython 3.9 or newer") from None
        if hello is None:
            raise Unfit(f"{python.program}: does not answer as a Python does; expected CPython 3.9 or newer")
        if not hello.get("capsules"):
            raise Unfit(
                f"{python.program}: {_text(hello, 'implementation')} {_text(hello, 'python')} has no C API that ctypes "
                "reaches (ctypes.pythonapi); expected CPython 3.9 or newer"
            )
        yield hello
        while (heard := _heard(process, lines, limit)) is not None:
            yield heard


def _text(message: Mapping[str, Any], key: str) -> str:
    return str(message.get(key, "?"))[:40]


@contextmanager
def _process(python: Python) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in an empty folder, and end it with all that it started."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            process = subprocess.Popen(
                [python.program, "-c", BOOT, str(INSIDE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=python.environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise Unfit(f"{python.program}: {error.strerror or error}; expected the path of a Python") from None
        try:
            yield process
        finally:
            with suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
            process.wait()


def _read(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Hand over the lines of a process as they come, and an empty one at the end."""
    assert process.stdout is not None
    with process.stdout as stream:
        while line := stream.readline(MOST_LINE):
            lines.put(line)
    lines.put(b"")


def _heard(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes], limit: float) -> dict[str, Any] | None:
    """Return the next answer, None at the end of all; ``Dead`` where there is none in time, or it is none."""
    try:
        line = lines.get(timeout=limit)
    except queue.Empty:
        raise Dead(f"took longer than {limit:g} s") from None
    if line == b"":
        _ended(process)
        return None
    try:
        heard = json.loads(line)
    except (ValueError, RecursionError):
        heard = None
    if not isinstance(heard, dict):
        raise Dead("answers with what is no answer")
    return heard


def _ended(process: subprocess.Popen[bytes]) -> None:
    """Raise ``Dead`` unless a process ended well."""
    code = process.wait()
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        raise Dead(f"the process dies of {name}")
    if code > 0:
        raise Dead(f"the process ends with exit code {code}")
