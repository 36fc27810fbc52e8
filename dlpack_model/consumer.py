"""Consumers: ``from_dlpack``, and what is done with a capsule on the way to an array.

A consumer is described by what it does; a well-behaved one is the default. The function returns what it returns to
Python: a new reference to an array, or NULL with the error indicator set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from capsule_model import NULL
from dlpack_model.abi import IS_SUBBYTE_TYPE_PADDED, READ_ONLY, DLTensor
from dlpack_model.arrays import Array, new_array, place_array, values_of
from dlpack_model.contract import REQUESTS, Call, check_import
from dlpack_model.deleters import call_deleter
from dlpack_model.dtypes import element_type
from dlpack_model.exchange import INTERNAL
from dlpack_model.producer import Producer, __dlpack__, __dlpack_device__
from dlpack_model.streams import STREAMED, stream_on
from dlpack_model.tensor import Layout, compact_strides, read_layout
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange, Record

__all__ = ["CONSUMERS", "CONSUMER_QUIRKS", "Consumer", "consumer_named", "from_dlpack"]

MAJOR = 1


@dataclass(frozen=True, slots=True)
class Consumer:
    """Say what a library does when it imports a tensor.

    ``structs`` are the structs that it knows (True: versioned), ``max_version`` what it asks for (None: it does not
    ask). ``rename`` says when the capsule gets its new name, ``owner`` who calls the deleter later: the array itself,
    a capsule inside it, or the capsule that was consumed. ``on_error`` leaves an unusable tensor to the capsule's
    destructor, or renames the capsule and calls the deleter. ``checks`` tells whether tensors are looked at before or
    after they are taken over. ``errors`` are the exceptions by reason. The other fields are the ways in which
    consumers differ, or go wrong.
    """

    name: str = "consumer"
    structs: frozenset[bool] = frozenset({True, False})
    max_version: tuple[int, int] | None = (1, 3)
    stream: int | None = 1
    sends_stream: bool = True
    sends_always: tuple[str, ...] = ()
    asks_device: bool = True
    retries: tuple[frozenset[str], ...] = (frozenset({"max_version", "copy", "dl_device"}),)
    takes_capsules: bool = False
    rename: Literal["last", "first", "never"] = "last"
    clears_destructor: bool = False
    owner: Literal["array", "internal-capsule", "capsule"] = "array"
    on_error: Literal["leave", "delete"] = "leave"
    checks: Literal["before", "after"] = "before"
    checks_version: bool = True
    copies: Literal["producer", "consumer", "nobody", "always"] = "producer"
    copies_if_misaligned: int = 0
    devices: frozenset[int] = frozenset({1, 2, 3, 10, 11, 13})
    dtypes: frozenset[tuple[int, int]] | None = None
    lanes: bool = True
    most_ndim: int = 64
    negative_strides: bool = True
    null_strides: bool = True
    read_only: Literal["honours", "ignores", "refuses", "always"] = "honours"
    errors: Mapping[str, str] = field(default_factory=dict, hash=False)
    ignores_names: bool = False
    parses_as_legacy: bool = False
    reads_past_flags: bool = False
    ignores_byte_offset: bool = False
    ignores_strides: bool = False
    forgets_deleter: bool = False
    deletes_early: bool = False
    calls_null_deleter: bool = False
    swallows_errors: bool = False
    leaves_error: bool = False
    loses_read_only: bool = False
    fails_after_claim: bool = False
    calls_python: bool = False
    trusts_dtype: bool = False
    forgets_device: bool = False
    drops_with_error: bool = False

    def error_for(self, reason: str) -> str:
        """Return the type of the exception for a reason."""
        return self.errors.get(reason, "BufferError")


# Deviations by name; each changes one thing of a well-behaved consumer.
CONSUMER_QUIRKS: dict[str, dict[str, Any]] = {
    "late-rename": {"checks": "after"},
    "rename-first": {"rename": "first"},
    "rename-first-forgets": {"rename": "first", "on_error": "leave"},
    "never-renames": {"rename": "never"},
    "clears-destructor": {"clears_destructor": True},
    "keeps-capsule": {"owner": "capsule", "rename": "never"},
    "internal-capsule": {"owner": "internal-capsule"},
    "delete-on-error": {"on_error": "delete"},
    "no-version-check": {"checks_version": False},
    "reads-past-flags": {"reads_past_flags": True},
    "ignores-names": {"ignores_names": True},
    "parses-as-legacy": {"parses_as_legacy": True},
    "legacy-only": {"structs": frozenset({False}), "max_version": None, "retries": ()},
    "takes-capsules": {"takes_capsules": True},
    "ignores-byte-offset": {"ignores_byte_offset": True},
    "ignores-strides": {"ignores_strides": True},
    "forgets-deleter": {"forgets_deleter": True},
    "deletes-early": {"deletes_early": True},
    "calls-null-deleter": {"calls_null_deleter": True},
    "swallows-errors": {"swallows_errors": True},
    "leaves-error": {"leaves_error": True},
    "loses-read-only": {"loses_read_only": True},
    "refuses-read-only": {"read_only": "refuses"},
    "fails-after-claim": {"fails_after_claim": True},
    "calls-python": {"calls_python": True},
    "copies-itself": {"copies": "consumer"},
    "forgets-copy": {"copies": "nobody"},
    "always-copies": {"copies": "always"},
    "ignores-read-only": {"read_only": "ignores"},
    "no-retry": {"retries": ()},
    "no-stream": {"sends_stream": False},
    "stream-7": {"stream": 7},
    "no-synchronisation": {"stream": -1},
    "cpu-only": {"devices": frozenset({1})},
    "device-type-error": {"devices": frozenset({1}), "errors": {"device": "RuntimeError"}},
    "no-negative-strides": {"negative_strides": False},
    "needs-strides": {"null_strides": False},
    "trusts-dtype": {"trusts_dtype": True},
    "forgets-device": {"forgets_device": True},
    "drops-with-error": {"drops_with_error": True},
    "copies-misaligned": {"copies_if_misaligned": 16},
    "trusts-device": {"devices": frozenset(range(-1, 256))},
}

CONSUMERS: dict[str, Consumer] = {
    one.name: one
    for one in (
        Consumer("rename-only"),
        Consumer("clears-destructor", clears_destructor=True),
        Consumer("keeps-capsule", owner="capsule", rename="never"),
        Consumer("internal-capsule", owner="internal-capsule"),
        Consumer("rename-first", rename="first", on_error="delete"),
        Consumer("version-after-rename", rename="first", on_error="delete", checks="after"),
        Consumer("never-renames", rename="never"),
        Consumer("raw-capsule", structs=frozenset({False}), max_version=None, takes_capsules=True, retries=()),
        Consumer("legacy-parser", parses_as_legacy=True),
    )
}


def consumer_named(name: str, quirks: tuple[str, ...] = ()) -> Consumer:
    """Return a consumer by name, with deviations; ``ValueError`` for what is not known."""
    if name not in CONSUMERS:
        raise ValueError(f"no consumer {name[:40]!r}: expected one of {', '.join(CONSUMERS)}")
    consumer = CONSUMERS[name]
    for quirk in quirks:
        if quirk not in CONSUMER_QUIRKS:
            raise ValueError(f"no quirk {quirk[:40]!r} of a consumer: expected one of {', '.join(CONSUMER_QUIRKS)}")
        consumer = replace(consumer, **CONSUMER_QUIRKS[quirk])
    return consumer


def from_dlpack(
    ex: Exchange, consumer: Consumer, x: int, *, device: tuple[int, int] | None = None, copy: int | None = None
) -> int:
    """Import what ``x`` exports, an array or, where the consumer takes those, a capsule.

    Source: array API standard, draft of April 2026, ``from_dlpack``; dlpack.h 1.3.
    """
    call = Call(copy, device)
    result: int = ex.within(("from_dlpack", consumer.name), _from_dlpack, ex, consumer, x, device, call)
    check_import(ex, consumer, call, result)
    return result


def _from_dlpack(ex: Exchange, consumer: Consumer, x: int, device: tuple[int, int] | None, call: Call) -> int:
    array = ex.arrays.get(x)
    if array is None:
        if not consumer.takes_capsules or ex.py.capsule_at(x) is None:
            # rule: from_dlpack/needs-the-methods
            return ex.set_error("AttributeError", "no attribute '__dlpack__'")
        ex.py.Py_INCREF(x)
        call.given = True
        return _import(ex, consumer, x, call)
    call.device = __dlpack_device__(ex, array)[:2] if consumer.asks_device else array.layout.device  # type: ignore[assignment]
    if device is not None and call.copy == 0 and device != call.device and consumer.asks_device:
        # rule: from_dlpack/blocked-copy
        kind = "BufferError" if "blocked-copy-buffer-error" in ex.readings else "ValueError"
        return ex.set_error(consumer.errors.get("blocked-copy", kind), "another device needs a copy")
    capsule = _ask(ex, consumer, array, device, call)
    if capsule == NULL:
        if consumer.swallows_errors:
            ex.py.PyErr_Clear()
            return ex.set_error("RuntimeError", "the import failed")
        # rule: from_dlpack/propagates
        return NULL
    return _import(ex, consumer, capsule, call)


def _ask(ex: Exchange, consumer: Consumer, array: Array, device: tuple[int, int] | None, call: Call) -> int:
    """Call ``__dlpack__``, and again with fewer keywords where it does not know one; return a new capsule or NULL."""
    keywords: dict[str, Any] = dict.fromkeys(consumer.sends_always)
    if consumer.max_version is not None:
        keywords["max_version"] = consumer.max_version
    if device is not None and not consumer.forgets_device:
        keywords["dl_device"] = device
    if call.copy == 0 or (call.copy == 1 and consumer.copies == "producer"):
        keywords["copy"] = call.copy
    streamed = (device or array.layout.device)[0] in STREAMED
    if streamed and consumer.sends_stream:
        # rule: from_dlpack/passes-stream
        keywords["stream"] = stream_on((device or array.layout.device)[0], consumer.stream)
    attempts = [keywords]
    keeps = "requests-are-not-dropped" in ex.readings and REQUESTS.intersection(keywords)
    for dropped in () if keeps else consumer.retries:
        fewer = {key: value for key, value in attempts[-1].items() if key not in dropped}
        if fewer != attempts[-1]:
            attempts.append(fewer)
    for number, attempt in enumerate(attempts):
        call.sent = attempt
        capsule = __dlpack__(ex, array, attempt)
        if capsule != NULL:
            # What was raised before is answered by that.
            call.raised.clear()
            return capsule
        if ex.py.error is None:
            return NULL
        call.raised.append(ex.py.error.type)
        if ex.py.error.type != "TypeError" or number == len(attempts) - 1:
            break
        # rule: from_dlpack/type-error-retry
        ex.py.PyErr_Clear()
    return NULL


def _import(ex: Exchange, consumer: Consumer, capsule: int, call: Call) -> int:
    """Make an array of what is in a capsule; the reference to the capsule is given back."""
    versioned = _which_struct(ex, consumer, capsule)
    if versioned is None:
        ex.py.Py_DECREF(capsule)
        return NULL
    managed = _pointer(ex, consumer, capsule, versioned)
    if managed == NULL:
        ex.py.Py_DECREF(capsule)
        return NULL
    record = ex.records.get(managed)
    call.record = record
    ex.touch(record, f"{consumer.name} imports")
    if consumer.parses_as_legacy:
        versioned = False
    # rule: DLManagedTensor/right-struct
    if record is not None and record.versioned != versioned:
        made = "DLManagedTensorVersioned" if record.versioned else "DLManagedTensor"
        read = "DLManagedTensorVersioned" if versioned else "DLManagedTensor"
        fact = f"{consumer.name} reads a {made} as a {read}"
        ex.complain(Broken.WRONG_STRUCT, fact, "DLManagedTensor/right-struct", record, capsule)
    if consumer.rename == "first":
        _rename(ex, consumer, capsule, versioned)
    if versioned and not _version_fits(ex, consumer, managed, record):
        return _give_up(ex, consumer, capsule, managed, versioned, "version", call)
    tensor, flags, version = ex.tensor_at(managed, versioned)
    call.read_only = flags & READ_ONLY != 0
    call.device = tensor.device
    # rule: from_dlpack/device
    if call.asked not in (None, tensor.device) and not consumer.forgets_device:
        return _give_up(ex, consumer, capsule, managed, versioned, "device", call)
    if consumer.checks == "before":
        reason = _unsupported(consumer, tensor, flags)
        if reason is not None:
            return _give_up(ex, consumer, capsule, managed, versioned, reason, call)
    layout = _layout(ex, consumer, tensor, flags, version)
    if consumer.checks == "before" and not consumer.negative_strides and min(layout.strides, default=0) < 0:
        return _give_up(ex, consumer, capsule, managed, versioned, "negative-strides", call)
    return _take_over(ex, consumer, capsule, managed, versioned, layout, tensor, flags, call)


def _which_struct(ex: Exchange, consumer: Consumer, capsule: int) -> bool | None:
    """Return which of the two structs the capsule's name says, None with an exception where it says neither."""
    py = ex.py
    if consumer.ignores_names:
        record = ex.by_capsule.get(capsule)
        return record is not None and record.versioned
    for versioned in (True, False):
        if versioned in consumer.structs and py.PyCapsule_IsValid(capsule, ex.name_addresses[versioned][0]):
            # rule: from_dlpack/name-decides
            return versioned
    # rule: from_dlpack/refuses-other-names
    ex.set_error(consumer.error_for("name") if "name" in consumer.errors else "ValueError", "no unconsumed capsule")
    return None


