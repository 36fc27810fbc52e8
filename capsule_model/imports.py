"""``PyCapsule_Import``: the import of the first component, then the walk through attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capsule_model.attributes import get_attribute, new_attribute_error
from capsule_model.capsule import PyCapsule_IsValid
from capsule_model.errors import (
    PyErr_Clear,
    PyErr_Format,
    PyErr_Occurred,
    PyErr_Restore,
    PyErr_SetString,
    decode_error,
    forbid_pending,
    new_exception,
)
from capsule_model.memory import NULL
from capsule_model.objects import IMMORTAL, NONE, PyModule_Type, PyObject
from capsule_model.runtime import Py_DECREF, Py_DecRef, Py_INCREF
from capsule_model.undefined import NotModelled

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = ["Module", "PyCapsule_Import", "PyImport_ImportModule", "import_module"]


@dataclass(slots=True)
class Module:
    """What the finder knows of a module: its body, called with the module's address, and whether that is running.

    The body returns 0, or -1 with an exception set.
    """

    body: Callable[[int], int]
    is_package: bool = False
    initializing: bool = False


def PyCapsule_Import(py: Process, name: int, no_block: int) -> int:
    """Import the capsule at a dotted path and return its pointer, or NULL with an exception.

    The path is split at its dots: the first component is imported, each other one is an attribute of what the
    one before it gave. The object at the end must be a valid capsule whose name is the whole path. No
    reference is kept: the pointer outlives a capsule that was made for this call.
    Source: Objects/capsule.c:228 (3.13.5).
    """
    path = py.memory.c_string(name)
    # rule: PyCapsule_Import/pending-exception
    forbid_pending(py, "PyCapsule_Import")
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
        PyErr_Format(py, new_exception(py, "ImportError", text))
        return NULL
    for component in rest:
        attribute = get_attribute(py, object, component)
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
        PyErr_Format(py, new_attribute_error(py, f'PyCapsule_Import "{shown}" is not valid'))
    # rule: PyCapsule_Import/keeps-no-reference
    Py_DECREF(py, object)
    return pointer


def PyImport_ImportModule(py: Process, raw: bytes) -> int:
    """Import a module by the bytes of its name and return a new reference, or NULL with an exception."""
    forbid_pending(py, "PyImport_ImportModule")
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
    if not _imported(py, name):
        return NULL
    first = name.partition(".")[0]
    if first != name and not _imported(py, first):
        # rule: PyImport_ImportModule/first-component-fails
        return NULL
    # rule: PyImport_ImportModule/returns-entry
    Py_INCREF(py, py.sys_modules[name])
    return py.sys_modules[name]


def _imported(py: Process, name: str) -> bool:
    """See to it that an entry of ``sys.modules`` is there and can be used; else an exception is set."""
    entry = py.sys_modules.get(name)
    if entry is None:
        return _find_and_load(py, name)
    if entry == NONE:
        # rule: PyImport_ImportModule/none-entry
        _module_not_found(py, f"import of {name} halted; None in sys.modules", name)
        return False
    return _spec_can_be_asked(py, entry)


def _spec_can_be_asked(py: Process, entry: int) -> bool:
    """Ask an entry that is no module whether it is still being imported; an exception is set where that failed."""
    if py.objects[entry].ob_type == PyModule_Type:
        return True
    spec = _optional(py, entry, b"__spec__")
    if spec != NULL:
        initializing = _optional(py, spec, b"_initializing")
        Py_DECREF(py, spec)
        Py_DecRef(py, initializing)
    return py.error is None


def _optional(py: Process, o: int, name: bytes) -> int:
    """Return a new reference to an attribute, or NULL; an exception stays only where it can end the import."""
    found = get_attribute(py, o, name)
    if PyErr_Occurred(py) not in (None, "AttributeError") and "spec-errors-end-import" in py.behaviours:
        # rule: PyImport_ImportModule/spec-lookup-raises
        return NULL
    PyErr_Clear(py)
    return found


def _find_and_load(py: Process, name: str) -> bool:
    """Import the packages that a name lies in, then find the module and run its body."""
    parent = name.rpartition(".")[0]
    if parent != "":
        if parent not in py.sys_modules and not _import_parent(py, parent):
            # rule: PyImport_ImportModule/parent-fails
            return False
        if name in py.sys_modules:
            # rule: PyImport_ImportModule/parent-imported-it
            return True
        if not _is_package(py, parent, name):
            return False
    if name not in py.finder:
        # rule: PyImport_ImportModule/missing-module
        _module_not_found(py, f"No module named {name!r}", name)
        return False
    return _load(py, name, parent)


def _import_parent(py: Process, parent: str) -> bool:
    module = import_module(py, parent)
    if module == NULL:
        return False
    Py_DECREF(py, module)
    return True


def _is_package(py: Process, parent: str, name: str) -> bool:
    """Ask the parent for ``__path__``; without it nothing can lie inside."""
    entry = py.sys_modules[parent]
    path = get_attribute(py, entry, b"__path__")
    if path != NULL:
        Py_DECREF(py, path)
        if py.objects[entry].ob_type != PyModule_Type:
            raise NotModelled(f"{parent!r}, a package of its own making")
        return True
    if PyErr_Occurred(py) == "AttributeError":
        context: Any = {"type": "AttributeError", "text": str(py.error)}
        # rule: PyImport_ImportModule/parent-is-no-package
        _module_not_found(py, f"No module named {name!r}; {parent!r} is not a package", name, context)
    return False


def _load(py: Process, name: str, parent: str) -> bool:
    """Make the module, run its body, and leave it in ``sys.modules`` if the body ended well."""
    found = py.finder[name]
    references = 2
    if "modules-wait-for-collector" in py.behaviours:
        # rule: PyImport_ImportModule/module-waits-for-collector
        references += IMMORTAL
    module = py.objects.place(PyObject(references, PyModule_Type, py.memory.tick(), name=name))
    py.sys_modules[name] = module
    found.initializing = True
    failed = found.body(module) != 0
    found.initializing = False
    if not failed and py.error is not None:
        raise NotModelled("an exception that a destructor leaves in the body of a module")
    if not failed and name not in py.sys_modules:
        # rule: PyImport_ImportModule/body-removed-entry
        PyErr_SetString(py, "KeyError", name)
    pending, py.error = py.error, None
    if failed:
        # rule: PyImport_ImportModule/body-raises
        forget(py, name)
    Py_DECREF(py, module)
    if py.error is not None:
        raise NotModelled("an exception that a destructor leaves inside the import system")
    PyErr_Restore(py, pending)
    if pending is not None:
        return False
    if parent != "":
        _bind_to_parent(py, name, parent)
    return True


def _bind_to_parent(py: Process, name: str, parent: str) -> None:
    """Make a submodule an attribute of its package."""
    child = name.rpartition(".")[2]
    package = py.objects[py.sys_modules[parent]]
    old = package.attrs.get(child, NULL)
    Py_INCREF(py, py.sys_modules[name])
    # rule: PyImport_ImportModule/submodule-becomes-attribute
    package.attrs[child] = py.sys_modules[name]
    Py_DecRef(py, old)


def _module_not_found(py: Process, text: str, name: str, context: Any = None) -> None:
    error = new_exception(py, "ModuleNotFoundError", text)
    error.attributes = {"name": name, "path": None}
    if context is not None:
        error.attributes["__context__"] = context
    PyErr_Restore(py, error)


def forget(py: Process, name: str) -> None:
    """Take an entry out of ``sys.modules``; nothing happens where there is none."""
    entry = py.sys_modules.pop(name, None)
    if entry is not None:
        Py_DECREF(py, entry)
