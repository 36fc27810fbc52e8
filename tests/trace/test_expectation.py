"""Matching: what a vector expects against what was seen, and one observation against another."""

from __future__ import annotations

from typing import Any

import pytest

from capsule_model.trace.expectation import Difference, compare, error_code, match_step, resolve, resolved
from capsule_model.trace.returns import MISSING

QUIET: dict[str, Any] = {"error": None, "indicator": "clear", "events": []}
NAME = "PyCapsule_GetPointer called with incorrect name"
FAILED: dict[str, Any] = {
    "return": None,
    "error": {"type": "ValueError", "bases": ["Exception", "BaseException"], "text": NAME, "attributes": {}},
    "indicator": "set",
    "events": [],
}


def keys(expect: Any, seen: Any, functions: Any = None) -> list[str]:
    """Return path and key of each difference."""
    return [f"{d.path}:{d.key}" for d in match_step(expect, seen, "0", functions or {})]


@pytest.mark.parametrize(
    ("expected", "seen", "matches"),
    [
        (None, None, True),
        (None, 0, False),
        (0, None, False),
        (1, True, False),
        (0, False, False),
        (1, 1, True),
        ({"ref": "c"}, {"ref": "c"}, True),
        ({"ref": "c"}, {"ref": "c", "offset": 0}, True),
        ({"ref": "c"}, {"ref": "c", "offset": 4}, False),
        ({"ref": "c", "offset": 4}, {"ref": "c", "offset": 4}, True),
        ({"ptr": "p1"}, {"ref": "p1"}, True),
        ({"ptr": "p1"}, {"ref": "p2"}, False),
        ({"function": "d"}, {"ref": "d"}, True),
        ({"ref": "n"}, {"ref": "n", "cstr": "a"}, True),
        ({"same": {"ref": "n"}}, {"ref": "n", "cstr": "a"}, True),
        ({"same": {"ref": "n"}}, {"ref": "m", "cstr": "a"}, False),
        ({"same": {"ref": "n", "offset": 1}}, {"ref": "n", "cstr": "a"}, False),
        ({"content": {"cstr": "a"}}, {"ref": "x", "cstr": "a"}, True),
        ({"content": {"cstr": "a"}}, {"ref": "x", "cstr": "b"}, False),
        ({"content": {"hex": "61"}}, {"ref": "x", "cstr": "a"}, True),
        ({"content": {"hex": "ff"}}, {"ref": "x", "hex": "ff"}, True),
        ({"content": {"cstr": ""}}, None, False),
        ({"content": {"cstr": ""}}, {"ref": "x"}, False),
        ({"text": "<{c}>"}, {"text": "<{c}>"}, True),
        ({"hex": "00"}, {"hex": "01"}, False),
        ({"absent": True}, {"absent": True}, True),
        ({"absent": True}, {"ref": "x"}, False),
        ({"object": "bool"}, {"object": "bool", "text": "True"}, True),
        ({"object": "bool", "text": "False"}, {"object": "bool", "text": "True"}, False),
        ({"object": "NotImplemented"}, {"object": "NotImplemented"}, True),
        ({"object": "None"}, {"ref": "None"}, True),
        ({"object": "None"}, {"object": "int", "text": "0"}, False),
        ({"hash_of": "c"}, {"hash_of": "c"}, True),
        ({"tokens": ["a", "b"]}, {"tokens": ["a"]}, False),
        (
            {"words": [{"refcnt": 1}, {"type": "PyCapsule"}, {"ref": "p", "offset": 0}, None, 0]},
            {"words": [{"refcnt": 1}, {"type": "PyCapsule"}, {"ref": "p"}, None, 0]},
            True,
        ),
        ({"words": [{"refcnt": 1}]}, {"words": [{"refcnt": 2}]}, False),
        ({"words": [0]}, {"words": [None]}, False),
        ({"values": [1, "0.5"]}, {"values": [1, "0.5"]}, True),
        ({"values": [1]}, {"values": [1, 2]}, False),
        ({"values": [1]}, {"values": ["1"]}, False),
        ({"values": []}, {"device": [1, 0]}, False),
        ({"device": [1, 0]}, {"device": [1, 0]}, True),
        ({"device": [1, 0]}, {"device": [1, 1]}, False),
        ({"fields": {"ndim": 1}}, {"fields": {"ndim": 1, "shape": [2]}}, True),
        ({"fields": {"ndim": 1}}, {"fields": {"ndim": 2}}, False),
        ({"fields": {"ndim": 1}}, {"fields": {"shape": [2]}}, False),
        ({"fields": {"strides": None}}, {"fields": {}}, False),
        ({"fields": {"shape": [2]}}, {"fields": {"shape": [2, 2]}}, False),
        ({"fields": {"data": {"ref": "p"}}}, {"fields": {"data": {"ref": "p", "offset": 0}}}, True),
        ({"fields": {"data": {"ref": "p"}}}, {"fields": {"data": {"ref": "p", "offset": 8}}}, False),
        ({"fields": {}}, {"fields": 5}, False),
        ({"fields": {}}, {"ref": "p"}, False),
    ],
)
def test_returns(expected: Any, seen: Any, matches: bool) -> None:
    """Addresses go by token, strings by identity or bytes, and nothing equals its look-alike."""
    assert keys({"return": expected}, QUIET | {"return": seen}) == ([] if matches else ["0:return"])


