"""Consumers: ``from_dlpack``, and what is done with a capsule on the way to an array.

A consumer is described by what it does; a well-behaved one is the default. The function returns what it returns to
Python: a new reference to an array, or NULL with the error indicator set.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from capsule_model import NULL
from dlpack_model.abi import IS_SUBBYTE_TYPE_PADDED, READ_ONLY, DLTensor
from dlpack_model.arrays import Array, new_array, place_array, values_of
from dlpack_model.contract import Call, check_import
from dlpack_model.deleters import call_deleter
from dlpack_model.dtypes import DType, element_type
from dlpack_model.exchange import INTERNAL, NAMES
from dlpack_model.producer import Producer, __dlpack__, __dlpack_device__
from dlpack_model.styles import CONSUMER_QUIRKS, CONSUMERS, Consumer, consumer_named
from dlpack_model.tensor import Layout, compact_strides, read_layout
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange, Record

__all__ = ["CONSUMERS", "CONSUMER_QUIRKS", "Consumer", "consumer_named", "from_dlpack"]

MAJOR = 1


def from_dlpack(
    ex: Exchange, consumer: Consumer, x: int, *, device: tuple[int, int] | None = None, copy: int | None = None
) -> int:
    """Import what ``x`` exports, an array or, where the consumer takes those, a capsule.

    Source: array API standard, draft of April 2026, ``from_dlpack``; dlpack.h 1.3.
    """
    call = Call(copy)
    with ex.inside(f"from_dlpack of {consumer.name}"):
        result = _from_dlpack(ex, consumer, x, device, call)
        check_import(ex, consumer, call, result)
    return result


def _from_dlpack(ex: Exchange, consumer: Consumer, x: int, device: tuple[int, int] | None, call: Call) -> int:
    given = {"device"} if device is not None else set()
    if call.copy is not None:
        given.add("copy")
    if not given <= consumer.takes:
        return ex.set_error("TypeError", f"from_dlpack() takes no keyword {min(given - consumer.takes)!r}")
    array = ex.arrays.get(x)
    if array is None:
        if not consumer.takes_capsules or ex.py.capsule_at(x) is None:
            # rule: from_dlpack/needs-the-methods
            return ex.set_error(consumer.errors.get("methods", "AttributeError"), "no attribute '__dlpack__'")
        if given and "capsule-keywords" in consumer.errors:
            return ex.set_error(consumer.error_for("capsule-keywords"), "a capsule takes no keywords")
        ex.py.Py_INCREF(x)
        return _import(ex, consumer, x, call)
    answer = __dlpack_device__(ex, array) if consumer.asks_device else array.layout.device
    reason = _unreachable(consumer, answer)
    if reason is not None:
        call.refused = reason.partition(" ")[0]
        return ex.set_error(consumer.error_for(reason), f"no {reason}")
    call.device = answer[:2]  # type: ignore[assignment]
    capsule = _ask(ex, consumer, array, device, call)
    if capsule == NULL:
        if consumer.swallows_errors:
            ex.py.PyErr_Clear()
            return ex.set_error("RuntimeError", "the import failed")
        # rule: from_dlpack/propagates
        return NULL
    return _import(ex, consumer, capsule, call)


def _unreachable(consumer: Consumer, answer: tuple[int, ...]) -> str | None:
    """Return why the consumer does not go on with what ``__dlpack_device__`` answers, None where it does."""
    if consumer.unpacks_device and len(answer) != 2:
        return "answer"
    if consumer.platforms is not None and answer[0] not in consumer.platforms:
        return "device platform"
    if answer[0] in consumer.absent:
        return "runtime"
    number = answer[1] if len(answer) > 1 else 0
    if consumer.device_numbers is not None and number >= consumer.device_numbers:
        return "number"
    return None


def _ask(ex: Exchange, consumer: Consumer, array: Array, device: tuple[int, int] | None, call: Call) -> int:
    """Call ``__dlpack__``, and again with fewer keywords where it does not know one; return a new capsule or NULL."""
    keywords: dict[str, Any] = dict.fromkeys(consumer.sends_always)
    if consumer.max_version is not None:
        keywords["max_version"] = consumer.max_version
    if device is not None and consumer.sends_device:
        keywords["dl_device"] = device
    if call.copy is not None and consumer.copies == "producer":
        keywords["copy"] = call.copy
    asked = device or call.device or array.layout.device
    if asked[0] in consumer.streamed and consumer.sends_stream:
        # rule: from_dlpack/passes-stream
        keywords["stream"] = consumer.stream
    attempts = [keywords]
    for dropped in consumer.retries:
        fewer = {key: value for key, value in attempts[-1].items() if key not in dropped}
        if fewer != attempts[-1] or consumer.retries_unchanged:
            attempts.append(fewer)
    if consumer.retries_plain and (device is not None or call.copy is not None):
        del attempts[1:]
    for number, attempt in enumerate(attempts):
        call.sent = attempt
        ex.sends(attempt)
        capsule = __dlpack__(ex, array, attempt)
        if consumer.retries_none and array.producer.returns == "NoneType" and number < len(attempts) - 1:
            ex.py.Py_DECREF(capsule)
            continue
        if capsule != NULL or ex.py.error is None:
            return capsule
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
        return _let_go(ex, consumer, capsule)
    managed = _pointer(ex, consumer, capsule, versioned)
    if managed == NULL:
        return _let_go(ex, consumer, capsule)
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
    tensor, flags = _read(ex, managed, versioned)
    call.read_only = flags & READ_ONLY != 0
    call.device = tensor.device
    if not versioned and consumer.read_only == "legacy-too":
        flags |= READ_ONLY
    if consumer.checks == "before":
        reason = _unsupported(consumer, tensor, flags) or _senseless(ex, consumer, tensor)
        if reason is not None:
            return _give_up(ex, consumer, capsule, managed, versioned, reason, call)
    layout = _layout(ex, consumer, tensor, flags)
    if consumer.checks == "before":
        reason = _unsuited(consumer, layout, call)
        if reason is not None:
            return _give_up(ex, consumer, capsule, managed, versioned, reason, call)
    return _take_over(ex, consumer, capsule, managed, versioned, layout, tensor, flags, call)


def _which_struct(ex: Exchange, consumer: Consumer, capsule: int) -> bool | None:
    """Return which of the two structs the capsule's name says, None with an exception where it says neither."""
    py = ex.py
    if consumer.ignores_names:
        record = ex.by_capsule.get(capsule)
        return record is not None and record.versioned
    for versioned in (True, False):
        if versioned in consumer.structs and py.PyCapsule_IsValid(capsule, ex.cstring(NAMES[versioned].unused)):
            # rule: from_dlpack/name-decides
            return versioned
    # rule: from_dlpack/refuses-other-names
    errors = {"name": "ValueError", **consumer.errors}
    reason = "no-capsule" if py.capsule_at(capsule) is None and "no-capsule" in errors else "name"
    ex.set_error(errors[reason], "no unconsumed capsule")
    return None


