"""The command `conform`: outcomes, exit codes, what is sent, and what people and programs get to read."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from vector_samples import CONTROLS, GET, NEW, QUIET, ROOT, SOUND, WRONG, Fake, results, vector

from capsule_model.cli import run
from capsule_model.conform.answers import Misbehaviour, Ran, Started, Unsupported
from capsule_model.conform.report import Report, as_json, print_report, write_json
from capsule_model.conform.sides import sides_in_words
from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.trace.schema import Validator


@pytest.fixture(autouse=True)
def _import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def vectors(tmp_path: Path) -> Any:
    """Return a function that writes vectors to a file and returns its name."""

    def write(*them: Any) -> str:
        file = tmp_path / "vectors.json"
        file.write_text(json.dumps({"format": 1, "vectors": them}))
        return str(file)

    return write


def test_this_interpreter(vectors: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without options the running interpreter is held to its own profile, and the JSON keeps to its schema."""
    report = tmp_path / "report.json"
    file = vectors(vector("one", SOUND), vector("two", SOUND))
    assert run(["conform", "--vectors", file, "--json", str(report)]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[0].startswith(f"cpython {sys.version_info[0]}.{sys.version_info[1]}.")
    assert output.splitlines()[-1] == "conformant (2 vectors)"
    document = json.loads(report.read_text())
    schema = json.loads((specs() / "formats" / "report.schema.json").read_text())
    assert list(Validator(schema).faults(document, 9)) == []
    assert document["summary"]["passed"] == 2
    assert document["vectors"][0] == {
        "id": "test.sample.one",
        "outcome": "passed",
        "rules": ["PyCapsule_New/returns-capsule"],
    }


def test_sides_that_differ_read_differently() -> None:
    """Where two exceptions differ in their classes alone, the report names those."""
    model = {"type": "KeyError", "text": "k", "bases": ["LookupError"], "attributes": {}}
    texts = sides_in_words("error", {"model": model, "seen": {**model, "bases": []}})
    assert texts == {"model": 'KeyError "k" with {"bases": ["LookupError"]}', "seen": 'KeyError "k" with {"bases": []}'}
    assert sides_in_words("error", {"model": model, "seen": model}) == dict.fromkeys(("model", "seen"), 'KeyError "k"')


def test_a_forgotten_return_is_told() -> None:
    """An observation without `return`, where the model has one, gets a line that says so."""
    silent = Ran([{**QUIET, "return": {"ref": "c"}}, QUIET], ["c"])
    fake = Fake({"silent": silent})
    output = io.StringIO()
    report = Report(fake.about, PROFILES["cpython-3.13"], None, results(fake, vector("silent", SOUND)), [])
    print_report(report, Console(file=output, width=200))
    assert "seen     nothing: the observation has no return" in output.getvalue()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--draft", "{kept}"], "--draft {kept}: is there already, and may have reasons; expected a new file"),
        (["--json", "{folder}"], "--json {folder}: is a folder; expected a file"),
        (["--vectors", "{empty}"], "--vectors {empty}: no vectors; expected at least one"),
    ],
)
def test_nothing_is_lost_and_nothing_is_silent(
    options: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is there is not overwritten, a folder is no file, and no vectors are an error: one line before the run."""
    kept, empty = tmp_path / "kept.toml", tmp_path / "empty.json"
    kept.write_text("reasons")
    empty.write_text('{"format": 1, "vectors": []}')
    names = {"kept": str(kept), "folder": str(tmp_path), "empty": str(empty)}
    assert run(["conform", *(option.format(**names) for option in options)]) == 2
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("", f"capsule-model: {expected.format(**names)}\n")
    assert kept.read_text() == "reasons"


def test_what_is_not_supported_is_in_the_verdict(vectors: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An adapter that lacks something is conformant only as far as it goes, and the last line says how far."""
    lacking = Started("fake", "1", "cpython-3.13", frozenset({"PyCapsule_New"}), frozenset())
    fake = Fake({})
    fake.about = lacking
    bare = {**vector("bare"), "steps": [NEW]}
    output = io.StringIO()
    found = results(fake, bare, vector("more", SOUND))
    print_report(Report(lacking, PROFILES["cpython-3.13"], None, found, []), Console(file=output, width=200))
    last = output.getvalue().splitlines()[-1].strip()
    assert last == "conformant as far as supported: 1 passed, 1 unsupported (2 vectors)"


def test_in_process(vectors: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The adapter file runs inside this process just as well."""
    assert run(["conform", "--in-process", "--vectors", vectors(vector("one", SOUND))]) == 0
    assert "conformant (1 vector)" in capsys.readouterr().out


def test_a_divergence_shows_all_three_sides(vectors: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Vector, title, rules, step, call, key and the three answers are there; the exit code is 1."""
    assert run(["conform", "--vectors", vectors(vector("wrong", WRONG), vector("right", SOUND))]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    begin = lines.index("failed: test.sample.wrong: wrong is shown")
    assert lines[begin + 1 : begin + 6] == [
        "rules: PyCapsule_New/returns-capsule",
        'step 1: PyCapsule_GetPointer(c, "a"): return',
        "expected NULL",
        "model    p1",
        "seen     p1",
    ]
    assert lines[-1] == "not conformant: 1 failed (2 vectors)"


@pytest.mark.parametrize(
    ("control", "verdict"),
    [
        ("null", "not conformant: nothing passed (2 vectors)"),
        ("echo", "not conformant: 2 failed, nothing passed (2 vectors)"),
    ],
)
def test_controls_fail(control: str, verdict: str, vectors: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An adapter that supports nothing, and one that repeats its input, are not conformant."""
    file = vectors(vector("one", SOUND), vector("two", SOUND))
    assert run(["conform", "--adapter", f"{CONTROLS} {control}", "--vectors", file]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == verdict


def test_the_model_conforms_to_itself(vectors: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The model behind the protocol passes under the profile that it suggests."""
    file = vectors(vector("one", SOUND))
    assert run(["conform", "--adapter", f"{CONTROLS} model cpython-3.14", "--vectors", file]) == 0
    assert "profile cpython-3.14" in capsys.readouterr().out


def test_bad_vectors_cost_exit_code_2_and_nothing_else(
    vectors: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each bad vector is one line; the sound ones run and are in the JSON."""
    report = tmp_path / "report.json"
    file = vectors(vector("bad", {"op": "exec"}), 5, vector("one", SOUND))
    assert run(["conform", "--vectors", file, "--json", str(report)]) == 2
    output = capsys.readouterr().out
    assert 'vector test.sample.bad: step 1: unknown operation "exec"' in output
    assert "vector number 1: found 5; expected an object" in output
    document = json.loads(report.read_text())
    assert [v["outcome"] for v in document["vectors"]] == ["passed"]
    assert len(document["problems"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conform", "--profile", "cpython-2.7"], "unknown profile 'cpython-2.7': expected one of cpython-3.10"),
        (
            ["conform", "--adapter", "/no/such/program"],
            "the adapter cannot be started: /no/such/program: No such file or directory; expected a program",
        ),
        (["conform", "--adapter", "'"], "No closing quotation"),
        (["conform", "--adapter", "x", "--in-process"], "--adapter and --in-process exclude each other"),
        (["conform", "--min-rules", "many"], "'many' is no percentage; expected a number from 0 to 100"),
        (["conform", "--min-rules", "nan"], "'nan' is no percentage"),
        (["conform", "--time-limit", "-1"], "--time-limit"),
        (["conform", "--json", "/no/such/folder/x"], "no such folder; expected a file in one that exists"),
        (["conform", "--frob"], "No such option"),
        (["frob"], "No such command 'frob'"),
        (["explain", "capsule.nothing"], "no vector capsule.nothing; expected"),
        (["explain"], "Missing argument 'ID|FILE'"),
        (["profiles", "show", "x"], "unknown profile 'x'"),
        (["profiles", "diff", "cpython-3.12", "x"], "unknown profile 'x'"),
    ],
)
def test_bad_usage_is_one_line_and_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong with the arguments, it is said in one line on standard error."""
    assert run(arguments) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""


def test_an_adapter_that_dies_at_once_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that is no adapter is told with what it said on standard error."""
    command = f"{sys.executable} -c 'import sys; sys.exit(\"not an adapter\")'"
    assert run(["conform", "--adapter", command]) == 2
    error = capsys.readouterr().err
    assert error == ("capsule-model: the adapter ended with exit code 1; its standard error ends: not an adapter\n")


def test_text_of_an_adapter_cannot_reach_the_terminal() -> None:
    """Control characters are escaped, markup is text, lines do not break, and it fits a narrow terminal."""
    hostile = "\x1b]0;owned\x07[bold]x[/bold]\r\n"
    error = {"type": hostile, "text": hostile, "bases": []}
    fake = Fake(
        {
            "a": Ran(
                [QUIET | {"return": {"ref": hostile}}, QUIET | {"return": {hostile: hostile}, "error": error}],
                [hostile],
            ),
            "b": Unsupported(hostile),
            "c": Misbehaviour("crashed", hostile),
        },
        absent={hostile: hostile},
    )
    fake.about = Started(hostile, hostile, None, fake.about.ops, fake.about.features, {hostile: hostile})
    found = results(fake, *(vector(name, GET) for name in "abc"))
    for width in (10, 200):
        stream = io.StringIO()
        console = Console(file=stream, width=width, force_terminal=True, color_system=None, highlight=False)
        print_report(Report(fake.about, PROFILES["cpython-3.13"], None, found, []), console)
        output = stream.getvalue()
        assert not set(output) & {"\x07", "\r"}
        assert "\x1b]" not in output
        assert "[bold]x[/bold]" in output
    json.dumps(as_json(Report(fake.about, PROFILES["cpython-3.13"], None, found, [])))


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A failure in the middle leaves the old file, and nothing beside it."""
    file = tmp_path / "r.json"
    file.write_text("old")
    with pytest.raises(TypeError):
        write_json({"a": 1, "b": object()}, file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_no_colour_and_no_width_from_a_pipe(vectors: Any) -> None:
    """Where output is no terminal, there are no escape sequences, and long lines stay whole."""
    env = os.environ | {"COLUMNS": "20", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "capsule_model", "conform", "--vectors", vectors(vector("wrong", WRONG))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert "failed: test.sample.wrong: wrong is shown\n" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", [["conform"], ["--version"], []])
def test_without_the_extra_one_line_says_what_to_install(command: list[str], tmp_path: Path) -> None:
    """Without click and rich the command names the extra; there is no traceback."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-S", "-m", "capsule_model", *command],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "capsule-model: click is missing; pip install 'capsule-model[cli]'\n"
    assert done.stdout == ""


def test_the_model_itself_imports_the_standard_library_alone(tmp_path: Path) -> None:
    """Without any installed package the model and the language of steps still import."""
    code = "import capsule_model, capsule_model.trace.execute, capsule_model.trace.expectation, capsule_model.rules"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-S", "-c", code], env=env, cwd=tmp_path, check=True)
