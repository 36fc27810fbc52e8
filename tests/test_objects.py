"""Objects: where they lie, how they go, and what is said of an address that is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from capsule_model import NULL, PROFILES, Interpreter, Kind, PyCapsule_Type, UndefinedBehavior
from capsule_model.objects import NONE, SHIFT, TYPE_NAMED, TYPES, Capsule, PyObject, PyType_Type, type_name


@pytest.fixture
def py() -> Interpreter:
    """Return a process in its first step."""
    made = Interpreter("cpython-3.13")
    made.memory.label("step 1")
    return made


def diagnosis(call: Callable[..., object], *arguments: object) -> UndefinedBehavior:
    """Return the undefined behaviour that a call is."""
    with pytest.raises(UndefinedBehavior) as found:
        call(*arguments)
    return found.value


def capsule(py: Interpreter) -> int:
    """Return a new capsule without a name."""
    return py.PyCapsule_New(1, NULL, NULL)


def test_a_struct_is_found_by_its_address(py: Interpreter) -> None:
    """Placing gives an address; the table, `get` and `in` find the struct there, and nowhere else."""
    struct = PyObject(1, TYPE_NAMED["int"])
    address = py.objects.place(struct)
    assert py.objects[address] is struct
    assert py.objects.get(address) is struct
    assert address in py.objects
    assert struct.address == address
    assert struct in py.objects.alive()
    for other in (address + 1, address - 1, address + (1 << SHIFT), NULL, -(1 << SHIFT), 1 << 62):
        assert py.objects.get(other) is None
        assert other not in py.objects


def test_addresses_never_come_back(py: Interpreter) -> None:
    """A capsule that was freed leaves its address for ever, and each new one lies elsewhere."""
    seen = []
    for _ in range(100):
        seen.append(capsule(py))
        py.Py_DECREF(seen[-1])
    assert len(set(seen)) == 100
    assert all(address not in py.objects and py.objects.existed(address) for address in seen)
    assert not py.objects.existed(seen[-1] + (1 << SHIFT))
    assert not py.objects.existed(seen[-1] + 1)


@pytest.mark.parametrize("profile", PROFILES)
def test_structs_do_not_overlap(profile: str) -> None:
    """Two capsules made one after the other have room for their structs, and fit the machine's addresses."""
    py = Interpreter(profile)
    first, second = capsule(py), capsule(py)
    assert second - first >= py.profile.basicsize
    assert first % 16 == 0
    assert second < 1 << (8 * py.profile.word)


def test_the_process_begins_with_types_and_none(py: Interpreter) -> None:
    """Every type the model knows is an object of the type `type`, and None is there; none of them can be freed."""
    for address, name in TYPES.items():
        assert type_name(py.objects, address) == "type"
        assert py.objects[address].name == name
        assert py.Py_REFCNT(address) > 1_000_000
    assert type_name(py.objects, NONE) == "NoneType"
    assert PyCapsule_Type in TYPES
    assert py.leaks() == []


def test_the_name_of_a_type(py: Interpreter) -> None:
    """Built-in types have their names; an instance of a class has the class's."""
    assert type_name(py.objects, capsule(py)) == "PyCapsule"
    holder = py.objects.place(PyObject(1, PyType_Type, name="Holder"))
    assert type_name(py.objects, py.objects.place(PyObject(1, holder))) == "Holder"


def test_an_obituary(py: Interpreter) -> None:
    """A use after the free says when the object was created and when it was freed, whoever else died."""
    first = capsule(py)
    py.memory.label("step 2")
    second = capsule(py)
    py.memory.label("step 3")
    py.Py_DECREF(second)
    py.memory.label("step 4")
    py.Py_DECREF(first)
    py.memory.label("step 5")
    for op, born, died in ((first, 1, 4), (second, 2, 3)):
        found = diagnosis(py.PyCapsule_GetPointer, op, NULL)
        assert (found.kind, found.address) == (Kind.USE_AFTER_FREE, op)
        assert found.fact == f"step 5 uses the object at {op:#x}"
        assert found.history == [f"object created at step {born}", f"freed at step {died}"]
        assert found.where == "PyCapsule_GetPointer"


def test_an_obituary_is_not_found_by_a_number_of_an_event() -> None:
    """An event whose number is an object's address is not taken for that object's death."""
    py = Interpreter("cpython-3.13")
    first = capsule(py)
    py.memory.count = first - 2
    second = capsule(py)
    py.Py_DECREF(second)
    py.Py_DECREF(first)
    assert py.objects.obituary(first) == ["object created at event 1", f"freed at event {first + 1}"]


@pytest.mark.parametrize(
    ("offset", "kind"),
    [
        (1, Kind.MISALIGNED),
        (8, Kind.NOT_AN_OBJECT),
        (56, Kind.NOT_AN_OBJECT),
        (63, Kind.MISALIGNED),
        (64, Kind.WILD_POINTER),
        (100, Kind.WILD_POINTER),
    ],
)
def test_interior_pointers(py: Interpreter, offset: int, kind: Kind) -> None:
    """An address inside a live struct is traced to its object; one behind it is nobody's."""
    op = capsule(py)
    found = diagnosis(py.PyCapsule_GetName, op + offset)
    assert found.kind is kind
    if kind is not Kind.WILD_POINTER:
        assert f"{offset} bytes into an object" in found.fact
        assert (found.address, found.history) == (op, ["object created at step 1"])


