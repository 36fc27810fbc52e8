"""What one's own tests can draw, and the machine of an implementation behind an adapter."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis.stateful import run_state_machine_as_test

import capsule_model.fuzz
from capsule_model.conform.commands import known_names
from capsule_model.fuzz.behind import machine_for_adapter
from capsule_model.fuzz.campaign.implementations import BehindAdapter, judged
from capsule_model.fuzz.machine import SETTINGS, Failure
from capsule_model.fuzz.real import Boxed, api, is_supported
from capsule_model.fuzz.shrink import is_defined
from capsule_model.fuzz.strategies import capsule_names, capsules, programs, vectors
from capsule_model.profiles import PROFILES
from capsule_model.trace.execute import run
from capsule_model.trace.files import load
from capsule_model.trace.write import dump_vectors

ROOT = Path(__file__).resolve().parents[2]
QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
REPEATABLE = settings(SETTINGS, max_examples=8, stateful_step_count=20, derandomize=True, database=None)

# An adapter that answers for the model, and does to each answer what is put in the place of FAULT.
ADAPTER = """
import json, os, sys, time
from capsule_model.conform.local import ModelAdapter
from capsule_model.conform.answers import Misbehaviour
from capsule_model.profiles import profile_named
model = ModelAdapter(profile_named("cpython-3.13"))
about = model.start()
for line in sys.stdin:
    asked = json.loads(line)
    if asked["cmd"] == "start":
        answer = {"protocol": 1, "implementation": "modelled", "version": "1", "profile": about.profile,
                  "ops": sorted(about.ops - LACKING), "features": sorted(about.features - LACKING)}
    elif asked["cmd"] == "run":
        ran = model.run(asked["vector"])
        answer = {"steps": ran.steps, "leaks": ran.leaks}
        for step, seen in zip(asked["vector"]["steps"], answer["steps"]):
            FAULT
    else:
        answer = {"stopped": True}
    print(json.dumps({"seq": asked["seq"], **answer}), flush=True)
