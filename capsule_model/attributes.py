"""Attribute lookup on the objects that a capsule can be found through, and its errors."""

from __future__ import annotations

from types import FunctionType, NoneType
from typing import TYPE_CHECKING

from capsule_model.errors import (
    PyErr,
    PyErr_Format,
    PyErr_Restore,
    PyErr_SetString,
    decode_error,
    forbid_pending,
    new_exception,
)
from capsule_model.memory import NULL
from capsule_model.objects import (
    TYPE_NAMED,
    TYPES,
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

__all__ = ["PyObject_GetAttrString", "PyObject_SetAttrString", "get_attribute", "new_object"]

_SLOTS = "eq ne lt le gt ge hash repr str setattr delattr getattribute init".split()
_METHODS = "dir format new reduce reduce_ex sizeof init_subclass subclasshook".split()
# What every object answers by itself, and the type of the answer.
OF_OBJECTS = {f"__{name}__": "method-wrapper" for name in _SLOTS}
OF_OBJECTS |= {f"__{name}__": "builtin_function_or_method" for name in _METHODS} | {"__doc__": "str"}
# What a class that the program made answers where it inherits from object.
OF_CLASSES = {f"__{name}__": "wrapper_descriptor" for name in _SLOTS}
OF_CLASSES |= {f"__{name}__": "method_descriptor" for name in _METHODS} | {"__doc__": "NoneType"}
OF_CLASSES |= {f"__{name}__": "builtin_function_or_method" for name in ("new", "init_subclass", "subclasshook")}
# What is there for certain, and of which the model says no more than that it is no capsule.
UNKNOWN_OF_MODULES = frozenset("__name__ __dict__ __spec__ __loader__ __package__".split())
UNKNOWN_OF_INSTANCES = frozenset("__dict__ __module__ __weakref__".split())
UNKNOWN_OF_CLASSES = frozenset(
    "__name__ __qualname__ __module__ __dict__ __bases__ __mro__ __base__ __flags__ __basicsize__ __itemsize__ "
    "__dictoffset__ __weakrefoffset__ __call__ __subclasses__ mro __text_signature__ __prepare__ "
    "__instancecheck__ __subclasscheck__".split()
)
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
    "__base__": ("type", None),
    "__doc__": ("str", None),
}
# What modules, types and instances have besides, and what modules alone have, of which the model says nothing.
OF_MODULES = frozenset(["__spec__", "__loader__", "__package__", "__file__", "__cached__"])
NOT_MODELLED = frozenset(
    (
        "__name__ __qualname__ __module__ __dict__ __bases__ __mro__ __base__ __flags__ __builtins__ __weakref__ "
        "__call__ __subclasses__ __text_signature__ mro __annotations__ __annotate__ __type_params__ __or__ "
        "__ror__ __prepare__ __instancecheck__ __subclasscheck__ __abstractmethods__ "
        "__static_attributes__ __firstlineno__ __annotations_cache__ __basicsize__ __itemsize__ __dictoffset__ "
        "__weakrefoffset__"
    ).split()
)


_NOT_MODELLED_OF = {
    TYPE_NAMED[kind.__name__]: NOT_MODELLED.union(dir(kind))
    for kind in (int, str, bytes, list, dict, tuple, NoneType, FunctionType)
} | {PyModule_Type: NOT_MODELLED | OF_MODULES}


def new_object(py: Process, type: str, value: object = None) -> int:
    """Make an object of a built-in type that has no attributes of its own; return a new reference."""
    return py.objects.place(PyObject(1, TYPE_NAMED[type], py.memory.tick(), value=value))


def PyObject_GetAttrString(py: Process, o: int, attr_name: int) -> int:
    """Return a new reference to an attribute, or NULL with the exception of the lookup.

    The name is a C string and must be UTF-8, else ``UnicodeDecodeError``. Source: Objects/object.c (3.13.5).
    """
    forbid_pending(py, "PyObject_GetAttrString")
    return get_attribute(py, o, py.memory.c_string(attr_name))


