"""``PyCapsule_Import``: the import of the first component, then the walk through attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capsule_model.attributes import PyObject_GetAttrString, new_attribute_error
from capsule_model.capsule import PyCapsule_IsValid
from capsule_model.errors import (
    PyErr,
    PyErr_Clear,
    PyErr_Occurred,
    PyErr_Restore,
    PyErr_SetString,
    decode_error,
)
from capsule_model.memory import NULL
from capsule_model.objects import NONE, PyModule_Type, PyObject
from capsule_model.runtime import Py_DECREF, Py_INCREF
from capsule_model.undefined import Kind, diagnose

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = ["Module", "PyCapsule_Import", "PyImport_ImportModule", "import_module"]


@dataclass(frozen=True, slots=True)
class Module:
    """What the finder knows of a module: its body, called with the module's address.

    The body returns 0, or -1 with an exception set.
    """

    body: Callable[[int], int]
    is_package: bool = False


def PyCapsule_Import(py: Process, name: int, no_block: int) -> int:
    """Import the capsule at a dotted path and return its pointer, or NULL with an exception.

    The path is split at its dots: the first component is imported, each other one is an attribute of what the
    one before it gave. The object at the end must be a valid capsule whose name is the whole path. No
    reference is kept: the pointer outlives a capsule that was made for this call.
    Source: Objects/capsule.c:228 (3.13.5).
    """
    path = py.strings[name]
    if py.error is not None:
        # rule: PyCapsule_Import/pending-exception
        fact = f"{py.memory.clock} imports a capsule with {py.error!r} pending"
        raise diagnose(Kind.PENDING_EXCEPTION, fact, [])
    # rule: PyCapsule_Import/splits-at-dots
    first, *rest = path.split(b".")
    object = PyImport_ImportModule(py, first)
    if object == NULL:
        if no_block != 0 and "import-no-block-keeps-error" in py.behaviours:
            # rule: PyCapsule_Import/no-block-keeps-error
            return NULL
        shown = first.decode(errors="replace")
        text = f'PyCapsule_Import could not import module "{shown}"'
        # rule: PyCapsule_Import/module-not-imported
        PyErr_Restore(py, PyErr("ImportError", text, {"name": None, "path": None}))
        return NULL
    for component in rest:
        attribute = PyObject_GetAttrString(py, object, py.memory.literal(component))
        Py_DECREF(py, object)
        object = attribute
        if object == NULL:
            # rule: PyCapsule_Import/attribute-error-stays
            return NULL
    pointer = NULL
    if PyCapsule_IsValid(py, object, name):
        # rule: PyCapsule_Import/returns-pointer
        pointer = py.objects[object].pointer
    else:
        shown = path.decode(errors="replace")
        # rule: PyCapsule_Import/not-valid
        PyErr_Restore(py, new_attribute_error(py, f'PyCapsule_Import "{shown}" is not valid'))
    # rule: PyCapsule_Import/keeps-no-reference
    Py_DECREF(py, object)
    return pointer


def PyImport_ImportModule(py: Process, raw: bytes) -> int:
    """Import a module by the bytes of its name and return a new reference, or NULL with an exception."""
    problem = decode_error(raw)
    if problem is not None:
        # rule: PyImport_ImportModule/name-not-utf-8
        PyErr_SetString(py, "UnicodeDecodeError", problem)
        return NULL
    name = raw.decode()
    if name == "":
        # rule: PyImport_ImportModule/empty-name
        PyErr_SetString(py, "ValueError", "Empty module name")
        return NULL
    return import_module(py, name)


def import_module(py: Process, name: str) -> int:
    """Return a new reference to ``sys.modules[name]``, running the module's body first where it is not there."""
    entry = py.sys_modules.get(name)
    if entry is None:
        parent = name.rpartition(".")[0]
        if parent != "" and not _import_parent(py, parent):
            # rule: PyImport_ImportModule/parent-fails
            return NULL
        if name not in py.sys_modules and not _load(py, name, parent):
            return NULL
        entry = py.sys_modules.get(name)
        if entry is None:
            # rule: PyImport_ImportModule/body-removed-entry
            PyErr_SetString(py, "KeyError", name)
            return NULL
    elif entry == NONE:
        text = f"import of {name} halted; None in sys.modules"
        # rule: PyImport_ImportModule/none-entry
        PyErr_Restore(py, PyErr("ModuleNotFoundError", text, {"name": name, "path": None}))
        return NULL
    elif not _spec_can_be_asked(py, entry):
        # rule: PyImport_ImportModule/spec-lookup-raises
        return NULL
    # rule: PyImport_ImportModule/returns-entry
    Py_INCREF(py, entry)
    return entry


def _import_parent(py: Process, parent: str) -> bool:
    module = import_module(py, parent)
    if module == NULL:
        return False
    Py_DECREF(py, module)
    return True


def _spec_can_be_asked(py: Process, entry: int) -> bool:
    """Look at ``__spec__`` of an entry that is no module: any error but AttributeError ends the import."""
    if py.objects[entry].ob_type == PyModule_Type:
        return True
    spec = PyObject_GetAttrString(py, entry, py.memory.literal(b"__spec__"))
    if spec != NULL:
        Py_DECREF(py, spec)
        return True
    if "spec-errors-end-import" in py.behaviours and PyErr_Occurred(py) != "AttributeError":
        return False
    PyErr_Clear(py)
    return True


def _load(py: Process, name: str, parent: str) -> bool:
    """Make the module, run its body, and leave it in ``sys.modules`` if the body ended well."""
    found = py.finder.get(name)
    if found is None:
        text = f"No module named '{name}'"
        if parent != "" and not py.finder[parent].is_package:
            text += f"; '{parent}' is not a package"
        # rule: PyImport_ImportModule/missing-module
        PyErr_Restore(py, PyErr("ModuleNotFoundError", text, {"name": name, "path": None}))
        return False
    module = py.objects.place(PyObject(1, PyModule_Type, py.memory.clock, name=name))
    py.sys_modules[name] = module
    if found.body(module) != 0:
        pending, py.error = py.error, None
        # rule: PyImport_ImportModule/body-raises
        forget(py, name)
        py.error = pending
        return False
    if parent != "" and name in py.sys_modules:
        _bind_to_parent(py, name, parent)
    return True


def _bind_to_parent(py: Process, name: str, parent: str) -> None:
    """Make a submodule an attribute of its package."""
    child = name.rpartition(".")[2]
    package = py.objects[py.sys_modules[parent]]
    Py_INCREF(py, py.sys_modules[name])
    # rule: PyImport_ImportModule/submodule-becomes-attribute
    package.attrs[child] = py.sys_modules[name]


def forget(py: Process, name: str) -> None:
    """Take an entry out of ``sys.modules``; nothing happens where there is none."""
    entry = py.sys_modules.pop(name, None)
    if entry is not None:
        Py_DECREF(py, entry)
