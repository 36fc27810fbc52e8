"""Perform vectors on the capsule API of the interpreter that runs this file, through ctypes.

Run it as a program to speak the adapter protocol on standard input and output, or import it: ``Adapter``
answers ``start`` and ``run``, and ``Session`` performs one vector step by step. It needs CPython 3.8 or newer
and nothing else; ``driver.c``, compiled at start where a compiler is found, adds what ctypes alone cannot see.

Addresses are plain integers everywhere. An object becomes a Python reference only to be looked at, and never
while it is dying: a temporary reference to an object whose count is 0 would destroy it again.
"""

from __future__ import annotations

import argparse
import builtins
import copy
import ctypes
import gc
import importlib.machinery
import importlib.util
import json
import os
import pickle
import platform
import queue
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import types
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator

if TYPE_CHECKING:
    Error = tuple[int, int, int]
    Json = dict[str, Any]

PROTOCOL = 1
LINE_LIMIT, DEPTH_LIMIT, STEP_LIMIT, ALLOCATION_LIMIT = 1 << 20, 64, 10_000, 1 << 26
FUNCTION_LIMIT = 64  # as many as driver.c has
WORD = ctypes.sizeof(ctypes.c_void_p)
MASK = (1 << 8 * WORD) - 1
NONE = (0, 0, 0)  # the error indicator as (type, value, traceback) addresses: no exception
OPAQUE_STRIDE, OPAQUE_SIZE, OPAQUE_COUNT = 256, 16, 4096
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
HEADER_WORDS = object.__basicsize__ // WORD
TYPE_OFFSET = (HEADER_WORDS - 1) * WORD
# In a free-threaded build two words share the reference count with other things.
HEADER = ("ob_tid", "ob_flags", "ob_ref_shared") if FREE_THREADED else ("ob_next", "ob_prev")[: HEADER_WORDS - 2]
FIELDS = ("pointer", "name", "context", "destructor")
ORDER = {"<": 0, "<=": 1, "==": 2, "!=": 3, ">": 4, ">=": 5}
KINDS = (
    "None",
    "int",
    "str",
    "bytes",
    "list",
    "dict",
    "tuple",
    "function",
    "object",
    "class",
    "PyCapsule_Type",
)
WASM = sys.platform in ("emscripten", "wasi")
PYODIDE = sys.modules.get("pyodide") if WASM else None
# Pyodide under Node.js looks for input ten times a second.
READ = """
const fs = process.getBuiltinModule("fs");
const cell = new Int32Array(new SharedArrayBuffer(4));
(buffer) => {
    for (;;) {
        try {
            return fs.readSync(0, buffer);
        } catch (error) {
            if (error.code !== "EAGAIN") throw error;
        }
        Atomics.wait(cell, 0, 0, 1);
    }
}
"""
NATIVE = ("PyErr_NoMemory", "PyErr_Clear", "PyCapsule_GetContext")
OWN_CALLS = {"PyCapsule_New": 3, "PyCapsule_SetContext": 2, "PyObject_CallObject": 2}
CALLBACKS = {
    "destructor": ctypes.PYFUNCTYPE(None, ctypes.c_void_p),
    "clear": ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p),
    "traverse": ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p),
}
CALLERS = {  # of driver.c, by the number of words that they pass on and whether these return nothing
    (count, void): f"driver_{'do' if void else 'return'}{count}" for void in (False, True) for count in range(4 - void)
}
NEED_DRIVER = ("error-indicator", "compiled-destructors", "returns-on-failure")
ALWAYS = ("native-destructors", "layout", "poke", "gc", "modules", "memory", "python", "threads")

# Operation: (arguments, what its return shows, the feature it needs), as in operations.json.
OPERATIONS = {
    "PyCapsule_New": ("pointer name destructor", "new", ""),
    "PyCapsule_CheckExact": ("op", "int", "macros"),
    "PyCapsule_IsValid": ("capsule name", "int", ""),
    "PyCapsule_GetPointer": ("capsule name", "address", ""),
    "PyCapsule_GetName": ("capsule", "string", ""),
    "PyCapsule_GetDestructor": ("capsule", "address", ""),
    "PyCapsule_GetContext": ("capsule", "address", ""),
    "PyCapsule_SetPointer": ("capsule pointer", "int", ""),
    "PyCapsule_SetName": ("capsule name", "int", ""),
    "PyCapsule_SetDestructor": ("capsule destructor", "int", ""),
    "PyCapsule_SetContext": ("capsule context", "int", ""),
    "PyCapsule_Import": ("name no_block", "address", ""),
    "_PyCapsule_SetTraverse": ("op traverse_func clear_func", "int", "gc"),
    "Py_INCREF": ("op", "nothing", ""),
    "Py_DECREF": ("op", "nothing", ""),
    "Py_IncRef": ("o", "nothing", ""),
    "Py_DecRef": ("o", "nothing", ""),
    "Py_REFCNT": ("ob", "int", ""),
    "PyObject_Repr": ("o", "text", "python"),
    "PyObject_Str": ("o", "text", "python"),
    "PyObject_Hash": ("o", "hash", "python"),
    "PyObject_RichCompare": ("o1 o2 opid", "object", "python"),
    "PyObject_IsTrue": ("o", "int", "python"),
    "PyObject_Call": ("callable", "object", "python"),
    "PyObject_GetAttrString": ("o attr_name", "object", "python"),
    "PyObject_SetAttrString": ("o attr_name v", "int", "python"),
    "PyObject_IsInstance": ("inst cls", "int", "python"),
    "PyObject_Size": ("o", "size", "python"),
    "subclass": ("base", "object", "python"),
    "copy.copy": ("x", "object", "python"),
    "copy.deepcopy": ("x", "object", "python"),
    "pickle.dumps": ("obj protocol", "object", "python"),
    "weakref.ref": ("ob", "object", "python"),
    "sys.getsizeof": ("object", "int", "python"),
    "types.CapsuleType": ("", "object", "python"),
    "gc.is_tracked": ("obj", "int", "gc"),
    "gc.get_referents": ("obj", "tokens", "gc"),
    "gc.collect": ("", "nothing", "gc"),
    "PyErr_SetString": ("type message", "nothing", "error-indicator"),
    "PyErr_Clear": ("", "nothing", "error-indicator"),
    "PyErr_NoMemory": ("", "address", "error-indicator"),
    "PyErr_Occurred": ("", "borrowed", "error-indicator"),
    "PyErr_WriteUnraisable": ("obj", "nothing", "error-indicator"),
    "malloc": ("size", "address", "memory"),
    "free": ("ptr", "nothing", "memory"),
    "string": ("bytes", "address", "memory"),
    "write": ("ptr bytes", "nothing", "memory"),
    "read": ("ptr size", "bytes", "memory"),
    "layout": ("op", "words", "layout"),
    "poke": ("op field value", "nothing", "poke"),
    "import": ("module", "import", "modules"),
    "settle": ("", "nothing", ""),
}
SYMBOLS = {
    "Py_INCREF": "Py_IncRef",
    "Py_DECREF": "Py_DecRef",
    "PyObject_Call": "PyObject_CallObject",
    "gc.is_tracked": "PyObject_GC_IsTracked",
    "import": "PyImport_ImportModule",
}
REFERENCES = {"Py_INCREF": 1, "Py_IncRef": 1, "Py_DECREF": -1, "Py_DecRef": -1}


class Malformed(Exception):
    """A vector that cannot be performed as it is written."""

    path: str | None = None


class Unsupported(Exception):
    """A vector that needs what this adapter lacks."""