def _pointer(ex: Exchange, consumer: Consumer, capsule: int, versioned: bool) -> int:
    py = ex.py
    if consumer.ignores_names:
        return py.PyCapsule_GetPointer(capsule, py.PyCapsule_GetName(capsule))
    if consumer.leaves_error:
        py.PyCapsule_GetPointer(capsule, ex.cstring(NAMES[not versioned].unused))
    return py.PyCapsule_GetPointer(capsule, ex.cstring(NAMES[versioned].unused))


def _version_fits(ex: Exchange, consumer: Consumer, managed: int, record: Record | None) -> bool:
    """Tell whether the struct is of a major version that the consumer knows how to read."""
    major = int.from_bytes(ex.memory.read(managed, 4), ex.abi.order)
    # rule: from_dlpack/verifies-version
    if major == MAJOR or (consumer.accepts_older and major < MAJOR):
        return True
    if consumer.checks_version and not consumer.reads_past_flags:
        return False
    # rule: from_dlpack/nothing-past-flags
    fact = f"{consumer.name} reads shape and data of version {major}, and knows version {MAJOR}"
    rule = "from_dlpack/nothing-past-flags" if consumer.checks_version else "from_dlpack/verifies-version"
    ex.complain(Broken.PAST_FLAGS, fact, rule, record)
    return not consumer.checks_version


def _read(ex: Exchange, managed: int, versioned: bool) -> tuple[DLTensor, int]:
    """Return the tensor and the flags of a managed tensor."""
    codec = ex.abi.versioned if versioned else ex.abi.legacy
    fields = codec.unpack(ex.memory.read(managed, codec.size))
    if versioned:
        return DLTensor._make(fields[5:]), fields[4]
    return DLTensor._make(fields[:10]), 0


