"""C functions that stand for those of an extension: their types, and a few that note when they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from capsule_model.memory import NULL
from capsule_model.objects import NONE
from capsule_model.undefined import Kind, diagnose

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter

__all__ = ["BINARY", "CLEANUP", "CLEANUP_WITH_DESC", "PLAIN", "TYPES", "WITH_DATA", "Library", "call", "none", "shared"]

CLEANUP = "void (*)(void *)"
CLEANUP_WITH_DESC = "void (*)(void *, void *)"
PLAIN = "void (*)(void)"
BINARY = "int (*)(int, int)"
WITH_DATA = "int (*)(int, void *)"
TYPES = (CLEANUP, CLEANUP_WITH_DESC, PLAIN, BINARY, WITH_DATA)


def call(py: Interpreter, function: int, type: str, *arguments: int) -> int:
    """Call a function through a pointer that C believes to be of a type; NULL is a null dereference.

    Returns what the function returns, 0 for nothing. Another address, or a function of another type, is undefined.
    """
    if function == NULL:
        raise diagnose(Kind.NULL_DEREFERENCE, f"{py.memory.now()} calls NULL as a {type}", [])
    return py.call(function, type, *arguments) or 0


def shared(py: Interpreter, body: Callable[[Interpreter, int], None]) -> int:
    """Return the address of a capsule destructor of a module: one of each kind a process, made when first asked for."""
    found: dict[str, int] = vars(py).setdefault("layer_functions", {})
    name = f"{body.__module__}.{body.__name__}"
    if name not in found:
        found[name] = py.function(lambda op: body(py, op), "destructor", body.__name__.strip("_"))
    return found[name]


def none(py: Interpreter) -> int:
    """Return the address of None in a process: in a real one it is another than in a simulated one."""
    return int(vars(py).get("none_address", NONE))


class Library:
    """The C functions that vectors name by a word; ``note`` is told of each call, with the words it was called with.

    ``add``, ``multiply`` and ``scale`` compute, ``cleanup`` and ``cleanup_with_desc`` do nothing, ``free`` frees,
    ``at_exit`` has no argument, and ``fails`` leaves an exception.
    """

    def __init__(self, py: Interpreter, note: Callable[..., None]) -> None:
        self.py = py
        self.note = note
        self.known: dict[str, tuple[str, Callable[..., int | None]]] = {
            "add": (BINARY, lambda a, b: a + b),
            "multiply": (BINARY, lambda a, b: a * b),
            "scale": (WITH_DATA, lambda a, data: a * py.memory.load(data, 4, True)),
            "cleanup": (CLEANUP, lambda pointer: None),
            "cleanup_with_desc": (CLEANUP_WITH_DESC, lambda pointer, desc: None),
            "free": (CLEANUP, lambda pointer: py.free(pointer)),
            "at_exit": (PLAIN, lambda: None),
            "fails": (CLEANUP, lambda pointer: py.PyErr_SetString("RuntimeError", "cleanup failed")),
        }
        self.addresses: dict[str, int] = {}

    def address(self, name: str) -> int:
        """Return the address of a function, the same each time; a word that is none is a ``ValueError``."""
        if name not in self.known:
            raise ValueError(f"no function {name[:40]!r}: expected one of {', '.join(self.known)}")
        if name not in self.addresses:
            type, body = self.known[name]

            def entered(*arguments: int) -> int | None:
                self.note(name, type, *arguments)
                return body(*arguments)

            self.addresses[name] = self.py.function(entered, type, name)
        return self.addresses[name]
