"""Every capsule of this interpreter's standard library: what is told of it is what ctypes and repr say here."""

from __future__ import annotations

import ctypes
import gc
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from capsule_model.inspection.names import steps_of
from capsule_model.inspection.processes import Python
from capsule_model.inspection.record import Capsule, Inspection
from capsule_model.inspection.scan import STDLIB, scan

API = ctypes.pythonapi


@pytest.fixture(scope="module")
def inspection() -> Inspection:
    """Return all capsules of the standard library."""
    return scan(Python(sys.executable), [STDLIB])


def call(name: str, result: Any, *arguments: Any) -> Any:
    """Call a capsule function as whoever uses ctypes would."""
    kinds: list[Any] = [ctypes.py_object, *[ctypes.c_char_p] * (len(arguments) - 1)]
    return ctypes.PYFUNCTYPE(result, *kinds)((name, API))(*arguments)


def found_here(path: str) -> Any:
    """Return what stands at a path in this process."""
    (_, module), *rest = steps_of(path)
    found: Any = importlib.import_module(module)
    for kind, key in rest:
        try:
            found = getattr(found, key) if kind == "attribute" else found[key]
        except AttributeError:
            module = f"{found.__name__}.{key}"
            found = importlib.import_module(module)
    return found


def pairs(inspection: Inspection) -> Iterator[tuple[Capsule, str, Any]]:
    """Yield every capsule at each of its paths."""
    for capsule in inspection.capsules:
        for path in capsule.paths:
            yield capsule, path, found_here(path)


def test_the_known_ones_are_found(inspection: Inspection) -> None:
    """The C interfaces of datetime and the Unicode names are among them, and what they share a capsule with."""
    paths = {path: capsule for capsule in inspection.capsules for path in capsule.paths}
    assert paths["datetime.datetime_CAPI"] is paths["_datetime.datetime_CAPI"]
    assert paths["datetime.datetime_CAPI"].verdict == "accepted"
    assert paths["unicodedata._ucnhash_CAPI"].name == b"unicodedata._ucnhash_CAPI"
    assert inspection.groups == {STDLIB: inspection.groups[STDLIB]}
    assert inspection.groups[STDLIB] > 200


def test_nothing_disagrees(inspection: Inspection) -> None:
    """C API, struct, repr and model tell the same, of every call of PyCapsule_Import as well."""
    assert [text for capsule in inspection.capsules for text in capsule.disagreements] == []
    asked = [asked for capsule in inspection.capsules for asked in capsule.asked]
    assert {one.accepted for one in asked} == {True, False}
    assert all(one.model is not None for one in asked)


def test_ctypes_says_the_same(inspection: Inspection) -> None:
    """Name, NULL pointers and the collector are those that ctypes and gc find in this process."""
    for capsule, path, here in pairs(inspection):
        assert type(here).__name__ == "PyCapsule", path
        assert call("PyCapsule_GetName", ctypes.c_char_p, here) == capsule.name, path
        for function, place in (
            ("PyCapsule_GetContext", capsule.context),
            ("PyCapsule_GetDestructor", capsule.destructor),
        ):
            assert (call(function, ctypes.c_void_p, here) is None) == (place is None), path
        assert bool(call("PyCapsule_GetPointer", ctypes.c_void_p, here, capsule.name)) == (capsule.pointer is not None)
        assert gc.is_tracked(here) == capsule.tracked, path


def test_repr_says_the_same(inspection: Inspection) -> None:
    """The name stands in the repr, in quotes, or NULL without."""
    for capsule, path, here in pairs(inspection):
        name = "NULL" if capsule.name is None else f'"{capsule.name.decode()}"'
        assert repr(here) == f"<capsule object {name} at {id(here):#x}>", path


def test_pycapsule_import_says_the_same(inspection: Inspection) -> None:
    """What is called accepted gives the capsule's pointer here; every other name gives an exception."""
    for capsule, path, here in pairs(inspection):
        if capsule.name is None:
            continue
        importing = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)(("PyCapsule_Import", API))
        try:
            pointer = importing(capsule.name, 0)
        except (ImportError, AttributeError):
            pointer = None
        held = call("PyCapsule_GetPointer", ctypes.c_void_p, here, capsule.name)
        assert (pointer == held) == (capsule.verdict in ("accepted", "needs-import")), path
