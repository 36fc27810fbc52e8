"""Run the full cross, and write its table: ``dlpack-model cross --output specs/results``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from capsule_model.whole import write_whole
from dlpack_model.cross_page import document, json_text, page, verdict
from dlpack_model.cross_run import Combination, Outcome, run_all
from dlpack_model.real.recursion import RESULT

__all__ = ["PAGE", "TABLE", "files", "main"]

PAGE = "dlpack-cross.md"
TABLE = "dlpack-cross.json"


def files(results: Mapping[Combination, Outcome], folder: Path) -> dict[str, str]:
    """Return the files that stand for the results, by name; a measured recursion is looked up in the folder."""
    measured = folder / RESULT
    recursion = json.loads(measured.read_text(encoding="utf-8")) if measured.is_file() else None
    return {PAGE: page(results, recursion), TABLE: json_text(document(results))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every combination and print how many were safe; return 0, or 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="dlpack-model cross", description=main.__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help=f"write {PAGE} and {TABLE} into this folder")
    options = parser.parse_args(arguments)
    if options.output is not None and not options.output.is_dir():
        print(f"cross: --output {options.output}: expected a folder that exists", file=sys.stderr)
        return 2
    begun = time.monotonic()
    results = run_all()
    marks = Counter(verdict(outcome)[0] for outcome in results.values())
    told = ", ".join(f"{mark} {marks[mark]}" for mark in "✓○△✗")
    print(f"{len(results)} combinations in {time.monotonic() - begun:.1f} s: {told}")
    if options.output is not None:
        for name, text in files(results, options.output).items():
            write_whole(text, options.output / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
