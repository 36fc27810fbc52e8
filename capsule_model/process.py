"""The state of one simulated process, shared by all functions of the model.

The functions take it as their first argument, ``py``, where C reaches for globals and the thread state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capsule_model.memory import TEXT, Memory
from capsule_model.objects import (
    IMMORTAL,
    NO_PROPERTIES,
    NONE,
    SHIFT,
    TYPE_NAMED,
    TYPES,
    Capsule,
    Objects,
    OwnedObjects,
    PyCapsule_Type,
    PyObject,
    PyType_Type,
)
from capsule_model.undefined import Kind, UndefinedBehavior, diagnose

if TYPE_CHECKING:
    from capsule_model.errors import PyErr
    from capsule_model.imports import Module
    from capsule_model.profiles import Profile

__all__ = ["CFunction", "Functions", "Process"]


@dataclass(frozen=True, slots=True)
class CFunction:
    """A C function that has an address: its type (``destructor``, ``traverse``, ``clear``), name and body."""

    type: str
    name: str
    call: Callable[..., int | None]


class Functions(dict[int, CFunction]):
    """Map the address of a function to it; calling any other address is undefined behaviour."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def typed(self, address: int, type: str) -> CFunction:
        """Return the function at an address, which must be of the type that the caller will call it as."""
        function = self.get(address)
        if function is None:
            block = self.memory.nearest(address)
            fact = f"{self.memory.now()} calls {address:#x}, which is no function, as a {type}"
            # rule: function/wild-pointer
            raise diagnose(Kind.WILD_POINTER, fact, self.memory.history(block) if block else [], address)
        if function.type != type:
            fact = f"{self.memory.now()} calls {function.name}, a {function.type}, as a {type}"
            # rule: function/wrong-type
            raise diagnose(Kind.WRONG_FUNCTION_TYPE, fact, [], address)
        return function


class Process:
    """One process that runs one interpreter.

    ``error`` is the error indicator of the running thread, None where nothing is pending; ``errors`` holds those
    of the threads that wait. ``queues`` holds, for each thread that has run and has not ended, the objects whose
    counts it has to merge. ``sys_modules`` maps names to objects (owned), ``finder`` says which modules can
    be imported, ``unraisable`` is the hook that ``PyErr_WriteUnraisable`` calls with the exception and the object;
    at first it puts them into ``unraised``.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.behaviours = profile.behaviours
        self.memory = Memory(profile.word, profile.order)
        self.strings = self.memory.strings
        self.objects = Objects(self.memory, profile.basicsize)
        # Where Py_INCREF and Py_DECREF look first; they find nothing where counts have two parts, and go another way.
        self.counted = self.objects.table
        if "biased-reference-counts" in self.behaviours:
            self.objects = OwnedObjects(self.memory, profile.basicsize, lambda: self.thread)
            self.counted = []
        self.structs = self.objects.table
        self.functions = Functions(self.memory)
        self.error: PyErr | None = None
        self.errors: dict[str, PyErr | None] = {}
        self.thread = ""
        self.queues: dict[str, list[int]] = {"": []}
        self.deallocating: list[int] = []
        self.tracked: dict[int, None] = {}
        self.extension_types: dict[str, int] = {}
        self.sys_modules: dict[str, int] = {}
        self.finder: dict[str, Module] = {}
        self.unraised: list[tuple[PyErr, int]] = []
        self.unraisable: Callable[[PyErr, int], None] = lambda error, obj: self.unraised.append((error, obj))
        for address, name in TYPES.items():
            self.objects.place_at(address, PyObject(IMMORTAL, PyType_Type, name=name))
        self.objects.place_at(NONE, PyObject(IMMORTAL, TYPE_NAMED["NoneType"]))

    def function(self, call: Callable[..., int | None], type: str = "destructor", name: str = "") -> int:
        """Give a Python callable the address of a C function of some type, and return the address.

        A ``destructor`` is called with the capsule's address, a ``clear`` likewise, a ``traverse`` with the
        capsule's address and the visit function.
        """
        address = TEXT[self.profile.word] + 16 * (len(self.functions) + 1)
        self.functions[address] = CFunction(type, name or call.__name__, call)
        return address

    def call(self, address: int, type: str, *arguments: int) -> int | None:
        """Call a C function of some type through its pointer; another address, or another type, is undefined."""
        return self.functions.typed(address, type).call(*arguments)

    def new_object(self, type_name: str, dealloc: Callable[[int], None] | None = None) -> int:
        """Return a new reference to an object of an extension's type, whose deallocator calls ``dealloc`` with it."""
        cls = self.extension_types.get(type_name)
        if cls is None:
            cls = self.extension_types[type_name] = self.objects.place(PyObject(IMMORTAL, PyType_Type, name=type_name))
        memory = self.memory
        memory.count = born = memory.count + 1
        return self.objects.place(PyObject(1, cls, born, "", None, {}, NO_PROPERTIES, None, dealloc))

    def capsule_at(self, address: int) -> Capsule | None:
        """Return the struct of the capsule that is alive at an address, None where none is; the API is not asked."""
        number = address >> SHIFT
        if not 0 <= number < len(self.structs):
            return None
        struct = self.structs[number]
        return struct if struct.address == address and struct.ob_type == PyCapsule_Type else None

    def cstring(self, value: str | bytes) -> int:
        """Place a C string in storage that is never freed and return its address."""
        data = value.encode() if isinstance(value, str) else value
        return self.memory.literal(data)

    def malloc(self, size: int) -> int:
        """Allocate ``size`` uninitialised bytes and return their address."""
        return self.memory.malloc(size)

    def free(self, address: int) -> None:
        """Free what ``malloc`` returned; NULL is ignored."""
        self.memory.free(address)

    def switch_thread(self, name: str) -> None:
        """Make another thread the running one: each has an error indicator of its own.

        A name that is new starts a thread. The thread goes on in C code: ``handle_pending`` is what it does when
        it comes back to Python code.
        """
        if name != self.thread:
            # rule: error-indicator/one-per-thread
            self.errors[self.thread] = self.error
            self.error = self.errors.pop(name, None)
            self.thread = name
            self.queues.setdefault(name, [])

    def waiting_queue(self, thread: str | None) -> list[int] | None:
        """Return the objects whose counts a thread has to merge, None where nobody waits for the thread."""
        if "last-reference-waits-for-owner" in self.behaviours:
            # A thread that has ended has no queue.
            return self.queues.get(str(thread))
        return None

    def has_immortal_modules(self) -> bool:
        """Tell whether modules can never be destroyed, as far as this process knows its own history."""
        return "threads-make-modules-immortal" in self.behaviours and self.queues.keys() > {""}

    def leaks(self) -> list[UndefinedBehavior]:
        """Return a diagnosis for each capsule and each ``malloc`` block that is still alive, to ask at exit."""
        objects, memory = self.objects, self.memory
        capsules = [struct.address for struct in objects.alive() if struct.ob_type == PyCapsule_Type]
        blocks = [block for block in memory.heap.blocks if block.died is None]
        found = [diagnose(Kind.LEAK, f"{op:#x} is alive at exit", objects.birth(op), op) for op in capsules]
        for block in blocks:
            fact = f"the block at {block.address:#x} is never freed"
            found.append(diagnose(Kind.LEAK, fact, memory.history(block), block.address))
        return found
