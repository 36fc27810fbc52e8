"""The operations of a vector, carried out on a simulated process.

An operation takes the machine, the step's arguments and the name to bind; it returns what ``return`` shows, or
``NOTHING`` where the operation has no result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from capsule_model import attributes, capsule, collector, errors, imports, layout, python_view, runtime
from capsule_model.memory import NULL
from capsule_model.objects import IMMORTAL, Capsule
from capsule_model.trace.observe import object_seen, string_seen, words_seen
from capsule_model.undefined import NotModelled

if TYPE_CHECKING:
    from capsule_model.trace.execute import Machine

__all__ = ["NOTHING", "OPERATIONS", "BadVector", "Operation", "show_object", "words_of"]

Args = Mapping[str, Any]
Operation = Callable[["Machine", Args, "str | None"], Any]


class BadVector(Exception):
    """Report a vector that makes no sense: what is wrong, and the path of the step."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(f"step {path}: {message}")
        self.message = message
        self.path = path


class _Nothing:
    """Mark an operation without a result."""


NOTHING = _Nothing()


def words_of(machine: Machine, args: Args, names: tuple[str, ...]) -> list[int]:
    """Return the words that the arguments of those names stand for."""
    try:
        return [machine.value(args[name], f"#{machine.path}.{name}") for name in names]
    except KeyError as missing:
        raise BadVector(f"argument {missing} is missing", machine.path) from None


def _address(function: Callable[..., int], *names: str) -> Operation:
    def operation(machine: Machine, args: Args, bind: str | None) -> Any:
        address = function(machine.py, *words_of(machine, args, names))
        machine.bind(address, bind)
        return machine.tokens.seen(address)

    return operation


def _new(machine: Machine, args: Args, bind: str | None) -> Any:
    op = capsule.PyCapsule_New(machine.py, *words_of(machine, args, ("pointer", "name", "destructor")))
    if op != NULL:
        machine.own(op, bind)
    else:
        machine.bind(op, bind)
    return machine.tokens.seen(op)


def _int(function: Callable[..., int], *names: str) -> Operation:
    return lambda machine, args, bind: function(machine.py, *words_of(machine, args, names))


def _nothing(function: Callable[..., object], *names: str) -> Operation:
    def operation(machine: Machine, args: Args, bind: str | None) -> Any:
        function(machine.py, *words_of(machine, args, names))
        return NOTHING

    return operation


def _reference(function: Callable[..., None], name: str, count: int) -> Operation:
    def operation(machine: Machine, args: Args, bind: str | None) -> Any:
        (op,) = words_of(machine, args, (name,))
        if op != NULL:
            machine.count(op, count)
        function(machine.py, op)
        return NOTHING

    return operation


def _object(function: Callable[..., int], *names: str) -> Operation:
    def operation(machine: Machine, args: Args, bind: str | None) -> Any:
        return show_object(machine, function(machine.py, *words_of(machine, args, names)), bind)

    return operation


def show_object(machine: Machine, address: int, bind: str | None) -> Any:
    """Show an object that was returned, then release it unless it was bound."""
    if address != NULL and bind is not None:
        machine.own(address, bind)
    else:
        machine.bind(address, bind)
    seen = object_seen(machine.py, machine.tokens, address)
    if address != NULL and bind is None:
        runtime.Py_DECREF(machine.py, address)
    return seen


def _get_name(machine: Machine, args: Args, bind: str | None) -> Any:
    address = capsule.PyCapsule_GetName(machine.py, *words_of(machine, args, ("capsule",)))
    machine.bind(address, bind)
    return string_seen(machine.py, machine.tokens, address)


def _set_traverse(machine: Machine, args: Args, bind: str | None) -> Any:
    words = words_of(machine, args, ("op", "traverse_func", "clear_func"))
    if "gc-capsule" not in machine.py.behaviours:
        return {"absent": True}
    return capsule._PyCapsule_SetTraverse(machine.py, *words)


def _text(function: Callable[..., int]) -> Operation:
    def operation(machine: Machine, args: Args, bind: str | None) -> Any:
        shown = show_object(machine, function(machine.py, *words_of(machine, args, ("o",))), None)
        return shown if shown is None else {"text": shown["text"]}

    return operation


