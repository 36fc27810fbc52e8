"""Fuzz a declared destructor from a seed, without Hypothesis: the states are those of the destructor machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from capsule_model.fuzz.broken import RuleBroken, Wrong
from capsule_model.fuzz.on_model import OnModel, declared
from capsule_model.profiles import Profile, profile_named
from capsule_model.trace.execute import BadVector

__all__ = ["by_chance"]

_NAMES: tuple[Any, ...] = (*({"cstr": name} for name in ("mine", "min", "", "used_mine")), None)
_PENDING = ("KeyError", "MemoryError", "ValueError")
_MOST_CAPSULES = 4
_STEPS = 12

Step = dict[str, Any]


def by_chance(
    destructor: Mapping[str, Any],
    *,
    programs: int = 200,
    seed: int = 1,
    resource: str | None = None,
    profile: str = "cpython-3.13",
) -> RuleBroken | None:
    """Return the shortest program in which a declared destructor breaks a rule, None where none was found.

    Capsules with it are made, renamed, shared and ended, some while an exception is pending. With
    ``resource="malloc"`` the context of each is a block that the destructor has to free. The same seed makes the same
    programs.
    """
    # Those beside it are for states that are not made here.
    functions, held_to = {"mine": declared(destructor, {})["mine"]}, profile_named(profile)
    for number in range(programs):
        steps = list(_program(random.Random(f"{seed}.{number}"), resource))
        found = _performed({"functions": functions, "steps": steps}, held_to)
        if found is not None:
            shortest = found.shortest()
            shortest.how = f"by_chance with the seed {seed}"
            return shortest
    return None


def _performed(program: Mapping[str, Any], profile: Profile) -> RuleBroken | None:
    """Perform a program on the model, and return how the destructor breaks a rule."""
    world, done = OnModel(program["functions"], profile), []
    try:
        for step in program["steps"]:
            done.append(step)
            world.perform(step)
        world.end()
    except Wrong as wrong:
        shown = {**program, "steps": done}
        return RuleBroken(
            "the destructor", wrong.rule, wrong.seen, shown, profile, lambda tried: _performed(tried, profile)
        )
    except BadVector:
        # A shorter program that uses what only the longer one had.
        return None
    return None


def _program(chance: random.Random, resource: str | None) -> Iterator[Step]:
    """Write the steps of one program; at its end nothing is owned by it any more."""
    held: dict[str, int] = {}
    made = 0
    for _ in range(_STEPS):
        kind = chance.choice(("make", "rename", "take", "drop", "drop"))
        if kind == "make" and len(held) < _MOST_CAPSULES:
            made += 1
            held[f"c{made}"] = 1
            yield from _make(made, chance, resource)
        elif held:
            token = chance.choice(sorted(held))
            yield from _use(kind, token, held, chance)
    for token, count in held.items():
        for _ in range(count):
            yield _drop(token)


def _make(number: int, chance: random.Random, resource: str | None) -> Iterator[Step]:
    token, block = f"c{number}", f"m{number}"
    args = {"pointer": {"ptr": "p1"}, "name": chance.choice(_NAMES), "destructor": {"function": "mine"}}
    yield {"op": "PyCapsule_New", "args": args, "bind": token}
    if resource == "malloc":
        yield {"op": "malloc", "args": {"size": 16}, "bind": block}
        yield {"op": "PyCapsule_SetContext", "args": {"capsule": {"ref": token}, "context": {"ref": block}}}


def _use(kind: str, token: str, held: dict[str, int], chance: random.Random) -> Iterator[Step]:
    if kind == "rename":
        yield {"op": "PyCapsule_SetName", "args": {"capsule": {"ref": token}, "name": chance.choice(_NAMES)}}
    elif kind == "take":
        held[token] += 1
        yield {"op": "Py_INCREF", "args": {"op": {"ref": token}}}
    elif kind == "drop":
        held[token] -= 1
        step = _drop(token)
        if not held[token]:
            del held[token]
            if chance.random() < 0.5:
                step["pending"] = {"type": chance.choice(_PENDING), "text": "pending"}
        yield step


def _drop(token: str) -> Step:
    return {"op": "Py_DECREF", "args": {"op": {"ref": token}}}
