"""The C exchange API: a table of functions on a type, for exchanges without Python in between.

The functions take and return what they do in C: addresses, out parameters in simulated memory, 0 or -1. Source:
dlpack.h 1.3, ``DLPackExchangeAPI``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capsule_model import NULL
from dlpack_model.abi import IS_SUBBYTE_TYPE_PADDED, READ_ONLY, DLTensor
from dlpack_model.arrays import Array, new_array, place_array
from dlpack_model.deleters import call_deleter
from dlpack_model.dtypes import element_type
from dlpack_model.exchange import EXCHANGE_API
from dlpack_model.producer import Producer, export_managed
from dlpack_model.streams import STREAMED, stream_of
from dlpack_model.tensor import read_layout
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from dlpack_model.exchange import Exchange

__all__ = [
    "API_QUIRKS",
    "FUNCTIONS",
    "Api",
    "allocate",
    "api_fields",
    "borrow",
    "call_owned_deleter",
    "export",
    "find_api",
    "import_tensor",
    "publish",
    "work_stream",
]

MAJOR = 1
CALLER = "the caller of the exchange API"
# The functions in the header's order; only the fourth may be NULL.
FUNCTIONS = (
    "managed_tensor_allocator",
    "managed_tensor_from_py_object_no_sync",
    "managed_tensor_to_py_object_no_sync",
    "dltensor_from_py_object_no_sync",
    "current_work_stream",
)
MAY_BE_NULL = frozenset({"dltensor_from_py_object_no_sync"})
API_QUIRKS = frozenset(
    {
        "null-allocator",
        "null-dltensor",
        "wrong-name",
        "no-set-error",
        "set-error-on-success",
        "ignores-header",
        "allocator-fails",
        "import-fails",
        "import-fails-and-deletes",
        "export-fails-silently",
        "stream-on-cpu",
        "freed-table",
    }
)


@dataclass(frozen=True, slots=True)
class Api:
    """One published table: where it lies, for which producer, the version in its header, and how it deviates."""

    address: int
    producer: Producer
    version: tuple[int, int]
    quirks: frozenset[str]


def publish(
    ex: Exchange,
    producer: Producer,
    version: tuple[int, int] = (1, 3),
    prev: int = NULL,
    quirks: frozenset[str] = frozenset(),
) -> Api:
    """Place a table in static memory and set it on the producer's type; return it.

    ``prev`` is the address of an older table (NULL: none). ``ValueError`` names a quirk that is not known.
    """
    unknown = sorted(quirks - API_QUIRKS)
    if unknown:
        raise ValueError(f"no quirk {unknown[0][:40]!r} of an exchange API: expected one of {', '.join(API_QUIRKS)}")
    functions = [_function(ex, name, producer, quirks) for name in FUNCTIONS]
    if "null-allocator" in quirks:
        functions[0] = NULL
    if "null-dltensor" in quirks:
        functions[3] = NULL
    raw = ex.abi.codecs["DLPackExchangeAPI"].pack(*version, prev, *functions)
    if "freed-table" in quirks:
        address = ex.py.malloc(len(raw))
        ex.memory.write(address, raw)
    else:
        address = ex.memory.literal(raw)
    api = Api(address, producer, version, quirks)
    ex.tables[address] = api
    name = b"exchange_api" if "wrong-name" in quirks else EXCHANGE_API
    as_int = "exchange-api-as-int" in ex.readings
    # rule: DLPackExchangeAPI/on-the-type
    ex.on_types[producer.type_name] = address if as_int else ex.py.PyCapsule_New(address, ex.cstring(name), NULL)
    if "freed-table" in quirks:
        ex.py.free(address)
    return api


def _function(ex: Exchange, name: str, producer: Producer, quirks: frozenset[str]) -> int:
    bodies: dict[str, Callable[..., int]] = {
        "managed_tensor_allocator": _allocator,
        "managed_tensor_from_py_object_no_sync": _from_py_object,
        "managed_tensor_to_py_object_no_sync": _to_py_object,
        "dltensor_from_py_object_no_sync": _dltensor,
        "current_work_stream": _current_work_stream,
    }
    body = bodies[name]

    def function(*arguments: Any) -> int:
        return int(ex.within((name, producer.name), body, ex, producer, quirks, *arguments))

    return ex.register((name, producer.name, quirks), name, f"{producer.name}'s {name}", function)


def find_api(ex: Exchange, array: Array, *, checks_header: bool = True) -> int:
    """Look the table up on the array's type and return the first one of a known major version, or NULL with an error.

    The attribute is looked up on the type, never on the object, and its capsule is let go of at once: the table lives
    as long as the process.
    """
    capsule = ex.on_types.get(array.producer.type_name, NULL)
    if capsule == NULL:
        # rule: DLPackExchangeAPI/absent
        return ex.set_error("AttributeError", f"type object has no attribute '{ex.header.exchange_api}'")
    if "exchange-api-as-int" in ex.readings:
        table = capsule
    else:
        # rule: DLPackExchangeAPI/capsule-name
        table = ex.py.PyCapsule_GetPointer(capsule, ex.cstring(EXCHANGE_API))
    if table == NULL:
        _blame(ex, array, False, "publishes its table under another name", "DLPackExchangeAPI/capsule-name")
        return NULL
    block = ex.memory.nearest(table)
    # rule: DLPackExchangeAPI/static
    static = block is not None and block.kind == "static"
    _blame(ex, array, static, "publishes a table that may go away", "DLPackExchangeAPI/static")
    codec = ex.abi.codecs["DLPackExchangeAPIHeader"]
    while table != NULL:
        major, _, prev = codec.unpack(ex.memory.read(table, codec.size))
        # rule: DLPackExchangeAPI/header-major
        if major == MAJOR:
            _check_functions(ex, array, table)
            return table
        if not checks_header:
            fact = f"a consumer uses a table of version {major}, and knows version {MAJOR}"
            ex.complain(Broken.PAST_FLAGS, fact, "DLPackExchangeAPI/header-major", None, table)
            return table
        # rule: DLPackExchangeAPI/prev-api
        table = prev
    return ex.set_error("BufferError", "no exchange API of a version that is known")


def api_fields(ex: Exchange, table: int) -> dict[str, int]:
    """Return the fields of a table by name, the older one under the name that the texts are read to give it."""
    codec = ex.abi.codecs["DLPackExchangeAPI"]
    fields = dict(zip(codec.names, codec.unpack(ex.memory.read(table, codec.size)), strict=True))
    older = "prev_version_api" if "prev-version-api" in ex.readings else "prev_api"
    # rule: DLPackExchangeAPI/layout
    return {name.rpartition(".")[2].replace("prev_api", older): value for name, value in fields.items()}


def _blame(ex: Exchange, array: Array, holds: bool, fact: str, rule: str) -> None:
    if not holds:
        ex.complain(Broken.CONTRACT, f"{array.producer.name} {fact}", rule, None, array.address)


def _check_functions(ex: Exchange, array: Array, table: int) -> None:
    fields = api_fields(ex, table)
    for name in FUNCTIONS:
        # rule: DLPackExchangeAPI/functions-not-null
        missing = fields[name] == NULL and name not in MAY_BE_NULL
        _blame(ex, array, not missing, f"leaves {name} NULL", "DLPackExchangeAPI/functions-not-null")


def _pointer(ex: Exchange, table: int, name: str) -> int:
    codec = ex.abi.codecs["DLPackExchangeAPI"]
    return ex.memory.load_word(table + codec.offsets[name][0])


def _failed(ex: Exchange, name: str, status: int | None) -> bool:
    """Tell whether a call failed, and hold it to having said why."""
    # Only the comments of the first two functions speak of a pointer.
    pointer = "pointer-returned" in ex.readings and name in FUNCTIONS[:2]
    failed = status == NULL if pointer else status != 0
    # rule: DLPackExchangeAPI/error-with-failure
    if failed and ex.py.error is None:
        fact = f"{name} fails without an exception"
        ex.complain(Broken.NO_ERROR, fact, "DLPackExchangeAPI/error-with-failure")
    return bool(failed)


def allocate(ex: Exchange, table: int, prototype: DLTensor, shape: tuple[int, ...]) -> int:
    """Have the library allocate a tensor like the prototype; return it, owned by the caller, or NULL with an error."""
    codec = ex.abi.tensor
    length = ex.py.malloc(8 * max(len(shape), 1))
    ex.memory.write(length, ex.abi.integers(shape) or bytes(8))
    block = ex.py.malloc(codec.size)
    ex.memory.write(block, codec.pack(*prototype._replace(ndim=len(shape), shape=length, strides=NULL)))
    out = ex.py.malloc(ex.abi.word)
    said: list[tuple[str, str]] = []

    def SetError(error_ctx: int, kind: int, message: int) -> None:
        if ex.event is not None:
            ex.event({"dlpack": "set_error", "name": ex.memory.c_string(kind).decode(errors="replace")})
        said.append((ex.memory.c_string(kind).decode(), ex.memory.c_string(message).decode()))

    callback = ex.py.function(SetError, "SetError", "SetError")
    function = _pointer(ex, table, "managed_tensor_allocator")
    status = ex.py.call(function, "managed_tensor_allocator", block, out, NULL, callback)
    failed = status == NULL if "pointer-returned" in ex.readings else status != 0
    # rule: managed_tensor_allocator/set-error
    if failed != bool(said):
        told = "fails and does not call SetError" if failed else "succeeds and calls SetError"
        ex.complain(Broken.CONTRACT, f"the allocator {told}", "managed_tensor_allocator/set-error", None, table)
    tensor = NULL if failed else ex.memory.load_word(out)
    for block_of_call in (length, block, out):
        ex.py.free(block_of_call)
    return ex.set_error(*said[0]) if failed and said else tensor


def _allocator(
    ex: Exchange,
    producer: Producer,
    quirks: frozenset[str],
    prototype: int,
    out: int,
    error_ctx: int,
    SetError: int,
) -> int:
    """Allocate: of the prototype only type, dimensions, shape and device are read."""
    codec = ex.abi.tensor
    tensor = DLTensor._make(codec.unpack(ex.memory.read(prototype, codec.size)))
    dtype = element_type(*tensor.dtype)
    failing = dtype is None or "allocator-fails" in quirks
    if (failing and "no-set-error" not in quirks) or "set-error-on-success" in quirks:
        kind, text = (b"BufferError", b"cannot be allocated")
        ex.py.call(SetError, "SetError", error_ctx, ex.cstring(kind), ex.cstring(text))
    if dtype is None or failing:
        return NULL if "pointer-returned" in ex.readings else -1
    # rule: managed_tensor_allocator/prototype
    shape = ex.abi.integers_from(ex.memory.read(tensor.shape, 8 * tensor.ndim)) if tensor.ndim else ()
    address = new_array(ex, producer, dtype, shape, device=tensor.device, name="an allocated tensor")
    managed = _owned(ex, ex.arrays[address])
    ex.py.Py_DECREF(address)
    ex.memory.store_word(out, managed)
    return managed if "pointer-returned" in ex.readings else 0


def _owned(ex: Exchange, array: Array) -> int:
    """Return a managed tensor of the array that the caller owns."""
    managed = export_managed(ex, array, True, False)
    # rule: managed_tensor_from_py_object_no_sync/owned
    ex.claim(ex.live[managed], CALLER, managed)
    return managed


def export(ex: Exchange, table: int, py_object: int) -> int:
    """Export an array without a capsule; return the managed tensor, owned by the caller, or NULL with an error."""
    out = ex.py.malloc(ex.abi.word)
    name = "managed_tensor_from_py_object_no_sync"
    status = ex.py.call(_pointer(ex, table, name), name, py_object, out)
    tensor = NULL if _failed(ex, name, status) else ex.memory.load_word(out)
    ex.py.free(out)
    return tensor


def _from_py_object(ex: Exchange, producer: Producer, quirks: frozenset[str], py_object: int, out: int) -> int:
    array = _of_own_type(ex, producer, py_object)
    if "export-fails-silently" in quirks:
        return NULL if "pointer-returned" in ex.readings else -1
    if array is None:
        ex.set_error("TypeError", "an array of another library")
        return NULL if "pointer-returned" in ex.readings else -1
    managed = _owned(ex, array)
    ex.memory.store_word(out, managed)
    return managed if "pointer-returned" in ex.readings else 0


def _of_own_type(ex: Exchange, producer: Producer, py_object: int) -> Array | None:
    """Return the array, which must be of the type that the table was found on."""
    array = ex.arrays.get(py_object)
    own = array is not None and array.producer.name == producer.name
    # rule: DLPackExchangeAPI/own-type
    if not own:
        fact = f"a table of {producer.name} is used with an array of {array.producer.name if array else 'no library'}"
        ex.complain(Broken.CONTRACT, fact, "DLPackExchangeAPI/own-type", None, py_object)
    return array if own else None


def import_tensor(ex: Exchange, table: int, tensor: int) -> int:
    """Make an array of a managed tensor, which is stolen; return a new reference, or NULL with an error."""
    out = ex.py.malloc(ex.abi.word)
    name = "managed_tensor_to_py_object_no_sync"
    status = ex.py.call(_pointer(ex, table, name), name, tensor, out)
    failed = _failed(ex, name, status)
    result = NULL if failed else ex.memory.load_word(out)
    ex.py.free(out)
    if failed and "failure-steals" not in ex.readings:
        record = ex.records.get(tensor)
        # rule: managed_tensor_to_py_object_no_sync/failure-keeps
        if record is not None and record.deleted:
            fact = "the import fails, and has called the deleter of a tensor that its caller still owns"
            rule = "managed_tensor_to_py_object_no_sync/failure-keeps"
            ex.complain(Broken.CONTRACT, fact, rule, record)
    return result


def _to_py_object(ex: Exchange, producer: Producer, quirks: frozenset[str], tensor: int, out: int) -> int:
    record = ex.records.get(tensor)
    ex.touch(record, producer.name, "imports")
    view, flags, version = ex.tensor_at(tensor, True)
    # rule: from_dlpack/verifies-version
    if version[0] != MAJOR or quirks & {"import-fails", "import-fails-and-deletes"}:
        if "failure-steals" in ex.readings or "import-fails-and-deletes" in quirks:
            call_owned_deleter(ex, tensor)
        ex.set_error("BufferError", "cannot be imported")
        return -1
    layout = read_layout(ex, view, padded=flags & IS_SUBBYTE_TYPE_PADDED != 0, before_1_2=version < (1, 2))
    array = Array(NULL, f"{producer.name}'s view", producer, layout, view.data, record=record)
    array.flags = flags & (READ_ONLY | IS_SUBBYTE_TYPE_PADDED)
    place_array(ex, array)
    if record is not None:
        # rule: managed_tensor_to_py_object_no_sync/steals
        ex.unclaim(record, tensor)
        ex.claim(record, f"{producer.name}'s array", array.address)

    def release(ex: Exchange, array: Array) -> None:
        if record is not None:
            ex.unclaim(record, array.address)
        call_deleter(ex, tensor, versioned=True)

    array.release = release
    ex.memory.store_word(out, array.address)
    return 0


def call_owned_deleter(ex: Exchange, tensor: int) -> None:
    """Have the caller of the exchange API delete a tensor that it owns."""
    record = ex.records.get(tensor)
    if record is not None:
        ex.unclaim(record, tensor)
    call_deleter(ex, tensor, versioned=True)


def borrow(ex: Exchange, table: int, py_object: int) -> DLTensor | None:
    """Fill in a tensor that views the array for as long as control is not returned; None where that is not offered.

    Nothing is owned: no deleter is to be called, and the array has to be kept alive by somebody else.
    """
    name = "dltensor_from_py_object_no_sync"
    function = _pointer(ex, table, name)
    if function == NULL:
        # rule: dltensor_from_py_object_no_sync/may-be-null
        return None
    codec = ex.abi.tensor
    out = ex.py.malloc(codec.size)
    failed = _failed(ex, name, ex.py.call(function, name, py_object, out))
    tensor = None if failed else DLTensor._make(codec.unpack(ex.memory.read(out, codec.size)))
    ex.py.free(out)
    return tensor


def _dltensor(ex: Exchange, producer: Producer, quirks: frozenset[str], py_object: int, out: int) -> int:
    array = _of_own_type(ex, producer, py_object)
    if array is None:
        ex.set_error("TypeError", "an array of another library")
        return -1
    layout = array.layout
    ndim = len(layout.shape)
    shape = ex.memory.literal(ex.abi.integers((*layout.shape, *layout.strides))) if ndim else NULL
    # rule: dltensor_from_py_object_no_sync/borrows
    fields = (layout.address, *layout.device, ndim, *layout.dtype.triple, shape, shape + 8 * ndim if ndim else NULL, 0)
    ex.memory.write(out, ex.abi.tensor.pack(*fields))
    return 0


def work_stream(ex: Exchange, table: int, device: tuple[int, int]) -> int:
    """Return the stream on which the library works on a device, NULL on one without streams."""
    out = ex.py.malloc(ex.abi.word)
    name = "current_work_stream"
    status = ex.py.call(_pointer(ex, table, name), name, *device, out)
    # This function returns a status under either reading.
    stream = ex.memory.load_word(out) if status == 0 else NULL
    ex.py.free(out)
    # rule: current_work_stream/cpu-null
    if device[0] not in STREAMED and stream != NULL:
        fact = f"a library names stream {stream:#x} on a device without streams"
        ex.complain(Broken.CONTRACT, fact, "current_work_stream/cpu-null", None, table)
    return stream


def _current_work_stream(
    ex: Exchange, producer: Producer, quirks: frozenset[str], device_type: int, device_id: int, out: int
) -> int:
    streamed = device_type in STREAMED or "stream-on-cpu" in quirks
    ex.memory.store_word(out, stream_of(device_type, None) if streamed else NULL)
    return 0
