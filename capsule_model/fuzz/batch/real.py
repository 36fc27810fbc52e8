"""The running interpreter as the other side: compile batch.c, hand it what it needs, and give everything back."""

from __future__ import annotations

import builtins
import ctypes
import importlib.util
import platform
import sys
import sysconfig
import tempfile
import types
from typing import Any

from capsule_model.fuzz.batch import code, states
from capsule_model.fuzz.batch.perform import Errors, Places, argument_of
from capsule_model.fuzz.lockstep import load_adapter
from capsule_model.objects import PyCapsule_Type
from capsule_model.profiles import Profile, profile_named

__all__ = ["Real", "Report"]

_WORD, _VALUE, _TEXT = ctypes.c_size_t, ctypes.c_int64, ctypes.c_char_p
_DESTRUCTORS, _ACTIONS = 16, 4
# In what two sides can differ; the order is that of the enum in batch.c.
DIFFERING = ("", "error", "indicator", "error", "error", "return", "words", "alive", "events", "events", "leaks")


class _Action(ctypes.Structure):
    _fields_ = (("operation", _VALUE), ("argument", _VALUE), ("leave", _VALUE))


class _Error(ctypes.Structure):
    _fields_ = (("type", _WORD), ("text", _TEXT), ("outcome", _VALUE))


class Report(ctypes.Structure):
    """What batch.c says of a difference: see its struct of that name."""

    _fields_ = (
        *((name, _VALUE) for name in ("what", "step", "which", "inside", "expected", "seen")),
        ("type", ctypes.c_char * 128),
        ("text", ctypes.c_char * 512),
    )


def _setup_type(functions: int) -> type[ctypes.Structure]:
    words = "capsule_type count_mask header_words field_words names name_stride name_count least_pointer most_pointer"
    values = "slots null_slot first_module registers drops destructor_count native_count"

    class Setup(ctypes.Structure):
        _fields_ = (
            ("functions", _WORD * functions),
            *((name, _WORD) for name in words.split()),
            *((name, _VALUE) for name in values.split()),
            ("natives", _WORD * 4),
            ("action_count", _VALUE * _DESTRUCTORS),
            ("actions", _Action * _ACTIONS * _DESTRUCTORS),
            ("name_kinds", _VALUE * 64),
            ("destructor_kinds", _VALUE * (2 * _DESTRUCTORS)),
            ("writings", _TEXT * 16),
            ("storage", _WORD),
            ("exceptions", _WORD * 16),
            ("raised", _TEXT),
            ("pending", _TEXT),
        )

    return Setup


