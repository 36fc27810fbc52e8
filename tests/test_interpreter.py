"""The face of the model: one simulated process, and what C returns where."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import capsule_model
from capsule_model import (
    NULL,
    PROFILES,
    Abort,
    Interpreter,
    Kind,
    NotModelled,
    Profile,
    PyCapsule_Type,
    UndefinedBehavior,
)
from capsule_model.errors import PyErr
from capsule_model.imports import Module
from capsule_model.objects import NONE

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def py() -> Interpreter:
    """Return a process."""
    return Interpreter("cpython-3.13")


def seen(py: Interpreter) -> tuple[str, str] | None:
    """Return type and text of the pending exception, and clear it."""
    error = py.error
    py.PyErr_Clear()
    return None if error is None else (error.type, error.text)


def text(py: Interpreter, address: int) -> object:
    """Return the Python value of an object that was returned, and give it back."""
    value = py.objects[address].value
    py.Py_DECREF(address)
    return value


def test_the_example_of_the_design(py: Interpreter) -> None:
    """A capsule is made, asked for by the wrong name, and destroyed."""
    destroyed: list[tuple[int, int]] = []
    box = py.malloc(16)
    cap = py.PyCapsule_New(
        box, py.cstring("mod.attr"), py.function(lambda op: destroyed.append((op, py.Py_REFCNT(op))))
    )
    assert py.PyCapsule_GetPointer(cap, py.cstring("other")) == 0
    assert repr(py.error) == "ValueError('PyCapsule_GetPointer called with incorrect name')"
    assert py.PyCapsule_GetPointer(cap, py.cstring("mod.attr")) == box
    py.Py_DECREF(cap)
    assert destroyed == [(cap, 0)]
    with pytest.raises(UndefinedBehavior, match="use-after-free"):
        py.PyCapsule_GetName(cap)


def test_the_example_of_the_readme() -> None:
    """The lines that the README shows do what their comments say."""
    source = (ROOT / "README.md").read_text("utf-8")
    code = re.search(r"\n((?:    .*\n|\n)*    from capsule_model import (?:    .*\n|.*\n|\n)*?)\n(?=\S)", source)
    assert code is not None
    example = re.sub(r"^    ", "", code[1], flags=re.MULTILINE)
    ended = subprocess.run(
        [sys.executable, "-c", example],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert ended.stderr == ""
    first, second, *rest = ended.stdout.splitlines()
    assert first == "destroyed"
    assert second.startswith("use-after-free: ")
    assert [line.split(":")[0].strip() for line in rest] == ["consequence", "where", "history", "history"]


def test_the_profile_is_chosen_by_name_or_given(py: Interpreter) -> None:
    """The default is a release build; an unknown name is a ValueError of one line."""
    assert Interpreter().profile is PROFILES["cpython-3.13"]
    assert Interpreter(PROFILES["cpython-3.9"]).profile.name == "cpython-3.9"
    assert isinstance(py.profile, Profile)
    with pytest.raises(ValueError, match=r"^unknown profile 'cpython-2.7': expected one of cpython-3.10, [^\n]*$"):
        Interpreter("cpython-2.7")


def test_a_capsule_and_all_its_fields(py: Interpreter) -> None:
    """What is stored comes back, each from its own function, and no error is set."""
    name, other, destructor = py.cstring("a"), py.cstring(b"a"), py.function(lambda op: None)
    op = py.PyCapsule_New(0x10, name, destructor)
    assert py.Py_REFCNT(op) == 1
    assert py.PyCapsule_CheckExact(op) == 1
    assert py.PyCapsule_IsValid(op, other) == 1
    assert py.PyCapsule_GetPointer(op, other) == 0x10
    assert py.PyCapsule_GetName(op) == name
    assert py.PyCapsule_GetDestructor(op) == destructor
    assert py.PyCapsule_GetContext(op) == NULL
    assert py.PyCapsule_SetPointer(op, 0x20) == 0
    assert py.PyCapsule_SetName(op, NULL) == 0
    assert py.PyCapsule_SetDestructor(op, NULL) == 0
    assert py.PyCapsule_SetContext(op, 0x30) == 0
    assert py.PyCapsule_GetPointer(op, NULL) == 0x20
    assert py.PyCapsule_GetName(op) == NULL
    assert py.PyCapsule_GetDestructor(op) == NULL
    assert py.PyCapsule_GetContext(op) == 0x30
    assert py.error is None


@pytest.mark.parametrize("not_capsule", ["NULL", "None", "the type of capsules", "a capsule with a NULL pointer"])
@pytest.mark.parametrize(
    ("function", "arguments", "returned"),
    [
        ("PyCapsule_GetPointer", (NULL,), NULL),
        ("PyCapsule_GetName", (), NULL),
        ("PyCapsule_GetDestructor", (), NULL),
        ("PyCapsule_GetContext", (), NULL),
        ("PyCapsule_SetPointer", (1,), -1),
        ("PyCapsule_SetName", (NULL,), -1),
        ("PyCapsule_SetDestructor", (NULL,), -1),
        ("PyCapsule_SetContext", (NULL,), -1),
        ("_PyCapsule_SetTraverse", (1, 1), -1),
    ],
)
def test_what_c_reports_is_never_raised(
    py: Interpreter, function: str, arguments: tuple[int, ...], returned: int, not_capsule: str
) -> None:
    """A call with something that is no usable capsule returns the error value, and the indicator says why."""
    capsule = py.PyCapsule_New(1, NULL, NULL)
    py.poke(capsule, "pointer", NULL)
    op = {"NULL": NULL, "None": NONE, "the type of capsules": PyCapsule_Type}.get(not_capsule, capsule)
    before = py.capsule_bytes(capsule)
    assert getattr(py, function)(op, *arguments) == returned
    assert seen(py) == ("ValueError", f"{function} called with invalid PyCapsule object")
    assert py.PyCapsule_IsValid(op, NULL) == 0
    assert py.error is None
    assert py.capsule_bytes(capsule) == before


def test_null_where_something_must_be(py: Interpreter) -> None:
    """A NULL pointer, a NULL callback and a wrong name are errors that leave the capsule as it was."""
    op = py.PyCapsule_New(1, py.cstring("a"), NULL)
    before = py.capsule_bytes(op)
    assert py.PyCapsule_New(NULL, NULL, NULL) == NULL
    assert seen(py) == ("ValueError", "PyCapsule_New called with null pointer")
    assert py.PyCapsule_SetPointer(op, NULL) == -1
    assert seen(py) == ("ValueError", "PyCapsule_SetPointer called with null pointer")
    for callbacks in ((NULL, 1), (1, NULL), (NULL, NULL)):
        assert py._PyCapsule_SetTraverse(op, *callbacks) == -1
        assert seen(py) == ("ValueError", "_PyCapsule_SetTraverse() called with NULL callback")
    for name in ("", "ab", "b"):
        assert py.PyCapsule_GetPointer(op, py.cstring(name)) == NULL
        assert seen(py) == ("ValueError", "PyCapsule_GetPointer called with incorrect name")
    assert py.PyCapsule_GetPointer(op, NULL) == NULL
    assert py.PyCapsule_IsValid(op, NULL) == 0
    assert py.capsule_bytes(op) == before


def test_import(py: Interpreter) -> None:
    """Import gives the pointer and keeps nothing; what fails is an exception in the indicator."""
    name = py.cstring("mod.cap")

    def body(module: int) -> int:
        py.objects[module].attrs["cap"] = py.PyCapsule_New(0x40, name, NULL)
        return 0

    py.finder["mod"] = Module(body)
    assert py.PyCapsule_Import(py.cstring("mod.cap"), 0) == 0x40
    cap = py.PyObject_GetAttrString(py.sys_modules["mod"], py.cstring("cap"))
    assert py.Py_REFCNT(cap) == 2
    assert py.PyCapsule_Import(py.cstring("absent.cap"), 1) == NULL
    assert seen(py) == ("ImportError", 'PyCapsule_Import could not import module "absent"')
    assert py.PyCapsule_Import(py.cstring("mod.absent"), 0) == NULL
    assert seen(py) == ("AttributeError", "module 'mod' has no attribute 'absent'")
    assert py.PyCapsule_Import(py.cstring("mod"), 0) == NULL
    assert seen(py) == ("AttributeError", 'PyCapsule_Import "mod" is not valid')


def test_the_error_indicator(py: Interpreter) -> None:
    """It is set, asked, cleared and handed to the hook; success leaves it, and failure replaces it."""
    unraisable: list[tuple[str, int]] = []
    py.unraisable = lambda error, obj: unraisable.append((error.type, obj))
    op = py.PyCapsule_New(1, NULL, NULL)
    assert py.PyErr_Occurred() is None
    py.PyErr_SetString("KeyError", "k")
    assert (py.PyErr_Occurred(), str(py.error)) == ("KeyError", "'k'")
    pending = py.error
    assert py.PyCapsule_GetPointer(op, NULL) == 1
    assert py.error is pending
    assert py.PyCapsule_GetName(NULL) == NULL
    assert py.PyErr_Occurred() == "ValueError"
    py.PyErr_WriteUnraisable(op)
    assert (unraisable, py.error, py.Py_REFCNT(op)) == ([("ValueError", op)], None, 1)
    assert py.PyErr_NoMemory() == NULL
    assert seen(py) == ("MemoryError", "")
    py.PyErr_Clear()


@pytest.mark.parametrize(
    ("profile", "type", "attributes"),
    [
        ("cpython-3.13", "AttributeError", {"name": None, "obj": None}),
        ("cpython-3.9", "AttributeError", None),
        ("cpython-3.9", "ModuleNotFoundError", {"name": None, "path": None}),
        ("cpython-3.13", "UnboundLocalError", {"name": None}),
        ("cpython-3.13", "ValueError", None),
    ],
)
def test_exceptions_have_the_attributes_of_their_type(profile: str, type: str, attributes: object) -> None:
    """An exception made from a text has what its type has, as far as the version knows it."""
    py = Interpreter(profile)
    py.PyErr_SetString(type, "t")
    assert py.error is not None
    assert py.error.attributes == attributes


def test_each_thread_has_an_indicator_of_its_own(py: Interpreter) -> None:
    """Switching puts the indicator aside, and coming back finds it again."""
    py.PyErr_SetString("KeyError", "main")
    mine = py.error
    py.switch_thread("t1")
    assert py.error is None
    py.PyErr_NoMemory()
    py.switch_thread("")
    assert py.error is mine
    py.switch_thread("t1")
    assert py.PyErr_Occurred() == "MemoryError"


def test_what_python_sees(py: Interpreter) -> None:
    """The text, the hash, identity, truth, size and the type's refusals."""
    op = py.PyCapsule_New(1, py.cstring("a.b"), NULL)
    other = py.PyCapsule_New(1, NULL, NULL)
    assert text(py, py.PyObject_Repr(op)) == f'<capsule object "a.b" at {op:#x}>'
    assert text(py, py.PyObject_Str(other)) == f"<capsule object NULL at {other:#x}>"
    assert py.PyObject_Hash(op) == op >> 4
    assert text(py, py.PyObject_RichCompare(op, op, "==")) is True
    assert text(py, py.PyObject_RichCompare(op, other, "==")) is False
    assert text(py, py.PyObject_RichCompare(op, other, "!=")) is True
    assert py.PyObject_RichCompare(op, other, "<") == NULL
    assert seen(py) == ("TypeError", "'<' not supported between instances of 'PyCapsule' and 'PyCapsule'")
    assert py.PyObject_IsTrue(op) == 1
    assert py.PyObject_IsInstance(op, PyCapsule_Type) == 1
    assert py.PyObject_IsInstance(NONE, PyCapsule_Type) == 0
    assert py.types_CapsuleType() == PyCapsule_Type
    assert Interpreter("cpython-3.12").types_CapsuleType() is None
    refusals: list[tuple[Callable[[int], int], int, int, str]] = [
        (py.PyObject_Size, op, -1, "object of type 'PyCapsule' has no len()"),
        (py.PyObject_Call, op, NULL, "'PyCapsule' object is not callable"),
        (py.PyObject_Call, PyCapsule_Type, NULL, "cannot create 'PyCapsule' instances"),
        (py.subclass, PyCapsule_Type, NULL, "type 'PyCapsule' is not an acceptable base type"),
        (py.pickle_object, op, NULL, "cannot pickle 'PyCapsule' object"),
        (py.weakref_ref, op, NULL, "cannot create weak reference to 'PyCapsule' object"),
    ]
    for function, argument, returned, message in refusals:
        assert function(argument) == returned
        assert seen(py) == ("TypeError", message)
    assert py.PyObject_GetAttrString(op, py.cstring("x")) == NULL
    assert seen(py) == ("AttributeError", "'PyCapsule' object has no attribute 'x'")
    assert py.PyObject_SetAttrString(op, py.cstring("__class__"), NULL) == -1
    assert seen(py) == ("TypeError", "can't delete __class__ attribute")


