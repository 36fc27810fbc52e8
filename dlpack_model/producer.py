"""Producers: ``__dlpack__`` and ``__dlpack_device__``, and how a managed tensor is filled in.

A producer is described by what it does; a well-behaved one is the default. Methods return what they return to
Python: a new reference, or NULL with the error indicator set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from capsule_model import NULL
from dlpack_model.abi import IS_COPIED, IS_SUBBYTE_TYPE_PADDED, READ_ONLY
from dlpack_model.arrays import Array, new_array, values_of
from dlpack_model.contract import check_export, check_refusal
from dlpack_model.deleters import Deleter, deleter_address
from dlpack_model.destructors import Destructor, destructor_address
from dlpack_model.streams import Refused, synchronise
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange, Record

__all__ = [
    "KEYWORDS",
    "PRODUCER_QUIRKS",
    "Producer",
    "__dlpack__",
    "__dlpack_device__",
    "export",
    "export_managed",
    "quirky",
]

KEYWORDS = ("stream", "max_version", "dl_device", "copy")
Keywords = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Producer:
    """Say what a library does when it exports an array.

    ``version`` is the newest DLPack that it speaks, ``legacy`` whether it still makes the old struct, ``structs``
    what it makes whatever it is asked for (None: what was negotiated). ``keywords`` are those that its method takes.
    ``devices`` are the device types that it can copy to. ``returns`` is the type of what its method returns instead of
    a capsule; with ``repeats`` it returns its capsule again, consumed or not. ``destructor`` and ``deleter`` are names,
    or code of one's own; ``fills`` is called with every struct that was just filled in. The other fields are the ways
    in which producers differ, or go wrong.
    """

    name: str = "producer"
    version: tuple[int, int] = (1, 3)
    legacy: bool = True
    structs: bool | None = None
    keywords: frozenset[str] = frozenset(KEYWORDS)
    destructor: str | Destructor = "specification-example"
    deleter: str | Deleter = "normal"
    devices: frozenset[int] = frozenset({1, 2, 3, 10, 11, 13})
    null_strides: bool = False
    byte_offset: bool = False
    shares: bool = False
    capsule_name: bytes | None = None
    frees_name: bool = False
    marks_copies: bool = True
    marks_read_only: bool = True
    copies: bool = True
    copies_anyway: bool = False
    ignores_device: bool = False
    ignores_stream: bool = False
    flags: int = 0
    exports_non_native: bool = False
    sub_byte_bits: int | None = None
    data_of_nothing: bool = False
    device: tuple[int, int] | None = None
    device_as_int: bool = False
    raises: tuple[str, str] | None = None
    fails_silently: bool = False
    synchronises_anyway: bool = False
    read_only_error: bool = True
    wrong_error: str | None = None
    returns: str | None = None
    repeats: bool = False
    fills: Callable[[Exchange, Record], None] | None = None
    type_name: str = field(init=False, default="")
    running: tuple[str, str] = field(init=False, default=("", ""))

    def __post_init__(self) -> None:
        object.__setattr__(self, "type_name", f"{self.name}.Array")
        object.__setattr__(self, "running", ("__dlpack__", self.name))


# Deviations by name; each changes one thing of a well-behaved producer.
PRODUCER_QUIRKS: dict[str, dict[str, Any]] = {
    "legacy-only": {"structs": False, "version": (0, 8)},
    "always-versioned": {"structs": True},
    "no-legacy": {"legacy": False},
    "version-2": {"version": (2, 0), "legacy": False},
    "ignores-max-version": {"structs": True, "version": (2, 0)},
    "no-keywords": {"keywords": frozenset({"stream"})},
    "no-keywords-at-all": {"keywords": frozenset()},
    "wrong-name": {"capsule_name": b"tensor"},
    "versioned-under-legacy-name": {"capsule_name": b"dltensor"},
    "freed-name": {"frees_name": True},
    "no-destructor": {"destructor": "none"},
    "null-deleter": {"deleter": "null"},
    "null-strides": {"null_strides": True},
    "byte-offset": {"byte_offset": True},
    "shares-one-struct": {"shares": True, "deleter": "counts-shares"},
    "unmarked-copy": {"marks_copies": False},
    "unmarked-read-only": {"marks_read_only": False, "read_only_error": False},
    "never-copies": {"copies": False},
    "copies-anyway": {"copies_anyway": True},
    "ignores-device": {"ignores_device": True},
    "ignores-stream": {"ignores_stream": True},
    "stray-flags": {"flags": 1 << 40},
    "exports-non-native": {"exports_non_native": True},
    "sub-byte-bits": {"sub_byte_bits": 8},
    "data-of-nothing": {"data_of_nothing": True},
    "device-as-int": {"device_as_int": True},
    "raises-buffer-error": {"raises": ("BufferError", "cannot be exported")},
    "fails-silently": {"fails_silently": True},
    "synchronises-anyway": {"synchronises_anyway": True},
    "raises-runtime-error": {"raises": ("RuntimeError", "out of order")},
    "wrong-refusal": {"wrong_error": "RuntimeError"},
    "copies-to-the-host-alone": {"devices": frozenset({1})},
}


def quirky(producer: Producer, quirks: tuple[str, ...]) -> Producer:
    """Return the producer with deviations; ``ValueError`` for one that is not known."""
    for quirk in quirks:
        if quirk not in PRODUCER_QUIRKS:
            raise ValueError(f"no quirk {quirk[:40]!r} of a producer: expected one of {', '.join(PRODUCER_QUIRKS)}")
        producer = replace(producer, **PRODUCER_QUIRKS[quirk])
    return producer


def __dlpack_device__(ex: Exchange, array: Array) -> tuple[int, ...]:
    """Return device type and device number of an array, as its method answers."""
    producer = array.producer
    answer: tuple[int, ...] = producer.device or array.layout.device
    if producer.device_as_int:
        answer = answer[:1]
    if ex.event is not None:
        ex.event({"dlpack": "__dlpack_device__", "of": array.address})
    # rule: __dlpack_device__/tuple
    if len(answer) != 2 or answer[0] not in ex.device_types:
        fact = f"{producer.name} answers {answer}, expected (device type, device number)"
        ex.complain(Broken.CONTRACT, fact, "__dlpack_device__/tuple", array.record, array.address)
    return answer


def __dlpack__(ex: Exchange, array: Array, keywords: Keywords) -> int:
    """Export an array: return a new capsule, or NULL with the exception that the method raises.

    ``keywords`` are those that the consumer sends. Source: array API standard, draft of April 2026, ``__dlpack__``.
    """
    if ex.event is not None:
        ex.event({"dlpack": "__dlpack__", "of": array.address, "keywords": sorted(keywords), "values": keywords})
    situation = (ex.rules, array.producer, *keywords.items())
    versioned = array.in_order.get(situation)
    if versioned is not None and array.made_on is None:
        # All that is asked elsewhere was asked, and answered, when this export was made before.
        return _capsule(ex, array, versioned, False)
    ex.running.append(array.producer.running)
    try:
        capsule = _export(ex, array, keywords, situation)
        if capsule == NULL:
            check_refusal(ex, array, keywords)
    finally:
        ex.running.pop()
    return capsule


def _export(ex: Exchange, array: Array, keywords: Keywords, situation: tuple[object, ...]) -> int:
    given, known, own = ex.given, len(ex.unwatched), ex.parties.exports
    capsule = export(ex, array, keywords) if own is None else own(ex, array, keywords)
    if ex.given == given:
        # NULL, no capsule, or one that was looked at when it was made.
        return capsule
    record = ex.by_capsule[capsule]
    check_export(ex, array, keywords, capsule, record.copied)
    if array.producer.repeats:
        # The producer's own reference: it has no moment at which to give it back.
        ex.py.Py_INCREF(capsule)
    elif own is None and not record.copied and len(ex.unwatched) == known:
        array.in_order[situation] = record.versioned
    return capsule


def export(ex: Exchange, array: Array, keywords: Keywords) -> int:
    """Do what an array's producer does in ``__dlpack__``, unwatched: return a capsule, or NULL with the exception."""
    producer = array.producer
    if not keywords.keys() <= producer.keywords:
        unknown = min(keywords.keys() - producer.keywords)
        # rule: __dlpack__/unknown-keyword
        return ex.set_error("TypeError", f"__dlpack__() got an unexpected keyword argument '{unknown}'")
    if producer.raises is not None:
        return ex.set_error(*producer.raises)
    if producer.fails_silently:
        return NULL
    if producer.returns is not None:
        return ex.py.new_object(producer.returns)
    if producer.repeats and (made := _living_capsule(ex, array)) != NULL:
        ex.py.Py_INCREF(made)
        return made
    versioned = _struct(producer, keywords.get("max_version"))
    if versioned is None:
        # rule: __dlpack__/max-version-too-old
        return ex.set_error(producer.wrong_error or "BufferError", "the consumer's max_version is too old")
    if array.layout.form.swapped and not producer.exports_non_native:
        # rule: DLDataType/native-endianness
        return ex.set_error("BufferError", "only the native byte order can be exported")
    if array.read_only and not versioned and producer.read_only_error and keywords.get("copy") != 1:
        # rule: __dlpack__/read-only-needs-flags
        return ex.set_error("BufferError", "the old struct cannot say that the data are read-only")
    if array.layout.padded and not (versioned and producer.version >= (1, 1)):
        # rule: __dlpack__/padded-needs-flags
        return ex.set_error("BufferError", "before DLPack 1.1 no struct can say that sub-byte elements are padded")
    device = keywords.get("dl_device") or array.layout.device
    if producer.ignores_device:
        device = array.layout.device
    if device != array.layout.device and device[0] not in producer.devices:
        # rule: __dlpack__/device-unsupported
        return ex.set_error(producer.wrong_error or "BufferError", f"device type {device[0]} is not supported")
    copy = keywords.get("copy")
    if device != array.layout.device and copy == 0 and not producer.copies_anyway:
        # rule: __dlpack__/copy-false
        return ex.set_error(producer.wrong_error or "BufferError", "another device needs a copy")
    stream = keywords.get("stream")
    if stream is not None or array.made_on is not None:
        try:
            synchronise(ex, array, device, stream)
        except Refused as refusal:
            return ex.set_error(refusal.type, str(refusal))
    copied = producer.copies_anyway or device != array.layout.device or (copy == 1 and producer.copies)
    source = _copy_of(ex, array, device) if copied else array
    capsule = _capsule(ex, source, versioned, copied)
    if copied:
        ex.py.Py_DECREF(source.address)
    return capsule


