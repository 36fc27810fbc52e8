"""The notebooks: run from a clean kernel, without Jupyter, and with right and wrong answers."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from notebook_samples import FILES, NAMES, exercises_of, rounds

from capsule_model.lessons import __main__ as command
from capsule_model.lessons.exercise import answers, exercises
from capsule_model.lessons.notebooks import NEEDS, answered, code_cells, run_cells

ROOT = Path(__file__).resolve().parents[2]
PYODIDE = os.environ.get("CAPSULE_MODEL_PYODIDE")
EACH = pytest.mark.parametrize("file", FILES, ids=NAMES)


@EACH
def test_a_clean_kernel_gives_what_is_committed(file: Path) -> None:
    """Whoever runs a notebook from top to bottom sees what everybody sees who only reads it."""
    pytest.importorskip("nbclient", reason="needs the extra notebooks")
    pytest.importorskip("ipykernel", reason="needs the extra notebooks")
    assert command.main([file.stem]) == 0


@EACH
def test_cells_and_answers_need_the_standard_library_alone(file: Path) -> None:
    """Without any installed package each cell says the same, and each kept answer is accepted."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from capsule_model.lessons.__main__ import main"
    code += "; sys.exit(main(['--script', sys.argv[2]]))"
    run = subprocess.run(
        [sys.executable, "-S", "-c", code, str(ROOT), file.stem], capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.returncode) == (f"{file.name}: fine\n", 0), run.stderr


@EACH
def test_wrong_answers_are_refused_with_a_hint(file: Path) -> None:
    """A plausible mistake is told for what it is, and a hint says where to look."""
    cells = {cell.number: cell for cell in code_cells(file)}
    seen = 0
    for wrong in rounds(file):
        sources = {number: "" for number, cell in cells.items() if cell.tags & NEEDS}
        sources |= {number: answered(cells[number], text) for number, (text, _) in wrong.items()}
        for shown in run_cells(file, sources):
            if shown.cell.number in wrong:
                text, says = wrong[shown.cell.number]
                assert shown.verdict is not None
                assert shown.verdict.accepted is False, text
                assert says in repr(shown.verdict)
                assert shown.verdict.hint
                seen += 1
    assert seen == sum(len(answers()[cell.exercise or ""]["wrong"]) for cell in exercises_of(file))


def test_each_exercise_is_asked_once_and_has_answers() -> None:
    """No exercise without a notebook, none without a right and a wrong answer, and no answer to nothing."""
    asked = [cell.exercise for file in FILES for cell in exercises_of(file)]
    assert asked == list(exercises())
    assert list(answers()) == asked
    assert all(one["answer"].strip() and one["wrong"] for one in answers().values())


def test_what_is_committed_is_unanswered() -> None:
    """A reader finds the dots, not somebody's answer."""
    for file in FILES:
        for cell in exercises_of(file):
            (output,) = cell.outputs
            assert "".join(output["data"]["text/plain"]).startswith("not answered yet")


def test_cells_that_need_more_say_so_in_the_text() -> None:
    """The text in front of such a cell names the form that does without."""
    for file in FILES:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        for before, cell in itertools.pairwise(cells):
            if NEEDS & set(cell["metadata"].get("tags", ())):
                assert "the form that does without" in "".join(before["source"])


def test_no_output_tells_of_the_machine() -> None:
    """Committed outputs hold no path, no time and no address of a real process."""
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert str(Path.home()) not in text
        assert "/tmp/" not in text
        assert " at 0x7f" not in text


@pytest.mark.skipif(PYODIDE is None, reason="CAPSULE_MODEL_PYODIDE names no Pyodide")
def test_every_cell_runs_on_pyodide_with_the_wheel_alone(tmp_path: Path) -> None:
    """In a browser's Python each cell says what is committed, and each kept answer is accepted."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from capsule_model.lessons.__main__ import main"
    )
    run = subprocess.run(
        [str(PYODIDE), "-c", f"{code}; sys.exit(main(['--script']))"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count(": fine\n") == len(FILES)
