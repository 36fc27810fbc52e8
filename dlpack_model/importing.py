"""What a consumer does with a capsule: from its name to an array that owns the tensor."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from capsule_model import NULL
from dlpack_model.abi import IS_SUBBYTE_TYPE_PADDED, MAJOR, READ_ONLY, DLTensor
from dlpack_model.arrays import Array, new_array, place_array, values_of
from dlpack_model.deleters import call_deleter
from dlpack_model.dtypes import DType, element_type
from dlpack_model.exchange import INTERNAL
from dlpack_model.producer import Producer
from dlpack_model.streams import STREAMED
from dlpack_model.suitability import copies_itself, senseless, unsuited, unsupported
from dlpack_model.tensor import MOST_ELEMENTS, Layout, compact_strides, read_layout
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.contract import Call
    from dlpack_model.exchange import Exchange, Record
    from dlpack_model.styles import Consumer

__all__ = ["import_capsule"]


def import_capsule(ex: Exchange, consumer: Consumer, capsule: int, call: Call) -> int:
    """Make an array of what is in a capsule; the reference to the capsule is given back.

    Returns a new reference to the array, or NULL with the exception.
    """
    versioned = _which_struct(ex, consumer, capsule)
    if versioned is None:
        return _let_go(ex, consumer, capsule)
    if consumer.opens_by_name:
        managed = ex.py.PyCapsule_GetPointer(capsule, ex.name_addresses[versioned][0])
    else:
        managed = _pointer(ex, consumer, capsule, versioned)
    if managed == NULL:
        return _let_go(ex, consumer, capsule)
    record = call.record = ex.records.get(managed)
    if record is not None and record.deleted:
        ex.touch(record, consumer.name, "imports")
    if consumer.parses_as_legacy or consumer.parses_as_versioned:
        versioned = consumer.parses_as_versioned
    # rule: DLManagedTensor/right-struct
    if record is not None and record.versioned != versioned:
        made = "DLManagedTensorVersioned" if record.versioned else "DLManagedTensor"
        read = "DLManagedTensorVersioned" if versioned else "DLManagedTensor"
        fact = f"{consumer.name} reads a {made} as a {read}"
        ex.complain(Broken.WRONG_STRUCT, fact, "DLManagedTensor/right-struct", record, capsule)
    if consumer.rename == "first":
        _rename(ex, consumer, capsule, versioned)
    # rule: from_dlpack/verifies-version
    fits = not versioned or ex.memory.read(managed, 4) == ex.abi.major or _version_fits(ex, consumer, managed, record)
    if not fits:
        return _give_up(ex, consumer, capsule, managed, versioned, "version", call)
    tensor, flags, version = ex.tensor_at(managed, versioned)
    device = call.device = tensor[1:3]
    if flags & READ_ONLY:
        call.read_only, call.plain = True, False
    if device[0] in STREAMED:
        call.plain = False
    # rule: from_dlpack/device
    if call.asked is not None and call.asked != device and consumer.sends_device and not consumer.forgets_device:
        return _give_up(ex, consumer, capsule, managed, versioned, "device", call)
    if not versioned and consumer.read_only == "legacy-too":
        flags |= READ_ONLY
    layout = _accepted(ex, consumer, tensor, flags, version, call)
    if isinstance(layout, str):
        return _give_up(ex, consumer, capsule, managed, versioned, layout, call)
    return _take_over(ex, consumer, capsule, managed, versioned, layout, tensor, flags, call)


def _accepted(
    ex: Exchange, consumer: Consumer, tensor: DLTensor, flags: int, version: tuple[int, int], call: Call
) -> Layout | str:
    """Return where the elements of a tensor lie, or the reason for which the consumer does not take it.

    A tensor that says the same as one before it gets the same answer.
    """
    _, _, _, ndim, _, _, _, shape, strides, byte_offset = tensor
    said = None
    if ndim > 0 and shape != NULL and strides != NULL:
        read = ex.memory.read
        # Most producers lay strides behind the shape.
        together = strides == shape + 8 * ndim
        lengths = read(shape, 16 * ndim) if together else read(shape, 8 * ndim) + read(strides, 8 * ndim)
        said = (consumer, tensor[:7], byte_offset, lengths, flags, version, call.copy, ex.rules)
        known = ex.accepted.get(said)
        if known is not None:
            return known
    if consumer.checks == "before":
        reason = unsupported(consumer, tensor, flags)
        if reason is None and consumer.errors:
            reason = senseless(ex, consumer, tensor)
        if reason is not None:
            return reason
    layout = _layout(ex, consumer, tensor, flags, version)
    if consumer.checks == "before":
        reason = unsuited(consumer, layout, call)
        if reason is not None:
            return reason
    if said is not None:
        ex.accepted[said] = layout
    return layout


def _which_struct(ex: Exchange, consumer: Consumer, capsule: int) -> bool | None:
    """Return which of the two structs the capsule's name says, None with an exception where it says neither."""
    py = ex.py
    if consumer.ignores_names:
        record = ex.by_capsule.get(capsule)
        return record is not None and record.versioned
    for versioned in consumer.tries:
        if py.PyCapsule_IsValid(capsule, ex.name_addresses[versioned][0]):
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
        py.PyCapsule_GetPointer(capsule, ex.name_addresses[not versioned][0])
    return py.PyCapsule_GetPointer(capsule, ex.name_addresses[versioned][0])


