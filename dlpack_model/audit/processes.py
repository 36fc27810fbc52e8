"""Processes for probes and scripts: none of them can take the audit with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlpack_model.audit.probe import Probe
from dlpack_model.audit.registry import Library
from dlpack_model.audit.zygote import death

__all__ = ["Ended", "Missing", "Zygote", "run_script"]

IMPORT_LIMIT = 120.0
MOST_TOLD = 2000


class Missing(ValueError):
    """Say in one line that a library cannot be imported, and why."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: what it told, or the signal or exit code it died of, or that it was too late."""

    told: tuple[str, ...] = ()
    died: str = ""
    late: bool = False
    noise: str = ""


def environment() -> dict[str, str]:
    """Return the environment of probes and scripts: no accelerators, few threads, nothing else of this project's."""
    quiet = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, **quiet, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}


class Zygote:
    """A process that has imported libraries, and forks for every probe; it is used in a ``with`` statement."""

    def __init__(self, libraries: Sequence[Library], python: str = sys.executable, at_once: int = 2) -> None:
        here = str(Path(__file__).parents[2])
        paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            self.process = subprocess.Popen(
                [python, "-m", "dlpack_model.audit.zygote"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment() | {"PYTHONPATH": paths},
            )
        except OSError as error:
            raise Missing(f"{python}: {error.strerror or error}; expected a Python that has the libraries") from None
        described = {library.name: [library.setup, library.version] for library in libraries}
        self._send({"libraries": described, "at_once": at_once})
        # An import that hangs ends as one that dies.
        timer = threading.Timer(IMPORT_LIMIT, self.process.kill)
        timer.start()
        heard = self._line()
        timer.cancel()
        if heard is None:
            self.close()
            raise Missing(f"{', '.join(described)}: the process ends while importing; expected a library that works")
        if not heard["counts"]:
            # The deleter of the probes is a reference count, at the place that it has there.
            self.close()
            raise Missing(f"{python}: no CPython with a GIL; expected one, to count calls of deleters by")
        self.python_version: str = heard["python"]
        self.versions: dict[str, str] = heard["versions"]

    def __enter__(self) -> Zygote:
        """Return the process itself."""
        return self

    def __exit__(self, *raised: object) -> None:
        """End the process."""
        self.close()

    def version(self, library: Library) -> str:
        """Return the version of a library; raise ``Missing`` where it could not be imported."""
        version = self.versions[library.name]
        if version.startswith("!"):
            raise Missing(f"{library.name}: {version[1:]}; expected a library that is installed")
        return version

    def run(self, asked: Sequence[tuple[Probe, Mapping[str, str]]], limit: float) -> Iterator[tuple[int, Ended]]:
        """Run probes, and yield place and end of each as they end, ``limit`` seconds for each."""
        # Questions go out while answers come in: neither end waits for the other with a full pipe.
        threading.Thread(target=self._ask, args=(asked, limit), daemon=True).start()
        for _ in asked:
            heard = self._line()
            if heard is None:
                raise Missing("the process of the libraries died; expected one that can be forked")
            told = tuple(heard.get("told", ()))
            yield heard["number"], Ended(told, heard.get("died", ""), heard.get("late", False), heard["noise"])

    def _ask(self, asked: Sequence[tuple[Probe, Mapping[str, str]]], limit: float) -> None:
        for number, (probe, arguments) in enumerate(asked):
            self._send({"number": number, "probe": probe.id, "arguments": dict(arguments), "limit": limit})

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            # What a dead process did not read is lost.
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _send(self, message: Mapping[str, object]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def _line(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        try:
            heard = json.loads(self.process.stdout.readline())
        except ValueError:
            return None
        return heard if isinstance(heard, dict) else None


def run_script(text: str, python: str, limit: float) -> Ended:
    """Run a script in a fresh process, in a folder of its own, and return how it ended; ``told`` is what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "finding.py"
        file.write_text(text, "utf-8")
        # A library may lie in the folder where the audit was started, as it may for the probes.
        paths = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            done = subprocess.run(
                [python, str(file)],
                cwd=folder,
                env=environment() | {"PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ended(late=True)
    printed, noise = (part.decode(errors="replace").strip() for part in (done.stdout, done.stderr))
    told = tuple(line[:MOST_TOLD] for line in printed.splitlines()[-1:])
    if done.returncode in (0, 1):
        return Ended(told, noise=noise[-MOST_TOLD:])
    return Ended(told, death(done.returncode), noise=noise[-MOST_TOLD:])
