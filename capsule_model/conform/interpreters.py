"""A folder of interpreters: find them, see what they can do, and make the adapters that they need.

`bin/NAME` behaves like `python`. `bin/NAME-cc MODULE SOURCE FOLDER [FLAG...]`, which may be missing, compiles one C
file for it and prints the name of the extension module that it made.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from capsule_model.conform.adapter import end_group
from capsule_model.locate import specs
from capsule_model.trace.wording import clean

__all__ = [
    "CannotRun",
    "Interpreter",
    "Kind",
    "Probe",
    "adapter_command",
    "choose",
    "compiled",
    "find",
    "output_of",
    "probe",
]

Kind = Literal["ctypes", "c"]

_CC = "-cc"
_COMPILE_SECONDS = 300.0
_PROBE = """
import json
try:
    import ctypes
    ctypes.pythonapi.PyCapsule_New
    reachable = True
except (ImportError, AttributeError):
    reachable = False
print(json.dumps({"pythonapi": reachable}))
"""
_C_MAIN = "import sys; sys.path.insert(0, sys.argv[1]); import capsule_adapter; capsule_adapter.main()"


class CannotRun(Exception):
    """An interpreter cannot be run, or an adapter cannot be made for it: one line that says why."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter by its name, with its compiler where it has one."""

    name: str
    program: Path
    compiler: Path | None


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found out about an interpreter: whether ctypes reaches its C API, and how many seconds it took."""

    pythonapi: bool
    seconds: float


def find(folder: Path) -> dict[str, Interpreter]:
    """Return the interpreters of `folder` by name; raise `ValueError` with one line where there are none."""
    binaries = folder / "bin"
    try:
        entries = sorted(binaries.iterdir())
    except OSError as error:
        raise ValueError(
            f"--interpreters {clean(str(folder), 300)}: {error.strerror or error}; expected a folder with bin/NAME"
        ) from None
    programs = {entry.name: entry.absolute() for entry in entries if entry.is_file() and os.access(entry, os.X_OK)}
    found = {
        name: Interpreter(name, program, programs.get(name + _CC))
        for name, program in programs.items()
        if not name.endswith(_CC)
    }
    if not found:
        raise ValueError(f"--interpreters {clean(str(folder), 300)}: no program in bin; expected bin/NAME")
    return found


def choose(names: Sequence[str], found: Mapping[str, Interpreter]) -> list[Interpreter]:
    """Return the interpreters of those names, each once, `all` for all; raise `ValueError` for an unknown name."""
    for name in names:
        if name != "all" and name not in found:
            raise ValueError(f"no interpreter {clean(name)}; expected all, or one of {clean(', '.join(found), 1000)}")
    return list(found.values()) if "all" in names else [found[name] for name in dict.fromkeys(names)]


def probe(interpreter: Interpreter, time_limit: float) -> Probe:
    """Start an interpreter and see how its C API can be reached; raise `CannotRun`."""
    begun = time.monotonic()
    output = output_of([str(interpreter.program), "-c", _PROBE], time_limit, "cannot be started")
    try:
        reachable = json.loads(_last_line(output))["pythonapi"]
    except (ValueError, TypeError, KeyError):
        said = clean(repr(_last_line(output)), 120)
        raise CannotRun(f"does not behave like python: -c printed {said}; expected what was to be printed") from None
    return Probe(bool(reachable), time.monotonic() - begun)


def adapter_command(interpreter: Interpreter, kind: Kind, folder: Path) -> list[str]:
    """Return the command of an adapter on `interpreter`, made in `folder`; raise `CannotRun`.

    The driver of the ctypes adapter is made by the compiler; without one, the adapter is left to look for one itself.
    """
    adapters = specs() / "adapters"
    if kind == "ctypes":
        command = [str(interpreter.program), str(adapters / "ctypes_adapter.py")]
        if interpreter.compiler is None:
            return command
        made = compiled(interpreter.compiler, "driver", adapters / "driver.c", folder, "-DWITH_PYTHON_H")
        return [*command, "--driver", str(made)]
    if interpreter.compiler is None:
        raise CannotRun(f"needs the C adapter, and there is no compiler for it; expected bin/{interpreter.name}{_CC}")
    made = compiled(interpreter.compiler, "capsule_adapter", adapters / "capsule_adapter.c", folder)
    return [str(interpreter.program), "-c", _C_MAIN, str(made.parent)]


def compiled(compiler: Path, module: str, source: Path, folder: Path, *flags: str) -> Path:
    """Compile a C file into an extension module and return its file; raise `CannotRun`."""
    output = output_of(
        [str(compiler), module, str(source), str(folder), *flags], _COMPILE_SECONDS, f"{source.name} does not compile"
    )
    made = Path(_last_line(output))
    if not made.is_file():
        raise CannotRun(f"{source.name} does not compile: {compiler.name} printed no name of a file that it made")
    return made


def output_of(command: Sequence[str], time_limit: float, what: str) -> str:
    """Return the standard output of a program that ends well; raise `CannotRun` with `what` and why."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=os.name == "posix"
        )
    except OSError as error:
        raise CannotRun(f"{what}: {error.strerror or error}") from None
    try:
        out, err = process.communicate(timeout=time_limit)
    except subprocess.TimeoutExpired:
        raise CannotRun(f"{what}: no end within {time_limit:g} seconds") from None
    finally:
        # What it started is ended with it, also where whoever asked has had enough.
        end_group(process)
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
    if process.returncode:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit code {process.returncode}"
        said = _complaint(err.decode("utf-8", "replace"))
        raise CannotRun(f"{what}: {how}" + (f": {said}" if said else ""))
    return out.decode("utf-8", "replace")


def _complaint(text: str) -> str:
    """Return the line of a compiler's or an interpreter's standard error that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    return clean((errors or lines[-1:] or [""])[0], 300)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