"""


def adapter(folder: Path, fault: str = "pass", lacking: str = "set()") -> str:
    """Write an adapter with a fault and return its command."""
    file = folder / "adapter.py"
    file.write_text(ADAPTER.replace("FAULT", fault).replace("LACKING", lacking), encoding="utf-8")
    return shlex.join(["env", f"PYTHONPATH={ROOT}", sys.executable, str(file)])


@QUICK
@given(program=programs(PROFILES["cpython-3.9"]))
def test_programs_are_defined(program: dict[str, Any]) -> None:
    """Each program that is drawn is defined under its profile."""
    assert is_defined(program, PROFILES["cpython-3.9"])


def test_vectors_are_valid(tmp_path: Path) -> None:
    """A drawn vector is read as conform reads it, and the model does what it expects."""
    drawn: list[dict[str, Any]] = []

    @settings(QUICK, max_examples=8)
    @given(vector=vectors(max_steps=12))
    def draw(vector: dict[str, Any]) -> None:
        drawn.append({**vector, "id": f"fuzz.drawn{len(drawn)}"})

    draw()
    file = tmp_path / "drawn.json"
    file.write_text(dump_vectors(drawn), encoding="utf-8")
    loaded = load(file, known_names())
    assert not loaded.problems, str(loaded.problems[0])
    assert len(loaded.vectors) == len(drawn) >= 5
    from capsule_model.conform.runner import expected_differences

    for vector in loaded.vectors:
        profile = PROFILES["cpython-3.13"]
        assert not expected_differences(vector, profile, run(vector, profile))


@QUICK
@given(name=capsule_names())
def test_names_are_c_strings(name: bytes | None) -> None:
    """A name is NULL or bytes up to a NUL."""
    assert name is None or b"\0" not in name


@pytest.mark.parametrize("wanted", [None, b"", b"mod.attr"])
def test_names_that_matter_are_drawn(wanted: bytes | None) -> None:
    """NULL, the empty name and a dotted one are among them, and such that are no UTF-8."""
    assert find(capsule_names(), lambda name: name == wanted, settings=QUICK) == wanted
    assert find(capsule_names(), lambda name: b"\xff" in (name or b""), settings=settings(QUICK, max_examples=500))


@pytest.mark.skipif(is_supported() is not None, reason=str(is_supported()))
@QUICK
@given(boxed=capsules())
def test_capsules_are_what_they_say(boxed: Boxed) -> None:
    """A drawn capsule is a real one, with the pointer, name and context that it says."""
    assert type(boxed.object).__name__ == "PyCapsule"
    assert api("PyCapsule_GetPointer")(boxed.address, boxed.keep.string(boxed.name)) == boxed.pointer
    assert (api("PyCapsule_GetContext")(boxed.address) or 0) == boxed.context


def test_a_right_adapter_passes(tmp_path: Path) -> None:
    """The model behind the protocol is no different from the model, nor is one that lacks most features."""
    run_state_machine_as_test(machine_for_adapter(adapter(tmp_path)), settings=REPEATABLE)
    lacking = "{'error-indicator', 'compiled-destructors', 'native-destructors', 'modules', 'gc', 'memory', 'string'}"
    made = machine_for_adapter(adapter(tmp_path, lacking=lacking))
    run_state_machine_as_test(made, settings=REPEATABLE)
    made.behind.close()


@pytest.mark.parametrize(
    ("fault", "operation", "key"),
    [
        ("seen['return'] = 5 if step['op'] == 'PyCapsule_SetName' else seen.get('return')", "SetName", "return"),
        ("answer['leaks'] = ['p1']", "", "leaks"),
        ("os.abort() if step['op'] == 'PyCapsule_SetContext' else 0", "PyCapsule_SetContext", "crashed"),
    ],
    ids=["difference", "leak", "crash"],
)
def test_a_faulty_adapter_fails_with_the_shortest_program(fault: str, operation: str, key: str, tmp_path: Path) -> None:
    """A difference, a crash and a hang are each told in lines and as a vector that ends with the step to blame."""
    guard = "if step['op'] == 'PyCapsule_SetName': seen['return'] = 5" if key == "return" else fault
    made = machine_for_adapter(adapter(tmp_path, guard))
    made.budget = 9 if key == "crashed" else 60
    with pytest.raises(Failure) as failure:
        run_state_machine_as_test(made, settings=REPEATABLE)
    text = str(failure.value)
    made.behind.close()
    told, written = text[: text.index('{"format"')], text[text.index('{"format"') :]
    assert f"seen:  {key}: " in told
    (vector,) = json.loads(written)["vectors"]
    assert len(vector["steps"]) <= (20 if key == "crashed" else 3)
    assert operation in (vector["steps"][-1]["op"] if vector["steps"] else "")


def test_a_hang_is_found_and_the_next_program_answered(tmp_path: Path) -> None:
    """An adapter that hangs is ended in time, and started again as often as it takes."""
    behind = BehindAdapter(adapter(tmp_path, "time.sleep(60) if step['op'] == 'PyErr_Clear' else 0"), None, 1.5)
    found = judged(behind, {"steps": [{"op": "PyErr_Clear", "args": {}}]})
    assert found is not None
    assert found.differences[0].key == "timed-out"
    assert judged(behind, {"steps": [{"op": "PyErr_Occurred", "args": {}}]}) is None
    behind.close()


def test_an_adapter_that_is_late_once_is_asked_again(tmp_path: Path) -> None:
    """A busy machine is no finding: the same program is sent once more before it is one."""
    mark = tmp_path / "late"
    late = f"(open({str(mark)!r}, 'x'), time.sleep(60)) if not os.path.exists({str(mark)!r}) else 0"
    behind = BehindAdapter(adapter(tmp_path, late), None, 1.5)
    assert judged(behind, {"steps": [{"op": "PyErr_Clear", "args": {}}]}) is None
    assert mark.exists()
    behind.close()


def test_an_adapter_that_does_not_start_is_named() -> None:
    """A wrong command is one line."""
    with pytest.raises(ValueError, match="the adapter cannot be started: no-such-program"):
        machine_for_adapter("no-such-program")


def test_what_an_adapter_refuses_is_told(tmp_path: Path) -> None:
    """A program that the adapter calls wrong or unsupported is a difference of its own."""
    for key, answer in (("refused", "{'error': 'no', 'step': '0'}"), ("unsupported", "{'unsupported': 'all'}")):
        command = adapter(tmp_path, f"answer = {answer}; break")
        behind = BehindAdapter(command, None, 10)
        found = judged(behind, {"steps": [{"op": "PyErr_Clear", "args": {}}]})
        behind.close()
        assert found is not None
        assert found.differences[0].key == key


def test_public_names_are_there_and_cost_nothing() -> None:
    """Every public name means something, and importing the package imports no Hypothesis."""
    assert all(getattr(capsule_model.fuzz, name) is not None for name in capsule_model.fuzz.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = capsule_model.fuzz.nothing
    code = "import sys; from capsule_model.fuzz import as_vector, cause_of; "
    code += "import capsule_model.fuzz.shrink, capsule_model.fuzz.tell; "
    code += "sys.exit(any(name in sys.modules for name in ('hypothesis', 'jsonschema_rs', 'rich', 'click')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
