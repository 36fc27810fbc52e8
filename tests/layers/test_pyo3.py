"""The model of PyO3's capsules: its face in Python, its versions, and the table of PyO3's own tests."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from capsule_model import Abort, Interpreter, UndefinedBehavior
from capsule_model.conform.profile_diff import outcome
from capsule_model.conform.specification import read_rules
from capsule_model.layers.pyo3 import (
    BEHAVIOURS,
    OPERATIONS,
    Absent,
    Closure,
    DoesNotCompile,
    Err,
    Ok,
    PyO3,
    Value,
    crate,
)
from capsule_model.layers.pyo3.versions import NEWEST, OLDEST, behaviours_of, version_named
from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.suites import chapters_of, vectors_of
from capsule_model.trace.contract import operations
from capsule_model.trace.execute import BadVector, run
from capsule_model.trace.files import load
from capsule_model.trace.meaning import Known

PROFILE = PROFILES["cpython-3.13"]
CHAPTER = specs() / "layers" / "pyo3.md"
VALUE = Value(bytes([123, 0, 0, 0]), 4)
ROW = re.compile(r"^\| (.+?) \| `(PyO3\.[^`]+)` \| `(layers\.pyo3\.[^`]+)` \|$", re.MULTILINE)


@cache
def _vectors() -> dict[str, dict[str, Any]]:
    loaded = load(vectors_of("layers"), Known(None, None, None))
    assert not loaded.problems
    return {vector["id"]: vector for vector in loaded.vectors if vector["id"].startswith("layers.pyo3.")}


def test_the_table_of_pyo3s_tests_is_true() -> None:
    """Every test of PyO3 is shown by a vector that lists the rule, and the rule is one of the chapter's."""
    rows = ROW.findall(CHAPTER.read_text("utf-8"))
    rules = {rule.id for rule in read_rules(chapters_of("layers"))}
    assert len(rows) == 26
    for test, rule, vector in rows:
        assert rule in rules, test
        assert rule in _vectors()[vector]["rules"], test


def test_every_vector_that_the_chapter_names_is_there() -> None:
    """The tables send nobody to a vector that does not exist, and each statement of the documentation has one."""
    text = CHAPTER.read_text("utf-8")
    assert set(re.findall(r"`(layers\.pyo3\.[^`]+)`", text)) <= _vectors().keys()
    statements = text.partition("## The page of documentation")[2].partition("## PyO3's own tests")[0]
    assert (
        len(re.findall(r"^\| .+ \| (?:true|false|of none)[^|]* \| `layers\.pyo3\.[^`]+` \|$", statements, re.M)) == 18
    )


def test_the_table_of_operations_is_true() -> None:
    """The chapter names each operation with its arguments, and which of them may be left out."""
    rows = [row for row in operations().values() if row.name.startswith("PyO3.")]
    text = CHAPTER.read_text("utf-8")
    for row in rows:
        arguments = ", ".join(f"[{name}]" if name in row.optional else name for name in row.args)
        assert f"| `{row.name}({arguments})` |" in text
    assert {row.name for row in rows} == OPERATIONS.keys()


def test_the_table_of_versions_is_true() -> None:
    """The chapter says of each behaviour which versions have it, as it is declared."""
    told: dict[str, str] = {}
    for names, versions in re.findall(
        r"^\| (`.+`) \| ((?:from|up to|0\.).*?) \|$", CHAPTER.read_text("utf-8"), re.MULTILINE
    ):
        told |= dict.fromkeys(re.findall(r"`([^`]+)`", names), versions)
    assert told == {name: _range(one.since, one.until) for name, one in BEHAVIOURS.items()}


