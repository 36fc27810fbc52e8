"""A simulated process that is put into any state, and makes one call there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capsule_model.capsule import PyCapsule_GetName, PyCapsule_IsValid
from capsule_model.errors import PyErr
from capsule_model.explore.alphabet import PENDING, Operation, Words, operations
from capsule_model.explore.bound import Bound
from capsule_model.explore.scripts import SCRIPTS
from capsule_model.explore.states import NAME, CapsuleWords, Forms, State
from capsule_model.explore.step import RunSeen, Step
from capsule_model.interpreter import Interpreter
from capsule_model.memory import NULL
from capsule_model.objects import NOTHING, SHIFT, Capsule, PyCapsule_Type
from capsule_model.undefined import Abort, Kind, UndefinedBehavior

__all__ = ["World"]


class World:
    """One process for one bound, whose every address is the same in every such process.

    ``slots`` are the addresses of the capsules that are alive, ``content`` gives the bytes of each name.
    """

    threads: tuple[str, ...] = ("",)

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.py = py = Interpreter(bound.described)
        self.runs: list[RunSeen] = []
        self.tokens: dict[int, tuple[str, Any]] = {}
        names = [self._name(name) for name in bound.names]
        asked = [self._name(name) for name in dict.fromkeys(bound.names)]
        blocks = [py.memory.nearest(address) for address in {*names, *asked} - {NULL}]
        self.content: dict[int, bytes | None] = {NULL: None}
        self.buffers = [block.data for block in blocks if block is not None]
        self.untouched = [bytes(data) for data in self.buffers]
        self.content |= {block.address: bytes(block.data)[:-1] for block in blocks if block is not None}
        pointers = [self._opaque(f"p{number}") for number in range(1, bound.pointers + 1)]
        contexts = [self._opaque(f"k{number}") for number in range(1, bound.contexts + 1)]
        self.scripts = {NULL: ""} | {self._destructor(script): script for script in bound.destructors}
        graves = [self._grave() for _ in range(bound.capsules)]
        self.deaths = len(py.objects.deaths)
        self.first = len(py.structs)
        self.slots = tuple((self.first + slot) << SHIFT for slot in range(bound.capsules))
        self.spare = [self._struct() for _ in self.slots]
        words = Words(self.slots, tuple(names), tuple(asked), tuple(pointers), tuple(contexts), tuple(self.scripts))
        self.alphabet = [
            [operations(words, alive, bound.capsules, thread) for alive in range(bound.capsules + 1)]
            for thread in range(len(self.threads))
        ]
        alike = [[name for name in names if self.content[name] == self.content[one]] for one in dict.fromkeys(names)]
        self.forms = Forms(self.slots, graves, [pointers, contexts, *(group for group in alike if len(group) > 1)])
        self.plain = Forms(self.slots, graves, ())
        self.labels = [f"capsule {slot}" for slot in range(1, bound.capsules + 1)]
        self.pending: dict[str, PyErr | None] = {"": None}
        self.pending |= {type: PyErr(type, "pending") for type in (PENDING, "ValueError")}
        self.owned: Sequence[int] = ()
        self.state = self.initial()
        self.made = Step()
        self.made.world, self.made.thread, self.made.earlier, self.made.spent = self, 0, None, False
        self.made.owners, self.made.parts, self.made.queues = (), (), ()

    def _name(self, name: str | None) -> int:
        if name is None:
            return NULL
        address = self.py.memory.literal(name.encode("utf-8", "surrogateescape"), writable=True)
        self.tokens[address] = "cstr", name
        return address

    def _opaque(self, token: str) -> int:
        address = self.py.memory.reserve(16)
        self.tokens[address] = "ptr", token
        return address

    def _grave(self) -> int:
        """Return the address of a capsule that came and went."""
        op = self.py.PyCapsule_New(16, NULL, NULL)
        self.py.Py_DECREF(op)
        return op

    def _struct(self) -> Capsule:
        struct = Capsule()
        struct.ob_type = PyCapsule_Type
        struct.traverse_func = struct.clear_func = NULL
        struct.is_tracked = False
        struct.born = 0
        return struct

    def _destructor(self, script: str) -> int:
        """Return the address of a destructor that is noticed, and does what its script says."""
        py = self.py
        steps = [
            (getattr(Interpreter, step["op"]), list(step["args"].values()), "bind" in step)
            for step in SCRIPTS[script][1]
        ]

        def call(op: int) -> int:
            run = RunSeen(script, op, self.words_at(op), py.error, py.thread)
            self.runs.append(run)
            held = NULL
            for function, args, binds in steps:
                returned = function(py, *(_argument(argument, op, held) for argument in args))
                held = returned if binds else held
            run.error_after = py.error
            return 0

        address = py.function(call, name=script)
        self.tokens[address] = "function", script
        return address

    def initial(self) -> State:
        """Return the state with nothing in it."""
        return State((), ("",))

    def operations(self, state: State) -> Sequence[Operation]:
        """Return what can be done in a state, always in the same order."""
        return self.alphabet[0][len(state.capsules)]

    def undo(self, step: Step) -> None:
        """Put the process back into the state in which a step was made."""
        if step.after == step.before and step.stopped is None:
            self.py.error = self.pending[self.state.errors[0]]
        else:
            self.restore(self.state)

    def restore(self, state: State) -> None:
        """Put the process into a state."""
        py = self.py
        table = py.structs
        if self.names_written():
            for data, content in zip(self.buffers, self.untouched, strict=True):
                data[:] = content
        del table[self.first :], py.objects.deaths[self.deaths :], py.deallocating[:]
        for struct, address, words in zip(self.spare, self.slots, state.capsules, strict=False):
            struct.address = address
            struct.ob_refcnt, struct.pointer, struct.name, struct.context, struct.destructor = words
            table.append(struct)
        py.error = self.pending[state.errors[0]]
        self.state = state
        self.owned = [words[0] for words in state.capsules]

    def perform(self, operation: Operation) -> Step:
        """Make a call in the state that the process was put into; what is returned is good until the next one."""
        step = self.made
        step.before = self.state.capsules
        step.owned = self.owned
        self.call(step, operation)
        return step

    def call(self, step: Step, operation: Operation) -> None:
        """Make a call, and fill in what was seen of it."""
        py = self.py
        self.runs = []
        step.operation = operation
        step.error_before = py.error
        step.stopped = step.result = None
        step.fails = operation.refused or (operation.matches and self.mismatches(operation, step.before))
        try:
            step.result = operation.function(py, *operation.args)
        except (UndefinedBehavior, Abort) as stopped:
            step.stopped = stopped
        step.runs = self.runs
        step.error_after = py.error
        step.after = self.capsules()

    def mismatches(self, operation: Operation, before: Sequence[CapsuleWords | None]) -> bool:
        """Tell whether a capsule has another name than is asked for."""
        words = before[operation.slot]
        return words is not None and self.content[operation.args[1]] != self.content[words[NAME]]

    def capsules(self) -> tuple[CapsuleWords | None, ...]:
        """Return the words of the capsules by slot, None where one died."""
        return tuple(
            [
                None
                if struct is NOTHING
                else (struct.ob_refcnt, struct.pointer, struct.name, struct.context, struct.destructor)
                for struct in self.py.structs[self.first :]
            ]
        )

    def words_at(self, op: int) -> CapsuleWords | None:
        """Return the words of the capsule at an address, None where none is alive."""
        struct = self.py.capsule_at(op)
        if struct is None:
            return None
        return (struct.ob_refcnt, struct.pointer, struct.name, struct.context, struct.destructor)

    def unchanged(self, step: Step) -> bool:
        """Tell whether a step left the process in the state that it was in."""
        return step.after == step.before and step.error_after is step.error_before and step.stopped is None

    def follow(self, step: Step) -> State:
        """Return the form of the state that a step led to, from a state that was brought to its form."""
        if step.after == step.before:
            return State(self.state.capsules, self.left(step))
        return self.successor(step)

    def successor(self, step: Step) -> State:
        """Return the form of the state that a step led to."""
        return self.forms.form(step.after, self.left(step))

    def outcome(self, step: Step) -> State:
        """Return the state that a step led to, nothing renamed, and its capsules in the order of their births."""
        alive = [slot for slot, words in enumerate(step.after) if words is not None]
        threads = range(len(self.threads))
        return self.plain.arranged(step.after, self.left(step), step.parts, step.queues, alive, threads)

    def left(self, step: Step) -> tuple[str, ...]:
        """Return the type of the exception that each thread has pending after a step."""
        return (_type_of(step.error_after),)

    def ask(self, function: Any, *args: int) -> Any:
        """Return what a call of the model returns, the error indicator put back afterwards."""
        py = self.py
        before = py.error
        try:
            return function(py, *args)
        finally:
            py.error = before

    def uses_of_dead(self, op: int) -> list[str]:
        """Return the calls that take a dead capsule for a live one."""
        found = []
        for function, args in ((PyCapsule_IsValid, (NULL,)), (PyCapsule_GetName, ())):
            try:
                self.ask(function, op, *args)
            except UndefinedBehavior as diagnosis:
                if diagnosis.kind == Kind.USE_AFTER_FREE:
                    continue
            found.append(function.__name__)
        return found

    def shown(self, address: int | None) -> str:
        """Return an address in words: the token that it has, or what lies there."""
        if not address:
            return "nothing" if address is None else "NULL"
        if address in self.slots:
            return self.labels[self.slots.index(address)]
        kind, token = self.tokens.get(address, ("", hex(address)))
        return repr(token) if kind == "cstr" else str(token)

    def shown_words(self, words: CapsuleWords | None) -> str:
        """Return the words of a capsule in words."""
        if words is None:
            return "no words"
        shown = zip(("pointer", "name", "context", "destructor"), words[1:], strict=True)
        return ", ".join([f"count {words[0]}", *(f"{name} {self.shown(word)}" for name, word in shown)])

    def waited(self, op: int) -> bool:
        """Tell whether a capsule waited for its owner; where counts have one part, none ever does."""
        return False

    def names_written(self) -> bool:
        """Tell whether a byte of a name was changed."""
        return self.buffers != self.untouched


def _argument(argument: Any, op: int, held: int) -> Any:
    """Return what an argument of a script stands for."""
    if argument is None:
        return NULL
    if "cstr" in argument:
        return argument["cstr"]
    return held if "ref" in argument else op


def _type_of(error: PyErr | None) -> str:
    return "" if error is None else error.type
