"""Mistakes of consumers: with the capsule, with the deleter, with what the struct says, and in how they fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from dlpack_model.abi import DLTensor
from dlpack_model.consumer import Consumer
from dlpack_model.dtypes import element_type
from dlpack_model.mutants.mutant import Mutant, consuming, having_bug
from dlpack_model.parties import Parties
from dlpack_model.tensor import Layout

__all__ = ["ASKING", "OWNING", "READING", "RENAMING"]

RENAMES = "from_dlpack/renames"
ONCE, CALLED = "DLManagedTensor/deleter-once", "DLManagedTensor/deleter-is-called"

RENAMING = (
    Mutant("consumer.never-renames", "The capsule keeps its name.", (RENAMES,), consuming(rename="never")),
    Mutant(
        "consumer.late-rename",
        "The capsule is renamed when the tensor was taken over and looked at: too late where that fails.",
        (RENAMES, ONCE),
        having_bug("late-rename"),
    ),
    Mutant(
        "consumer.rename-first-forgets",
        "The capsule is renamed before the tensor is looked at, and where that fails nobody calls the deleter.",
        ("from_dlpack/deletes-on-error", CALLED),
        consuming(rename="first", on_error="leave"),
    ),
    Mutant(
        "consumer.legacy-used-name",
        "Every capsule is renamed to used_dltensor.",
        (RENAMES,),
        consuming(used_names={False: b"used_dltensor", True: b"used_dltensor"}),
    ),
    Mutant(
        "consumer.misspelt-used-name",
        "The capsule is renamed to dltensor_used.",
        (RENAMES,),
        consuming(used_names={False: b"dltensor_used", True: b"dltensor_versioned_used"}),
    ),
    Mutant(
        "consumer.clears-destructor-alone",
        "The destructor is taken off the capsule, and the name stays.",
        (RENAMES,),
        consuming(used_names={False: b"dltensor", True: b"dltensor_versioned"}, clears_destructor=True),
    ),
    Mutant(
        "consumer.ignores-names",
        "The name of the capsule is not looked at: one that was consumed is taken again.",
        ("from_dlpack/consumed-once",),
        having_bug("double-consume"),
    ),
    Mutant(
        "consumer.keeps-capsule",
        "The reference to the capsule is never given back.",
        (RENAMES,),
        consuming(drops="never"),
    ),
    Mutant(
        "consumer.drops-capsule-early",
        "The capsule is dropped before it is renamed: its destructor calls the deleter.",
        (ONCE,),
        consuming(drops="first"),
    ),
    Mutant(
        "consumer.drops-capsule-twice",
        "The reference to the capsule is given back twice.",
        (ONCE,),
        consuming(drops="twice"),
    ),
)

OWNING = (
    Mutant(
        "consumer.deletes-twice",
        "The deleter is called twice when the array dies.",
        (ONCE,),
        consuming(deletes_twice=True),
    ),
    Mutant("consumer.never-deletes", "The deleter is never called.", (CALLED,), having_bug("forgotten-deleter")),
    Mutant(
        "consumer.deletes-early",
        "The deleter is called at once, while the memory is in use.",
        ("DLManagedTensor/no-use-after-deleter",),
        having_bug("deleter-before-use-ends"),
    ),
    Mutant(
        "consumer.calls-null",
        "The deleter is called without asking whether there is one.",
        ("DLManagedTensor/deleter-may-be-null",),
        having_bug("null-deleter-called"),
    ),
    Mutant(
        "consumer.fails-after-claim",
        "The import fails when the array owns the tensor already, and the capsule has its old name.",
        (ONCE,),
        consuming(fails_after_claim=True),
    ),
)


def _laying(lays: Callable[[DLTensor, Layout], Layout]) -> Parties:
    return consuming(lays=lays)


def _changed(layout: Layout, **changes: Any) -> Layout:
    said: dict[str, Any] = {
        "address": layout.address,
        "dtype": layout.dtype,
        "shape": layout.shape,
        "strides": layout.strides,
        "device": layout.device,
        "padded": layout.padded,
    }
    return Layout(**(said | changes))


def _one_lane(tensor: DLTensor, layout: Layout) -> Layout:
    return _changed(layout, dtype=element_type(tensor.code, tensor.bits, 1) or layout.dtype)


def _signed(tensor: DLTensor, layout: Layout) -> Layout:
    code = 0 if tensor.code == 1 else tensor.code
    return _changed(layout, dtype=element_type(code, tensor.bits, tensor.lanes) or layout.dtype)


READING = (
    Mutant(
        "consumer.versioned-as-legacy",
        "The versioned struct is read as the old one.",
        ("DLManagedTensor/right-struct",),
        having_bug("versioned-parsed-as-legacy"),
    ),
    Mutant(
        "consumer.legacy-as-versioned",
        "The old struct is read as the versioned one.",
        ("DLManagedTensor/right-struct",),
        consuming(parses_as_versioned=True),
    ),
    Mutant(
        "consumer.unknown-major",
        "A struct of another major version is read.",
        ("from_dlpack/verifies-version",),
        consuming(checks_version=False),
    ),
    Mutant(
        "consumer.reads-past-flags",
        "Shape and data of another major version are looked at before it is refused.",
        ("from_dlpack/nothing-past-flags",),
        consuming(reads_past_flags=True),
    ),
    Mutant(
        "consumer.ignores-offset",
        "byte_offset is ignored.",
        ("DLTensor/byte-offset",),
        having_bug("byte-offset-ignored"),
    ),
    Mutant(
        "consumer.offset-twice",
        "byte_offset is added twice.",
        ("DLTensor/byte-offset",),
        _laying(lambda tensor, layout: _changed(layout, address=layout.address + tensor.byte_offset)),
    ),
    Mutant(
        "consumer.ignores-strides",
        "Strides are ignored.",
        ("from_dlpack/same-values",),
        consuming(ignores_strides=True),
    ),
    Mutant(
        "consumer.strides-in-bytes",
        "Strides are taken for numbers of bytes, and divided.",
        ("from_dlpack/same-values",),
        _laying(
            lambda tensor, layout: _changed(
                layout, strides=tuple(stride // layout.dtype.itemsize for stride in layout.strides)
            )
        ),
    ),
    Mutant(
        "consumer.strides-without-sign",
        "Strides are taken for unsigned: elements that lie backwards are read forwards.",
        ("from_dlpack/same-values",),
        _laying(lambda tensor, layout: _changed(layout, strides=tuple(map(abs, layout.strides)))),
    ),
    Mutant(
        "consumer.one-lane",
        "Every element is taken to have one lane.",
        ("DLDataType/code-and-bits",),
        _laying(_one_lane),
    ),
    Mutant(
        "consumer.all-signed",
        "Unsigned integers are read as signed ones.",
        ("DLDataType/code-and-bits",),
        _laying(_signed),
    ),
    Mutant(
        "consumer.ignores-padding",
        "Elements of less than a byte are read as packed, also where each has a byte.",
        ("DLDataType/packed-bits",),
        _laying(lambda tensor, layout: _changed(layout, padded=False)),
    ),
    Mutant(
        "consumer.any-device",
        "A tensor is taken from any device, reachable or not.",
        ("from_dlpack/unsupported-device",),
        consuming(devices=frozenset(range(-1, 256))),
    ),
    Mutant(
        "consumer.writes-to-read-only",
        "The consumer forgets that the elements are read-only.",
        ("from_dlpack/read-only-kept",),
        having_bug("flag-lost"),
    ),
    Mutant(
        "consumer.refuses-read-only",
        "A tensor is refused because it is read-only.",
        ("from_dlpack/read-only-ignored",),
        consuming(read_only="refuses"),
    ),
    Mutant(
        "consumer.legacy-is-read-only",
        "What comes in the old struct is taken to be read-only.",
        ("from_dlpack/read-only-kept",),
        consuming(read_only="legacy-too"),
    ),
)


@lru_cache(256)
def _device_error(consumer: Consumer) -> Consumer:
    return replace(consumer, errors={**consumer.errors, "device": "RuntimeError"})


ASKING = (
    Mutant(
        "consumer.asks-for-two",
        "The consumer asks for version 2, and knows version 1.",
        ("from_dlpack/verifies-version",),
        consuming(max_version=(2, 0)),
    ),
    Mutant(
        "consumer.sends-no-stream",
        "The consumer works on a stream, and does not say so.",
        ("from_dlpack/passes-stream",),
        consuming(sends_stream=False),
    ),
    Mutant(
        "consumer.sends-minus-one",
        "The consumer asks that nobody waits, and reads.",
        ("__dlpack__/stream-synchronised",),
        consuming(stream=-1),
    ),
    Mutant(
        "consumer.sends-zero",
        "The default stream is called 0, on CUDA as well.",
        ("__dlpack__/stream-cuda",),
        consuming(stream=0),
    ),
    Mutant(
        "consumer.forgets-device",
        "The device that was asked for is forgotten.",
        ("from_dlpack/device",),
        consuming(forgets_device=True),
    ),
    Mutant(
        "consumer.forgets-copy",
        "The consumer shares where it was asked for a copy.",
        ("from_dlpack/copy-true",),
        consuming(copies="nobody"),
    ),
    Mutant(
        "consumer.always-copies",
        "The consumer copies whatever it was asked for.",
        ("from_dlpack/copy-false",),
        consuming(copies="always"),
    ),
    Mutant(
        "consumer.no-retry",
        "After TypeError nothing is tried without the keywords that the producer does not know.",
        ("from_dlpack/type-error-retry",),
        consuming(retries=()),
    ),
    Mutant(
        "consumer.swallows-errors",
        "What the producer raises becomes an exception of the consumer's own.",
        ("from_dlpack/propagates",),
        consuming(swallows_errors=True),
    ),
    Mutant(
        "consumer.leaves-error",
        "An array is returned, and an exception is left from a name that was tried.",
        ("from_dlpack/error-with-null",),
        consuming(leaves_error=True),
    ),
    Mutant(
        "consumer.drops-with-error",
        "The capsule is dropped while the exception for its refusal is pending.",
        ("capsule-destructor/leaves-error-indicator",),
        consuming(lets_go="pending"),
        "Destructors and deleters that keep the rules leave a pending exception as it is: only next to a second party "
        "that breaks a rule is there anything to see.",
    ),
    Mutant(
        "consumer.runtime-error",
        "A device that is not supported is a RuntimeError.",
        ("from_dlpack/unsupported-device",),
        Parties("a faulty consumer", consumer=_device_error),
    ),
)
