"""The command `matrix`: many interpreters at once, none of which stops another, and results that name no machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from vector_samples import NEW, SOUND, WRONG

from capsule_model.cli import run
from capsule_model.conform import matrix as matrix_module
from capsule_model.conform.interpreters import Interpreter, Probe, adapter_command, find
from capsule_model.conform.matrix_run import nowhere
from capsule_model.conform.matrix_show import Figures, Row, progress_table
from capsule_model.locate import specs
from capsule_model.trace.schema import Validator

ROOT = Path(__file__).resolve().parents[2]
MISBEHAVING = Path(__file__).parent / "adapters" / "misbehaving.py"

MODEL = "from capsule_model.conform.controls import main as serve\ndef main(): serve(['model', 'cpython-3.13'])\n"

ABSENT = """
import json, sys

def main():
    about = {"protocol": 1, "implementation": "other", "version": "1", "profile": None, "ops": [], "features": []}
    for line in sys.stdin:
        about["absent"] = {"macros": __file__ + " lacks them"}
        print(json.dumps({"seq": json.loads(line)["seq"], **about}), flush=True)
"""


def vector(name: str, *steps: Mapping[str, Any]) -> dict[str, Any]:
    """Return a vector that makes a capsule, then does `steps`, and leaks the capsule."""
    start = {"id": f"test.sample.{name}", "title": f"{name} is shown", "rules": ["PyCapsule_New/returns-capsule"]}
    return {**start, "steps": [NEW, *steps], "leaks": ["c"]}


class Folder:
    """A folder of interpreters, with vectors and an output folder beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.output = root / "results"
        (root / "bin").mkdir()
        self.vectors(vector("one", SOUND), vector("two", SOUND))

    def vectors(self, *them: Any) -> None:
        """Write the vectors."""
        (self.root / "vectors.json").write_text(json.dumps({"format": 1, "vectors": them}))

    def program(self, name: str, *lines: str) -> None:
        """Write a shell script bin/`name`; without `lines`, the interpreter that runs this test."""
        file = self.root / "bin" / name
        file.write_text("\n".join(["#!/bin/sh", *(lines or (f"exec '{sys.executable}' \"$@\"",)), ""]))
        file.chmod(0o755)

    def with_c_adapter(self, name: str, source: str) -> None:
        """Write an interpreter whose ctypes reaches no C API, and a compiler that makes an adapter of `source`."""
        (self.root / "lib").mkdir(exist_ok=True)
        (self.root / "lib" / "ctypes.py").write_text("")
        (self.root / f"{name}.py").write_text(source)
        self.program(name, f"PYTHONPATH='{self.root}/lib:{ROOT}' exec '{sys.executable}' \"$@\"")
        made = '"$3/$1.py"'
        self.program(f"{name}-cc", f"mkdir -p \"$3\" && cp '{self.root}/{name}.py' {made} && echo {made}")

    def run(self, *names: str) -> int:
        """Run the command."""
        files = ["--vectors", str(self.root / "vectors.json"), "--output", str(self.output)]
        return run(["matrix", *names, "--interpreters", str(self.root), *files])

    def result(self, name: str) -> dict[str, Any]:
        """Return a result, which keeps to its schema and names no folder of this machine."""
        text = (self.output / f"{name}.json").read_text()
        assert not [place for place in (self.root, ROOT, sys.prefix) if str(place) in text]
        document: dict[str, Any] = json.loads(text)
        schema = json.loads((specs() / "formats" / "report.schema.json").read_text())
        assert list(Validator(schema).faults(document, 9)) == []
        return document


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return an empty folder of interpreters."""
    return Folder(tmp_path)


def test_each_is_run_and_written(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """A result for each, a line for each that has ended, and a table in the order of the names."""
    folder.program("zebra")
    folder.program("ape")
    assert folder.run("zebra", "ape", "zebra") == 0
    assert sorted(file.name for file in folder.output.iterdir()) == ["ape.json", "zebra.json"]
    assert folder.result("ape")["summary"]["passed"] == folder.result("zebra")["summary"]["passed"] == 2
    output, errors = capsys.readouterr()
    version = f"cpython {sys.version.split()[0]}"
    rows = [line.split() for line in output.splitlines()]
    assert rows[0] == "name version profile rules passed declared unexpected unsupported seconds".split()
    assert [" ".join(row[:3]) for row in rows[1:]] == [f"zebra {version}", f"ape {version}"]
    assert [row[-5:-1] for row in rows[1:]] == [["2", "0", "0", "0"]] * 2
    assert sorted(line.partition(" (")[0] for line in errors.splitlines()) == ["ape: conformant", "zebra: conformant"]


def test_a_broken_one_stops_no_other(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be run is a line each, costs exit code 2, and leaves its old result as it was."""
    folder.program("sound")
    folder.program("dead", "echo 'no library' >&2; exit 3")
    folder.program("mute", "exit 0")
    folder.program("uncompiled")
    folder.program("uncompiled-cc", "echo 'driver.c:1: error: no such type' >&2; echo more >&2; exit 1")
    (folder.root / "bin" / "notes.txt").write_text("no program")
    folder.output.mkdir()
    (folder.output / "dead.json").write_text("old")
    assert folder.run("all") == 2
    assert folder.result("sound")["summary"]["passed"] == 2
    assert (folder.output / "dead.json").read_text() == "old"
    assert len(list(folder.output.iterdir())) == 2
    output, errors = capsys.readouterr()
    assert output.splitlines()[-3:] == [
        "dead: cannot be started: exit code 3: no library",
        "mute: does not behave like python: -c printed ''; expected what was to be printed",
        "uncompiled: driver.c does not compile: exit code 1: driver.c:1: error: no such type",
    ]
    assert "Traceback" not in output + errors


