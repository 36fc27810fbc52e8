"""What the two sides ask of each other, where a chance program showed that one was blamed or served wrongly."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from typing import Any

import pytest

from capsule_model import NULL, Interpreter
from dlpack_model import Consumer, Exchange, Producer, Violation, __dlpack__, from_dlpack, new_array, values_of
from dlpack_model.contract import alike, same_values
from dlpack_model.tensor import Layout

LEGACY = Producer("old", version=(0, 8), structs=False, keywords=frozenset({"stream"}))


def _array(producer: Producer, dtype: str = "int32", **more: Any) -> tuple[Exchange, int]:
    ex = Exchange(Interpreter())
    return ex, new_array(ex, producer, dtype, (2, 3), **more)


def test_strides_may_be_null_where_the_struct_is_old() -> None:
    """The old struct and versions before 1.2 may leave strides NULL, whatever header the consumer has."""
    for producer in (replace(LEGACY, null_strides=True), Producer("1.1", version=(1, 1), null_strides=True)):
        ex, x = _array(producer)
        assert values_of(ex, ex.arrays[from_dlpack(ex, Consumer(), x)]) == [0, 1, 2, 3, 4, 5]


def test_strides_must_not_be_null_from_1_2_on() -> None:
    """A struct that says 1.2 of itself is held to it on import as well."""
    ex, x = _array(Producer("1.2", version=(1, 2), null_strides=True))
    ex.watch = frozenset()
    from_dlpack(ex, Consumer(), x)
    assert [found.where for found in ex.unwatched if found.rule == "DLTensor/strides-not-null"] == [
        "__dlpack__ of 1.2, called by from_dlpack of consumer",
        "from_dlpack of consumer",
    ]


def test_a_copy_is_made_by_the_consumer_where_the_producer_cannot_be_asked() -> None:
    """Where the producer does not know the keyword, or a capsule was handed over, a copy is a copy all the same."""
    ex, x = _array(LEGACY)
    copy = from_dlpack(ex, Consumer(), x, copy=1)
    assert ex.arrays[copy].block not in (NULL, ex.arrays[x].block)
    capsule = __dlpack__(ex, ex.arrays[x], {})
    other = from_dlpack(ex, Consumer(takes_capsules=True), capsule, copy=1)
    assert ex.arrays[other].block not in (NULL, ex.arrays[x].block)


def test_who_copies_itself_still_forbids_the_producer_to() -> None:
    """``copy=False`` reaches the producer, who would have to copy to another device."""
    ex, x = _array(Producer())
    assert from_dlpack(ex, Consumer(copies="consumer", asks_device=False), x, device=(2, 0), copy=0) == NULL
    assert ex.py.error is not None
    assert ex.py.error.type == "BufferError"


def test_a_refusal_after_a_second_try_is_no_missing_try() -> None:
    """A TypeError that a second call answered is neither a try too few nor an exception swallowed."""
    ex, x = _array(replace(LEGACY, device=None), device=(2, 0))
    assert from_dlpack(ex, Consumer(devices=frozenset({1})), x) == NULL
    assert str(ex.py.error) == "unsupported device 2"
    ex.py.PyErr_Clear()
    assert from_dlpack(ex, Consumer(structs=frozenset({True})), x) == NULL
    assert str(ex.py.error) == "no unconsumed capsule"


def test_who_does_not_try_again_is_still_found() -> None:
    """A TypeError that ends the import is a try too few."""
    ex, x = _array(LEGACY)
    with pytest.raises(Violation, match="does not try again"):
        from_dlpack(ex, Consumer(retries=()), x)


def test_who_is_handed_a_capsule_has_nobody_to_tell_its_stream() -> None:
    """The stream is asked of those who ask a producer."""
    ex, x = _array(Producer(), device=(2, 0))
    capsule = __dlpack__(ex, ex.arrays[x], {})
    assert from_dlpack(ex, Consumer(takes_capsules=True, structs=frozenset({False}), stream=7), capsule) != NULL
    with pytest.raises(Violation, match="works on stream 7, and did not say so"):
        from_dlpack(ex, Consumer(sends_stream=False, stream=7), x)


@pytest.mark.parametrize(("version", "structs"), [((0, 8), False), ((1, 3), False), ((1, 0), None)])
def test_padded_elements_need_a_struct_that_says_so(version: tuple[int, int], structs: bool | None) -> None:
    """Padded sub-byte elements are exported by the versioned struct from 1.1 on, else refused."""
    ex, x = _array(Producer(version=version, structs=structs), "float4_e2m1fn", values=[0.5] * 6, padded=True)
    assert from_dlpack(ex, Consumer(), x) == NULL
    assert ex.py.error is not None
    assert ex.py.error.type == "BufferError"
    ex, x = _array(Producer(version=(1, 1)), "float4_e2m1fn", values=[0.5] * 6, padded=True)
    assert values_of(ex, ex.arrays[from_dlpack(ex, Consumer(), x)]) == [0.5] * 6


def test_padded_and_packed_are_not_the_same() -> None:
    """Elements at the same place are compared where one library takes them for packed."""
    ex, x = _array(Producer(), "uint4", padded=True)
    y = from_dlpack(ex, Consumer(), x)
    assert same_values(ex, ex.arrays[y], ex.arrays[x])
    padded = ex.arrays[y].layout
    ex.arrays[y].layout = Layout(padded.address, padded.dtype, padded.shape, padded.strides)
    assert not same_values(ex, ex.arrays[y], ex.arrays[x])


def test_complex_numbers_with_nans_are_alike() -> None:
    """A NaN in either part is the same as a NaN in that part, and nothing else."""
    assert alike(complex(nan, 1), complex(nan, 1))
    assert not alike(complex(nan, 1), complex(nan, 2))
    assert not alike(complex(nan, 1), complex(0, 1))
    assert alike((nan, 1.0), (nan, 1.0))
