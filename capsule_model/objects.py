"""Objects: the structs that a ``PyObject *`` points to, and the table that finds them by address.

Object structs lie in a region of their own, at a fixed distance from each other, so that a pointer into the
middle of one is traced to it without a search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capsule_model.memory import NULL, Memory
from capsule_model.undefined import Kind, UndefinedBehavior, diagnose

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "NONE",
    "TYPES",
    "TYPE_NAMED",
    "Capsule",
    "Objects",
    "PyCapsule_Type",
    "PyModule_Type",
    "PyObject",
    "PyType_Type",
    "type_name",
]

OBJECTS = 0x4000_0000
STRIDE = 128

# The addresses of the type objects that the model knows; each is an object itself.
PyType_Type = 0x0080_0000
PyCapsule_Type = 0x0080_0400
PyModule_Type = 0x0080_0800
_OTHERS = [
    "int",
    "str",
    "NoneType",
    "bytes",
    "list",
    "dict",
    "tuple",
    "function",
    "object",
    "bool",
    "method-wrapper",
    "builtin_function_or_method",
]
TYPES = {PyType_Type: "type", PyCapsule_Type: "PyCapsule", PyModule_Type: "module"} | {
    0x0080_1000 + 0x400 * index: name for index, name in enumerate(_OTHERS)
}
TYPE_NAMED = {name: address for address, name in TYPES.items()}
# The address of None, the one object that the import system treats in a way of its own.
NONE = 0x0080_0F00
IMMORTAL = 1 << 29


@dataclass(slots=True)
class PyObject:
    """One object that is not a capsule: what its attributes are, as far as capsules can meet them.

    ``attrs`` are its own attributes (each an owned reference), ``raising`` its properties that raise,
    ``getattr`` its ``__getattr__``, ``value`` the Python value of a str, an int or a bool, and ``name`` what a
    module or a class is called.
    """

    ob_refcnt: int
    ob_type: int
    born: str = "the start"
    name: str = ""
    value: object = None
    attrs: dict[str, int] = field(default_factory=dict)
    raising: dict[str, tuple[str, str]] = field(default_factory=dict)
    getattr: Callable[[str], int] | None = None
    is_tracked = False


class Capsule:
    """The struct of one capsule: header, fields in C's order, whether the collector tracks it, and its birth.

    The fields ``traverse_func`` and ``clear_func`` are part of the struct from 3.13 on.
    """

    __slots__ = (
        "born",
        "clear_func",
        "context",
        "destructor",
        "is_tracked",
        "name",
        "ob_refcnt",
        "ob_type",
        "pointer",
        "traverse_func",
    )

    def __init__(self, pointer: int, name: int, destructor: int, born: str) -> None:
        self.ob_refcnt = 1
        self.ob_type = PyCapsule_Type
        self.pointer = pointer
        self.name = name
        self.context = NULL
        self.destructor = destructor
        self.traverse_func = NULL
        self.clear_func = NULL
        self.is_tracked = False
        self.born = born


class Objects(dict[int, Any]):
    """Map the address of a live object to its struct; any other address is undefined behaviour.

    A struct is a ``Capsule`` where ``ob_type`` says so, else a ``PyObject``.

    ``dead`` keeps the birth and the death of objects that were freed.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory
        self.next = OBJECTS
        self.dead: dict[int, tuple[str, str]] = {}

    def place(self, struct: PyObject) -> int:
        """Give a struct an address of its own and return it."""
        address = self.next
        self.next = address + STRIDE
        self[address] = struct
        return address

    def __missing__(self, address: int) -> PyObject:
        """Say what is wrong with an address that is used as an object."""
        raise self.complain(address)

    def complain(self, address: int) -> UndefinedBehavior:
        """Return the diagnosis of an address that is no live object, with what is known of it."""
        clock = self.memory.clock
        if address == NULL:
            # rule: object/null
            return diagnose(Kind.NULL_DEREFERENCE, f"{clock} uses NULL as an object", [], address)
        base = address - (address - OBJECTS) % STRIDE
        if base in self.dead:
            born, died = self.dead[base]
            history = [f"object created at {born}", f"freed at {died}"]
            # rule: object/use-after-free
            return diagnose(Kind.USE_AFTER_FREE, f"{clock} uses the object at {base:#x}", history, base)
        if base in self:
            fact = f"{clock} uses {address:#x}, {address - base} bytes into an object, as an object"
            kind = Kind.MISALIGNED if address % self.memory.word else Kind.NOT_AN_OBJECT
            # rule: object/interior-pointer
            return diagnose(kind, fact, [f"object created at {self[base].born}"], base)
        block = self.memory.nearest(address)
        if block is None:
            # rule: object/wild-pointer
            return diagnose(Kind.WILD_POINTER, f"{clock} uses {address:#x} as an object", [], address)
        if block.died is not None:
            # rule: object/freed-block
            return self.memory.complain(Kind.USE_AFTER_FREE, address, "uses as an object what lies at", block)
        # rule: object/not-an-object
        return self.memory.complain(Kind.NOT_AN_OBJECT, address, "uses as an object what lies at", block)


def type_name(objects: Objects, address: int) -> str:
    """Return the name of an object's type."""
    ob_type = objects[address].ob_type
    if ob_type in TYPES:
        return TYPES[ob_type]
    name: str = objects[ob_type].name
    return name
