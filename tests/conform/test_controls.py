"""The adapters for comparison keep to the protocol, whatever they are sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from capsule_model.locate import specs
from capsule_model.trace.schema import Validator

ROOT = Path(__file__).resolve().parents[2]
STEP: dict[str, Any] = {"op": "PyCapsule_GetName", "args": {"capsule": None}}


def spoken(*lines: str, control: str = "model") -> tuple[int, list[Any], str]:
    """Send `lines` to a control and return exit code, answers and standard error."""
    command = [sys.executable, "-m", "capsule_model.conform.controls", *control.split()]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    text = "".join(line + "\n" for line in lines)
    done = subprocess.run(command, input=text, env=env, capture_output=True, text=True, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize("control", ["model", "null", "echo"])
def test_answers_keep_to_the_schema(control: str) -> None:
    """Every kind of answer is one of the protocol's, with the seq of its request."""
    run = {"seq": 2, "cmd": "run", "vector": {"id": "test.control", "steps": [STEP]}}
    requests = [{"seq": 1, "cmd": "start", "protocol": 1}, run, {"seq": 3, "cmd": "dance"}, {"seq": 4, "cmd": "stop"}]
    code, answers, _ = spoken(*map(json.dumps, requests), control=control)
    schema = Validator(json.loads((specs() / "formats" / "protocol.schema.json").read_text()))
    assert code == 0
    assert [answer["seq"] for answer in answers] == [1, 2, 3, 4]
    assert [list(schema.faults(answer, 5)) for answer in answers] == [[]] * 4
    assert answers[2]["error"] == "unknown cmd 'dance'; expected start, run or stop"


def test_the_model_refuses_what_makes_no_sense_and_lives_on() -> None:
    """A line that is no request and a vector that means nothing are errors; the next request is answered."""
    senseless = {"seq": 1, "cmd": "run", "vector": {"steps": [{"op": "Py_INCREF", "args": {"op": {"ref": "x"}}}]}}
    code, answers, _ = spoken("{", "[]", json.dumps(senseless), json.dumps({"seq": 2, "cmd": "stop"}))
    assert code == 0
    assert ["error" in answer for answer in answers] == [True, True, True, False]
    assert answers[2]["step"] == "0"


def test_the_model_dies_of_undefined_behaviour() -> None:
    """As an adapter, the model does to its process what the behaviour might do to another."""
    step = {"op": "PyCapsule_GetName", "args": {"capsule": {"ptr": "p"}}}
    code, answers, error = spoken(json.dumps({"seq": 1, "cmd": "run", "vector": {"steps": [step]}}))
    assert code != 0
    assert answers == []
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", ["", "parrot", "model cpython-1.5"])
def test_wrong_arguments_are_one_line(arguments: str) -> None:
    """An unknown control or profile is told on standard error."""
    code, answers, error = spoken(control=arguments)
    assert (code, answers, error.count("\n")) == (2, [], 1)
