"""The modules of a vector, built into a simulated process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from capsule_model.attributes import new_attribute_error, new_object
from capsule_model.errors import PyErr_Restore, new_exception
from capsule_model.imports import Module, forget, import_module
from capsule_model.interpreter import Interpreter
from capsule_model.memory import NULL
from capsule_model.objects import NONE, PyObject, PyType_Type
from capsule_model.runtime import Py_DECREF, Py_INCREF

__all__ = ["Resolve", "install", "make_value"]

# Turns an argument of a vector into a word: (argument, token of storage that it may make) -> word.
Resolve = Callable[[Any, str], int]
# Tells the executor that a token was given to an address.
Announce = Callable[[int, str], None]


def install(py: Interpreter, modules: Mapping[str, Any], resolve: Resolve, announce: Announce) -> None:
    """Make the vector's modules known to the process, and import those that are loaded from the start."""
    declared = with_parents(modules)
    for name, module in declared.items():
        if module is None:
            py.sys_modules[name] = NONE
            Py_INCREF(py, NONE)
        elif "entry" in module:
            value = make_value(py, module["entry"], name, resolve, announce)
            py.sys_modules[name] = value
        else:
            package = any(other.startswith(name + ".") for other in declared)
            py.finder[name] = Module(_body(py, name, module, resolve, announce), package)
    for name, module in declared.items():
        if module is not None and module.get("loaded"):
            loaded = import_module(py, name)
            if loaded == NULL:
                PyErr_Restore(py, None)
            else:
                Py_DECREF(py, loaded)


def with_parents(modules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the modules with every parent that is not declared, as an empty package."""
    declared = dict(modules)
    for name in modules:
        parent = name.rpartition(".")[0]
        while parent:
            declared.setdefault(parent, {})
            parent = parent.rpartition(".")[0]
    return declared


def _body(
    py: Interpreter, name: str, module: Mapping[str, Any], resolve: Resolve, announce: Announce
) -> Callable[[int], int]:
    def body(address: int) -> int:
        announce(address, name)
        struct = py.objects[address]
        for attribute, value in module.get("attrs", {}).items():
            struct.attrs[attribute] = make_value(py, value, f"{name}.{attribute}", resolve, announce)
        if "getattr" in module:
            struct.getattr = _getattr(py, module["getattr"], name, resolve, announce)
            struct.attrs["__getattr__"] = new_object(py, "function")
        for other in module.get("imports", ()):
            imported = import_module(py, other)
            if imported == NULL:
                return -1
            Py_DECREF(py, imported)
        if module.get("removes_itself"):
            forget(py, name)
        if "becomes" in module:
            value = make_value(py, module["becomes"], name, resolve, announce)
            forget(py, name)
            py.sys_modules[name] = value
        if "raises" in module:
            PyErr_Restore(py, new_exception(py, module["raises"]["type"], module["raises"].get("text", "")))
            return -1
        return 0

    return body


def _getattr(
    py: Interpreter, values: Mapping[str, Any], holder: str, resolve: Resolve, announce: Announce
) -> Callable[[str], int]:
    def look(name: str) -> int:
        if name not in values:
            PyErr_Restore(py, new_attribute_error(py, name))
            return NULL
        return make_value(py, values[name], f"{holder}.{name}", resolve, announce)

    return look


def make_value(py: Interpreter, value: Any, token: str, resolve: Resolve, announce: Announce) -> int:
    """Return a new reference to what a VALUE of the format describes; ``token`` is its path.

    A class has a second reference: it is part of cycles of its own, and no vector's end collects them.
    """
    if "capsule" in value:
        return _capsule(py, value, token, resolve, announce)
    if "class" in value:
        struct = PyObject(2, PyType_Type, py.memory.tick(), token.rpartition(".")[2])
        _fill(py, struct, value["class"], "attrs", token, resolve, announce)
        return py.objects.place(struct)
    if "instance" in value:
        described = value["instance"]
        holder = PyObject(2, PyType_Type, py.memory.tick(), token.rpartition(".")[2])
        _fill(py, holder, described, "class_attrs", token, resolve, announce)
        struct = PyObject(1, py.objects.place(holder), py.memory.tick())
        for attribute, inner in described.get("attrs", {}).items():
            struct.attrs[attribute] = make_value(py, inner, f"{token}.{attribute}", resolve, announce)
        if "getattr" in described:
            struct.getattr = _getattr(py, described["getattr"], token, resolve, announce)
        return py.objects.place(struct)
    address = resolve(value, token)
    Py_INCREF(py, address)
    return address


def _fill(
    py: Interpreter,
    struct: PyObject,
    described: Mapping[str, Any],
    key: str,
    token: str,
    resolve: Resolve,
    announce: Announce,
) -> None:
    for attribute, inner in described.get(key, {}).items():
        struct.attrs[attribute] = make_value(py, inner, f"{token}.{attribute}", resolve, announce)
    for attribute, raised in described.get("raises", {}).items():
        struct.raising[attribute] = (raised["type"], raised.get("text", ""))


def _capsule(py: Interpreter, value: Any, token: str, resolve: Resolve, announce: Announce) -> int:
    described = value["capsule"]
    pointer, name, destructor, context = (
        resolve(described.get(key), f"#{token}.{key}") for key in ("pointer", "name", "destructor", "context")
    )
    capsule = py.PyCapsule_New(pointer, name, destructor)
    if capsule != NULL:
        py.PyCapsule_SetContext(capsule, context)
        announce(capsule, value.get("bind", token))
    return capsule