def _living_capsule(ex: Exchange, array: Array) -> int:
    """Return a capsule of the array that is alive, consumed or not, NULL where there is none."""
    made = (capsule for capsule, record in ex.by_capsule.items() if record.array is array)
    return next((capsule for capsule in made if ex.py.capsule_at(capsule) is not None), NULL)


def _struct(producer: Producer, max_version: tuple[int, int] | None) -> bool | None:
    """Return whether the struct is the versioned one, None where there is none that the consumer understands."""
    if producer.structs is not None:
        # rule: __dlpack__/may-return-another-version
        return producer.structs
    if max_version is None:
        # rule: __dlpack__/max-version-none
        return False if producer.legacy else None
    if max_version[0] >= producer.version[0]:
        # rule: __dlpack__/max-version-enough
        return producer.version >= (1, 0)
    if max_version < (1, 0) and producer.legacy:
        # rule: __dlpack__/max-version-old
        return False
    return None


def _copy_of(ex: Exchange, array: Array, device: tuple[int, int]) -> Array:
    """Return a new compact array with the same elements, on a device."""
    # rule: __dlpack__/copy-true
    address = new_array(
        ex,
        array.producer,
        array.layout.dtype,
        array.layout.shape,
        values_of(ex, array),
        device=device,
        padded=array.layout.padded,
        name=f"copy of {array.name}",
    )
    return ex.arrays[address]


