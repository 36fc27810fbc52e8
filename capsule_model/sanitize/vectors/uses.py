"""Every way to use an object: what the functions of the API do with the first thing that they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from capsule_model.sanitize.vectors.build import FIRST, Argument, Step, call, cstr, function, obj, ptr, read, write

__all__ = ["BY_NAME", "CALLBACKS", "USES", "Use"]

# What `_PyCapsule_SetTraverse` is given, in vectors that call it.
CALLBACKS: dict[str, Any] = {
    "look": {"kind": "traverse"},
    "empty": {"kind": "clear", "steps": []},
}


@dataclass(frozen=True, slots=True)
class Use:
    """A step that uses an object: its word, how a title speaks of it, and how it is made."""

    word: str
    says: str
    make: Callable[[Argument], Step]
    needs_gc: bool = False

    @property
    def functions(self) -> dict[str, Any]:
        """Return the functions that a vector needs for it."""
        return CALLBACKS if self.word == "set-traverse" else {}

    @property
    def requires(self) -> tuple[str, ...]:
        """Return the behaviours without which it does not apply."""
        return ("gc-capsule",) if self.needs_gc else ()


def _takes(op: str, name: str, /, **more: Any) -> Callable[[Argument], Step]:
    return lambda address: call(op, None, None, **{name: address}, **more)


def _set_traverse(address: Argument) -> Step:
    return call("_PyCapsule_SetTraverse", op=address, traverse_func=function("look"), clear_func=function("empty"))


def _unraisable(address: Argument) -> Step:
    return call("PyErr_WriteUnraisable", None, {"pending": {"type": "ValueError", "text": "lost"}}, obj=address)


def _inside(address: Argument, by: int) -> Argument:
    assert address is not None
    return {**address, "offset": int(address.get("offset", 0)) + by} if "ref" in address else address


USES: tuple[Use, ...] = (
    Use("is-valid", "PyCapsule_IsValid", _takes("PyCapsule_IsValid", "capsule", name=FIRST)),
    Use("get-pointer", "PyCapsule_GetPointer", _takes("PyCapsule_GetPointer", "capsule", name=FIRST)),
    Use("get-name", "PyCapsule_GetName", _takes("PyCapsule_GetName", "capsule")),
    Use("get-destructor", "PyCapsule_GetDestructor", _takes("PyCapsule_GetDestructor", "capsule")),
    Use("get-context", "PyCapsule_GetContext", _takes("PyCapsule_GetContext", "capsule")),
    Use("set-pointer", "PyCapsule_SetPointer", _takes("PyCapsule_SetPointer", "capsule", pointer=ptr("q"))),
    Use("set-name", "PyCapsule_SetName", _takes("PyCapsule_SetName", "capsule", name=cstr("b"))),
    Use("set-destructor", "PyCapsule_SetDestructor", _takes("PyCapsule_SetDestructor", "capsule", destructor=None)),
    Use("set-context", "PyCapsule_SetContext", _takes("PyCapsule_SetContext", "capsule", context=ptr("q"))),
    Use("set-traverse", "_PyCapsule_SetTraverse", _set_traverse, needs_gc=True),
    Use("check-exact", "PyCapsule_CheckExact", _takes("PyCapsule_CheckExact", "op")),
    Use("refcnt", "Py_REFCNT", _takes("Py_REFCNT", "ob")),
    Use("repr", "PyObject_Repr", _takes("PyObject_Repr", "o")),
    Use("str", "PyObject_Str", _takes("PyObject_Str", "o")),
    Use("hash", "PyObject_Hash", _takes("PyObject_Hash", "o")),
    Use("is-true", "PyObject_IsTrue", _takes("PyObject_IsTrue", "o")),
    Use("size", "PyObject_Size", _takes("PyObject_Size", "o")),
    Use("call", "PyObject_Call", _takes("PyObject_Call", "callable")),
    Use("compare", "PyObject_RichCompare", _takes("PyObject_RichCompare", "o1", o2=obj("int"), opid="<")),
    Use("compare-with", "PyObject_RichCompare, on the right,",
        lambda address: call("PyObject_RichCompare", o1=obj("PyCapsule_Type"), o2=address, opid="<")),
    Use("get-attr", "PyObject_GetAttrString", _takes("PyObject_GetAttrString", "o", attr_name=cstr("missing"))),
    Use("set-attr", "PyObject_SetAttrString", _takes("PyObject_SetAttrString", "o", attr_name=cstr("x"), v=obj("int"))),
    Use("is-instance", "PyObject_IsInstance", _takes("PyObject_IsInstance", "inst", cls=obj("PyCapsule_Type"))),
    Use("is-class", "PyObject_IsInstance, as the class,", _takes("PyObject_IsInstance", "cls", inst=obj("int"))),
    Use("subclass", "A subclass", _takes("subclass", "base")),
    Use("copy", "copy.copy", _takes("copy.copy", "x")),
    Use("deepcopy", "copy.deepcopy", _takes("copy.deepcopy", "x")),
    Use("pickle", "pickle.dumps", _takes("pickle.dumps", "obj", protocol=2)),
    Use("weakref", "weakref.ref", _takes("weakref.ref", "ob")),
    Use("getsizeof", "sys.getsizeof", _takes("sys.getsizeof", "object")),
    Use("is-tracked", "gc.is_tracked", _takes("gc.is_tracked", "obj")),
    Use("referents", "gc.get_referents", _takes("gc.get_referents", "obj")),
    Use("unraisable", "PyErr_WriteUnraisable", _unraisable),
    Use("layout", "A look at the words", _takes("layout", "op")),
    Use("poke", "A poke into the words", _takes("poke", "op", field="context", value=ptr("q"))),
    Use("read-inside", "A read of the fifth word", lambda address: read(_inside(address, 32), 8)),
    Use("write-inside", "A write to the fifth word", lambda address: write(_inside(address, 32), bytes(8))),
)  # fmt: skip
BY_NAME = {use.word: use for use in USES}
