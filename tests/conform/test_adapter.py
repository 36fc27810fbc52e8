"""Adapters that misbehave: each way is recognised, and no other vector loses its result."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest

from capsule_model.conform.adapter import AdapterProcess, command_of
from capsule_model.conform.answers import Misbehaviour, Ran
from capsule_model.conform.runner import Result, choose_profile, run_vectors
from capsule_model.conform.session import Session

MISBEHAVING = Path(__file__).parent / "adapters" / "misbehaving.py"
ROOT = Path(__file__).resolve().parents[2]
CTYPES = ROOT / "specs" / "adapters" / "ctypes_adapter.py"


def vector(name: str) -> dict[str, Any]:
    """Return a small vector that every sound adapter passes."""
    return {
        "id": f"test.adapter.{name}",
        "title": "a capsule is made",
        "rules": ["PyCapsule_New/returns-capsule"],
        "steps": [
            {
                "op": "PyCapsule_New",
                "args": {"pointer": {"ptr": "p1"}, "name": None, "destructor": None},
                "bind": "c",
                "expect": {"return": {"ref": "c"}},
            },
            {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}},
        ],
    }


@pytest.fixture(autouse=True)
def _import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run_with(way: str, time_limit: float = 10.0) -> list[Result]:
    """Run four vectors; the adapter misbehaves at the second."""
    session = Session(
        AdapterProcess([sys.executable, str(MISBEHAVING), way, "test.adapter.two"], time_limit=time_limit)
    )
    about = session.start()
    try:
        profile, _ = choose_profile(about, None)
        results, bad = run_vectors([vector(name) for name in ("one", "two", "three", "four")], session, about, profile)
    finally:
        session.stop()
    assert bad == []
    return results


@pytest.mark.parametrize(
    ("way", "outcome", "detail"),
    [
        ("signal", "crashed", "died of SIGSEGV; its standard error ends: \\x1b[31mlast words"),
        ("exit", "crashed", "ended with exit code 3"),
        ("noise", "errored", r'wrote "Hello \\u001b[2J\\n" to standard output; expected a JSON object on one line'),
        ("noise-after", "errored", "bye"),
        ("order", "errored", "answered out of order: seq "),
        ("twice", "errored", "seq"),
        ("half", "crashed", "ended with exit code 0 in the middle of a line"),
        ("long", "errored", "answered a line longer than 1048576 bytes"),
        ("deep", "errored", "answered a line nested deeper than 64"),
        ("binary", "errored", "not UTF-8"),
        ("shape", "errored", "answered steps.0.error = 5; expected null or an exception"),
        ("flood", "errored", "answered a line longer than 1048576 bytes"),
        ("close", "errored", "closed its standard output"),
    ],
)
def test_misbehaviour_is_the_outcome_of_its_vector_alone(way: str, outcome: str, detail: str) -> None:
    """Each way has its outcome and its words, and the other three vectors pass."""
    results = run_with(way)
    assert [result.outcome for result in results] == ["passed", outcome, "passed", "passed"]
    assert detail.replace("\\\\", "\\") in (results[1].detail or "")
    assert "\n" not in (results[1].detail or "")
    assert "\x1b" not in (results[1].detail or "")


def test_a_hang_ends_at_the_time_limit() -> None:
    """A vector without an answer is timed out after its limit, not later, and the rest passes."""
    begun = time.monotonic()
    results = run_with("hang", time_limit=1.0)
    assert [result.outcome for result in results] == ["passed", "timed-out", "passed", "passed"]
    assert results[1].detail == "gave no answer within 1 seconds"
    assert time.monotonic() - begun < 8


def test_an_adapter_that_never_starts_is_given_up() -> None:
    """After twenty failures in a row the rest is not tried, and every vector has an outcome."""
    session = Session(AdapterProcess([sys.executable, "-c", "raise SystemExit(4)"]))
    outcomes = [session.ask(vector("one")).what for _ in range(25)]
    assert all(isinstance(outcome, Misbehaviour) for outcome in outcomes)
    assert str(outcomes[0]) == "did not start again: ended with exit code 4"
    assert str(outcomes[19]) == "did not start again: ended with exit code 4"
    assert {str(outcome) for outcome in outcomes[20:]} == {"not run: the adapter failed 20 times in a row"}


def test_a_program_that_does_not_exist_is_one_line() -> None:
    """A wrong command is a misbehaviour with the system's own words, not a traceback."""
    with pytest.raises(
        Misbehaviour, match=r"^cannot be started: /nowhere/adapter: No such file or directory; expected"
    ):
        Session(AdapterProcess(["/nowhere/adapter"])).start()


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    """What an adapter started itself ends with it."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys, json, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "sys.stdin.readline()\n"
        "print(json.dumps({'seq': 1, 'protocol': 1, 'implementation': 'x', 'version': str(child.pid), "
        "'ops': [], 'features': []}), flush=True)\n"
        "time.sleep(600)\n"
    )
    adapter = AdapterProcess([sys.executable, str(script)])
    child = int(adapter.start().version)
    adapter.stop()
    for _ in range(50):
        try:
            os.kill(child, 0)
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the adapter's child lives on")


def test_the_command_is_split_without_a_shell() -> None:
    """Quotes group words; nothing is expanded."""
    assert command_of("prog 'two words' $HOME ; rm") == ["prog", "two words", "$HOME", ";", "rm"]
    with pytest.raises(ValueError, match="No closing quotation"):
        command_of("prog 'open")
    with pytest.raises(ValueError, match="expected a program"):
        command_of("  ")


@pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="the header is another one")
def test_the_struct_is_there_while_its_destructor_runs() -> None:
    """The ctypes adapter reads a dying capsule: its bytes are those of the living one, but for a count of 0."""
    word = sys.maxsize.bit_length() // 8 + 1
    count = object.__basicsize__ - 2 * word
    size = object.__basicsize__ + 2 * word  # the header, the pointer and the name
    functions = {
        "d": {"kind": "destructor", "steps": [{"op": "read", "args": {"ptr": {"arg": 0}, "size": size}}]},
    }
    steps = [
        {
            "op": "PyCapsule_New",
            "args": {"pointer": {"ptr": "p"}, "name": None, "destructor": {"function": "d"}},
            "bind": "c",
        },
        {"op": "read", "args": {"ptr": {"ref": "c"}, "size": size}},
        {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}},
    ]
    adapter = AdapterProcess([sys.executable, str(CTYPES), "--no-driver"])
    adapter.start()
    try:
        answer = adapter.run({"functions": functions, "steps": steps})
    finally:
        adapter.stop()
    assert isinstance(answer, Ran)
    alive = bytearray.fromhex(answer.steps[1]["return"]["hex"])
    dying = bytearray.fromhex(answer.steps[2]["events"][0]["steps"][0]["return"]["hex"])
    assert alive[count : count + word] == (1).to_bytes(word, sys.byteorder)
    alive[count : count + word] = bytes(word)
    assert dying[count:] == alive[count:]


def test_a_driver_that_is_none_is_one_line(tmp_path: Path) -> None:
    """What is no shared object made from driver.c is bad usage, named in the last line, and no traceback."""
    bad = tmp_path / "driver.so"
    bad.write_text("no driver\n")
    for file in (bad, tmp_path / "nowhere.so"):
        done = subprocess.run(
            [sys.executable, str(CTYPES), "--driver", str(file)], input="", capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert f"argument --driver: {file}" in done.stderr.splitlines()[-1]
        assert done.stderr.endswith("; expected a shared object made from this driver.c\n")


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.skipif(sys.platform == "win32", reason="the command is that of other systems")
def test_a_driver_made_elsewhere_says_what_it_lacks(tmp_path: Path) -> None:
    """A driver handed over brings the error indicator; without the headers it has no macros, and that is the reason."""
    driver = tmp_path / "driver.so"
    source = CTYPES.with_name("driver.c")
    flags = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", *flags, str(source), "-o", str(driver)], check=True)
    adapter = AdapterProcess([sys.executable, str(CTYPES), "--driver", str(driver)])
    about = adapter.start()
    adapter.stop()
    assert {"error-indicator", "compiled-destructors", "returns-on-failure"} <= set(about.features)
    assert about.absent == {"macros": "the driver was built without the headers of this interpreter"}