def object_at(address: int) -> Any:
    """Take a Python reference to the object at an address."""
    return ctypes.cast(address, ctypes.py_object).value


def address_of(function: Any) -> int:
    """Give the address of a C function."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def read_word(address: int) -> int:
    """Read one machine word of memory."""
    return ctypes.c_size_t.from_address(address).value


def signed(value: int, bits: int = 8 * WORD) -> int:
    """Read the low bits of a word as a signed integer."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def refcnt(address: int) -> int:
    """Read the reference count from an object's header."""
    if FREE_THREADED:
        local = ctypes.c_uint32.from_address(address + WORD + 4).value
        return local + (signed(read_word(address + 2 * WORD)) >> 2)
    count = read_word(address + (HEADER_WORDS - 2) * WORD)
    # From 3.14 on the upper half of a 64-bit word holds flags.
    return count & 0xFFFFFFFF if WORD == 8 and sys.version_info >= (3, 14) else signed(count)


def write_field(capsule: int, field: str, value: int) -> None:
    """Write a field of a capsule's struct."""
    offset = (HEADER_WORDS + FIELDS.index(field)) * WORD
    ctypes.c_size_t.from_address(capsule + offset).value = value


def exception_class(name: str) -> type[BaseException]:
    """Give a built-in exception by name."""
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise Malformed(f"no built-in exception {name!r}")
    return kind


def make_exception(spec: Json) -> BaseException:
    """Make an instance of a built-in exception."""
    kind = exception_class(spec["type"])
    try:
        return kind(spec["text"]) if "text" in spec else kind()
    except TypeError as error:
        raise Malformed(f"{spec['type']} cannot be made from a text: {error}") from None


def bytes_of(argument: Any) -> bytes:
    """Give the bytes that ``{"cstr": …}`` or ``{"hex": …}`` stands for."""
    if isinstance(argument, dict) and len(argument) == 1:
        form, content = next(iter(argument.items()))
        if form in ("cstr", "hex") and isinstance(content, str):
            return content.encode() if form == "cstr" else bytes.fromhex(content)
    raise Malformed("expected a cstr or hex argument")


def text_of(argument: Any) -> str:
    """Give the text of a ``{"cstr": …}`` argument that is not storage."""
    if isinstance(argument, dict) and isinstance(argument.get("cstr"), str):
        return str(argument["cstr"])
    raise Malformed("expected a cstr argument")


def build_driver(folder: str, headers: bool) -> tuple[str | None, str]:
    """Compile driver.c into a folder; give its path and, for what is missing, the reason."""
    return build_library("driver", folder, headers)


