"""``python -m capsule_model.lessons``: run the notebooks, and hold their outputs against those that are committed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from capsule_model.lessons.notebooks import NEEDS, answered, code_cells, committed_text, notebook_files, run_cells
from capsule_model.trace.wording import clean

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks; return 0, 1 where an output differs or a cell fails, 2 for bad usage or a missing extra."""
    parser = argparse.ArgumentParser(
        prog="capsule_model.lessons",
        description="Run the notebooks from a clean kernel, and compare their outputs with those that are committed.",
    )
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="how the file's name begins, such as 02 (default: all)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--write", action="store_true", help="write the outputs into the files instead")
    how.add_argument(
        "--script",
        action="store_true",
        help="run the cells in this process without Jupyter, once as they are and once with the answers",
    )
    options = parser.parse_args(arguments)
    try:
        files = notebook_files(tuple(options.names))
    except ValueError as error:
        parser.error(str(error))
    try:
        run = _as_scripts if options.script else _written if options.write else _compared
        faults = [line for file in files for line in _told(file, run(file))]
    except ModuleNotFoundError as error:
        if error.name not in ("nbclient", "nbformat"):
            raise
        print(
            f"capsule_model.lessons: {error.name} is missing; pip install 'capsule-model[notebooks]'", file=sys.stderr
        )
        return 2
    return 1 if faults else 0


def _told(file: Path, lines: Iterator[str]) -> list[str]:
    """Print what is wrong with a notebook, or that nothing is."""
    faults = list(lines)
    for line in faults or [f"{file.name}: fine"]:
        print(line, flush=True)
    return faults


def _compared(file: Path) -> Iterator[str]:
    from capsule_model.lessons.execute import differences, executed

    try:
        yield from differences(file, executed(file))
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "nbclient":
            raise
        yield f"{file.name}: {clean(str(error).strip().splitlines()[-1], 300)}"


def _written(file: Path) -> Iterator[str]:
    from capsule_model.lessons.execute import executed, write

    write(file, executed(file))
    yield from ()


def _as_scripts(file: Path) -> Iterator[str]:
    """Run the cells here, as they are and with the answers; return what is not as it should be."""
    try:
        for shown in run_cells(file):
            if not shown.cell.tags & NEEDS and shown.text != committed_text(shown.cell):
                yield f"{file.name}: cell {shown.cell.number}: it says something else than what is committed"
        sources = {cell.number: answered(cell) for cell in code_cells(file)}
        for shown in run_cells(file, sources):
            if shown.cell.exercise is not None and (shown.verdict is None or not shown.verdict.accepted):
                yield f"{file.name}: {shown.cell.exercise}: the answer is refused: {shown.verdict!r}"
    except Exception as error:
        yield f"{file.name}: {clean(f'{type(error).__name__}: {error}', 300)}"


if __name__ == "__main__":
    sys.exit(main())
