"""What the model makes of a capsule and of a path that a real interpreter was asked about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsule_model.attributes import new_object
from capsule_model.errors import PyErr
from capsule_model.imports import Module
from capsule_model.interpreter import Interpreter
from capsule_model.memory import NULL
from capsule_model.objects import PyModule_Type, PyObject, PyType_Type
from capsule_model.profiles import PROFILES
from capsule_model.undefined import NotModelled

__all__ = ["import_by_model", "repr_by_model"]


def repr_by_model(name: bytes | None, address: int) -> str:
    """Return the repr of a capsule of that name at an address."""
    py = Interpreter()
    capsule = py.PyCapsule_New(1, NULL if name is None else py.cstring(name), NULL)
    shown = str(py.objects[py.PyObject_Repr(capsule)].value)
    # The name may hold what looks like an address.
    return shown.removesuffix(f"{capsule:#x}>") + f"{address:#x}>"


def import_by_model(profile: str, name: bytes, walk: Mapping[str, Any]) -> tuple[bool, tuple[str, str] | None] | None:
    """Return whether ``PyCapsule_Import`` accepts a name in the situation that a walk met, and the error where not.

    ``walk`` has the ``holders`` that attributes were looked up on, the ``error`` that ended it, and what was at the
    ``end``. None where the model has no such profile, or cannot tell.
    """
    if profile not in PROFILES:
        return None
    py = Interpreter(profile)
    try:
        _build(py, name, walk)
        found = py.PyCapsule_Import(py.cstring(name), 0)
    except NotModelled:
        return None
    error: PyErr | None = py.error
    return found != NULL, None if error is None else (error.type, error.text)


def _build(py: Interpreter, name: bytes, walk: Mapping[str, Any]) -> None:
    """Put into a process what a walk met: the first module, and what hangs on it, from the end to the beginning."""
    first, *rest = (part.decode() for part in name.split(b"."))
    holders, error = walk["holders"], walk["error"]
    if not holders and (error is not None or rest):
        # The first module is not there.
        return
    thing = NULL if error is not None else _end(py, walk["end"])
    for number in range(len(holders) - 1, -1, -1):
        holder = holders[number]
        struct = _holder(py, holder)
        component = rest[number]
        if thing != NULL:
            struct.attrs[component] = thing
        elif not holder["plain"]:
            # Who answers for its attributes itself raises what it likes.
            _raising(py, struct)[component] = (error["type"], error["text"])
        thing = py.objects.place(struct)
    py.sys_modules[first] = thing


def _holder(py: Interpreter, holder: Mapping[str, Any]) -> PyObject:
    """Return a module, a class, or an instance of a class."""
    name = holder["name"]
    if holder["kind"] == "module":
        py.finder[name] = Module(lambda address: 0)
        return PyObject(1, PyModule_Type, py.memory.tick(), name=name)
    kind = PyObject(2, PyType_Type, py.memory.tick(), name=name)
    return kind if holder["kind"] == "type" else PyObject(1, py.objects.place(kind), py.memory.tick())


def _raising(py: Interpreter, struct: PyObject) -> dict[str, tuple[str, str]]:
    if struct.ob_type in (PyType_Type, PyModule_Type):
        return struct.raising
    holder = py.objects[struct.ob_type]
    assert isinstance(holder, PyObject)
    return holder.raising


def _end(py: Interpreter, end: Mapping[str, Any]) -> int:
    """Return what stands at the end: a capsule with its name and pointer, or anything else."""
    if not end["capsule"]:
        return new_object(py, "int", 1)
    name = NULL if end["name"] is None else py.cstring(bytes.fromhex(end["name"]))
    capsule = py.PyCapsule_New(1, name, NULL)
    py.poke(capsule, "pointer", end["pointer"])
    return capsule
