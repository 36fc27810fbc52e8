"""Compile the module against nanobind's own sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["Missing", "build"]

PLACES = (
    "import nanobind, sysconfig\n"
    "paths = nanobind.include_dir(), nanobind.source_dir(), sysconfig.get_path('include')\n"
    "print(*paths, sysconfig.get_config_var('EXT_SUFFIX'), sep='\\n')"
)
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-strict-aliasing", "-DNDEBUG")


class Missing(RuntimeError):
    """Say in one line what is not there to compile with."""


def build(folder: Path, python: str = sys.executable) -> Path:
    """Compile the module for a Python that has nanobind, into ``folder``, and return its file.

    ``Missing`` where there is no compiler, no nanobind or no header of Python, ``RuntimeError`` with one line where it
    cannot be compiled.
    """
    wanted = os.environ.get("CXX", "g++")
    compiler = shutil.which(wanted)
    if compiler is None:
        raise Missing(f"{wanted}: no such compiler; expected one of C++17")
    include, source, headers, suffix = _told([python, "-c", PLACES], Missing).splitlines()
    if not (Path(headers) / "Python.h").is_file():
        raise Missing(f"{headers}: no Python.h; expected the headers of {python}")
    hashes = Path(source).parent / "ext" / "robin_map" / "include"
    file = folder / f"nanobind_arrays{suffix}"
    sources = [Path(__file__).with_name("arrays.cpp"), Path(source) / "nb_combined.cpp"]
    folders = [f"-I{path}" for path in (include, hashes, headers)]
    _told([compiler, *FLAGS, *folders, *map(str, sources), "-o", str(file)], RuntimeError)
    return file


def _told(command: list[str], failure: type[RuntimeError]) -> str:
    """Run a command and return what it printed; raise ``failure`` with the line that says why it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise failure(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no word why it ends"]
        said = next((line for line in lines if "error:" in line.lower()), lines[-1])
        raise failure(f"{command[0]}: {said[:300]}")
    return done.stdout