def _pointer(ex: Exchange, consumer: Consumer, capsule: int, versioned: bool) -> int:
    py = ex.py
    if consumer.ignores_names:
        return py.PyCapsule_GetPointer(capsule, py.PyCapsule_GetName(capsule))
    if consumer.leaves_error:
        py.PyCapsule_GetPointer(capsule, ex.name_addresses[not versioned][0])
    return py.PyCapsule_GetPointer(capsule, ex.name_addresses[versioned][0])


def _version_fits(ex: Exchange, consumer: Consumer, managed: int, record: Record | None) -> bool:
    """Tell whether the struct is of a major version that the consumer knows how to read."""
    major = int.from_bytes(ex.memory.read(managed, 4), ex.abi.order)
    # rule: from_dlpack/verifies-version
    if major == MAJOR:
        return True
    # rule: from_dlpack/nothing-past-flags
    if consumer.checks_version and not consumer.reads_past_flags:
        return False
    fact = f"{consumer.name} reads shape and data of version {major}, and knows version {MAJOR}"
    rule = "from_dlpack/nothing-past-flags" if consumer.checks_version else "from_dlpack/verifies-version"
    ex.complain(Broken.PAST_FLAGS, fact, rule, record)
    return not consumer.checks_version


def _unsupported(consumer: Consumer, tensor: DLTensor, flags: int) -> str | None:
    """Return why the consumer does not take a tensor, None where it does."""
    if tensor.device_type not in consumer.devices:
        return "device"
    if tensor.ndim > consumer.most_ndim:
        return "ndim"
    if tensor.lanes != 1 and not consumer.lanes:
        return "lanes"
    # rule: from_dlpack/unknown-dtype
    if element_type(*tensor.dtype) is None and not consumer.trusts_dtype:
        return "dtype"
    if consumer.dtypes is not None and (tensor.code, tensor.bits) not in consumer.dtypes:
        return "dtype"
    if consumer.read_only == "refuses" and flags & READ_ONLY:
        return "read-only"
    if not consumer.null_strides and tensor.strides == NULL and tensor.ndim > 0:
        return "null-strides"
    return None


