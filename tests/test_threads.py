"""Threads of the model: counts in two parts, what waits for an owner, and what the end of a thread does."""

from __future__ import annotations

from typing import Any

import pytest

from capsule_model import Abort, Interpreter, UndefinedBehavior
from capsule_model.imports import Module
from capsule_model.memory import NULL
from capsule_model.objects import NONE
from capsule_model.profiles import PROFILES
from capsule_model.trace.execute import BadVector, run

WAITING = "cpython-3.13-free-threaded"
IDLE = "cpython-3.14-free-threaded"


class Watched:
    """An interpreter with one capsule, made by a thread, and the threads in which its destructor ran."""

    def __init__(self, profile: str, owner: str = "t1") -> None:
        self.py = Interpreter(profile)
        self.ran: list[tuple[str, str | None]] = []
        self.op = self.made_by(owner)

    def made_by(self, owner: str) -> int:
        """Return a new capsule of a thread; the first thread runs afterwards."""
        self.py.switch_thread(owner)
        op = self.py.PyCapsule_New(0x10, NULL, self.py.function(self._destructor))
        self.py.switch_thread("")
        return op

    def _destructor(self, op: int) -> None:
        self.ran.append((self.py.thread, self.py.PyErr_Occurred()))

    def run(self, thread: str) -> None:
        """Let a thread come back to Python code."""
        self.py.switch_thread(thread)
        self.py.handle_pending()


def test_a_last_reference_waits_until_the_owner_runs_python_code() -> None:
    """C code of the owner alone does not end the capsule, which counts as before and can still be used."""
    watched = Watched(WAITING)
    py, op = watched.py, watched.op
    py.Py_DECREF(op)
    assert (py.Py_REFCNT(op), py.PyCapsule_GetPointer(op, NULL), watched.ran) == (1, 0x10, [])
    py.switch_thread("t1")
    assert py.PyCapsule_IsValid(op, NULL) == 1
    py.handle_pending()
    assert watched.ran == [("t1", None)]
    with pytest.raises(UndefinedBehavior, match="use-after-free"):
        py.Py_REFCNT(op)


@pytest.mark.parametrize("profile", ["cpython-3.13", "cpython-3.9-debug", IDLE, "cpython-3.15-free-threaded-debug"])
def test_without_waiting_the_giver_ends_it(profile: str) -> None:
    """Where counts have one part, or idle owners are not waited for, the destructor meets the giver's error."""
    watched = Watched(profile)
    watched.py.PyErr_SetString("KeyError", "k")
    watched.py.Py_DECREF(watched.op)
    assert watched.ran == [("", "KeyError")]
    watched.run("t1")
    assert len(watched.ran) == 1


def test_nobody_waits_for_a_thread_that_has_ended() -> None:
    """The thread that gives back the reference merges the count and runs the destructor."""
    watched = Watched(WAITING)
    watched.py.end_thread("t1")
    watched.py.PyErr_SetString("KeyError", "k")
    watched.py.Py_DecRef(watched.op)
    assert watched.ran == [("", "KeyError")]


def test_a_thread_that_ends_merges_first() -> None:
    """Its destructors run in it, with the exception that it had gone, and the running thread keeps its own."""
    watched = Watched(WAITING)
    py = watched.py
    py.switch_thread("t1")
    py.PyErr_SetString("ValueError", "v")
    py.switch_thread("")
    py.PyErr_SetString("KeyError", "k")
    py.Py_DECREF(watched.op)
    py.end_thread("t1")
    assert watched.ran == [("t1", None)]
    assert (py.thread, py.PyErr_Occurred()) == ("", "KeyError")


def test_a_thread_of_an_old_name_is_a_new_one() -> None:
    """It has no exception of the one that ended, and owns nothing of it."""
    watched = Watched(WAITING)
    py = watched.py
    py.switch_thread("t1")
    py.PyErr_SetString("ValueError", "v")
    py.switch_thread("")
    py.end_thread("t1")
    py.switch_thread("t1")
    assert py.PyErr_Occurred() is None


@pytest.mark.parametrize("name", ["", "t2", "none"])
@pytest.mark.parametrize("profile", ["cpython-3.13", WAITING])
def test_threads_that_cannot_be_ended(profile: str, name: str) -> None:
    """The first thread, the running one, and one that was never started are refused in one line."""
    py = Interpreter(profile)
    py.switch_thread("t2")
    with pytest.raises(ValueError, match=f"thread '{name}' cannot be ended: expected one that was started"):
        py.end_thread(name)