def test_a_return_that_is_not_there_is_a_difference() -> None:
    """An operation that was to return and did not is told apart from one that returned NULL."""
    assert match_step({"return": None}, QUIET, "0", {}) == [Difference("0", "return", None, MISSING)]


def test_keys_left_out() -> None:
    """Without a word about it no change of the indicator and no events are expected; returns are free."""
    assert keys({}, QUIET | {"return": 5}) == []
    assert keys({}, FAILED) == ["0:error"]
    assert keys({}, FAILED | {"indicator": "unchanged"}) == []
    assert keys({}, FAILED | {"indicator": "replaced"}) == ["0:error"]
    assert keys({"indicator": "set"}, FAILED) == []
    assert keys({"error": None}, FAILED) == ["0:error"]
    assert keys({}, QUIET | {"events": [{"call": "d"}]}) == ["0:events"]


@pytest.mark.parametrize(
    ("expected", "matches"),
    [
        ({"type": "ValueError"}, True),
        ({"type": "Exception"}, False),
        ({"type": "ValueError", "code": "GetPointer/name"}, True),
        ({"type": "ValueError", "code": "GetPointer/invalid"}, False),
        ({"type": "ValueError", "text": NAME}, True),
        ({"type": "ValueError", "text": NAME + "."}, False),
        ({"type": "ValueError", "attributes": {"name": "x"}}, False),
        ({"type": "ValueError", "attributes": {"name": {"absent": True}}}, True),
    ],
)
def test_errors(expected: Any, matches: bool) -> None:
    """Type and text decide the code; a client that fails for another reason does not pass."""
    assert keys({"error": expected}, FAILED) == ([] if matches else ["0:error"])


def test_attributes_are_compared_where_given() -> None:
    """Tokens in attributes are compared as addresses, other attributes may be there."""
    error = {"type": "AttributeError", "text": "x", "attributes": {"name": "a", "obj": {"ref": "m"}, "path": None}}
    seen = FAILED | {"error": error}
    assert keys({"error": {"type": "AttributeError", "attributes": {"obj": {"object": "m"}}}}, seen) == []
    assert keys({"error": {"type": "AttributeError", "attributes": {"path": None, "name": "b"}}}, seen) == ["0:error"]


@pytest.mark.parametrize(
    ("type_", "text", "code"),
    [
        ("ImportError", 'PyCapsule_Import could not import module ""', "Import/module"),
        ("ImportError", 'PyCapsule_Import could not import module "a"b"', "Import/module"),
        ("ImportError", 'PyCapsule_Import could not import module "', "unclassified"),
        ("AttributeError", "module 'a' has no attribute 'b'", "attribute/module"),
        ("AttributeError", "module 'a' has no attribute 'b", "unclassified"),
        ("KeyError", "PyCapsule_New called with null pointer", "unclassified"),
        ("MemoryError", "", "memory"),
        ("MemoryError", " ", "unclassified"),
    ],
)
def test_codes_come_from_templates(type_: str, text: str, code: str) -> None:
    """The parts that vary may be anything, the others nothing else; no text has two meanings by chance."""
    assert error_code({"type": type_, "text": text}) == code