def test_an_interior_pointer_of_a_dead_object(py: Interpreter) -> None:
    """It is a use after the free of the object that it points into."""
    op = capsule(py)
    py.Py_DECREF(op)
    found = diagnosis(py.PyCapsule_GetName, op + 8)
    assert (found.kind, found.address) == (Kind.USE_AFTER_FREE, op)


def test_addresses_that_are_no_objects(py: Interpreter) -> None:
    """NULL, a block, a freed block, a string and an address of nobody are told apart."""
    block, freed = py.malloc(64), py.malloc(64)
    py.free(freed)
    expected = {
        NULL: Kind.NULL_DEREFERENCE,
        block: Kind.NOT_AN_OBJECT,
        block + 8: Kind.NOT_AN_OBJECT,
        freed: Kind.USE_AFTER_FREE,
        py.cstring("a"): Kind.NOT_AN_OBJECT,
        0x80: Kind.WILD_POINTER,
        1 << 40: Kind.WILD_POINTER,
    }
    for address, kind in expected.items():
        for function in (py.Py_INCREF, py.Py_DECREF, py.Py_REFCNT, py.PyCapsule_CheckExact):
            assert diagnosis(function, address).kind is kind
    assert diagnosis(py.Py_INCREF, freed).history == [
        "malloc block of 64 bytes, allocated at step 1",
        "freed at step 1",
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda py, op: py.PyCapsule_GetPointer(op, NULL),
        lambda py, op: py.PyCapsule_GetName(op),
        lambda py, op: py.PyCapsule_GetContext(op),
        lambda py, op: py.PyCapsule_GetDestructor(op),
        lambda py, op: py.PyCapsule_SetPointer(op, 1),
        lambda py, op: py.PyCapsule_SetName(op, NULL),
        lambda py, op: py.PyCapsule_SetContext(op, NULL),
        lambda py, op: py.PyCapsule_SetDestructor(op, NULL),
        lambda py, op: py._PyCapsule_SetTraverse(op, 1, 1),
        lambda py, op: py.PyCapsule_IsValid(op, NULL),
        lambda py, op: py.PyCapsule_CheckExact(op),
        lambda py, op: py.PyObject_Repr(op),
        lambda py, op: py.PyObject_Hash(op),
        lambda py, op: py.PyObject_GetAttrString(op, py.cstring("x")),
        lambda py, op: py.gc_is_tracked(op),
        lambda py, op: py.gc_get_referents(op),
    ],
)
def test_every_function_notices_a_dead_capsule(py: Interpreter, call: Callable[[Interpreter, int], object]) -> None:
    """A function that takes an object reads it, and says that it is gone."""
    op = capsule(py)
    py.Py_DECREF(op)
    found = diagnosis(call, py, op)
    assert (found.kind, found.address) == (Kind.USE_AFTER_FREE, op)
    assert py.error is None


def test_leaks(py: Interpreter) -> None:
    """Capsules and heap blocks that are alive are leaks, with their birth; what was given back is none."""
    kept, gone = capsule(py), capsule(py)
    py.Py_DECREF(gone)
    block, freed = py.malloc(3), py.malloc(3)
    py.free(freed)
    py.cstring("lives for ever")
    py.Py_INCREF(kept)
    found = py.leaks()
    assert [(one.kind, one.address) for one in found] == [(Kind.LEAK, kept), (Kind.LEAK, block)]
    assert [one.history for one in found] == [
        ["object created at step 1"],
        ["malloc block of 3 bytes, allocated at step 1"],
    ]
    assert "its destructor never runs" in found[0].consequence
    py.Py_DECREF(kept)
    py.Py_DECREF(kept)
    py.free(block)
    assert py.leaks() == []


def test_a_negative_count(py: Interpreter) -> None:
    """Giving back in the destructor what nobody owned is diagnosed with the object's birth."""
    op = py.PyCapsule_New(1, NULL, py.function(lambda op: py.Py_DECREF(op)))
    py.memory.label("step 2")
    found = diagnosis(py.Py_DECREF, op)
    assert (found.kind, found.address) == (Kind.NEGATIVE_REFCOUNT, op)
    assert found.fact == f"step 2 gives back a reference to {op:#x} that nobody owned"
    assert found.history == ["object created at step 1"]


def test_references_are_counted(py: Interpreter) -> None:
    """INCREF and DECREF change the count by one; the forms with small letters ignore NULL."""
    op = capsule(py)
    struct = py.objects[op]
    assert isinstance(struct, Capsule)
    for function, count in ((py.Py_INCREF, 2), (py.Py_IncRef, 3), (py.Py_DecRef, 2), (py.Py_DECREF, 1)):
        function(op)
        assert struct.ob_refcnt == py.Py_REFCNT(op) == count
    py.Py_IncRef(NULL)
    py.Py_DecRef(NULL)
    py.Py_DecRef(op)
    assert op not in py.objects
    assert struct.address == NULL
