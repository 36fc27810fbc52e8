"""The Hypothesis machine of programs: it finds who breaks rules, makes that small, and is quiet about the others."""

from __future__ import annotations

import json
import unittest
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis.stateful import run_state_machine_as_test

from dlpack_model.fuzz.machine import Found, consumers, machine, producers, programs, run_machine
from dlpack_model.fuzz.play import play
from dlpack_model.fuzz.programs import Step
from dlpack_model.parties import NOBODY, Parties

LATE = Parties("late", consumer=lambda described: replace(described, checks="after"))
QUICK = settings(max_examples=15, stateful_step_count=15, database=None, deadline=None, print_blob=False)


def test_who_keeps_the_rules_is_not_found() -> None:
    """The model against itself makes as many steps as were asked for, and nothing is found."""
    made = machine(NOBODY)
    assert run_machine(made, 300) is None
    assert made.steps >= 300
    assert made.found is None


def test_who_does_not_is_found_and_told_in_small() -> None:
    """The failure is an AssertionError whose text has the program in words and as a vector, and is small."""
    made = machine(LATE)
    found = run_machine(made, 3_000)
    assert found is not None
    assert made.found is not None
    assert made.found[0] <= made.steps
    text = str(found)
    words, _, vectors = text.partition('{"format": 1, "vectors"')
    assert "from_dlpack(" in words
    assert len(words.splitlines()) <= 10
    (vector,) = json.loads('{"format": 1, "vectors"' + vectors)["vectors"]
    assert len(vector["steps"]) <= 5


def test_the_same_start_makes_the_same_programs() -> None:
    """The step that differs is the same in every run."""
    first, second = machine(LATE), machine(LATE)
    run_machine(first, 3_000, 7)
    run_machine(second, 3_000, 7)
    assert first.found is not None
    assert second.found is not None
    assert first.found[0] == second.found[0]


def test_hypothesis_runs_it_as_any_other() -> None:
    """The machine runs by itself, and what it raises is small without hundreds of programs more."""
    made = machine(LATE)
    with pytest.raises(Found, match=r"from_dlpack\(") as raised:
        run_state_machine_as_test(made)
    assert raised.value.finding.step <= 5
    assert Phase.shrink not in made.TestCase.settings.phases


def test_it_is_a_test_case() -> None:
    """What a file of tests needs is the TestCase of the machine."""
    case: Any = machine(NOBODY).TestCase
    assert issubclass(case, unittest.TestCase)
    case.settings = settings(case.settings, max_examples=5)
    result = unittest.TestResult()
    case("runTest").run(result)
    assert result.wasSuccessful()


@settings(QUICK)
@given(programs(10))
def test_programs_are_a_strategy(program: list[Step]) -> None:
    """Whole programs can be drawn, and each comes to a good end."""
    seen = play(program)
    assert seen.harm is None
    assert len(seen.steps) == len(program)


@settings(QUICK, max_examples=30)
@given(producers(), consumers())
def test_parties_are_strategies(producer: dict[str, Any], consumer: dict[str, Any]) -> None:
    """Whoever is drawn can be put into a program of one's own, and keeps the rules there."""
    steps: list[Step] = [
        {"op": "dlpack.array", "args": {"dtype": "float32", "shape": [3], **producer}, "bind": "x"},
        {"op": "from_dlpack", "args": {"x": {"ref": "x"}, **consumer}, "bind": "y"},
    ]
    assert play(steps).harm is None
