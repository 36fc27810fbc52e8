"""Structs that make no sense: whatever stands in them, the model diagnoses it or fails as C does, and never breaks."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from capsule_model import Abort, Interpreter, UndefinedBehavior
from dlpack_model import CONSUMERS, Exchange, Producer, __dlpack__, consumer_named, from_dlpack, new_array, values_of
from dlpack_model.dtypes import NAMED
from dlpack_model.styles import CONSUMER_QUIRKS
from dlpack_model.violations import HARM, Broken

WORDS = st.sampled_from((0, 1, 2, 3, 16, 255, 4096, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1))
STYLES = st.builds(
    lambda name, quirks: consumer_named(name, (*quirks, "takes-capsules")),
    st.sampled_from(sorted(CONSUMERS)),
    st.lists(st.sampled_from(sorted(CONSUMER_QUIRKS)), max_size=2, unique=True),
)


def _poked(ex: Exchange, capsule: int, pokes: list[tuple[int, int]], lists: list[tuple[bool, int]]) -> None:
    """Write words into the fields of a managed tensor, then into what its shape and strides point to."""
    struct = ex.py.capsule_at(capsule)
    assert struct is not None
    record = ex.records[struct.pointer]
    codec = ex.abi.versioned if record.versioned else ex.abi.legacy
    for of_strides, word in lists:
        raw = dict(zip(codec.names, codec.unpack(ex.memory.read(record.address, codec.size)), strict=True))
        there = raw["dl_tensor.strides" if of_strides else "dl_tensor.shape"]
        if raw["dl_tensor.ndim"] and there:
            ex.memory.write(there, word.to_bytes(8, ex.abi.order))
    for number, word in pokes:
        offset, kind = codec.offsets[codec.names[number % len(codec.names)]]
        size = codec.layout.scalar(kind)[0]
        ex.memory.write(record.address + offset, (word % (1 << 8 * size)).to_bytes(size, ex.abi.order))


@settings(max_examples=400, deadline=None)
@example(
    profile="cpython-3.13",
    watch=frozenset(Broken),
    dtype="bfloat16",
    shape=[0],
    max_version=(1, 3),
    pokes=[(5, 1)],
    lists=[(False, 2_147_483_647)],
    consumer=consumer_named("clears-destructor", ("always-copies", "takes-capsules")),
    copy=None,
)
@given(
    profile=st.sampled_from(("cpython-3.13", "cpython-3.13-32", "cpython-3.13-be", "cpython-3.11-debug")),
    watch=st.sampled_from((frozenset(Broken), HARM, frozenset[Broken]())),
    dtype=st.sampled_from(sorted(NAMED)),
    shape=st.lists(st.integers(0, 3), max_size=2),
    max_version=st.sampled_from((None, (1, 3))),
    pokes=st.lists(st.tuples(st.integers(0, 20), WORDS), max_size=3),
    lists=st.lists(st.tuples(st.booleans(), WORDS), max_size=2),
    consumer=STYLES,
    copy=st.sampled_from((None, 0, 1)),
)
def test_no_struct_breaks_the_model(
    profile: str,
    watch: frozenset[Broken],
    dtype: str,
    shape: list[int],
    max_version: tuple[int, int] | None,
    pokes: list[tuple[int, int]],
    lists: list[tuple[bool, int]],
    consumer: Any,
    copy: int | None,
) -> None:
    """Import, read and drop what anybody has written into: a result, an exception of Python's, or a diagnosis."""
    ex = Exchange(Interpreter(profile), watch=watch)
    array = new_array(ex, Producer(), dtype, shape)
    capsule = __dlpack__(ex, ex.arrays[array], {"max_version": max_version})
    _poked(ex, capsule, pokes, lists)
    told = ["a result or an exception"]
    try:
        result = from_dlpack(ex, consumer, capsule, copy=copy)
        if result and ex.arrays[result].layout.size <= 1_000:
            values_of(ex, ex.arrays[result])
        assert bool(result) or ex.py.error is not None or watch != frozenset(Broken)
        ex.py.PyErr_Clear()
        for reference in (result, capsule, array):
            if reference:
                ex.py.Py_DECREF(reference)
        ex.check()
    except (UndefinedBehavior, Abort) as end:
        told.append(str(end))
    assert told[-1]