def get_attribute(py: Process, o: int, raw: bytes) -> int:
    """Return a new reference to the attribute whose name has these bytes, or NULL with an exception."""
    struct = py.objects[o]
    problem = decode_error(raw)
    if problem is not None:
        # rule: PyObject_GetAttrString/name-not-utf-8
        PyErr_SetString(py, "UnicodeDecodeError", problem)
        return NULL
    name = raw.decode()
    found = _lookup(py, o, struct, name)
    if found == NULL:
        _add_context(py, o, name)
    return found


def _lookup(py: Process, o: int, struct: Capsule | PyObject, name: str) -> int:
    """Return a new reference, or NULL with an exception set."""
    if isinstance(struct, PyObject):
        holder = struct if struct.ob_type in (PyType_Type, PyModule_Type) else py.objects[struct.ob_type]
        if name in holder.raising:
            type, text = holder.raising[name]
            if type == "AttributeError" and struct.getattr is not None:
                # rule: PyObject_GetAttrString/getattr-after-property
                return struct.getattr(name)
            # rule: PyObject_GetAttrString/property-raises
            PyErr_Restore(py, new_exception(py, type, text))
            return NULL
        for place in (struct, holder):
            if name in place.attrs:
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
    PyErr_Format(py, new_attribute_error(py, _missing(py, o, struct, name)))
    return NULL


def new_attribute_error(py: Process, text: str) -> PyErr:
    """Return an AttributeError that does not yet say which object was asked for what."""
    return new_exception(py, "AttributeError", text)


def _generic(py: Process, o: int, struct: Capsule | PyObject, name: str) -> int:
    """Return what objects of the type answer to a name by themselves, NULL if nothing."""
    if name == "__class__":
        if isinstance(struct, PyObject) and {**struct.raising, **py.objects[struct.ob_type].raising}:
            raise NotModelled("the class of an object with properties")
        # rule: PyObject_GetAttrString/returns-class
        Py_INCREF(py, struct.ob_type)
        return struct.ob_type
    if o == PyCapsule_Type and name == "__basicsize__":
        # rule: PyCapsule_Type/size
        return new_object(py, "int", py.profile.basicsize)
    if o == PyCapsule_Type and name in OF_CAPSULE_TYPE:
        # rule: PyCapsule_Type/names
        return new_object(py, *OF_CAPSULE_TYPE[name])
    if isinstance(struct, PyObject):
        if struct.ob_type == PyModule_Type and name == "__path__":
            # rule: PyObject_GetAttrString/package-path
            return new_object(py, "list") if py.finder[struct.name].is_package else NULL
        inherited = _inherited(py, struct, name)
        if inherited is not None:
            # rule: PyObject_GetAttrString/inherited-from-object
            return new_object(py, inherited)
        if name in _NOT_MODELLED_OF.get(struct.ob_type, NOT_MODELLED):
            raise NotModelled(f"the attribute {name} of a {type_name(py.objects, o)}")
        return NULL
    if name not in _of_capsules(py):
        return NULL
    # rule: PyCapsule_Type/attributes-of-object
    return new_object(py, OF_OBJECTS.get(name, "builtin_function_or_method"))


def _inherited(py: Process, struct: PyObject, name: str) -> str | None:
    """Return the type of what a module, a class or an instance inherits from object under a name, None if nothing."""
    if name == "__getstate__" and "object-getstate" in py.behaviours:
        return "method_descriptor" if struct.ob_type == PyType_Type else "builtin_function_or_method"
    if struct.ob_type == PyType_Type:
        return "unknown" if name in UNKNOWN_OF_CLASSES else OF_CLASSES.get(name)
    if struct.ob_type == PyModule_Type or struct.ob_type not in TYPES:
        certain = name in (UNKNOWN_OF_MODULES if struct.ob_type == PyModule_Type else UNKNOWN_OF_INSTANCES)
        return "unknown" if certain else "NoneType" if name == "__doc__" else OF_OBJECTS.get(name)
    if struct.ob_type == TYPE_NAMED["unknown"]:
        raise NotModelled(f"the attribute {name} of something that it knows nothing of")
    return None