def _range(since: tuple[int, int], until: tuple[int, int]) -> str:
    first, last = (f"{version[0]}.{version[1]}" for version in (since, until))
    if until == NEWEST:
        return f"from {first}"
    return f"up to {last}" if since == OLDEST else f"{first} to {last}"


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_each_behaviour_changes_a_vector(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference between versions that no vector shows would be declared for nothing."""
    plain = {key: outcome(vector, PROFILE) for key, vector in _vectors().items()}
    monkeypatch.setattr(crate, "behaviours_of", lambda version: behaviours_of(version) ^ {name})
    changed = [key for key, vector in _vectors().items() if _outcome(vector) != plain[key]]
    assert changed


def _outcome(vector: dict[str, Any]) -> Any:
    try:
        return outcome(vector, PROFILE)
    except BadVector as error:
        return str(error)


def test_the_newest_version_by_its_face() -> None:
    """A value goes in, is found under its name alone, and is freed with the capsule; errors are results."""
    rust = PyO3(Interpreter("cpython-3.13"))
    name, other = rust.py.cstring("foo"), rust.py.cstring("bar")
    capsule = rust.new_with_value(VALUE, name).unwrap()
    found, missed = rust.pointer_checked(capsule, name).unwrap(), rust.pointer_checked(capsule, other)
    assert rust.py.read(found, 4) == VALUE.data
    assert isinstance(missed, Err)
    assert (missed.error.type, rust.py.error) == ("ValueError", None)
    with pytest.raises(RuntimeError, match=r"\Acalled `Result::unwrap\(\)` on an `Err` value: ValueError\("):
        missed.unwrap()
    rust.drop(capsule)
    assert rust.py.leaks() == []
    with pytest.raises(UndefinedBehavior, match=r"\Ause-after-free"):
        rust.py.read(found, 4)


def test_a_cast_that_fails_is_a_type_error() -> None:
    """The text of a failing cast names both types, and has a form of its own for None."""
    rust = PyO3(Interpreter("cpython-3.13"))
    mine = rust.py.new_object("Mine")
    failed = rust.cast(mine)
    assert isinstance(failed, Err)
    assert repr(failed.error) == "TypeError(\"'Mine' object is not an instance of 'PyCapsule'\")"


def test_closures_get_the_value_and_may_panic() -> None:
    """A closure is called with bytes and context; one that panics ends the process, after the box was freed."""
    rust = PyO3(Interpreter("cpython-3.13"))
    calls = list[tuple[bytes, int]]()

    def body(value: bytes, context: int) -> None:
        calls.append((value, context))

    closure = Closure(body, panics=True)
    made = rust.new_with_value_and_destructor(VALUE, rust.py.cstring("foo"), closure).unwrap()
    assert rust.set_context(made, 4096) == Ok(None)
    with pytest.raises(Abort, match="panic in a function that cannot unwind"):
        rust.drop(made)
    assert calls == [(VALUE.data, 4096)]


def test_what_a_version_has_not() -> None:
    """Functions that are absent, and types that do not compile, are told apart and named."""
    rust = PyO3(Interpreter("cpython-3.13"))
    rust.use("0.26.1")
    with pytest.raises(Absent, match=r"\APyO3 0\.26 has no pointer_checked\Z"):
        rust.pointer_checked(0, 0)
    with pytest.raises(DoesNotCompile, match="must not be zero-sized") as refused:
        rust.new(Value(b""), 0)
    assert refused.value.bound == "AssertNotZeroSized"


@pytest.mark.parametrize(
    "text", ["0.15", "0.30", "1.0", "0", "0.16.6", "0.29.2.1", "latest", "0.²9", "0." + "9" * 5000]
)
def test_versions_that_are_not_known(text: str) -> None:
    """What is no version that is modelled is refused in one short line."""
    with pytest.raises(ValueError, match=r"\Ano version .{2,30} of PyO3: expected one from 0\.16 to 0\.29, without"):
        version_named(text)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"op": "PyO3.version", "args": {"version": "2"}}, r"step 0: no version '2' of PyO3: expected one from"),
        (
            {"op": "PyO3.new", "args": {"value": {"hex": "00"}, "name": None, "traits": ["lazy"]}},
            r"step 0: no trait 'lazy': expected one of value-not-send",
        ),
        (
            {"op": "PyO3.new", "args": {"value": {"hex": "000000"}, "name": None, "align": 2}},
            r"step 0: a value of 3 bytes aligned to 2: expected at most 4096 bytes, and an alignment",
        ),
        (
            {"op": "PyO3.new_with_destructor", "args": {"value": {"hex": "00"}, "name": None, "destructor": None}},
            r'step 0: destructor must be {"function": …}, one that the vector declares',
        ),
        (
            {"op": "PyO3.import", "args": {"name": {"cstr": "m.cap"}, "align": 3}},
            r"step 0: align 3: expected a power of two up to 128",
        ),
        (
            {"op": "PyO3.reference", "args": {"capsule": {"object": "int"}, "size": 1 << 40}},
            r"step 0: size 1099511627776: expected a number from 1 to 4096",
        ),
    ],
)
def test_steps_that_make_no_sense(step: dict[str, Any], message: str) -> None:
    """Bad arguments of a step are told with the step and with what would be right."""
    with pytest.raises(BadVector) as raised:
        run({"steps": [step]}, PROFILE)
    assert re.match(message, str(raised.value))
