"""The command `conform`: outcomes, exit codes, what is sent, and what people and programs get to read."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from capsule_model.cli import run
from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started, Unsupported, started
from capsule_model.conform.report import Report, as_json, print_report, sides_in_words, write_json
from capsule_model.conform.runner import Result, choose_profile, run_vectors, sent
from capsule_model.conform.session import Session
from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.trace.contract import operations
from capsule_model.trace.needs import FEATURES
from capsule_model.trace.schema import Validator

ROOT = Path(__file__).resolve().parents[2]
CONTROLS = f"{sys.executable} -m capsule_model.conform.controls"

NEW: dict[str, Any] = {
    "op": "PyCapsule_New",
    "args": {"pointer": {"ptr": "p1"}, "name": {"cstr": "a"}, "destructor": None},
    "bind": "c",
}
GET: dict[str, Any] = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "a"}}}
SOUND = GET | {"expect": {"return": {"ptr": "p1"}}}
WRONG = GET | {"expect": {"return": None}}
QUIET: dict[str, Any] = {"error": None, "indicator": "clear", "events": []}
FREE: list[dict[str, Any]] = [
    {"op": "malloc", "args": {"size": 8}, "bind": "b"},
    {"op": "free", "args": {"ptr": {"ref": "b"}}},
    {"op": "free", "args": {"ptr": {"ref": "b"}}},
]


def vector(name: str, *steps: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """Return a vector that makes a capsule, then does `steps`, and leaks the capsule."""
    start = {"id": f"test.sample.{name}", "title": f"{name} is shown", "rules": ["PyCapsule_New/returns-capsule"]}
    return {**start, "steps": [NEW, *steps], "leaks": ["c"], **keys}


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


class Fake:
    """An adapter that answers with what `answers` has for a vector's id, else as the model does."""

    def __init__(self, answers: Mapping[str, Any], profile: str = "cpython-3.13", **changes: Any) -> None:
        self.answers = answers
        self.sent: list[str] = []
        about = {"ops": frozenset(operations()), "features": frozenset(FEATURES), **changes}
        self.about = Started("fake", "1", profile, **about)

    def start(self) -> Started:
        """Begin."""
        return self.about

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Answer as told."""
        from capsule_model.trace.execute import run as model

        self.sent.append(vector["id"])
        answer = self.answers.get(vector["id"].rpartition(".")[2])
        if isinstance(answer, Misbehaviour):
            raise answer
        if answer is not None:
            return answer  # type: ignore[no-any-return]
        seen = model(vector, PROFILES["cpython-3.13"])
        return Ran(seen.steps, seen.leaks)

    def stop(self) -> None:
        """End."""


def results(fake: Fake, *vectors: Any, profile: str = "cpython-3.13") -> list[Result]:
    """Return the results of `vectors` with the adapter `fake`."""
    found, bad = run_vectors(vectors, Session(fake), fake.about, PROFILES[profile], copies=False)
    assert bad == []
    return found


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


DYING: list[dict[str, Any]] = [
    {**NEW, "args": {**NEW["args"], "destructor": {"function": "d"}}},
    {"op": "Py_INCREF", "args": {"op": {"ref": "c"}}},
    {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}},
    {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}, "expect": {"events": [{"call": "d"}]}},
]


class Recording(Fake):
    """A `Fake` that keeps what it is sent."""

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Keep the vector, and answer as the model does."""
        self.settles = [step.get("settle", False) for step in vector["steps"]]
        plain = {**vector, "steps": [{k: v for k, v in step.items() if k != "settle"} for step in vector["steps"]]}
        return super().run(plain)


@pytest.mark.parametrize(
    ("defers", "function", "expected"),
    [
        (False, {"kind": "destructor", "steps": []}, [False, False, False, False]),
        (True, {"kind": "destructor", "steps": []}, [False, False, False, True]),
        (True, {"native": "PyErr_Clear"}, [True, True, True, True]),
    ],
)
def test_steps_wait_for_destructors_that_are_deferred(
    defers: bool, function: dict[str, Any], expected: list[bool]
) -> None:
    """An adapter that defers is told where the model calls a destructor, and the result says that it was."""
    native = "native" in function
    steps = [*DYING[:-1], {key: value for key, value in DYING[-1].items() if key != "expect" or not native}]
    dying = {**vector("dying"), "steps": steps, "functions": {"d": function}, "leaks": []}
    fake = Recording({}, defers=defers)
    (result,) = results(fake, dying)
    assert fake.settles == expected
    assert (result.outcome, result.settled) == ("passed", defers)
    document = as_json(Report(fake.about, PROFILES["cpython-3.13"], None, [result], []))
    assert (document["summary"]["settled"], "settled" in document["vectors"][0]) == (int(defers), defers)
    output = io.StringIO()
    print_report(Report(fake.about, PROFILES["cpython-3.13"], None, [result], []), Console(file=output))
    assert ("steps that wait for destructors: 1" in output.getvalue()) == defers