def build_library(name: str, folder: str, headers: bool, optimised: str = "-O1") -> tuple[str | None, str]:
    """Compile a C file that lies beside this one into a folder; give its path and, for what is missing, the reason."""
    if WASM:
        return None, "no compiler can be started here"
    source = str(Path(__file__).resolve().with_name(f"{name}.c"))
    include = [sysconfig.get_path("include"), sysconfig.get_path("platinclude")]
    flags = ["-shared", "-fPIC", optimised]
    if sys.platform == "darwin":
        flags += ["-undefined", "dynamic_lookup"]
    if WORD == 4 and platform.machine() in ("x86_64", "AMD64"):
        flags += ["-m32", "-nostdlib"]
    # A distribution's pyconfig.h may include another one relative to the folder above its own.
    root = Path(include[0]).parent
    with_headers = ["-DWITH_PYTHON_H", *(f"-I{path}" for path in include), f"-idirafter{root}"]
    with_headers.append(f"-idirafter{root / (sysconfig.get_config_var('MULTIARCH') or '')}")
    found = [c for c in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc") if c]
    compilers = [command for command in map(shlex.split, found) if command and shutil.which(command[0])]
    if not compilers:
        return None, "no C compiler was found"
    has_headers = headers and (Path(include[0]) / "Python.h").exists()
    for number, more in enumerate([with_headers, []] if has_headers else [[]]):
        for index, compiler in enumerate(compilers):
            target = os.path.join(folder, f"{name}{number}{index}.so")
            command = [*compiler, *flags, source, *more, "-o", target]
            if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                try:
                    ctypes.PyDLL(target)
                except OSError:  # built for another kind of machine
                    continue
                return (
                    target,
                    "" if more else "the headers of this interpreter are not there or do not compile",
                )
    return None, f"no C compiler produced a {name} that loads"


def profile_here() -> str:
    """Name the profile of the interpreter that runs this file."""
    name = "{}-{}.{}".format(platform.python_implementation().lower(), *sys.version_info)
    name += "-free-threaded" if FREE_THREADED else ""
    name += "-debug" if hasattr(sys, "gettotalrefcount") else ""
    return name + ("-32" if WORD == 4 else "") + ("-be" if sys.byteorder == "big" else "")


class Plan:
    """How one operation is performed: what calls the C function, or the handler that does it."""

    __slots__ = (
        "args",
        "call",
        "handler",
        "name",
        "needs",
        "prepare",
        "references",
        "returns",
        "show",
    )

    def __init__(self, name: str, call: Any, handler: Any) -> None:
        args, self.returns, self.needs = OPERATIONS[name]
        self.name, self.call, self.handler = name, call, handler
        self.prepare: Any = PREPARED.get(name)
        self.args = tuple(args.split())
        self.references = REFERENCES.get(name, 0)
        self.show: Any = SHOW[self.returns]


class Adapter:
    """The interpreter that runs this file, as an implementation of the capsule API."""

    def __init__(self, driver: str | None = None, use_driver: bool = True, use_headers: bool = True) -> None:
        self.session: Session | None = None
        self.api = ctypes.pythonapi
        self.importable: dict[str, bool] = {}
        self.slot = (ctypes.c_size_t * 4)()  # result, then type, value and traceback
        self.words = (ctypes.c_size_t * 3)()
        self.absent: dict[str, str] = {}
        self._opaque = ctypes.create_string_buffer(OPAQUE_STRIDE * (OPAQUE_COUNT + 1))
        self.opaque = -(-ctypes.addressof(self._opaque) // OPAQUE_STRIDE) * OPAQUE_STRIDE
        self.basicsize = object_at(ctypes.addressof(ctypes.c_char.in_dll(self.api, "PyCapsule_Type"))).__basicsize__
        self.capsule_type = ctypes.addressof(ctypes.c_char.in_dll(self.api, "PyCapsule_Type"))
        self.incref = self.prototype("Py_IncRef", None, 1)
        self.normalize = self.prototype("PyErr_NormalizeException", None, 3)
        self._callbacks: list[Any] = []
        self._functions: dict[tuple[str, int], int] = {}
        self.library = self._load(driver, use_driver, use_headers)
        # An interpreter that cannot be called through a pointer of another type has its stand-ins in the driver.
        natives = {name: getattr(self.library, f"native_{name}", None) or getattr(self.api, name) for name in NATIVE}
        self.natives = {name: address_of(function) for name, function in natives.items()}
        self.calls = {name: self.caller(self.prototype(name, ctypes.c_size_t, n)) for name, n in OWN_CALLS.items()}
        self.decref = self.caller(self.prototype("Py_DecRef", None, 1))
        self.plans = dict(self._plan())

    def prototype(self, name: str, restype: Any, count: int) -> Any:
        """Bind a C function of words by name."""
        return ctypes.PYFUNCTYPE(restype, *[ctypes.c_void_p] * count)((name, self.api))

    def caller(self, function: Any) -> Any:
        """Give what calls a C function with its words, and puts what that returns and raises into the slot."""
        if self.library is None:
            return partial(self._call_directly, function)
        caller = getattr(self.library, CALLERS[len(function.argtypes), function.restype is None])
        return partial(caller, ctypes.addressof(self.slot), address_of(function))

    def _load(self, driver: str | None, use_driver: bool, use_headers: bool) -> ctypes.PyDLL | None:
        library, reason = None, "the driver is switched off"
        if use_driver:
            with tempfile.TemporaryDirectory() as folder:
                reason = "the driver was built without the headers of this interpreter"
                path: str | None = driver
                if path is None:
                    path, reason = build_driver(folder, use_headers)
                try:
                    library = None if path is None else self._bind_driver(os.path.abspath(path))
                except (OSError, AttributeError) as error:
                    raise ValueError(f"{error}; expected a shared object made from this driver.c") from None
        if library is None:
            self.absent.update((feature, reason) for feature in NEED_DRIVER)
        if library is None and WASM:
            self.absent["native-destructors"] = f"WebAssembly checks a function's type when it is called, and {reason}"
        if library is None and FREE_THREADED:
            self.absent["gc"] = f"a traverse function in Python cannot run while this build collects, and {reason}"
        if library is None or not hasattr(library, "macro_PyCapsule_CheckExact"):
            self.absent["macros"] = reason
        emscripten = getattr(sys, "_emscripten_info", None)
        if sys.platform == "wasi" or (emscripten is not None and not emscripten.pthreads):
            self.absent["threads"] = "this build of the interpreter cannot start a thread"
        return library

    def _bind_driver(self, path: str) -> ctypes.PyDLL:
        library, word = ctypes.PyDLL(path), ctypes.c_size_t
        for (count, _), name in CALLERS.items():
            caller = getattr(library, name)
            caller.argtypes, caller.restype = [word] * (2 + count), None
        for name in (*CALLBACKS, "visits"):
            function = getattr(library, f"driver_{name}")
            function.argtypes, function.restype = [word], word
        callback = ctypes.PYFUNCTYPE(word, word, word, ctypes.POINTER(word))(self._entered)
        self._callbacks.append(callback)
        library.driver_setup.argtypes, library.driver_setup.restype = [word] * 3, None
        library.driver_setup(*map(address_of, (self.api.PyErr_Fetch, self.api.PyErr_Restore, callback)))
        return library

    def _plan(self) -> Iterator[tuple[str, Plan]]:
        for name, (args, returns, needs) in OPERATIONS.items():
            if needs in self.absent:
                continue
            handler: Any = HANDLERS.get(name)
            if name in CALLED:
                handler = partial(Session._call, function=CALLED[name], names=args.split())
            count = 2 if name == "PyObject_Call" else len(args.split())
            function = None
            if hasattr(self.library, "macro_" + name):
                function = getattr(self.library, "macro_" + name)
                function.argtypes = [ctypes.c_void_p] * count
                function.restype = None if returns == "nothing" else ctypes.c_size_t
            elif handler is None or name in SYMBOLS:
                with suppress(AttributeError):
                    restype = None if returns == "nothing" else ctypes.c_size_t
                    function = self.prototype(SYMBOLS.get(name, name), restype, count)
            if function is None:
                yield name, Plan(name, None, handler)
            else:
                yield name, Plan(name, self.caller(function), None)

    def _call_directly(self, function: Any, *words: int) -> None:
        """Do what the driver does, except that nothing is pending and a failing call's return is lost."""
        caught: BaseException | None = None
        try:
            self.slot[:] = [function(*words) or 0, 0, 0, 0]
        except BaseException as error:
            # Dealt with below, since what runs inside this clause would have the exception as its context.
            caught = error.with_traceback(None)
        if caught is not None:
            self.incref(id(type(caught)))
            self.incref(id(caught))
            self.slot[:] = [0, id(type(caught)), id(caught), 0]

    def function(self, kind: str, number: int) -> int:
        """Give the address of a C function of a kind that calls the session with this number."""
        if self.library is not None:
            return int(getattr(self.library, f"driver_{kind}")(number))
        if (kind, number) not in self._functions:
            enter = self._traversed if kind == "traverse" else self._entered_directly
            callback = CALLBACKS[kind](partial(enter, number))
            self._callbacks.append(callback)
            self._functions[kind, number] = address_of(callback)
        return self._functions[kind, number]

    def _entered(self, number: int, subject: int, error: Any) -> int:
        session = self.session
        if session is None:
            return 0
        try:
            return session.called(number, subject, error)
        except BaseException as failure:  # it must not reach the unraisable hook
            session.fail(failure)
            return 0

    def _entered_directly(self, number: int, subject: int) -> int:
        try:
            self.incref(0)  # does nothing, but ctypes raises what is pending after the call
        except BaseException:
            if self.session is not None:
                self.session.fail(Unsupported("compiled-destructors: one is entered with an exception pending"))
        return signed(self._entered(number, subject, None), 32)

    def _traversed(self, number: int, subject: int, visit: int, arg: int) -> int:
        session = self.session
        if session is None:
            return 0
        try:
            return session.traversed(number, subject, visit, arg)
        except BaseException as failure:
            session.fail(failure)
            return 0

    def can_import(self, name: str) -> bool:
        """Tell whether the interpreter itself finds a module of this name."""
        first = name.partition(".")[0]
        if first not in self.importable:
            try:
                found = importlib.util.find_spec(first) is not None
            except ValueError:  # no name at all, or a module without a spec
                found = True
            self.importable[first] = found or first in sys.modules or first in sys.builtin_module_names
        return self.importable[first]

    def start(self) -> Json:
        """Describe the implementation: the answer to the request of this name."""
        implementation, version = platform.python_implementation().lower(), platform.python_version()
        if PYODIDE is not None:
            implementation, version = "pyodide", f"{PYODIDE.__version__} (CPython {version})"
        features = [name for name in (*NEED_DRIVER, "macros", *ALWAYS) if name not in self.absent]
        return {
            "protocol": PROTOCOL,
            "implementation": implementation,
            "version": version,
            "profile": profile_here(),
            "ops": list(self.plans),
            "features": features,
            "absent": dict(self.absent),
        }

    def run(self, vector: Json) -> Json:
        """Perform a vector and give the answer to ``run``; never raise for what is in the vector."""
        try:
            self.check(vector)
            session = Session(self, vector)
            observations = []
            try:
                for index, step in enumerate(vector["steps"]):
                    observations.append(session.step(step, str(index)))
            finally:
                leaks = session.close()
            return {"steps": observations, "leaks": leaks}
        except Unsupported as reason:
            return {"unsupported": str(reason)}
        except Malformed as error:
            answer = {"error": " ".join(str(error).split())}
            return answer if error.path is None else {**answer, "step": error.path}
        except Exception as error:
            return {"error": " ".join(f"{type(error).__name__}: {error}".split())}

    def check(self, vector: Json) -> None:
        """Raise Unsupported or Malformed for a vector that should not be begun."""
        functions, modules = vector.get("functions", {}), vector.get("modules", {})
        if not isinstance(functions, dict) or not isinstance(modules, dict):
            raise Malformed("functions and modules are objects")
        bodies = [(True, function.get("steps", [])) for function in functions.values()]
        bodies.append((False, vector.get("steps")))
        needs, total = {"modules"} if modules else set(), 0
        if any("native" in function for function in functions.values()):
            needs.add("native-destructors")
        for inside, steps in bodies:
            if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
                raise Malformed("steps is a list of objects")
            total += len(steps)
            for step in steps:
                op = step.get("op")
                if op not in OPERATIONS:
                    raise Unsupported(f"operation {op}")
                needs.add(OPERATIONS[op][2])
                if "pending" in step or "leave" in step:
                    needs.add("compiled-destructors" if inside else "error-indicator")
                if "thread" in step:
                    needs.add("threads")
        if total > STEP_LIMIT:
            raise Malformed(f"more than {STEP_LIMIT} steps")
        for need in sorted(needs & set(self.absent)):
            raise Unsupported(f"{need}: {self.absent[need]}")


class Lane:
    """A thread that makes calls for a session, with an error indicator of its own."""

    def __init__(self, name: str) -> None:
        self.parked: Error = NONE
        self.jobs: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self.replies: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        # In C from a reply to the next job, so that an idle thread does not merge reference counts by itself.
        deque(map(self.replies.put, map(self._reply, iter(self.jobs.get, None))), maxlen=0)

    def _reply(self, job: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        try:
            return job(), None
        except BaseException as error:
            return None, error

    def do(self, job: Callable[[], Any]) -> Any:
        """Run a job there and wait for what it returns or raises."""
        # In C from the request to the answer, for the same reason.
        call: Any = partial.__call__
        _, (result, error) = map(call, (partial(self.jobs.put, job), partial(self.replies.get)))
        if error is not None:
            raise error
        return result


class Session:
    """One run of one vector: what its tokens mean, what it owns, and what has happened."""

    def __init__(self, adapter: Adapter, vector: Json) -> None:
        self.adapter = adapter
        self.names: dict[str, int] = {}  # token -> address
        self.shown: dict[int, tuple[str, str]] = {}  # address -> how it is written, newest token
        self.types: dict[int, int] = {}  # address of an object with a token -> its type when the token was given
        self.binds: dict[str, int] = {}
        self.ends: dict[int, int] = {}  # start of a buffer -> its end
        self.kept: list[Any] = []
        self.objects: dict[str, Any] = {}
        self.owned: dict[int, int] = {}
        self.lost: list[str] = []  # tokens of references to what has died and left its address to another
        self.blocks: set[int] = set()
        self.dead: set[int] = set()
        self.dying: list[int] = []  # the dead that are still there, since their destructors run
        self.opaque = 0
        self.unknown = 0
        self.calls: dict[str, int] = {}
        self.entries: list[tuple[str, Json]] = []
        self.traverses: list[Json] = []
        self.events: list[Json] = []
        self.path = ""
        self.subject: int | None = None
        self.parked: Error = NONE
        self.raised: Error = NONE
        self.lanes: dict[str, Lane] = {}
        self.lane: str | None = None
        self.failure: BaseException | None = None
        self.closed = False
        self.modules: dict[str, Any] = {}
        self.holders: list[weakref.ref[Any]] = []
        if adapter.session is not None:
            raise RuntimeError("a session of this adapter is open")
        self._collecting = gc.isenabled()
        self._hook = sys.unraisablehook
        adapter.session = self
        gc.disable()
        sys.unraisablehook = self._unraisable
        try:
            self._begin(vector)
        except BaseException:
            self.close()
            raise

    def _begin(self, vector: Json) -> None:
        self._name("PyCapsule_Type", self.adapter.capsule_type, "ref", id(type))
        if len(vector.get("functions", ())) > FUNCTION_LIMIT:
            raise Malformed(f"more than {FUNCTION_LIMIT} functions")
        for name, spec in vector.get("functions", {}).items():
            if "native" in spec:
                if spec["native"] not in NATIVE:
                    raise Malformed(f"no native function {spec['native']!r}")
                address = self.adapter.natives[spec["native"]]
            elif spec.get("kind") == "traverse":
                address = self.adapter.function("traverse", len(self.traverses))
                self.traverses.append(spec)
            elif spec.get("kind") in ("destructor", "clear"):
                address = self.adapter.function(spec["kind"], len(self.entries))
                self.entries.append((name, spec))
            else:
                raise Malformed(f"no kind of function: {spec.get('kind')!r}")
            self._name(name, address, "function")
        if vector.get("modules"):
            self._install(vector["modules"])

    def fail(self, failure: BaseException) -> None:
        """Record why the run cannot go on, where raising is impossible."""
        if self.failure is None:
            self.failure = failure

    # Tokens and arguments

    def _name(self, token: str, address: int, form: str = "ref", kind: int | None = None) -> None:
        self.names[token] = address
        self.shown[address] = (form, token)
        if kind is None:
            self.types.pop(address, None)
        else:
            self.types[address] = kind

    def _bind(self, name: str, address: int, kind: int | None = None) -> Json | None:
        """Bind a name to an address; a second binding of it makes another token."""
        self.names[name] = address
        if not address:
            return None
        number = self.binds[name] = self.binds.get(name, 0) + 1
        token = name if number == 1 else f"{name}#{number}"
        self._name(token, address, "ref", kind)
        return {"ref": token}

    def _store(self, data: bytes, token: str) -> int:
        buffer = ctypes.create_string_buffer(data, len(data) + 1)
        start = ctypes.addressof(buffer)
        self.kept.append(buffer)
        self.ends[start] = start + len(data) + 1
        self.names[token] = start
        self.shown[start] = ("ref", token)
        return start

    def value(self, argument: Any, where: str) -> int:
        """Give the word that an argument stands for, making what it asks for."""
        if argument is None:
            return 0
        if type(argument) is int:
            return argument & MASK
        if type(argument) is dict:
            if "ref" in argument:
                try:
                    address = self.names[argument["ref"]]
                except KeyError:
                    raise Malformed(f"nothing is bound as {argument['ref']!r}") from None
                return address + argument["offset"] & MASK if "offset" in argument else address
            if len(argument) == 1:
                form, content = next(iter(argument.items()))
                if form in ("cstr", "hex"):
                    return self._store(bytes_of(argument), where if where[0] == "#" else f"#{self.path}.{where}")
                if form == "ptr":
                    return self.names[content] if content in self.names else self._make_opaque(content)
                if form == "function" and self.shown.get(self.names.get(content, 0), ("",))[0] == "function":
                    return self.names[content]
                if form == "object" and content in KINDS:
                    return self._object(content)
                if form == "module" and content in sys.modules:
                    module = sys.modules[content]
                    self._name(content, id(module), "ref", id(type(module)))
                    return id(module)
                if form == "arg" and content == 0 and self.subject is not None:
                    return self.subject
        raise Malformed(f"argument {where} cannot be {json.dumps(argument)[:80]}")

    def _make_opaque(self, token: str) -> int:
        if self.opaque == OPAQUE_COUNT or not isinstance(token, str):
            raise Malformed(f"no ptr token, or one too many: {token}")
        address = self.adapter.opaque + OPAQUE_STRIDE * self.opaque
        self.opaque += 1
        self._name(token, address, "ptr")
        return address

    def _object(self, kind: str) -> int:
        if kind not in self.objects and kind != "PyCapsule_Type":
            made: Any = None
            if kind == "function":
                made = types.FunctionType(_function.__code__, {})
            elif kind == "class":
                made = type("class", (), {})
            elif kind != "None":
                # Made anew, so that no other object of the process is this one.
                makers = {
                    "int": ("1000003",),
                    "str": (b"text", "ascii"),
                    "bytes": ([98, 121],),
                    "tuple": ([None],),
                }
                made = getattr(builtins, kind)(*makers.get(kind, ()))
            self.objects[kind] = made
            if kind in ("function", "class"):
                self.holders.append(weakref.ref(made))
            self._name(kind, id(made), "ref", id(type(made)))
        return self.names[kind]

    # What is seen

    def show(self, address: int) -> Any:
        """Write an address: its newest token, or a new one for an address never seen; None for NULL."""
        if not address:
            return None
        known = self.shown.get(address)
        if known is not None:
            return {known[0]: known[1]}
        start = self._buffer(address)
        if start is not None:
            return {"ref": self.shown[start][1], "offset": address - start}
        self.unknown += 1
        self._name(f"?{self.unknown}", address)
        return {"ref": f"?{self.unknown}"}

    def _token(self, address: int) -> str:
        return str(next(iter(self.show(address).values())))

    def _buffer(self, address: int) -> int | None:
        if address in self.ends:
            return address
        opaque = address - self.adapter.opaque
        if 0 <= opaque < self.opaque * OPAQUE_STRIDE and opaque % OPAQUE_STRIDE < OPAQUE_SIZE:
            return address - opaque % OPAQUE_STRIDE
        return next((start for start, end in self.ends.items() if start < address < end), None)

    def _form(self, value: Any) -> Json:
        """Write an object: its token, or the name of its type."""
        known = self.shown.get(id(value))
        if known is not None and self.types.get(id(value)) in (None, id(type(value))):
            return {"ref": known[1]}
        if value is None or value is NotImplemented:
            return {"object": str(value)}
        return {"object": type(value).__name__}

    def clean(self, text: str) -> str:
        """Write tokens for the addresses of known objects in a text."""
        if "0x" not in text:
            return text

        def token(match: re.Match[str]) -> str:
            known = self.shown.get(int(match.group(), 16))
            return match.group() if known is None else f"{{{known[1]}}}"

        return re.sub(r"0x[0-9A-Fa-f]+", token, text)

    def _text(self, value: Any) -> str:
        try:
            return self.clean(str(value))
        except Exception as error:
            return f"<{type(error).__name__} in str()>"

    def describe(self, error: Error) -> Json | None:
        """Write an exception that was normalised."""
        if not error[0]:
            return None
        exception = object_at(error[1])
        attributes: Json = {}
        for name in ("name", "path", "obj"):
            if hasattr(exception, name):
                value = getattr(exception, name)
                plain = value is None or (isinstance(value, str) and name != "obj")
                attributes[name] = value if plain else self._form(value)
        for name in ("__cause__", "__context__"):
            value = getattr(exception, name)
            if value is not None:
                attributes[name] = {"type": type(value).__name__, "text": self._text(value)}
        return {
            "type": type(exception).__name__,
            "bases": [base.__name__ for base in type(exception).__mro__[1:-1]],
            "text": self._text(exception),
            "attributes": attributes,
        }

    def _unraisable(self, info: Any) -> None:
        if self.closed:
            return
        try:
            if "ctypes callback" in (info.err_msg or ""):
                self.fail(RuntimeError(f"a callback of the adapter failed: {info.exc_value!r}"))
                return
            unraisable = None
            if info.exc_type is not None:
                unraisable = {"type": info.exc_type.__name__, "text": self._text(info.exc_value)}
            self.events.append(
                {"unraisable": unraisable, "object": None if info.object is None else self._form(info.object)}
            )
        except BaseException as failure:
            self.fail(failure)

    # Exceptions: every triple is owned by whoever holds it

    def _normal(self, error: Error) -> Error:
        """Make the value of a fetched exception an instance, as it always is from 3.12 on."""
        if not error[0]:
            return NONE
        if sys.version_info < (3, 12) and not (error[1] and isinstance(object_at(error[1]), BaseException)):
            words = self.adapter.words
            words[:] = list(error)
            start = ctypes.addressof(words)
            self.adapter.normalize(start, start + WORD, start + 2 * WORD)
            return words[0], words[1], words[2]
        return error

    def _hold(self, error: Error) -> None:
        for word in error:
            self.adapter.incref(word)

    def _release(self, *words: int) -> None:
        """Give references up; what a destructor that this runs leaves behind goes with them."""
        slot = self.adapter.slot
        for word in words:
            if word:
                slot[1] = 0
                self.adapter.decref(word)
                if slot[1]:
                    self._release(slot[1], slot[2], slot[3])

    def _forget(self, address: int) -> None:
        """Note that an address is another object's now; a reference that the dead one's destructor took is lost."""
        if self.owned.pop(address, 0) > 0:
            self.lost.append(self._token(address))

    def _python(self, function: Any, *objects: Any) -> int:
        """Call a Python function through C; give a new reference, or 0 and set ``raised``."""
        adapter = self.adapter
        slot = adapter.slot
        slot[1] = 0
        adapter.calls["PyObject_CallObject"](id(function), id(objects))
        if slot[1]:  # the traceback would keep the arguments alive
            self.raised = self._normal((slot[1], slot[2], slot[3]))
            object_at(self.raised[1]).__traceback__ = None
            self._release(self.raised[2])
            self.raised = (self.raised[0], self.raised[1], 0)
            return 0
        self.raised = NONE
        return slot[0]

    # Steps

    def step(self, step: Json, path: str) -> Json:
        """Perform one step of the vector and give its observation."""
        if "thread" not in step:
            return self._perform(step, path)
        name = step["thread"]
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = Lane(name)
        outer, self.parked, self.lane = self.parked, lane.parked, name
        try:
            observation: Json = lane.do(partial(self._perform, step, path))
        finally:
            lane.parked, self.parked, self.lane = self.parked, outer, None
        return observation

    def _perform(self, step: Json, path: str) -> Json:
        adapter = self.adapter
        plan = adapter.plans.get(step["op"])
        outer_events, outer_path = self.events, self.path
        # What happened since the last step, on builds that defer destructors, belongs to this one.
        events: list[Json] = outer_events if self.subject is None else []
        self.events, self.path = events, path
        try:
            if plan is None:
                raise Malformed(f"no operation {step['op']}")
            args = step.get("args", EMPTY)
            bind = step.get("bind")
            pending, leave = step.get("pending"), step.get("leave")
            if len(args) != len(plan.args):
                raise Malformed(f"{plan.name} takes {', '.join(plan.args) or 'nothing'}")
            if self.subject is not None and "thread" in step:
                raise Malformed("a step inside a function runs on the thread that entered it")
            if (leave or pending is not None) and adapter.library is None:
                raise Unsupported(f"error-indicator: {adapter.absent['error-indicator']}")
            handler = plan.handler
            if handler is None:
                value = self.value
                if plan.prepare is None:
                    words = [value(args[name], name) for name in plan.args]
                else:
                    words = plan.prepare(self, args)
            saved = before = self.parked
            made, marked = NONE, None
            if pending is not None:
                exception = make_exception(pending)
                before = (id(type(exception)), id(exception), 0)
                self._hold(before)
                made = before
                del exception
            slot = adapter.slot
            if handler is not None:
                self.raised = NONE
                shown = handler(self, args, bind)
                after = self.raised if self.raised[0] else before
                if after is before and before[0]:
                    self._hold(before)
            elif plan.call is None:
                shown, after = {"absent": True}, before
                self._hold(before)
            else:
                if plan.references and words[0]:
                    self.owned[words[0]] = self.owned.get(words[0], 0) + plan.references
                if before[0]:
                    # An exception that keeps an object alive is the call's alone: it dies inside, as it would in C.
                    # Any other is held, so that its address cannot come back as its successor's.
                    if leave and getattr(object_at(before[1]), "obj", None) is not None:
                        if made[0]:
                            self._release(*saved)
                        saved = made = NONE
                        object_at(before[1]).capsule_model_step = marked = path
                    else:
                        self._hold(before)
                    slot[1], slot[2], slot[3] = before
                else:
                    slot[1] = 0
                plan.call(*words)
                after = (slot[1], slot[2], slot[3])
                shown = plan.show(self, slot[0], bind, words[0] if words else 0)
            observation: Json = {"return": shown}
            if plan.returns == "nothing" and shown is None:
                del observation["return"]
            if not after[0] and not before[0]:
                observation["error"], observation["indicator"] = None, "clear"
            else:
                after = self._judge(observation, before, after, marked)
                if adapter.library is None and "return" in observation:
                    del observation["return"]
                    observation["unseen"] = ["return"]
                self.parked = after if leave else saved
                self._release(*(saved if leave else after), *made)
            observation["events"] = events
            if self.failure is not None:
                raise self.failure
            return observation
        except Malformed as error:
            error.path = error.path or path
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            failure = Malformed(f"{type(error).__name__}: {error}")
            failure.path = path
            raise failure from error
        finally:
            self.events, self.path = [] if self.subject is None else outer_events, outer_path

    def _judge(self, observation: Json, before: Error, after: Error, marked: str | None) -> Error:
        """Add to an observation what became of the error indicator; give the exception normalised.

        An exception that nobody held may have died and its address come back: then its mark tells.
        """
        if not after[0]:
            indicator = "cleared"
        elif not before[0]:
            indicator = "set"
        else:
            same = before[1] == after[1]
            if same and marked is not None:
                same = getattr(object_at(after[1]), "capsule_model_step", None) == marked
            indicator = "unchanged" if same else "replaced"
        after = self._normal(after)
        observation["error"], observation["indicator"] = self.describe(after), indicator
        return after

    def called(self, number: int, subject: int, error: Any) -> int:
        """Perform the steps of a destructor or clear function; replace ``error``, which is pending."""
        if self.closed or self.failure is not None:
            return 0
        if number >= len(self.entries):  # a capsule that another session left behind
            return 0
        name, spec = self.entries[number]
        calls = self.calls[name] = self.calls.get(name, 0) + 1
        if calls > spec.get("max_calls", 8):
            self.events.append({"call": name, "beyond": True})
            return 0
        count = refcnt(subject)
        if count == 0:
            self.dead.add(subject)
        self.dying.append(subject)
        outer = self.parked, self.subject
        self.parked, self.subject = NONE, subject
        if error is not None and error[0]:
            self.parked = self._normal((error[0], error[1], error[2]))
        path = f"{self.path}/{name}.{calls}"
        steps: list[Json] = []
        event: Json = {"call": name, "args": [self._token(subject)], "refcnt": count}
        event["before"], event["steps"], event["after"] = self.describe(self.parked), steps, None
        self.events.append(event)
        try:
            for index, step in enumerate(spec.get("steps", ())):
                steps.append(self._perform(step, f"{path}/{index}"))
            event["after"] = self.describe(self.parked)
        finally:
            if error is not None:
                error[0], error[1], error[2] = self.parked
            self.parked, self.subject = outer
            self.dying.pop()
        return int(spec.get("returns", 0)) & MASK

    def traversed(self, number: int, subject: int, visit: int, arg: int) -> int:
        """Visit what a traverse function declares, up to the first visit that returns non-zero."""
        if self.closed or self.failure is not None or number >= len(self.traverses):
            return 0
        spec = self.traverses[number]
        function = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(visit)
        outer, self.subject = self.subject, subject
        try:
            for argument in spec.get("visit", ()):
                address = self.value(argument, "visit")
                result: int = function(address, arg) if address else 0
                if result:
                    return result
        finally:
            self.subject = outer
        return int(spec.get("returns", 0))

    # What returns show: (word returned, name to bind, first argument) -> JSON

    def _show_new(self, word: int, bind: str | None, first: int) -> Any:
        if word:
            self._forget(word)
            self.owned[word] = 1
            self.dead.discard(word)
        return self._show_made(word, bind, self.adapter.capsule_type)

    def _show_made(self, word: int, bind: str | None, kind: int | None = None) -> Any:
        if bind is not None or not word:
            return None if bind is None else self._bind(bind, word, kind)
        self._name(f"#{self.path}", word, "ref", kind)
        return {"ref": f"#{self.path}"}

    def _show_hash(self, word: int, bind: str | None, first: int) -> Any:
        rotated = (first >> 4 | first << 8 * WORD - 4) & MASK
        return {"hash_of": self._token(first)} if word == rotated else signed(word)

    def _show_address(self, word: int, bind: str | None, first: int) -> Any:
        return self.show(word) if bind is None else self._bind(bind, word)

    def _show_int(self, word: int, bind: str | None, first: int) -> int:
        word &= 0xFFFFFFFF
        return word if word < 0x80000000 else word - 0x100000000

    def _show_size(self, word: int, bind: str | None, first: int) -> int:
        return signed(word)

    def _show_string(self, word: int, bind: str | None, first: int) -> Any:
        shown = self._show_address(word, bind, first)
        if isinstance(shown, dict) and "ref" in shown:
            data = ctypes.string_at(word)
            try:
                shown["cstr"] = data.decode()
            except UnicodeDecodeError:
                shown["hex"] = data.hex()
        return shown

    def _show_text(self, word: int, bind: str | None, first: int) -> Any:
        if not word:
            return None
        text = self._text(object_at(word))
        self._release(word)
        return {"text": text}

    def _show_object(self, word: int, bind: str | None, first: int) -> Any:
        if not word:
            return None if bind is None else self._bind(bind, 0)
        if bind is not None:
            self.owned[word] = self.owned.get(word, 0) + 1
            return self._bind(bind, word, id(type(object_at(word))))
        value = object_at(word)
        form = self._form(value)
        if "object" in form and isinstance(value, (str, int)):
            form["text"] = self._text(value)
        del value
        self._release(word)
        return form

    def _show_borrowed(self, word: int, bind: str | None, first: int) -> Any:
        return None if not word else {"object": object_at(word).__name__}

    def _show_import(self, word: int, bind: str | None, first: int) -> int:
        self._release(word)
        return 0 if word else -1

    def _show_nothing(self, word: int, bind: str | None, first: int) -> None:
        return None

    # Operations that are not one C call: (arguments, name to bind) -> what the return shows

    def _compare(self, args: Json) -> list[int]:
        if args["opid"] not in ORDER:
            raise Malformed(f"no comparison {args['opid']!r}")
        return [self.value(args["o1"], "o1"), self.value(args["o2"], "o2"), ORDER[args["opid"]]]

    def _set_string(self, args: Json) -> list[int]:
        return [id(exception_class(text_of(args["type"]))), self.value(args["message"], "message")]

    def _callee(self, args: Json) -> list[int]:
        return [self.value(args["callable"], "callable"), 0]  # no tuple of arguments

    def _look(self, args: Json, name: str) -> Any:
        address = self.value(args[name], name)
        if address and not refcnt(address):
            raise Malformed("Python code cannot look at an object that is dying")
        return object_at(address)

    def _call(self, args: Json, bind: str | None, function: Any, names: list[str]) -> Any:
        objects = [args[name] if type(args[name]) is int else self._look(args, name) for name in names]
        return self._show_object(self._python(function, *objects), bind, 0)

    def _getsizeof(self, args: Json, bind: str | None) -> Any:
        word = self._python(sys.getsizeof, self._look(args, "object"))
        number = int(object_at(word)) if word else None
        self._release(word)
        return number

    def _is_tracked(self, args: Json, bind: str | None) -> Any:
        # Only for 3.8, which lacks the C function; it never tracks a capsule, and one may be dying.
        address = self.value(args["obj"], "obj")
        return int(refcnt(address) != 0 and gc.is_tracked(object_at(address)))

    def _refcnt(self, args: Json, bind: str | None) -> Any:
        return refcnt(self.value(args["ob"], "ob"))

    def _capsule_type(self, args: Json, bind: str | None) -> Any:
        kind = getattr(types, "CapsuleType", None)
        if kind is None:
            return {"absent": True}
        self.adapter.incref(id(kind))
        return self._show_object(id(kind), bind, 0)

    def _referents(self, args: Json, bind: str | None) -> Any:
        self._write_visits()
        word = self._python(gc.get_referents, self._look(args, "obj"))
        if not word:
            return None
        tokens = sorted(self._token(id(value)) for value in object_at(word))
        self._release(word)
        return {"tokens": tokens}

    def _collect(self, args: Json, bind: str | None) -> None:
        self._write_visits()
        self._release(self._python(gc.collect))

    def _write_visits(self) -> None:
        """Tell the driver's traverse functions what their references mean by now; nothing once closed."""
        library = self.adapter.library
        if library is None:
            return
        for number, spec in enumerate(self.traverses):
            objects = []
            for argument in () if self.closed else spec.get("visit", ()):
                if argument == {"arg": 0}:
                    objects.append(1)
                elif not (isinstance(argument, dict) and argument.get("ref", "PyCapsule_Type") not in self.names):
                    objects.append(self.value(argument, "visit"))
            words = (int(spec.get("returns", 0)) & MASK, len(objects[:64]), *objects[:64])
            table = (ctypes.c_size_t * len(words))(*words)
            ctypes.memmove(library.driver_visits(number), table, ctypes.sizeof(table))

    def _malloc(self, args: Json, bind: str | None) -> Any:
        size = self.value(args["size"], "size")
        if size > ALLOCATION_LIMIT:
            return self._show_made(0, bind)
        buffer = ctypes.create_string_buffer(size + 16)
        start = -(-ctypes.addressof(buffer) // 16) * 16
        self.kept.append(buffer)
        self.ends[start] = start + size
        self.blocks.add(start)
        return self._show_made(start, bind)

    def _free(self, args: Json, bind: str | None) -> None:
        start = self.value(args["ptr"], "ptr")
        if start and start not in self.ends:
            raise Malformed("free of what is not a block")
        self.blocks.discard(start)

    def _string(self, args: Json, bind: str | None) -> Any:
        return self._show_address(self._store(bytes_of(args["bytes"]), f"#{self.path}"), bind, 0)

    def _block(self, address: int, size: int) -> int:
        start = self._buffer(address)
        if any(op <= address <= address + size <= op + self.adapter.basicsize for op in self._capsules()):
            return address
        if start not in self.ends or address + size > self.ends[start]:
            raise Malformed("memory outside of a block")
        return address

    def _capsules(self) -> Iterator[int]:
        """Give the addresses of the capsules with a token that are still there."""
        kind, gone = self.adapter.capsule_type, self.dead.difference(self.dying)
        return (address for address, one in self.types.items() if one == kind and address not in gone)

    def _write(self, args: Json, bind: str | None) -> None:
        data = bytes_of(args["bytes"])
        ctypes.memmove(self._block(self.value(args["ptr"], "ptr"), len(data)), data, len(data))

    def _read(self, args: Json, bind: str | None) -> Any:
        size = self.value(args["size"], "size")
        return {"hex": ctypes.string_at(self._block(self.value(args["ptr"], "ptr"), size), size).hex()}

    def _layout(self, args: Json, bind: str | None) -> Any:
        op = self.value(args["op"], "op")
        if not op or read_word(op + TYPE_OFFSET) != self.adapter.capsule_type:
            raise Malformed("layout takes a capsule")
        kind = object_at(self.adapter.capsule_type)
        words: list[Any] = [{"header": name} for name in HEADER]
        words += [] if FREE_THREADED else [{"refcnt": refcnt(op)}]
        words.append({"type": kind.__name__})
        for offset in range(HEADER_WORDS * WORD, kind.__basicsize__, WORD):
            shown = self.show(read_word(op + offset))
            words.append(shown if shown is None or "ref" in shown else {"ref": next(iter(shown.values()))})
        return {"words": words}

    def _poke(self, args: Json, bind: str | None) -> None:
        if args["field"] not in FIELDS:
            raise Malformed(f"no field {args['field']!r}")
        write_field(self.value(args["op"], "op"), args["field"], self.value(args["value"], "value"))

    def _settle(self, args: Json, bind: str | None) -> None:
        # An idle thread of a free-threaded build holds back the objects that it owns until it runs again.
        for name, lane in self.lanes.items():
            if name != self.lane:
                lane.do(int)

    # Modules: the session is a finder on sys.meta_path and the loader of what it finds

    def _install(self, modules: Json) -> None:
        declared = dict(modules)
        for name in modules:
            if not all(name.split(".")) or self.adapter.can_import(name):
                raise Malformed(f"the interpreter can import {name!r} itself")
            while "." in name:
                name = name.rpartition(".")[0]
                declared.setdefault(name, {})
        self.modules = declared
        for name, spec in declared.items():
            if spec is None:
                sys.modules[name] = None  # type: ignore[assignment]
            elif "entry" in spec:
                sys.modules[name] = self._value(spec["entry"], name, name)
        sys.meta_path.insert(0, self)
        for name, spec in declared.items():
            if spec is not None and spec.get("loaded"):
                try:
                    __import__(name)
                except BaseException as error:
                    raise Malformed(f"importing {name!r}: {type(error).__name__}: {error}") from None

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Find a declared module."""
        spec = self.modules.get(name)
        if spec is None or "entry" in spec:
            return None
        package = any(other.startswith(name + ".") for other in self.modules)
        return importlib.machinery.ModuleSpec(name, self, origin="vector", is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave the making of the module object to the import system."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Do what the body of a declared module does."""
        name, spec = module.__name__, self.modules[module.__name__]
        self.holders.append(weakref.ref(module))
        self._name(name, id(module), "ref", id(types.ModuleType))
        for attr, value in spec.get("attrs", {}).items():
            vars(module)[attr] = self._value(value, f"{name}.{attr}", name)
        if "getattr" in spec:
            vars(module)["__getattr__"] = self._getter(spec["getattr"], name)
        for other in spec.get("imports", ()):
            __import__(other)
        if spec.get("removes_itself"):
            sys.modules.pop(name, None)
        if "becomes" in spec:
            sys.modules[name] = self._value(spec["becomes"], name, name)
        if "raises" in spec:
            raise self._exception(spec["raises"])

    def _exception(self, spec: Json) -> BaseException:
        try:
            return make_exception(spec)
        except Exception as error:  # a vector's mistake must not pass for the exception of its module
            self.fail(error)
            raise

    def _value(self, value: Any, token: str, module: str) -> Any:
        """Make the object that a VALUE stands for."""
        try:
            if "capsule" in value:
                return self._make_capsule(value["capsule"], value.get("bind"), token)
            if "class" in value or "instance" in value:
                return self._make_class(value, token, module)
            return object_at(self.value(value, token))
        except Exception as error:
            self.fail(error if isinstance(error, Malformed) else Malformed(f"{type(error).__name__}: {error}"))
            raise

    def _make_capsule(self, spec: Json, bind: str | None, token: str) -> Any:
        adapter, slot = self.adapter, self.adapter.slot
        number = self.binds[f"#{token}"] = self.binds.get(f"#{token}", 0) + 1
        suffix = "" if number == 1 else f"#{number}"
        fields = ("pointer", "name", "destructor", "context")
        words = [self.value(spec.get(field), f"#{token}.{field}{suffix}") for field in fields]
        slot[1] = 0
        adapter.calls["PyCapsule_New"](*words[:3])
        address = slot[0]
        if slot[1]:
            self._release(slot[1], slot[2], slot[3])
            raise Malformed(f"the capsule {token} cannot be made")
        self._forget(address)
        self.dead.discard(address)
        self._bind(bind or token, address, adapter.capsule_type)
        if words[3]:
            adapter.calls["PyCapsule_SetContext"](address, words[3])
        capsule = object_at(address)
        adapter.decref(address)
        return capsule

    def _make_class(self, value: Json, token: str, module: str) -> Any:
        instance = "instance" in value
        spec = value["instance" if instance else "class"]
        raisers = {attr: property(self._raiser(error)) for attr, error in spec.get("raises", {}).items()}
        body: Json = {"__module__": module}
        for attr, content in spec.get("class_attrs" if instance else "attrs", {}).items():
            body[attr] = self._value(content, f"{token}.{attr}", module)
        if instance:
            body.update(raisers)
            if "getattr" in spec:
                getter = self._getter(spec["getattr"], token)
                body["__getattr__"] = lambda _, attr: getter(attr)
        # For an attribute of a class to raise, the property has to be its type's.
        meta = type("type", (type,), dict(raisers)) if raisers and not instance else type
        made = meta(token.rpartition(".")[2], (), body)
        self.holders.append(weakref.ref(made))
        if instance:
            made = made()
            self.holders.append(weakref.ref(made))
            for attr, content in spec.get("attrs", {}).items():
                vars(made)[attr] = self._value(content, f"{token}.{attr}", module)
        return made

    def _getter(self, spec: Json, token: str) -> Callable[[str], Any]:
        def getter(attr: str) -> Any:
            if attr not in spec:
                raise AttributeError(attr)
            return self._value(spec[attr], f"{token}.{attr}", token)

        return getter

    def _raiser(self, spec: Json) -> Callable[[Any], Any]:
        def raiser(_: Any) -> Any:
            raise self._exception(spec)

        return raiser

    # The end

    def close(self) -> list[str]:
        """Name what the vector still owns, then put everything back; destructors do nothing from here on."""
        if self.closed:
            return []
        owned = {address: count for address, count in self.owned.items() if count > 0}
        leaks = {*self.lost, *(self._token(address) for address in (*owned, *self.blocks))}
        self.closed = True
        try:
            self._write_visits()
            for lane in self.lanes.values():
                lane.jobs.put(None)
                lane.thread.join()
            for parked in (self.parked, *(lane.parked for lane in self.lanes.values())):
                self._release(*parked)
            for address in owned.keys() - self.dead:
                if read_word(address + TYPE_OFFSET) == self.adapter.capsule_type:
                    write_field(address, "destructor", 0)
                self._release(*[address] * owned[address])
            self._uninstall()
        finally:
            sys.unraisablehook = self._hook
            if self._collecting:
                gc.enable()
            self.adapter.session = None
        return sorted(leaks)

    def _uninstall(self) -> None:
        """Empty what holds capsules, so that none dies in a Python statement or under another session."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        held = [sys.modules.get(name) for name in self.modules]
        holders = [holder for holder in (reference() for reference in self.holders) if holder is not None]
        for holder in holders:
            held.extend(vars(holder).values())
        for value in held:
            if id(type(value)) == self.adapter.capsule_type:
                write_field(id(value), "destructor", 0)
        for name in self.modules:
            sys.modules.pop(name, None)
        for holder in holders:
            # A raising property of a class is its metaclass's, and would refuse to let the attribute go.
            for attr in [attr for attr, value in vars(type(holder)).items() if isinstance(value, property)]:
                if isinstance(holder, type) and type(holder) is not type:
                    delattr(type(holder), attr)
            for attr in [attr for attr in vars(holder) if attr == "__getattr__" or not attr.startswith("__")]:
                delattr(holder, attr)


def _function() -> None:
    """Be the code of the vector's object of kind function."""


def _subclass(base: Any) -> Any:
    class S(base):  # type: ignore[misc]
        pass

    return S


EMPTY: Json = {}
SHOW = {
    returns: getattr(Session, f"_show_{returns}", None)
    for returns in {returns for _, returns, _ in OPERATIONS.values()}
}
PREPARED = {
    "PyObject_Call": Session._callee,
    "PyObject_RichCompare": Session._compare,
    "PyErr_SetString": Session._set_string,
}
CALLED = {
    "subclass": _subclass,
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle.dumps": pickle.dumps,
    "weakref.ref": weakref.ref,
}
HANDLERS = {
    "sys.getsizeof": Session._getsizeof,
    "Py_REFCNT": Session._refcnt,
    "types.CapsuleType": Session._capsule_type,
    "gc.is_tracked": Session._is_tracked,
    "gc.get_referents": Session._referents,
    "gc.collect": Session._collect,
    "malloc": Session._malloc,
    "free": Session._free,
    "string": Session._string,
    "write": Session._write,
    "read": Session._read,
    "layout": Session._layout,
    "poke": Session._poke,
    "settle": Session._settle,
}


def answers(adapter: Adapter, lines: Any) -> Iterator[Json]:
    """Answer the requests of the adapter protocol, one for each line, up to ``stop``."""
    while True:
        line = lines.readline(LINE_LIMIT + 1)
        if not line:
            return
        seq = 0
        try:
            if len(line) > LINE_LIMIT:
                while line and not line.endswith(b"\n"):
                    line = lines.readline(LINE_LIMIT)
                raise Malformed("the line is too long")
            request = json.loads(line)
            if not isinstance(request, dict):
                raise Malformed("a request is an object")
            if type(request.get("seq")) is int:
                seq = request["seq"]
            check_depth(request)
            command = request.get("cmd")
            if command == "stop":
                yield {"seq": seq, "stopped": True}
                return
            if command == "start":
                answer = adapter.start()
            elif command == "run" and isinstance(request.get("vector"), dict):
                answer = adapter.run(request["vector"])
            else:
                raise Malformed(f"no command {command!r}")
        except (Malformed, ValueError, RecursionError) as error:
            answer = {"error": " ".join(str(error).split())}
        yield {"seq": seq, **answer}


def check_depth(value: Any) -> None:
    """Refuse what is nested too deep."""
    level = [value]
    for _ in range(DEPTH_LIMIT):
        inner = [v for v in level if isinstance(v, (dict, list))]
        level = [v for container in inner for v in (container.values() if isinstance(container, dict) else container)]
    if level:
        raise Malformed(f"nested deeper than {DEPTH_LIMIT}")


def main() -> None:
    """Speak the adapter protocol on standard input and output."""
    parser = argparse.ArgumentParser(description="Perform vectors on the capsule API of this interpreter.")
    parser.add_argument("--no-driver", action="store_true", help="use ctypes alone")
    parser.add_argument("--driver", metavar="FILE", help="use this shared object, made from driver.c")
    parser.add_argument("--no-headers", action="store_true", help="compile driver.c without Python.h")
    options = parser.parse_args()
    sys.setrecursionlimit(20_000)
    if PYODIDE is not None:
        script = importlib.import_module("pyodide.code").run_js
        importlib.import_module("pyodide_js").setStdin(read=script(READ))
    with os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n") as output:
        os.dup2(2, 1)  # whatever else writes to standard output is noise
        try:
            adapter = Adapter(options.driver, not options.no_driver, not options.no_headers)
        except ValueError as error:
            parser.error(f"argument --driver: {error}")
        for answer in answers(adapter, sys.stdin.buffer):
            output.write(json.dumps(answer, separators=(",", ":")) + "\n")
            output.flush()


if __name__ == "__main__":
    main()
