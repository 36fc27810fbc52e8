"""The bench: what it measures and what its report holds; never how fast anything is."""

from __future__ import annotations

import json
import math
import sys
import timeit
from pathlib import Path
from typing import Any

import pytest

from capsule_model import Interpreter
from capsule_model.conform import bench
from capsule_model.conform.bench import Measured, geometric_mean, measure, measure_scale, report

PUBLIC = [
    "PyCapsule_New",
    "PyCapsule_IsValid",
    "PyCapsule_GetPointer",
    "PyCapsule_GetName",
    "PyCapsule_GetDestructor",
    "PyCapsule_GetContext",
    "PyCapsule_SetPointer",
    "PyCapsule_SetName",
    "PyCapsule_SetDestructor",
    "PyCapsule_SetContext",
    "PyCapsule_Import",
]


@pytest.fixture(scope="module")
def results() -> list[Measured]:
    """Return the measurements of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "ROUNDS", 1)
        patch.setattr(bench, "CALLS", 20)
        # So few calls may be no longer than an empty loop: how long they take is not looked at here.
        patch.setattr(bench, "_medians", lambda ours, theirs: (abs(ours.timeit(20)) + 1, abs(theirs.timeit(20)) + 2))
        return measure()


def test_every_function_succeeds_and_fails(results: list[Measured]) -> None:
    """Each public function is measured where it succeeds and, but for IsValid, where it fails."""
    titles = {outcome: [one.name for one in results if one.outcome == outcome] for outcome in ("success", "error")}
    assert titles.keys() == {one.outcome for one in results}
    for name in PUBLIC:
        assert any(title.startswith(name) for title in titles["success"]), name
        assert any(title.startswith(name) for title in titles["error"]) == (name != "PyCapsule_IsValid"), name
    assert len(results) == len({(one.name, one.outcome) for one in results}) == bench.COUNT


def test_what_is_called_fails_on_both_sides_where_it_should() -> None:
    """A measured success sets no error, a measured error sets one, on the model and through ctypes."""
    kept, py = bench._Kept(), Interpreter(bench._profile_here())
    model, real = bench._model_side(py), bench._real_side(kept)
    try:
        theirs = bench._operations(real)
        for (title, outcome), (function, arguments) in bench._operations(model).items():
            if function.startswith("*"):
                continue
            model.functions[function](*arguments)
            assert (py.error is not None) == (outcome == "error"), title
            py.PyErr_Clear()
            raised = False
            try:
                real.functions[function](*theirs[title, outcome][1])
            except (AttributeError, ImportError, ValueError):
                raised = True
            assert raised == (outcome == "error"), title
    finally:
        sys.modules.pop(bench.MODULE, None)


def test_the_report(results: list[Measured]) -> None:
    """The JSON has the operations with their figures, and a geometric mean for each outcome."""
    document: dict[str, Any] = json.loads(json.dumps(report(results, measure_scale(live=200, few=10, reads=50))))
    assert document.keys() >= {"operations", "geomean_success", "geomean_error"}
    for operation in document["operations"]:
        assert operation.keys() == {"name", "outcome", "model_ns", "ctypes_ns", "ratio"}
        assert operation["ratio"] == pytest.approx(operation["model_ns"] / operation["ctypes_ns"])
    for outcome in ("success", "error"):
        ratios = [one["ratio"] for one in document["operations"] if one["outcome"] == outcome]
        assert document[f"geomean_{outcome}"] == pytest.approx(math.prod(ratios) ** (1 / len(ratios)))
    assert document["scale"]["live"] == 200
    assert document["scale"]["bytes_per_capsule"] > 0
    scale = document["scale"]
    assert scale["access_ratio"] == pytest.approx(scale["access"] / scale["access_ctypes"])


def test_a_geometric_mean() -> None:
    """It is over one outcome alone, and a half and a double cancel out."""
    ratios = [("success", 0.5), ("success", 2.0), ("error", 8.0), ("error", 2.0)]
    results = [Measured("x", outcome, 1.0, 1.0, ratio) for outcome, ratio in ratios]
    assert geometric_mean(results, "success") == pytest.approx(1.0)
    assert geometric_mean(results, "error") == pytest.approx(4.0)


def test_the_loop_is_subtracted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The median round counts, less an empty loop, in nanoseconds a call."""
    monkeypatch.setattr(bench, "ROUNDS", 3)
    monkeypatch.setattr(bench, "CALLS", 1000)
    monkeypatch.setattr(timeit, "Timer", lambda code: Watch([1e-6, 5.0, 1e-6, 2e-6, 3.0]))
    ours, theirs = Watch([3e-6, 9.0, 2e-6]), Watch([5e-6, 5e-6, 7.0])
    assert bench._medians(ours, theirs) == pytest.approx((2.0, 4.0))  # type: ignore[arg-type]


class Watch:
    """A timer whose rounds take what the test says."""

    def __init__(self, rounds: list[float]) -> None:
        self.rounds = iter(rounds)

    def timeit(self, number: int) -> float:
        """Return the seconds of the next round."""
        return next(self.rounds)


def test_nothing_is_left_in_sys_modules(results: list[Measured]) -> None:
    """The module that Import finds is there for the measurement only."""
    assert results
    assert bench.MODULE not in sys.modules


def test_the_command(
    results: list[Measured], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints a line for each operation and the means, and writes the report where it is told to."""
    scale = {"live": 10, "bytes_per_capsule": 1.0, "access": 1.0, "access_ctypes": 1.0, "access_ratio": 1.0}
    monkeypatch.setattr(bench, "measure", lambda advance: results)
    monkeypatch.setattr(bench, "measure_scale", lambda: scale)
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "bench.json"
    assert bench.main(str(file)) == 0
    assert json.loads(file.read_text()) == json.loads(json.dumps(report(results, scale)))
    printed = capsys.readouterr().out
    assert all(one.name in printed for one in results)
    assert printed.count("geometric mean of the ratios") == 2
    assert bench.main(None) == 0


def test_a_folder_that_is_not_there_is_bad_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said in one line before anything is measured."""
    monkeypatch.setattr(bench, "measure", None)
    assert bench.main(str(tmp_path / "absent" / "bench.json")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected a file in a folder that exists" in line
