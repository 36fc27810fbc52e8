"""What ``dlpack-model hold`` prints and writes: how many scenarios agree, where they do not, which rules are broken."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from capsule_model.whole import write_whole
from dlpack_model.libraries import LIBRARIES
from dlpack_model.real.compare import Compared, Missing, Probe, hold

__all__ = ["Held", "hold_all", "hold_command"]


@dataclass(slots=True)
class Held:
    """One library, held against the model: each scenario was run twice, watched and not."""

    library: str
    version: str
    compared: list[Compared] = field(default_factory=list)

    @property
    def scenarios(self) -> list[str]:
        """Return the ids of the scenarios."""
        return list(dict.fromkeys(one.scenario.id for one in self.compared))

    @property
    def differing(self) -> list[Compared]:
        """Return the runs in which the library does not do what the model says."""
        return [one for one in self.compared if one.differences]

    @property
    def findings(self) -> dict[str, list[str]]:
        """Return the rules that the library breaks, each with the scenarios that show it."""
        found: dict[str, dict[str, None]] = {}
        for one in self.compared:
            for rule in one.broken:
                found.setdefault(rule, {})[one.scenario.id] = None
        return {rule: list(ids) for rule, ids in found.items()}

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON can write it."""
        differing = {one.scenario.id for one in self.differing}
        return {
            "library": self.library,
            "version": self.version,
            "scenarios": len(self.scenarios),
            "agree": len(self.scenarios) - len(differing),
            "findings": self.findings,
            "differences": [
                {"scenario": one.scenario.id, "watched": one.watched, "differences": list(one.differences)}
                for one in self.differing
            ],
        }


def hold_all(module: str, python: str = sys.executable) -> Held:
    """Run all scenarios on the library that a Python has; raise ``Missing`` or ``ValueError`` where that cannot be."""
    with Probe(module, python) as probe:
        held = Held(module, probe.version)
        held.compared.extend(hold(probe))
    return held


def hold_command(modules: Sequence[str], json_file: Path | None, python: str, console: Console) -> int:
    """Run the command and return its exit code; raise ``ValueError`` with one line for bad usage."""
    known = dict.fromkeys(library.module for library in LIBRARIES.values())
    for module in modules:
        if module not in known:
            raise ValueError(f"no library {module[:40]!r}: expected one of {', '.join(known)}")
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise ValueError(f"--json {json_file}: no such folder; expected a file in one that exists")
    try:
        results = [hold_all(module, python) for module in dict.fromkeys(modules)]
    except Missing as missing:
        raise ValueError(str(missing)) from None
    if json_file is not None:
        write_whole(json.dumps([held.as_json() for held in results], indent=1) + "\n", json_file)
    _print(results, console)
    return 1 if any(held.differing for held in results) else 0


def _print(results: Sequence[Held], console: Console) -> None:
    table = Table("library", "version", "scenarios", "agree", "findings")
    for held in results:
        told = held.as_json()
        figures = (told["scenarios"], told["agree"], len(told["findings"]))
        table.add_row(held.library, held.version, *map(str, figures))
    console.print(table)
    for held in results:
        for rule, ids in held.findings.items():
            more = f" and {len(ids) - 4} more" if len(ids) > 4 else ""
            console.print(f"finding: {held.library} breaks {rule}: {', '.join(ids[:4])}{more}", markup=False)
        for one in held.differing:
            watched = " (watched)" if one.watched else ""
            console.print(f"differs: {held.library} {one.scenario.id}{watched}: {one.scenario.title}", markup=False)
            for line in one.differences:
                console.print(f"  {line}", markup=False)