def test_the_collector(py: Interpreter) -> None:
    """A capsule that only itself keeps alive is cleared, destroyed, and no longer tracked while it dies."""
    calls: list[tuple[str, int]] = []

    def clear(op: int) -> int:
        calls.append(("clear", py.gc_is_tracked(op)))
        py.Py_DECREF(op)
        return 0

    def destroy(op: int) -> None:
        calls.append(("destroy", py.gc_is_tracked(op)))

    op = py.PyCapsule_New(1, NULL, py.function(destroy))
    assert py.gc_is_tracked(op) == 0
    traverse = py.function(lambda op, visit: visit(op), "traverse")
    assert py._PyCapsule_SetTraverse(op, traverse, py.function(clear, "clear")) == 0
    assert py.gc_is_tracked(op) == 1
    assert py.gc_get_referents(op) == [op]
    py.gc_collect()
    assert (calls, op not in py.objects) == ([("clear", 1), ("destroy", 0)], True)


def test_a_function_of_the_wrong_type(py: Interpreter) -> None:
    """A clear function stored as a destructor, and an address that is no function, are diagnosed when called."""
    op = py.PyCapsule_New(1, NULL, py.function(lambda op: 0, "clear", "c1"))
    with pytest.raises(UndefinedBehavior, match="calls c1, a clear, as a destructor") as wrong:
        py.Py_DECREF(op)
    assert wrong.value.kind is Kind.WRONG_FUNCTION_TYPE
    wild = py.PyCapsule_New(1, NULL, 0x10)
    with pytest.raises(UndefinedBehavior, match="calls 0x10, which is no function") as found:
        py.Py_DECREF(wild)
    assert found.value.kind is Kind.WILD_POINTER