def test_deferring_is_true_or_false() -> None:
    """Anything else in the answer to `start` breaks the protocol."""
    answer = {"protocol": 1, "implementation": "x", "version": "1", "ops": [], "features": []}
    assert not started(answer).defers
    assert started({**answer, "defers": True}).defers
    with pytest.raises(Misbehaviour, match="expected true or false"):
        started({**answer, "defers": 1})


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


def test_undefined_behaviour_is_never_sent() -> None:
    """The model alone runs a vector that ends in undefined behaviour, expected or not."""
    fake = Fake({})
    last = FREE[2] | {"expect": {"undefined": "double-free", "of": "b"}}
    expected = vector("expected", *FREE[:2], last)
    surprise = vector("surprise", *FREE)
    other = vector("other", *FREE[:2], FREE[2] | {"expect": {"undefined": "use-after-free"}})
    defined = vector("defined", GET | {"expect": {"undefined": "double-free"}})
    found = results(fake, expected, surprise, other, defined)
    assert [result.outcome for result in found] == ["undefined", "failed", "failed", "failed"]
    assert fake.sent == []
    assert [(d.key, d.model) for d in found[1].divergences] == [("undefined", "double-free of b")]
    assert (found[1].detail or "").startswith("double-free: ")


def test_nothing_that_tells_the_answer_is_sent() -> None:
    """Expectations, rules and words for the reader stay here, those inside functions too."""
    step = {**SOUND, "note": "n", "variants": [{"when": "gc-capsule", "expect": {}}], "pending": {"type": "KeyError"}}
    whole = vector(
        "whole",
        step,
        note="n",
        requires=["gc-capsule"],
        format=1,
        functions={"d": {"kind": "destructor", "max_calls": 2, "steps": [step]}, "n": {"native": "PyErr_Clear"}},
    )
    bare = {**GET, "pending": {"type": "KeyError"}}
    assert sent(whole) == {
        "format": 1,
        "id": "test.sample.whole",
        "steps": [NEW, bare],
        "functions": {"d": {"kind": "destructor", "max_calls": 2, "steps": [bare]}, "n": {"native": "PyErr_Clear"}},
    }


def test_requirements_and_lacks() -> None:
    """A vector that does not apply is not sent; one that the adapter cannot run is not sent either."""
    fake = Fake({}, features=frozenset(FEATURES) - {"memory"}, ops=frozenset(operations()) - {"Py_REFCNT"})
    count = {"op": "Py_REFCNT", "args": {"ob": {"ref": "c"}}}
    found = results(
        fake,
        vector("elsewhere", SOUND, requires=["!gc-capsule"]),
        vector("memory", *FREE[:2]),
        vector("count", count),
        vector("here", SOUND, requires=["gc-capsule"]),
    )
    assert [result.outcome for result in found] == ["not-applicable", "unsupported", "unsupported", "passed"]
    assert [result.lacking for result in found[1:3]] == [("memory",), ("Py_REFCNT",)]
    assert fake.sent == ["test.sample.here"]


def test_an_implementation_is_held_to_the_model_as_well() -> None:
    """What the vector leaves open is still compared with the model; leaks are compared, too."""
    made = QUIET | {"return": {"ref": "c"}}
    fake = Fake(
        {
            "open": Ran([made, QUIET | {"return": {"ref": "p2"}}], ["c"]),
            "leaky": Ran([made, QUIET | {"return": {"ref": "p1"}}], []),
            "short": Ran([made], ["c"]),
            "unsupported": Unsupported("a full moon"),
            "refused": Refused("no such operation", "1"),
        }
    )
    names = ("open", "leaky", "short", "unsupported", "refused")
    found = results(fake, *(vector(name, GET) for name in names))
    assert [result.outcome for result in found] == ["failed", "failed", "failed", "unsupported", "errored"]
    (open_,), (leaky,) = found[0].divergences, found[1].divergences
    assert (open_.path, open_.key, open_.model, open_.seen) == ("1", "return", {"ref": "p1"}, {"ref": "p2"})
    assert (leaky.path, leaky.key, leaky.expected, leaky.model, leaky.seen) == ("end", "leaks", ["c"], ["c"], [])
    assert [d.key for d in found[2].divergences] == ["steps"]
    assert found[4].detail == "the adapter refuses the vector: step 1: no such operation"