def _capsule(ex: Exchange, array: Array, versioned: bool, copied: bool) -> int:
    """Return a new capsule around a managed tensor of the array."""
    producer = array.producer
    managed = export_managed(ex, array, versioned, copied)
    name = ex.name_addresses[versioned][0]
    if producer.capsule_name is not None:
        name = ex.cstring(producer.capsule_name)
    if producer.frees_name:
        text = ex.memory.c_string(name) + b"\0"
        name = ex.py.malloc(len(text))
        ex.py.write(name, text)
    destructor = ex.registered.get((producer.destructor, versioned, "destructor"))
    if destructor is None:
        destructor = destructor_address(ex, producer.destructor, versioned)
    capsule = ex.py.PyCapsule_New(managed, name, destructor)
    ex.give(ex.live[managed], capsule)
    if producer.frees_name:
        ex.py.free(name)
    return capsule


def export_managed(ex: Exchange, array: Array, versioned: bool, copied: bool) -> int:
    """Fill in a managed tensor for the array, which it keeps alive, and return its address.

    Shape and strides lie behind the struct, in the same block.
    """
    if array.producer.shares:
        for record in ex.live.values():
            if record.array is array and record.versioned == versioned:
                ex.book(record.address, array, versioned, copied, True)
                return record.address
    situation = (array.producer, versioned, copied)
    plan = array.plans.get(situation)
    if plan is None:
        plan = array.plans[situation] = _plan(ex, array, versioned, copied)
    memory = ex.memory
    managed = memory.malloc(plan.size)
    shape = managed + plan.behind
    pointers = (shape if plan.has_shape else NULL, shape + plan.strides_at if plan.has_strides else NULL)
    # rule: dlpack.h/layout
    memory.write(managed, plan.pack(*plan.before, *pointers, *plan.after) + plan.tail)
    ex.py.Py_INCREF(array.address)
    record = ex.book(managed, array, versioned, copied, plan.has_deleter)
    if array.producer.fills is not None:
        array.producer.fills(ex, record)
    return managed