def test_the_end_of_a_thread_releases_what_its_exception_kept() -> None:
    """An AttributeError that refers to a capsule gives it back, in that thread."""
    watched = Watched("cpython-3.13")
    py, op = watched.py, watched.op
    py.switch_thread("t1")
    py.PyObject_GetAttrString(op, py.cstring("absent"))
    py.switch_thread("")
    py.Py_DECREF(op)
    assert watched.ran == []
    py.end_thread("t1")
    assert watched.ran == [("t1", None)]


def test_what_waits_ends_last_in_first_out() -> None:
    """The owner ends first what came last, and of each thread only its own."""
    watched = Watched(WAITING)
    py = watched.py
    ended: list[int] = []
    ops = []
    for owner in ("t1", "t2", "t1"):
        py.switch_thread(owner)
        ops.append(py.PyCapsule_New(1, NULL, py.function(lambda op: ended.append(op))))
    py.switch_thread("")
    for op in ops:
        py.Py_DECREF(op)
    watched.run("t1")
    assert ended == [ops[2], ops[0]]
    watched.run("t2")
    assert ended == [ops[2], ops[0], ops[1]]


def test_the_owners_exception_is_put_aside() -> None:
    """A destructor that runs in a merge meets no exception, and the owner finds its own again."""
    watched = Watched(WAITING)
    py = watched.py
    py.switch_thread("t1")
    py.PyErr_SetString("KeyError", "k")
    mine = py.error
    py.switch_thread("")
    py.Py_DECREF(watched.op)
    watched.run("t1")
    assert watched.ran == [("t1", None)]
    assert py.error is mine


@pytest.mark.parametrize(
    ("profile", "raised", "message"),
    [
        (WAITING, UndefinedBehavior, "pending-exception: .*goes on in Python code with ValueError"),
        (WAITING + "-debug", Abort, "raised, cleared or overrode the current exception"),
    ],
)
def test_an_error_left_in_a_merge(profile: str, raised: type[Exception], message: str) -> None:
    """Python code that goes on with it is undefined; a debug build ends before that."""
    py = Interpreter(profile)
    py.switch_thread("t1")
    op = py.PyCapsule_New(1, NULL, py.function(lambda op: py.PyErr_SetString("ValueError", "v")))
    py.switch_thread("")
    py.Py_DECREF(op)
    py.switch_thread("t1")
    with pytest.raises(raised, match=message):
        py.handle_pending()


def test_counts_that_were_merged_have_no_owner() -> None:
    """After the merge the former owner and others are alike: whoever gives back the last reference ends it."""
    watched = Watched(WAITING)
    py, op = watched.py, watched.op
    py.Py_INCREF(op)
    py.Py_INCREF(op)
    py.switch_thread("t1")
    py.Py_DECREF(op)
    py.Py_DECREF(op)
    assert py.Py_REFCNT(op) == 1
    py.switch_thread("t2")
    py.Py_DECREF(op)
    assert watched.ran == [("t2", None)]


@pytest.mark.parametrize("profile", [WAITING, WAITING + "-debug"])
def test_one_reference_too_many_from_another_thread(profile: str) -> None:
    """It is undefined in debug builds, too, which do not look before the counts were merged."""
    watched = Watched(profile)
    watched.py.Py_DECREF(watched.op)
    with pytest.raises(UndefinedBehavior, match="negative-refcount"):
        watched.py.Py_DECREF(watched.op)


def test_objects_that_never_die_have_no_owner() -> None:
    """None and the types are counted in one part by all threads."""
    py = Interpreter(WAITING)
    before = py.Py_REFCNT(NONE)
    for thread in ("t1", "t2", ""):
        py.switch_thread(thread)
        py.Py_DECREF(NONE)
    py.Py_INCREF(NONE)
    assert py.Py_REFCNT(NONE) == before - 2


def test_one_thread_alone_never_waits() -> None:
    """Without a second thread a free-threaded build ends capsules at once, again and again."""
    watched = Watched(WAITING, owner="")
    py = watched.py
    for count in range(1, 4):
        op = watched.made_by("") if count > 1 else watched.op
        py.Py_INCREF(op)
        py.Py_DECREF(op)
        assert len(watched.ran) == count - 1
        py.Py_DECREF(op)
        assert watched.ran == [("", None)] * count
    assert py.objects.parts == {}


