"""Run a vector on the model and write down what is seen, step by step."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from capsule_model import rules as rule_marks
from capsule_model.capsule import PyCapsule_GetContext
from capsule_model.errors import PyErr, PyErr_Clear, PyErr_NoMemory, PyErr_Restore, new_exception
from capsule_model.interpreter import Interpreter
from capsule_model.memory import NULL
from capsule_model.objects import (
    IMMORTAL,
    NONE,
    TYPE_NAMED,
    Capsule,
    PyCapsule_Type,
    PyModule_Type,
    PyObject,
    PyType_Type,
)
from capsule_model.profiles import Profile
from capsule_model.runtime import handle_pending
from capsule_model.trace.contract import operations
from capsule_model.trace.extensions import MODULES, Extension, extensions_of
from capsule_model.trace.observe import Tokens, error_seen, object_seen
from capsule_model.trace.operations import NOTHING, OPERATIONS, BadVector, Operation
from capsule_model.trace.world import install
from capsule_model.undefined import Abort, Kind, NotModelled, UndefinedBehavior, diagnose

__all__ = ["BadVector", "Machine", "Run", "run"]

MAX_CALLS = 8


@dataclass
class Run:
    """What a vector's run on the model showed.

    ``steps`` are the observations, ``leaks`` the tokens still owned at the end, ``reached`` the rules carried
    out with the path of the step that did, ``states`` the capsules alive after each step. ``diagnosis`` and its
    token ``of``, or ``aborted``, say that the last step did not come to an end.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    diagnosis: UndefinedBehavior | None = None
    of: str | None = None
    aborted: str | None = None
    reached: list[tuple[str, str]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)


def run(
    vector: Mapping[str, Any],
    profile: Profile,
    *,
    rules: bool = False,
    states: bool = False,
    machine: Callable[..., Machine] | None = None,
) -> Run:
    """Run a vector under a profile; with ``rules``, note which rules were carried out.

    ``machine`` makes what performs the steps, where somebody looks on. Raises ``BadVector`` where a step makes no
    sense, or asks what the model does not know.
    """
    result = Run()
    added = extensions_of(vector)
    made = machine or Machine
    if not rules:
        _run(made, vector, profile, added, result, states)
        return result
    with rule_marks.observed([module for extension in added for module in extension.modules]) as sink:
        _run(made, vector, profile, added, result, states, sink)
    result.reached = sink.reached
    return result


def _run(
    made: Callable[..., Machine],
    vector: Mapping[str, Any],
    profile: Profile,
    added: Sequence[Extension],
    result: Run,
    states: bool,
    sink: rule_marks.Sink | None = None,
) -> None:
    try:
        machine = made(vector, profile, sink, added)
    except (UndefinedBehavior, Abort, NotModelled, RecursionError) as end:
        fact = next(iter(str(end).splitlines()), "")
        raise BadVector(f"{fact}; expected modules that can be made without harm", "modules") from None
    try:
        for index, step in enumerate(vector["steps"]):
            result.steps.append(machine.step(step, str(index)))
            if states:
                result.states.append(machine.state())
        machine.finish()
    except UndefinedBehavior as diagnosis:
        result.diagnosis = diagnosis
        result.of = machine.tokens.of_address.get(diagnosis.address)
        return
    except Abort as death:
        result.aborted = str(death)
        return
    except RecursionError:
        raise BadVector("destructors nested too deep for the model", machine.path) from None
    except NotModelled as question:
        raise BadVector(f"the model does not know {question}", machine.path) from None
    result.leaks = machine.leaks()