def _unsupported(consumer: Consumer, tensor: DLTensor, flags: int) -> str | None:
    """Return why the consumer does not take a tensor, None where it does."""
    if tensor.device_type not in consumer.devices:
        return f"device {tensor.device_type}"
    if tensor.ndim > consumer.most_ndim:
        return "ndim"
    if tensor.lanes != consumer.lanes_of.get((tensor.code, tensor.bits), 1) and not consumer.lanes:
        return "lanes"
    if consumer.dtypes is not None and (tensor.code, tensor.bits) not in consumer.dtypes:
        return "dtype"
    if consumer.read_only == "refuses" and flags & READ_ONLY:
        return "read-only"
    if not consumer.null_strides and tensor.strides == NULL and tensor.ndim > 0:
        return "null-strides"
    if not consumer.offset_without_strides and tensor.strides == NULL and tensor.byte_offset:
        return "offset-without-strides"
    return None


def _senseless(ex: Exchange, consumer: Consumer, tensor: DLTensor) -> str | None:
    """Return why a tensor makes no sense to a consumer that looks for such a thing: it has an exception for it."""
    if tensor.ndim < 0:
        return "negative-ndim" if "negative-ndim" in consumer.errors else None
    shape = ex.abi.integers_from(ex.memory.read(tensor.shape, 8 * tensor.ndim)) if tensor.ndim else ()
    if min(shape, default=0) < 0 and "negative-length" in consumer.errors:
        return "negative-length"
    if prod(shape) * tensor.bits >= 1 << 66 and "too-large" in consumer.errors:
        return "too-large"
    return None


def _unsuited(consumer: Consumer, layout: Layout, call: Call) -> str | None:
    """Return why the consumer does not take elements that lie like this, None where it does."""
    if not consumer.negative_strides and min(layout.strides, default=0) < 0:
        return "negative-strides"
    if consumer.compact_only and layout.size and not _compact(layout):
        return "strides"
    if call.copy == 0 and _misaligned(consumer, layout) and "misaligned" in consumer.errors:
        return "misaligned"
    return None


def _compact(layout: Layout, *, row_major: bool = False) -> bool:
    """Tell whether the elements fill their memory, with the dimensions in some order or in that of the shape."""
    steps = [(stride, length) for stride, length in zip(layout.strides, layout.shape, strict=True) if length != 1]
    expected = 1
    for stride, length in reversed(steps) if row_major else sorted(steps):
        if stride != expected:
            return False
        expected *= length
    return True


def _misaligned(consumer: Consumer, layout: Layout) -> bool:
    return consumer.copies_if_misaligned != 0 and layout.address % consumer.copies_if_misaligned != 0


def _layout(ex: Exchange, consumer: Consumer, tensor: DLTensor, flags: int) -> Layout:
    if consumer.ignores_byte_offset:
        tensor = tensor._replace(byte_offset=0)
    layout = read_layout(ex, tensor, padded=flags & IS_SUBBYTE_TYPE_PADDED != 0)
    if consumer.ignores_strides:
        layout.strides = compact_strides(layout.shape)
    return layout


def _give_up(
    ex: Exchange, consumer: Consumer, capsule: int, managed: int, versioned: bool, reason: str, call: Call
) -> int:
    """Fail with the exception for a reason; the tensor goes back to its capsule's destructor, or is deleted here."""
    call.refused = reason.partition(" ")[0]
    if consumer.on_error == "delete":
        if consumer.rename != "first":
            _rename(ex, consumer, capsule, versioned)
        # rule: from_dlpack/deletes-on-error
        call_deleter(ex, managed, versioned=versioned, checks_null=not consumer.calls_null_deleter)
    ex.set_error(consumer.error_for(reason), f"unsupported {reason}")
    return _let_go(ex, consumer, capsule)


def _let_go(ex: Exchange, consumer: Consumer, capsule: int) -> int:
    """Give back the reference to a capsule of which nothing came, with an exception set; return NULL."""
    error = ex.py.error
    if consumer.lets_go == "frame" and error is not None:
        # The frame that has the capsule in a variable lives as long as the traceback of the exception.
        error.obj = capsule
        return NULL
    if consumer.lets_go == "pending":
        ex.py.Py_DECREF(capsule)
        return NULL
    # A destructor must not see, nor lose, the exception that is on its way to the caller.
    ex.py.error = None
    ex.py.Py_DECREF(capsule)
    ex.py.error = error
    return NULL


