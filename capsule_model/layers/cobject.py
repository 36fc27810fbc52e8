"""CObject as in CPython 2.7: a box for one C pointer that nobody can ask what the pointer is.

Source of all: Objects/cobject.c of CPython 2.7.18. The type existed from 1.5 to 3.1; capsules took its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from capsule_model.layers.functions import CLEANUP, CLEANUP_WITH_DESC, call
from capsule_model.memory import NULL
from capsule_model.objects import PyObject

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter

__all__ = [
    "CObject",
    "PyCObject_AsVoidPtr",
    "PyCObject_Check",
    "PyCObject_FromVoidPtr",
    "PyCObject_FromVoidPtrAndDesc",
    "PyCObject_GetDesc",
    "PyCObject_Import",
    "PyCObject_SetVoidPtr",
]


@dataclass(slots=True)
class CObject:
    """The fields of a CObject, in C's order."""

    cobject: int
    desc: int
    destructor: int


def PyCObject_Check(py: Interpreter, op: int) -> CObject | None:
    """Return the fields of an object if it is a CObject, None if not; the object must not be NULL."""
    struct = py.objects[op]
    return struct.value if isinstance(struct, PyObject) and isinstance(struct.value, CObject) else None


def PyCObject_FromVoidPtr(py: Interpreter, cobj: int, destr: int) -> int:
    """Make a CObject and return a new reference. NULL is as good as any pointer, and there is no name.

    ``destr`` is NULL or a ``void (*)(void *)``. Source: Objects/cobject.c:20 (2.7.18).
    """
    # rule: PyCObject_FromVoidPtr/returns-object
    # rule: PyCObject_FromVoidPtr/takes-null
    return _new(py, CObject(cobj, NULL, destr))


def PyCObject_FromVoidPtrAndDesc(py: Interpreter, cobj: int, desc: int, destr: int) -> int:
    """Make a CObject with a description, a second pointer that the destructor gets; NULL is a ``TypeError``.

    ``destr`` is NULL or a ``void (*)(void *, void *)``. Source: Objects/cobject.c:39 (2.7.18).
    """
    if desc == NULL:
        # rule: PyCObject_FromVoidPtrAndDesc/null-description
        py.PyErr_SetString("TypeError", "PyCObject_FromVoidPtrAndDesc called with null description")
        return NULL
    # rule: PyCObject_FromVoidPtrAndDesc/returns-object
    return _new(py, CObject(cobj, desc, destr))


def _new(py: Interpreter, fields: CObject) -> int:
    op = py.new_object("PyCObject", lambda op: _dealloc(py, fields))
    py.objects[op].value = fields
    return op


def _dealloc(py: Interpreter, fields: CObject) -> None:
    """Call the destructor with one argument or with two: the description alone decides. Source: :129 (2.7.18)."""
    if fields.destructor == NULL:
        # rule: PyCObject/dealloc-without-destructor
        return
    if fields.desc != NULL:
        # rule: PyCObject/dealloc-with-description
        call(py, fields.destructor, CLEANUP_WITH_DESC, fields.cobject, fields.desc)
    else:
        # rule: PyCObject/dealloc-without-description
        call(py, fields.destructor, CLEANUP, fields.cobject)


def PyCObject_AsVoidPtr(py: Interpreter, self: int) -> int:
    """Return the pointer of any CObject, whoever made it, and of any capsule, whatever its name.

    Another object, or NULL, is a ``TypeError``. Source: Objects/cobject.c:65 (2.7.18).
    """
    if self != NULL:
        if py.PyCapsule_CheckExact(self):
            # rule: PyCObject_AsVoidPtr/opens-any-capsule
            return py.PyCapsule_GetPointer(self, py.PyCapsule_GetName(self))
        fields = PyCObject_Check(py, self)
        if fields is not None:
            # rule: PyCObject_AsVoidPtr/asks-nothing
            return fields.cobject
        # rule: PyCObject_AsVoidPtr/not-a-cobject
        py.PyErr_SetString("TypeError", "PyCObject_AsVoidPtr with non-C-object")
    elif py.PyErr_Occurred() is None:
        # rule: PyCObject_AsVoidPtr/null
        py.PyErr_SetString("TypeError", "PyCObject_AsVoidPtr called with null pointer")
    return NULL


def PyCObject_GetDesc(py: Interpreter, self: int) -> int:
    """Return the description of a CObject, NULL where it has none; a capsule is a ``TypeError`` here.

    Source: Objects/cobject.c:84 (2.7.18).
    """
    if self != NULL:
        fields = PyCObject_Check(py, self)
        if fields is not None:
            # rule: PyCObject_GetDesc/returns-description
            return fields.desc
        # rule: PyCObject_GetDesc/not-a-cobject
        py.PyErr_SetString("TypeError", "PyCObject_GetDesc with non-C-object")
    elif py.PyErr_Occurred() is None:
        # rule: PyCObject_GetDesc/null
        py.PyErr_SetString("TypeError", "PyCObject_GetDesc called with null pointer")
    return NULL


def PyCObject_Import(py: Interpreter, module_name: int, name: int) -> int:
    """Import a module, take one attribute of it, and return the pointer inside. No name is compared.

    What the import or the attribute raises stays. Source: Objects/cobject.c:99 (2.7.18).
    """
    pointer = NULL
    module = py.PyImport_ImportModule(py.memory.c_string(module_name))
    # rule: PyCObject_Import/errors-stay
    if module != NULL:
        found = py.PyObject_GetAttrString(module, name)
        if found != NULL:
            # rule: PyCObject_Import/compares-no-name
            pointer = PyCObject_AsVoidPtr(py, found)
            py.Py_DECREF(found)
        py.Py_DECREF(module)
    return pointer


def PyCObject_SetVoidPtr(py: Interpreter, self: int, cobj: int) -> int:
    """Store another pointer and return 1; a CObject with a destructor refuses with 0 and ``TypeError``.

    Source: Objects/cobject.c:115 (2.7.18).
    """
    fields = PyCObject_Check(py, self) if self != NULL else None
    if fields is None or fields.destructor != NULL:
        # rule: PyCObject_SetVoidPtr/refuses
        py.PyErr_SetString("TypeError", "Invalid call to PyCObject_SetVoidPtr")
        return 0
    # rule: PyCObject_SetVoidPtr/stores
    fields.cobject = cobj
    return 1
