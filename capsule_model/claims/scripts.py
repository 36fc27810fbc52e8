"""Run functions of `specs/claims/*.py` on an interpreter, in processes whose death is a result."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsule_model.conform.adapter import end_group
from capsule_model.trace.wording import clean

__all__ = ["Shown", "run_scripts"]

_MAX_OUTPUT = 1 << 20


@dataclass(frozen=True, slots=True)
class Shown:
    """What a proof came to: whether the claim `holds` (None: it could not be looked at), and what was seen, or why not.

    What is `broken` should have run and did not.
    """

    holds: bool | None
    saw: str
    broken: bool = False


def run_scripts(python: str, folder: Path, names: Sequence[str], time_limit: float) -> dict[str, Shown]:
    """Run each function FILE.FUNCTION of `folder` on the interpreter `python`; return what each showed.

    One process runs them one after the other. Whatever ends it, or lasts longer than `time_limit` seconds, is broken,
    and another process goes on with the rest.
    """
    shown: dict[str, Shown] = {}
    left = list(dict.fromkeys(names))
    while left:
        before = len(left)
        end = _one_process(python, folder, left, time_limit, shown)
        left = [name for name in left if name not in shown]
        if left and (end is not None or len(left) == before):
            shown[left.pop(0)] = Shown(None, end or "said nothing", broken=True)
    return shown


def _one_process(
    python: str, folder: Path, names: Sequence[str], time_limit: float, shown: dict[str, Shown]
) -> str | None:
    """Run what is left in one process, put what it says into `shown`; return what ended it, None for a good end."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [python, str(folder / "prove.py"), *names],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            start_new_session=os.name == "posix",
        )
        end: str | None = None
        try:
            code = process.wait(time_limit)
            if code:
                end = f"died of signal {-code}" if code < 0 else f"ended with exit code {code}"
        except subprocess.TimeoutExpired:
            end = f"no end within {time_limit:g} seconds"
        finally:
            end_group(process)
            process.wait()
        output.seek(0)
        lines = output.read(_MAX_OUTPUT).decode("utf-8", "replace").splitlines()
    for line in lines:
        try:
            said: dict[str, Any] = json.loads(line)
            name, saw = said["name"], clean(str(said["saw"]), 500)
            if name in names:
                shown[name] = Shown(said["holds"], saw, bool(said.get("broken")))
        except (ValueError, KeyError, TypeError):
            continue
    return end
