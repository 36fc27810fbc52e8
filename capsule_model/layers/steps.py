"""The operations of the suite ``layers``: what a step of a vector does, on the model or on a real interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from capsule_model.layers import (
    callback,
    cobject,
    file_handle,
    filled_later,
    function_table,
    nanobind,
    opaque_handle,
    pybind11,
    typed,
)
from capsule_model.layers.functions import TYPES, Library, none
from capsule_model.memory import NULL
from capsule_model.trace.operations import NOTHING, BadVector, words_of

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter
    from capsule_model.trace.execute import Machine

__all__ = ["MODULES", "OPERATIONS", "Book", "after_step", "book_of"]

Args = Mapping[str, Any]
MODULES = (
    cobject,
    function_table,
    opaque_handle,
    file_handle,
    callback,
    filled_later,
    pybind11,
    nanobind,
    typed,
)
MOST = 64


class Book:
    """What the layers keep of one vector: its C functions, their calls, and a checker's knowledge."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.py: Interpreter = machine.py
        self.calls: dict[str, Any] = {}
        self.count = 0
        self.library = Library(machine.py, self._note)
        self.knowledge = typed.Knowledge()

    def _note(self, name: str, type: str, *arguments: int) -> None:
        """Note a call: its integers as a list, each pointer as an address, and what was pending."""
        number = self.count = self.count + 1
        kinds = type.partition("(*)")[2].split(",")
        pointers = [word for word, kind in zip(arguments, kinds, strict=False) if "*" in kind]
        integers = [word for word, kind in zip(arguments, kinds, strict=False) if "*" not in kind]
        call: dict[str, Any] = {} if pointers and not integers else {f"{number} {name}": integers}
        named = [name, "desc"] if not integers else ["data"]
        call |= {
            f"{number} {what}": self.machine.tokens.seen(word) for what, word in zip(named, pointers, strict=False)
        }
        pending = self.py.PyErr_Occurred()
        self.calls |= call | {f"{number} pending": None if pending is None else [pending]}

    def allocated(self, address: int, name: str) -> None:
        """Note a block that C code owns: it is a leak of the vector unless it is freed."""
        self.machine.tokens.give(address, name)
        self.machine.blocks.add(address)


def book_of(machine: Machine) -> Book:
    """Return the book of a vector, made when it is first asked for."""
    found = machine.extra.get("layers")
    if found is None:
        found = machine.extra["layers"] = Book(machine)
    assert isinstance(found, Book)
    return found


def after_step(machine: Machine) -> None:
    """Take the blocks that C code has freed out of what the vector owns."""
    if "layers" not in machine.extra:
        return
    blocks = {address: machine.py.memory.nearest(address) for address in machine.blocks}
    machine.blocks -= {address for address, block in blocks.items() if block is None or block.died is not None}


Operation = Callable[["Machine", Args, "str | None"], Any]


def _word(machine: Machine, args: Args, name: str, allowed: tuple[str, ...]) -> str:
    word = args.get(name)
    if word not in allowed:
        raise BadVector(f"{name} {str(word)[:40]!r} is none of {', '.join(allowed)}", machine.path)
    return str(word)


def _number(machine: Machine, args: Args, name: str, least: int, most: int) -> int:
    number = args.get(name)
    if not isinstance(number, int) or not least <= number <= most:
        raise BadVector(f"{name} {str(number)[:40]} is no number from {least} to {most}", machine.path)
    return number


def _items(machine: Machine, args: Args, name: str, kind: type) -> list[Any]:
    items = args.get(name)
    if (
        not isinstance(items, list)
        or len(items) > MOST
        or not all(item is None or isinstance(item, kind) for item in items)
    ):
        raise BadVector(f"{name} is no list of at most {MOST} of type {kind.__name__}", machine.path)
    return items


def _function(machine: Machine, name: str) -> int:
    try:
        return book_of(machine).library.address(name)
    except ValueError as error:
        raise BadVector(str(error), machine.path) from None


def _address(machine: Machine, address: int, bind: str | None) -> Any:
    machine.bind(address, bind)
    return machine.tokens.seen(address)


def _object(machine: Machine, op: int, bind: str | None) -> Any:
    """Show a new reference that the vector owns from now on, or NULL."""
    if op == NULL:
        machine.bind(op, bind)
        return None
    if op == none(machine.py):
        return {"object": "None"}
    machine.own(op, bind)
    return machine.tokens.seen(op)


def _on_addresses(
    show: Callable[[Machine, int, str | None], Any], function: Callable[..., int], *names: str
) -> Operation:
    def operation(machine: Machine, args: Args, bind: str | None) -> Any:
        book_of(machine)
        return show(machine, function(machine.py, *words_of(machine, args, names)), bind)

    return operation


def _plain(machine: Machine, value: int, bind: str | None) -> Any:
    return value


