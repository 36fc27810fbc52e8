"""The process that runs this code, with the face of the simulated one as far as the exchange uses it.

Capsules, reference counts, destructors, deleters and memory are real, reached through ctypes; the behaviours that act
on them are the model's own. Behaviours stand for C code: what they leave in ``error`` is put into the interpreter's
error indicator before each call and taken out after it, since no exception stays pending between calls of ctypes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

from capsule_model import NULL, Abort
from capsule_model.undefined import Kind
from dlpack_model.real.capsules import CAPSULES
from dlpack_model.real.memory import RealMemory

__all__ = ["CALLS", "NO_ERROR", "CapsuleStruct", "Raised", "RealProcess"]

Triple = tuple[int, int, int]
NO_ERROR: Triple = (0, 0, 0)
# How deep deaths may lead to deaths; C code below has a stack that ends sooner than Python's.
MOST_NESTED = 100
# The C functions that behaviours call: number of arguments, and whether they return something.
CALLS = {
    "PyCapsule_New": (3, True),
    "PyCapsule_IsValid": (2, True),
    "PyCapsule_GetPointer": (2, True),
    "PyCapsule_GetName": (1, True),
    "PyCapsule_SetName": (2, True),
    "PyCapsule_SetDestructor": (2, True),
    "PyErr_SetString": (2, False),
    "PyErr_WriteUnraisable": (1, False),
    "Py_DecRef": (1, False),
}
_POINTER = ctypes.c_void_p
# The types of the other functions. A status is as wide as a pointer: by one reading of the texts it is one.
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "deleter": (None, _POINTER),
    "SetError": (None, _POINTER, _POINTER, _POINTER),
    "managed_tensor_allocator": (ctypes.c_ssize_t, _POINTER, _POINTER, _POINTER, _POINTER),
    "managed_tensor_from_py_object_no_sync": (ctypes.c_ssize_t, _POINTER, _POINTER),
    "managed_tensor_to_py_object_no_sync": (ctypes.c_ssize_t, _POINTER, _POINTER),
    "dltensor_from_py_object_no_sync": (ctypes.c_ssize_t, _POINTER, _POINTER),
    "current_work_stream": (ctypes.c_ssize_t, ctypes.c_int32, ctypes.c_int32, _POINTER),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What the profile of a simulated process says of the machine."""

    word: int = ctypes.sizeof(_POINTER)
    order: str = sys.byteorder
    behaviours: frozenset[str] = frozenset()


class CapsuleStruct(NamedTuple):
    """The fields of a capsule's struct, in C's order."""

    pointer: int
    name: int
    context: int
    destructor: int


