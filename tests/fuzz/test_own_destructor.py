"""A destructor of one's own: what it must keep to, and that each fault is noticed."""

from __future__ import annotations

import ctypes
import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from capsule_model.fuzz import destructor_machine
from capsule_model.fuzz.broken import RuleBroken
from capsule_model.fuzz.machine import SETTINGS
from capsule_model.fuzz.own_destructor import DestructorMachine
from capsule_model.fuzz.real import api, is_supported
from capsule_model.profiles import PROFILES
from capsule_model.trace.execute import run

QUICK = settings(SETTINGS, max_examples=30, stateful_step_count=15, derandomize=True, database=None)
real = pytest.mark.skipif(is_supported() is not None, reason=str(is_supported()))
SELF = {"arg": 0}


def declared(*steps: dict[str, Any]) -> dict[str, Any]:
    """Return a destructor of the vector language."""
    return {"kind": "destructor", "steps": list(steps)}


def step(name: str, /, **args: Any) -> dict[str, Any]:
    """Return a step."""
    return {"op": name, "args": args}


GET = step("PyCapsule_GetContext", capsule=SELF) | {"bind": "block"}
FREE = step("free", ptr={"ref": "block"})
READ = step("read", ptr={"ref": "block"}, size=8)
RIGHT: dict[str, tuple[Any, dict[str, Any]]] = {
    "nothing": (declared(), {}),
    "looks": (declared(step("PyCapsule_GetPointer", capsule=SELF, name={"cstr": "mine"})), {}),
    "frees": (declared(GET, FREE), {"resource": "malloc"}),
    "native": ({"native": "PyCapsule_GetContext"}, {}),
    "before the collector": (declared(), {"profile": PROFILES["cpython-3.11"]}),
}
SETS = step("PyErr_SetString", type={"cstr": "ValueError"}, message={"cstr": "x"}) | {"leave": True}
# By name: a destructor, options, and a piece of what it is told.
FAULTY: dict[str, tuple[Any, dict[str, Any], str]] = {
    "leaves an error": (declared(SETS), {}, "leaves the error indicator as it found it"),
    "loses an error": (declared(step("PyErr_Clear") | {"leave": True}), {}, "leaves the error indicator"),
    "replaces memory errors": ({"native": "PyErr_NoMemory"}, {}, "MemoryError"),
    "keeps its capsule": (declared(step("Py_INCREF", op=SELF)), {}, "does not keep its capsule"),
    "gives itself back": (declared(step("Py_INCREF", op=SELF), step("Py_DECREF", op=SELF)), {}, ""),
    "forgets to free": (declared(), {"resource": "malloc"}, "gives back all"),
    "frees twice": (declared(GET, FREE, FREE), {"resource": "malloc"}, "double-free"),
    "reads after free": (
        declared(GET, FREE, step("read", ptr={"ref": "block"}, size=8)),
        {"resource": "malloc"},
        "use-",
    ),
    "takes any context for a block": (declared(GET, FREE), {}, "is defined"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_declared_destructor_that_keeps_the_rules_passes(name: str) -> None:
    """No state that a capsule dies in is held against a right one."""
    destructor, options = RIGHT[name]
    run_state_machine_as_test(destructor_machine(destructor, **options), settings=QUICK)


def broken(made: type[DestructorMachine]) -> RuleBroken:
    """Run a machine that must fail and return how."""
    with pytest.raises(RuleBroken) as failure:
        run_state_machine_as_test(made, settings=QUICK)
    return failure.value.shortest()


@pytest.mark.parametrize("name", FAULTY)
def test_a_declared_fault_is_found(name: str) -> None:
    """Each fault is named, with few steps, in few lines, and as a vector that runs to it again."""
    destructor, options, told = FAULTY[name]
    made = destructor_machine(destructor, **options)
    found = broken(made)
    assert told in f"{found.rule} {found.seen}"
    assert len(found.lines()) <= 14
    assert len(found.program["steps"]) <= 6
    text = str(found)
    (vector,) = json.loads(text[text.index('{"format"') :])["vectors"]
    with pytest.raises(RuleBroken):
        made.replay(vector)


def test_a_leak_is_told_with_its_capsule_and_nothing_else() -> None:
    """What is left of a long program is a capsule that owned a block, and no reference that was only lent."""
    forgets = destructor_machine(declared(), resource="malloc")
    capsule = {"ref": "c"}
    steps: list[dict[str, Any]] = [
        {
            "op": "PyCapsule_New",
            "args": {"pointer": {"ptr": "p1"}, "name": None, "destructor": {"function": "mine"}},
            "bind": "c",
        },
        {"op": "malloc", "args": {"size": 16}, "bind": "m"},
        {"op": "PyCapsule_SetContext", "args": {"capsule": capsule, "context": {"ref": "m"}}},
        {"op": "Py_INCREF", "args": {"op": capsule}},
        {"op": "PyCapsule_SetName", "args": {"capsule": capsule, "name": {"cstr": "min"}}},
        {"op": "Py_DECREF", "args": {"op": capsule}},
        {"op": "Py_DECREF", "args": {"op": capsule}},
    ]
    found = forgets.again({"functions": forgets.functions, "steps": steps})
    assert found is not None
    told = [step["op"] for step in found.shortest().program["steps"]]
    assert told == ["PyCapsule_New", "malloc", "PyCapsule_SetContext", "Py_DECREF"]


def test_debug_builds_end_the_process() -> None:
    """Under a profile that checks deallocators, an error that is left is told as the end of the process."""
    found = broken(destructor_machine(declared(SETS), PROFILES["cpython-3.13-debug"]))
    assert "the process is ended" in found.rule


class Pool:
    """Things that capsules own, by their pointer."""

    def __init__(self) -> None:
        self.live: set[int] = set()
        self.next = 0x1000

    def make(self) -> tuple[int, int]:
        """Make a thing."""
        self.next += 16
        self.live.add(self.next)
        return self.next, 0

    def count(self) -> int:
        """Return how many are not given back."""
        return len(self.live)

    def give_back(self, capsule: int) -> None:
        """Be a destructor that gives its capsule's thing back, whatever the capsule is called by now."""
        self.live.discard(api("PyCapsule_GetPointer")(capsule, api("PyCapsule_GetName")(capsule)))


@real
def test_a_real_destructor_that_keeps_the_rules_passes() -> None:
    """A Python function and a C function each die in all states without a complaint."""
    pool = Pool()
    run_state_machine_as_test(destructor_machine(pool.give_back, make=pool.make, live=pool.count), settings=QUICK)
    assert pool.next > 0x1000 + 16 * 40
    address = ctypes.cast(ctypes.pythonapi.PyCapsule_GetContext, ctypes.c_void_p).value
    assert address is not None
    run_state_machine_as_test(destructor_machine(address), settings=QUICK)


def native(name: str) -> int:
    """Return the address of a function of the C API."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def raises(capsule: int) -> None:
    """Be a destructor that raises."""
    raise ValueError("no")


def keeps(capsule: int) -> None:
    """Be a destructor that takes a reference."""
    api("Py_IncRef")(capsule)


def gives(capsule: int) -> None:
    """Be a destructor that gives its capsule back."""
    api("Py_DecRef")(capsule)


def only_mine(pool: Pool) -> Any:
    """Return a destructor that gives back only under the name that it began with."""
    name = ctypes.create_string_buffer(b"mine")

    def destructor(capsule: int) -> None:
        if api("PyCapsule_IsValid")(capsule, ctypes.addressof(name)):
            pool.live.discard(api("PyCapsule_GetPointer")(capsule, ctypes.addressof(name)))

    return destructor


def by_pointer(pool: Pool) -> Any:
    """Return a destructor that compares names by their address."""
    first: list[int] = []

    def destructor(capsule: int) -> None:
        name = api("PyCapsule_GetName")(capsule)
        first.append(name)
        if name == first[0]:
            pool.live.discard(api("PyCapsule_GetPointer")(capsule, name))

    return destructor


@real
@pytest.mark.parametrize(
    ("destructor", "told"),
    [
        (raises, "it raises ValueError('no')"),
        (keeps, "it takes 1 of its references"),
        (gives, "it gives back 1 of its references"),
        (native("Py_DecRef"), "it gives back 1 of its references"),
        (native("PyErr_Clear"), "was pending; afterwards nothing"),
        (native("PyErr_NoMemory"), "MemoryError()"),
    ],
    ids=["raises", "keeps", "gives back", "C gives back", "loses an error", "leaves an error"],
)
def test_a_real_fault_is_found(destructor: Any, told: str) -> None:
    """Each fault is told, and this process lives."""
    made = destructor_machine(destructor)
    found = broken(made)
    assert told in found.seen
    assert len(found.program["steps"]) <= 4
    vector = found.vector()
    run(vector, found.profile)
    with pytest.raises(RuleBroken):
        made.replay(vector)


@real
@pytest.mark.parametrize("faulty", [only_mine, by_pointer])
def test_what_is_not_given_back_is_found(faulty: Any) -> None:
    """A destructor that looks at the name alone, or at its address, leaks in some state."""
    pool = Pool()
    found = broken(destructor_machine(faulty(pool), make=pool.make, live=pool.count))
    assert "more live than before" in found.seen


def test_what_is_no_destructor_is_refused() -> None:
    """Anything else is named in one line."""
    with pytest.raises(ValueError, match=r"expected a (function|release build)|expected CPython"):
        destructor_machine("mine")  # type: ignore[arg-type]