def _layout(ex: Exchange, consumer: Consumer, tensor: DLTensor, flags: int, version: tuple[int, int]) -> Layout:
    if consumer.ignores_byte_offset:
        tensor = tensor._replace(byte_offset=0)
    layout = read_layout(ex, tensor, padded=flags & IS_SUBBYTE_TYPE_PADDED != 0, before_1_2=version < (1, 2))
    if consumer.ignores_strides:
        strides = compact_strides(layout.shape)
        return Layout(layout.address, layout.dtype, layout.shape, strides, layout.device, padded=layout.padded)
    return layout


def _give_up(
    ex: Exchange, consumer: Consumer, capsule: int, managed: int, versioned: bool, reason: str, call: Call
) -> int:
    """Fail with the exception for a reason; the tensor goes back to its capsule's destructor, or is deleted here."""
    call.refused = reason
    if reason == "version" and consumer.on_error == "leave" and "mismatch-deleted-by-consumer" in ex.readings:
        # rule: from_dlpack/deletes-on-error
        fact = f"{consumer.name} leaves a tensor of another major version to the capsule's destructor"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/deletes-on-error", call.record, capsule)
    if consumer.on_error == "delete":
        if consumer.rename != "first":
            _rename(ex, consumer, capsule, versioned)
        # rule: from_dlpack/deletes-on-error
        call_deleter(ex, managed, versioned=versioned, checks_null=not consumer.calls_null_deleter)
    ex.set_error(consumer.error_for(reason), f"unsupported {reason}")
    # A destructor must not see, nor lose, the exception that is on its way to the caller.
    aside = ex.py.error
    if not consumer.drops_with_error:
        ex.py.error = None
    ex.py.Py_DECREF(capsule)
    ex.py.error = aside
    return NULL


