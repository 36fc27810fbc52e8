"""Hold every transition of an exploration against the interpreter that runs it, a shortest way to each state."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

from capsule_model.explore.alphabet import NONE, Operation
from capsule_model.explore.counterexample import MAX_CALLS, Program
from capsule_model.explore.expand import check, ends, world_of
from capsule_model.explore.scripts import function_of
from capsule_model.explore.search import Explored
from capsule_model.explore.states import State
from capsule_model.explore.step import Step
from capsule_model.explore.world import World
from capsule_model.fuzz.lockstep import Divergence, Lockstep, Session
from capsule_model.memory import NULL

__all__ = ["Held", "Open", "hold"]

Open = Callable[[dict[str, Any]], Session]


@dataclass(slots=True)
class Held:
    """What was held against an interpreter: ways to states, transitions from them, and the first that differs.

    ``left_out`` are transitions that an interpreter need not make alike: it may put a new capsule where one died, and
    who asks for the address of the dead one cannot tell.
    """

    states: int = 0
    transitions: int = 0
    left_out: int = 0
    steps: int = 0
    divergence: Divergence | None = None

    def as_json(self, profile: str) -> dict[str, Any]:
        """Return it as the report has it."""
        found = self.divergence
        return {
            "profile": profile,
            "states": self.states,
            "transitions": self.transitions,
            "left_out": self.left_out,
            "steps": self.steps,
            "divergences": [] if found is None else [found.vector],
        }


def hold(explored: Explored, open_session: Open) -> Held:
    """Perform every defined transition of an exploration on an implementation, and stop where it differs.

    A state is reached by the steps of a shortest way. From there, calls that change no capsule, and setters, which are
    undone by another, follow one another; each other transition begins anew.
    """
    world = world_of(explored.bound)
    shared = {"functions": {script: function_of(script, MAX_CALLS) for script in explored.bound.destructors}}
    programs = {world.initial(): Program(world)}
    children: dict[State, list[State]] = {}
    for state, before in explored.came.items():
        if before is not None:
            children.setdefault(before, []).append(state)
    held = Held()
    depths = {world.initial(): 0}
    for state in explored.came:
        program, depth = programs.pop(state), depths.pop(state)
        if depth == explored.levels[-1].depth:
            continue
        wanted = set(children.get(state, ()))
        run = _Run(held, world, program, shared, open_session)
        try:
            for operation, step in program.try_each():
                if check(step) or ends(step):
                    continue
                successor = world.successor(step)
                if successor in wanted:
                    wanted.remove(successor)
                    programs[successor] = _further(program, operation, step)
                    depths[successor] = depth + 1
                if operation.op == "PyCapsule_GetContext" and step.result and not _has_token(world, step.result):
                    held.left_out += 1
                    continue
                run.take(operation, step)
                if held.divergence is not None:
                    return held
        finally:
            run.end()
        held.states += 1
    return held


def _further(program: Program, operation: Operation, step: Step) -> Program:
    """Return a copy of a program that goes on by a step."""
    further = copy(program)
    further.steps, further.lines = list(program.steps), list(program.lines)
    further.capsules, further.scripts = list(program.capsules), dict(program.scripts)
    further.add(operation, step)
    return further


class _Run:
    """The transitions from one state, on an implementation."""

    def __init__(self, held: Held, world: World, program: Program, shared: dict[str, Any], open_session: Open) -> None:
        self.held = held
        self.world = world
        self.program = program
        self.shared = shared
        self.open = open_session
        self.lockstep: Lockstep | None = None

    def take(self, operation: Operation, step: Step) -> None:
        """Perform a transition, and what undoes it or leads back."""
        after = copy(self.program)
        after.steps, after.lines, after.capsules, after.scripts = [], [], list(self.program.capsules), {}
        after.write(operation)
        written = after.steps[0]
        self.held.transitions += 1
        if step.after == step.before:
            # Without ``leave`` the indicator is afterwards what it was before.
            self._perform({**written, "leave": False})
            return
        self._perform(written)
        undoing = _undoing(operation, step)
        if undoing is None:
            self.end()
            return
        after.write(undoing)
        self._perform(after.steps[1])

    def _perform(self, step: dict[str, Any]) -> None:
        if self.held.divergence is not None:
            return
        if self.lockstep is None:
            self.lockstep = Lockstep(self.shared, self.world.bound.described, self.open(self.shared))
            for before in self.program.steps:
                self._judge(self.lockstep.step(before))
        self._judge(self.lockstep.step(step))

    def _judge(self, found: Divergence | None) -> None:
        self.held.steps += 1
        self.held.divergence = self.held.divergence or found

    def end(self) -> None:
        """Give back what the program still has, and end it on both sides."""
        lockstep, self.lockstep = self.lockstep, None
        if lockstep is None:
            return
        try:
            if self.held.divergence is None:
                self._close(lockstep)
        finally:
            lockstep.session.close()

    def _close(self, lockstep: Lockstep) -> None:
        """Take every destructor out of what is alive, and give back every reference."""
        machine = lockstep.machine
        lockstep.step({"op": "PyErr_Clear", "args": {}, "leave": True})
        tokens = [machine.tokens.of_address[op] for op, count in machine.owned.items() if count > 0]
        for token in tokens:
            args = {"capsule": {"ref": token}, "destructor": None}
            self._judge(lockstep.step({"op": "PyCapsule_SetDestructor", "args": args}))
        for token in tokens:
            for _ in range(machine.owned[machine.tokens.address[token]]):
                self._judge(lockstep.step({"op": "Py_DECREF", "args": {"op": {"ref": token}}}))


def _undoing(operation: Operation, step: Step) -> Operation | None:
    """Return the operation that undoes what a step did to a capsule, None where none does."""
    before = step.before[operation.slot] if operation.slot != NONE else None
    if before is None or operation.word == NONE:
        return None
    value = before[operation.word]
    if value != NULL and not _has_token(step.world, value):
        return None
    return Operation(operation.op, operation.function, (operation.args[0], value), operation.parameters, operation.slot)


def _has_token(world: World, address: int) -> bool:
    """Tell whether a program can name an address; that of a dead capsule it cannot."""
    return address in world.tokens or address in world.slots
