"""Name the states that steps are made in, so that what is reached least can be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsule_model.memory import NULL
from capsule_model.objects import Capsule
from capsule_model.trace.execute import Machine

__all__ = ["outcome_of", "situation_of", "state_key", "words_of"]

# Which argument of an operation is the capsule.
_CAPSULES = ("capsule", "op", "o", "ob", "obj", "x")
_MANY = 3


def situation_of(machine: Machine, step: Mapping[str, Any]) -> str:
    """Return what a step meets: its capsule's shape in words, and whether an exception is pending."""
    args = step.get("args", {})
    given = next((args[key] for key in _CAPSULES if key in args), None)
    words = [_shape(machine, given)] if given is not None else ["NULL" if "capsule" in args else "no capsule"]
    if step["op"] in ("PyCapsule_GetPointer", "PyCapsule_IsValid", "PyCapsule_SetName", "PyCapsule_New"):
        words.append(_name_given(args.get("name")))
    if "pending" in step or machine.py.error is not None:
        words.append("pending")
    return ", ".join(words)


def outcome_of(observation: Mapping[str, Any]) -> str:
    """Return how a step ended: its exception's type, or the kind of its return, and whether it called functions."""
    error, events = observation["error"], observation["events"]
    told = error["type"] if error is not None else _returned(observation.get("return"))
    if observation["indicator"] in ("unchanged", "replaced", "cleared"):
        told += f", indicator {observation['indicator']}"
    calls = sum("call" in event for event in events)
    told += "" if not calls else ", a call" if calls == 1 else ", calls"
    return told + ", unraisable" if len(events) > calls else told


def state_key(op: str, situation: str, outcome: str) -> str:
    """Return the name of a state: the operation, what it met, and how it ended."""
    return f"{op} ({situation}): {outcome}"


def words_of(machine: Machine, argument: Any) -> set[str]:
    """Return what an argument is in the machine's present state, in the words of fuzz-expectations.md."""
    if argument is None:
        return {"NULL"}
    if not isinstance(argument, Mapping):
        return {"number"}
    if "cstr" in argument or "hex" in argument:
        raw = argument["cstr"].encode("utf-8", "surrogateescape") if "cstr" in argument else None
        return _words_of_text(bytes.fromhex(argument["hex"]) if raw is None else raw)
    if "ref" not in argument:
        form: str = next(iter(argument))
        return {{"ptr": "pointer", "function": "function"}.get(form, "no capsule")}
    address = machine.tokens.address.get(argument["ref"], NULL)
    struct = machine.py.objects.get(address)
    if not isinstance(struct, Capsule):
        return _words_of_text(machine.py.memory.peek_string(address)) if struct is None else {"no capsule"}
    words = {"capsule"}
    if struct.destructor != NULL:
        words.add("with destructor")
    if struct.pointer == NULL:
        words.add("without pointer")
    if struct.name == NULL:
        words.add("without name")
    elif "not UTF-8" in _words_of_text(machine.py.memory.peek_string(struct.name)):
        words.add("named not UTF-8")
    return words


def _words_of_text(raw: bytes | None) -> set[str]:
    try:
        return {"text"} if raw is None or raw.decode() is not None else set()
    except UnicodeDecodeError:
        return {"text", "not UTF-8"}


def _shape(machine: Machine, given: Any) -> str:
    if not isinstance(given, Mapping) or "ref" not in given:
        return "not a capsule" if isinstance(given, Mapping) else "a number"
    struct = machine.py.objects.get(machine.tokens.address.get(given["ref"], NULL))
    if not isinstance(struct, Capsule):
        return "no capsule any more"
    words = ["unnamed" if struct.name == NULL else "named"]
    if struct.pointer == NULL:
        words.append("no pointer")
    if struct.context != NULL:
        words.append("context")
    if struct.destructor != NULL:
        words.append("destructor")
    words.append("1 reference" if struct.ob_refcnt == 1 else "references")
    return " ".join(words)


def _name_given(name: Any) -> str:
    if name is None:
        return "name NULL"
    if name.get("cstr") == "":
        return "name empty"
    return "name bound" if "ref" in name else "name in bytes" if "hex" in name else "name new"


def _returned(value: Any) -> str:
    if isinstance(value, int):
        return str(value) if -2 <= value <= _MANY else "a number"
    return "NULL" if value is None else "a value"
