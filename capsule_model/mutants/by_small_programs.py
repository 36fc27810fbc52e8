"""Whether any small program tells a mutant from the model: all of a few steps over few names and few values."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from capsule_model.fuzz.lockstep import Lockstep
from capsule_model.mutants.session import Open
from capsule_model.profiles import Profile

__all__ = ["STEPS", "by_small_programs", "small_programs"]

Step = dict[str, Any]

# Behind the step that makes the capsule.
STEPS = 2
CAPSULE = {"ref": "c"}
# Two strings of one text, one that begins with it, the empty one, and none.
STRINGS = {"n": "a", "same": "a", "longer": "ab", "empty": ""}
NAMES: tuple[Any, ...] = (None, *({"ref": token} for token in STRINGS))
WORDS: tuple[Any, ...] = (None, {"ptr": "p"}, {"ptr": "q"})
DESTRUCTORS: tuple[Any, ...] = (None, {"function": "d"})
# Functions with the name of an argument besides the capsule, and its values.
FUNCTIONS: tuple[tuple[str, str | None, tuple[Any, ...]], ...] = (
    *((op, "name", NAMES) for op in ("IsValid", "GetPointer", "SetName")),
    *((op, None, (None,)) for op in ("GetName", "GetDestructor", "GetContext")),
    ("SetPointer", "pointer", WORDS),
    ("SetContext", "context", WORDS),
    ("SetDestructor", "destructor", DESTRUCTORS),
)
WORLD: dict[str, Any] = {
    "functions": {"d": {"kind": "destructor", "steps": [{"op": "PyCapsule_GetName", "args": {"capsule": {"arg": 0}}}]}}
}


def _step(op: str, /, **args: Any) -> Step:
    return {"op": op, "args": args}


def _steps() -> tuple[Step, ...]:
    """Return the steps that a program is made of: on the capsule with every value, on what is none with NULL."""
    return (
        *(
            _step(f"PyCapsule_{op}", capsule=capsule, **({} if name is None else {name: value}))
            for op, name, values in FUNCTIONS
            for capsule in (CAPSULE, None, {"object": "int"})
            for value in (values if capsule == CAPSULE else values[:1])
        ),
        *(_step("PyCapsule_CheckExact", op=one) for one in (CAPSULE, {"object": "int"})),
        _step("PyObject_Repr", o=CAPSULE),
        _step("Py_INCREF", op=CAPSULE),
        _step("Py_DECREF", op=CAPSULE),
    )


def small_programs(steps: int = STEPS) -> Iterator[list[Step]]:
    """Return every program that makes a capsule and then performs ``steps`` steps, all defined."""
    made = [
        {**_step("PyCapsule_New", pointer={"ptr": "p"}, name=name, destructor=destructor), "bind": "c"}
        for name, destructor in (*product(NAMES, DESTRUCTORS[1:]), (NAMES[1], None))
    ]
    strings = [{**_step("string", bytes={"cstr": text}), "bind": token} for token, text in STRINGS.items()]
    for new, *rest in product(made, *[_steps()] * steps):
        owned = 1
        program = [*strings, new]
        for step in rest:
            # Nothing is defined of a capsule that is gone.
            if owned == 0 and CAPSULE in step["args"].values():
                break
            owned += {"Py_INCREF": 1, "Py_DECREF": -1}.get(step["op"], 0)
            program.append(step)
        else:
            yield [*program, _step("layout", op=CAPSULE)] if owned else program


def by_small_programs(open: Open, profile: Profile, steps: int = STEPS) -> tuple[int, bool]:
    """Return how many small programs were run on a mutant next to the model, and whether one tells it."""
    count = 0
    for program in small_programs(steps):
        count += 1
        lockstep = Lockstep(WORLD, profile, open(WORLD))
        if any(lockstep.step(step) for step in program) or lockstep.close():
            return count, True
    return count, False
