"""Perform the steps of compact programs on the model, and write down what each must show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from capsule_model import capsule, errors, imports, layout, runtime
from capsule_model.fuzz.batch import code
from capsule_model.interpreter import Interpreter
from capsule_model.memory import NULL, STATIC, TEXT, Region
from capsule_model.objects import IMMORTAL, NONE, SHIFT, TYPE_NAMED, Capsule, PyCapsule_Type, PyObject, PyType_Type
from capsule_model.process import CFunction
from capsule_model.profiles import Profile
from capsule_model.trace.world import install

__all__ = ["Errors", "Places", "Side", "argument_of", "calls"]

# Performs an operation: register, first argument, the other two.
Call = Callable[..., int]


@dataclass(frozen=True)
class Places:
    """Where the strings begin and the destructors lie: on both sides at the same addresses."""

    names: int = STATIC[8]
    destructors: tuple[int, ...] = tuple(
        TEXT[8] + 16 * number for number in range(1, 1 + len(code.DESTRUCTORS) + len(code.NATIVE))
    )

    def name(self, place: int) -> int:
        """Return the address of a name; those of paths lie behind them."""
        return self.names + code.STRIDE * place

    def path(self, place: int) -> int:
        """Return the address of a path for ``PyCapsule_Import``."""
        return self.name(len(code.NAMES) + place)


class Errors(dict[tuple[str, str], int]):
    """Numbers of exceptions by type and text; ``known`` has them in the order of their numbers, from 2 on."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[tuple[str, str]] = []

    def __missing__(self, key: tuple[str, str]) -> int:
        """Give an exception that was never seen the next number."""
        self.known.append(key)
        number = self[key] = len(self.known) + 1
        return number


@dataclass
class Side:
    """The model as one of the two sides: a process, its registers, and the program as far as it was performed.

    ``registers`` are addresses, ``held`` the structs of the capsules among them, ``owned`` how many references the
    program owns to each (always some, to what is no capsule of its own), ``depth`` how many capsules hang from each by
    their contexts. ``out`` is the program.
    """

    profile: Profile
    places: Places
    errors: Errors
    py: Interpreter = field(init=False)
    registers: list[int] = field(init=False)
    held: list[Any] = field(init=False)
    owned: list[int] = field(init=False)
    depth: list[int] = field(init=False)
    functions: list[Call] = field(init=False)
    out: list[int] = field(init=False, default_factory=list)
    alive: int = 0

    def __post_init__(self) -> None:
        self.py = py = Interpreter(self.profile)
        py.memory.static = Region(self.places.names)
        for place, name in enumerate((*code.NAMES, *code.PATHS)):
            data = name.ljust(code.STORAGE - 1, b"\0")
            py.memory.literal(data, writable=place in code.WRITABLE)
        self._declare()
        free = [NULL] * (code.NULL_SLOT + 1)
        self.registers = [*free, *self._objects()]
        self.registers += self._modules()
        self.held = [None] * code.MODULES + [py.objects[op] for op in self.registers[code.MODULES :]]
        self.owned = [0] * code.SLOTS + [1] * (code.REGISTERS - code.SLOTS)
        self.depth = [0] * code.REGISTERS
        self.functions = _functions(self)

    def _objects(self) -> list[int]:
        """Make one object of each kind that is no capsule."""
        place = self.py.objects.place
        made = {"None": NONE, "PyCapsule_Type": PyCapsule_Type}
        for kind in code.KINDS:
            if kind not in made:
                named = PyObject(IMMORTAL, PyType_Type, name="class")
                made[kind] = place(named if kind == "class" else PyObject(IMMORTAL, TYPE_NAMED[kind]))
        return [made[kind] for kind in code.KINDS]

    def _modules(self) -> list[int]:
        """Import the modules, and return the capsules that lie in them."""
        found: dict[str, int] = {}
        kinds = dict(zip(code.KINDS, self.registers[code.OBJECTS :], strict=True))

        def resolve(argument: Any, token: str) -> int:
            if argument is None:
                return NULL
            if "ptr" in argument:
                return code.POINTERS[int(argument["ptr"][1:]) - 1]
            if "object" in argument:
                return kinds[argument["object"]]
            return self.places.path(code.PATHS.index(argument["cstr"].encode()))

        install(self.py, code.DECLARED, resolve, lambda op, token: found.update({token: op}))
        return [found[path] for path in code.HELD]

    def _declare(self) -> None:
        py = self.py
        natives: Mapping[str, Callable[[int], int | None]] = {
            "PyErr_NoMemory": lambda op: errors.PyErr_NoMemory(py),
            "PyErr_Clear": lambda op: errors.PyErr_Clear(py),
            "PyCapsule_GetContext": lambda op: capsule.PyCapsule_GetContext(py, op),
        }
        bodies: list[tuple[str, Callable[[int], int | None]]] = [
            (name, _scripted(self, number, actions)) for number, (name, actions) in enumerate(code.DESTRUCTORS.items())
        ]
        bodies += [(name, natives[name]) for name in code.NATIVE]
        for address, (name, body) in zip(self.places.destructors, bodies, strict=True):
            py.functions[address] = CFunction("destructor", name, body)

    def perform(self, operation: int, place: int, *arguments: int) -> None:
        """Perform a step with nothing pending, and write it with what it shows."""
        struct = self.held[place]
        result = self.functions[operation](place, *arguments)
        py = self.py
        error = py.error
        if error is None:
            number = 0
        else:
            number = self.errors[error.type, error.text]
            errors.PyErr_Restore(py, None)
        if operation not in _ENDS:
            struct = self.held[place]
        self.out += (number, result, -1) if struct is None or not struct.address else (number, result, *_words(struct))

    def decorated(self, flags: int, operation: int, place: int, *arguments: int) -> None:
        """Perform a step with something pending, or one whose error stays; nothing of it may hold an object."""
        py, out = self.py, self.out
        found = py.error
        if flags >> 1:
            py.error = errors.new_exception(py, code.EXCEPTIONS[(flags >> 1) - 1], code.PENDING)
        before, struct, head = py.error, self.held[place], len(out)
        result = self.functions[operation](place, *arguments)
        out[head] |= flags << 8
        error = py.error
        number = 0 if error is None else 1 if error is before else self.errors[error.type, error.text]
        if not flags & 1:
            py.error = found
        if operation not in _ENDS:
            struct = self.held[place]
        out += (number, result, -1) if struct is None or not struct.address else (number, result, *_words(struct))

    def close(self) -> None:
        """Give back everything that the program owns, and end it."""
        if self.py.error is not None:
            self.decorated(1, _CLEAR, code.NULL_SLOT)
        for place in range(code.SLOTS - 1, -1, -1):
            while self.owned[place]:
                self.perform(_DECREF, place)
        table = self.py.objects.table
        alive = sum(isinstance(struct, Capsule) for struct in table[self.alive :])
        self.alive = len(table)
        self.out += (_END, alive)

    def undo_writing(self) -> None:
        """Give the strings that are written to the bytes that they had at first."""
        for place in code.WRITABLE:
            self.py.memory.write(self.places.name(place), code.NAMES[place].ljust(code.STORAGE, b"\0"))

    def begin(self) -> list[int]:
        """Begin a program and return the list that it will be written to."""
        self.out.clear()
        self.alive = len(self.py.objects.table)
        return self.out