def _hash(machine: Machine, args: Args, bind: str | None) -> Any:
    value = python_view.PyObject_Hash(machine.py, *words_of(machine, args, ("o",)))
    bits = 8 * machine.py.profile.word
    rotated = value & ((1 << bits) - 1)
    # The address that has this hash, whatever object was asked.
    address = rotated << 4 & ((1 << bits) - 1) | rotated >> (bits - 4)
    token = machine.tokens.of_address.get(address)
    return value if token is None else {"hash_of": token}


def _compare(machine: Machine, args: Args, bind: str | None) -> Any:
    o1, o2 = words_of(machine, args, ("o1", "o2"))
    opid = args.get("opid")
    if opid not in ("<", "<=", "==", "!=", ">", ">="):
        raise BadVector(f"opid {opid!r} is none of < <= == != > >=", machine.path)
    return show_object(machine, python_view.PyObject_RichCompare(machine.py, o1, o2, opid), None)


def _capsule_type(machine: Machine, args: Args, bind: str | None) -> Any:
    address = python_view.types_CapsuleType(machine.py)
    return {"absent": True} if address is None else object_seen(machine.py, machine.tokens, address)


def _pickle(*names: str) -> Operation:
    def operation(machine: Machine, args: Args, bind: str | None) -> Any:
        words = words_of(machine, args, names)
        return show_object(machine, python_view.pickle_object(machine.py, words[0]), bind)

    return operation


def _referents(machine: Machine, args: Args, bind: str | None) -> Any:
    found = collector.gc_get_referents(machine.py, *words_of(machine, args, ("obj",)))
    return {"tokens": sorted(seen["ref"] for seen in map(machine.tokens.seen, found) if seen is not None)}


def _set_string(machine: Machine, args: Args, bind: str | None) -> Any:
    kind, message = machine.raw(args, "type").decode(errors="replace"), machine.raw(args, "message")
    problem = errors.decode_error(message)
    if problem is not None:
        errors.PyErr_SetString(machine.py, "UnicodeDecodeError", problem)
    else:
        errors.PyErr_SetObject(machine.py, machine.exception({"type": kind, "text": message.decode()}))
    return NOTHING


def _occurred(machine: Machine, args: Args, bind: str | None) -> Any:
    kind = errors.PyErr_Occurred(machine.py)
    return None if kind is None else {"object": kind}


def _size(machine: Machine, args: Args) -> int:
    size = args.get("size")
    if not isinstance(size, int) or not 0 < size <= 65536:
        raise BadVector(f"size {size!r} is not a number from 1 to 65536", machine.path)
    return size


def _malloc(machine: Machine, args: Args, bind: str | None) -> Any:
    size = _size(machine, args)
    address = machine.py.malloc(size)
    machine.tokens.give(address, bind or f"#{machine.path}", size)
    machine.blocks.add(address)
    return machine.tokens.seen(address)


def _free(machine: Machine, args: Args, bind: str | None) -> Any:
    (address,) = words_of(machine, args, ("ptr",))
    machine.py.free(address)
    machine.blocks.discard(address)
    return NOTHING


def _string(machine: Machine, args: Args, bind: str | None) -> Any:
    raw = machine.raw(args, "bytes")
    address = machine.py.malloc(len(raw) + 1)
    machine.py.memory.write(address, raw + b"\0")
    machine.tokens.give(address, bind or f"#{machine.path}", len(raw) + 1)
    return machine.tokens.seen(address)


def _write(machine: Machine, args: Args, bind: str | None) -> Any:
    (address,) = words_of(machine, args, ("ptr",))
    machine.py.memory.write(address, machine.raw(args, "bytes"))
    return NOTHING


def _read(machine: Machine, args: Args, bind: str | None) -> Any:
    (address,) = words_of(machine, args, ("ptr",))
    return {"hex": machine.py.memory.read(address, _size(machine, args)).hex()}


def _layout(machine: Machine, args: Args, bind: str | None) -> Any:
    return words_seen(machine.py, machine.tokens, *words_of(machine, args, ("op",)))


def _poke(machine: Machine, args: Args, bind: str | None) -> Any:
    op, value = words_of(machine, args, ("op", "value"))
    layout.poke(machine.py, op, args.get("field", ""), value)
    return NOTHING


def _import(machine: Machine, args: Args, bind: str | None) -> Any:
    py = machine.py
    module = imports.PyImport_ImportModule(py, machine.raw(args, "module"))
    if module == NULL:
        return -1
    runtime.Py_DECREF(py, module)
    return 0