def _rename(ex: Exchange, consumer: Consumer, capsule: int, versioned: bool) -> None:
    """Mark the capsule as consumed: from here on its destructor leaves the tensor alone."""
    if consumer.rename == "never":
        return
    # rule: from_dlpack/renames
    ex.py.PyCapsule_SetName(capsule, ex.name_addresses[versioned][1])
    if consumer.clears_destructor:
        # rule: from_dlpack/may-clear-destructor
        ex.py.PyCapsule_SetDestructor(capsule, NULL)


def _take_over(
    ex: Exchange,
    consumer: Consumer,
    capsule: int,
    managed: int,
    versioned: bool,
    layout: Layout,
    tensor: DLTensor,
    flags: int,
    call: Call,
) -> int:
    """Make the array, take the tensor over from the capsule, and let go of the capsule."""
    record = call.record
    copies = _copies(consumer, layout, call)
    view = _view(consumer, layout, tensor, flags, record)
    place_array(ex, view)
    if consumer.calls_python:
        ex.event({"dlpack": "from_dlpack", "of": view.address})
    _own(ex, consumer, view, capsule, managed, versioned)
    reason = "late" if consumer.fails_after_claim else None
    if consumer.checks == "after" and reason is None:
        reason = _unsupported(consumer, tensor, flags)
    if reason is not None:
        return _fail_late(ex, consumer, view, capsule, versioned, reason, call)
    if consumer.rename == "last":
        _rename(ex, consumer, capsule, versioned)
    _check_renamed(ex, consumer, capsule, record)
    ex.py.Py_DECREF(capsule)
    call.shares = not copies and not (record is not None and record.copied)
    if copies:
        return _copied(ex, view)
    if consumer.deletes_early:
        call_deleter(ex, managed, versioned=versioned)
    return view.address