_CLEAR, _DECREF, _END, _NEW = map(code.operation, ("PyErr_Clear", "Py_DECREF", "end", "PyCapsule_New"))
_ENDS = frozenset(map(code.operation, ("Py_DECREF", "Py_DecRef")))


def _words(c: Any) -> tuple[int, ...]:
    return (c.ob_refcnt, c.ob_type, c.pointer, c.name, c.context, c.destructor, c.traverse_func, c.clear_func)


def _scripted(side: Side, number: int, actions: Sequence[code.Action]) -> Callable[[int], None]:
    """Return a destructor that does what its actions say, and writes down what it sees."""
    py, known, table = side.py, side.errors, side.py.objects.table
    # The list is the side's from the first program to the last.
    extend = side.out.extend
    steps = [(_action(py, side.places, action), action.leave) for action in actions]
    enter = code.ENTER | number

    def destructor(op: int) -> None:
        entry = found = py.error
        extend((enter, op, 0 if entry is None else known[entry.type, entry.text], *_words(table[op >> SHIFT])))
        last = NULL
        for act, leave in steps:
            last = act(op, last) or 0
            error = py.error
            extend((0 if error is None else 1 if error is found else known[error.type, error.text], last))
            if leave:
                found = error
            elif error is not found:
                py.error = found
        extend(
            (code.LEAVE if found is None else code.LEAVE | (1 if found is entry else known[found.type, found.text]),)
        )

    return destructor


def _action(py: Interpreter, places: Places, action: code.Action) -> Callable[[int, int], int | None]:
    """Return what performs an action on the dying capsule, given what the action before it returned."""
    argument = argument_of(action, places)
    name = action.operation
    if name == "drop":
        return lambda op, last: runtime.Py_DecRef(py, last)
    if name == "PyErr_Clear":
        return lambda op, last: errors.PyErr_Clear(py)
    if name == "PyErr_SetString":
        return lambda op, last: errors.PyErr_SetString(py, code.EXCEPTIONS[argument], code.RAISED)
    function: Callable[..., int] = getattr(runtime if name.startswith("Py_") else capsule, name)
    if code.operation(name) < code.WITHOUT:
        return lambda op, last: function(py, op, argument)
    return lambda op, last: function(py, op)


