"""Vectors under a checker: processes of their own that die, hang and flood, and a sample under the real tools."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from capsule_model.cli import run
from capsule_model.conform.commands import known_names
from capsule_model.conform.interpreters import CannotRun
from capsule_model.sanitize import served
from capsule_model.sanitize.command import run_once
from capsule_model.sanitize.reports import Tool
from capsule_model.sanitize.result import shortcomings
from capsule_model.sanitize.run import Checked, Seen
from capsule_model.sanitize.tools import Setup
from capsule_model.suites import undefined_vectors
from capsule_model.trace.files import Vector, load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="checkers run on Linux")

# Stands in for the extension module: it does what the vector's first step is called.
PRETENDER = """
import json, os, signal, sys

def main():
    for line in os.fdopen(0):
        request = json.loads(line)
        if request["cmd"] == "start":
            answer(features=["undefined"], ops=[], protocol=1, implementation="pretender", version="1", profile=None)
        if request["cmd"] != "run":
            continue
        what = request["vector"]["steps"][0]["op"]
        assert request["undefined"] and "expect" not in request["vector"]["steps"][0]
        os.write(2, b"capsule_adapter: step 0\\n")
        if what == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == "exit":
            os._exit(3)
        if what == "hang":
            signal.pause()
        if what == "report":
            os.write(2, b"ERROR: AddressSanitizer: heap-buffer-overflow on address 0x6020\\n")
            os._exit(9)
        if what == "parent" and not os.path.exists(__file__ + ".once"):
            open(__file__ + ".once", "w").close()
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        if what == "flood":
            while True:
                os.write(2, b"x" * 65536)
        os.write(2, b"capsule_adapter: end 0\\n")
        if what == "refuse":
            answer(error="no such thing", step="0")
        elif what == "noise":
            os.write(1, b"hello\\n")
        else:
            answer(steps=[], leaks=[])

def answer(**keys):
    os.write(1, json.dumps({"seq": 1, **keys}).encode() + b"\\n")
"""


@pytest.fixture
def pretender(tmp_path: Path) -> Setup:
    """Return the setup of an adapter in Python that does what it is told, under no checker."""
    shutil.copy(served.__file__, tmp_path / "served.py")
    (tmp_path / "capsule_adapter.py").write_text(PRETENDER)
    return Setup("asan", (sys.executable, str(tmp_path / "served.py")), {}, "none", False, tmp_path)


def doing(what: str) -> dict[str, Any]:
    """Return a vector whose only step is what the pretender shall do."""
    return {"id": f"test.{what}", "steps": [{"op": what, "expect": {"undefined": "double-free"}}]}


def test_each_vector_has_its_own_end(pretender: Setup) -> None:
    """A death, an exit, a hang, a flood and a report are each one vector's, and the next one runs as ever."""
    ends = {
        "die": Seen("died", "SIGSEGV", "0"),
        "exit": Seen("died", "exit code 3", "0"),
        "hang": Seen("timed-out", "1 seconds", "0"),
        "flood": Seen("died", "SIGXFSZ", "0"),
        "report": Seen("reported", "heap-buffer-overflow", "0"),
        "refuse": Seen("refused", "no such thing"),
        "nothing": Seen("silent"),
    }
    with Checked(pretender, 2) as checked:
        assert checked.ask_about().implementation == "pretender"
        found = checked.perform_all([doing(what) for what in ends], 1)
    assert found == {f"test.{what}": seen for what, seen in ends.items()}


def test_script_that_goes_down_takes_no_vector_along(pretender: Setup) -> None:
    """The vector that was in hand then is performed again, by a script that is started anew."""
    with Checked(pretender, 1) as checked:
        found = checked.perform_all([doing("parent"), doing("nothing")], 5)
    assert {*found.values()} == {Seen("silent")}


def test_noise_is_no_answer(pretender: Setup) -> None:
    """What writes something else than an answer was not run, whatever it did."""
    with Checked(pretender, 1) as checked:
        (seen,) = checked.perform_all([doing("noise")], 5).values()
    assert seen.outcome == "refused"
    assert "hello" in seen.word


def test_adapter_that_knows_no_undefined_behaviour_is_refused(pretender: Setup) -> None:
    """An adapter without the feature would refuse the steps, and its silence would pass for a miss."""
    file = pretender.folder / "capsule_adapter.py"
    file.write_text(file.read_text().replace('features=["undefined"]', "features=[]"))
    with Checked(pretender, 1) as checked, pytest.raises(CannotRun, match="lacks the feature undefined"):
        checked.ask_about()


def test_script_that_does_not_start_is_told_in_one_line(pretender: Setup) -> None:
    """The last line of its standard error says why."""
    (pretender.folder / "capsule_adapter.py").write_text("raise ImportError('not for this interpreter')")
    told = "does not start under asan: ImportError: not for this interpreter"
    with Checked(pretender, 1) as checked, pytest.raises(CannotRun, match=told):
        checked.ask_about()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "Missing option '--tool'"),
        (["--tool", "asan", "--interpreter", "nowhere"], "--interpreter nowhere: cannot be started"),
        (["--tool", "asan", "--interpreter", "/bin/echo"], "--interpreter /bin/echo: does not behave like python"),
        (["--tool", "asan", "--json", "nowhere/x.json"], "--json nowhere/x.json: no such folder"),
        (["--tool", "asan", "--json", "other.json"], "--json other.json: has no runs of format 1"),
        (["--tool", "asan", "--markdown", "."], "--markdown .: is a folder"),
        (["--tool", "valgrind", "--vectors", "nowhere.json"], "nowhere.json: no such file"),
    ],
)
def test_bad_usage_is_one_line(
    options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what was wrong and what would be right, before anything is compiled or run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.json").write_text(json.dumps({"format": 1, "vectors": []}))
    assert run(["sanitize", *options]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert len(said.splitlines()) == 1


# What each tool sees in any interpreter, built for it or not.
SAMPLE = {
    "asan": "double-free.block invalid-free.literal out-of-bounds.write-past-one use-after-free.name-stored-is-valid "
    "leak.block",
    "valgrind": "double-free.string uninitialised-read.block-eight use-after-free.get-name leak.capsule",
}


@pytest.mark.parametrize("tool", ["asan", "valgrind"])
def test_sample_under_the_tool_itself(tool: Tool) -> None:
    """On this interpreter the tool reports the undefined ones at their step, and is silent about the others."""
    names = SAMPLE[tool].split()
    wanted = {f"{which}.{name}" for name in names for which in ("undefined", "defined")}
    chosen: list[Vector] = [v for v in load(undefined_vectors(), known_names()).vectors if v["id"] in wanted]
    try:
        found = run_once(Path(sys.executable), tool, chosen, 1)
    except CannotRun as error:
        if any(word in str(error) for word in ("needs ", "no libasan", "does not compile")):
            pytest.skip(f"needs {tool}, a C compiler and the headers of this interpreter: {error}")
        raise
    assert shortcomings(found) == []
    assert found["totals"]["seen"] == found["totals"]["silent"] == len(names)
    assert found["totals"]["later"] == 0
