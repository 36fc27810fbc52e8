"""A way to break an invariant, as a vector and as lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from capsule_model.explore.alphabet import Operation
from capsule_model.explore.expand import check, ends
from capsule_model.explore.invariants import INVARIANTS
from capsule_model.explore.scripts import function_of
from capsule_model.explore.search import Found
from capsule_model.explore.states import State
from capsule_model.explore.step import Step
from capsule_model.explore.world import World
from capsule_model.memory import NULL

__all__ = ["Counterexample", "Program", "counterexample", "retrace"]

MAX_CALLS = 64
# What a build must have for a vector of threads to mean what it means here.
OF_THREADS = {"biased-reference-counts", "last-reference-waits-for-owner"}


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A program that breaks an invariant with its last step: the vector, a line for each step, and what is seen."""

    invariant: str
    seen: str
    lines: tuple[str, ...]
    vector: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return it as the report has it."""
        return {
            "invariant": self.invariant,
            "length": len(self.lines),
            "seen": self.seen,
            "lines": list(self.lines),
            "vector": self.vector,
        }


class Program:
    """The steps of a vector that lead somewhere, written one by one, with a token for each capsule."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state = world.initial()
        self.steps: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.capsules: list[str] = []
        self.made = 0
        self.scripts: dict[str, None] = {}

    def try_each(self) -> Iterator[tuple[Operation, Step]]:
        """Yield each operation, and its step from where the program stands; a step is good until the next one."""
        world = self.world
        world.labels[: len(self.capsules)] = self.capsules
        for operation in world.operations(self.state):
            world.restore(self.state)
            yield operation, world.perform(operation)

    def add(self, operation: Operation, step: Step) -> None:
        """Write the operation that a step made, and go on where it led to."""
        self.write(operation)
        if step.operation is None or step.stopped is not None:
            return
        alive = [slot for slot, words in enumerate(step.after) if words is not None]
        self.capsules = [self.capsules[slot] for slot in alive]
        self.state = self.world.outcome(step)

    def write(self, operation: Operation) -> None:
        """Write an operation as a step and as a line; the capsule that it makes gets the next token."""
        pairs = zip(operation.parameters, operation.args, strict=True)
        args = {name: self._argument(value) for name, value in pairs}
        step: dict[str, Any] = {"op": operation.op, "args": args}
        line = f"{operation.op}({', '.join(_worded(value) for value in args.values())})"
        if operation.op == "PyCapsule_New" and not operation.refused:
            self.made += 1
            token = step["bind"] = f"c{self.made}"
            self.capsules.append(token)
            line = f"{token} = {line}"
        step["leave"] = True
        if thread := self.world.threads[operation.thread]:
            step["thread"] = thread
            line = f"{thread}: {line}"
        self.steps.append(step)
        self.lines.append(line)

    def functions(self) -> dict[str, Any]:
        """Return the functions of the vector: the scripts that it names."""
        return {script: function_of(script, MAX_CALLS) for script in sorted(self.scripts)}

    def _argument(self, value: Any) -> Any:
        """Return an argument of a call as a vector has it."""
        if isinstance(value, str):
            return {"cstr": value}
        if value == NULL:
            return None
        if value in self.world.slots:
            return {"ref": self.capsules[self.world.slots.index(value)]}
        kind, token = self.world.tokens[value]
        if kind == "function":
            self.scripts[token] = None
        return {kind: token}


def retrace(program: Program, way: Sequence[State]) -> None:
    """Write a program that goes through states, of which the first is where the program stands.

    Each step is the first operation that leads on; there is one, as states are equal up to the names of things.
    """
    world = program.world
    for state in way[1:]:
        for operation, step in program.try_each():
            if not check(step) and not ends(step) and world.successor(step) == state:
                program.add(operation, step)
                break
        else:
            raise AssertionError(f"no operation leads to {state}")


def counterexample(world: World, found: Found) -> Counterexample:
    """Return the program that breaks an invariant on the way that was found."""
    program = Program(world)
    retrace(program, found.states)
    seen = found.seen
    for operation, step in program.try_each():
        broken = dict(check(step))
        if found.invariant in broken:
            seen = broken[found.invariant]
            program.write(operation)
            break
    invariant = next(one for one in INVARIANTS if one.id == found.invariant)
    vector: dict[str, Any] = {
        "format": 1,
        "id": f"explore.{invariant.id}",
        "title": invariant.sentence,
        "rules": list(invariant.rules),
    }
    if world.bound.threads:
        vector["requires"] = sorted(OF_THREADS & world.py.behaviours)
    vector |= {"functions": program.functions(), "steps": program.steps}
    return Counterexample(invariant.id, seen, tuple(program.lines), vector)


def _worded(value: Any) -> str:
    """Return an argument of a vector as C would have it."""
    if value is None:
        return "NULL"
    (kind, token), *_ = value.items()
    return f'"{token}"' if kind == "cstr" else str(token)