class Machine:
    """One simulated process that performs the steps of one vector.

    ``extra`` is where extensions keep what they need to know.
    """

    def __init__(
        self,
        vector: Mapping[str, Any],
        profile: Profile,
        sink: rule_marks.Sink | None = None,
        extensions: Sequence[Extension] = (),
    ) -> None:
        self.py = Interpreter(profile)
        self.tokens = Tokens()
        self.owned: dict[int, int] = {}
        self.blocks: set[int] = set()
        self.events: list[list[dict[str, Any]]] = []
        self.frames: list[int] = []
        self.calls: dict[str, int] = {}
        self.made: dict[str, int] = {}
        self.path = "modules"
        self.sink = sink
        self.extra: dict[str, Any] = {}
        self.extensions = extensions
        self.added: dict[str, Operation] = {}
        for extension in extensions:
            self.added |= extension.operations
        self.py.unraisable = self._unraisable
        for name, function in vector.get("functions", {}).items():
            self._declare(name, function)
        self._made("object", "PyCapsule_Type")
        self.events.append([])
        install(self.py, vector.get("modules", {}), self.value, self._announce)
        self.events.pop()

    def step(self, step: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Perform one step and return the observation."""
        py = self.py
        outer, self.path = self.path, path
        py.memory.label(_step_label(path))
        if self.sink is not None:
            self.sink.path = path
        events: list[dict[str, Any]] = []
        self.events.append(events)
        if not self.frames:
            if py.queues[""]:
                self._wake("")
            self._wake(step.get("thread", ""))
        leave, found = step.get("leave", False), py.error
        if "pending" in step:
            pending = self.exception(step["pending"])
            if leave:
                PyErr_Restore(py, pending)
            else:
                py.error = pending
        elif found is not None and not leave:
            found.holders += 1
        before = py.error
        operation = OPERATIONS.get(step["op"]) or self.added.get(step["op"])
        if operation is None:
            raise BadVector(_unknown(step["op"], self.extensions), path)
        seen = operation(self, step.get("args", {}), step.get("bind"))
        if step["op"] == "settle":
            self._settle()
        if not self.frames:
            for extension in self.extensions:
                if extension.after_step is not None:
                    extension.after_step(self)
        observation: dict[str, Any] = {
            "error": error_seen(py, self.tokens, py.error),
            "indicator": _relation(before, py.error),
            "events": events,
        }
        if seen is not NOTHING:
            observation["return"] = seen
        if not leave:
            PyErr_Restore(py, None)
            py.error = found
        self.events.pop()
        self.path = outer
        return observation

    def _wake(self, thread: str) -> None:
        """Let a thread run Python code: the first one does between any two steps, another where its step begins."""
        self.py.switch_thread(thread)
        handle_pending(self.py)

    def _settle(self) -> None:
        """Let each other thread but the first run Python code, in the order of their start, and this one after each."""
        py = self.py
        here = py.thread
        if self.frames and any(py.queues.values()):
            raise NotModelled("settle inside a function while a thread is waited for")
        # The first thread waits for the step of another one to end.
        for thread in [name for name in py.queues if name not in ("", here)]:
            py.switch_thread(thread)
            handle_pending(py)
            py.switch_thread(here)
            handle_pending(py)

    def finish(self) -> None:
        """Let the first thread run once more; what happens then belongs to no step."""
        self.events.append([])
        if self.py.queues[""]:
            self._wake("")
        self.events.pop()

    def value(self, argument: Any, token: str) -> int:
        """Return the word that an argument stands for; storage that it makes gets the token."""
        if argument is None:
            return NULL
        if isinstance(argument, int):
            return argument
        if not isinstance(argument, Mapping):
            raise BadVector(f"{argument!r} is no argument", self.path)
        if "ref" in argument:
            return self._bound(argument["ref"]) + int(argument.get("offset", 0))
        if "cstr" in argument or "hex" in argument:
            raw = _bytes_of(argument)
            address = self.py.memory.literal(raw, writable=True)
            self.tokens.give(address, token, len(raw) + 1)
            return address
        if "arg" in argument:
            if not self.frames:
                raise BadVector('{"arg": 0} outside a function', self.path)
            return self.frames[-1]
        for key in ("ptr", "object"):
            if key in argument:
                return self._made(key, str(argument[key]))
        if "module" in argument:
            return self._module(argument["module"])
        return self._bound(argument.get("function", ""))

    def _bound(self, name: str) -> int:
        address = self.tokens.address.get(name)
        if address is None:
            raise BadVector(f"nothing is bound as {name!r}", self.path)
        return address

    def _made(self, key: str, name: str) -> int:
        """Return the address of a pointer token or of an object that is no capsule, made when first named."""
        address = self.made.get(name)
        if address is None:
            address = self.py.memory.reserve(16) if key == "ptr" else self._stand_in(name)
            self.made[name] = address
            self.tokens.give(address, name, 16 if key == "ptr" else 0)
        return address

    def _stand_in(self, kind: str) -> int:
        if kind == "PyCapsule_Type":
            return PyCapsule_Type
        if kind == "None":
            return NONE
        if kind == "class":
            return self.py.objects.place(PyObject(IMMORTAL, PyType_Type, name="class"))
        if kind not in TYPE_NAMED:
            raise BadVector(f"no object of kind {kind!r}", self.path)
        return self.py.objects.place(PyObject(IMMORTAL, TYPE_NAMED[kind]))

    def _module(self, name: str) -> int:
        if name not in self.py.sys_modules:
            raise BadVector(f"{name!r} is not in sys.modules", self.path)
        address = self.py.sys_modules[name]
        self.tokens.rename(address, name)
        return address

    def raw(self, args: Mapping[str, Any], name: str) -> bytes:
        """Return the bytes of an argument that the operation itself reads."""
        argument = args.get(name)
        if not isinstance(argument, Mapping) or not ("cstr" in argument or "hex" in argument):
            raise BadVector(f'{name} must be {{"cstr": …}} or {{"hex": …}}, not {argument!r}', self.path)
        return _bytes_of(argument)

    def exception(self, described: Mapping[str, Any]) -> PyErr:
        """Return the exception that a vector describes."""
        cls = getattr(builtins, described["type"], None)
        if not (isinstance(cls, type) and issubclass(cls, BaseException)) or issubclass(cls, UnicodeError):
            raise BadVector(f"no built-in exception {described['type']!r} is made from a text", self.path)
        return new_exception(self.py, described["type"], described.get("text", ""))

    def bind(self, address: int, name: str | None) -> None:
        """Give a name to an address that was returned; a name for NULL means NULL."""
        if name is not None:
            if address == NULL:
                self.tokens.address[name] = NULL
            else:
                self.tokens.give(address, name)

    def own(self, address: int, bind: str | None) -> None:
        """Note that the vector owns a new reference, and name it."""
        if bind is not None or address not in self.tokens.of_address:
            self.tokens.give(address, bind or f"#{self.path}")
        self.owned[address] = self.owned.get(address, 0) + 1

    def count(self, op: int, change: int) -> None:
        """Note references that the vector takes or gives back; an object that it only borrows has none to give."""
        left = self.owned[op] = self.owned.get(op, 0) + change
        struct = self.py.objects.get(op)
        if left < 0 and struct is not None and struct.ob_refcnt >= IMMORTAL:
            named = self.tokens.of_address.get(op, hex(op))
            fact = f"{self.py.memory.now()} gives back a reference to {named} that it does not own"
            raise diagnose(Kind.NEGATIVE_REFCOUNT, fact, [], op)

    def leaks(self) -> list[str]:
        """Return the tokens of references and blocks that the vector still owns."""
        owned = {address for address, count in self.owned.items() if count > 0} | self.blocks
        return sorted(self.tokens.of_address[address] for address in owned)

    def event(self, event: dict[str, Any]) -> None:
        """Add an event to the step in progress."""
        self.events[-1].append(event)

    def left(self, event: Mapping[str, Any]) -> None:
        """Hear that the function whose call is that event has returned; for a machine that looks on."""

    def state(self) -> dict[str, Any]:
        """Return the named capsules that are alive, with their fields as tokens, and what extensions show of theirs."""
        state = {
            token: {"refcnt": struct.ob_refcnt, "tracked": struct.is_tracked}
            | {name: self.tokens.seen(getattr(struct, name)) for name in ("pointer", "name", "context", "destructor")}
            for address, token in list(self.tokens.of_address.items())
            if isinstance(struct := self.py.objects.get(address), Capsule)
        }
        for show in (extension.state for extension in self.extensions if extension.state is not None):
            for token, fields in show(self).items():
                state[token] = state.get(token, {}) | fields
        return state

    def _announce(self, address: int, token: str) -> None:
        """Name what a module's body made; the module itself is no generation of its name."""
        if self.py.objects[address].ob_type == PyModule_Type:
            self.tokens.rename(address, token)
        else:
            self.tokens.give(address, token)

    def _unraisable(self, error: PyErr, obj: int) -> None:
        event = {"type": error.type, "text": self.tokens.in_text(str(error))}
        seen = None if obj == NONE else object_seen(self.py, self.tokens, obj, valued=False)
        self.event({"unraisable": event, "object": seen})

    def _declare(self, name: str, function: Mapping[str, Any]) -> None:
        py = self.py
        if "native" in function:
            # The implementation has one such function, however often it is declared.
            known = [address for address, one in py.functions.items() if one.name == function["native"]]
            address = known[0] if known else py.function(self._native(function["native"]), name=function["native"])
        elif function["kind"] == "traverse":
            address = py.function(self._traverse(name, function), "traverse", name)
        else:
            address = py.function(self._scripted(name, function), function["kind"], name)
        self.tokens.give(address, name)

    def _native(self, name: str) -> Callable[[int], int | None]:
        natives: dict[str, Callable[[int], int | None]] = {
            "PyErr_NoMemory": lambda op: PyErr_NoMemory(self.py),
            "PyErr_Clear": lambda op: PyErr_Clear(self.py),
            "PyCapsule_GetContext": lambda op: PyCapsule_GetContext(self.py, op),
        }
        if name not in natives:
            raise BadVector(f"no native function {name!r}", self.path)
        return natives[name]

    def _traverse(self, name: str, function: Mapping[str, Any]) -> Callable[[int, Callable[[int], int]], int]:
        def traverse(op: int, visit: Callable[[int], int]) -> int:
            self.frames.append(op)
            for argument in function.get("visit", ()):
                stopped = visit(self.value(argument, f"#{name}"))
                if stopped:
                    break
            self.frames.pop()
            return int(function.get("returns", 0))

        return traverse

    def _scripted(self, name: str, function: Mapping[str, Any]) -> Callable[[int], int]:
        def call(op: int) -> int:
            number = self.calls[name] = self.calls.get(name, 0) + 1
            if number > function.get("max_calls", MAX_CALLS):
                self.event({"call": name, "beyond": True})
                return 0
            steps: list[dict[str, Any]] = []
            event = {
                "call": name,
                "args": [self.tokens.of_address.get(op, "?")],
                "refcnt": self.py.objects[op].ob_refcnt,
                "before": error_seen(self.py, self.tokens, self.py.error),
                "steps": steps,
            }
            self.event(event)
            outer = self.path
            self.frames.append(op)
            for index, step in enumerate(function.get("steps", ())):
                steps.append(self.step(step, f"{outer}/{name}.{number}/{index}"))
            self.frames.pop()
            self.py.memory.label(_step_label(outer))
            if self.sink is not None:
                self.sink.path = outer
            event["after"] = error_seen(self.py, self.tokens, self.py.error)
            self.left(event)
            return int(function.get("returns", 0))

        return call


def _unknown(name: str, extensions: Sequence[Extension]) -> str:
    """Say why there is no operation of that name."""
    row = operations().get(name)
    if row is None or row.suite in ("capsule", *(extension.suite for extension in extensions)):
        return f"unknown operation {name!r}"
    package = MODULES[row.suite].partition(".")[0]
    return f"{name} is an operation of the suite {row.suite}, whose model is not installed; expected {package}"


def _step_label(path: str) -> str:
    """Return what histories call a step; a path that is deep in destructors is cut in its middle."""
    return f"step {path if len(path) < 80 else path[:40] + '…' + path[-30:]}"


def _bytes_of(argument: Mapping[str, Any]) -> bytes:
    if "cstr" in argument:
        return str(argument["cstr"]).encode("utf-8", "surrogateescape")
    return bytes.fromhex(argument["hex"])


def _relation(before: PyErr | None, after: PyErr | None) -> str:
    """Return what a call did to the error indicator, in the format's word."""
    if before is None:
        return "clear" if after is None else "set"
    if after is None:
        return "cleared"
    return "unchanged" if after is before else "replaced"
