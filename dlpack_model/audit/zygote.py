"""Run probes, each in a process of its own: ``python -m dlpack_model.audit.zygote``.

The libraries are imported once, here; each probe then runs in a fork of this process, so that it costs no import. The
first line on standard input describes the libraries, each further one a probe; a line on standard output answers each.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

from dlpack_model.audit import kit
from dlpack_model.audit.probe import PROBES
from dlpack_model.audit.script import MAKERS

__all__ = ["answer", "death", "main"]

# Characters of what a library wrote to standard error, or of what was seen of it, that are told.
MOST_NOISE = 2000


@dataclass(slots=True)
class _Child:
    """A probe that is running: its number, its end by the clock, and what it has written so far."""

    number: int
    pid: int
    deadline: float
    pipe: int
    noise: BinaryIO
    heard: bytes = b""
    late: bool = False


def answer(namespace: dict[str, Any], request: Mapping[str, Any]) -> list[str]:
    """Run a probe and return what it says; what goes wrong outside the question is ``unsupported``."""
    probe = PROBES[request["probe"]]
    arguments = {}
    try:
        for name, code in request["arguments"].items():
            # The library's own description, and literals that a case wrote: the user's code, or ours.
            made = eval(f"lambda: ({code})", namespace)
            arguments[name] = made if name in MAKERS else made()
        verdict, seen, *rest = (" ".join(str(part).split()) for part in (probe.look or probe.run)(**arguments))
        return [verdict, seen if verdict == "facts" else seen[:MOST_NOISE], *rest]
    except Exception as error:
        return ["unsupported", f"{type(error).__name__}: {error}".split("\n")[0][:300]]


def main() -> None:
    """Answer requests until standard input ends."""
    # What a library writes to standard output must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    start = json.loads(sys.stdin.readline())
    namespace: dict[str, Any] = dict(vars(kit))
    versions: dict[str, str] = {}
    warnings.simplefilter("ignore")
    import_module("dlpack_model.audit.probes")
    for name, (setup, version) in start["libraries"].items():
        try:
            exec(setup, namespace)
            versions[name] = str(eval(version, namespace))
        except Exception as error:
            versions[name] = f"!{type(error).__name__}: {error}".split("\n")[0][:300]
    python = sys.version.split()[0]
    counts = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
    print(json.dumps({"python": python, "counts": counts, "versions": versions}), file=answers, flush=True)
    gc.freeze()
    _serve(namespace, answers, start["at_once"])


def _serve(namespace: dict[str, Any], answers: Any, at_once: int) -> None:
    running: dict[int, _Child] = {}
    waiting: list[dict[str, Any]] = []
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    ended, rest = False, b""
    while not ended or waiting or running:
        while waiting and len(running) < at_once:
            child = _fork(namespace, waiting.pop(0))
            running[child.pipe] = child
            selector.register(child.pipe, selectors.EVENT_READ)
        pause = min((child.deadline for child in running.values()), default=time.monotonic() + 60) - time.monotonic()
        for key, _ in selector.select(max(pause, 0.01)):
            chunk = os.read(key.fd, 1 << 16)
            if key.fd == 0:
                ended = not chunk
                *lines, rest = (rest + chunk).split(b"\n")
                waiting += map(json.loads, lines)
                if ended:
                    selector.unregister(0)
            elif chunk:
                running[key.fd].heard += chunk
            else:
                selector.unregister(key.fd)
                print(json.dumps(_ended(running.pop(key.fd))), file=answers, flush=True)
        for child in [child for child in running.values() if time.monotonic() >= child.deadline]:
            # What it has forked itself may keep the pipe open.
            child.late = True
            os.kill(child.pid, signal.SIGKILL)
            selector.unregister(child.pipe)
            print(json.dumps(_ended(running.pop(child.pipe))), file=answers, flush=True)


def _fork(namespace: dict[str, Any], request: dict[str, Any]) -> _Child:
    """Start a probe in a process of its own."""
    read, write = os.pipe()
    noise = tempfile.TemporaryFile()  # noqa: SIM115
    pid = os.fork()
    if pid:
        os.close(write)
        return _Child(request["number"], pid, time.monotonic() + request["limit"], read, noise)
    # Standard input has the questions to the others.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(noise.fileno(), 2)
    os.dup2(noise.fileno(), 1)
    told = answer(namespace, request)
    os.write(write, json.dumps(told).encode())
    if PROBES[request["probe"]].ends:
        # The interpreter comes to its end here, as it would in a script.
        sys.exit(0)
    os._exit(0)


def death(code: int) -> str:
    """Return the name of the signal that an exit code below zero stands for, or the exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    names = {int(one): one.name for one in signal.Signals}
    return names.get(-code, f"signal {-code}")


def _ended(child: _Child) -> dict[str, Any]:
    """Return what a probe said, or how its process died."""
    os.close(child.pipe)
    _, status = os.waitpid(child.pid, 0)
    child.noise.seek(0)
    noise = child.noise.read().decode(errors="replace")[-MOST_NOISE:]
    child.noise.close()
    told: dict[str, Any] = {"number": child.number, "noise": noise}
    code = os.waitstatus_to_exitcode(status)
    if child.late:
        return told | {"late": True}
    if code != 0 or not child.heard:
        return told | {"died": death(code)}
    return told | {"told": json.loads(child.heard)}


if __name__ == "__main__":
    main()