def _c_function(machine: Machine, args: Args, bind: str | None) -> Any:
    return _address(machine, _function(machine, str(args["c_function"])), bind)


def _calls(machine: Machine, args: Args, bind: str | None) -> Any:
    book = book_of(machine)
    shown = {"calls": book.count} | book.calls
    book.calls, book.count = {}, 0
    return {"fields": shown}


def _block(machine: Machine, address: int, bind: str | None) -> Any:
    book_of(machine).allocated(address, bind or f"#{machine.path}")
    return machine.tokens.seen(address)


def _new_table(machine: Machine, args: Args, bind: str | None) -> Any:
    names = _items(machine, args, "c_functions", str)
    functions = [NULL if name is None else _function(machine, name) for name in names]
    abi, api = (_number(machine, args, name, 0, 1 << 31) for name in ("abi", "api"))
    size = _number(machine, args, "size", 0, 1 << 16)
    return _block(machine, function_table.new_table(machine.py, functions, abi, api, size), bind)


def _import_table(machine: Machine, args: Args, bind: str | None) -> Any:
    (name,) = words_of(machine, args, ("name",))
    abi, api = (_number(machine, args, one, 0, 1 << 31) for one in ("abi", "api"))
    slots, checks = _number(machine, args, "slots", 0, MOST), _items(machine, args, "checks", str)
    return _address(machine, function_table.import_table(machine.py, name, abi, api, slots, checks), bind)


def _call_slot(machine: Machine, args: Args, bind: str | None) -> Any:
    (table,) = words_of(machine, args, ("table",))
    type, slot = _word(machine, args, "c_type", TYPES), _number(machine, args, "slot", 0, MOST)
    book_of(machine)
    return function_table.call_slot(machine.py, table, slot, type, *_items(machine, args, "arguments", int))


def _new_handle(machine: Machine, args: Args, bind: str | None) -> Any:
    (name,) = words_of(machine, args, ("name",))
    fields = _items(machine, args, "fields", int)
    destructor = None if _word(machine, args, "manner", ("frees", "none")) == "frees" else NULL
    book = book_of(machine)
    op = opaque_handle.new_handle(machine.py, name, fields, destructor)
    book.allocated(machine.py.PyCapsule_GetPointer(op, name), f"#{machine.path}.struct")
    return _object(machine, op, bind)


def _handle_field(machine: Machine, args: Args, bind: str | None) -> Any:
    capsule, name = words_of(machine, args, ("capsule", "name"))
    return opaque_handle.handle_field(machine.py, capsule, name, _number(machine, args, "index", 0, MOST))


def _close_handle(machine: Machine, args: Args, bind: str | None) -> Any:
    capsule, name = words_of(machine, args, ("capsule", "name"))
    manner = _word(machine, args, "manner", opaque_handle.CLOSING)
    return opaque_handle.close_handle(machine.py, capsule, name, manner)


def _open(machine: Machine, args: Args, bind: str | None) -> Any:
    fd, unwritten = _number(machine, args, "fd", 0, 1 << 20), _number(machine, args, "unwritten", 0, 1 << 20)
    return _block(machine, file_handle.fopen(machine.py, fd, unwritten), bind)


def _new_file(machine: Machine, args: Args, bind: str | None) -> Any:
    (file,) = words_of(machine, args, ("file",))
    manner = _word(machine, args, "manner", file_handle.DESTRUCTORS)
    return _object(machine, file_handle.new_file(machine.py, file, manner), bind)


def _descriptor(machine: Machine, args: Args, bind: str | None) -> Any:
    return file_handle.descriptor(machine.py, *words_of(machine, args, ("capsule",)))


def _close_file(machine: Machine, args: Args, bind: str | None) -> Any:
    (capsule,) = words_of(machine, args, ("capsule",))
    disarms = _word(machine, args, "manner", ("disarms", "leaves-it")) == "disarms"
    return file_handle.close_file(machine.py, capsule, disarms=disarms)


def _call_back(machine: Machine, args: Args, bind: str | None) -> Any:
    (capsule,) = words_of(machine, args, ("capsule",))
    accepted = [machine.py.cstring(text or "") for text in _items(machine, args, "accepted", str)]
    argument, type = _number(machine, args, "argument", -(1 << 31), 1 << 31), _word(machine, args, "c_type", TYPES)
    book_of(machine)
    return callback.call_back(machine.py, capsule, accepted, argument, type)


def _new_unfilled(machine: Machine, args: Args, bind: str | None) -> Any:
    pointer, name = words_of(machine, args, ("pointer", "name"))
    manner = _word(machine, args, "manner", filled_later.DESTRUCTORS)
    return _object(machine, filled_later.new_unfilled(machine.py, name, manner, pointer), bind)


def _text(machine: Machine, address: int) -> bytes | None:
    return None if address == NULL else machine.py.memory.c_string(address)


