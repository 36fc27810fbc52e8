"""The measurement of one exchange: what it measures, and what it says where it cannot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dlpack_model import bench


class Array:
    """Stand for NumPy's array."""

    def reshape(self, *shape: int) -> Array:
        """Return the array."""
        return self


@pytest.fixture
def numpy(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Put a module in the place of NumPy that counts its exchanges."""
    module = SimpleNamespace(__version__="0", calls=0, arange=lambda *given, **named: Array())

    def from_dlpack(x: Any) -> None:
        assert isinstance(x, Array)
        module.calls += 1

    module.from_dlpack = from_dlpack
    monkeypatch.setitem(sys.modules, "numpy", module)
    return module


def test_both_sides_are_measured_in_turn(numpy: SimpleNamespace) -> None:
    """The medians of both, their ratio, and as many real exchanges as were asked for."""
    found = bench.measure(numpy, rounds=3, calls=(2, 5))
    assert numpy.calls == 15
    assert found["ratio"] == found["model_ns"] / found["numpy_ns"] > 0
    assert (found["goal"], found["rounds"], found["numpy"]) == (150, 3, "0")


def test_the_exchange_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured checks the owners twice, once with the result alive and once after it."""
    checked: list[int] = []
    monkeypatch.setattr(bench.Exchange, "check", lambda ex: checked.append(len(ex.live)))  # type: ignore[attr-defined]
    bench._model()()
    assert checked == [1, 0]


def test_the_figures_can_be_kept(
    numpy: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command prints a line, and writes the same figures to a file."""
    monkeypatch.setattr(bench.measure, "__defaults__", (3, (2, 5)))
    file = tmp_path / "figures.json"
    assert bench.main(["--json", str(file)]) == 0
    kept = json.loads(file.read_text())
    assert f"ratio {kept['ratio']:.0f} (goal: 150)" in capsys.readouterr().out
    assert bench.main(["--json", str(tmp_path)]) == 2


def test_without_numpy_there_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where NumPy is missing the command says so and returns 2."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert bench.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1
