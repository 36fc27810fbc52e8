"""Code of one's own in the place of the model's parties: it is called, and held to the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from capsule_model import NULL, Interpreter
from dlpack_model.arrays import Array, new_array, values_of
from dlpack_model.consumer import from_dlpack, receive
from dlpack_model.contract import Call
from dlpack_model.destructors import Destructor, save_error
from dlpack_model.exchange import Exchange, Record
from dlpack_model.parties import Parties
from dlpack_model.producer import Producer, __dlpack__, export
from dlpack_model.styles import Consumer
from dlpack_model.violations import Broken, Violation


def an_exchange(parties: Parties, producer: Producer) -> tuple[Exchange, Array]:
    """Return an exchange with an array of two numbers."""
    ex = Exchange(Interpreter("cpython-3.13"), parties=parties)
    return ex, ex.arrays[new_array(ex, producer, "int32", (2,))]


def test_both_sides_can_be_ones_own() -> None:
    """An import asks the export that stands in for the producer's, each time anew, and nothing is lost."""
    asked: list[str] = []

    def exports(ex: Exchange, array: Array, keywords: Mapping[str, Any]) -> int:
        asked.append("exports")
        return export(ex, array, keywords)

    def imports(ex: Exchange, consumer: Consumer, x: int, device: Any, call: Call) -> int:
        asked.append("imports")
        return receive(ex, consumer, x, device, call)

    ex, array = an_exchange(Parties("mine", exports=exports, imports=imports), Producer("mine"))
    for _ in range(2):
        view = from_dlpack(ex, Consumer("mine"), array.address)
        assert values_of(ex, ex.arrays[view]) == [0, 1]
        ex.py.Py_DECREF(view)
    ex.py.Py_DECREF(array.address)
    assert asked == ["imports", "exports"] * 2
    assert ex.py.leaks() == []


def test_an_export_of_ones_own_is_looked_at_every_time() -> None:
    """That one export kept its promises says nothing of the next: own code may do anything."""
    good = [True, False]

    def exports(ex: Exchange, array: Array, keywords: Mapping[str, Any]) -> int:
        capsule = export(ex, array, keywords)
        if not good.pop(0):
            ex.py.PyCapsule_SetDestructor(capsule, NULL)
        return capsule

    ex, array = an_exchange(Parties("mine", exports=exports), Producer("mine"))
    assert __dlpack__(ex, array, {"max_version": (1, 3)}) != NULL
    with pytest.raises(Violation) as found:
        __dlpack__(ex, array, {"max_version": (1, 3)})
    assert found.value.rule == "__dlpack__/capsule-destructor"


def test_two_destructors_of_one_name_are_two() -> None:
    """A destructor is told apart by what it is: its name is for readers."""
    called: list[str] = []

    def first(ex: Exchange, self: int, versioned: bool) -> None:
        called.append("first")
        save_error(ex, self, versioned)

    def second(ex: Exchange, self: int, versioned: bool) -> None:
        called.append("second")
        save_error(ex, self, versioned)

    ex, array = an_exchange(Parties(), Producer("mine", destructor=Destructor("mine", first)))
    other = ex.arrays[new_array(ex, Producer("mine", destructor=Destructor("mine", second)), "int8", (1,))]
    for exported in (array, other):
        ex.py.Py_DECREF(__dlpack__(ex, exported, {}))
    assert called == ["first", "second"]


def test_a_deleter_of_ones_own_is_watched() -> None:
    """A deleter that does not free its struct is named in the diagnosis."""

    def delete_nothing(ex: Exchange, self: int, manager_ctx: int) -> None:
        ex.py.Py_DECREF(manager_ctx)

    ex, array = an_exchange(Parties(), Producer("mine", deleter=delete_nothing))
    with pytest.raises(Violation, match="the delete-nothing deleter of export 1 returns") as found:
        ex.py.Py_DECREF(__dlpack__(ex, array, {}))
    assert found.value.kind == Broken.NO_OWNER


def test_structs_can_be_written_over() -> None:
    """What a producer fills in itself is what consumers read."""

    def fills(ex: Exchange, record: Record) -> None:
        tensor, _, _ = ex.tensor_at(record.address, record.versioned)
        ex.py.write(tensor.shape, ex.abi.integers([1]))

    ex, array = an_exchange(Parties(), replace(Producer("mine"), fills=fills))
    with pytest.raises(Violation, match="reads other elements"):
        from_dlpack(ex, Consumer("mine"), array.address)