SENT: dict[str, Any] = {"dlpack": "__dlpack__", "of": "a", "name": "n", "keywords": ["stream"], "stream": None}


@pytest.mark.parametrize(
    ("expected", "seen", "differences"),
    [
        ({"dlpack": "__dlpack__"}, SENT, []),
        (SENT, SENT, []),
        ({"dlpack": "deleter"}, SENT, ["0:events"]),
        ({"dlpack": "destructor"}, {"call": "destructor"}, ["0:events"]),
        ({"call": "deleter"}, {"dlpack": "deleter"}, ["0:events"]),
        (
            SENT,
            {"dlpack": "__dlpack__"},
            ["0:events.0.of", "0:events.0.name", "0:events.0.keywords", "0:events.0.stream"],
        ),
        (SENT, SENT | {"stream": 0}, ["0:events.0.stream"]),
        (SENT, SENT | {"of": "b", "keywords": []}, ["0:events.0.of", "0:events.0.keywords"]),
    ],
)
def test_events_of_the_suite_dlpack(expected: Any, seen: Any, differences: list[str]) -> None:
    """The word is enough, other keys are compared where given; none is taken for a call of a function of that name."""
    assert keys({"events": [expected]}, QUIET | {"events": [seen]}) == differences


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ({}, []),
        ({"of": "b"}, ["events.0.of"]),
        ({"name": "m"}, ["events.0.name"]),
        ({"keywords": []}, ["events.0.keywords"]),
        ({"stream": 1}, ["events.0.stream"]),
        ({"dlpack": "deleter"}, ["events"]),
    ],
)
def test_observed_events_of_the_suite_dlpack_are_compared_in_full(change: Any, differences: list[str]) -> None:
    """Between two observations every key counts, also one that only one side has; and so do all fields returned."""
    ours, theirs = QUIET | {"events": [SENT]}, QUIET | {"events": [SENT | change]}
    assert [d.key for d in compare(ours, theirs, "0")] == differences
    lacking = QUIET | {"events": [{"dlpack": "__dlpack__"} | change]}
    assert [d.key for d in compare(ours, lacking, "0")]
    one, other = (QUIET | {"return": {"fields": {"ndim": 1, **more}}} for more in ({}, {"flags": 0}))
    assert [d.key for d in compare(one, other, "0")] == ["return"]


def test_events_in_order_with_given_keys() -> None:
    """A call alone is enough; other keys are compared where given; order and number matter."""
    event = {"call": "d", "args": ["c"], "refcnt": 0, "before": None, "steps": [], "after": {"type": "KeyError"}}
    seen = QUIET | {"events": [event, {"unraisable": {"type": "KeyError", "text": "k"}, "object": {"ref": "c"}}]}
    tail = {"unraisable": {"type": "KeyError"}, "object": {"ref": "c"}}
    assert keys({"events": [{"call": "d"}, tail]}, seen) == []
    assert keys({"events": [tail, {"call": "d"}]}, seen) == ["0:events"]
    assert keys({"events": [{"call": "d"}]}, seen) == ["0:events"]
    assert keys({"events": [{"call": "d", "refcnt": 1}, tail]}, seen) == ["0:events.0.refcnt"]
    assert keys({"events": [{"call": "d", "args": ["c#2"]}, tail]}, seen) == ["0:events.0.args"]
    assert keys({"events": [{"call": "d", "after": None}, tail]}, seen) == ["0:events.0.after"]
    assert keys({"events": [{"call": "d"}, {**tail, "object": None}]}, seen) == ["0:events.1.object"]


def test_a_call_beyond_its_limit_is_another_event() -> None:
    """The call that did nothing is not mistaken for one that ran."""
    seen = QUIET | {"events": [{"call": "d", "beyond": True}]}
    assert keys({"events": [{"call": "d"}]}, seen) == ["0:events"]
    assert keys({"events": [{"call": "d", "beyond": True}]}, seen) == []


