"""Implementations for tests: the model itself behind a session, right or with one fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from capsule_model.conform.answers import Misbehaviour
from capsule_model.fuzz.lockstep import Divergence, Lockstep, Session
from capsule_model.fuzz.programs import Programs, Seeded, world
from capsule_model.fuzz.shrink import replay
from capsule_model.profiles import PROFILES, Profile
from capsule_model.trace.execute import Machine

PROFILE = PROFILES["cpython-3.13"]
Vector = dict[str, Any]
Open = Callable[[Vector], Session]
# (what was seen, the step, the machine) -> what is told of it; a Misbehaviour raised is the end of the process.
Fault = Callable[[dict[str, Any], Mapping[str, Any], Machine], dict[str, Any]]


class Modelled:
    """A session on the model, with a fault in what it tells."""

    def __init__(self, shared: Vector, profile: Profile = PROFILE, fault: Fault = lambda seen, step, machine: seen):
        self.machine = Machine(shared, profile)
        self.fault = fault
        self.ended = False

    def step(self, step: dict[str, Any], path: str) -> dict[str, Any]:
        """Perform the step and tell of it."""
        return self.fault(self.machine.step(step, path), step, self.machine)

    def close(self) -> list[str]:
        """Say what is still owned, the first time."""
        leaks = [] if self.ended else self.machine.leaks()
        self.ended = True
        return leaks


def right(shared: Vector) -> Session:
    """Open a right implementation."""
    return Modelled(shared)


@cache
def differing_in(behaviour: str) -> Open:
    """Return what opens an implementation that differs in one behaviour of the profile."""
    return lambda shared: Modelled(shared, PROFILE.flipped(behaviour))


def with_fault(fault: Fault) -> Open:
    """Return what opens an implementation with a fault."""
    return lambda shared: Modelled(shared, PROFILE, fault)


def dies_of_contexts(seen: dict[str, Any], step: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    """Crash where a context is stored in a capsule that has a destructor."""
    if step["op"] == "PyCapsule_SetContext" and seen["return"] == 0 and step["args"]["context"] is not None:
        capsule = machine.py.objects[machine.value(step["args"]["capsule"], "-")]
        if capsule.destructor:
            raise Misbehaviour("crashed", "died of SIGSEGV; its standard error ends: nothing", 11)
    return seen


def forgets_inner_results(seen: dict[str, Any], step: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    """Tell that every setter inside a destructor fails."""
    for event in seen["events"]:
        if "steps" in event:
            event["steps"] = [
                {**inner, "return": -1} if inner.get("return") == 0 and inner["error"] is None else inner
                for inner in event["steps"]
            ]
    return seen


def adds_a_leak(shared: Vector) -> Session:
    """Open an implementation that says of each program that a capsule stays."""
    session = Modelled(shared)
    session.close = lambda: [next(iter(session.machine.tokens.of_address.values()))]  # type: ignore[method-assign]
    return session


@cache
def first_difference(opened: Open, profile: Profile = PROFILE, steps: int = 150, programs: int = 200) -> Vector:
    """Return the first program by chance, from a fixed seed, that shows a difference, in full."""
    for seed in range(programs):
        choices = Seeded(seed)
        shared = world(choices, profile)
        written = Programs(choices, profile)
        model = Lockstep(shared, profile, Modelled(shared, profile))
        while len(model.steps) < steps or written.waiting:
            assert model.step(written.next_step(model.machine)) is None
        vector = {**shared, "steps": model.steps}
        if replay(vector, profile, opened) is not None:
            return vector
    raise AssertionError("no program shows a difference")


def fails_on(opened: Open, profile: Profile = PROFILE) -> Callable[[Vector], Divergence | None]:
    """Return what runs a vector in lockstep."""
    return lambda vector: replay(vector, profile, opened)
