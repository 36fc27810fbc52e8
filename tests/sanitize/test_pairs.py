"""The pairs of vectors of which one is undefined: what the generator makes, and what the model says of them."""

from __future__ import annotations

from collections import Counter
from difflib import SequenceMatcher
from typing import Any

import pytest

from capsule_model.conform.commands import known_names
from capsule_model.profiles import PROFILES
from capsule_model.sanitize.vectors.generate import texts, write_all
from capsule_model.suites import undefined_vectors
from capsule_model.trace.contract import operations
from capsule_model.trace.execute import run
from capsule_model.trace.files import Vector, load
from capsule_model.trace.needs import operations_used
from capsule_model.undefined import Kind

# Where words have 64 bits and counts have one part, nothing that the pairs are about differs.
ALIKE = [name for name in PROFILES if not {"debug", "threaded", "32"} & set(name.split("-"))]
# These are given nothing.
GIVEN_NOTHING = {"types.CapsuleType", "PyErr_NoMemory", "PyErr_Occurred", "settle"}


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Vector, Vector]]:
    """Return the committed vectors in pairs."""
    loaded = load(undefined_vectors(), known_names())
    assert loaded.problems == []
    by_id = {vector["id"]: vector for vector in loaded.vectors}
    bad = [name for name in by_id if name.startswith("undefined.")]
    assert {*by_id} == {*bad, *(name.removeprefix("un") for name in bad)}
    return [(by_id[name], by_id[name.removeprefix("un")]) for name in bad]


def test_files_are_what_the_generator_makes() -> None:
    """A change of a pair shows in the files, and a file in nothing but the pairs."""
    made = texts()
    folder = undefined_vectors()
    assert {file.name for file in folder.iterdir()} == {*made}
    for name, text in made.items():
        told = f"{name} is out of date; make it again with: python -m capsule_model.sanitize.vectors.generate"
        assert (folder / name).read_text("utf-8") == text, told


def test_files_that_are_no_more_go(tmp_path: Any) -> None:
    """A kind that has no pairs any more leaves no file of its own behind."""
    (tmp_path / "earlier.json").write_text("{}")
    write_all(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {*texts()}


@pytest.mark.parametrize("name", ALIKE)
def test_model_says_what_the_pairs_claim(name: str, pairs: list[tuple[Vector, Vector]]) -> None:
    """The undefined one ends in its kind, at its last step, about its token; the other runs to its end and is clean."""
    profile = PROFILES[name]
    ran = 0
    for bad, good in pairs:
        if not {*bad.get("requires", ())} <= profile.behaviours:
            continue
        ran += 1
        kind, found, clean = bad["id"].split(".")[1], run(bad, profile), run(good, profile)
        claimed = bad["steps"][-1].get("expect", {})
        if kind == Kind.LEAK:
            assert (found.diagnosis, found.leaks) == (None, bad["leaks"]), bad["id"]
        else:
            assert found.diagnosis is not None, bad["id"]
            seen = {"undefined": found.diagnosis.kind} | ({"of": found.of} if found.of else {})
            assert seen == claimed, bad["id"]
            assert claimed["undefined"] == kind
            assert len(found.steps) == len(bad["steps"]) - 1, bad["id"]
        assert (clean.diagnosis, clean.aborted, clean.leaks) == (None, None, []), good["id"]
        assert len(clean.steps) == len(good["steps"])
    assert ran > 350


def test_every_kind_has_pairs(pairs: list[tuple[Vector, Vector]]) -> None:
    """No kind that the model diagnoses is left out, and there are more than two hundred pairs without the leaks."""
    counted = Counter(bad["id"].split(".")[1] for bad, _ in pairs)
    assert counted.keys() == {*Kind}
    assert min(counted.values()) >= 8
    assert counted.total() - counted["leak"] >= 200


def test_every_operation_takes_part(pairs: list[tuple[Vector, Vector]]) -> None:
    """Each operation that is given an object or an address occurs in a program that is undefined."""
    used = {name for bad, _ in pairs for name in operations_used(bad)}
    known = {name for name, operation in operations().items() if operation.suite == "capsule"}
    assert known - used <= GIVEN_NOTHING


def test_pairs_differ_in_little(pairs: list[tuple[Vector, Vector]]) -> None:
    """Steps that only one of the two has are few: what gives back and frees at the end counts as one."""
    for bad, good in pairs:
        ours, theirs = (
            [str({key: value for key, value in step.items() if key != "expect"}) for step in steps]
            for steps in (every_step(bad), every_step(good))
        )
        matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
        changed = [code for code in matcher.get_opcodes() if code[0] != "equal"]
        assert len(changed) <= 4, bad["id"]
        assert bad["title"] != good["title"]


def every_step(vector: Vector) -> list[Any]:
    """Return the steps of a vector, and those of its functions and modules behind them."""
    functions = [step for function in vector.get("functions", {}).values() for step in function.get("steps", ())]
    return [*vector["steps"], *functions]