def _typed_new(machine: Machine, args: Args, bind: str | None) -> Any:
    pointer, name = words_of(machine, args, ("pointer", "name"))
    op = machine.py.PyCapsule_New(pointer, name, NULL)
    book_of(machine).knowledge.made(op, _text(machine, name))
    return _object(machine, op, bind)


def _typed_forget(machine: Machine, args: Args, bind: str | None) -> Any:
    book_of(machine).knowledge.forget(*words_of(machine, args, ("capsule",)))
    return NOTHING


def _typed_get(machine: Machine, args: Args, bind: str | None) -> Any:
    """Ask the checker, then call: what it said, and whether there was a pointer."""
    capsule, name = words_of(machine, args, ("capsule", "name"))
    said = book_of(machine).knowledge.ask(capsule, _text(machine, name))
    return {"values": [str(said), int(machine.py.PyCapsule_GetPointer(capsule, name) != NULL)]}


def _typed_check(machine: Machine, args: Args, bind: str | None) -> Any:
    capsule, name = words_of(machine, args, ("capsule", "name"))
    valid = machine.py.PyCapsule_IsValid(capsule, name)
    book_of(machine).knowledge.checked(capsule, _text(machine, name), bool(valid))
    return valid


def _typed_rename(machine: Machine, args: Args, bind: str | None) -> Any:
    capsule, name = words_of(machine, args, ("capsule", "name"))
    said = book_of(machine).knowledge.renamed(capsule, _text(machine, name))
    return {"values": [said, machine.py.PyCapsule_SetName(capsule, name)]}


OPERATIONS: dict[str, Operation] = {
    "layers.function": _c_function,
    "layers.calls": _calls,
    "PyCObject_FromVoidPtr": _on_addresses(_object, cobject.PyCObject_FromVoidPtr, "cobj", "destr"),
    "PyCObject_FromVoidPtrAndDesc": _on_addresses(
        _object, cobject.PyCObject_FromVoidPtrAndDesc, "cobj", "desc", "destr"
    ),
    "PyCObject_AsVoidPtr": _on_addresses(_address, cobject.PyCObject_AsVoidPtr, "self"),
    "PyCObject_GetDesc": _on_addresses(_address, cobject.PyCObject_GetDesc, "self"),
    "PyCObject_Import": _on_addresses(_address, cobject.PyCObject_Import, "module_name", "name"),
    "PyCObject_SetVoidPtr": _on_addresses(_plain, cobject.PyCObject_SetVoidPtr, "self", "cobj"),
    "table.new": _new_table,
    "table.publish": _on_addresses(_object, function_table.publish, "name", "table"),
    "table.import": _import_table,
    "table.call": _call_slot,
    "handle.new": _new_handle,
    "handle.pointer": _on_addresses(_address, opaque_handle.handle_pointer, "capsule", "name"),
    "handle.field": _handle_field,
    "handle.close": _close_handle,
    "file.open": _open,
    "file.new": _new_file,
    "file.descriptor": _descriptor,
    "file.close": _close_file,
    "fclose": _on_addresses(_plain, file_handle.fclose, "file"),
    "callback.new": _on_addresses(_object, callback.new_callback, "function", "signature", "user_data"),
    "callback.call": _call_back,
    "later.placeholder": _on_addresses(_address, filled_later.placeholder),
    "later.new": _new_unfilled,
    "later.fill": _on_addresses(_plain, filled_later.fill, "capsule", "pointer", "name", "context"),
    "later.pointer": _on_addresses(_address, filled_later.filled_pointer, "capsule", "name"),
    "pybind11.capsule": _on_addresses(_object, pybind11.capsule, "value", "name", "destructor"),
    "pybind11.capsule_with_cleanup": _on_addresses(_object, pybind11.capsule_with_cleanup, "value", "name", "cleanup"),
    "pybind11.capsule_calling": _on_addresses(_object, pybind11.capsule_calling, "function"),
    "pybind11.get_pointer": _on_addresses(_address, pybind11.get_pointer, "capsule"),
    "pybind11.name": _on_addresses(_address, pybind11.name, "capsule"),
    "pybind11.set_pointer": _on_addresses(_plain, pybind11.set_pointer, "capsule", "value"),
    "pybind11.set_name": _on_addresses(_plain, pybind11.set_name, "capsule", "new_name"),
    "nanobind.capsule": _on_addresses(_object, nanobind.capsule, "pointer", "name", "cleanup"),
    "nanobind.name": _on_addresses(_address, nanobind.name, "capsule"),
    "nanobind.data": _on_addresses(_address, nanobind.data, "capsule"),
    "nanobind.data_named": _on_addresses(_address, nanobind.data_named, "capsule", "name"),
    "typed.new": _typed_new,
    "typed.forget": _typed_forget,
    "typed.get_pointer": _typed_get,
    "typed.check": _typed_check,
    "typed.rename": _typed_rename,
}
