"""A finding in words, and as a vector that holds an implementation to what the model says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from finding_samples import (
    PROFILE,
    Modelled,
    Open,
    Vector,
    adds_a_leak,
    dies_of_contexts,
    differing_in,
    fails_on,
    first_difference,
    forgets_inner_results,
    right,
    with_fault,
)

from capsule_model.conform.answers import Ran, Refused, Started, Unsupported
from capsule_model.conform.commands import known_names
from capsule_model.conform.explain import this_profile
from capsule_model.conform.local import ModelAdapter
from capsule_model.conform.runner import run_vectors
from capsule_model.conform.session import Session
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.fuzz.shrink import shrink
from capsule_model.fuzz.tell import as_vector, program_lines, tell
from capsule_model.trace.expectation import Difference
from capsule_model.trace.files import load
from capsule_model.trace.write import dump_vectors

ROOT = Path(__file__).resolve().parents[2]
NEW = {"op": "PyCapsule_New", "args": {"pointer": {"ptr": "p1"}, "name": None, "destructor": None}, "bind": "c1"}


class Adapter:
    """An implementation of the samples, as the runner wants one."""

    def __init__(self, opened: Open) -> None:
        self.opened = opened

    def start(self) -> Started:
        """Say of itself what the model says."""
        return ModelAdapter(PROFILE).start()

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Perform a vector step by step."""
        session = self.opened({key: vector[key] for key in ("functions", "modules") if key in vector})
        return Ran([session.step(step, str(index)) for index, step in enumerate(vector["steps"])], session.close())

    def stop(self) -> None:
        """Do nothing."""


def outcome(vector: Vector, opened: Open, folder: Path) -> str:
    """Write a vector to a file, read it as conform does, run it and its renamed copy, and return the outcome."""
    file = folder / "found.json"
    file.write_text(dump_vectors([vector]), encoding="utf-8")
    loaded = load(file, known_names())
    assert not loaded.problems, str(loaded.problems[0])
    session = Session(Adapter(opened))
    results, bad = run_vectors(loaded.vectors, session, session.start(), PROFILE)
    assert not bad
    return results[0].outcome


def wrong_bytes(seen: dict[str, Any], step: Mapping[str, Any], machine: Any) -> dict[str, Any]:
    """Return the right string with a wrong letter."""
    if step["op"] != "PyCapsule_GetName" or not seen["return"] or not seen["return"].get("cstr"):
        return seen
    return {**seen, "return": {**seen["return"], "cstr": seen["return"]["cstr"] + "x"}}


def other_error(seen: dict[str, Any], step: Mapping[str, Any], machine: Any) -> dict[str, Any]:
    """Replace what a failing call of SetName raises."""
    if step["op"] != "PyCapsule_SetName" or seen["error"] is None or "pending" in step:
        return seen
    return {**seen, "error": {**seen["error"], "type": "KeyError", "bases": ["LookupError", "Exception"]}}


def no_events(seen: dict[str, Any], step: Mapping[str, Any], machine: Any) -> dict[str, Any]:
    """Run no destructor where a reference is given back."""
    return {**seen, "events": []} if step["op"] == "Py_DECREF" else seen


FAULTY: dict[str, tuple[Open, str]] = {
    "order of checks": (differing_in("setpointer-checks-capsule-first"), "failed"),
    "import": (differing_in("import-no-block-keeps-error"), "failed"),
    "attribute text": (differing_in("no-dict-hint"), "failed"),
    "attributes of errors": (differing_in("set-error-context"), "failed"),
    "no attribute": (differing_in("attribute-error-context"), "failed"),
    "words": (differing_in("gc-capsule"), "failed"),
    "crash": (with_fault(dies_of_contexts), "crashed"),
    "inside a destructor": (with_fault(forgets_inner_results), "failed"),
    "leaks": (adds_a_leak, "failed"),
    "bytes": (with_fault(wrong_bytes), "failed"),
    "error": (with_fault(other_error), "failed"),
    "events": (with_fault(no_events), "failed"),
}


@cache
def found_in(opened: Open) -> Divergence:
    """Return the smallest divergence of an implementation."""
    return shrink(first_difference(opened), fails_on(opened), profile=PROFILE)


@pytest.mark.parametrize("fault", FAULTY)
@pytest.mark.parametrize("small", [True, False], ids=["shrunk", "whole"])
def test_a_vector_holds_an_implementation_to_the_model(fault: str, small: bool, tmp_path: Path) -> None:
    """What is written passes on a right implementation and fails on the faulty one, shrunk or as it was found."""
    opened, expected = FAULTY[fault]
    found = found_in(opened) if small else fails_on(opened)(first_difference(opened))
    assert found is not None
    vector = as_vector(found, "found.by-chance", PROFILE)
    assert outcome(vector, right, tmp_path) == "passed"
    assert outcome(vector, opened, tmp_path) == expected


def test_a_vector_requires_what_it_is_about() -> None:
    """The behaviours on which the expectation depends are named, and no version; most vectors have none."""
    order = as_vector(found_in(differing_in("setpointer-checks-capsule-first")), "found.order", PROFILE)
    assert order["requires"] == ["setpointer-checks-capsule-first"]
    assert order["rules"][-1] == "PyCapsule_SetPointer/invalid"
    assert "requires" not in as_vector(found_in(with_fault(dies_of_contexts)), "found.crash", PROFILE)


def test_what_is_owned_at_the_end_is_expected() -> None:
    """A program that was cut keeps its references, and the vector says so."""
    vector = as_vector(found_in(differing_in("gc-capsule")), "found.words", PROFILE)
    assert vector["leaks"] == ["c1"]