def test_undefined_behaviour_as_text(py: Interpreter) -> None:
    """The text has kind, fact, consequence, where and history, one line an item, and the parts are attributes."""
    py.memory.label("step 1")
    op = py.PyCapsule_New(1, NULL, NULL)
    py.memory.label("step 2")
    py.Py_DECREF(op)
    py.memory.label("step 3")
    with pytest.raises(UndefinedBehavior) as found:
        py.PyCapsule_SetContext(op, NULL)
    assert str(found.value).splitlines() == [
        f"use-after-free: step 3 uses the object at {op:#x}",
        "  consequence: the memory may already belong to another object: wrong values or a crash",
        "  where: PyCapsule_SetContext",
        "  history: object created at step 1",
        "  history: freed at step 2",
    ]


def test_a_debug_build_aborts() -> None:
    """What a debug build checks ends the process; a release build lets it pass."""
    for profile, ends in (("cpython-3.13-debug", True), ("cpython-3.13", False)):
        py = Interpreter(profile)
        op = py.PyCapsule_New(1, NULL, py.function(lambda op, py=py: py.PyErr_NoMemory()))
        if ends:
            with pytest.raises(Abort, match="Deallocator of type 'PyCapsule'"):
                py.Py_DECREF(op)
        else:
            py.Py_DECREF(op)
            assert isinstance(py.error, PyErr)


