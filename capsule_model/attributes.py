"""Attribute lookup on the objects that a capsule can be found through, and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.errors import PyErr, PyErr_Restore, PyErr_SetString, decode_error, new_exception
from capsule_model.memory import NULL
from capsule_model.objects import (
    IMMORTAL,
    TYPE_NAMED,
    Capsule,
    PyCapsule_Type,
    PyModule_Type,
    PyObject,
    PyType_Type,
    type_name,
)
from capsule_model.runtime import Py_INCREF
from capsule_model.undefined import NotModelled

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = ["PyObject_GetAttrString", "PyObject_SetAttrString", "new_object"]

_SLOTS = [
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "hash",
    "repr",
    "str",
    "setattr",
    "delattr",
    "getattribute",
    "init",
]
_METHODS = ["dir", "format", "new", "reduce", "reduce_ex", "sizeof", "init_subclass", "subclasshook"]
# What every object answers by itself, and the type of the answer.
OF_OBJECTS = {f"__{name}__": "method-wrapper" for name in _SLOTS}
OF_OBJECTS |= {f"__{name}__": "builtin_function_or_method" for name in _METHODS} | {"__doc__": "str"}
# What the type of capsules tells of itself; its size is the profile's.
OF_CAPSULE_TYPE: dict[str, tuple[str, object]] = {
    "__name__": ("str", "PyCapsule"),
    "__qualname__": ("str", "PyCapsule"),
    "__module__": ("str", "builtins"),
    "__itemsize__": ("int", 0),
    "__dictoffset__": ("int", 0),
    "__weakrefoffset__": ("int", 0),
    "__bases__": ("tuple", None),
    "__mro__": ("tuple", None),
}
# What modules, types and instances have besides, of which the model says nothing.
NOT_MODELLED = frozenset(
    [
        "__name__",
        "__qualname__",
        "__module__",
        "__dict__",
        "__bases__",
        "__mro__",
        "__base__",
        "__flags__",
        "__spec__",
        "__loader__",
        "__package__",
        "__path__",
        "__file__",
        "__cached__",
        "__builtins__",
        "__weakref__",
        "__call__",
        "__subclasses__",
        "__text_signature__",
        "mro",
        "__annotations__",
        "__annotate__",
        "__type_params__",
        "__or__",
        "__ror__",
        "__prepare__",
        "__instancecheck__",
        "__subclasscheck__",
        "__abstractmethods__",
        "__getstate__",
        "__static_attributes__",
        "__firstlineno__",
        "__annotations_cache__",
    ]
)


def new_object(py: Process, type: str, value: object = None) -> int:
    """Make an object of a built-in type that has no attributes of its own; return a new reference."""
    return py.objects.place(PyObject(1, TYPE_NAMED[type], py.memory.clock, value=value))


def PyObject_GetAttrString(py: Process, o: int, attr_name: int) -> int:
    """Return a new reference to an attribute, or NULL with the exception of the lookup.

    The name is a C string and must be UTF-8, else ``UnicodeDecodeError``. Source: Objects/object.c (3.13.5).
    """
    struct = py.objects[o]
    raw = py.strings[attr_name]
    problem = decode_error(raw)
    if problem is not None:
        # rule: PyObject_GetAttrString/name-not-utf-8
        PyErr_SetString(py, "UnicodeDecodeError", problem)
        return NULL
    name = raw.decode()
    found = _lookup(py, o, struct, name)
    if found == NULL and py.error is not None and py.error.type == "AttributeError":
        _add_context(py, py.error, o, name)
    return found


def _lookup(py: Process, o: int, struct: Capsule | PyObject, name: str) -> int:
    """Return a new reference, or NULL with an exception set."""
    if isinstance(struct, PyObject):
        holder = struct if struct.ob_type in (PyType_Type, PyModule_Type) else _class_of(py, struct)
        if holder is not None and holder is not struct and name in holder.raising:
            # rule: PyObject_GetAttrString/property-raises
            PyErr_Restore(py, new_exception(py, *holder.raising[name]))
            return NULL
        for place in (struct, holder):
            if place is not None and name in place.attrs:
                # rule: PyObject_GetAttrString/returns-attribute
                Py_INCREF(py, place.attrs[name])
                return place.attrs[name]
    answer = _generic(py, o, struct, name)
    if answer != NULL:
        return answer
    if isinstance(struct, PyObject) and struct.getattr is not None:
        # rule: PyObject_GetAttrString/calls-getattr
        return struct.getattr(name)
    # rule: PyObject_GetAttrString/missing
    PyErr_Restore(py, new_attribute_error(py, _missing(py, o, struct, name)))
    return NULL


def new_attribute_error(py: Process, text: str) -> PyErr:
    """Return an AttributeError that does not yet say which object was asked for what."""
    return new_exception(py, "AttributeError", text)


def _class_of(py: Process, struct: PyObject) -> PyObject | None:
    """Return the class of an instance if the program made it, None for a built-in type."""
    holder = py.objects[struct.ob_type]
    return holder if isinstance(holder, PyObject) and holder.ob_refcnt < IMMORTAL else None


def _generic(py: Process, o: int, struct: Capsule | PyObject, name: str) -> int:
    """Return what objects of the type answer to a name by themselves, NULL if nothing."""
    if name == "__class__":
        Py_INCREF(py, struct.ob_type)
        return struct.ob_type
    if o == PyCapsule_Type and name == "__basicsize__":
        # rule: PyCapsule_Type/size
        return new_object(py, "int", py.profile.basicsize)
    if o == PyCapsule_Type and name in OF_CAPSULE_TYPE:
        # rule: PyCapsule_Type/names
        return new_object(py, *OF_CAPSULE_TYPE[name])
    if not isinstance(struct, Capsule) and (name in NOT_MODELLED or name in OF_OBJECTS):
        raise NotModelled(f"the attribute {name} of a {type_name(py.objects, o)}")
    if name == "__getstate__" and "object-getstate" in py.behaviours:
        return new_object(py, "builtin_function_or_method")
    return new_object(py, OF_OBJECTS[name]) if name in OF_OBJECTS else NULL


def _missing(py: Process, o: int, struct: Capsule | PyObject, name: str) -> str:
    """Return the text of the AttributeError that a missing attribute gives."""
    if struct.ob_type == PyModule_Type:
        return f"module '{struct.name}' has no attribute '{name}'"
    if struct.ob_type == PyType_Type:
        return f"type object '{struct.name}' has no attribute '{name}'"
    return f"'{type_name(py.objects, o)}' object has no attribute '{name}'"


def _add_context(py: Process, error: PyErr, o: int, name: str) -> None:
    """Give an AttributeError its name and the object that was asked, unless it has them."""
    if "attribute-error-context" in py.behaviours and error.obj == NULL:
        # rule: PyObject_GetAttrString/error-keeps-object
        Py_INCREF(py, o)
        error.attributes = {"name": name}
        error.obj = o


def PyObject_SetAttrString(py: Process, o: int, attr_name: int, v: int) -> int:
    """Set an attribute, or delete it where ``v`` is NULL; return 0, or -1 with an exception.

    Capsules have no attributes of their own and their type is immutable.
    """
    struct = py.objects[o]
    raw = py.strings[attr_name]
    problem = decode_error(raw)
    if problem is not None:
        # rule: PyObject_SetAttrString/name-not-utf-8
        PyErr_SetString(py, "UnicodeDecodeError", problem)
        return -1
    name = raw.decode()
    if isinstance(struct, Capsule):
        text = f"'PyCapsule' object has no attribute '{name}'"
        if "no-dict-hint" in py.behaviours:
            text += " and no __dict__ for setting new attributes"
        # rule: PyCapsule_Type/no-attributes
        PyErr_Restore(py, new_attribute_error(py, text))
        if "set-error-context" in py.behaviours and py.error is not None:
            _add_context(py, py.error, o, name)
        return -1
    if o != PyCapsule_Type:
        raise NotModelled(f"setting an attribute of a {type_name(py.objects, o)}")
    text = f"cannot set '{name}' attribute of immutable type 'PyCapsule'"
    if "immutable-type-message" not in py.behaviours:
        text = "can't set attributes of built-in/extension type 'PyCapsule'"
    # rule: PyCapsule_Type/immutable
    PyErr_SetString(py, "TypeError", text)
    return -1