def test_divergences_cost_exit_code_1(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """The result is written all the same, and the last line says what is wrong."""
    folder.vectors(vector("one", SOUND), vector("two", WRONG))
    folder.program("sound")
    assert folder.run("sound") == 1
    summary = folder.result("sound")["summary"]
    assert (summary["passed"], summary["failed"], summary["unexpected"]) == (1, 1, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-5:-1] == ["1", "0", "1", "0"]
    assert lines[-1] == "sound: not conformant: 1 failed"


def test_where_ctypes_does_not_reach_the_c_adapter_is_made(folder: Folder) -> None:
    """It is compiled by NAME-cc into a folder, imported from there, and asked to serve."""
    folder.with_c_adapter("other", MODEL)
    assert folder.run("other") == 0
    assert folder.result("other")["implementation"]["name"] == "capsule-model"


def test_without_a_compiler_there_is_no_c_adapter(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """The line says which file is missing."""
    folder.with_c_adapter("other", MODEL)
    (folder.root / "bin" / "other-cc").unlink()
    assert folder.run("other") == 2
    expected = "other: needs the C adapter, and there is no compiler for it; expected bin/other-cc"
    assert capsys.readouterr().out.splitlines()[-1] == expected


def test_what_a_process_said_last_is_left_out(folder: Folder) -> None:
    """A crash is in the result, its standard error, which differs by machine, is not."""
    serve = f"runpy.run_path({str(MISBEHAVING)!r}, run_name='__main__')"
    source = f"import runpy, sys\ndef main():\n    sys.argv = ['', 'signal', 'test.sample.two']\n    {serve}\n"
    folder.with_c_adapter("other", source)
    assert folder.run("other") == 1
    crashed = folder.result("other")["vectors"][1]
    assert (crashed["outcome"], crashed["detail"]) == ("crashed", "died of SIGSEGV")


def test_a_result_names_no_place(folder: Folder) -> None:
    """What an adapter says of itself may name files of this machine; the result does not."""
    folder.with_c_adapter("other", ABSENT)
    assert folder.run("other") == 1
    assert folder.result("other")["implementation"]["absent"] == {"macros": "… lacks them"}


def test_a_process_that_is_killed_costs_its_row_alone(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the runner of one interpreter dies, the others go on, and the line says so."""
    folder.with_c_adapter("killer", "import os, signal\ndef main(): os.kill(os.getppid(), signal.SIGKILL)\n")
    folder.with_c_adapter("other", MODEL)
    assert folder.run("killer", "other") == 2
    assert folder.result("other")["summary"]["passed"] == 2
    expected = "killer: the process that held it to the vectors ended with exit code -9"
    assert capsys.readouterr().out.splitlines()[-1] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lion", "--interpreters", "."], "no interpreter lion; expected all, or one of ape, bear"),
        (["all", "--interpreters", "nowhere"], "--interpreters nowhere: No such file or directory; expected a folder"),
        (["all", "--interpreters", "empty"], "--interpreters empty: no program in bin; expected bin/NAME"),
        (["ape", "--interpreters", ".", "--output", "bin/ape"], "--output bin/ape: bin/ape: File exists"),
        (["ape", "--interpreters", ".", "--vectors", "bad.json"], "vector number 0: found 5; expected an object"),
        (["ape", "--interpreters", ".", "--jobs", "0"], "--jobs"),
        (["ape"], "Missing option '--interpreters'"),
        (["--interpreters", "."], "Missing argument 'NAME…|all'"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str],
    message: str,
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing runs, and the line says what would be right."""
    folder.program("ape")
    folder.program("bear")
    (folder.root / "empty" / "bin").mkdir(parents=True)
    (folder.root / "bad.json").write_text('{"format": 1, "vectors": [5]}')
    monkeypatch.chdir(folder.root)
    assert run(["matrix", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert message in errors


def test_the_slowest_begin(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took longest to start is run first, so that nobody waits for it in the end."""
    seconds = {"hare": 0.1, "snail": 3.0, "dog": 0.5}
    for name in seconds:
        folder.program(name)
    monkeypatch.setattr(matrix_module, "probe", lambda each, limit: Probe(True, seconds[each.name]))
    begun: list[str] = []

    def record(tasks: Any, rows: Mapping[str, Row], *_: Any) -> None:
        begun.extend(task.interpreter.name for task in tasks)
        for row in rows.values():
            row.figures = Figures("", "", 100.0, 2, 0, 0, 0, ())

    monkeypatch.setattr(matrix_module, "run_all", record)
    assert folder.run("all") == 0
    assert begun == ["snail", "dog", "hare"]


def test_the_driver_is_made_by_the_compiler(folder: Folder, tmp_path: Path) -> None:
    """The ctypes adapter gets the file whose name the compiler prints; without a compiler it looks for one itself."""
    folder.program("a")
    folder.program("b")
    folder.program("b-cc", 'mkdir -p "$3" && echo "$2 $4" > "$3/$1.so" && echo "$3/$1.so"')
    found = find(folder.root)
    adapter = specs() / "adapters" / "ctypes_adapter.py"
    assert adapter_command(found["a"], "ctypes", tmp_path / "made") == [str(found["a"].program), str(adapter)]
    made = tmp_path / "made" / "driver.so"
    command = adapter_command(found["b"], "ctypes", tmp_path / "made")
    assert command == [str(found["b"].program), str(adapter), "--driver", str(made)]
    assert made.read_text() == f"{specs() / 'adapters' / 'driver.c'} -DWITH_PYTHON_H\n"
    assert found["b"] == Interpreter("b", folder.root / "bin" / "b", folder.root / "bin" / "b-cc")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no module at /home/me/x/lib.so: gone", "no module at …: gone"),
        ("'/home/me' is full", "'…' is full"),
        ("https://example.org/home/me/x", "https://example.org/home/me/x"),
        ("/home/men/x", "/home/men/x"),
        ("a/b", "a/b"),
    ],
)
def test_places_of_the_machine_are_left_out(text: str, expected: str) -> None:
    """The name of a file below a folder of the machine goes; an address and another folder stay."""
    document = {"implementation": {"absent": {"macros": text}}, "vectors": [{"detail": text}], "format": 1}
    assert nowhere(document, ["/home/me/x", "/home/me"]) == {
        "implementation": {"absent": {"macros": expected}},
        "vectors": [{"detail": expected}],
        "format": 1,
    }


def test_the_display_puts_those_at_work_first() -> None:
    """A row tells how far its interpreter is, or how it ended; those that wait follow those at work."""
    waiting, broken, running = (
        Row("late", total=9),
        Row("dead", broken="cannot be started"),
        Row("busy", "running", 4, 9),
    )
    running.begin()
    console = Console(width=80)
    with console.capture() as captured:
        console.print(progress_table([broken, waiting, running]))
    lines = [" ".join(line.split()[:3]) for line in captured.get().splitlines()]
    assert lines == ["busy running 4/9", "late waiting", "dead cannot be"]
