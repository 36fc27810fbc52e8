"""What a step of a campaign costs: every figure in one run."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from capsule_model.fuzz import measure as measuring
from capsule_model.fuzz.campaign.engine import Open


def test_figures_are_measured_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each figure and both quotients are told and written, and a folder that is not there is refused first."""
    monkeypatch.setattr(measuring, "measure", partial(measuring.measure, rounds=1, cases=2, calls=1000))
    monkeypatch.setattr(measuring, "STEPS", 2000)
    monkeypatch.setattr(measuring, "EXAMPLES", settings(measuring.EXAMPLES, max_examples=5))
    file = tmp_path / "figures.json"
    assert measuring.main(["--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["ratio"] == pytest.approx(found["steps_per_second"] / found["hypothesis_steps_per_second"])
    assert found["bare_calls_a_step"] == pytest.approx(found["step_ns"] / found["bare_ctypes_ns"])
    assert f"ratio {found['ratio']:.1f}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        measuring.main(["--json", str(tmp_path / "nowhere" / "figures.json")])
    assert ended.value.code == 2
    assert "expected a file in a folder that exists" in capsys.readouterr().err


def test_where_there_is_no_compiler_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without compact programs, or without any, the reason is one line."""
    monkeypatch.setattr(Open, "__call__", lambda self: (_ for _ in ()).throw(ValueError("no C compiler was found")))
    assert measuring.main([]) == 2
    assert capsys.readouterr().err == "no C compiler was found\n"