def _copies(consumer: Consumer, layout: Layout, call: Call) -> bool:
    """Tell whether the consumer makes a copy of its own: also where the producer was not asked for the one wanted."""
    asked = consumer.copies == "nobody" or (consumer.copies == "producer" and "copy" in call.sent)
    if consumer.copies == "always" or (call.copy == 1 and not asked):
        # rule: from_dlpack/copy-true
        return True
    misaligned = consumer.copies_if_misaligned and layout.address % consumer.copies_if_misaligned
    return bool(misaligned) and call.copy != 0


@cache
def _exporting(name: str) -> Producer:
    """Return what a library is as a producer when it exports what it has imported."""
    return Producer(name)


def _view(consumer: Consumer, layout: Layout, tensor: DLTensor, flags: int, record: Record | None) -> Array:
    array = Array(NULL, f"{consumer.name}'s view", _exporting(consumer.name), layout, tensor.data, record=record)
    kept = flags & (READ_ONLY | IS_SUBBYTE_TYPE_PADDED)
    if consumer.read_only == "ignores" or consumer.loses_read_only:
        kept &= ~READ_ONLY
    if consumer.read_only == "always":
        kept |= READ_ONLY
    array.flags = kept
    array.copied = record is not None and record.copied
    return array


def _own(ex: Exchange, consumer: Consumer, view: Array, capsule: int, managed: int, versioned: bool) -> None:
    """Say who will call the deleter, and how the array sees to it when it dies."""
    record = view.record
    party = f"{consumer.name}'s array"
    if consumer.owner == "capsule":
        ex.py.Py_INCREF(capsule)
        view.release = lambda ex, array: ex.py.Py_DECREF(capsule)
        return
    if consumer.owner == "internal-capsule":
        internal = _internal_capsule(ex, consumer, managed, versioned)
        if record is not None:
            ex.claim(record, f"{consumer.name}'s internal capsule", internal, capsule)
        view.release = lambda ex, array: ex.py.Py_DECREF(internal)
        return
    if consumer.forgets_deleter:
        return
    if record is not None:
        ex.claim(record, party, view.address, capsule)

    def release(ex: Exchange, array: Array) -> None:
        if record is not None:
            ex.unclaim(record, array.address)
        call_deleter(ex, managed, versioned=versioned, checks_null=not consumer.calls_null_deleter)

    view.release = release


