"""What Python code sees of a capsule and of its type: little, and none of the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.attributes import new_object
from capsule_model.errors import PyErr, PyErr_Format, PyErr_SetString, forbid_pending
from capsule_model.memory import NULL
from capsule_model.objects import TYPES, Capsule, PyCapsule_Type, PyType_Type, type_name
from capsule_model.undefined import NotModelled

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = [
    "PyObject_Call",
    "PyObject_Hash",
    "PyObject_IsInstance",
    "PyObject_IsTrue",
    "PyObject_Repr",
    "PyObject_RichCompare",
    "PyObject_Size",
    "pickle_object",
    "subclass",
    "sys_getsizeof",
    "types_CapsuleType",
    "weakref_ref",
]


def PyObject_Repr(py: Process, o: int) -> int:
    """Return a new str: the name between quotes, NULL without, and the address.

    Bytes of the name that are not UTF-8 are replaced; quotes and line ends in it are left as they are.
    Source: Objects/capsule.c:298 (3.13.5).
    """
    forbid_pending(py, "PyObject_Repr")
    if o == NULL:
        # rule: PyObject_Repr/null
        return new_object(py, "str", "<NULL>")
    struct = py.objects[o]
    if o == PyCapsule_Type:
        # rule: PyCapsule_Type/repr
        return new_object(py, "str", "<class 'PyCapsule'>")
    if not isinstance(struct, Capsule):
        raise NotModelled(f"the repr of a {type_name(py.objects, o)}")
    if struct.name == NULL:
        # rule: PyObject_Repr/null-name
        shown = "NULL"
    else:
        # rule: PyObject_Repr/quoted-name
        shown = f'"{py.memory.c_string(struct.name).decode(errors="replace")}"'
    return new_object(py, "str", f"<capsule object {shown} at {o:#x}>")


def PyObject_Hash(py: Process, o: int) -> int:
    """Return the address rotated right by four bits, as a signed word."""
    if o != PyCapsule_Type:
        _capsule(py, o, "the hash")
    bits = 8 * py.profile.word
    rotated = (o >> 4) | ((o << (bits - 4)) & ((1 << bits) - 1))
    sign = 1 << (bits - 1)
    # rule: PyObject_Hash/rotated-address
    return (rotated ^ sign) - sign


def PyObject_RichCompare(py: Process, o1: int, o2: int, opid: str) -> int:
    """Compare by identity for ``==`` and ``!=``; an order there is not: NULL and ``TypeError``."""
    if NULL in (o1, o2):
        raise NotModelled("a comparison with NULL, whose message names a line of the interpreter's source")
    left, right = type_name(py.objects, o1), type_name(py.objects, o2)
    if left != "PyCapsule" and right != "PyCapsule" and PyCapsule_Type not in (o1, o2):
        raise NotModelled(f"a comparison of a {left} with a {right}")
    if opid in ("==", "!="):
        # rule: PyObject_RichCompare/identity
        return new_object(py, "bool", (o1 == o2) == (opid == "=="))
    # rule: PyObject_RichCompare/no-order
    text = f"'{opid}' not supported between instances of '{left}' and '{right}'"
    PyErr_Format(py, PyErr("TypeError", text))
    return NULL


def PyObject_IsTrue(py: Process, o: int) -> int:
    """Return 1: a capsule is true, whatever it holds."""
    _capsule(py, o, "the truth")
    # rule: PyObject_IsTrue/always
    return 1


def PyObject_Size(py: Process, o: int) -> int:
    """Return -1 with ``TypeError``: a capsule has no length."""
    if o == NULL:
        if py.error is None:
            # rule: PyObject_Size/null
            PyErr_SetString(py, "SystemError", "null argument to internal routine")
        return -1
    _capsule(py, o, "the length")
    # rule: PyObject_Size/none
    PyErr_SetString(py, "TypeError", "object of type 'PyCapsule' has no len()")
    return -1


def PyObject_Call(py: Process, callable: int) -> int:
    """Return NULL with ``TypeError``: capsules are no callables, and their type makes none from Python."""
    forbid_pending(py, "PyObject_Call")
    if callable == PyCapsule_Type:
        # rule: PyCapsule_Type/no-instances
        PyErr_SetString(py, "TypeError", "cannot create 'PyCapsule' instances")
        return NULL
    _capsule(py, callable, "a call")
    # rule: PyObject_Call/not-callable
    PyErr_SetString(py, "TypeError", "'PyCapsule' object is not callable")
    return NULL


def PyObject_IsInstance(py: Process, inst: int, cls: int) -> int:
    """Return 1 if the object is of the type, 0 if not, -1 with ``TypeError`` where ``cls`` is no type."""
    forbid_pending(py, "PyObject_IsInstance")
    if py.objects[cls].ob_type != PyType_Type:
        kinds = "a type or tuple of types"
        if "isinstance-names-union" in py.behaviours:
            kinds = "a type, a tuple of types, or a union"
        # rule: PyObject_IsInstance/not-a-type
        PyErr_SetString(py, "TypeError", f"isinstance() arg 2 must be {kinds}")
        return -1
    # rule: PyObject_IsInstance/by-type
    return int(py.objects[inst].ob_type == cls)


def subclass(py: Process, base: int) -> int:
    """Return NULL with ``TypeError``: nothing can derive from the type of capsules, nor from a capsule."""
    if isinstance(py.objects[base], Capsule):
        return PyObject_Call(py, PyCapsule_Type)
    if base != PyCapsule_Type:
        raise NotModelled("a class that does not derive from PyCapsule")
    # rule: PyCapsule_Type/no-subclasses
    PyErr_SetString(py, "TypeError", "type 'PyCapsule' is not an acceptable base type")
    return NULL


def pickle_object(py: Process, obj: int) -> int:
    """Return NULL with ``TypeError``: a capsule is neither pickled nor copied, shallow or deep."""
    _capsule(py, obj, "a pickle or a copy")
    # rule: PyCapsule_Type/no-pickle-no-copy
    PyErr_SetString(py, "TypeError", "cannot pickle 'PyCapsule' object")
    return NULL


def weakref_ref(py: Process, ob: int) -> int:
    """Return NULL with ``TypeError``: a capsule cannot be referred to weakly."""
    _capsule(py, ob, "a weak reference")
    # rule: PyCapsule_Type/no-weak-references
    PyErr_SetString(py, "TypeError", "cannot create weak reference to 'PyCapsule' object")
    return NULL


def sys_getsizeof(py: Process, object: int) -> int:
    """Return the size of the struct in bytes, with what the collector keeps in front of it."""
    _capsule(py, object, "the size")
    # rule: sys.getsizeof/struct-and-gc-header
    return py.profile.basicsize + py.profile.gc_header


def types_CapsuleType(py: Process) -> int | None:
    """Return the type of capsules, or None where the module ``types`` does not name it."""
    if "types-capsuletype" not in py.behaviours:
        return None
    # rule: types.CapsuleType/is-PyCapsule_Type
    return PyCapsule_Type


def _capsule(py: Process, o: int, what: str) -> None:
    """Refuse to guess about objects that are no capsules."""
    if not isinstance(py.objects[o], Capsule):
        raise NotModelled(f"{what} of a {TYPES.get(py.objects[o].ob_type, 'program-made object')}")
