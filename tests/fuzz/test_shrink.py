"""Shrinking: the smallest program of the same cause, defined all the way, within its bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from finding_samples import (
    PROFILE,
    Open,
    adds_a_leak,
    dies_of_contexts,
    differing_in,
    fails_on,
    first_difference,
    forgets_inner_results,
    right,
    with_fault,
)

from capsule_model.conform.answers import Misbehaviour
from capsule_model.fuzz.cause import cause_of
from capsule_model.fuzz.lockstep import Divergence, Session
from capsule_model.fuzz.shrink import is_defined, replay, shrink, without_steps
from capsule_model.trace.execute import run

Vector = dict[str, Any]
NEW = {"op": "PyCapsule_New", "args": {"pointer": {"ptr": "p1"}, "name": None, "destructor": None}, "bind": "c1"}
DROP = {"op": "Py_DECREF", "args": {"op": {"ref": "c1"}}}
# By name: what is faulty, and the operations of the smallest program that shows it.
SMALLEST: dict[str, tuple[Open, list[str]]] = {
    "order of checks": (differing_in("setpointer-checks-capsule-first"), ["PyCapsule_SetPointer"]),
    "import": (differing_in("import-no-block-keeps-error"), ["PyCapsule_Import"]),
    "attribute": (differing_in("no-dict-hint"), ["PyCapsule_New", "PyObject_SetAttrString"]),
    "layout": (differing_in("gc-capsule"), ["PyCapsule_New", "layout"]),
    "crash": (with_fault(dies_of_contexts), ["PyCapsule_New", "PyCapsule_SetContext"]),
    "inside a destructor": (with_fault(forgets_inner_results), ["PyCapsule_New", "Py_DECREF"]),
}


@pytest.mark.parametrize("fault", SMALLEST)
def test_the_smallest_program_is_found(fault: str) -> None:
    """A program of 150 steps becomes the few that show its fault, with the same cause, in less than the budget."""
    opened, operations = SMALLEST[fault]
    vector = first_difference(opened)
    runs: list[Vector] = []

    def fails(candidate: Vector) -> Divergence | None:
        runs.append(candidate)
        return replay(candidate, PROFILE, opened)

    small = shrink(vector, fails, profile=PROFILE)
    before = replay(vector, PROFILE, opened)
    assert before is not None
    assert cause_of(small).key == cause_of(before).key
    assert [step["op"] for step in small.vector["steps"]] == operations
    assert [len(small.vector.get(key, ())) for key in ("functions", "modules")] <= [1, 1]
    assert len(runs) < 500
    assert all(is_defined(candidate, PROFILE) for candidate in runs)


def test_a_crash_without_a_place_is_put_to_its_step() -> None:
    """An adapter that gets whole programs says only that it died: the step is found, and the cause names it."""
    opened = with_fault(dies_of_contexts)

    def fails(candidate: Vector) -> Divergence | None:
        found = replay(candidate, PROFILE, opened)
        if found is None:
            return None
        return Divergence([replace(found.differences[0], path="end")], {**found.vector, "steps": candidate["steps"]})

    small = shrink(first_difference(opened), fails, profile=PROFILE)
    cause = cause_of(small)
    assert (cause.operation, cause.aspect, cause.seen) == ("PyCapsule_SetContext", "crashed", "SIGSEGV")
    assert small.vector["steps"][-1]["op"] == "PyCapsule_SetContext"


def test_names_and_arguments_get_simple() -> None:
    """Names that must be equal stay equal and get short; pointers, pending errors and destructors go where they can."""
    name = {"cstr": "a.long.name"}
    function = {"kind": "destructor", "steps": [{"op": "PyErr_Clear", "args": {}}]}
    steps = [
        {"op": "string", "args": {"bytes": name}, "bind": "n7"},
        {
            **NEW,
            "args": {"pointer": {"ptr": "p3"}, "name": {"ref": "n7"}, "destructor": {"function": "d"}},
            "bind": "c9",
        },
        {
            "op": "PyCapsule_GetPointer",
            "args": {"capsule": {"ref": "c9"}, "name": name},
            "pending": {"type": "ValueError", "text": "pending"},
        },
    ]
    vector = {"functions": {"d": function}, "modules": {"m": {"attrs": {"x": {"object": "int"}}}}, "steps": steps}

    def lies(seen: dict[str, Any], step: Any, machine: Any) -> dict[str, Any]:
        # Only where a name that is not NULL matches.
        named = step["op"] == "PyCapsule_GetPointer" and step["args"]["name"] is not None
        return {**seen, "return": None} if named and seen["return"] else seen

    small = shrink(vector, fails_on(with_fault(lies)), profile=PROFILE).vector
    arguments = {"pointer": {"ptr": "p1"}, "name": {"cstr": "n"}, "destructor": None}
    assert small["steps"] == [
        {"op": "PyCapsule_New", "args": arguments, "bind": "c1"},
        {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": "c1"}, "name": {"cstr": "n"}}},
    ]
    assert small.keys() & {"functions", "modules"} == set()


def test_what_modules_hold_is_cut_down() -> None:
    """Of modules only what the difference needs is left."""
    capsule = {"capsule": {"pointer": {"ptr": "p2"}, "name": {"cstr": "m.a"}, "destructor": {"function": "d"}}}
    module = {"loaded": True, "attrs": {"a": capsule, "b": capsule}, "getattr": {"z": {"object": "int"}}}
    modules = {"m": module, "gone": None, "other": {"raises": {"type": "KeyError"}}}
    steps = [{"op": "PyCapsule_Import", "args": {"name": {"cstr": "m.a"}, "no_block": 1}}]
    vector = {"functions": {"d": {"kind": "destructor", "steps": []}}, "modules": modules, "steps": steps}

    def lies(seen: dict[str, Any], step: Any, machine: Any) -> dict[str, Any]:
        return {**seen, "return": None} if seen.get("return") else seen

    small = shrink(vector, fails_on(with_fault(lies)), profile=PROFILE).vector
    simplest = {"capsule": {"pointer": {"ptr": "p1"}, "name": {"cstr": "m.a"}, "destructor": None}}
    assert small["modules"] == {"m": {"attrs": {"a": simplest}}}
    assert small["steps"][0]["args"]["no_block"] == 0


def test_a_leak_shrinks_to_nothing_else() -> None:
    """A difference at the end of the program needs no steps that do not cause it."""
    small = shrink(first_difference(adds_a_leak, programs=1), fails_on(adds_a_leak), profile=PROFILE)
    assert cause_of(small).aspect == "leaks"
    assert len(small.vector["steps"]) <= 1


def test_another_cause_is_no_smaller_form_of_this_one() -> None:
    """What fails for another reason is not taken, though it is smaller."""

    def lies(seen: dict[str, Any], step: Any, machine: Any) -> dict[str, Any]:
        if step["op"] == "PyCapsule_CheckExact":
            return {**seen, "return": 7}
        return {**seen, "return": 1} if step["op"] == "Py_REFCNT" and seen["return"] == 2 else seen

    take, count = {"op": "Py_INCREF", "args": {"op": {"ref": "c1"}}}, {"op": "Py_REFCNT", "args": {"ob": {"ref": "c1"}}}
    check = {"op": "PyCapsule_CheckExact", "args": {"op": {"object": "int"}}}
    small = shrink({"steps": [NEW, take, count, check]}, fails_on(with_fault(lies)), profile=PROFILE)
    assert [step["op"] for step in small.vector["steps"]] == ["PyCapsule_New", "Py_INCREF", "Py_REFCNT"]


@pytest.mark.parametrize("budget", [1, 2, 7, 30])
def test_the_budget_is_kept(budget: int) -> None:
    """No more programs are run than allowed, and the best so far is given."""
    opened = differing_in("setpointer-checks-capsule-first")
    runs = 0

    def fails(candidate: Vector) -> Divergence | None:
        nonlocal runs
        runs += 1
        return replay(candidate, PROFILE, opened)

    small = shrink(first_difference(opened), fails, budget, profile=PROFILE)
    assert runs <= budget
    assert cause_of(small).operation == "PyCapsule_SetPointer"


def test_the_same_program_shrinks_to_the_same() -> None:
    """Shrinking is deterministic."""
    opened = differing_in("no-dict-hint")
    vector = first_difference(opened)
    assert shrink(vector, fails_on(opened), profile=PROFILE) == shrink(vector, fails_on(opened), profile=PROFILE)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([NEW, DROP, DROP], "use after free"),
        ([DROP], "nothing is bound"),
        ([{"op": "nothing", "args": {}}], "no such operation"),
        ([{**NEW, "pending": {"type": "KeyError"}, "leave": True}, {"op": "gc.collect", "args": {}}], "error pending"),
        ([{"op": "write", "args": {"ptr": {"ptr": "p1"}, "bytes": {"cstr": "x"}}}], "a form that write has not"),
    ],
)
def test_what_is_not_defined_is_known(steps: list[Any], why: str) -> None:
    """No program of which the model does not know what it does counts as defined."""
    assert not is_defined({"steps": steps}, PROFILE), why
    assert is_defined({"steps": [NEW, DROP]}, PROFILE)


def test_a_program_without_a_difference_is_refused() -> None:
    """What cannot be repeated, or is undefined, is said in one line instead of being shrunk."""
    with pytest.raises(ValueError, match="shows no difference"):
        shrink({"steps": [NEW]}, fails_on(right), profile=PROFILE)
    found = replay({"steps": [NEW]}, PROFILE, with_fault(lambda seen, step, machine: {**seen, "return": None}))
    assert found is not None
    with pytest.raises(ValueError, match="not defined"):
        shrink({"steps": [NEW, DROP, DROP]}, lambda vector: found, profile=PROFILE)


def test_a_step_that_the_model_cannot_take_stays() -> None:
    """A program that is undefined on the model alone is given as it is: each shorter one may be really undefined."""
    steps = [NEW, NEW, DROP, DROP]
    found = shrink({"steps": [*steps, DROP]}, fails_on(right), profile=PROFILE)
    assert found.differences[0].key == "the model"
    assert len(found.vector["steps"]) == 4


def test_steps_go_with_what_they_bind() -> None:
    """Leaving out a step leaves out those that use it, unless the name was bound before."""
    vector = {"steps": [NEW, DROP, NEW, DROP]}
    assert without_steps(vector, [0])["steps"] == [NEW, DROP]
    assert without_steps(vector, [2])["steps"] == [NEW, DROP, DROP]


@pytest.mark.parametrize(
    ("when", "path"), [("opening", "end"), ("step", "1"), ("closing", "end")], ids=["opening", "step", "closing"]
)
def test_a_death_is_a_divergence(when: str, path: str) -> None:
    """Replaying notes where a session died: at its start, at a step, or at its end."""

    def dies() -> None:
        raise Misbehaviour("timed-out", "gave no answer within 1 second")

    class Dying:
        def __init__(self, shared: Vector) -> None:
            if when == "opening":
                dies()
            self.inner = right(shared)

        def step(self, step: dict[str, Any], path: str) -> dict[str, Any]:
            if when == "step" and path == "1":
                dies()
            return self.inner.step(step, path)

        def close(self) -> list[str]:
            if when == "closing":
                dies()
            return self.inner.close()

    opened: Callable[[Vector], Session] = Dying
    found = replay({"steps": [NEW, DROP]}, PROFILE, opened)
    assert found is not None
    assert (found.differences[0].path, found.differences[0].key) == (path, "timed-out")
    assert len(found.vector["steps"]) == {"opening": 0, "step": 2, "closing": 2}[when]


def test_replay_is_what_a_run_says() -> None:
    """A right implementation shows no difference in a program by chance, and nothing is left open."""
    vector = first_difference(adds_a_leak, programs=1)
    assert replay(vector, PROFILE, right) is None
    assert run(vector, PROFILE).diagnosis is None
