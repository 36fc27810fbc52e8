"""The project as a whole: everything is tied together, this interpreter conforms, and the controls do not."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from capsule_model.cli import run
from capsule_model.conform.explain import this_profile
from capsule_model.conform.profile_diff import profile_diff
from capsule_model.profiles import PROFILES
from capsule_model.suites import vectors_of
from capsule_model.trace.files import load

ROOT = Path(__file__).resolve().parents[2]
CONTROLS = f"{sys.executable} -m capsule_model.conform.controls"


@pytest.fixture(autouse=True)
def _import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def report(tmp_path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Return exit code and JSON of `conform` with `options`."""
    file = tmp_path / "report.json"
    code = run(["conform", "--json", str(file), *options])
    return code, json.loads(file.read_text())


def test_everything_is_tied_together(capsys: pytest.CaptureFixture[str]) -> None:
    """Rules, code, vectors and behaviours have no loose end."""
    assert run(["check"]) == 0, capsys.readouterr().out


def test_this_interpreter_conforms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The interpreter that runs the tests passes at least 300 vectors within ten seconds."""
    begun = time.monotonic()
    code, document = report(tmp_path)
    assert code == 0, capsys.readouterr().out
    assert time.monotonic() - begun < 10
    assert document["summary"]["passed"] >= 300


@pytest.mark.parametrize("control", ["null", "echo"])
def test_controls_do_not_conform(control: str, tmp_path: Path) -> None:
    """Over all vectors, an adapter that does nothing passes nothing, and one that echoes fails most."""
    code, document = report(tmp_path, "--adapter", f"{CONTROLS} {control}")
    summary = document["summary"]
    assert code == 1
    assert summary["passed"] < summary["unsupported"] + summary["failed"]
    assert summary["rules"]["percent"] < 50
    assert control != "null" or summary["passed"] == 0


def test_under_another_profile_the_divergences_are_those_of_the_diff(tmp_path: Path) -> None:
    """Held to another version's profile, the interpreter fails exactly where the two profiles differ."""
    own = this_profile()
    other = PROFILES["cpython-3.12" if own.name == "cpython-3.13" else "cpython-3.13"]
    _, document = report(tmp_path, "--profile", other.name)
    found = profile_diff(own, other, load(vectors_of()).vectors)
    one_sided = {name for name, _, _ in found.one_sided}
    failed = {entry["id"] for entry in document["vectors"] if entry["outcome"] in ("failed", "crashed", "errored")}
    assert failed - one_sided == set(found.vectors) != set()
