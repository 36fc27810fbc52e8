"""Make the part of a program that is not steps: functions with scripts, and modules; and decide by chance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from capsule_model.profiles import Profile

__all__ = ["EXCEPTIONS", "READERS", "Choices", "Seeded", "Step", "world"]

T = TypeVar("T")
Step = dict[str, Any]

EXCEPTIONS = ("KeyError", "ValueError", "MemoryError", "AttributeError", "ImportError", "KeyboardInterrupt")
READERS = ("PyCapsule_GetName", "PyCapsule_GetDestructor", "PyCapsule_GetContext")


class Choices(Protocol):
    """Decide by chance: which of several, and yes or no at a rate."""

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""

    def often(self, rate: float) -> bool:
        """Return true at about this rate."""


class Seeded:
    """Choices of a random generator with a seed."""

    def __init__(self, seed: int | str) -> None:
        self.random = random.Random(seed)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[int(self.random.random() * len(options))]

    def often(self, rate: float) -> bool:
        """Return true at this rate."""
        return self.random.random() < rate


def _capsule(
    pointer: str, name: str | None, destructor: str | None = None, context: str | None = None
) -> dict[str, Any]:
    return {
        "capsule": {
            "pointer": {"ptr": pointer},
            "name": None if name is None else {"cstr": name},
            "destructor": None if destructor is None else {"function": destructor},
            "context": None if context is None else {"ptr": context},
        }
    }


def world(choices: Choices, profile: Profile) -> dict[str, Any]:
    """Return the part of a vector that is not steps: functions with scripts made by chance, and modules.

    Where a build dies of a destructor that changes the error indicator, none does.
    """
    quiet = bool(profile.behaviours & {"dealloc-checks-error", "dealloc-checks-error-type"})
    looks = "gc-capsule" in profile.behaviours
    functions: dict[str, Any] = {f"d{number}": _destructor(choices, quiet, looks) for number in range(1, 5)}
    functions["d_no_memory"] = _destructor(choices, quiet, looks) if quiet else {"native": "PyErr_NoMemory"}
    functions["d_clear"] = _destructor(choices, quiet, looks) if quiet else {"native": "PyErr_Clear"}
    functions["d_context"] = {"native": "PyCapsule_GetContext"}
    functions["d_drops"] = {
        "kind": "destructor",
        "max_calls": 64,
        "steps": [
            {"op": "PyCapsule_GetContext", "args": {"capsule": {"arg": 0}}, "bind": "held"},
            {"op": "Py_DecRef", "args": {"o": {"ref": "held"}}},
        ],
    }
    functions["d_looks"] = {
        "kind": "destructor",
        "max_calls": 64,
        "steps": [{"op": "PyCapsule_GetName", "args": {"capsule": {"arg": 0}}}],
    }
    functions |= _for_the_collector(quiet)
    modules: dict[str, Any] = {
        "cm_fuzz": {
            "loaded": choices.often(0.5),
            "attrs": {
                "cap": _capsule("p1", "cm_fuzz.cap", choices.pick(("d1", None))),
                "other": _capsule("p2", "cm_fuzz.cap"),
                "unnamed": _capsule("p2", None),
                "number": {"object": "int"},
                "short": _capsule("p2", "short"),
                "holder": {"class": {"attrs": {"cap": _capsule("p3", "cm_fuzz.holder.cap", None, "p1")}}},
                "thing": {
                    "instance": {
                        "attrs": {"cap": _capsule("p3", "cm_fuzz.thing.cap")},
                        "class_attrs": {"shared": _capsule("p1", "cm_fuzz.thing.shared")},
                        "raises": {"bad": {"type": "ZeroDivisionError", "text": "bad"}},
                    }
                },
            },
            "getattr": {
                "lazy": _capsule("p1", "cm_fuzz.lazy", choices.pick(("d2", "d3", None))),
                "lazy_other": _capsule("p1", "cm_fuzz.lazy", choices.pick(("d2", None))),
            },
        },
        "cm_fuzz.sub": {"attrs": {"cap": _capsule("p2", "cm_fuzz.sub.cap")}},
        "cm_gone": None,
        "cm_raises": {"raises": {"type": choices.pick(EXCEPTIONS), "text": "body"}},
        "cm_capsule": {"entry": _capsule("p1", choices.pick(("cm_capsule", "cm_capsule.x", None)))},
    }
    return {"functions": functions, "modules": modules}


def _for_the_collector(quiet: bool) -> dict[str, Any]:
    """Return traverse and clear functions: of a capsule that holds itself, of two that hold each other, of neither."""
    dropped: dict[str, Step] = {
        token: {"op": "Py_DECREF", "args": {"op": {"ref": token}}} for token in ("left", "right")
    }
    itself: Step = {"op": "Py_DECREF", "args": {"op": {"arg": 0}}}
    message = {"type": {"cstr": "ValueError"}, "message": {"cstr": "set by a clear function"}}
    fails: Step = {"op": "PyErr_SetString", "args": message, "leave": True}
    return {
        "t_self": {"kind": "traverse", "visit": [{"arg": 0}]},
        "t_left": {"kind": "traverse", "visit": [{"ref": "right"}]},
        "t_right": {"kind": "traverse", "visit": [{"ref": "left"}]},
        "t_none": {"kind": "traverse", "visit": []},
        "c_self": {"kind": "clear", "max_calls": 64, "steps": [itself]},
        "c_fails": {"kind": "clear", "max_calls": 64, "steps": [itself] if quiet else [itself, fails]},
        "c_left": {"kind": "clear", "max_calls": 64, "steps": [dropped["right"]]},
        "d_right": {"kind": "destructor", "max_calls": 64, "steps": [dropped["left"]]},
        "c_none": {"kind": "clear", "max_calls": 64, "steps": []},
    }


def _destructor(choices: Choices, quiet: bool, tracked: bool) -> dict[str, Any]:
    """Return a destructor that looks at its capsule, changes it, and may leave an error unless it is to be quiet.

    Where capsules can be ``tracked``, it may ask whether its own one is.
    """
    steps: list[Step] = []
    dying = {"capsule": {"arg": 0}}
    for _ in range(choices.pick((0, 1, 2, 3))):
        op = choices.pick(
            (
                *READERS,
                "PyCapsule_IsValid",
                "PyCapsule_GetPointer",
                "PyCapsule_SetName",
                "PyCapsule_SetPointer",
                "PyCapsule_SetContext",
                "PyCapsule_SetDestructor",
                "Py_REFCNT",
                "PyErr_Clear",
                "PyErr_SetString",
                *(["gc.is_tracked"] if tracked else []),
            )
        )
        args: dict[str, Any] = dict(dying)
        if op in ("PyCapsule_IsValid", "PyCapsule_GetPointer", "PyCapsule_SetName"):
            args["name"] = choices.pick((None, {"cstr": "mod.attr"}, {"cstr": "cm_fuzz.lazy"}))
        elif op == "PyCapsule_SetPointer":
            args["pointer"] = choices.pick((None, {"ptr": "p3"}))
        elif op == "PyCapsule_SetContext":
            args["context"] = choices.pick((None, {"ptr": "p3"}))
        elif op == "PyCapsule_SetDestructor":
            args["destructor"] = choices.pick((None, {"function": "d1"}))
        elif op == "Py_REFCNT":
            args = {"ob": {"arg": 0}}
        elif op == "gc.is_tracked":
            args = {"obj": {"arg": 0}}
        elif op == "PyErr_Clear":
            args = {}
        elif op == "PyErr_SetString":
            args = {"type": {"cstr": choices.pick(EXCEPTIONS)}, "message": {"cstr": "set by a destructor"}}
        step: Step = {"op": op, "args": args}
        if choices.often(0.4) and not quiet:
            step["leave"] = True
        steps.append(step)
        getter = op.replace("_Set", "_Get")
        if getter in READERS and getter != op and choices.often(0.5):
            steps.append({"op": getter, "args": dict(dying)})
    return {"kind": "destructor", "max_calls": 64, "steps": steps}