def _of_capsules(py: Process) -> set[str]:
    """Return the names that a capsule answers to, ``__class__`` aside: those that every object has."""
    return {*OF_OBJECTS, "__getstate__"} if "object-getstate" in py.behaviours else {*OF_OBJECTS}


def _missing(py: Process, o: int, struct: Capsule | PyObject, name: str) -> str:
    """Return the text of the AttributeError that a missing attribute gives."""
    if struct.ob_type == PyModule_Type:
        if py.finder[str(struct.name)].initializing:
            # rule: PyObject_GetAttrString/missing-while-initializing
            return (
                f"partially initialized module '{struct.name}' has no attribute '{name}' "
                "(most likely due to a circular import)"
            )
        return f"module '{struct.name}' has no attribute '{name}'"
    if struct.ob_type == PyType_Type:
        return f"type object '{struct.name}' has no attribute '{name}'"
    return f"'{type_name(py.objects, o)}' object has no attribute '{name}'"


def _add_context(py: Process, o: int, name: str) -> None:
    """Give a pending AttributeError its name and the object that was asked."""
    error = py.error
    assert error is not None
    if error.type == "AttributeError" and "attribute-error-context" in py.behaviours:
        # rule: PyObject_GetAttrString/error-keeps-object
        Py_INCREF(py, o)
        error.attributes = {"name": name}
        error.obj = o


def PyObject_SetAttrString(py: Process, o: int, attr_name: int, v: int) -> int:
    """Set an attribute, or delete it where ``v`` is NULL; return 0, or -1 with an exception.

    Capsules have no attributes of their own and their type is immutable.
    """
    forbid_pending(py, "PyObject_SetAttrString")
    struct = py.objects[o]
    raw = py.memory.c_string(attr_name)
    problem = decode_error(raw)
    if problem is not None:
        # rule: PyObject_SetAttrString/name-not-utf-8
        PyErr_SetString(py, "UnicodeDecodeError", problem)
        return -1
    name = raw.decode()
    if isinstance(struct, Capsule):
        _refuse(py, o, name, v)
        return -1
    if o != PyCapsule_Type:
        raise NotModelled(f"setting an attribute of a {type_name(py.objects, o)}")
    text = f"cannot set {name!r} attribute of immutable type 'PyCapsule'"
    if "immutable-type-message" not in py.behaviours:
        text = "can't set attributes of built-in/extension type 'PyCapsule'"
    # rule: PyCapsule_Type/immutable
    PyErr_SetString(py, "TypeError", text)
    return -1


def _refuse(py: Process, o: int, name: str, v: int) -> None:
    """Set the exception of setting or deleting an attribute of a capsule."""
    if name == "__class__":
        # rule: PyObject_SetAttrString/class-stays
        PyErr_SetString(py, "TypeError", _class_stays(py, v))
        return
    if name in _of_capsules(py):
        # rule: PyObject_SetAttrString/read-only
        PyErr_Format(py, new_attribute_error(py, f"'PyCapsule' object attribute '{name}' is read-only"))
        return
    text = f"'PyCapsule' object has no attribute '{name}'"
    if "no-dict-hint" in py.behaviours:
        text += " and no __dict__ for setting new attributes"
    # rule: PyCapsule_Type/no-attributes
    PyErr_Format(py, new_attribute_error(py, text))
    if "set-error-context" in py.behaviours:
        _add_context(py, o, name)


def _class_stays(py: Process, v: int) -> str:
    """Return why the class of a capsule cannot be set to a value, or deleted where that is NULL."""
    if v == NULL:
        return "can't delete __class__ attribute"
    if py.objects[v].ob_type != PyType_Type:
        return f"__class__ must be set to a class, not '{type_name(py.objects, v)}' object"
    kinds = "mutable types" if "immutable-type-message" in py.behaviours else "heap types"
    return f"__class__ assignment only supported for {kinds} or ModuleType subclasses"
