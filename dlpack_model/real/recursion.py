"""Show on the running interpreter what the specification's example destructor does under a foreign name.

``PyErr_WriteUnraisable`` takes a reference to the dying capsule and gives it back, which deallocates the capsule again:
the destructor runs inside itself until the stack ends. The example is compiled as it was published, because a ctypes
callback cannot leave an exception pending from one call to the next; it runs in a process of its own, which dies.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capsule_model.whole import write_whole

__all__ = ["RESULT", "NoCompiler", "main", "measure"]

RESULT = "dlpack-recursion.json"
STOPPED = 42
SECONDS = 60

SOURCE = r"""
#include <stdint.h>
#include <unistd.h>

extern int PyCapsule_IsValid(void *, const char *);
extern void *PyCapsule_GetPointer(void *, const char *);
extern void *PyCapsule_New(void *, const char *, void (*)(void *));
extern void PyErr_WriteUnraisable(void *);
extern void Py_DecRef(void *);

static volatile uint64_t *depth;
static uint64_t limit;

static void destroy(void *self) {
    *depth += 1;
    if (*depth == limit) {
        _exit(42);
    }
    if (PyCapsule_IsValid(self, "used_dltensor")) {
        return;
    }
    void *managed = PyCapsule_GetPointer(self, "dltensor");
    if (managed == 0) {
        PyErr_WriteUnraisable(self);
        return;
    }
}

void drop_foreign_capsule(uint64_t *counter, uint64_t most) {
    depth = counter;
    limit = most;
    Py_DecRef(PyCapsule_New(counter, "foreign", destroy));
}
"""


class NoCompiler(Exception):
    """Report that the example cannot be compiled here."""


def _compile(folder: Path) -> Path:
    """Compile the example and return the shared object."""
    source, target = folder / "recursion.c", folder / "recursion.so"
    source.write_text(SOURCE)
    flags = ["-shared", "-fPIC", "-O0"]
    if sys.platform == "darwin":
        flags += ["-undefined", "dynamic_lookup"]
    found = [one for one in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc") if one]
    for compiler in map(shlex.split, found):
        if compiler and shutil.which(compiler[0]):
            command = [*compiler, *flags, str(source), "-o", str(target)]
            if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return target
    raise NoCompiler("no C compiler was found that compiles the example: expected one as CC or cc")


def measure(limit: int = 0) -> dict[str, Any]:
    """Run the example in a process of its own and return how deep it went, and how the process ended.

    With a ``limit`` the process is ended deliberately when that depth is reached; 0 lets it go on. ``NoCompiler``
    where the example cannot be compiled.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library, counter = _compile(folder), folder / "counter"
        counter.write_bytes(bytes(8))
        child = [
            sys.executable,
            "-c",
            "import sys; from dlpack_model.real.recursion import _child; _child(*sys.argv[1:])",
        ]
        package = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        ended = subprocess.run(
            [*child, str(library), str(counter), str(limit)],
            env={**os.environ, "PYTHONPATH": paths},
            stderr=subprocess.PIPE,
            timeout=SECONDS,
        )
        depth = int.from_bytes(counter.read_bytes(), sys.byteorder)
    return {
        "format": 1,
        "implementation": platform.python_implementation(),
        "python": platform.python_version(),
        "stack_kib": _stack_kib(),
        "depth": depth,
        "signal": signal.Signals(-ended.returncode).name if ended.returncode < 0 else None,
        "stopped": ended.returncode == STOPPED,
    }


def _stack_kib() -> int | None:
    """Return how large the stack may grow, None where there is no limit or nobody says."""
    try:
        import resource
    except ImportError:
        return None
    soft = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return None if soft == resource.RLIM_INFINITY else soft // 1024


def _child(library: str, counter: str, limit: str) -> None:
    """Drop a capsule of a foreign name; this process is expected to die."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.unraisablehook = lambda args: None
    with open(counter, "r+b") as file:
        shared = mmap.mmap(file.fileno(), 8)
    address = ctypes.addressof(ctypes.c_uint64.from_buffer(shared))
    drop = ctypes.PyDLL(library).drop_foreign_capsule
    drop.argtypes, drop.restype = [ctypes.c_void_p, ctypes.c_uint64], None
    drop(address, int(limit))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print how deep the example destructor recurses; return 0, 1 where it does not, 2 where it cannot be tried."""
    parser = argparse.ArgumentParser(prog="dlpack-model recursion", description=main.__doc__)
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="end the process at this depth (default: go on)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to this file")
    options = parser.parse_args(arguments)
    if options.limit < 0:
        parser.error(f"argument --limit: {options.limit} is not a number from 0 on")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        parser.error(f"argument --json: {options.json}: expected a file in a folder that exists")
    try:
        seen = measure(options.limit)
    except NoCompiler as reason:
        print(f"recursion: {reason}", file=sys.stderr)
        return 2
    how = f"ended by {seen['signal']}" if seen["signal"] else "stopped at the limit" if seen["stopped"] else "returned"
    print(f"{seen['implementation']} {seen['python']}: the destructor ran {seen['depth']} deep, {how}")
    if options.json is not None:
        write_whole(json.dumps(seen, indent=1) + "\n", options.json)
    return 0 if seen["depth"] > 1 else 1


if __name__ == "__main__":
    sys.exit(main())
