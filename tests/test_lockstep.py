"""Lockstep: the model and the running interpreter in the same programs, and whether a difference is noticed."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from capsule_model import capsule, imports, python_view, runtime
from capsule_model.fuzz.lockstep import Divergence, Lockstep, Session, campaign, main, this_interpreter
from capsule_model.fuzz.machine import machine
from capsule_model.fuzz.programs import Seeded, world
from capsule_model.profiles import PROFILES, Profile
from capsule_model.trace.execute import run
from capsule_model.trace.write import dump_vectors

ROOT = Path(__file__).resolve().parent.parent
Open = Callable[[dict[str, Any]], Session]

# Few and small programs find each of the faults below; a thorough run has its own figures.
QUICK = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def here() -> tuple[Profile, Open]:
    """Return the profile of this interpreter and what opens a session on it."""
    try:
        return this_interpreter()
    except ValueError as reason:
        pytest.skip(str(reason))


class Counting:
    """A session that counts the steps made in all of its kind, and notes which capsules were looked at."""

    steps = 0
    looked: ClassVar[set[str]] = set()

    def __init__(self, inner: Session) -> None:
        self.inner = inner

    def step(self, step: dict[str, Any], path: str) -> dict[str, Any]:
        """Perform the step and count it."""
        Counting.steps += 1
        if step["op"] == "layout":
            Counting.looked.add(step["args"]["op"]["ref"])
        return self.inner.step(step, path)

    def close(self) -> list[str]:
        """End the vector."""
        return self.inner.close()


class Lying(Counting):
    """A session that changes one key of what it saw, where that key has a value of its own."""

    def __init__(self, inner: Session, key: str, lie: Callable[[Any], Any]) -> None:
        super().__init__(inner)
        self.key = key
        self.lie = lie

    def step(self, step: dict[str, Any], path: str) -> dict[str, Any]:
        """Perform the step and lie about it."""
        seen = super().step(step, path)
        if self.key == "leaks" or not seen.get(self.key):
            return seen
        return {**seen, self.key: self.lie(seen[self.key])}

    def close(self) -> list[str]:
        """End the vector, and lie about that too if it is what this session lies about."""
        leaks = super().close()
        return ["p1"] if self.key == "leaks" else leaks


def test_hypothesis_finds_no_difference(here: tuple[Profile, Open]) -> None:
    """The state machine holds the model against this interpreter, over at least 8,000 steps."""
    profile, session = here
    before = Counting.steps
    thorough = settings(QUICK, max_examples=160, stateful_step_count=50)
    run_state_machine_as_test(machine(lambda shared: Counting(session(shared)), profile), settings=thorough)
    assert Counting.steps - before >= 8_000
    assert Counting.looked >= {"c1", "cm_fuzz.cap", "cm_fuzz.holder.cap", "cm_capsule"}


def test_a_campaign_finds_no_difference(here: tuple[Profile, Open]) -> None:
    """At least 50,000 steps of programs from a seed are the same on both sides, and progress is told."""
    profile, session = here
    told: list[int] = []
    done, found = campaign(50_000, 20_260, profile, session, told.append)
    assert found is None, str(found)
    assert done >= 50_000
    assert told == sorted(set(told))
    assert told[-1] == done


# What is broken: a function of the model, and the piece of its source that is replaced.
FAULTS: dict[str, tuple[Any, str, str]] = {
    "GetPointer accepts a NULL name": (
        capsule.PyCapsule_GetPointer,
        "if not _name_matches",
        "if name != NULL and not _name_matches",
    ),
    "invalid capsules have another text": (capsule._is_legal_capsule, "with invalid", "with an invalid"),
    "IsValid ignores the pointer": (capsule.PyCapsule_IsValid, "struct.pointer == NULL", "False"),
    "SetContext stores nothing": (capsule.PyCapsule_SetContext, "struct.context = context", "pass"),
    "SetName fails with 0": (capsule.PyCapsule_SetName, "return -1", "return 0"),
    "New has another text": (capsule.PyCapsule_New, "null pointer", "a null pointer"),
    "repr has another text": (python_view.PyObject_Repr, "<capsule object", "<capsule"),
    "INCREF counts twice": (runtime.Py_INCREF, "+= 1", "+= 2"),
    "no destructor is called": (runtime.capsule_dealloc, "capsule.destructor != NULL", "False"),
    "deallocation clears the error": (
        runtime.PyObject_Free,
        "struct.address = NULL",
        "struct.address, py.error = 0, None",
    ),
    "Import keeps a reference": (imports.PyCapsule_Import, "Py_DECREF(py, object)\n    return", "return"),
}


def _break(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Put a function with a fault in the place of the model's."""
    function, right, wrong = FAULTS[fault]
    source = inspect.getsource(function)
    assert right in source
    space = dict(function.__globals__)
    exec(source.replace(right, wrong), space)
    monkeypatch.setattr(function, "__code__", space[function.__name__].__code__)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_campaign_notices_a_fault_of_the_model(
    fault: str, here: tuple[Profile, Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault is found within 20,000 steps, and what is found is a vector that ends where it shows."""
    _break(monkeypatch, fault)
    done, found = campaign(20_000, 3, *here)
    assert isinstance(found, Divergence)
    assert done <= 20_000
    assert found.differences[0].path.partition("/")[0] in ("end", str(len(found.vector["steps"]) - 1))


def test_a_model_that_cannot_go_on_is_a_divergence(here: tuple[Profile, Open], monkeypatch: pytest.MonkeyPatch) -> None:
    """Undefined behaviour that the model sees in a defined program is reported with the program."""
    profile, session = here
    opened = session({})
    try:
        both = Lockstep({}, profile, opened)
        new = {"pointer": {"ptr": "p1"}, "name": None, "destructor": None}
        assert both.step({"op": "PyCapsule_New", "args": new, "bind": "c"}) is None
        both.machine.py.Py_DECREF(both.machine.tokens.address["c"])
        found = both.step({"op": "Py_REFCNT", "args": {"ob": {"ref": "c"}}})
    finally:
        opened.close()
    assert found is not None
    assert found.differences[0].seen.startswith("use-after-free: ")
    assert [step["op"] for step in found.vector["steps"]] == ["PyCapsule_New", "Py_REFCNT"]


@pytest.mark.parametrize(
    ("key", "lie"),
    [
        ("return", lambda value: 2 if value == 1 else value),
        ("error", lambda error: {**error, "text": error["text"] + "."}),
        ("error", lambda error: {**error, "type": "Exception"}),
        ("indicator", lambda word: "unchanged" if word == "replaced" else word),
        ("events", lambda events: events[:-1]),
        ("events", lambda events: [{**event, "refcnt": 1} for event in events]),
        ("leaks", None),
    ],
)
def test_a_campaign_notices_an_implementation_that_differs_in_one_key(
    key: str, lie: Callable[[Any], Any], here: tuple[Profile, Open]
) -> None:
    """Returns, errors, the indicator, events and leaks are each compared; what differs is named."""
    profile, session = here
    _, found = campaign(20_000, 4, profile, lambda shared: Lying(session(shared), key, lie))
    assert found is not None
    assert found.differences[0].key.startswith(key)
    assert str(found.differences[0]) in str(found)


def test_hypothesis_shows_the_shortest_program(here: tuple[Profile, Open], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is shrunk to the call that shows it, and the failure has the vector that runs to it."""
    profile, session = here
    _break(monkeypatch, "invalid capsules have another text")
    with pytest.raises(AssertionError) as failure:
        run_state_machine_as_test(machine(session, profile), settings=settings(QUICK, max_examples=500))
    text = str(failure.value)
    assert "called with invalid PyCapsule object" in text
    told, written = text[: text.index('{"format"')], text[text.index('{"format"') :]
    assert len(told.splitlines()) <= 10
    (vector,) = json.loads(written)["vectors"]
    assert len(vector["steps"]) == 1
    assert vector.keys() & {"functions", "modules"} == set()
    assert "called with an invalid PyCapsule object" in run(vector, profile).steps[-1]["error"]["text"]


def test_hypothesis_compares_leaks_and_ends_the_session(here: tuple[Profile, Open]) -> None:
    """At the end of a program the state machine compares what is leaked, and it closes what it opened."""
    profile, session = here

    def lying(shared: dict[str, Any]) -> Session:
        return Lying(session(shared), "leaks", lambda leaks: leaks)

    with pytest.raises(AssertionError, match="leaks"):
        run_state_machine_as_test(machine(lying, profile), settings=settings(QUICK, phases=[Phase.generate]))
    session({}).close()


def test_a_seed_names_its_programs() -> None:
    """The same seed makes the same functions and modules, another seed others."""
    profile = PROFILES["cpython-3.13"]
    assert world(Seeded("5.0"), profile) == world(Seeded("5.0"), profile)
    assert world(Seeded("5.0"), profile) != world(Seeded("6.0"), profile)


def test_debug_builds_get_quiet_destructors() -> None:
    """Where a destructor that leaves an error ends the process, none of the programs has one."""
    worlds = [world(Seeded(seed), PROFILES["cpython-3.13-debug"])["functions"] for seed in range(20)]
    assert not any(
        step.get("leave") for functions in worlds for one in functions.values() for step in one.get("steps", ())
    )
    assert any("leave" in str(world(Seeded(seed), PROFILES["cpython-3.13"])["functions"]) for seed in range(20))


def test_the_command(here: tuple[Profile, Open]) -> None:
    """Anybody can repeat a campaign: the command names profile, seed, steps and outcome."""
    command = [sys.executable, "-m", "capsule_model.fuzz.lockstep", "--steps", "400", "--seed", "9"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(rf"{here[0].name}, seed 9: \d+ steps in \d+\.\d s, no divergence\n", ended.stdout)


def test_the_command_shows_a_divergence(
    here: tuple[Profile, Open], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A divergence ends it with 1, and the last thing printed is the program as a vector file."""
    _break(monkeypatch, "SetContext stores nothing")
    assert main(["--steps", "2000", "--seed", "1"]) == 1
    printed = capsys.readouterr().out
    text = printed[printed.index('{"format"') :]
    assert dump_vectors(json.loads(text)["vectors"]) == text
    assert "a divergence" in printed


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--steps", "many"], ["--seed"], ["--wrong"]])
def test_the_command_refuses_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Bad usage ends with 2 before anything runs."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_command_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without what programs need to see, the command says so in one line and ends with 2."""
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("PATH", "")
    assert main(["--steps", "10"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lockstep: the adapter lacks error-indicator: ")
