"""Where the official texts contradict each other: which side the model takes, and how to have the other one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["READINGS", "Reading", "readings_named"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One contradiction: the two texts, what the model does, and what it does where ``name`` is asked for."""

    name: str
    texts: str
    taken: str
    other: str


READINGS: dict[str, Reading] = {
    reading.name: reading
    for reading in (
        Reading(
            "null-strides",
            "dlpack.h 1.2 and 1.3 forbid NULL strides where there are dimensions; the Python specification for DLPack "
            "still says that NULL strides mean a compact row-major array.",
            "the header: a struct that says version 1.2 or later has strides.",
            "the Python specification: NULL strides are compact in every version.",
        ),
        Reading(
            "prev-version-api",
            "the struct DLPackExchangeAPIHeader has a field prev_api; the example in the same header writes "
            "prev_version_api.",
            "the struct.",
            "the example: the field is shown under that name.",
        ),
        Reading(
            "pointer-returned",
            "the comments of managed_tensor_allocator and managed_tensor_from_py_object_no_sync say that they return "
            "the tensor or NULL; their signatures return an int and have an out parameter.",
            "the signature: 0 or -1, and the tensor in the out parameter.",
            "the comment: the tensor is returned, NULL on failure.",
        ),
        Reading(
            "blocked-copy-buffer-error",
            "the array API standard has from_dlpack raise ValueError under device where copy=False forbids the copy "
            "that is needed, and BufferError under copy.",
            "both: ValueError where a device was asked for, else BufferError.",
            "BufferError in both cases.",
        ),
        Reading(
            "failure-steals",
            "managed_tensor_to_py_object_no_sync steals the tensor; what a failing call does with it is not said.",
            "a call that fails has taken nothing: the caller still owns the tensor.",
            "a call that fails has taken it, and called its deleter.",
        ),
        Reading(
            "aligned-to-256",
            "dlpack.h says that data is always aligned to 256 bytes, and then, in a note, that nobody does so and that "
            "it is not to be relied on.",
            "the note: any alignment is right.",
            "the sentence: data that is not aligned to 256 bytes breaks a rule.",
        ),
        Reading(
            "sizes-are-padded",
            "the example GetDataSize in dlpack.h rounds every element up to whole bytes; the comment of DLDataType "
            "packs sub-byte elements without gaps.",
            "the comment: packed elements share bytes, unless a flag says that they are padded.",
            "the example: an allocation has a byte for every sub-byte element.",
        ),
        Reading(
            "exchange-api-as-int",
            "dlpack.h 1.2 puts the exchange API on the type as an int under __c_dlpack_exchange_api__; 1.3 as a "
            "capsule under __dlpack_c_exchange_api__, and further down still as an int.",
            "the capsule of 1.3.",
            "the int of 1.2.",
        ),
        Reading(
            "copies-may-be-unmarked",
            "the Python specification for DLPack says first that a library may flag a copy, then that it must; the "
            "array API standard says must.",
            "must: a copy in a struct with flags is marked.",
            "may: a copy without the flag is right.",
        ),
        Reading(
            "devices-of-the-standard",
            "dlpack.h names sixteen device types; the array API standard lists ten of them as the valid ones.",
            "the header.",
            "the standard: __dlpack_device__ answers one of the ten.",
        ),
        Reading(
            "mismatch-deleted-by-consumer",
            "dlpack.h has the consumer call the deleter of a struct of another major version; the Python specification "
            "for DLPack has the capsule's destructor call it for a capsule that was not renamed.",
            "either: what counts is that it is called, and once.",
            "the header literally: the consumer renames the capsule and calls the deleter itself.",
        ),
        Reading(
            "requests-are-not-dropped",
            "the array API standard has a consumer ask again without max_version, dl_device and copy after TypeError; "
            "it also has from_dlpack copy, or stay on a device, whenever it is asked to.",
            "both: the keywords are dropped, and the consumer does itself, or refuses, what it was asked for.",
            "where a copy or a device was asked for, nothing is dropped, and TypeError reaches the caller.",
        ),
        Reading(
            "stream-is-optional",
            "the Python specification for DLPack has the consumer pass its stream; the array API standard calls every "
            "stream but None optional.",
            "the Python specification: who works on a stream other than the default one says so.",
            "the standard: no stream need be passed.",
        ),
    )
}


def readings_named(names: frozenset[str]) -> frozenset[str]:
    """Return the names; ``ValueError`` for one that is no contradiction known here."""
    unknown = sorted(names - READINGS.keys())
    if unknown:
        raise ValueError(f"no reading {unknown[0][:40]!r}: expected one of {', '.join(READINGS)}")
    return names
