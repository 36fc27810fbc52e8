"""Fuzz a destructor: capsules with it live and die in every state, and it must keep to what a destructor must.

A destructor is a declaration in the vector language, which runs on the model and whose undefined behaviour is
diagnosed there; or the address of a C function, a ctypes function or a Python function of the capsule's address, which
gets real capsules of this interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from capsule_model.fuzz import on_model, on_real
from capsule_model.fuzz.broken import RuleBroken, Wrong
from capsule_model.fuzz.machine import with_settings
from capsule_model.profiles import PROFILES, Profile
from capsule_model.trace.execute import BadVector

__all__ = ["DestructorMachine", "World", "destructor_machine"]

Step = dict[str, Any]
Destructor = Mapping[str, Any] | int | Callable[[int], Any]
EXCEPTIONS = ("KeyError", "MemoryError", "ValueError")
NAMES = ("mine", "min", "mine.", "", "used_mine")
MOST = 6
LATEST = PROFILES["cpython-3.13"]
COLLECTED = "the last reference is a cycle's, which the collector finds"


class World(Protocol):
    """Where capsules with the destructor live: the model, or this interpreter."""

    profile: Profile

    def perform(self, step: Step) -> None:
        """Perform a step; raise ``Wrong`` where the destructor breaks a rule."""
        ...

    def end(self) -> None:
        """End the program: everything that capsules owned must be given back."""
        ...


@dataclass
class Held:
    """A capsule of the program, and how many references the program has."""

    token: str
    count: int = 1


class DestructorMachine(RuleBasedStateMachine):
    """Capsules of one destructor by chance; whatever that does wrong fails with what was done, as a vector.

    ``collects`` says whether a step may leave a capsule to the collector, ``pends`` whether one may die while an
    exception is pending, ``names`` and ``contexts`` what a capsule's name and context may be changed to.
    """

    open: ClassVar[Callable[[], World]]
    functions: ClassVar[Mapping[str, Any]]
    names: ClassVar[tuple[str | None, ...]]
    contexts: ClassVar[tuple[Any, ...]]
    resource: ClassVar[str | None]
    pends: ClassVar[bool]
    collects: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Held] = []
        self.steps: list[Step] = []
        self.made = 0
        self.broken = False

    @initialize()
    def begin(self) -> None:
        """Open the world."""
        self.world: World = type(self).open()

    @precondition(lambda self: len(self.held) < MOST)
    @rule(name=st.integers(0, 9))
    def make(self, name: int) -> None:
        """Make a capsule with the destructor, and what it is to give back."""
        self._make(name, "mine")

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), name=st.integers(0, 9))
    def rename(self, which: int, name: int) -> None:
        """Give a capsule another name, or the same text at another address."""
        self._do("PyCapsule_SetName", capsule=self._one(which), name=self._name(name))

    @precondition(lambda self: self.held and self.contexts)
    @rule(which=st.integers(0, 99), context=st.integers(0, 9))
    def set_context(self, which: int, context: int) -> None:
        """Give a capsule another context."""
        self._do("PyCapsule_SetContext", capsule=self._one(which), context=self.contexts[context % len(self.contexts)])

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99))
    def take(self, which: int) -> None:
        """Take a reference more."""
        self._do("Py_INCREF", op=self._one(which))
        self.held[which % len(self.held)].count += 1

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), pending=st.integers(0, len(EXCEPTIONS)))
    def drop(self, which: int, pending: int) -> None:
        """Give a reference back, with an exception on its way to somebody or without one."""
        self._drop(self.held[which % len(self.held)], pending)

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), pending=st.integers(0, len(EXCEPTIONS)))
    def drop_nested(self, which: int, pending: int) -> None:
        """Have a capsule die inside the destructor of another one, which holds the last reference to it."""
        inner = self.held.pop(which % len(self.held))
        while inner.count > 1:
            self._drop(inner, 0)
        self._make(0, "outer")
        outer = self.held[-1]
        self._do("PyCapsule_SetContext", capsule={"ref": outer.token}, context={"ref": inner.token})
        self._drop(outer, pending)

    @precondition(lambda self: self.held and self.collects)
    @rule(which=st.integers(0, 99))
    def collect(self, which: int) -> None:
        """Leave the last reference to a cycle, and have the collector find it."""
        held = self.held.pop(which % len(self.held))
        while held.count > 1:
            self._drop(held, 0)
        capsule = {"ref": held.token}
        if self.resource == "real":
            self._perform({"op": "Py_DECREF", "args": {"op": capsule}, "note": COLLECTED})
            return
        self._do("Py_INCREF", op=capsule)
        functions = {"traverse_func": {"function": "t_self"}, "clear_func": {"function": "c_self"}}
        self._do("_PyCapsule_SetTraverse", op=capsule, **functions)
        self._do("Py_DECREF", op=capsule)
        self._do("gc.collect")

    def teardown(self) -> None:
        """Let all capsules die, and see that everything was given back."""
        if self.broken or not hasattr(self, "world"):
            return
        while self.held:
            self._drop(self.held[-1], 0)
        self._guarded(self.world.end)

    @classmethod
    def replay(cls, program: Mapping[str, Any]) -> None:
        """Perform the steps of a program, or of a vector, again; raises as the machine does."""
        again = cls()
        again.world = cls.open()
        for step in program["steps"]:
            again._perform({key: value for key, value in step.items() if key != "expect"})
        again._guarded(again.world.end)

    @classmethod
    def again(cls, program: Mapping[str, Any]) -> RuleBroken | None:
        """Perform a program again and return how it fails."""
        try:
            cls.replay(program)
        except RuleBroken as found:
            return found
        except BadVector:
            # It uses what only the longer program had.
            return None
        return None

    def _make(self, name: int, destructor: str) -> None:
        self.made += 1
        token = f"c{self.made}"
        args = {"pointer": {"ptr": "p1"}, "name": self._name(name), "destructor": {"function": destructor}}
        self._perform({"op": "PyCapsule_New", "args": args, "bind": token})
        self.held.append(Held(token))
        if destructor == "mine" and self.resource == "malloc":
            self._perform({"op": "malloc", "args": {"size": 16}, "bind": f"m{self.made}"})
            self._do("PyCapsule_SetContext", capsule={"ref": token}, context={"ref": f"m{self.made}"})

    def _drop(self, held: Held, pending: int) -> None:
        step: Step = {"op": "Py_DECREF", "args": {"op": {"ref": held.token}}}
        if pending and self.pends and held.count == 1:
            step["pending"] = {"type": EXCEPTIONS[pending - 1], "text": "pending"}
        held.count -= 1
        if not held.count and held in self.held:
            self.held.remove(held)
        self._perform(step)

    def _one(self, which: int) -> Step:
        return {"ref": self.held[which % len(self.held)].token}

    def _name(self, number: int) -> Any:
        name = self.names[number % len(self.names)]
        return None if name is None else {"cstr": name}

    def _do(self, name: str, /, **args: Any) -> None:
        self._perform({"op": name, "args": args})

    def _perform(self, step: Step) -> None:
        self.steps.append(step)
        self._guarded(lambda: self.world.perform(step))

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Wrong as wrong:
            self.broken = True
            program = {"functions": dict(self.functions), "steps": list(self.steps)}
            profile, again = self.world.profile, type(self).again
            raise RuleBroken("the destructor", wrong.rule, wrong.seen, program, profile, again) from None


def destructor_machine(
    destructor: Destructor,
    profile: Profile | None = None,
    *,
    functions: Mapping[str, Any] | None = None,
    resource: str | None = None,
    make: Callable[[], tuple[int, int]] | None = None,
    live: Callable[[], int] | None = None,
    names: tuple[str | None, ...] = (*NAMES, None),
    contexts: tuple[Any, ...] | None = None,
    pends: bool | None = None,
) -> type[DestructorMachine]:
    """Return a state machine that makes capsules with a destructor and kills them in every state.

    ``destructor`` is a function of the vector language (then ``profile`` says what it runs under, ``functions`` are
    others that it names, and with ``resource="malloc"`` each capsule's context is a block that it must free), or a C
    function's address, a ctypes function or a Python function of the capsule's address. For a real one ``make`` gives
    the pointer and the context of a new capsule, and ``live`` how many things it made are not given back.

    ``names`` and ``contexts`` are what capsules are renamed to and what contexts are set to (default: none, where the
    destructor owns the context). ``pends`` says whether capsules die while an exception is pending (default: yes,
    but for functions of Python, for which ctypes loses it). Raises ``ValueError`` with one line where it cannot be.
    """
    space: dict[str, Any] = {"names": names, "__doc__": DestructorMachine.__doc__}
    if isinstance(destructor, Mapping):
        declared = on_model.declared(destructor, functions or {})
        held_to = profile or LATEST
        owned = resource is not None
        space |= {"functions": declared, "resource": resource, "pends": pends is not False}
        space["collects"] = "gc-capsule" in held_to.behaviours
        space["open"] = staticmethod(lambda: on_model.OnModel(declared, held_to))
        space["contexts"] = contexts if contexts is not None else () if owned else (None, {"ptr": "p2"})
    else:
        party = on_real.Party(destructor, make, live)
        space |= {"functions": on_model.declared({"kind": "destructor", "steps": []}, {}), "resource": "real"}
        space |= {"pends": party.compiled if pends is None else pends, "collects": True}
        space["open"] = staticmethod(lambda: on_real.OnReal(party))
        space["contexts"] = contexts if contexts is not None else ()
    return with_settings(type("DestructorHere", (DestructorMachine,), space))
