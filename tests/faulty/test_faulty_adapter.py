"""A faulty implementation behind the adapter protocol: `conform` notices it as it would anybody's."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from capsule_model.cli import run
from capsule_model.mutants import adapter
from capsule_model.mutants.adapter import Adapter
from capsule_model.mutants.registry import MUTANTS
from capsule_model.suites import vectors_of

ROOT = Path(__file__).resolve().parents[2]
FILE = vectors_of() / "get-pointer.json"


def conform(id: str, file: Path, report: Path) -> tuple[int, dict[str, str]]:
    """Hold a mutant to the vectors of a file; return the exit code, and the outcome of each vector."""
    command = f"{sys.executable} -m capsule_model.mutants.adapter {id}"
    words = ["conform", "--adapter", command, "--profile", "cpython-3.13", "--vectors", str(file)]
    code = run([*words, "--no-copies", "--json", str(report)])
    results = json.loads(report.read_text("utf-8"))["vectors"]
    return code, {result["id"]: result["outcome"] for result in results}


@pytest.mark.usefixtures("capsys")
def test_conform_notices_a_mutant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong fails, what is right passes, and the death of the process is a crash of that vector alone."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code, outcomes = conform("GetPointer/mismatch-gives-pointer", FILE, tmp_path / "a.json")
    assert code == 1
    assert set(outcomes.values()) == {"passed", "failed", "undefined"}
    code, outcomes = conform("capsule/null-not-refused", FILE, tmp_path / "b.json")
    assert code == 1
    assert set(outcomes.values()) == {"passed", "crashed", "undefined"}
    assert outcomes["capsule.get-pointer.null"] == "crashed"


@pytest.mark.usefixtures("capsys")
def test_conform_lets_an_equivalent_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant that nothing defined can tell from the model meets every vector."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code, outcomes = conform("names/same-address-first", FILE, tmp_path / "c.json")
    assert set(outcomes.values()) == {"passed", "undefined"}
    assert code == 0


def answers(requests: Iterable[Any], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what the adapter answers to lines, those that are no bytes being sent as JSON."""
    lines = b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in requests)
    said = io.StringIO()
    adapter._serve(Adapter(MUTANTS["IsValid/ignores-name"], "cpython-3.13"), io.BytesIO(lines), said)
    return [json.loads(line) for line in said.getvalue().splitlines()]


def test_bad_requests_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise, unknown requests and vectors that make no sense are errors in one line each, and it goes on."""
    vectors: list[Any] = [{}, {"steps": [1]}, {"steps": [{"op": "no_such"}]}, {"steps": []}]
    requests = [b"noise\n", {"seq": 1, "cmd": "dance"}, *({"seq": 2, "cmd": "run", "vector": v} for v in vectors)]
    seen = answers([*requests, {"seq": 3, "cmd": "stop"}, {"seq": 4, "cmd": "stop"}], monkeypatch)
    assert all("\n" not in one["error"] for one in seen[:5])
    assert "unknown operation 'no_such'" in seen[4]["error"]
    assert seen[5:] == [{"seq": 2, "steps": [], "leaks": []}, {"seq": 3, "stopped": True}]


@pytest.mark.parametrize(("words", "message"), [(["no/such"], "unknown mutant"), (["--profile", "x"], "profile")])
def test_bad_usage(words: list[str], message: str) -> None:
    """An unknown mutant or profile ends it with 2 and one line."""
    if words[0] == "--profile":
        words = ["IsValid/ignores-name", *words]
    command = [sys.executable, "-m", "capsule_model.mutants.adapter", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert message in line