class Plan(NamedTuple):
    """Say what is the same for each export of an array: its fields, and the elements of shape and strides.

    ``before`` and ``after`` are the fields around the pointers to shape and strides; ``tail`` is what lies behind the
    struct, at ``behind`` from its start, strides ``strides_at`` bytes further.
    """

    pack: Callable[..., bytes]
    before: tuple[int, ...]
    after: tuple[int, ...]
    tail: bytes
    size: int
    behind: int
    strides_at: int
    has_shape: bool
    has_strides: bool
    has_deleter: bool


def _plan(ex: Exchange, array: Array, versioned: bool, copied: bool) -> Plan:
    producer, layout = array.producer, array.layout
    ndim = len(layout.shape)
    codec = ex.abi.versioned if versioned else ex.abi.legacy
    data = (array.data, layout.address - array.data) if producer.byte_offset else (layout.address, 0)
    if layout.form.size == 0 and not producer.data_of_nothing:
        # rule: DLTensor/data-of-nothing
        data = NULL, 0
    code, bits, lanes = layout.dtype.triple
    if producer.sub_byte_bits is not None and bits % 8:
        bits = producer.sub_byte_bits
    tensor = (data[0], *layout.device, ndim, code, bits, lanes)
    deleter = deleter_address(ex, producer.deleter, versioned)
    head = (*producer.version, array.address, deleter, _flags(array, copied)) if versioned else ()
    return Plan(
        codec.pack,
        head + tensor,
        (data[1],) if versioned else (data[1], array.address, deleter),
        bytes(codec.behind - codec.size) + ex.abi.integers(layout.shape + layout.strides),
        codec.behind + 16 * ndim,
        codec.behind,
        8 * ndim,
        ndim > 0,
        ndim > 0 and not producer.null_strides,
        deleter != NULL,
    )


def _flags(array: Array, copied: bool) -> int:
    """Return the flags of the versioned struct."""
    producer = array.producer
    flags = array.flags & IS_SUBBYTE_TYPE_PADDED | producer.flags
    if array.read_only and producer.marks_read_only:
        # rule: DLManagedTensorVersioned/read-only
        flags |= READ_ONLY
    if copied and producer.marks_copies:
        # rule: DLManagedTensorVersioned/is-copied
        flags |= IS_COPIED
    return flags
