"""Programs that end in undefined behaviour, and what a process does that performs one; `--undefined` asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsule_model.conform.answers import Misbehaviour, Ran, Refused
from capsule_model.conform.held import adapter_process
from capsule_model.fuzz.programs import Choices, Programs, world
from capsule_model.fuzz.worlds import Step
from capsule_model.profiles import Profile
from capsule_model.trace.execute import BadVector, Machine
from capsule_model.undefined import Abort, NotModelled, UndefinedBehavior

__all__ = ["performed_alone", "undefined_program"]

# How long the defined part is at the most, and how many steps are tried for its end.
LENGTHS = (3, 6, 12, 24)
TRIES = 40
_ONE_ARGUMENT = {
    "PyCapsule_GetName": "capsule",
    "PyCapsule_GetContext": "capsule",
    "PyCapsule_GetDestructor": "capsule",
    "PyCapsule_CheckExact": "op",
    "Py_INCREF": "op",
    "Py_DECREF": "op",
    "Py_REFCNT": "ob",
    "PyObject_Repr": "o",
    "layout": "op",
}
_WITH_NAME = ("PyCapsule_IsValid", "PyCapsule_GetPointer", "PyCapsule_SetName")


def undefined_program(choices: Choices, profile: Profile) -> tuple[dict[str, Any], str] | None:
    """Return a program whose last step alone is undefined, and the kind that the model diagnoses.

    None where chance did not lead to one. Steps before the last one are defined.
    """
    shared = world(choices, profile)
    machine, programs = Machine(shared, profile), Programs(choices, profile)
    vector: dict[str, Any] = {**shared, "steps": []}
    length = choices.pick(LENGTHS)
    for _ in range(length + TRIES):
        defined = len(vector["steps"]) < length or bool(programs.waiting)
        step = programs.next_step(machine) if defined else _last(choices, machine)
        vector["steps"].append(step)
        try:
            machine.step(step, str(len(vector["steps"]) - 1))
        except UndefinedBehavior as diagnosis:
            return (vector, str(diagnosis.kind)) if not defined else None
        except (Abort, BadVector, NotModelled):
            return None
    return None


def performed_alone(command: str | None, vector: Mapping[str, Any], time_limit: float) -> str:
    """Perform a program in a process that does nothing else, and say in a few words how that ended."""
    adapter = adapter_process(command, time_limit)
    try:
        adapter.start()
        answer = adapter.run({"format": 1, "id": "fuzz.undefined", **vector})
    except Misbehaviour as wrong:
        return str(wrong).partition("; its standard error ends: ")[0][:80]
    finally:
        adapter.stop()
    match answer:
        case Ran():
            return "answered"
        case Refused():
            return "was refused by the adapter"
        case _:
            return "is not supported by the adapter"


def _last(choices: Choices, machine: Machine) -> Step:
    """Return a step that uses what may be dead, NULL, no object, or owned by nobody."""
    tokens = [token for token in machine.tokens.address if "#" not in token and "?" not in token]
    # Capsules that programs make are named so; most of those that a program named are dead by now.
    capsules = [token for token in tokens if token[0] in "cgh" and token[1:].isdigit()]
    if capsules and choices.often(0.7):
        tokens = capsules
    given: Any = {"ref": choices.pick(tokens)} if tokens and choices.often(0.8) else None
    if given is not None and choices.often(0.1):
        given = {**given, "offset": choices.pick((1, 8))}
    name: Any = {"ref": choices.pick(tokens)} if tokens and choices.often(0.5) else {"cstr": "mod.attr"}
    match choices.pick(("one", "one", "one", "name", "name", "free", "read", "write")):
        case "name":
            return {"op": choices.pick(_WITH_NAME), "args": {"capsule": given, "name": name}}
        case "free":
            return {"op": "free", "args": {"ptr": given}}
        case "read":
            return {"op": "read", "args": {"ptr": name, "size": choices.pick((1, 64))}}
        case "write":
            return {"op": "write", "args": {"ptr": name, "bytes": {"hex": "00" * choices.pick((1, 64))}}}
        case _:
            op = choices.pick(tuple(_ONE_ARGUMENT))
            return {"op": op, "args": {_ONE_ARGUMENT[op]: given}}
