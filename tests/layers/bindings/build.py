"""Compile the two modules against the headers of pybind11 and nanobind."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["Missing", "build"]

PLACES = {
    "pybind11": "import pybind11\nprint(pybind11.__version__, pybind11.get_include(), '', sep='\\n')",
    "nanobind": "import nanobind as nb\nprint(nb.__version__, nb.include_dir(), nb.source_dir(), sep='\\n')",
}
SYSCONFIG = (
    "\nimport sysconfig\nprint(sysconfig.get_path('include'), sysconfig.get_config_var('EXT_SUFFIX'), sep='\\n')"
)
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-strict-aliasing", "-DNDEBUG", "-w")


class Missing(RuntimeError):
    """Say in one line what is not there to compile with."""


def build(folder: Path, library: str, python: str) -> str:
    """Compile the module of a library for a Python that has it, into ``folder``, and return the library's version.

    ``Missing`` where there is no compiler, no such library or no header of Python.
    """
    wanted = os.environ.get("CXX", "g++")
    compiler = shutil.which(wanted)
    if compiler is None:
        raise Missing(f"{wanted}: no such compiler; expected one of C++17")
    asked = subprocess.run([python, "-c", PLACES[library] + SYSCONFIG], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise Missing(f"{library}: not installed; expected it beside the Python that runs the tests")
    version, include, source, headers, suffix = asked.stdout.splitlines()
    if not (Path(headers) / "Python.h").is_file():
        raise Missing("no Python.h; expected the headers of the Python that runs the tests")
    command = [
        compiler,
        *FLAGS,
        f"-I{include}",
        f"-I{headers}",
        str(Path(__file__).with_name(f"{library}_capsules.cpp")),
    ]
    if source:
        command += [str(Path(source) / "nb_combined.cpp"), f"-I{Path(source).parent / 'ext' / 'robin_map' / 'include'}"]
    done = subprocess.run(
        [*command, "-o", str(folder / f"{library}_capsules{suffix}")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return version