def _steps(*steps: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Return steps of a vector from (operation, capsule, thread); a new capsule has the destructor ``d``."""
    made: list[dict[str, Any]] = []
    for op, name, thread in steps:
        args: dict[str, Any] = {"op": {"ref": name}}
        if op == "PyCapsule_New":
            args = {"pointer": {"ptr": "p"}, "name": None, "destructor": {"function": "d"}}
        step = {"op": op, "args": {} if op in ("settle", "PyErr_Occurred") else args, "bind": name}
        made.append(step | ({"thread": thread} if thread else {}))
    return made


def _calls(vector: dict[str, Any]) -> list[list[str]]:
    """Return the capsules whose destructors ran in each step, under the profile that waits for owners."""
    seen = run(vector, PROFILES[WAITING])
    assert (seen.diagnosis, seen.aborted) == (None, None)
    return [[event["args"][0] for event in step["events"]] for step in seen.steps]


@pytest.mark.parametrize("owner", ["t1", "t2"])
def test_settling_on_a_thread_leaves_the_first_one_waiting(owner: str) -> None:
    """What waits for other threads ends in settle; what thereby waits for the first one ends before the next step."""
    steps = _steps(
        ("PyCapsule_New", "m", ""),
        ("PyCapsule_New", "a", owner),
        ("Py_DECREF", "a", "t3"),
        ("settle", "", "t1"),
        ("PyErr_Occurred", "", "t2"),
    )
    steps[0]["args"]["destructor"] = {"function": "e"}
    functions = {"d": {"kind": "destructor", "steps": _steps(("Py_DECREF", "m", ""))}, "e": {"kind": "destructor"}}
    assert _calls({"functions": functions, "steps": steps}) == [[], [], [], ["a"], ["m"]]


def test_settling_inside_a_function_while_something_waits_is_no_question_for_the_model() -> None:
    """Which thread would run what is not known there; with nothing waiting it does nothing."""
    inner = _steps(("settle", "", ""))
    functions = {"d": {"kind": "destructor", "steps": inner}}
    steps = _steps(("PyCapsule_New", "a", ""), ("PyCapsule_New", "b", "t1"), ("Py_DECREF", "a", ""))
    vector = {"functions": functions, "steps": steps}
    assert _calls(vector) == [[], [], ["a"]]
    steps[2:2] = _steps(("Py_DECREF", "b", ""))
    with pytest.raises(BadVector, match=r"step 3/d\.1/0: the model does not know settle inside a function"):
        run(vector, PROFILES[WAITING])


@pytest.mark.parametrize(("build", "outcome"), [("", "pending-exception"), ("-debug", "Deallocator of type")])
def test_what_goes_wrong_after_the_last_step_is_said(build: str, outcome: str) -> None:
    """A destructor that waited for the first thread to the end still decides what the run comes to."""
    leave = {"op": "PyErr_NoMemory", "args": {}, "leave": True}
    vector = {
        "functions": {"d": {"kind": "destructor", "steps": [leave]}},
        "steps": _steps(("PyCapsule_New", "a", ""), ("Py_DECREF", "a", "t1")),
    }
    seen = run(vector, PROFILES[WAITING + build])
    assert len(seen.steps) == 2
    assert str(seen.diagnosis or seen.aborted).startswith(outcome)


def _failed_module(py: Interpreter, destroyed: list[int]) -> None:
    """Import a module whose body makes a capsule and then fails."""

    def body(module: int) -> int:
        py.objects[module].attrs["c"] = py.PyCapsule_New(1, NULL, py.function(destroyed.append))
        py.PyErr_SetString("ValueError", "v")
        return -1

    py.finder["m"] = Module(body)
    assert py.PyImport_ImportModule(b"m") == NULL
    py.PyErr_Clear()


@pytest.mark.parametrize(
    ("profile", "thread", "at_once", "in_collection"),
    [
        ("cpython-3.13", "t1", 1, 1),
        (WAITING, "", 0, 1),
        (WAITING, "t1", 0, 0),
        (IDLE, "t1", 0, 1),
    ],
)
def test_a_failed_module_waits_for_the_collector(profile: str, thread: str, at_once: int, in_collection: int) -> None:
    """It dies at once where counts are exact; else a collection ends it, unless a second thread made it immortal."""
    py = Interpreter(profile)
    destroyed: list[int] = []
    _failed_module(py, destroyed)
    assert len(destroyed) == at_once
    py.switch_thread(thread)
    py.gc_collect()
    py.gc_collect()
    assert len(destroyed) == in_collection
