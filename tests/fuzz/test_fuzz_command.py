"""The command `fuzz`: what it prints and writes, its exit codes, and bad usage."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import jsonschema_rs
import pytest
from campaign_samples import OTHER_VERSION
from rich.console import Console

from capsule_model.cli import run
from capsule_model.fuzz.campaign.display import live
from capsule_model.fuzz.campaign.rounds import Progress
from capsule_model.fuzz.command import seconds_of
from capsule_model.locate import specs

MODEL = f"{sys.executable} -m capsule_model.conform.controls model cpython-3.13"
SCHEMA = jsonschema_rs.validator_for(json.loads((specs() / "formats" / "fuzz.schema.json").read_text()))


def test_a_right_implementation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No divergence is exit code 0 and one line; the JSON has the figures, and every rule that was reached."""
    file = tmp_path / "out.json"
    assert run(["fuzz", "--adapter", MODEL, "--steps", "900", "--jobs", "1", "--json", str(file)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("capsule-model control as cpython-3.13, seed 1: ")
    assert line.endswith("no divergence")
    written = json.loads(file.read_text())
    SCHEMA.validate(written)
    assert written["steps"] >= 900
    assert written["complete"]
    assert written["divergences"] == []
    assert written["rules"]["PyCapsule_New/returns-capsule"] > 10
    assert sum(written["states"].values()) == written["steps"]
    assert written["undefined"] == {}


def test_a_wrong_implementation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Divergences are exit code 1, each told and kept as a vector that `conform` fails on and that can be explained."""
    file, corpus = tmp_path / "out.json", tmp_path / "corpus"
    arguments = ["fuzz", "--adapter", OTHER_VERSION, "--profile", "cpython-3.13", "--steps", "900", "--jobs", "1"]
    assert run([*arguments, "--corpus", str(corpus), "--json", str(file)]) == 1
    printed = capsys.readouterr().out
    written = json.loads(file.read_text())
    SCHEMA.validate(written)
    assert written["divergences"]
    for found in written["divergences"]:
        vector = corpus / "findings" / f"{found['id']}.json"
        assert json.loads(vector.read_text())["vectors"] == [found["vector"]]
        assert (corpus / "findings" / f"{found['id']}.txt").read_text().strip() in printed
        held = ["conform", "--vectors", str(vector), "--profile", "cpython-3.13", "--adapter"]
        assert run([*held, OTHER_VERSION]) == 1
        assert run([*held, MODEL]) == 0
        assert run(["explain", str(vector), "--profile", "cpython-3.13"]) == 0


def test_a_second_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same folder a campaign goes on to more steps, and refuses to do again what it has done."""
    arguments = ["fuzz", "--adapter", MODEL, "--jobs", "1", "--corpus", str(tmp_path), "--steps"]
    assert run([*arguments, "300"]) == 0
    assert run([*arguments, "600"]) == 0
    steps = [line.split(": ")[1].partition(" steps")[0] for line in capsys.readouterr().out.splitlines()]
    first, second = (int(count.replace(",", "")) for count in steps)
    assert second >= 600
    assert 300 <= first < second
    assert run([*arguments, "600"]) == 2
    assert "has 6" in capsys.readouterr().err


def test_undefined_programs_are_sent_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--undefined` nothing undefined is performed; with it, in processes that end there, and it is counted."""
    arguments = ["fuzz", "--adapter", MODEL, "--jobs", "1", "--steps", "400"]
    assert run(arguments) == 0
    assert "undefined" not in capsys.readouterr().out
    assert run([*arguments, "--undefined"]) == 0
    counted = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  undefined, ")]
    # The model behind the protocol ends its process where it diagnoses.
    assert counted
    assert all("died of SIGABRT" in line for line in counted)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--steps", "0"], "--steps"),
        (["--time", "soon"], "expected one such as 90s"),
        (["--time", "0s"], "expected one such as 90s"),
        (["--jobs", "0"], "--jobs"),
        (["--adapter", "no-such-program-here"], "cannot be started"),
        (["--adapter", ""], "adapter command is empty"),
        (["--profile", "cpython-3.13"], "--profile is for --adapter"),
        (["--adapter", MODEL, "--profile", "cpython-2.7"], "cpython-2.7"),
        (["--dask", "tcp://127.0.0.1:1", "--jobs", "2"], "exclude each other"),
        (["--json", "no/such/folder/out.json", "--steps", "1"], "--json"),
        (["--corpus", "/dev/null/here", "--steps", "1"], "--corpus"),
    ],
)
def test_bad_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad usage is exit code 2 and one line that says what would be right."""
    assert run(["fuzz", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_lengths_of_time() -> None:
    """Seconds, minutes, hours and days."""
    assert [seconds_of(text) for text in ("90", "90s", "1.5m", "2h", "1d")] == [90, 90, 90, 7200, 86400]


def test_the_live_display() -> None:
    """On a terminal, steps a second, states, rules and findings are shown while the campaign runs."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with live(console, 1_000, 9_000) as told:
        told(Progress(3, 7, 5_000, 123, 45, 2))
    shown = screen.getvalue()
    for word in ("steps/s", "states", "rules", "findings", "5,000 of 9,000", "123", "45", "3 (7/16)"):
        assert word in shown


def test_nothing_is_shown_where_there_is_no_terminal() -> None:
    """In a log file nobody wants a display."""
    screen = io.StringIO()
    with live(Console(file=screen), 0, None) as told:
        told(Progress(0, 1, 2, 3, 4, 5))
    assert screen.getvalue() == ""