def test_steps_inside_functions_have_their_own_expectations() -> None:
    """Every call is matched against the declaration, or against the steps that the event itself expects."""
    functions = {"d": [{"return": 1}]}
    first, second = QUIET | {"return": 1}, QUIET | {"return": 2}
    seen = QUIET | {"events": [{"call": "d", "steps": [first]}, {"call": "d", "steps": [second]}]}
    calls = [{"call": "d"}, {"call": "d"}]
    assert keys({"events": calls}, seen, functions) == ["0/d.2/0:return"]
    assert keys({"events": [{"call": "d"}, {"call": "d", "steps": [{"return": 2}]}]}, seen, functions) == []
    cut = QUIET | {"events": [{"call": "d", "steps": []}]}
    assert keys({"events": [{"call": "d"}]}, cut, functions) == ["0/d.1:steps"]


def test_any_of() -> None:
    """One alternative must hold as a whole."""
    expect = {"any_of": [{"return": 0}, {"return": -1, "error": {"type": "ValueError"}}], "rule": "A/may"}
    assert keys(expect, QUIET | {"return": 0}) == []
    assert keys(expect, FAILED | {"return": -1}) == []
    assert keys(expect, QUIET | {"return": -1}) == ["0:any_of"]


def test_what_ends_the_process_does_not_match_a_life() -> None:
    """An implementation that survives what was to kill it, differs."""
    assert keys({"abort": True}, QUIET) == ["0:abort"]
    assert keys({"undefined": "double-free"}, QUIET) == ["0:undefined"]


def test_unseen_keys_are_not_held_against_an_adapter() -> None:
    """What an adapter says it cannot see is skipped, and only that."""
    blind = {"error": FAILED["error"], "indicator": "set", "events": [], "unseen": ["return"]}
    assert keys({"return": None, "error": {"type": "ValueError"}}, blind) == []
    assert keys({"return": None, "error": None}, blind) == ["0:error"]
    assert compare(FAILED, blind, "0") == []
    assert [d.key for d in compare(FAILED | {"events": [{"call": "d"}]}, blind, "0")] == ["events"]


def test_variants() -> None:
    """The first variant that the profile has wins; `!` asks for absence; else the plain expectation holds."""
    step = {
        "expect": {"return": 0},
        "variants": [{"when": "a", "expect": {"return": 1}}, {"when": "!b", "expect": {"return": 2}}],
    }
    assert [resolve(step, names.__contains__)["return"] for names in ({"a"}, {"b"}, set[str]())] == [1, 0, 2]
    steps, functions = resolved({"steps": [step], "functions": {"d": {"steps": [step]}}}, {"a"}.__contains__)
    assert (steps, functions) == ([{"return": 1}], {"d": [{"return": 1}]})


def test_compare_looks_at_everything() -> None:
    """Between observations every key counts: bases, attributes, indicator, each key of each event, at any depth."""
    assert compare(FAILED, FAILED, "0") == []
    bases = FAILED | {"error": FAILED["error"] | {"bases": ["Exception"]}}
    assert [d.key for d in compare(FAILED, bases, "0")] == ["error"]
    assert [d.key for d in compare(FAILED, FAILED | {"indicator": "replaced"}, "0")] == ["indicator"]
    inner = {"call": "d", "args": ["c"], "refcnt": 0, "before": None, "after": None, "steps": [QUIET | {"return": 1}]}
    other = inner | {"refcnt": 1, "steps": [QUIET | {"return": 2}]}
    differences = compare(QUIET | {"events": [inner]}, QUIET | {"events": [other]}, "7")
    assert [(d.path, d.key) for d in differences] == [("7", "events.0.refcnt"), ("7/d.1/0", "return")]
    assert [d.key for d in compare(QUIET, QUIET | {"return": None}, "0")] == ["return"]


def test_latitude_inside_a_function_is_not_compared() -> None:
    """A step of a destructor that may go either way differs from the model's without being a difference."""
    one, other = ({"call": "d", "steps": [QUIET | {"return": value}]} for value in (1, 2))
    sides = QUIET | {"events": [one]}, QUIET | {"events": [other]}
    free: dict[str, list[Any]] = {"d": [{"any_of": [{"return": 1}, {"return": 2}], "rule": "A/may"}]}
    assert compare(*sides, "0", free) == []
    assert [d.path for d in compare(*sides, "0", {"d": [{"return": 1}]})] == ["0/d.1/0"]