def _version_fits(ex: Exchange, consumer: Consumer, managed: int, record: Record | None) -> bool:
    """Tell whether the consumer reads a struct of another major version than its own."""
    major = int.from_bytes(ex.memory.read(managed, 4), ex.abi.order)
    if consumer.accepts_older and major < MAJOR:
        return True
    # rule: from_dlpack/nothing-past-flags
    if consumer.checks_version and not consumer.reads_past_flags:
        return False
    fact = f"{consumer.name} reads shape and data of version {major}, and knows version {MAJOR}"
    rule = "from_dlpack/nothing-past-flags" if consumer.checks_version else "from_dlpack/verifies-version"
    ex.complain(Broken.PAST_FLAGS, fact, rule, record)
    return not consumer.checks_version


def _layout(ex: Exchange, consumer: Consumer, tensor: DLTensor, flags: int, version: tuple[int, int]) -> Layout:
    if consumer.ignores_byte_offset:
        tensor = tensor._replace(byte_offset=0)
    layout = read_layout(ex, tensor, padded=flags & IS_SUBBYTE_TYPE_PADDED != 0, before_1_2=version < (1, 2))
    if consumer.lays is not None:
        return consumer.lays(tensor, layout)
    if consumer.ignores_strides:
        strides = compact_strides(layout.shape)
        return Layout(layout.address, layout.dtype, layout.shape, strides, layout.device, padded=layout.padded)
    return layout