def _rename(ex: Exchange, consumer: Consumer, capsule: int, versioned: bool) -> None:
    """Mark the capsule as consumed: from here on its destructor leaves the tensor alone."""
    if consumer.rename == "never":
        return
    # rule: from_dlpack/renames
    ex.py.PyCapsule_SetName(capsule, ex.cstring(NAMES[versioned].used))
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
    if reason is None and tensor.device_type in consumer.fails_late:
        reason = f"device {tensor.device_type}"
        if consumer.fails_late[tensor.device_type]:
            _rename(ex, consumer, capsule, versioned)
    if reason is not None:
        return _fail_late(ex, consumer, view, capsule, versioned, reason, call)
    if consumer.rename == "last":
        _rename(ex, consumer, capsule, versioned)
    _check_renamed(ex, consumer, capsule, record)
    if consumer.lets_go != "frame":
        ex.py.Py_DECREF(capsule)
    kind = layout.dtype
    converted = consumer.converts.get((kind.code, kind.bits))
    dtype = kind if converted is None else element_type(*converted, kind.lanes)
    copies = copies or dtype is not kind
    call.shares = not copies and not (record is not None and record.copied)
    result = _copied(ex, view, dtype or kind) if copies else view.address
    if consumer.deletes_early and not copies:
        call_deleter(ex, managed, versioned=versioned)
    if consumer.lets_go == "frame":
        ex.py.Py_DECREF(capsule)
    return result


def _copies(consumer: Consumer, layout: Layout, call: Call) -> bool:
    """Tell whether the consumer makes a copy of its own."""
    if consumer.copies == "consumer" and call.copy == 1:
        # rule: from_dlpack/copy-true
        return not (consumer.copy_may_share and _compact(layout, row_major=True) and not _misaligned(consumer, layout))
    if consumer.copies_if_unheard and call.copy == 1 and "copy" not in call.sent:
        return True
    return _misaligned(consumer, layout) and call.copy != 0


def _view(consumer: Consumer, layout: Layout, tensor: DLTensor, flags: int, record: Record | None) -> Array:
    array = Array(NULL, f"{consumer.name}'s view", Producer(consumer.name), layout, tensor.data, record=record)
    kept = flags & (READ_ONLY | IS_SUBBYTE_TYPE_PADDED)
    if consumer.read_only == "ignores" or consumer.loses_read_only:
        kept &= ~READ_ONLY
    if consumer.read_only == "always":
        kept |= READ_ONLY
    if consumer.own_memory_for_null and layout.address == NULL:
        kept &= ~READ_ONLY
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
        with ex.inside("the destructor of an internal capsule"):
            call_deleter(ex, tensor, versioned=versioned, checks_null=not consumer.calls_null_deleter)

    key = ("internal", versioned, consumer.calls_null_deleter)
    destructor = ex.register(key, "destructor", "internal capsule destructor", destroy)
    return ex.py.PyCapsule_New(managed, name, destructor)


def _fail_late(
    ex: Exchange, consumer: Consumer, view: Array, capsule: int, versioned: bool, reason: str, call: Call
) -> int:
    """Fail when the array exists already: it dies, and with it the tensor; the capsule has to be renamed by then."""
    call.refused = reason.partition(" ")[0]
    if consumer.on_error == "delete" and consumer.rename == "last":
        _rename(ex, consumer, capsule, versioned)
    ex.py.Py_DECREF(view.address)
    ex.set_error(consumer.error_for(reason), f"unsupported {reason}")
    return _let_go(ex, consumer, capsule)


def _check_renamed(ex: Exchange, consumer: Consumer, capsule: int, record: Record | None) -> None:
    # rule: from_dlpack/renames
    if record is not None and ex.name_of(capsule) == record.names.unused:
        fact = f"{consumer.name} leaves the capsule its name {record.names.unused.decode()!r}"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/renames", record, capsule)


def _copied(ex: Exchange, view: Array, dtype: DType) -> int:
    """Return a new array with the elements of a view, and let go of the view."""
    address = new_array(
        ex,
        view.producer,
        dtype,
        view.layout.shape,
        values_of(ex, view),
        device=view.layout.device,
        padded=view.layout.padded,
        name=f"copy of {view.name}",
    )
    ex.py.Py_DECREF(view.address)
    return address