def test_undefined_steps_become_a_vector_that_is_never_sent(tmp_path: Path) -> None:
    """Where the model cannot take a step, the vector says why, and the runner keeps it to itself."""
    drop = {"op": "Py_DECREF", "args": {"op": {"ref": "c1"}}}
    found = fails_on(right)({"steps": [NEW, drop, drop, NEW]})
    assert found is not None
    vector = as_vector(found, "found.undefined", PROFILE)
    assert vector["steps"][-1]["expect"] == {"undefined": "use-after-free", "of": "c1"}
    assert outcome(vector, right, tmp_path) == "undefined"


def test_a_program_that_means_nothing_is_refused_in_one_line() -> None:
    """No vector is made of what the model cannot run."""
    difference = Difference("0", "return", 0, 1)
    steps = [{"op": "Py_DECREF", "args": {"op": {"ref": "nobody"}}}]
    with pytest.raises(ValueError, match="nothing is bound as 'nobody'"):
        as_vector(Divergence([difference], {"steps": steps}), "found.nothing", PROFILE)


@pytest.mark.parametrize("fault", FAULTY)
def test_a_finding_is_told_in_about_ten_lines(fault: str) -> None:
    """Title, program, what the model says, by which rule, what was seen, and how to run it again."""
    found = found_in(FAULTY[fault][0])
    lines = tell(found, PROFILE, "capsule-model conform --vectors found.json")
    assert 5 <= len(lines) <= 14
    assert all(len(line) <= 160 and line.isprintable() for line in lines)
    heads = [line.partition(":")[0] for line in lines]
    assert heads.index("model") < heads.index("seen") < heads.index("again")
    assert any(line.startswith("  by ") for line in lines)
    assert lines[-1].startswith("again: capsule-model conform --vectors found.json (cause ")
    assert any(line.startswith(f"model: under {PROFILE.name}: ") for line in lines)


def test_calls_and_rules_are_those_of_the_finding() -> None:
    """The last call is the one that differs, the rule is its own, and both sides are side by side."""
    lines = tell(found_in(differing_in("setpointer-checks-capsule-first")), PROFILE)
    assert lines[1] == "  PyCapsule_SetPointer(NULL, NULL)"
    assert lines[2].startswith("model: under cpython-3.13: returns -1; sets ValueError")
    assert lines[3].startswith("  by PyCapsule_SetPointer/invalid: Without a usable capsule")
    assert 'seen:  error: ValueError "PyCapsule_SetPointer called with null pointer"' in lines
    assert '  not: ValueError "PyCapsule_SetPointer called with invalid PyCapsule object"' in lines


def test_scripts_and_modules_are_shown() -> None:
    """What a destructor does, and what a module holds, is part of what was done."""
    lines = tell(found_in(with_fault(forgets_inner_results)), PROFILE)
    assert any(re.match(r"  \w+\(self\) \{ PyCapsule_Set", line) for line in lines)
    module = {"getattr": {"lazy": {"capsule": {"pointer": {"ptr": "p1"}, "name": {"cstr": "cm.lazy"}}}}}
    lines = program_lines({"modules": {"cm": module}, "steps": []})
    assert lines == ['  module cm: getattr lazy = capsule(p1, "cm.lazy")']


def test_a_long_program_is_cut() -> None:
    """Of a program that was not shrunk only the last steps are shown, and how many there were."""
    opened = differing_in("no-dict-hint")
    found = fails_on(opened)(first_difference(opened))
    assert found is not None
    lines = tell(found, PROFILE)
    before = len(found.vector["steps"]) - 6
    assert f"  … after {before} steps" in lines
    assert len(lines) <= 20


def test_words_that_agree_are_left_out() -> None:
    """Of a struct the words that differ are shown by their number."""

    def lies(seen: dict[str, Any], step: Mapping[str, Any], machine: Any) -> dict[str, Any]:
        if step["op"] != "layout":
            return seen
        return {**seen, "return": {"words": [{"refcnt": 7}, *seen["return"]["words"][1:]]}}

    lines = tell(found_in(with_fault(lies)), PROFILE)
    assert 'seen:  return: {"word 0": {"refcnt": 7}}' in lines


def test_hostile_texts_are_cleaned() -> None:
    """Escape sequences and long texts of an implementation reach nobody's terminal."""

    def lies(seen: dict[str, Any], step: Mapping[str, Any], machine: Any) -> dict[str, Any]:
        evil = {"type": "\x1b[2J", "bases": [], "text": "\x1b]0;x\x07\n" * 500, "attributes": {}}
        return {**seen, "error": evil, "indicator": "set"} if step["op"] == "PyCapsule_New" else seen

    lines = tell(found_in(with_fault(lies)), PROFILE)
    assert all(len(line) <= 160 and line.isprintable() for line in lines)


def test_a_right_interpreter_passes_what_was_found_on_a_wrong_one(tmp_path: Path) -> None:
    """The file is what `capsule-model conform --vectors` runs on the interpreter at hand."""
    profile = this_profile()
    opened = partial(Modelled, profile=profile, fault=other_error)
    found = shrink(first_difference(opened, profile), fails_on(opened, profile), profile=profile)
    file = tmp_path / "found.json"
    file.write_text(dump_vectors([as_vector(found, "found.error", profile)]), encoding="utf-8")
    command = [sys.executable, "-m", "capsule_model", "conform", "--vectors", str(file), "--json", "report.json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (result,) = json.loads((tmp_path / "report.json").read_text("utf-8"))["vectors"]
    assert (result["id"], result["outcome"]) == ("found.error", "passed")
