"""Perform vectors under a checker, each in a fork of this process: run as a script by the interpreter that is checked.

It lies in a folder with the extension module `capsule_adapter`. Each line on standard input names a folder and a time
limit in seconds; a fork reads the requests in its file `in`, answers in `out`, and its standard error is `err`. A line
on standard output then tells how it ended. Python 3.9 and newer; no other file of this project is needed.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

# Importing the module itself costs more than all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

MOST_WRITTEN = 1 << 26


def main() -> None:
    """Answer requests until standard input ends."""
    import capsule_adapter  # type: ignore[import-not-found]

    find_leaks = leak_check()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            perform(capsule_adapter, find_leaks, request["folder"], request["limit"])
        _, status = os.waitpid(pid, 0)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        print(json.dumps({"code": code}), flush=True)


def leak_check() -> Any:
    """Return the function of the sanitizer that looks for leaks, None where there is none."""
    if "ASAN_OPTIONS" not in os.environ:
        return None
    try:
        import ctypes

        return ctypes.CDLL(None).__lsan_do_recoverable_leak_check
    except (ImportError, AttributeError):
        return None


def perform(adapter: Any, find_leaks: Any, folder: str, limit: int) -> NoReturn:
    """Let the adapter answer the requests of a folder, and end this process without the interpreter's own end."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_WRITTEN, MOST_WRITTEN))
    # Python ignores it, and whoever is told that a write failed would try again.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.alarm(limit)
    created = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, (name, flags) in enumerate((("in", os.O_RDONLY), ("out", created), ("err", created))):
        os.dup2(os.open(os.path.join(folder, name), flags, 0o600), number)
    adapter.main()
    if find_leaks is not None:
        find_leaks()
    os._exit(0)


if __name__ == "__main__":
    main()
