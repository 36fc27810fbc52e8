"""The parts that pairs of vectors are put together from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from capsule_model.undefined import Kind

__all__ = [
    "ARG",
    "FIRST",
    "Pair",
    "Program",
    "call",
    "cstr",
    "decref",
    "destructor",
    "free",
    "function",
    "hexed",
    "malloc",
    "module_with",
    "new",
    "obj",
    "ptr",
    "read",
    "ref",
    "string",
    "write",
]

Step = dict[str, Any]
Argument = Mapping[str, Any] | None

# The argument of the function that runs.
ARG: Argument = {"arg": 0}
# What most capsules here are called.
FIRST: Argument = {"cstr": "a"}


@dataclass(frozen=True, slots=True)
class Program:
    """What a vector does: one sentence about it, its steps, its functions and modules, and when it applies."""

    title: str
    steps: Sequence[Step]
    functions: Mapping[str, Any] = field(default_factory=dict)
    modules: Mapping[str, Any] = field(default_factory=dict)
    requires: Sequence[str] = ()

    def but(self, title: str, **changed: Any) -> Program:
        """Return the program with another title, and other parts where they are given."""
        return replace(self, title=title, **changed)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two programs that differ as little as can be: `undefined` ends in behaviour of the kind, about the token `of`.

    Of the kind `leak`, where a program ends as any other, `of` is what it leaves behind.
    """

    kind: Kind
    what: str
    undefined: Program
    defined: Program
    of: str | None = None


def ref(name: str, offset: int = 0) -> Argument:
    """Return the address that is bound to a name, or one some bytes behind it."""
    return {"ref": name, "offset": offset} if offset else {"ref": name}


def cstr(text: str) -> Argument:
    """Return a literal."""
    return {"cstr": text}


def hexed(raw: bytes) -> Argument:
    """Return bytes as an argument."""
    return {"hex": raw.hex()}


def ptr(name: str = "p") -> Argument:
    """Return an opaque address."""
    return {"ptr": name}


def obj(kind: str) -> Argument:
    """Return an object that is no capsule."""
    return {"object": kind}


def function(name: str) -> Argument:
    """Return the address of a function of the vector."""
    return {"function": name}


def call(op: str, /, bind: str | None = None, more: Mapping[str, Any] | None = None, **args: Any) -> Step:
    """Return a step; `more` are other keys of it."""
    step: Step = {"op": op}
    if args:
        step["args"] = args
    if bind is not None:
        step["bind"] = bind
    return step | dict(more or {})


def new(
    bind: str = "c",
    name: Argument = FIRST,
    end: Argument = None,
    pointer: Argument = {"ptr": "p"},  # noqa: B006
) -> Step:
    """Return the step that makes a capsule with a destructor."""
    return call("PyCapsule_New", bind, pointer=pointer, name=name, destructor=end)


def decref(name: str = "c") -> Step:
    """Return the step that gives a reference back."""
    return call("Py_DECREF", op=ref(name))


def malloc(bind: str, size: int) -> Step:
    """Return the step that allocates a block."""
    return call("malloc", bind, size=size)


def string(bind: str, text: str) -> Step:
    """Return the step that makes a string which can be freed."""
    return call("string", bind, bytes=cstr(text))


def free(address: Argument) -> Step:
    """Return the step that frees a block."""
    return call("free", ptr=address)


def read(address: Argument, size: int) -> Step:
    """Return the step that reads bytes."""
    return call("read", ptr=address, size=size)


def write(address: Argument, raw: bytes) -> Step:
    """Return the step that writes bytes."""
    return call("write", ptr=address, bytes=hexed(raw))


def destructor(*steps: Step) -> dict[str, Any]:
    """Return a destructor that performs steps."""
    return {"kind": "destructor", "steps": list(steps)}


def module_with(name: Argument, **more: Any) -> dict[str, Any]:
    """Return the modules of a vector: one, `box`, with the capsule `box.a`, which is bound as `c`."""
    capsule = {"pointer": ptr(), "name": name}
    return {"box": {"loaded": True, "attrs": {"a": {"capsule": capsule, "bind": "c"}}, **more}}
