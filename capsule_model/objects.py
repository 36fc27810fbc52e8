"""Objects: the structs that a ``PyObject *`` points to, and the table that finds them by address.

Object structs lie in a region of their own, at a fixed distance from each other, so that the number of an object is
its address shifted, and a pointer into the middle of one is traced to it without a search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capsule_model.memory import NULL, Memory
from capsule_model.undefined import Kind, UndefinedBehavior, diagnose

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "IMMORTAL",
    "NONE",
    "NOTHING",
    "SHIFT",
    "TYPES",
    "TYPE_NAMED",
    "Capsule",
    "Objects",
    "OwnedObjects",
    "Parts",
    "PyCapsule_Type",
    "PyModule_Type",
    "PyObject",
    "PyType_Type",
    "type_name",
]

# An object lies at its number times 128; the numbers below FIRST belong to the types and to None.
SHIFT = 7
FIRST = 512

# The addresses of the type objects that the model knows; each is an object itself.
PyType_Type = 0x2000
PyCapsule_Type = 0x2080
PyModule_Type = 0x2100
_OTHERS = (
    "int str NoneType bytes list dict tuple function object bool method-wrapper builtin_function_or_method "
    "wrapper_descriptor method_descriptor unknown"
).split()
TYPES = {PyType_Type: "type", PyCapsule_Type: "PyCapsule", PyModule_Type: "module"} | {
    0x3000 + 0x80 * index: name for index, name in enumerate(_OTHERS)
}
TYPE_NAMED = {name: address for address, name in TYPES.items()}
# The address of None, the one object that the import system treats in a way of its own.
NONE = 0x2F00
IMMORTAL = 1 << 29


@dataclass(slots=True)
class PyObject:
    """One object that is not a capsule: what its attributes are, as far as capsules can meet them.

    ``attrs`` are its own attributes (each an owned reference), ``raising`` its properties that raise,
    ``getattr`` its ``__getattr__``, ``value`` the Python value of a str, an int or a bool, and ``name`` what a
    module or a class is called. ``dealloc`` is what its type does, called with its address, before it is freed.
    """

    ob_refcnt: int
    ob_type: int
    born: int = 0
    name: str = ""
    value: object = None
    attrs: dict[str, int] = field(default_factory=dict)
    raising: dict[str, tuple[str, str]] = field(default_factory=dict)
    getattr: Callable[[str], int] | None = None
    dealloc: Callable[[int], None] | None = None
    address: int = NULL
    is_tracked = False


class Capsule:
    """The struct of one capsule: header, fields in C's order, whether the collector tracks it, and its birth.

    The fields ``traverse_func`` and ``clear_func`` are part of the struct from 3.13 on.
    """

    # In the order of use, not of the alphabet: what every call reads lies together.
    __slots__ = (  # noqa: RUF023
        "address",
        "ob_refcnt",
        "ob_type",
        "pointer",
        "name",
        "destructor",
        "context",
        "traverse_func",
        "clear_func",
        "is_tracked",
        "born",
    )
    address: int
    ob_refcnt: int
    ob_type: int
    pointer: int
    name: int
    destructor: int
    context: int
    traverse_func: int
    clear_func: int
    is_tracked: bool
    born: int


# What an object of an extension's type has no use for.
NO_PROPERTIES: dict[str, tuple[str, str]] = {}

# Stands in the table where no object lies, or none any more.
NOTHING = PyObject(0, NULL, address=-(1 << 128))


class Objects:
    """The objects of one process, found by address; any address but a live object's is undefined behaviour.

    ``table`` holds the struct of each object at its number: a ``Capsule`` where ``ob_type`` says so, else a
    ``PyObject``. ``deaths`` keeps, for each object that was freed, its address, its birth and its death, one
    after the other. ``parts`` maps addresses to the parts of the counts, where these have two. ``size`` is that of
    a capsule's struct, in bytes.
    """

    def __init__(self, memory: Memory, size: int) -> None:
        self.memory = memory
        self.size = size
        self.table: list[Any] = [NOTHING] * FIRST
        self.deaths: list[int] = []
        self.parts: dict[int, Parts] = {}

    def place(self, struct: Capsule | PyObject) -> int:
        """Give a struct an address of its own and return it."""
        table = self.table
        address = struct.address = len(table) << SHIFT
        table.append(struct)
        return address

    def place_at(self, address: int, struct: PyObject) -> None:
        """Put a struct that the process has from its start at its fixed address."""
        struct.address = address
        self.table[address >> SHIFT] = struct

    def __getitem__(self, address: int) -> Any:
        """Return the struct at an address, or raise the diagnosis."""
        try:
            struct = self.table[address >> SHIFT]
        except IndexError:
            raise self.complain(address) from None
        if struct.address != address:
            raise self.complain(address)
        return struct

    def get(self, address: int) -> Capsule | PyObject | None:
        """Return the struct at an address, None if no object is alive there."""
        number = address >> SHIFT
        if not 0 <= number < len(self.table) or self.table[number].address != address:
            return None
        struct: Capsule | PyObject = self.table[number]
        return struct

    def __contains__(self, address: int) -> bool:
        """Tell whether an object is alive at the address."""
        return self.get(address) is not None

    def alive(self) -> list[Any]:
        """Return the structs of all objects that are alive, in the order of their addresses."""
        return [struct for struct in self.table if struct is not NOTHING]

    def existed(self, address: int) -> bool:
        """Tell whether an object was ever placed at the address."""
        number, rest = divmod(address, 1 << SHIFT)
        return rest == 0 and FIRST <= number < len(self.table)

    def obituary(self, address: int) -> list[str]:
        """Return when an object that was freed came to be, and when it went."""
        place = 3 * self.deaths[::3].index(address)
        born, died = self.deaths[place + 1 : place + 3]
        return [f"object created at {self.memory.when(born)}", f"freed at {self.memory.when(died)}"]

    def birth(self, address: int) -> list[str]:
        """Return when an object that is alive came to be."""
        return [f"object created at {self.memory.when(self[address].born)}"]

    def complain(self, address: int) -> UndefinedBehavior:
        """Return the diagnosis of an address that is no live object, with what is known of it."""
        clock = self.memory.now()
        if address == NULL:
            # rule: object/null
            return diagnose(Kind.NULL_DEREFERENCE, f"{clock} uses NULL as an object", [], address)
        base = address >> SHIFT << SHIFT
        if self.existed(base) and base not in self:
            # rule: object/use-after-free
            return diagnose(Kind.USE_AFTER_FREE, f"{clock} uses the object at {base:#x}", self.obituary(base), base)
        if base in self and address - base < self.size:
            fact = f"{clock} uses {address:#x}, {address - base} bytes into an object, as an object"
            kind = Kind.MISALIGNED if address % self.memory.word else Kind.NOT_AN_OBJECT
            # rule: object/interior-pointer
            return diagnose(kind, fact, self.birth(base), base)
        block = self.memory.nearest(address)
        if block is None:
            # rule: object/wild-pointer
            return diagnose(Kind.WILD_POINTER, f"{clock} uses {address:#x} as an object", [], address)
        if block.died is not None:
            # rule: object/freed-block
            return self.memory.complain(Kind.USE_AFTER_FREE, address, "uses as an object what lies at", block)
        # rule: object/not-an-object
        return self.memory.complain(Kind.NOT_AN_OBJECT, address, "uses as an object what lies at", block)


@dataclass(slots=True)
class Parts:
    """The two parts of a reference count: which thread owns the object, and how many references it counted itself.

    The struct's ``ob_refcnt`` is the sum, so that the rest of it is what other threads counted. ``owner`` is None
    once the parts were merged. While the object is ``queued``, its owner's queue holds one of the references.
    """

    owner: str | None
    local: int
    queued: bool = False


class OwnedObjects(Objects):
    """The objects of a process in which every object that can die is owned by the thread that made it.

    ``running`` returns the name of the thread that runs.
    """

    def __init__(self, memory: Memory, size: int, running: Callable[[], str]) -> None:
        super().__init__(memory, size)
        self.running = running

    def place(self, struct: Capsule | PyObject) -> int:
        """Give a struct an address of its own and return it; the running thread owns the references that it has."""
        address = super().place(struct)
        if struct.ob_refcnt < IMMORTAL:
            self.parts[address] = Parts(self.running(), struct.ob_refcnt)
        return address


def type_name(objects: Objects, address: int) -> str:
    """Return the name of an object's type."""
    ob_type = objects[address].ob_type
    if ob_type in TYPES:
        return TYPES[ob_type]
    name: str = objects[ob_type].name
    return name
