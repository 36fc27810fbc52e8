"""The journal of a shard: a line for each case that is done, so that what ends the process loses only the next."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # a machine without locks of files
    fcntl = None  # type: ignore[assignment]

__all__ = ["Busy", "Case", "Journal", "journal", "read_cases", "take_case_in_hand"]

Case = dict[str, Any]
BEGUN = b"+\n"
# Tenths of a second.
PATIENCE = 300


class Busy(Exception):
    """Another process is writing the journal."""


class Journal:
    """The cases of a shard that are done, and the file that more of them are added to."""

    def __init__(self, handle: int, cases: list[Case]) -> None:
        self.cases = cases
        self._handle = handle

    def begin(self) -> None:
        """Note that the next case has begun, so that who finds its process dead knows what it was doing."""
        self._write(BEGUN)

    def add(self, case: Case) -> None:
        """Add a case that is done; it is in the hands of the operating system when this returns."""
        self.cases.append(case)
        self._write(json.dumps(case, separators=(",", ":")).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._handle, line) :]


@contextmanager
def journal(file: Path) -> Iterator[Journal]:
    """Open the journal in ``file``, which need not be there; raise ``Busy`` where another process keeps it for long.

    What a process left of a line that it could not finish is cut off.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        _lock(handle, file)
        cases, length, _ = _read(file)
        os.truncate(handle, length)
        yield Journal(handle, cases)
    finally:
        os.close(handle)


def _lock(handle: int, file: Path) -> None:
    """Wait for the journal; a process whose campaign was killed lets go of it after the case in hand."""
    if fcntl is None:
        return
    for _ in range(PATIENCE):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise Busy(f"{file}: another process writes to it; expected one campaign in a folder")


def read_cases(file: Path) -> list[Case]:
    """Return the cases that a journal holds, none where there is no such file; a broken end is left out."""
    try:
        return _read(file)[0]
    except FileNotFoundError:
        return []


def take_case_in_hand(file: Path) -> int | None:
    """Return the number of the case that was begun and is not done, None where there is none.

    The mark is taken off, so that a process that dies before it begins the case again is not counted against it.
    """
    try:
        cases, length, begun = _read(file)
    except FileNotFoundError:
        return None
    if not begun:
        return None
    os.truncate(file, length)
    return len(cases)


def _read(file: Path) -> tuple[list[Case], int, bool]:
    """Return the cases of a journal, how many bytes they take, and whether another one was begun.

    What follows the first bad line is no good.
    """
    cases: list[Case] = []
    length, begun = 0, False
    for line in file.read_bytes().splitlines(keepends=True):
        if line == BEGUN:
            begun = True
            continue
        try:
            case = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            break
        if not isinstance(case, dict) or not isinstance(case.get("steps"), int):
            break
        cases.append(case)
        length += len(line) + begun * len(BEGUN)
        begun = False
    return cases, length, begun
