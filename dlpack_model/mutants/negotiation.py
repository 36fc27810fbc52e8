"""Mistakes of producers with what they are asked for: in what they make of keywords, and in how they refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from capsule_model import NULL
from dlpack_model.arrays import Array
from dlpack_model.exchange import Exchange
from dlpack_model.mutants.mutant import Mutant, asking, producing, returning
from dlpack_model.mutants.production import store
from dlpack_model.streams import STREAMED

__all__ = ["KEYWORDS", "REFUSALS"]

Keywords = dict[str, Any]


def _whole_version(ex: Exchange, array: Array, keywords: Keywords) -> Keywords:
    version = keywords.get("max_version")
    if version is not None and version < array.producer.version:
        keywords["max_version"] = (0, 8)
    return keywords


def _version_as_asked(ex: Exchange, array: Array, keywords: Mapping[str, Any], capsule: int) -> int:
    record = ex.by_capsule.get(capsule)
    version = keywords.get("max_version")
    if record is not None and record.versioned and version is not None:
        store(ex, record, version__major=version[0], version__minor=version[1])
    return capsule


def _type_of_device_alone(ex: Exchange, array: Array, keywords: Keywords) -> Keywords:
    device = keywords.get("dl_device")
    if device is not None and device[0] == array.layout.device[0]:
        keywords["dl_device"] = array.layout.device
    return keywords


def _unknown_ignored(ex: Exchange, array: Array, keywords: Keywords) -> Keywords:
    return {name: value for name, value in keywords.items() if name in array.producer.keywords}


def _silence(ex: Exchange, array: Array, keywords: Keywords) -> Keywords:
    device = keywords.get("dl_device") or array.layout.device
    if device[0] in STREAMED and keywords.get("stream") is None:
        keywords["stream"] = -1
    return keywords


def _zero_is_default(ex: Exchange, array: Array, keywords: Keywords) -> Keywords:
    if keywords.get("stream") == 0:
        keywords["stream"] = None
    return keywords


def _without(name: str, *values: Any) -> Callable[[Exchange, Array, Keywords], Keywords]:
    """Return what forgets a keyword where it has one of these values."""

    def changed(ex: Exchange, array: Array, keywords: Keywords) -> Keywords:
        return {key: value for key, value in keywords.items() if key != name or value not in values}

    return changed


def _default_copies(ex: Exchange, array: Array, keywords: Keywords) -> Keywords:
    if keywords.get("copy") is None:
        keywords["copy"] = 1
    return keywords


KEYWORDS = (
    Mutant(
        "producer.always-versioned",
        "The versioned struct is made for those who did not ask for a version.",
        ("__dlpack__/max-version-none",),
        producing(structs=True),
    ),
    Mutant(
        "producer.never-versioned",
        "The old struct is made for those who asked for version 1.",
        ("__dlpack__/max-version-enough",),
        producing(structs=False),
    ),
    Mutant(
        "producer.whole-version",
        "max_version is compared as a whole: a consumer of 1.0 gets the old struct of a producer of 1.3.",
        ("__dlpack__/max-version-enough",),
        asking(_whole_version),
    ),
    Mutant(
        "producer.version-as-asked",
        "The struct says the version that was asked for, whatever it is.",
        ("__dlpack__/max-version-enough",),
        returning(_version_as_asked),
    ),
    Mutant(
        "producer.newer-major",
        "A struct of version 2 is made for a consumer of version 1.",
        ("__dlpack__/max-version-too-old",),
        producing(structs=True, version=(2, 0)),
    ),
    Mutant(
        "producer.read-only-in-legacy",
        "Read-only elements are exported in the old struct, which cannot say so.",
        ("__dlpack__/read-only-needs-flags",),
        producing(read_only_error=False),
    ),
    Mutant(
        "producer.ignores-device",
        "dl_device is ignored.",
        ("__dlpack__/dl-device",),
        producing(ignores_device=True),
    ),
    Mutant(
        "producer.device-by-type",
        "dl_device is compared by its type, not by its number.",
        ("__dlpack__/dl-device",),
        asking(_type_of_device_alone),
    ),
    Mutant(
        "producer.device-as-integer",
        "__dlpack_device__ answers an integer.",
        ("__dlpack_device__/tuple",),
        producing(device_as_int=True),
    ),
    Mutant(
        "producer.device-is-the-host",
        "__dlpack_device__ answers the host, wherever the elements are.",
        ("__dlpack_device__/tuple",),
        producing(device=(1, 0)),
    ),
    Mutant(
        "producer.always-copies",
        "A copy is made whatever was asked for.",
        ("__dlpack__/copy-false",),
        producing(copies_anyway=True),
    ),
    Mutant(
        "producer.never-copies",
        "No copy is made where one was asked for.",
        ("__dlpack__/copy-true",),
        producing(copies=False),
    ),
    Mutant(
        "producer.copies-by-default",
        "A copy is made where nothing was said of copies.",
        ("__dlpack__/copy-true",),
        asking(_default_copies),
    ),
    Mutant(
        "producer.copy-false-forgotten",
        "copy=False is taken for nothing: another device gets its copy.",
        ("__dlpack__/copy-false",),
        asking(_without("copy", 0)),
    ),
    Mutant(
        "producer.unknown-keywords-ignored",
        "Keywords that the producer does not know are ignored.",
        ("__dlpack__/unknown-keyword",),
        asking(_unknown_ignored),
    ),
    Mutant(
        "producer.ignores-stream",
        "Any stream is taken, also on devices without streams.",
        ("__dlpack__/stream-cpu",),
        producing(ignores_stream=True),
    ),
    Mutant(
        "producer.minus-one-waits",
        "Streams wait for each other where -1 says that they need not.",
        ("__dlpack__/stream-minus-one",),
        producing(synchronises_anyway=True),
    ),
    Mutant(
        "producer.minus-one-refused",
        "The stream -1 is taken for no stream at all.",
        ("__dlpack__/stream-minus-one",),
        asking(_without("stream", -1)),
    ),
    Mutant(
        "producer.no-stream-no-waiting",
        "Nobody waits where no stream is named, which means the default one.",
        ("__dlpack__/stream-synchronised",),
        asking(_silence),
    ),
    Mutant(
        "producer.zero-is-default",
        "Stream 0 is taken for the default one on CUDA, too.",
        ("__dlpack__/stream-cuda",),
        asking(_zero_is_default),
    ),
)


def _silent(ex: Exchange, array: Array, keywords: Mapping[str, Any], capsule: int) -> int:
    if capsule == NULL:
        ex.py.PyErr_Clear()
    return capsule


def _error_left(ex: Exchange, array: Array, keywords: Mapping[str, Any], capsule: int) -> int:
    if capsule != NULL and keywords.get("copy") is not None:
        ex.py.PyErr_SetString("RuntimeError", "left by something that was tried")
    return capsule


def _runtime_error(ex: Exchange, array: Array, keywords: Mapping[str, Any], capsule: int) -> int:
    if capsule == NULL and ex.py.error is not None and ex.py.error.type == "TypeError":
        ex.py.PyErr_SetString("RuntimeError", "an unexpected keyword")
    return capsule


REFUSALS = (
    Mutant(
        "producer.fails-silently",
        "NULL is returned without an exception.",
        ("__dlpack__/error-with-null",),
        returning(_silent),
    ),
    Mutant(
        "producer.error-left",
        "A capsule is returned, and an exception is left from something that was tried before.",
        ("from_dlpack/error-with-null",),
        returning(_error_left),
    ),
    Mutant(
        "producer.value-error",
        "What cannot be exported is a ValueError.",
        ("__dlpack__/buffer-error",),
        producing(wrong_error="ValueError"),
    ),
    Mutant(
        "producer.runtime-error-for-keyword",
        "A keyword that is not known is a RuntimeError, after which nobody tries again.",
        ("__dlpack__/unknown-keyword",),
        returning(_runtime_error),
    ),
)
