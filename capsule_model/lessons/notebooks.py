"""Notebooks as files: their cells, and running them in this process with the standard library alone."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from capsule_model.lessons.exercise import answers
from capsule_model.lessons.verdict import Verdict
from capsule_model.locate import specs

__all__ = ["NEEDS", "Cell", "Shown", "answered", "code_cells", "committed_text", "notebook_files", "run_cells"]

# The tags of cells that cannot do everywhere what they do.
NEEDS = frozenset({"needs-process", "needs-extra"})
_CHECK = re.compile(r'^check\("([a-z-]+)", ', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell with code: where it stands among all cells, its text, its tags, the outputs that are committed with it."""

    number: int
    source: str
    tags: frozenset[str]
    outputs: tuple[Mapping[str, Any], ...]

    @property
    def exercise(self) -> str | None:
        """Return the exercise that the cell checks, None where it is none."""
        found = _CHECK.search(self.source)
        return found[1] if found else None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a cell printed and displayed, pictures as their SVG, and the verdict if it ended with one."""

    cell: Cell
    text: str
    verdict: Verdict | None


def notebook_files(names: tuple[str, ...] = ()) -> list[Path]:
    """Return the notebooks in their order, or those whose names begin with one of ``names``.

    Raises ``ValueError`` with one line for a name of none.
    """
    found = sorted((specs() / "notebooks").glob("[0-9][0-9]-*.ipynb"))
    known = ", ".join(file.stem for file in found)
    for name in names:
        if not any(file.stem.startswith(name) for file in found):
            raise ValueError(f"no notebook {name!r}: expected the beginning of one of {known}")
    return [file for file in found if not names or file.stem.startswith(names)]


def code_cells(file: Path) -> list[Cell]:
    """Return the cells of a notebook that hold code."""
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [
        Cell(
            number,
            "".join(cell["source"]),
            frozenset(cell["metadata"].get("tags", ())),
            tuple(cell["outputs"]),
        )
        for number, cell in enumerate(cells, 1)
        if cell["cell_type"] == "code"
    ]


def answered(cell: Cell, text: str | None = None) -> str:
    """Return a cell's source with an answer above its check: ``text``, or else the one that is kept."""
    name = cell.exercise
    if name is None:
        return cell.source
    start = _CHECK.search(cell.source)
    assert start is not None
    given = answers()[name]["answer"] if text is None else text
    return f"{given.strip()}\n\n\n{cell.source[start.start() :]}"


def committed_text(cell: Cell) -> str:
    """Return what a cell's committed outputs say, pictures as their SVG."""
    return "".join(
        "".join(output["text"]) if output["output_type"] == "stream" else _displayed(output) for output in cell.outputs
    )


def run_cells(file: Path, sources: Mapping[int, str] | None = None) -> Iterator[Shown]:
    """Run a notebook's cells in a fresh namespace, one after the other; ``sources`` replace those of some numbers.

    Whatever a cell raises comes out. No Jupyter is needed: what is displayed is written, pictures as their SVG.
    """
    module = ModuleType("__main__")
    module.__dict__["display"] = _display
    with _as_main(module):
        for cell in code_cells(file):
            source = cell.source if sources is None else sources.get(cell.number, cell.source)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                last = _execute(source, f"{file.name}, cell {cell.number}", module.__dict__)
            yield Shown(cell, printed.getvalue(), last if isinstance(last, Verdict) else None)


@contextlib.contextmanager
def _as_main(module: ModuleType) -> Iterator[None]:
    """Have a module stand for the program, as a kernel's does."""
    before = sys.modules.get("__main__")
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        if before is not None:
            sys.modules["__main__"] = before


def _execute(source: str, where: str, namespace: dict[str, Any]) -> Any:
    """Execute a cell and display the value of its last expression."""
    tree = ast.parse(source, where)
    ends = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), namespace)
    if ends is None:
        return None
    assert isinstance(ends, ast.Expr)
    value = eval(compile(ast.Expression(ends.value), where, "eval"), namespace)
    if value is not None:
        _display(value)
    return value


def _display(*values: Any) -> None:
    for value in values:
        draw = getattr(value, "_repr_svg_", None)
        print(repr(value) if draw is None else draw())


def _displayed(output: Mapping[str, Any]) -> str:
    """Return an output as ``_display`` writes it: the picture where there is one."""
    data = output["data"]
    return "".join(data.get("image/svg+xml", data["text/plain"])) + "\n"
