"""The features that a vector needs."""

from __future__ import annotations

from typing import Any

import pytest

from capsule_model.trace.contract import operations
from capsule_model.trace.needs import FEATURES, needs, operations_used

DECREF = {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}}


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ({"steps": [{"op": "PyCapsule_GetName"}]}, set()),
        ({"steps": [{"op": "PyCapsule_CheckExact"}]}, {"macros"}),
        ({"steps": [{"op": "PyErr_Clear"}]}, {"error-indicator"}),
        ({"steps": [{"op": "settle", "leave": True}]}, {"error-indicator"}),
        ({"steps": [{"op": "settle", "leave": False}]}, set()),
        ({"steps": [{"op": "settle", "pending": {"type": "KeyError"}}]}, {"error-indicator"}),
        ({"steps": [{"op": "settle", "expect": {"indicator": "unchanged"}}]}, {"error-indicator"}),
        ({"steps": [{"op": "settle", "expect": {"indicator": "set"}}]}, set()),
        (
            {"steps": [{"op": "settle", "variants": [{"when": "x", "expect": {"indicator": "replaced"}}]}]},
            {"error-indicator"},
        ),
        ({"steps": [{"op": "settle", "thread": "t"}]}, {"threads"}),
        ({"steps": [], "modules": {"m": None}}, {"modules"}),
        ({"steps": [], "modules": {}}, set()),
        ({"steps": [], "functions": {"n": {"native": "PyErr_Clear"}}}, {"native-destructors"}),
        (
            {"steps": [], "functions": {"d": {"kind": "destructor", "steps": [{"op": "layout"}]}}},
            {"layout"},
        ),
        (
            {"steps": [], "functions": {"d": {"kind": "destructor", "steps": [{"op": "settle", "leave": True}]}}},
            {"error-indicator", "compiled-destructors"},
        ),
        (
            {"steps": [{**DECREF, "pending": {"type": "KeyError"}}], "functions": {"d": {"kind": "destructor"}}},
            {"error-indicator", "compiled-destructors"},
        ),
        (
            {
                "steps": [{"op": "PyErr_NoMemory", "leave": True}, DECREF],
                "functions": {"d": {"kind": "destructor"}},
            },
            {"error-indicator", "compiled-destructors"},
        ),
        ({"steps": [DECREF], "functions": {"d": {"kind": "destructor"}}}, set()),
    ],
)
def test_each_key_asks_for_its_feature(vector: dict[str, Any], expected: set[str]) -> None:
    """Features follow from operations and keys, inside functions too, and from nothing else."""
    assert needs(vector) == expected


def test_a_run_tells_exactly_what_destructors_meet() -> None:
    """With observations, a destructor that might have met an error and did not needs no compiler."""
    vector = {
        "steps": [{**DECREF, "pending": {"type": "KeyError"}}],
        "functions": {"d": {"kind": "destructor"}},
    }
    calm: dict[str, Any] = {"events": [{"call": "d", "before": None, "after": None, "steps": []}]}
    inner: dict[str, Any] = {"events": [{"call": "d", "before": None, "after": {"type": "KeyError"}, "steps": []}]}
    outer = {"events": [{"call": "e", "before": None, "after": None, "steps": [inner]}]}
    assert needs(vector, [calm]) == {"error-indicator"}
    assert needs(vector, [outer]) == {"error-indicator", "compiled-destructors"}


def test_the_operations_table_names_known_features_only() -> None:
    """A misspelt feature would make vectors unsupported everywhere."""
    assert {need for operation in operations().values() for need in operation.needs} <= set(FEATURES)


def test_operations_inside_functions_are_used_too() -> None:
    """An adapter without an operation that only a destructor calls cannot run the vector."""
    vector = {"steps": [{"op": "settle"}], "functions": {"d": {"kind": "destructor", "steps": [{"op": "free"}]}}}
    assert operations_used(vector) == {"settle", "free"}
