"""What each side promises the other beyond memory and ownership, checked when an export or an import has ended.

Each check is a few lines under the rule that it holds the party to. Source: dlpack.h 1.3, the Python specification
for DLPack, and the array API standard, draft of April 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import TYPE_CHECKING, Any

from capsule_model import NULL
from dlpack_model.abi import IS_COPIED, READ_ONLY
from dlpack_model.dtypes import SUB_BYTE_CODES
from dlpack_model.streams import STREAMED, allowed
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.arrays import Array
    from dlpack_model.consumer import Consumer
    from dlpack_model.exchange import Exchange, Record

__all__ = [
    "REQUESTS",
    "Call",
    "alike",
    "check_export",
    "check_import",
    "check_refusal",
    "same_values",
]

Keywords = Mapping[str, Any]
# The keywords that __dlpack__ had not from the start; the last two ask for something.
NEWER = frozenset({"max_version", "dl_device", "copy"})
REQUESTS = NEWER - {"max_version"}


def check_export(ex: Exchange, array: Array, keywords: Keywords, capsule: int, copied: bool) -> None:
    """Check a capsule that ``__dlpack__`` returns: its name, its destructor, the struct in it, what was asked for."""
    record = ex.by_capsule[capsule]
    struct = ex.py.capsule_at(capsule)
    _check_name(ex, record, NULL if struct is None else struct.name)
    _check_destructor(ex, record, NULL if struct is None else struct.destructor)
    _check_negotiation(ex, record, array, keywords, copied)
    _check_struct(ex, record, array)


def _promise(ex: Exchange, holds: bool, fact: str, rule: str, record: Record) -> None:
    if not holds:
        ex.complain(Broken.CONTRACT, f"{record.producer} {fact}", rule, record)


def _check_name(ex: Exchange, record: Record, address: int) -> None:
    name = ex.text_of.get(address)
    # rule: __dlpack__/name-is-static
    if name is None:
        block = ex.memory.nearest(address)
        static = block is not None and block.kind == "static"
        _promise(ex, static, "gives its capsule a name that may go away", "__dlpack__/name-is-static", record)
        name = ex.memory.peek_string(address)
    # rule: __dlpack__/capsule-name
    if name != record.names.unused:
        fact = f"names its capsule {name!r}, expected {record.names.unused!r}"
        _promise(ex, False, fact, "__dlpack__/capsule-name", record)


def _check_destructor(ex: Exchange, record: Record, address: int) -> None:
    # rule: __dlpack__/capsule-destructor
    if address == NULL and record.has_deleter:
        _promise(ex, False, "sets no capsule destructor", "__dlpack__/capsule-destructor", record)
    known = ex.destructors.get(address)
    # rule: capsule-destructor/deletes-while-unconsumed
    if known is not None and known[0].under != {"unused"}:
        fact = f"sets a destructor that calls the deleter of capsules that are {_listed(known[0].under)}"
        _promise(ex, False, fact, "capsule-destructor/deletes-while-unconsumed", record)


def _listed(words: frozenset[str]) -> str:
    return " or ".join(sorted(words)) or "in no state"


def _check_negotiation(ex: Exchange, record: Record, array: Array, keywords: Keywords, copied: bool) -> None:
    version = keywords.get("max_version")
    # rule: __dlpack__/max-version-none
    if version is None and record.versioned:
        fact = "makes the versioned struct, and was not asked for a version"
        _promise(ex, False, fact, "__dlpack__/max-version-none", record)
    copy = keywords.get("copy")
    # rule: __dlpack__/copy-true
    if copy == 1 and not copied:
        _promise(ex, False, "does not copy, and was asked to", "__dlpack__/copy-true", record)
    # rule: __dlpack__/copy-false
    if copy == 0 and copied:
        _promise(ex, False, "copies, and was asked not to", "__dlpack__/copy-false", record)
    device = keywords.get("dl_device")
    exported = record.array.layout.device
    # rule: __dlpack__/dl-device
    if device is not None and exported != tuple(device):
        fact = f"exports on device {exported}, and was asked for {tuple(device)}"
        _promise(ex, False, fact, "__dlpack__/dl-device", record)
    wrong = allowed(exported[0], keywords.get("stream"))
    if wrong is not None:
        kind = "cuda" if exported[0] in (2, 13) else "rocm" if exported[0] == 10 else "cpu"
        _promise(ex, False, f"accepts what it has to refuse: {wrong}", f"__dlpack__/stream-{kind}", record)


def _check_struct(ex: Exchange, record: Record, array: Array) -> None:
    tensor, flags, version = ex.tensor_at(record.address, record.versioned)
    layout = record.array.layout
    # rule: DLTensor/data-of-nothing
    if layout.form.size == 0 and tensor.data != NULL:
        _promise(ex, False, "gives a tensor of no elements a data pointer", "DLTensor/data-of-nothing", record)
    # rule: DLTensor/strides-not-null
    if layout.shape and tensor.strides == NULL and version >= (1, 2) and not ex.null_strides:
        _promise(ex, False, "leaves strides NULL", "DLTensor/strides-not-null", record)
    # rule: DLTensor/data-alignment
    if "aligned-to-256" in ex.readings and tensor.data % 256:
        _promise(ex, False, "gives data that is not aligned to 256 bytes", "DLTensor/data-alignment", record)
    # rule: DLDataType/sub-byte-bits
    if SUB_BYTE_CODES.get(tensor.code, tensor.bits) != tensor.bits:  # type: ignore[call-overload]
        fact = f"says {tensor.bits} bits for type code {tensor.code}"
        _promise(ex, False, fact, "DLDataType/sub-byte-bits", record)
    # rule: DLDataType/native-endianness
    if layout.form.swapped:
        _promise(ex, False, "exports elements in a foreign byte order", "DLDataType/native-endianness", record)
    if record.versioned:
        _check_flags(ex, record, array, flags)


def _check_flags(ex: Exchange, record: Record, array: Array, flags: int) -> None:
    # rule: DLManagedTensorVersioned/flags-default-zero
    stray = flags & ~int(ex.header.flags)
    if stray:
        fact = f"sets flags {stray:#x}, which dlpack.h does not know"
        _promise(ex, False, fact, "DLManagedTensorVersioned/flags-default-zero", record)
    # rule: DLManagedTensorVersioned/is-copied
    if record.copied and not flags & IS_COPIED and "copies-may-be-unmarked" not in ex.readings:
        _promise(ex, False, "does not mark its copy", "DLManagedTensorVersioned/is-copied", record)
    # rule: DLManagedTensorVersioned/read-only
    if array.read_only and not record.copied and not flags & READ_ONLY:
        fact = "does not mark elements that are read-only"
        _promise(ex, False, fact, "DLManagedTensorVersioned/read-only", record)


def check_refusal(ex: Exchange, array: Array, keywords: Keywords) -> None:
    """Check how ``__dlpack__`` fails."""
    error = ex.py.error
    # rule: __dlpack__/error-with-null
    if error is None:
        fact = f"{array.producer.name} returns NULL from __dlpack__ without an exception"
        ex.complain(Broken.NO_ERROR, fact, "__dlpack__/error-with-null", None, array.address)
        return
    reason = _reason(array, keywords)
    # rule: __dlpack__/buffer-error
    if reason is not None and error.type != "BufferError" and array.producer.raises is None:
        fact = f"{array.producer.name} refuses {reason} with {error.type}, expected BufferError"
        ex.complain(Broken.CONTRACT, fact, "__dlpack__/buffer-error", None, array.address)


def _reason(array: Array, keywords: Keywords) -> str | None:
    """Return what a producer can have refused that is to be a BufferError, None where it was something else."""
    producer = array.producer
    device = keywords.get("dl_device")
    version = keywords.get("max_version")
    if set(keywords) - producer.keywords or allowed((device or array.layout.device)[0], keywords.get("stream")):
        return None
    if version is not None and version[0] < producer.version[0] and producer.structs is None:
        return f"max_version {tuple(version)}"
    if device is not None and tuple(device) != array.layout.device:
        return f"device {tuple(device)}"
    return None


class Call:
    """One call of ``from_dlpack``, as far as its contract is about it.

    ``copy`` and ``asked``, a device, are what it was called with. ``sent`` are the keywords of the last call of
    ``__dlpack__``, ``raised`` the types of the exceptions of all of them; ``read_only`` and ``device`` are what the
    tensor said, ``shares`` tells whether the result views it, and ``refused`` is the reason for which the consumer
    itself gave up. ``given`` tells that it was handed a capsule, and asked nobody; ``plain`` that there is nothing
    that a result could fall short of but its values. ``result`` is what it returned, None until it has.
    """

    given = False
    read_only = False
    device: tuple[int, int] | None = None
    shares = True
    refused: str | None = None
    record: Record | None = None
    result: int | None = None

    def __init__(self, copy: int | None, asked: tuple[int, int] | None = None) -> None:
        self.copy = copy
        self.asked = asked
        self.plain = copy is None and asked is None
        self.sent: dict[str, Any] = {}
        self.raised: list[str] = []


def check_import(ex: Exchange, consumer: Consumer, call: Call, result: int) -> None:
    """Check how ``from_dlpack`` ends."""
    error = ex.py.error
    if call.plain and result != NULL and error is None:
        if call.record is not None:
            one, other = ex.arrays[result].layout, call.record.array.layout
            # rule: from_dlpack/same-values
            if one.form is not other.form or one.address != other.address:
                _check_values(ex, consumer, call, ex.arrays[result])
        return
    # rule: from_dlpack/error-with-null
    if (result == NULL) != (error is not None):
        kind = Broken.NO_ERROR if error is None else Broken.ERROR_LEFT
        told = "fails without an exception" if error is None else f"succeeds and leaves {error!r}"
        ex.complain(kind, f"{consumer.name} {told}", "from_dlpack/error-with-null", call.record)
    # rule: from_dlpack/propagates
    if call.record is None and call.raised and (error is None or error.type != call.raised[-1]):
        told = "nothing" if error is None else error.type
        fact = f"{consumer.name} raises {told} where the producer raised {call.raised[-1]}"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/propagates", None)
    # rule: from_dlpack/type-error-retry
    newer = NEWER.intersection(call.sent)
    if "requests-are-not-dropped" in ex.readings and newer & REQUESTS:
        newer = frozenset()
    if call.raised == ["TypeError"] and newer and result == NULL:
        fact = f"{consumer.name} does not try again without the keywords that the producer does not know"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/type-error-retry", None)
    _check_refused(ex, consumer, call)
    if result != NULL:
        _check_result(ex, consumer, call, result)
        _check_values(ex, consumer, call, ex.arrays[result])


def _check_refused(ex: Exchange, consumer: Consumer, call: Call) -> None:
    error = ex.py.error
    # rule: from_dlpack/unsupported-device
    if call.refused == "device" and (error is None or error.type != "BufferError"):
        fact = f"{consumer.name} refuses device {call.device} with {error!r}, expected BufferError"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/unsupported-device", call.record)
    # rule: from_dlpack/read-only-ignored
    if call.refused == "read-only":
        fact = f"{consumer.name} refuses a tensor because it is read-only"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/read-only-ignored", call.record)


def _check_result(ex: Exchange, consumer: Consumer, call: Call, result: int) -> None:
    array = ex.arrays[result]
    # rule: from_dlpack/copy-true
    if call.copy == 1 and call.shares:
        fact = f"{consumer.name} shares the elements, and was asked for a copy"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/copy-true", call.record)
    # rule: from_dlpack/copy-false
    if call.copy == 0 and not call.shares:
        fact = f"{consumer.name} copies the elements, and was asked not to"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/copy-false", call.record)
    # rule: from_dlpack/device
    if call.asked is not None and call.device != call.asked:
        fact = f"{consumer.name} gives an array on device {call.device}, and was asked for {call.asked}"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/device", call.record)
    # rule: from_dlpack/passes-stream
    unasked = not call.given and call.device is not None and call.device[0] in STREAMED and "stream" not in call.sent
    if unasked and consumer.stream != 1 and "stream-is-optional" not in ex.readings:
        fact = f"{consumer.name} works on stream {consumer.stream}, and did not say so"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/passes-stream", call.record)
    # rule: from_dlpack/read-only-kept
    if call.read_only and call.shares and not array.read_only and consumer.read_only == "honours":
        fact = f"{consumer.name} forgets that the elements are read-only"
        ex.complain(Broken.CONTRACT, fact, "from_dlpack/read-only-kept", call.record)


def _check_values(ex: Exchange, consumer: Consumer, call: Call, array: Array) -> None:
    record = call.record
    if record is None:
        return
    one, other = array.layout, record.array.layout
    # rule: from_dlpack/same-values
    if (one.form is not other.form or one.address != other.address) and not same_values(ex, array, record.array):
        fact = f"{consumer.name} reads other elements than {record.producer} has stored"
        ex.complain(Broken.WRONG_VALUES, fact, "from_dlpack/same-values", record)


def same_values(ex: Exchange, left: Array, right: Array) -> bool:
    """Tell whether two arrays have the same shape and elements, each read in its own library's way; NaNs are alike."""
    from dlpack_model.tensor import read_values

    one, other = left.layout, right.layout
    if one.form is other.form and one.address == other.address:
        return True
    if one.shape != other.shape:
        return False
    if right.address not in ex.arrays:
        return True
    mine, theirs = read_values(ex, one), read_values(ex, other)
    return mine == theirs or all(map(alike, mine, theirs))


def alike(left: Any, right: Any) -> bool:
    """Tell whether two elements are the same; NaNs are, and so are lanes and complex numbers with NaNs in one place."""
    if isinstance(left, tuple):
        return isinstance(right, tuple) and all(map(alike, left, right))
    if isinstance(left, complex) and isinstance(right, complex):
        return alike(left.real, right.real) and alike(left.imag, right.imag)
    return bool(left == right) or (
        isinstance(left, float) and isinstance(right, float) and isnan(left) and isnan(right)
    )
