"""The instrument: what a consumer does wrong is seen, counted and survived."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from dlpack_model.real import capi
from dlpack_model.real.faces import Face
from dlpack_model.real.instrument import Instrument
from dlpack_model.real.probe import play
from dlpack_model.real.scenarios import Scenario, scenario_named
from dlpack_model.real.structures import STRUCTURES

PLAIN = Scenario("plain", "a plain array", shape=(3,))
NAME = b"dltensor_versioned"
GetPointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
USED = ctypes.create_string_buffer(b"used_dltensor_versioned")


def export(instrument: Instrument, **keywords: Any) -> Any:
    """Return a capsule, as a consumer asks for it."""
    return instrument.source().__dlpack__(max_version=(1, 3), **keywords)


def managed_in(capsule: Any, name: bytes = NAME) -> Any:
    """Return the real managed tensor in a capsule."""
    structure = STRUCTURES["DLManagedTensorVersioned" if name == NAME else "DLManagedTensor"]
    return structure.from_address(GetPointer(capsule, name))


def delete(capsule: Any) -> None:
    """Call the deleter in an unconsumed capsule, as a consumer does."""
    capi.Deleter(managed_in(capsule).deleter)(GetPointer(capsule, NAME))


def told(instrument: Instrument) -> list[str]:
    """Return the events in short, those of the export left out."""
    return [
        f"destructor of {event['name']}" if event["event"] == "destructor" else event["event"]
        for event in instrument.events
        if event["event"] != "__dlpack__"
    ]


def test_unconsumed_capsule_deletes() -> None:
    """The destructor of a capsule that nobody consumed calls the deleter once."""
    instrument = Instrument(PLAIN)
    export(instrument)
    assert told(instrument) == ["destructor of dltensor_versioned", "deleter"]


def test_consumed_capsule_does_not_delete() -> None:
    """A renamed capsule dies without a call of the deleter, and its name is seen."""
    instrument = Instrument(PLAIN)
    capsule = export(instrument)
    capi.rename(id(capsule), ctypes.addressof(USED))
    del capsule
    assert told(instrument) == ["destructor of used_dltensor_versioned"]


def test_double_delete_is_counted() -> None:
    """A consumer that deletes and does not rename makes two calls, and the process lives."""
    instrument = Instrument(PLAIN)
    capsule = export(instrument)
    delete(capsule)
    delete(capsule)
    del capsule
    assert told(instrument) == ["deleter", "deleter", "destructor of dltensor_versioned", "deleter"]


def test_watched_capsule_shows_its_name() -> None:
    """A capsule that is watched outlives the consumer, so that its name and its destructor can be seen."""
    instrument = Instrument(PLAIN, watched=True)
    capsule = export(instrument)
    capi.rename(id(capsule), ctypes.addressof(USED))
    del capsule
    assert instrument.look() == [{"name": "used_dltensor_versioned", "destructor": True}]
    assert told(instrument) == []
    instrument.let_go()
    assert told(instrument) == ["destructor of used_dltensor_versioned"]


def test_null_deleter_is_left_alone() -> None:
    """The destructor calls no deleter where the struct has none."""
    instrument = Instrument(scenario_named("deleter-null"))
    export(instrument)
    assert told(instrument) == ["destructor of dltensor_versioned"]


def test_struct_says_what_the_model_says() -> None:
    """The real struct leads to real copies of shape, strides and elements."""
    instrument = Instrument(PLAIN)
    capsule = export(instrument)
    tensor = managed_in(capsule).dl_tensor
    assert (tensor.ndim, tensor.device.device_type, tensor.dtype.bits) == (1, 1, 32)
    assert [ctypes.c_int64.from_address(at).value for at in (tensor.shape, tensor.strides)] == [3, 1]
    assert list((ctypes.c_int32 * 3).from_address(tensor.data)) == [0, 1, 2]
    assert instrument.owns(tensor.data)


def test_elements_are_aligned_as_in_the_model() -> None:
    """What is misaligned in simulated memory is so in real memory, and nothing else is."""
    for by in (0, 4, 32):
        capsule = export(Instrument(Scenario("aligned", "", array={"offset": by})))
        assert managed_in(capsule).dl_tensor.data % 64 == by


def test_scenario_can_spoil_the_struct() -> None:
    """Fields that a scenario overwrites are wrong in the real struct."""
    spoilt = Scenario("spoilt", "", struct={"flags": 5, "dl_tensor.ndim": -1, "shape[1]": -9})
    tensor = managed_in(export(Instrument(spoilt)))
    assert (tensor.flags, tensor.dl_tensor.ndim) == (5, -1)
    assert (ctypes.c_int64 * 2).from_address(tensor.dl_tensor.shape)[1] == -9


def test_unknown_keyword_is_a_type_error() -> None:
    """The producer's exceptions are real ones, of the type that the model raises."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'copy'"):
        export(Instrument(scenario_named("keywords-no-copy")), copy=True)


def test_calls_are_logged_with_their_keywords() -> None:
    """Every call of a method is an event, with the values of its keywords."""
    instrument = Instrument(PLAIN)
    exporter = instrument.source()
    assert exporter.__dlpack_device__() == (1, 0)
    exporter.__dlpack__(dl_device=(1, 0), max_version=(1, 0))
    keywords = {"dl_device": [1, 0], "max_version": [1, 0]}
    assert instrument.events[:2] == [{"event": "__dlpack_device__"}, {"event": "__dlpack__", "keywords": keywords}]


class Result:
    """What the pretended library below makes."""

    shape = (3,)


def pretended(from_dlpack: Any) -> Face:
    """Return a library that does what a function says."""
    return Face("1.0", from_dlpack, lambda device: device, lambda result: [0, 1, 2], lambda result: 0)


def test_leak_is_seen() -> None:
    """A library that renames and never deletes shows no call of the deleter."""

    def leaks(exporter: Any) -> Result:
        capsule = exporter.__dlpack__(max_version=(1, 0))
        capi.rename(id(capsule), ctypes.addressof(USED))
        return Result()

    seen = play(pretended(leaks), PLAIN)
    assert [event["event"] for event in seen.during] == ["__dlpack__", "destructor"]
    assert (seen.dropped, seen.ended) == ([], [])


def test_capsule_that_is_kept_is_seen() -> None:
    """A library that keeps the capsule in its result shows the destructor when the result is dropped."""

    def keeps(exporter: Any) -> Result:
        result = Result()
        result.capsule = exporter.__dlpack__(max_version=(1, 0))  # type: ignore[attr-defined]
        return result

    seen = play(pretended(keeps), PLAIN)
    assert [event["event"] for event in seen.during] == ["__dlpack__"]
    assert [event["event"] for event in seen.dropped] == ["destructor", "deleter"]


def test_exception_and_its_traceback_are_seen() -> None:
    """An exception is told by its built-in type, and a frame that has the capsule keeps it until then."""

    class Odd(BufferError):
        """An exception of a library's own."""

    def refuses(exporter: Any) -> Result:
        capsule = exporter.__dlpack__(max_version=(1, 0))
        raise Odd(capsule)

    seen = play(pretended(refuses), PLAIN)
    assert seen.outcomes == [{"raised": "BufferError"}]
    assert [event["event"] for event in seen.during] == ["__dlpack__"]
    assert [event["event"] for event in seen.dropped] == ["destructor", "deleter"]
