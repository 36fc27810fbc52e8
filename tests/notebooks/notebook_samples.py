"""What tests of notebooks share: the notebooks, and their exercises with wrong answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from capsule_model.lessons.exercise import answers
from capsule_model.lessons.notebooks import Cell, code_cells, notebook_files

FILES = notebook_files()
NAMES = [file.stem for file in FILES]


def exercises_of(file: Path) -> list[Cell]:
    """Return the cells of a notebook that check an exercise."""
    return [cell for cell in code_cells(file) if cell.exercise is not None]


def rounds(file: Path) -> Iterator[dict[int, tuple[str, str]]]:
    """Return wrong answers to many exercises of a notebook at once: (text, what is said of it) by the cell's number."""
    wrong = {cell.number: answers()[cell.exercise or ""]["wrong"] for cell in exercises_of(file)}
    for place in range(max((len(some) for some in wrong.values()), default=0)):
        yield {
            number: (some[place]["answer"], some[place]["says"]) for number, some in wrong.items() if place < len(some)
        }
