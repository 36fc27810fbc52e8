"""What is called a disagreement: every fact that is told otherwise is noticed."""

from __future__ import annotations

import copy
import ctypes
import datetime
from collections.abc import Callable
from typing import Any

import pytest

from capsule_model.inspection.inside import API, Places, facts_of, profile_here, with_imports
from capsule_model.inspection.judge import capsule_of

Facts = dict[str, Any]


def told(capsule: Any, path: str) -> Facts:
    """Return what this process tells of a capsule."""
    return with_imports(facts_of([capsule], Places()), {path})


@pytest.fixture
def facts() -> Facts:
    """Return what this process tells of the capsule of datetime."""
    return told(vars(datetime)["datetime_CAPI"], "datetime.datetime_CAPI")


def test_agreement(facts: Facts) -> None:
    """What is told by a real process has no disagreements."""
    assert capsule_of(facts, profile_here(), facts["asked"][0]).disagreements == ()
    assert capsule_of(facts, profile_here(), facts["asked"][0]).verdict == "accepted"


def _asked(facts: Facts) -> None:
    facts["asked"][0].update(pointer=0, error={"type": "ImportError", "text": "no"})


CHANGES: dict[str, Callable[[Facts], None]] = {
    "pointer is": lambda facts: facts["seen"].update(pointer=8),
    "name is": lambda facts: facts["words"].update(name=8),
    "context is": lambda facts: facts["seen"].update(context=8),
    "destructor is": lambda facts: facts["seen"].update(destructor=facts["words"]["destructor"] + 8),
    "repr is": lambda facts: facts.update(repr=facts["repr"].replace("datetime", "datatime")),
    "PyCapsule_IsValid gives": lambda facts: facts.update(valid=0),
    "tracked is": lambda facts: facts.update(tracked=not facts["tracked"]),
    "the struct has the words": lambda facts: facts["words"].update(another=0),
    "PyCapsule_Import of": _asked,
}


@pytest.mark.parametrize("text", CHANGES)
def test_disagreement(facts: Facts, text: str) -> None:
    """One fact told otherwise is one disagreement, which says what it is about."""
    changed = copy.deepcopy(facts)
    CHANGES[text](changed)
    found = capsule_of(changed, profile_here(), None).disagreements
    assert len(found) == 1
    assert found[0].startswith(text)


def test_unknown_interpreter(facts: Facts) -> None:
    """Of an interpreter without a profile nothing is held against the model."""
    found = capsule_of(facts, "cpython-9.9", None)
    assert [asked.model for asked in found.asked] == [None]
    assert found.disagreements == ()


def test_references_are_those_of_others() -> None:
    """What counting and looking hold themselves is not counted."""
    alone = [API.PyCapsule_New(1, None, None)]
    assert facts_of(alone, Places())["references"] == 0
    others = alone * 5
    assert facts_of(alone, Places())["references"] == len(others)


def test_places() -> None:
    """NULL is none, a function of the C API is a symbol, and a small number leads nowhere."""
    places = Places()
    assert places.of(0) is None
    found = places.of(ctypes.cast(ctypes.pythonapi.PyCapsule_New, ctypes.c_void_p).value)
    assert found is not None
    if places.dladdr is not None:
        assert (found["region"], found["symbol"]) == ("library", "PyCapsule_New")
    nowhere = places.of(16)
    assert nowhere is not None
    assert nowhere["region"] == ("unmapped" if places.maps else "unknown")
