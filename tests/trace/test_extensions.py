"""What another package adds to vectors: operations, rules, diagnoses and state, on the model."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import suite_samples
from suite_samples import ARRAY, EXTENSION, SAVE, SETTLE, Ledger, vector

from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.suites import SUITES
from capsule_model.trace import extensions
from capsule_model.trace.contract import operations
from capsule_model.trace.execute import BadVector, run
from capsule_model.trace.extensions import extension, extensions_of
from capsule_model.trace.operations import OPERATIONS
from capsule_model.undefined import UndefinedBehavior

PROFILE = PROFILES["cpython-3.13"]
CAPSULE: dict[str, Any] = {
    "op": "PyCapsule_New",
    "args": {"pointer": {"ptr": "p"}, "name": None, "destructor": {"function": "d"}},
    "bind": "c",
}
DECREF = {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}}


@pytest.mark.usefixtures("dlpack")
def test_operations_are_carried_out() -> None:
    """What the core does not know the extension does, beside the operations that every vector has."""
    result = run(vector(CAPSULE, DECREF, functions={"d": {"kind": "destructor", "steps": [ARRAY]}}), PROFILE)
    assert [step.get("return") for step in result.steps] == [{"ref": "a"}, {"ref": "c"}, None]
    (event,) = result.steps[2]["events"]
    assert event["steps"][0]["return"] == {"ref": "a#2"}
    assert result.leaks == ["a", "a#2"]


@pytest.mark.usefixtures("dlpack")
def test_an_object_that_is_not_bound_is_released() -> None:
    """The helper that shows an object gives the reference back, as with the core's operations."""
    unbound = {key: value for key, value in ARRAY.items() if key != "bind"}
    result = run({"steps": [unbound]}, PROFILE)
    assert result.steps[0]["return"] == {"object": "object"}
    assert result.leaks == []


@pytest.mark.usefixtures("dlpack")
def test_rules_of_its_modules_are_noted() -> None:
    """Marks in functions and in methods of classes are noted with the step; afterwards the plain code is back."""
    before = suite_samples._array.__code__, Ledger.add.__code__
    bare = ARRAY | {"args": {"dtype": "int32", "shape": []}}
    reached = run(vector(bare), PROFILE, rules=True).reached
    assert reached == [
        ("0", "dlpack.array/returns-object"),
        ("1", "dlpack.array/returns-object"),
        ("1", "dlpack.array/empty"),
    ]
    assert (suite_samples._array.__code__, Ledger.add.__code__) == before
    assert not hasattr(suite_samples, "__rule_reached__")


@pytest.mark.usefixtures("dlpack")
def test_state_joins_that_of_the_capsules() -> None:
    """The fields of its objects stand beside the capsules, and beside those of a capsule of the same token."""
    result = run(vector(CAPSULE, functions={"d": {"kind": "destructor"}}), PROFILE, states=True)
    assert result.states[0] == {"a": {"values": [7, 8]}}
    assert result.states[1]["c"]["refcnt"] == 1
    assert result.states[1]["a"] == {"values": [7, 8]}


@pytest.mark.usefixtures("dlpack")
def test_state_of_one_token_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that an extension shows of a capsule are added to the core's."""
    shown = replace(EXTENSION, state=lambda machine: {"c": {"tensor": 5}}, after_step=None)
    monkeypatch.setattr(suite_samples, "EXTENSION", shown)
    extension.cache_clear()
    steps = [ARRAY, CAPSULE | {"args": {**CAPSULE["args"], "destructor": None}}]
    state = run({"steps": steps}, PROFILE, states=True).states[1]["c"]
    assert (state["tensor"], state["refcnt"]) == (5, 1)


@pytest.mark.usefixtures("dlpack")
@pytest.mark.parametrize(
    ("steps", "kind", "of", "done", "rules"),
    [
        ([SAVE, SETTLE, SETTLE], "no-thread-state", None, 2, []),
        ([ARRAY | {"args": {**ARRAY["args"], "values": [13]}}], "double-free", "a#2", 1, ["dlpack.array/thirteen"]),
    ],
)
def test_what_is_found_after_a_step_is_its_outcome(
    steps: list[Any], kind: str, of: str | None, done: int, rules: list[str]
) -> None:
    """A diagnosis after a step ends that step; its kind is the extension's word or the core's, its rule is noted."""
    result = run(vector(*steps), PROFILE, rules=True)
    assert result.diagnosis is not None
    assert isinstance(result.diagnosis, UndefinedBehavior)
    assert (str(result.diagnosis.kind), result.of, len(result.steps)) == (kind, of, done)
    assert [rule for path, rule in result.reached if path == str(done)][1:] == rules
    assert result.diagnosis.where == "look_again"
    assert result.diagnosis.consequence


@pytest.mark.usefixtures("dlpack")
def test_steps_inside_functions_are_not_looked_after() -> None:
    """Only a step of the top level ends with a look: inside a destructor the thread state may be away for a while."""
    functions = {"d": {"kind": "destructor", "steps": [SAVE, SETTLE]}}
    result = run(vector(CAPSULE, DECREF, functions=functions), PROFILE)
    assert result.diagnosis is not None
    assert str(result.diagnosis.kind) == "no-thread-state"
    assert len(result.steps) == 2


@pytest.mark.usefixtures("no_dlpack")
def test_a_package_that_is_not_there() -> None:
    """Its operations are bad input that says what is missing; nothing is imported for a vector without any."""
    assert extension("dlpack") is None
    with pytest.raises(BadVector, match=r"^step 0: dlpack\.array is an operation of the suite dlpack, whose model is"):
        run(vector(), PROFILE)


@pytest.mark.usefixtures("dlpack")
def test_an_operation_that_nobody_has() -> None:
    """A row that the extension leaves out is an unknown operation, as a name in no table is."""
    for name in ("dlpack.api", "dlpack.dance"):
        with pytest.raises(BadVector, match=f"unknown operation '{name}'"):
            run(vector({"op": name}), PROFILE)


def test_vectors_of_the_core_import_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader is not asked for vectors that use the core's operations alone, or an unknown one."""
    monkeypatch.setattr(extensions, "extension", lambda suite: pytest.fail("asked"))
    assert extensions_of({"steps": [{"op": "settle"}, {"op": "nonsense"}]}) == ()
    run({"steps": [SETTLE]}, PROFILE, rules=True, states=True)


def test_a_failure_inside_the_package_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is there and lacks what it imports is not taken for one that is not there."""
    broken = ModuleType("dlpack_model.vectors")

    def fail(name: str) -> Any:
        raise ModuleNotFoundError("no numbers", name="numbers_model")

    monkeypatch.setattr(broken, "__getattr__", fail, raising=False)
    monkeypatch.setitem(sys.modules, "dlpack_model.vectors", broken)
    extension.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="no numbers"):
        extension("dlpack")
    assert extension("capsule") is None


def test_the_rows_of_the_suite() -> None:
    """Text and table agree on the arguments and which of them may be left out; each row needs the feature."""
    text = (specs() / "formats" / "vector.md").read_text("utf-8")
    rows = [row for row in operations().values() if row.suite == "dlpack"]
    assert len(rows) == 22
    for row in rows:
        assert row.needs == {"dlpack"}
        assert row.optional <= set(row.args)
        args = ", ".join(f"[{arg}]" if arg in row.optional else arg for arg in row.args)
        assert f"`{row.name}({args})`" in text
    assert {row.suite for row in operations().values()} <= set(SUITES)
    assert {row.name for row in operations().values() if row.suite == "capsule"} == OPERATIONS.keys()
