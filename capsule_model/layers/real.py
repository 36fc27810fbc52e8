"""The process that runs this code, with the face of the simulated one as far as the layers use it.

Capsules, reference counts, destructors, calls through pointers and memory are real, reached through ctypes; what acts
on them is the code of the layers. What it leaves in ``error`` is put into the error indicator before each call
and taken out after it, since no exception stays pending between calls of ctypes.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from capsule_model.layers.functions import BINARY, CLEANUP, CLEANUP_WITH_DESC, PLAIN, WITH_DATA
from capsule_model.locate import specs
from capsule_model.memory import NULL, Block, Memory
from capsule_model.undefined import Abort

__all__ = ["CALLS", "CAPSULES", "NO_ERROR", "Raised", "RealProcess"]


def _load() -> Any:
    """Return a copy of the adapter of the capsule API, so that its tables may be added to."""
    spec = importlib.util.spec_from_file_location(f"{__name__}.ctypes_adapter", specs() / "adapters/ctypes_adapter.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CAPSULES = _load()
Triple = tuple[int, int, int]
NO_ERROR: Triple = (0, 0, 0)
# The C functions that layers call: number of arguments, and whether they return an address, an int or nothing.
CALLS = {
    "PyCapsule_New": (3, "address"),
    "PyCapsule_IsValid": (2, "int"),
    "PyCapsule_GetPointer": (2, "address"),
    "PyCapsule_GetName": (1, "address"),
    "PyCapsule_GetContext": (1, "address"),
    "PyCapsule_SetPointer": (2, "int"),
    "PyCapsule_SetName": (2, "int"),
    "PyCapsule_SetContext": (2, "int"),
    "PyCapsule_SetDestructor": (2, "int"),
    "PyCapsule_Import": (2, "address"),
    "PyErr_SetString": (2, "nothing"),
    "PyErr_WriteUnraisable": (1, "nothing"),
}
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
SIGNATURES: dict[str, tuple[Any, ...]] = {
    CLEANUP: (None, _POINTER),
    CLEANUP_WITH_DESC: (None, _POINTER, _POINTER),
    PLAIN: (None,),
    BINARY: (_INT, _INT, _INT),
    WITH_DATA: (_INT, _INT, _POINTER),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What the profile of a simulated process says of the machine."""

    word: int = ctypes.sizeof(_POINTER)


class Raised:
    """An exception of the interpreter in the hands of layers, as ``PyErr`` is one of the simulated process."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception


class RealMemory(Memory):
    """The storage of one session, which stays to its end; only what lies in it is read or written."""

    def __init__(self, session: Any) -> None:
        super().__init__(ctypes.sizeof(_POINTER), sys.byteorder)
        self.session = session

    def malloc(self, size: int) -> int:
        """Allocate zeroed bytes and return their address, aligned to 16."""
        buffer = ctypes.create_string_buffer(size + 16)
        start = -(-ctypes.addressof(buffer) // 16) * 16
        self.session.kept.append(buffer)
        self.session.ends[start] = start + size
        return start

    def literal(self, value: bytes, *, writable: bool = False) -> int:
        """Place a C string (NUL appended) where it stays and return its address."""
        start = self.malloc(len(value) + 1)
        ctypes.memmove(start, value, len(value))
        return start

    def free(self, address: int) -> None:
        """Note that a block is gone; what is not one is the vector's fault."""
        if address != NULL and address not in self.session.ends:
            raise CAPSULES.Malformed("free of what is not a block")
        self.session.blocks.discard(address)

    def nearest(self, address: int) -> Block | None:
        """Return nothing: no diagnosis is made here."""
        return None

    def read(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes of a block."""
        return ctypes.string_at(self.session._block(address, size), size)

    def write(self, address: int, value: bytes) -> None:
        """Write bytes into a block."""
        ctypes.memmove(self.session._block(address, len(value)), value, len(value))

    def load_word(self, address: int) -> int:
        """Return the machine word at an address."""
        return int.from_bytes(self.read(address, self.word), self.order)

    def c_string(self, address: int) -> bytes:
        """Return the bytes of the C string at an address, the NUL left out."""
        start = self.session._buffer(address)
        if start not in self.session.ends:
            raise CAPSULES.Malformed("a string outside of a block")
        return ctypes.string_at(address, self.session.ends[start] - address).partition(b"\0")[0]


class RealProcess:
    """The running interpreter, for the layers of one vector; ``error`` is the exception that is pending for them."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.adapter = session.adapter
        self.memory = RealMemory(session)
        self.profile = Machine()
        self.none_address = id(None)
        self.error: Raised | None = None
        self.functions: dict[int, tuple[str, Any]] = {}
        self.destructors: dict[int, Callable[[int], object]] = {}

    def cstring(self, value: str | bytes) -> int:
        """Place a C string in storage that stays and return its address."""
        return self.memory.literal(value.encode() if isinstance(value, str) else value)

    def malloc(self, size: int) -> int:
        """Allocate bytes and return their address."""
        return self.memory.malloc(size)

    def free(self, address: int) -> None:
        """Free what ``malloc`` returned; NULL is ignored."""
        self.memory.free(address)

    def __getattr__(self, name: str) -> Callable[..., int]:
        """Return what calls a function of the interpreter."""
        if name not in CALLS:
            raise AttributeError(name)
        return partial(self._call, name)

    def PyCapsule_New(self, pointer: int, name: int, destructor: int) -> int:
        """Make a capsule and return a new reference to it, or NULL."""
        op = self._call("PyCapsule_New", pointer, name, destructor)
        if op != NULL:
            self.session.arrived(op)
        return op

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

    def PyErr_Occurred(self) -> str | None:
        """Return the type of the pending exception, or None."""
        return None if self.error is None else type(self.error.exception).__name__

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

    def function(self, call: Callable[..., int | None], type: str = "destructor", name: str = "") -> int:
        """Give a Python callable the address of a C function of some type, and return the address."""
        if type == "destructor":
            return int(self.session.destructor(call))
        restype, *argtypes = SIGNATURES[type]
        callback = ctypes.PYFUNCTYPE(restype, *argtypes)(partial(self._entered, call))
        address = int(CAPSULES.address_of(callback))
        self.functions[address] = type, callback
        return address

    def call(self, address: int, type: str, *arguments: int) -> int | None:
        """Call a C function of some type through its pointer; anything else is never called."""
        if self.functions.get(address, ("",))[0] != type:
            raise CAPSULES.Malformed(f"a call of what is no {type}")
        result: int | None = ctypes.PYFUNCTYPE(*SIGNATURES[type])(address)(*arguments)
        self.session.check_failure()
        return result

    def nested(self, call: Callable[..., object], *arguments: int) -> object:
        """Run what C code has called; an exception of C++ that would leave it is the end of the process."""
        try:
            return call(*arguments)
        except Abort:
            os.abort()

    def _entered(self, call: Callable[..., object], *words: int | None) -> int:
        """Run the body of a C function; what it raises ends the vector, since C code cannot pass it on."""
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
        return int(CAPSULES.signed(result, 32)) if CALLS[name][1] == "int" else result