def _internal_capsule(ex: Exchange, consumer: Consumer, managed: int, versioned: bool) -> int:
    """Return a capsule of the consumer's own that calls the deleter when it dies."""
    name = ex.cstring(INTERNAL[versioned])

    def destroy(self: int) -> None:
        tensor = ex.py.PyCapsule_GetPointer(self, name)
        record = ex.records.get(tensor)
        if record is not None:
            ex.unclaim(record, self)
        call_deleter(ex, tensor, versioned=versioned, checks_null=not consumer.calls_null_deleter)

    key = ("internal", versioned, consumer.calls_null_deleter)
    destructor = ex.register(key, "destructor", "internal capsule destructor", destroy)
    return ex.py.PyCapsule_New(managed, name, destructor)


def _fail_late(
    ex: Exchange, consumer: Consumer, view: Array, capsule: int, versioned: bool, reason: str, call: Call
) -> int:
    """Fail when the array exists already: it dies, and with it the tensor; the capsule has to be renamed by then."""
    call.refused = reason
    if consumer.on_error == "delete" and consumer.rename == "last":
        _rename(ex, consumer, capsule, versioned)
    ex.py.Py_DECREF(view.address)
    ex.py.Py_DECREF(capsule)
    return ex.set_error(consumer.error_for(reason), f"unsupported {reason}")


def _check_renamed(ex: Exchange, consumer: Consumer, capsule: int, record: Record | None) -> None:
    # rule: from_dlpack/renames
    if record is not None and ex.name_of(capsule) == record.names.unused:
        fact = f"{consumer.name} leaves the capsule its name {record.names.unused.decode()!r}"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/renames", record, capsule)


def _copied(ex: Exchange, view: Array) -> int:
    """Return a new array with the elements of a view, and let go of the view."""
    address = new_array(
        ex,
        view.producer,
        view.layout.dtype,
        view.layout.shape,
        values_of(ex, view),
        device=view.layout.device,
        padded=view.layout.padded,
        name=f"copy of {view.name}",
    )
    ex.py.Py_DECREF(view.address)
    return address