def test_what_the_model_does_not_know_is_said(py: Interpreter) -> None:
    """A question about objects that capsules never meet is refused, and is no fault of the program."""
    with pytest.raises(NotModelled, match="the repr of a NoneType"):
        py.PyObject_Repr(NONE)


def test_every_c_function_is_a_method(py: Interpreter) -> None:
    """Each operation of the suite capsule that is a C function of the API is found under its own name."""
    from capsule_model.trace.contract import operations

    names = [name for name, row in operations().items() if row.suite == "capsule" and name.startswith(("Py", "_Py"))]
    assert len(names) > 25
    assert [name for name in names if not callable(getattr(py, name, None))] == []


IMPORTS = """
import sys
blocked = {"click", "rich", "hypothesis", "jsonschema", "jsonschema_rs", "attrs", "attr", "pytest"}
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])
import capsule_model, capsule_model.rules, capsule_model.layout, capsule_model.locate, capsule_model.trace.execute
import capsule_model.trace.write, capsule_model.fuzz.lockstep
py = capsule_model.Interpreter()
py.Py_DECREF(py.PyCapsule_New(1, 0, 0))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_model_imports_the_standard_library_alone() -> None:
    """With the libraries of the extras out of reach the model works, and nothing else is loaded."""
    command = [sys.executable, "-I", "-S", "-c", IMPORTS, str(ROOT)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    loaded = set(ended.stdout.split())
    assert "capsule_model" in loaded
    assert loaded - sys.stdlib_module_names <= {"capsule_model", "__main__"}


def test_types_are_shipped() -> None:
    """The marker that tells type checkers to read the annotations lies in the package."""
    assert (files(capsule_model) / "py.typed").is_file()


def test_the_public_names() -> None:
    """Everything that `__all__` promises is there."""
    space: dict[str, Any] = {}
    exec("from capsule_model import *", space)
    assert set(capsule_model.__all__) <= space.keys()
    assert re.fullmatch(r"\d+\.\d+\.\d+", capsule_model.__version__)
