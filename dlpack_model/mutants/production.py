"""Mistakes of producers in what they hand out: in the capsule, and in the struct."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from capsule_model import NULL
from dlpack_model.abi import IS_COPIED, IS_SUBBYTE_TYPE_PADDED, READ_ONLY, DLDataTypeCode, DLTensor
from dlpack_model.exchange import Exchange, Record
from dlpack_model.mutants.mutant import Mutant, having_bug, producing

__all__ = ["CAPSULES", "STRUCTS", "store"]


def store(ex: Exchange, record: Record, **values: int) -> None:
    """Write fields of the struct of a tensor; a dotted name has a double underscore."""
    codec = ex.abi.versioned if record.versioned else ex.abi.legacy
    for name, value in values.items():
        dotted = name.replace("__", ".")
        if dotted not in codec.offsets:
            dotted = f"dl_tensor.{dotted}"
        if dotted in codec.offsets:
            offset, kind = codec.offsets[dotted]
            size, signed = codec.layout.scalar(kind)
            ex.py.write(record.address + offset, value.to_bytes(size, ex.abi.order, signed=signed))


def _writing(change: Callable[[Record, DLTensor], Mapping[str, int]]) -> Any:
    """Return parties whose producers write other values into some fields of their structs."""

    def fills(ex: Exchange, record: Record) -> None:
        tensor, _, _ = ex.tensor_at(record.address, record.versioned)
        store(ex, record, **change(record, tensor))

    return producing(fills=fills)


def _flagging(change: Callable[[int], int]) -> Any:
    def fills(ex: Exchange, record: Record) -> None:
        if record.versioned:
            _, flags, _ = ex.tensor_at(record.address, True)
            store(ex, record, flags=change(flags))

    return producing(fills=fills)


CAPSULES = (
    Mutant(
        "producer.used-name",
        "The capsule has the name of a consumed one from the start.",
        ("__dlpack__/capsule-name",),
        producing(capsule_name=b"used_dltensor_versioned"),
    ),
    Mutant(
        "producer.legacy-name",
        "The capsule of a versioned struct has the name of the old one.",
        ("__dlpack__/capsule-name",),
        producing(capsule_name=b"dltensor"),
    ),
    Mutant(
        "producer.freed-name",
        "The name of the capsule is freed when __dlpack__ returns.",
        ("__dlpack__/name-is-static",),
        producing(frees_name=True),
    ),
    Mutant(
        "producer.same-capsule",
        "The producer returns one capsule again and again, consumed or not.",
        ("__dlpack__/capsule-name",),
        producing(repeats=True),
    ),
    Mutant(
        "producer.shares-context",
        "Exports of an array share one struct, which the first deleter frees.",
        ("DLManagedTensor/deleter-once",),
        producing(shares=True, deleter="normal"),
    ),
    Mutant(
        "producer.borrows-owner",
        "An export takes no reference to the array, and its deleter gives one back.",
        ("DLManagedTensor/deleter-releases-owner",),
        producing(fills=lambda ex, record: ex.py.Py_DECREF(record.array.address)),
    ),
)


def _strides_in_bytes(ex: Exchange, record: Record) -> None:
    tensor, _, _ = ex.tensor_at(record.address, record.versioned)
    if tensor.strides != NULL:
        layout = record.array.layout
        ex.py.write(tensor.strides, ex.abi.integers([stride * layout.dtype.itemsize for stride in layout.strides]))


def _reversed_shape(ex: Exchange, record: Record) -> None:
    tensor, _, _ = ex.tensor_at(record.address, record.versioned)
    if tensor.shape != NULL:
        ex.py.write(tensor.shape, ex.abi.integers(record.array.layout.shape[::-1]))


def _freed_shape(ex: Exchange, record: Record) -> None:
    tensor, _, _ = ex.tensor_at(record.address, record.versioned)
    if tensor.shape != NULL:
        block = ex.py.malloc(16 * tensor.ndim)
        ex.py.write(block, ex.abi.integers(record.array.layout.shape + record.array.layout.strides))
        store(ex, record, shape=block)
        ex.py.free(block)


_BUFFER = b"the buffer of a producer that shares one"


def _shared_shape(ex: Exchange, record: Record) -> None:
    """Use one buffer for the shapes of all exports of the process."""
    tensor, _, _ = ex.tensor_at(record.address, record.versioned)
    if tensor.shape != NULL:
        buffer = ex.static.get(_BUFFER) or ex.memory.literal(bytes(512), writable=True)
        ex.static[_BUFFER] = buffer
        ex.py.write(buffer, ex.abi.integers(record.array.layout.shape))
        store(ex, record, shape=buffer)


def _offset_twice(record: Record, tensor: DLTensor) -> Mapping[str, int]:
    if record.array.layout.size == 0:
        return {}
    return {"data": record.array.layout.address, "byte_offset": max(record.array.layout.address - record.array.data, 0)}


def _offset_lost(record: Record, tensor: DLTensor) -> Mapping[str, int]:
    return {} if record.array.layout.size == 0 else {"data": record.array.data, "byte_offset": 0}


STRUCTS = (
    Mutant(
        "producer.null-strides",
        "Strides are NULL in a struct of version 1.3, and where the elements do not lie in rows.",
        ("DLTensor/strides-not-null",),
        producing(null_strides=True),
    ),
    Mutant(
        "producer.strides-in-bytes",
        "Strides count bytes.",
        ("DLTensor/inside-allocation",),
        producing(fills=_strides_in_bytes),
    ),
    Mutant(
        "producer.reversed-shape",
        "The shape is written with the dimensions in the other order.",
        ("from_dlpack/same-values",),
        producing(fills=_reversed_shape),
    ),
    Mutant(
        "producer.freed-shape",
        "The shape is freed when __dlpack__ returns.",
        ("DLTensor/shape",),
        producing(fills=_freed_shape),
    ),
    Mutant(
        "producer.shared-shape",
        "The shapes of all exports lie in one buffer.",
        ("DLTensor/shape",),
        producing(fills=_shared_shape),
    ),
    Mutant(
        "producer.offset-twice",
        "The byte offset is in the data pointer, and in byte_offset once more.",
        ("DLTensor/byte-offset",),
        _writing(_offset_twice),
    ),
    Mutant(
        "producer.offset-lost",
        "The data pointer is that of the allocation, and byte_offset is 0.",
        ("DLTensor/byte-offset",),
        _writing(_offset_lost),
    ),
    Mutant(
        "producer.scalar-has-a-dimension",
        "A tensor without dimensions says that it has one.",
        ("DLTensor/zero-dimensional",),
        _writing(lambda record, tensor: {"ndim": max(tensor.ndim, 1)}),
    ),
    Mutant(
        "producer.dimension-lost",
        "The first dimension is left out where its length is 1.",
        ("DLTensor/ndim",),
        _writing(lambda record, tensor: {"ndim": tensor.ndim - (record.array.layout.shape[:1] == (1,))}),
    ),
    Mutant(
        "producer.lanes-lost",
        "Every element has one lane.",
        ("DLDataType/code-and-bits",),
        _writing(lambda record, tensor: {"dtype__lanes": 1}),
    ),
    Mutant(
        "producer.lanes-in-bits",
        "The bits are those of all lanes together.",
        ("DLDataType/code-and-bits",),
        _writing(lambda record, tensor: {"dtype__bits": tensor.bits * tensor.lanes & 0xFF}),
    ),
    Mutant(
        "producer.bits-in-bytes",
        "The size of an element is given in bytes.",
        ("DLDataType/code-and-bits",),
        _writing(lambda record, tensor: {"dtype__bits": -(-tensor.bits // 8)}),
    ),
    Mutant(
        "producer.sub-byte-bits",
        "A type of less than a byte says 8 bits.",
        ("DLDataType/sub-byte-bits",),
        producing(sub_byte_bits=8),
    ),
    Mutant(
        "producer.bool-as-integer",
        "A bool is exported as an unsigned integer.",
        ("DLDataType/code-and-bits",),
        _writing(lambda record, tensor: {"dtype__code": 1 if tensor.code == DLDataTypeCode.kDLBool else tensor.code}),
    ),
    Mutant(
        "producer.unsigned-as-signed",
        "An unsigned integer is exported as a signed one.",
        ("DLDataType/code-and-bits",),
        _writing(lambda record, tensor: {"dtype__code": 0 if tensor.code == DLDataTypeCode.kDLUInt else tensor.code}),
    ),
    Mutant(
        "producer.bfloat-as-float",
        "A bfloat16 is exported as a float16.",
        ("DLDataType/code-and-bits",),
        _writing(lambda record, tensor: {"dtype__code": 2 if tensor.code == DLDataTypeCode.kDLBfloat else tensor.code}),
    ),
    Mutant(
        "producer.device-number-lost",
        "The device number is 0.",
        ("DLDevice/device-type",),
        _writing(lambda record, tensor: {"device__device_id": 0}),
    ),
    Mutant(
        "producer.data-of-nothing",
        "A tensor of no elements has a data pointer.",
        ("DLTensor/data-of-nothing",),
        producing(data_of_nothing=True),
    ),
    Mutant(
        "producer.foreign-byte-order",
        "Elements in a foreign byte order are exported.",
        ("DLDataType/native-endianness",),
        producing(exports_non_native=True),
    ),
    Mutant(
        "producer.read-only-unmarked",
        "Read-only elements are exported without saying so.",
        ("DLManagedTensorVersioned/read-only",),
        producing(marks_read_only=False, read_only_error=False),
    ),
    Mutant(
        "producer.all-read-only",
        "Every tensor is marked as read-only.",
        ("DLManagedTensorVersioned/flags-default-zero",),
        _flagging(lambda flags: flags | READ_ONLY),
    ),
    Mutant(
        "producer.copy-unmarked",
        "A copy is not marked as one.",
        ("DLManagedTensorVersioned/is-copied",),
        having_bug("copy-not-marked"),
    ),
    Mutant(
        "producer.all-copied",
        "Every tensor is marked as a copy.",
        ("DLManagedTensorVersioned/is-copied",),
        _flagging(lambda flags: flags | IS_COPIED),
    ),
    Mutant(
        "producer.padding-unmarked",
        "Elements of less than a byte that are padded are not marked so.",
        ("__dlpack__/padded-needs-flags",),
        _flagging(lambda flags: flags & ~IS_SUBBYTE_TYPE_PADDED),
    ),
    Mutant(
        "producer.stray-flags",
        "A flag is set that dlpack.h does not know.",
        ("DLManagedTensorVersioned/flags-default-zero",),
        producing(flags=1 << 40),
    ),
)