class Raised:
    """An exception of the interpreter in the hands of behaviours, as ``PyErr`` is one of the simulated process."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception

    @property
    def type(self) -> str:
        """Return the name of its type."""
        return type(self.exception).__name__

    def __repr__(self) -> str:
        """Return the exception as Python writes it."""
        return repr(self.exception)


class Instance:
    """An object of an extension's type: what its deallocator does happens in ``__del__``.

    There the object is whole, its references are not yet gone, and it can be kept: a weak reference's callback comes
    later, without the object, in an order of its own.
    """

    __slots__ = ()
    process: ClassVar[RealProcess | None] = None

    def __del__(self) -> None:
        """Die, as far as the vector can tell."""
        process = type(self).process
        if process is not None:
            process.died(self)


class RealProcess:
    """The running interpreter, for the behaviours of one vector.

    ``session`` is the vector's session in the adapter, ``error`` the exception that is pending for behaviours, and
    ``holds_gil`` tells whether functions are called with the GIL.
    """

    def __init__(self, session: Any, holds_gil: Callable[[], bool]) -> None:
        self.session = session
        self.adapter = session.adapter
        self.holds_gil = holds_gil
        self.memory = RealMemory(session.string_elsewhere)
        self.profile = Machine()
        self.error: Raised | None = None
        self.depth = 0
        self.types: dict[str, type[Instance]] = {}
        self.deallocators: dict[int, Callable[[int], None] | None] = {}
        self.capsules: set[int] = set()
        self.functions: dict[int, tuple[str, Any]] = {}
        self.destructors: dict[int, Callable[[int], object]] = {}
        self.kept: list[Instance] = []

    # Memory

    def cstring(self, value: str | bytes) -> int:
        """Place a C string in storage that stays and return its address."""
        return self.memory.literal(value.encode() if isinstance(value, str) else value)

    def malloc(self, size: int) -> int:
        """Allocate bytes and return their address."""
        return self.memory.malloc(size)

    def free(self, address: int) -> None:
        """Free what ``malloc`` returned; NULL is ignored."""
        self.memory.free(address)

    def read(self, address: int, size: int) -> bytes:
        """Return bytes of memory."""
        return self.memory.read(address, size)

    def write(self, address: int, value: bytes) -> None:
        """Write bytes to memory."""
        self.memory.write(address, value)

    # The error indicator

    def PyErr_SetString(self, type: str, text: str) -> None:
        """Replace the pending exception by a new one."""
        message = ctypes.create_string_buffer(text.encode())
        self._call("PyErr_SetString", id(CAPSULES.exception_class(type)), ctypes.addressof(message))
        if self.error is not None:
            # Python code that is handling an exception stands for C code that is not.
            self.error.exception.__context__ = None

    def PyErr_Clear(self) -> None:
        """Forget the pending exception."""
        self.error = None

    def PyErr_WriteUnraisable(self, obj: int) -> None:
        """Hand the pending exception to the hook for unraisable errors."""
        self._call("PyErr_WriteUnraisable", obj)

    def held(self, error: Raised | None) -> Triple:
        """Return an exception as the interpreter passes it around: references that the caller owns."""
        if error is None:
            return NO_ERROR
        words = id(type(error.exception)), id(error.exception), 0
        self.session._hold(words)
        return words

    def taken(self, words: Triple, known: Raised | None = None) -> Raised | None:
        """Return the exception that somebody gives away; ``known`` is the one that it may be."""
        if not words[0]:
            return None
        words = self.session._normal(words)
        exception: BaseException = CAPSULES.object_at(words[1])
        self.session._release(*words)
        if known is not None and known.exception is exception:
            return known
        exception.__traceback__ = None
        return Raised(exception)

    # Capsules

    def PyCapsule_New(self, pointer: int, name: int, destructor: int) -> int:
        """Make a capsule and return a new reference to it, or NULL."""
        op = self._call("PyCapsule_New", pointer, name, destructor)
        if op != NULL:
            self.session.arrived(op)
            self.capsules.add(op)
        return op

    def PyCapsule_IsValid(self, capsule: int, name: int) -> int:
        """Tell whether a capsule has that name."""
        return self._call("PyCapsule_IsValid", capsule, name) & 0xFFFFFFFF

    def PyCapsule_GetPointer(self, capsule: int, name: int) -> int:
        """Return the pointer of a capsule of that name, or NULL."""
        return self._call("PyCapsule_GetPointer", capsule, name)

    def PyCapsule_GetName(self, capsule: int) -> int:
        """Return the address of a capsule's name."""
        return self._call("PyCapsule_GetName", capsule)

    def PyCapsule_SetName(self, capsule: int, name: int) -> int:
        """Give a capsule another name."""
        return self._call("PyCapsule_SetName", capsule, name)

    def PyCapsule_SetDestructor(self, capsule: int, destructor: int) -> int:
        """Give a capsule another destructor."""
        return self._call("PyCapsule_SetDestructor", capsule, destructor)

    def capsule_at(self, address: int) -> CapsuleStruct | None:
        """Return the fields of the capsule at an address, None where none is that is known."""
        session = self.session
        known = address in self.capsules or session.types.get(address) == self.adapter.capsule_type
        if not known or (address in session.dead and address not in session.dying):
            return None
        start = address + CAPSULES.HEADER_WORDS * CAPSULES.WORD
        return CapsuleStruct(*(CAPSULES.read_word(start + CAPSULES.WORD * place) for place in range(4)))

    # Objects

    def new_object(self, type_name: str, dealloc: Callable[[int], None] | None = None) -> int:
        """Return a new reference to an object of an extension's type, whose death calls ``dealloc`` with it."""
        cls = self.types.get(type_name)
        if cls is None:
            cls = self.types[type_name] = type(type_name, (Instance,), {"__slots__": (), "process": self})
        made = cls()
        address = id(made)
        self.adapter.incref(address)
        self.session.arrived(address)
        self.deallocators[address] = dealloc
        return address

    def died(self, instance: Instance) -> None:
        """Do what the type of an object does when one dies; keep it, so that its address is nobody else's."""
        session, address = self.session, id(instance)
        self.kept.append(instance)
        session.dead.add(address)
        # Python has put aside what was pending, and puts it back.
        outer, self.error = self.error, None
        try:
            self.nested(self.deallocators[address] or (lambda op: None), address)
            if self.error is not None:
                raise CAPSULES.Unsupported("compiled-destructors: an array that leaves an exception when it dies")
        except BaseException as failure:
            session.fail(failure)
        finally:
            self.error = outer

    def Py_INCREF(self, op: int) -> None:
        """Take a reference."""
        self._must_live(op)
        self.adapter.incref(op)

    def Py_DECREF(self, op: int) -> None:
        """Give a reference back."""
        self._must_live(op)
        # Where nothing dies, nobody sees what is pending.
        outer = self.error
        unseen = outer is not None and self.adapter.library is None and CAPSULES.refcnt(op) > 1
        if unseen:
            self.error = None
        self._call("Py_DecRef", op)
        if unseen:
            self.error = outer

    def Py_REFCNT(self, ob: int) -> int:
        """Return the reference count."""
        self._must_live(ob)
        return int(CAPSULES.refcnt(ob))

    def _must_live(self, op: int) -> None:
        """Diagnose an address that is no object of this vector, or of one that is gone."""
        session = self.session
        known = op in self.deallocators or op in self.capsules or op in session.types
        if not known or (op in session.dead and op not in session.dying):
            kind = Kind.USE_AFTER_FREE if known else Kind.NOT_AN_OBJECT
            raise self.memory.complain(kind, op, "uses as an object", self.memory.nearest(op))

    # Functions

    def function(self, call: Callable[..., int | None], type: str = "destructor", name: str = "") -> int:
        """Give a behaviour the address of a C function of some type, and return the address."""
        if type == "destructor":
            # The interpreter calls it, whatever is pending: one that is compiled can see to that.
            return int(self.session.destructor(call))
        restype, *argtypes = SIGNATURES[type]
        callback = ctypes.CFUNCTYPE(restype, *argtypes)(partial(self._entered, call))
        address = CAPSULES.address_of(callback)
        self.functions[address] = type, callback
        return int(address)

    def call(self, address: int, type: str, *arguments: int) -> int | None:
        """Call a C function of some type through its pointer.

        Where behaviours do not hold the GIL it is given away before the call, so that the function has to take it.
        """
        known = self.functions.get(address)
        if known is None or known[0] != type:
            kind = Kind.WILD_POINTER if known is None else Kind.WRONG_FUNCTION_TYPE
            raise self.memory.complain(kind, address, f"calls as a {type}", None)
        prototype = ctypes.PYFUNCTYPE if self.holds_gil() else ctypes.CFUNCTYPE
        result: int | None = prototype(*SIGNATURES[type])(address)(*arguments)
        self.session.check_failure()
        return result

    def nested(self, call: Callable[..., object], *arguments: int) -> object:
        """Run a behaviour that C code has called; a panic in it is the end of the process, as it would be there."""
        if self.depth == MOST_NESTED:
            raise CAPSULES.Malformed(f"functions nested deeper than {MOST_NESTED}")
        self.depth += 1
        try:
            return call(*arguments)
        except Abort:
            os.abort()
        finally:
            self.depth -= 1

    def _entered(self, call: Callable[..., object], *words: int | None) -> int:
        """Run the behaviour behind a C function; what it raises ends the vector, since C code cannot pass it on."""
        if self.session.closed or self.session.failure is not None:
            return 0
        try:
            result = self.nested(call, *(word or 0 for word in words))
        except BaseException as failure:
            self.session.fail(failure)
            return 0
        return result if isinstance(result, int) else 0

    def _call(self, name: str, *words: int) -> int:
        """Call a function of the interpreter with what is pending, and take out what is pending then."""
        adapter, pending = self.adapter, self.error
        if pending is not None and adapter.library is None:
            raise CAPSULES.Unsupported(f"error-indicator: {adapter.absent['error-indicator']}")
        slot = adapter.slot
        slot[1], slot[2], slot[3] = self.held(pending)
        adapter.behind[name](*words)
        result = int(slot[0])
        self.error = self.taken((slot[1], slot[2], slot[3]), pending)
        self.session.check_failure()
        return result

    def close(self) -> None:
        """Let go of what the vector had: nothing of it is used any more, nor does anything happen when it dies."""
        for cls in self.types.values():
            cls.process = None
        self.kept.clear()
        self.functions.clear()
