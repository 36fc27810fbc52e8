"""Read what a checker reports, and at which step of a vector it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Report", "Tool", "read_reports", "running_step"]

Tool = Literal["asan", "valgrind"]

# What the adapter writes to standard error before a step and behind it.
_MARK = re.compile(r"capsule_adapter: (step|end) (\S+)")
_ADDRESS_SANITIZER = re.compile(r"ERROR: AddressSanitizer: (.*)")
_SUMMARY = re.compile(r"SUMMARY: AddressSanitizer: ([A-Za-z][\w-]*)")
_LEAK_SANITIZER = "ERROR: LeakSanitizer"
_LEAKED = re.compile(r"^(?:Direct|Indirect) leak of ", re.MULTILINE)
_PREFIX = re.compile(r"^(?:==\d+==|\*\*\d+\*\*) ?", re.MULTILINE)
_LOST = re.compile(r"are definitely lost in loss record")
# The first words of Valgrind's reports, and one word for each.
_VALGRIND = {
    "Invalid read": "invalid-read",
    "Invalid write": "invalid-write",
    "Invalid free": "invalid-free",
    "Mismatched free": "mismatched-free",
    "Conditional jump": "uninitialised-value",
    "Use of uninitialised value": "uninitialised-value",
    "Syscall param": "syscall-parameter",
    "Jump to the invalid address": "invalid-jump",
    "Source and destination overlap": "overlap",
    "Process terminating": "fatal-signal",
    "Argument": "fishy-argument",
    "Stack overflow": "stack-overflow",
}
# A leak counts where what leaked was allocated by a step: the interpreter has leaks of its own.
_BY_A_STEP = "capsule_adapter"


@dataclass(frozen=True, slots=True)
class Report:
    """One report: the checker's word for it, the step that was running, and whether it is about lost memory."""

    word: str
    step: str | None = None
    leak: bool = False


def read_reports(tool: Tool, text: str) -> list[Report]:
    """Return the reports in what a checker wrote while one vector ran; a leak counts if a step allocated it."""
    return _address_sanitizer(text) if tool == "asan" else _valgrind(text)


def running_step(text: str) -> str | None:
    """Return the innermost step that was running where a text of adapter and checker ends, None if none was."""
    running: list[str] = []
    for what, path in _MARK.findall(text):
        if what == "step":
            running.append(path)
        elif path in running:
            # A step that never came to its end took those inside it along.
            del running[running.index(path) :]
    return running[-1] if running else None


def _address_sanitizer(text: str) -> list[Report]:
    text, _, leaks = text.partition(_LEAK_SANITIZER)
    found = _ADDRESS_SANITIZER.search(text)
    reports = []
    if found is not None:
        summary = _SUMMARY.search(text)
        word = summary[1] if summary else found[1].partition(" on ")[0].strip()[:60]
        reports.append(Report(word, running_step(text[: found.start()])))
    parts = _LEAKED.split(leaks)[1:]
    return reports + [Report("leak", leak=True) for part in parts if _BY_A_STEP in part]


def _valgrind(text: str) -> list[Report]:
    reports = []
    before = ""
    for block in _blocks(_PREFIX.sub("", text).splitlines()):
        first = block[0].strip()
        before += first + "\n"
        word = next((word for begins, word in _VALGRIND.items() if first.startswith(begins)), None)
        if word is not None:
            reports.append(Report(word, running_step(before)))
        elif _LOST.search(first) and any(_BY_A_STEP in line for line in block):
            reports.append(Report("leak", leak=True))
    return reports


def _blocks(lines: Sequence[str]) -> list[list[str]]:
    """Return groups of lines: a report begins at the margin, and what belongs to it is indented."""
    blocks: list[list[str]] = []
    for line in lines:
        if line.strip() and not line.startswith("  "):
            blocks.append([line])
        elif line.strip() and blocks:
            blocks[-1].append(line)
    return blocks