class Real:
    """The running interpreter, ready to perform programs; one at a time in a process.

    Raises ``ValueError`` with one line where it cannot be.
    """

    def __init__(self) -> None:
        free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
        if sys.implementation.name != "cpython" or free_threaded:
            name = f"{platform.python_implementation()} {platform.python_version()}{' without a GIL' * free_threaded}"
            raise ValueError(f"batch: {name} is not supported: expected CPython with a GIL")
        adapter = load_adapter()
        name = adapter.profile_here()
        self.profile: Profile = profile_named(name)
        self.library = self._load(adapter)
        self._objects: list[Any] = []
        self._modules: dict[str, int] = {}
        self._buffer = ctypes.create_string_buffer(code.STRIDE * (len(code.NAMES) + len(code.PATHS) + 1))
        names = -(-ctypes.addressof(self._buffer) // 16) * 16
        count = len(code.DESTRUCTORS) + len(code.NATIVE)
        self._api = ctypes.pythonapi
        self._kept: list[Any] = []
        self._set_up(adapter, names)
        self.places = Places(names, tuple(self.library.batch_destructor(number) for number in range(count)))
        self._table: Any = None
        self._told = -1
        self.library.batch_place(PyCapsule_Type, self._kept[0].capsule_type)
        self._make_objects()
        self._make_modules()

    def _load(self, adapter: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path, reason = adapter.build_library("batch", folder, True, "-O2")
            if path is None:
                raise ValueError(f"batch: {reason}")
            library = ctypes.PyDLL(path)
        shapes: dict[str, tuple[Any, ...]] = {
            "setup": (None, _WORD),
            "setup_size": (_VALUE,),
            "operations": (_TEXT,),
            "functions": (_TEXT,),
            "report": (ctypes.POINTER(Report),),
            "errors": (None, _WORD),
            "register": (None, _VALUE, _WORD),
            "place": (None, _VALUE, _WORD),
            "destructor": (_WORD, _VALUE),
            "run": (_VALUE, ctypes.py_object, _WORD),
            "give_back": (None,),
            "reached": (_VALUE, ctypes.POINTER(ctypes.c_void_p)),
        }
        for name, (result, *arguments) in shapes.items():
            function = getattr(library, f"batch_{name}")
            function.restype, function.argtypes = result, arguments
        if library.batch_operations().decode().split() != list(code.OPERATIONS):
            raise ValueError("batch: batch.c has other operations than code.py: expected the same in the same order")
        return library

    def _set_up(self, adapter: Any, names: int) -> None:
        """Hand over the functions of the interpreter, the pools, and what the destructors do."""
        functions = self.library.batch_functions().decode().split()
        given = _setup_type(len(functions))()
        if ctypes.sizeof(given) != self.library.batch_setup_size():
            raise ValueError("batch: the setup of batch.c is laid out otherwise: expected the one of real.py")
        address = adapter.address_of
        given.functions[:] = [address(getattr(self._api, name)) for name in functions]
        given.capsule_type = ctypes.addressof(ctypes.c_char.in_dll(self._api, "PyCapsule_Type"))
        # From 3.14 on the upper half of a 64-bit word holds flags.
        given.count_mask = 0xFFFF_FFFF if adapter.WORD == 8 and sys.version_info >= (3, 14) else (1 << 64) - 1
        given.header_words = adapter.HEADER_WORDS
        given.field_words = len(self.profile.fields) - 2
        given.names, given.name_stride = names, code.STRIDE
        given.name_count = len(code.NAMES) + len(code.PATHS)
        given.least_pointer, given.most_pointer = min(code.POINTERS), max(code.POINTERS)
        given.slots, given.null_slot, given.first_module = code.SLOTS, code.NULL_SLOT, code.MODULES
        given.registers, given.drops = code.REGISTERS, code.DROPS
        given.destructor_count, given.native_count = len(code.DESTRUCTORS), len(code.NATIVE)
        given.natives[: len(code.NATIVE)] = [address(getattr(self._api, name)) for name in code.NATIVE]
        places = Places(names)
        for number, actions in enumerate(code.DESTRUCTORS.values()):
            given.action_count[number] = len(actions)
            for place, action in enumerate(actions):
                argument = argument_of(action, places)
                given.actions[number][place] = _Action(code.operation(action.operation), argument, action.leave)
        for place in range(given.name_count):
            given.name_kinds[place] = states.name_kind_number(place)
        for place, destructor in enumerate(["none", *code.DESTRUCTORS, *code.NATIVE]):
            given.destructor_kinds[place] = states.destructor_kind_number(destructor)
        given.writings[: len(code.WRITINGS)] = code.WRITINGS
        given.storage = code.STORAGE
        given.exceptions[: len(code.EXCEPTIONS)] = [id(getattr(builtins, name)) for name in code.EXCEPTIONS]
        given.raised, given.pending = code.RAISED.encode(), code.PENDING.encode()
        self._kept.append(given)
        self.library.batch_setup(ctypes.addressof(given))
        for place, name in enumerate((*code.NAMES, *code.PATHS)):
            ctypes.memmove(names + code.STRIDE * place, name.ljust(code.STORAGE, b"\0"), code.STORAGE)

    def _make_objects(self) -> None:
        """Make one object of each kind that is no capsule, and put them into the registers."""
        made: dict[str, Any] = {"None": None, "function": types.FunctionType((lambda: None).__code__, {})}
        made |= {"int": int("1000003"), "str": str(b"text", "ascii"), "bytes": bytes([98, 121]), "tuple": (object(),)}
        made |= {"list": [], "dict": {}, "object": object(), "class": type("class", (), {})}
        self._objects = [made.get(kind) for kind in code.KINDS]
        for place, kind in enumerate(code.KINDS):
            type_itself = self._kept[0].capsule_type
            self.library.batch_register(
                code.OBJECTS + place, type_itself if kind == "PyCapsule_Type" else id(made[kind])
            )

    def _make_modules(self) -> None:
        """Put what ``code.DECLARED`` says into ``sys.modules``, and its capsules into the registers."""
        kinds = dict(zip(code.KINDS, self._objects, strict=True))
        word = ctypes.c_void_p
        new = ctypes.PYFUNCTYPE(ctypes.py_object, word, word, word)(("PyCapsule_New", self._api))
        found: dict[str, int] = {}

        def value(described: Any, token: str) -> Any:
            name = token.rpartition(".")[2]
            if "object" in described:
                return kinds[described["object"]]
            if "class" in described:
                return type(name, (), attributes(described["class"], "attrs", token))
            if "instance" in described:
                holder = type(name, (), attributes(described["instance"], "class_attrs", token))
                made = holder()
                for attribute, inner in attributes({**described["instance"], "raises": {}}, "attrs", token).items():
                    setattr(made, attribute, inner)
                return made
            stored = described["capsule"]
            path = None if stored["name"] is None else stored["name"]["cstr"].encode()
            place = 0 if path is None else self.places.path(code.PATHS.index(path))
            capsule = new(code.POINTERS[int(stored["pointer"]["ptr"][1:]) - 1], place, 0)
            found[token] = id(capsule)
            return capsule

        def attributes(described: Any, key: str, token: str) -> dict[str, Any]:
            made = {name: value(inner, f"{token}.{name}") for name, inner in described.get(key, {}).items()}
            return made | {name: _raising(raised) for name, raised in described.get("raises", {}).items()}

        for name in code.DECLARED:
            if "." not in name and (name in sys.modules or importlib.util.find_spec(name) is not None):
                raise ValueError(f"batch: there is a module {name} already: expected a name that nobody uses")
        for name, declared in code.DECLARED.items():
            entry: Any = None
            if declared is not None and "entry" in declared:
                entry = value(declared["entry"], name)
            elif declared is not None:
                entry = types.ModuleType(name)
                vars(entry).update(attributes(declared, "attrs", name))
                parent, _, child = name.rpartition(".")
                if parent:
                    setattr(sys.modules[parent], child, entry)
            # The table alone holds the entry, as in the model.
            sys.modules[name] = entry
            self._modules[name] = id(entry)
            del entry
        for place, path in enumerate(code.HELD):
            self.library.batch_register(code.MODULES + place, found[path])

    def undo_writing(self) -> None:
        """Give the strings that are written to the bytes that they had at first."""
        for number in code.WRITABLE:
            name = code.NAMES[number].ljust(code.STORAGE, b"\0")
            ctypes.memmove(self.places.name(number), name, code.STORAGE)

    def run(self, program: list[int], errors: Errors) -> tuple[int, Report | None]:
        """Perform a program up to its end or the first difference; return how many steps were alike, and that."""
        if self._told != len(errors.known):
            self._tell(errors)
        done: int = self.library.batch_run(program, len(program))
        if done < 0:
            raise MemoryError(f"batch: no memory for a program of {len(program)} words")
        report: Report = self.library.batch_report().contents
        if not report.what:
            return done, None
        copied = Report.from_buffer_copy(report)
        self.give_back()
        return done, copied

    def give_back(self) -> None:
        """Give back what a program owns that ended before its end."""
        self.library.batch_give_back()

    def _tell(self, errors: Errors) -> None:
        """Hand over which exceptions a program may expect."""
        self._told = len(errors.known)
        self._table = (_Error * (self._told + 2))()
        for number, (type, text) in enumerate(errors.known, 2):
            cls = getattr(builtins, type)
            shown = repr(text) if type == "KeyError" else text
            self._table[number] = _Error(id(cls), shown.encode(), states.outcome_of(type))
        self.library.batch_errors(ctypes.addressof(self._table))

    def reached(self) -> dict[int, int]:
        """Return how often each state was reached since this was last asked, by its number."""
        pairs = ctypes.c_void_p()
        count: int = self.library.batch_reached(ctypes.byref(pairs))
        said = memoryview(ctypes.string_at(pairs.value or 0, 4 * count)).cast("I").tolist() if count else []
        return dict(zip(said[::2], said[1::2], strict=True))

    def close(self) -> None:
        """Take the modules away; a second time nothing happens."""
        for name, entry in self._modules.items():
            if name in sys.modules and id(sys.modules[name]) == entry:
                del sys.modules[name]
        self._modules = {}


def _raising(raised: dict[str, str]) -> property:
    """Return a property that raises what a vector describes."""

    def look(self: object) -> None:
        raise getattr(builtins, raised["type"])(raised["text"])

    return property(look)