def _give_up(
    ex: Exchange, consumer: Consumer, capsule: int, managed: int, versioned: bool, reason: str, call: Call
) -> int:
    """Fail with the exception for a reason; the tensor goes back to its capsule's destructor, or is deleted here."""
    call.refused = reason.partition(" ")[0]
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
    name = (
        ex.name_addresses[versioned][1] if consumer.used_names is None else ex.cstring(consumer.used_names[versioned])
    )
    ex.py.PyCapsule_SetName(capsule, name)
    ex.journal.append((ex.memory.count, "renamed", consumer, capsule, name))
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
    view = _view(consumer, layout, tensor, flags, record)
    place_array(ex, view)
    if consumer.calls_python and ex.event is not None:
        ex.event({"dlpack": "from_dlpack", "of": view.address})
    _own(ex, consumer, view, capsule, managed, versioned)
    if consumer.drops == "first":
        ex.py.Py_DECREF(capsule)
    late = consumer.may_fail_late
    reason = _late_reason(ex, consumer, capsule, versioned, tensor, flags) if late else None
    if reason is not None:
        return _fail_late(ex, consumer, view, capsule, versioned, reason, call)
    if consumer.rename == "last":
        _rename(ex, consumer, capsule, versioned)
    if consumer.rename == "never":
        _check_renamed(ex, consumer, capsule, record)
    if consumer.lets_go != "frame" and consumer.drops in ("last", "twice"):
        ex.py.Py_DECREF(capsule)
    if consumer.drops == "twice":
        ex.py.Py_DECREF(capsule)
    result = view.address
    if view.copied:
        call.shares = False
    if call.copy == 1 or consumer.copies_unasked:
        dtype = _converted(consumer, layout.dtype)
        if dtype is not layout.dtype or copies_itself(consumer, layout, call):
            call.shares = False
            result = _copied(ex, view, dtype)
    if consumer.deletes_early and call.shares:
        call_deleter(ex, managed, versioned=versioned)
    if consumer.lets_go == "frame":
        ex.py.Py_DECREF(capsule)
    return result


def _late_reason(
    ex: Exchange, consumer: Consumer, capsule: int, versioned: bool, tensor: DLTensor, flags: int
) -> str | None:
    """Return why the consumer fails when the array exists already, None where it does not."""
    if consumer.fails_after_claim:
        return "late"
    if consumer.checks == "after":
        reason = unsupported(consumer, tensor, flags)
        if reason is not None:
            return reason
    if tensor.device_type not in consumer.fails_late:
        return None
    if consumer.fails_late[tensor.device_type]:
        _rename(ex, consumer, capsule, versioned)
    return f"device {tensor.device_type}"


def _converted(consumer: Consumer, dtype: DType) -> DType:
    """Return the element type that the consumer makes of one."""
    other = consumer.converts.get((dtype.code, dtype.bits))
    return dtype if other is None else element_type(*other, dtype.lanes) or dtype


@cache
def _exporting(name: str) -> Producer:
    """Return what a library is as a producer when it exports what it has imported."""
    return Producer(name)


def _view(consumer: Consumer, layout: Layout, tensor: DLTensor, flags: int, record: Record | None) -> Array:
    kept = flags & consumer.keeps | consumer.adds
    if consumer.own_memory_for_null and layout.address == NULL:
        kept &= ~READ_ONLY
    exporting = _exporting(consumer.name)
    array = Array(NULL, consumer.view, exporting, layout, tensor[0], kept, NULL, record)
    array.copied = record is not None and record.copied
    return array


def _own(ex: Exchange, consumer: Consumer, view: Array, capsule: int, managed: int, versioned: bool) -> None:
    """Say who will call the deleter, and how the array sees to it when it dies."""
    record = view.record
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
        ex.claim(record, consumer.array, view.address, capsule)
    view.owes = managed, versioned, not consumer.calls_null_deleter
    view.release = _release_twice if consumer.deletes_twice else _release


def _release(ex: Exchange, array: Array) -> None:
    """Call the deleter of the tensor that an array views."""
    if array.record is not None:
        ex.unclaim(array.record, array.address)
    managed, versioned, checks_null = array.owes
    call_deleter(ex, managed, versioned=versioned, checks_null=checks_null)


def _release_twice(ex: Exchange, array: Array) -> None:
    """Call the deleter, and call it again."""
    _release(ex, array)
    managed, versioned, checks_null = array.owes
    call_deleter(ex, managed, versioned=versioned, checks_null=checks_null)


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
    """Return a new array with the elements of a view, and let go of the view; NULL where there is no memory for it."""
    if view.layout.size > MOST_ELEMENTS:
        ex.py.Py_DECREF(view.address)
        ex.set_error("MemoryError", f"a copy of {view.layout.size} elements")
        return NULL
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
