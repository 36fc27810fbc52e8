"""Producers and consumers that keep the rules, each in another way: what chance is made of."""

from __future__ import annotations

from dataclasses import replace

from dlpack_model.consumer import Consumer
from dlpack_model.producer import Producer

__all__ = ["CONSUMERS_THAT_BEHAVE", "PLAIN_CONSUMER", "PLAIN_PRODUCER", "PRODUCERS_THAT_BEHAVE"]

PLAIN_PRODUCER = Producer("plain")

PRODUCERS_THAT_BEHAVE: tuple[Producer, ...] = (
    PLAIN_PRODUCER,
    replace(PLAIN_PRODUCER, name="legacy", version=(0, 8), structs=False),
    replace(
        PLAIN_PRODUCER, name="legacy without keywords", version=(0, 8), structs=False, keywords=frozenset({"stream"})
    ),
    replace(PLAIN_PRODUCER, name="legacy with NULL strides", version=(0, 8), structs=False, null_strides=True),
    replace(PLAIN_PRODUCER, name="first version", version=(1, 0), destructor="return-early"),
    replace(
        PLAIN_PRODUCER, name="old version with NULL strides", version=(1, 1), null_strides=True, destructor="save-error"
    ),
    replace(PLAIN_PRODUCER, name="no legacy", legacy=False, destructor="write-unraisable-null"),
    replace(PLAIN_PRODUCER, name="another major", version=(2, 0), legacy=False),
    replace(PLAIN_PRODUCER, name="byte offset", byte_offset=True, destructor="save-error"),
    replace(PLAIN_PRODUCER, name="legacy with byte offset", version=(0, 8), structs=False, byte_offset=True),
    replace(
        PLAIN_PRODUCER, name="one struct for all", shares=True, deleter="counts-shares", destructor="warn-and-leak"
    ),
    replace(
        PLAIN_PRODUCER,
        name="legacy, one struct for all",
        structs=False,
        version=(0, 8),
        shares=True,
        deleter="counts-shares",
    ),
    replace(PLAIN_PRODUCER, name="native", deleter="native", destructor="return-early"),
    replace(PLAIN_PRODUCER, name="static", deleter="null"),
    replace(PLAIN_PRODUCER, name="copies to the host alone", devices=frozenset({1}), byte_offset=True),
    replace(PLAIN_PRODUCER, name="never exports", raises=("RuntimeError", "out of order")),
)

PLAIN_CONSUMER = Consumer("plain")

CONSUMERS_THAT_BEHAVE: tuple[Consumer, ...] = (
    PLAIN_CONSUMER,
    replace(PLAIN_CONSUMER, name="clears the destructor", clears_destructor=True),
    replace(PLAIN_CONSUMER, name="internal capsule", owner="internal-capsule", stream=2),
    replace(PLAIN_CONSUMER, name="renames first", rename="first", on_error="delete"),
    replace(
        PLAIN_CONSUMER, name="renames first, looks last", rename="first", on_error="delete", checks="after", most_ndim=1
    ),
    replace(PLAIN_CONSUMER, name="deletes on error", on_error="delete", devices=frozenset({1})),
    replace(PLAIN_CONSUMER, name="legacy alone", structs=frozenset({False}), max_version=None),
    replace(PLAIN_CONSUMER, name="copies itself", copies="consumer", stream=7),
    replace(PLAIN_CONSUMER, name="wants alignment", copies_if_misaligned=8),
    replace(PLAIN_CONSUMER, name="on the host alone", devices=frozenset({1}), negative_strides=False),
    replace(PLAIN_CONSUMER, name="wants strides", null_strides=False, lanes=False),
    replace(PLAIN_CONSUMER, name="does not write", read_only="always"),
    replace(PLAIN_CONSUMER, name="knows no read-only", read_only="ignores"),
    replace(PLAIN_CONSUMER, name="older", max_version=(1, 0), calls_python=True),
    replace(PLAIN_CONSUMER, name="floats alone", dtypes=frozenset({(2, 32), (2, 64)})),
)