def _count(machine: Machine, args: Args, bind: str | None) -> Any:
    (ob,) = words_of(machine, args, ("ob",))
    if machine.py.objects[ob].ob_refcnt >= IMMORTAL:
        raise NotModelled("the reference count of an object that belongs to the process")
    return runtime.Py_REFCNT(machine.py, ob)


def _tracked(machine: Machine, args: Args, bind: str | None) -> Any:
    (obj,) = words_of(machine, args, ("obj",))
    if not isinstance(machine.py.objects[obj], Capsule):
        raise NotModelled("whether an object that is no capsule is tracked")
    return collector.gc_is_tracked(machine.py, obj)


def _settle(machine: Machine, args: Args, bind: str | None) -> Any:
    return NOTHING


OPERATIONS: dict[str, Operation] = {
    "PyCapsule_New": _new,
    "PyCapsule_CheckExact": _int(capsule.PyCapsule_CheckExact, "op"),
    "PyCapsule_IsValid": _int(capsule.PyCapsule_IsValid, "capsule", "name"),
    "PyCapsule_GetPointer": _address(capsule.PyCapsule_GetPointer, "capsule", "name"),
    "PyCapsule_GetName": _get_name,
    "PyCapsule_GetDestructor": _address(capsule.PyCapsule_GetDestructor, "capsule"),
    "PyCapsule_GetContext": _address(capsule.PyCapsule_GetContext, "capsule"),
    "PyCapsule_SetPointer": _int(capsule.PyCapsule_SetPointer, "capsule", "pointer"),
    "PyCapsule_SetName": _int(capsule.PyCapsule_SetName, "capsule", "name"),
    "PyCapsule_SetDestructor": _int(capsule.PyCapsule_SetDestructor, "capsule", "destructor"),
    "PyCapsule_SetContext": _int(capsule.PyCapsule_SetContext, "capsule", "context"),
    "PyCapsule_Import": _address(imports.PyCapsule_Import, "name", "no_block"),
    "_PyCapsule_SetTraverse": _set_traverse,
    "Py_INCREF": _reference(runtime.Py_INCREF, "op", 1),
    "Py_DECREF": _reference(runtime.Py_DECREF, "op", -1),
    "Py_IncRef": _reference(runtime.Py_IncRef, "o", 1),
    "Py_DecRef": _reference(runtime.Py_DecRef, "o", -1),
    "Py_REFCNT": _count,
    "PyObject_Repr": _text(python_view.PyObject_Repr),
    "PyObject_Str": _text(python_view.PyObject_Repr),
    "PyObject_Hash": _hash,
    "PyObject_RichCompare": _compare,
    "PyObject_IsTrue": _int(python_view.PyObject_IsTrue, "o"),
    "PyObject_Size": _int(python_view.PyObject_Size, "o"),
    "PyObject_Call": _object(python_view.PyObject_Call, "callable"),
    "PyObject_IsInstance": _int(python_view.PyObject_IsInstance, "inst", "cls"),
    "PyObject_GetAttrString": _object(attributes.PyObject_GetAttrString, "o", "attr_name"),
    "PyObject_SetAttrString": _int(attributes.PyObject_SetAttrString, "o", "attr_name", "v"),
    "subclass": _object(python_view.subclass, "base"),
    "copy.copy": _pickle("x"),
    "copy.deepcopy": _pickle("x"),
    "pickle.dumps": _pickle("obj", "protocol"),
    "weakref.ref": _object(python_view.weakref_ref, "ob"),
    "sys.getsizeof": _int(python_view.sys_getsizeof, "object"),
    "types.CapsuleType": _capsule_type,
    "gc.is_tracked": _tracked,
    "gc.get_referents": _referents,
    "gc.collect": _nothing(collector.gc_collect),
    "PyErr_SetString": _set_string,
    "PyErr_Clear": _nothing(errors.PyErr_Clear),
    "PyErr_NoMemory": _address(errors.PyErr_NoMemory),
    "PyErr_Occurred": _occurred,
    "PyErr_WriteUnraisable": _nothing(errors.PyErr_WriteUnraisable, "obj"),
    "malloc": _malloc,
    "free": _free,
    "string": _string,
    "write": _write,
    "read": _read,
    "layout": _layout,
    "poke": _poke,
    "import": _import,
    "settle": _settle,
}