def argument_of(action: code.Action, places: Places) -> int:
    """Return the word that an action's argument stands for."""
    place = action.argument
    if place is None:
        return NULL
    if action.operation == "PyErr_SetString":
        return place
    if action.operation in ("PyCapsule_SetPointer", "PyCapsule_SetContext"):
        return code.POINTERS[place]
    return places.name(place)


def calls() -> list[Callable[..., Any]]:
    """Return the functions of the model that are called for the operations up to ``code.OTHERS``, by their numbers."""
    names = list(code.OPERATIONS)[: code.OTHERS]
    modules = {"PyCapsule": capsule, "Py": runtime}
    return [_poke if name == "poke" else getattr(modules[name.partition("_")[0]], name) for name in names]


def _poke(py: Interpreter, op: int, pointer: int) -> int:
    layout.poke(py, op, "pointer", pointer)
    return 0


def _functions(side: Side) -> list[Call]:
    """Return what performs each operation, by its number: it writes head and arguments, and returns what C returns.

    Each takes the register and the arguments.
    """
    made: list[Call] = []
    for number, function in enumerate(calls()):
        kind = _called if number < code.REFERENCES else _takes if number < _NEW else _gives
        made.append(kind(side, number, function))
    others = _others(side)
    made[_NEW] = others["PyCapsule_New"]
    return made + [others.get(name, _unknown) for name in list(code.OPERATIONS)[code.OTHERS :]]


def _unknown(*arguments: int) -> int:
    raise NotImplementedError("an operation that no step of a program has")


def _called(side: Side, number: int, function: Callable[..., int]) -> Call:
    py, registers, extend = side.py, side.registers, side.out.extend

    def call(place: int, a: int = 0) -> int:
        extend((number, place, a))
        return function(py, registers[place], a) if number < code.WITHOUT else function(py, registers[place])

    return call


def _takes(side: Side, number: int, function: Callable[..., None]) -> Call:
    py, registers, owned, extend = side.py, side.registers, side.owned, side.out.extend

    def call(place: int, a: int = 0) -> int:
        extend((number, place, a))
        if registers[place]:
            owned[place] += 1
        function(py, registers[place])
        return 0

    return call


def _gives(side: Side, number: int, function: Callable[..., None]) -> Call:
    py, registers, owned, extend = side.py, side.registers, side.owned, side.out.extend

    def call(place: int, a: int = 0) -> int:
        extend((number, place))
        op, struct = registers[place], side.held[place]
        if op:
            owned[place] -= 1
            if not owned[place]:
                registers[place], side.held[place] = NULL, None
        function(py, op)
        return int(struct is not None and not struct.address)

    return call


def _others(side: Side) -> dict[str, Call]:
    py, registers, held, owned, out = side.py, side.registers, side.held, side.owned, side.out
    number = code.NUMBER
    writings = [writing.ljust(code.STORAGE, b"\0") for writing in code.WRITINGS]

    def new(place: int, pointer: int, name: int, destructor: int) -> int:
        out.extend((_NEW, place, pointer, name, destructor))
        op = capsule.PyCapsule_New(py, pointer, name, destructor)
        if op:
            registers[place], held[place], owned[place], side.depth[place] = op, py.objects[op], 1, 0
        return op

    def import_(place: int, name: int, no_block: int) -> int:
        out.extend((number["PyCapsule_Import"], place, name, no_block))
        return imports.PyCapsule_Import(py, name, no_block)

    def clear(place: int, a: int = 0) -> int:
        out.extend((_CLEAR, place))
        errors.PyErr_Clear(py)
        return 0

    def rename(place: int, name: int, writing: int) -> int:
        out.extend((number["rename"], place, name, writing))
        py.memory.write(name, writings[writing])
        return 0

    def lend(place: int) -> int:
        out.extend((number["lend"], place))
        runtime.Py_INCREF(py, registers[place])
        return 0

    def hold(place: int, held_in: int) -> int:
        out.extend((number["hold"], place, held_in))
        return capsule.PyCapsule_SetContext(py, registers[place], registers[held_in])

    return {
        "PyCapsule_New": new,
        "PyCapsule_Import": import_,
        "PyErr_Clear": clear,
        "rename": rename,
        "lend": lend,
        "hold": hold,
    }