def test_latitude_lets_implementations_differ_from_the_model() -> None:
    """Where a rule allows either, an implementation need not choose what the model chose."""
    fake = Fake({"free": Ran([QUIET | {"return": {"ref": "c"}}, QUIET | {"return": None}], ["c"])})
    either = {"any_of": [{"return": {"ptr": "p1"}}, {"return": None}], "rule": "A/may"}
    assert [r.outcome for r in results(fake, vector("free", GET | {"expect": either}))] == ["passed"]


def test_an_expected_abort_must_kill_the_process() -> None:
    """A debug build that aborts as the vector says passes; one that lives on or ends by itself does not."""
    new = {**NEW, "args": {**NEW["args"], "destructor": {"function": "d"}}}
    raising = {"d": {"kind": "destructor", "steps": [{"op": "PyErr_NoMemory", "leave": True}]}}
    last = {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}, "expect": {"abort": True}}
    lives = Ran([QUIET | {"return": {"ref": "c"}}, QUIET], [])
    deaths = {
        "dies": Misbehaviour("crashed", "died of SIGABRT", signal.SIGABRT),
        "leaves": Misbehaviour("crashed", "ended"),
    }
    fake = Fake(deaths | {"lives": lives})
    them = [vector(name, steps=[new, last], leaks=[], functions=raising) for name in ("dies", "lives", "leaves")]
    surprise = vector("surprise", steps=[new, last | {"expect": {}}], functions=raising)
    found = results(fake, *them, surprise, profile="cpython-3.13-debug")
    assert [result.outcome for result in found] == ["passed", "failed", "crashed", "failed"]
    assert [(d.path, d.key, d.seen) for d in found[1].divergences] == [("1", "abort", "the process lives")]
    assert fake.sent == ["test.sample.dies", "test.sample.lives", "test.sample.leaves"]
    (calm,) = results(fake, them[1], profile="cpython-3.13")
    assert [(d.path, d.key) for d in calm.divergences] == [("1", "abort")]


def test_rules_are_reached_by_passed_vectors_alone() -> None:
    """A failed vector reaches nothing, and UNDEFINED rules are not in the total."""
    fake = Fake({})
    found = results(fake, vector("one", SOUND), vector("wrong", WRONG))
    report = Report(fake.about, PROFILES["cpython-3.13"], None, found, ["PyCapsule_New/returns-capsule", "A/never"])
    assert report.reached == {"PyCapsule_New/returns-capsule"}
    assert (report.percent, report.shortcomings(60)) == (50.0, ["1 failed", "50 % of the rules reached, below 60 %"])
    assert report.shortcomings(None) == ["1 failed"]
    failed = Report(fake.about, PROFILES["cpython-3.13"], None, found[1:], ["PyCapsule_New/returns-capsule"])
    assert failed.reached == frozenset()


@pytest.mark.parametrize(
    ("suggested", "name"),
    [
        ("cpython-3.12", "cpython-3.12"),
        ("cpython-3.13-free-threaded", "cpython-3.13-free-threaded"),
        ("cpython-3.99", "cpython-3.15"),
        ("cpython-3.99-debug", "cpython-3.15-debug"),
        ("cpython-3.8", "cpython-3.9"),
        ("pypy-3.11", "cpython-3.11"),
        ("cpython-3.12-of-its-own-kind", "cpython-3.12"),
        (None, "cpython-3.15"),
        ("something", "cpython-3.15"),
    ],
)
def test_the_nearest_profile(suggested: str | None, name: str) -> None:
    """An unknown suggestion leads to the nearest version built alike, and the report says that it was a guess."""
    profile, note = choose_profile(Started("x", "1", suggested, frozenset(), frozenset()), None)
    assert profile.name == name
    assert (note is None) == (suggested == name)


def test_declared_behaviours_make_a_profile() -> None:
    """An implementation that is not CPython is held to what it declares; an unknown behaviour is refused."""
    declared = Started("other", "1", "cpython-3.13", frozenset(), frozenset(), {}, frozenset({"gc-capsule"}))
    profile, _ = choose_profile(declared, None)
    assert profile.name == "other as declared"
    assert profile.behaviours == {"gc-capsule"}
    odd = Started("other", "1", None, frozenset(), frozenset(), {}, frozenset({"flies"}))
    with pytest.raises(ValueError, match="unknown behaviour 'flies'"):
        choose_profile(odd, None)


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
