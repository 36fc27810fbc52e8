"""The structs, enums and flags of ``dlpack.h``, laid out for a machine.

A struct is written and read whole: as the tuple of its scalar fields in the header's order, packed into the bytes
that a compiler of that machine lays out. Source: dlpack.h 1.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cache
from typing import Any, Literal, NamedTuple

from capsule_model import Struct

__all__ = [
    "DLPACK_VERSIONS",
    "IS_COPIED",
    "IS_SUBBYTE_TYPE_PADDED",
    "MAJOR",
    "READ_ONLY",
    "STANDARD_DEVICES",
    "STRUCTS",
    "Abi",
    "Codec",
    "DLDataTypeCode",
    "DLDeviceType",
    "DLTensor",
    "Flags",
    "Header",
    "abi_for",
    "header_named",
]

Version = tuple[int, int]
# The major version of dlpack.h that is modelled.
MAJOR = 1


class DLDeviceType(IntEnum):
    """Name the device types; the value is the one in the header."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14
    kDLWebGPU = 15
    kDLHexagon = 16
    kDLMAIA = 17
    kDLTrn = 18


# Those that the array API standard names.
STANDARD_DEVICES = frozenset({1, 2, 3, 4, 7, 8, 9, 10, 13, 14})


class DLDataTypeCode(IntEnum):
    """Name the type codes; the value is the one in the header."""

    kDLInt = 0
    kDLUInt = 1
    kDLFloat = 2
    kDLOpaqueHandle = 3
    kDLBfloat = 4
    kDLComplex = 5
    kDLBool = 6
    kDLFloat8_e3m4 = 7
    kDLFloat8_e4m3 = 8
    kDLFloat8_e4m3b11fnuz = 9
    kDLFloat8_e4m3fn = 10
    kDLFloat8_e4m3fnuz = 11
    kDLFloat8_e5m2 = 12
    kDLFloat8_e5m2fnuz = 13
    kDLFloat8_e8m0fnu = 14
    kDLFloat6_e2m3fn = 15
    kDLFloat6_e3m2fn = 16
    kDLFloat4_e2m1fn = 17


class Flags(IntFlag):
    """Name the bits of ``DLManagedTensorVersioned.flags``: ``DLPACK_FLAG_BITMASK_`` and the name."""

    READ_ONLY = 1
    IS_COPIED = 2
    IS_SUBBYTE_TYPE_PADDED = 4


# As plain numbers, for what is done with each export.
READ_ONLY, IS_COPIED, IS_SUBBYTE_TYPE_PADDED = (flag.value for flag in Flags)


@dataclass(frozen=True, slots=True)
class Header:
    """Say what one version of ``dlpack.h`` knows.

    ``device_types`` and ``type_codes`` are the values that it names, ``flags`` the bits, ``structs`` the structs;
    ``null_strides`` tells whether strides may be NULL where there are dimensions, ``exchange_api`` under which
    attribute of a type the exchange API is found.
    """

    version: Version
    device_types: frozenset[int]
    type_codes: frozenset[int]
    flags: Flags
    structs: tuple[str, ...]
    null_strides: bool
    exchange_api: str | None = None


# Read in the repository's tags v0.8 to v1.1, and in the headers of 1.2 and 1.3 that apache-tvm-ffi ships.
_OLD_STRUCTS = ("DLDevice", "DLDataType", "DLTensor", "DLManagedTensor")
_STRUCTS = ("DLPackVersion", *_OLD_STRUCTS, "DLManagedTensorVersioned")
_API = ("DLPackExchangeAPIHeader", "DLPackExchangeAPI")
_COPIED = Flags.READ_ONLY | Flags.IS_COPIED
_PADDED = _COPIED | Flags.IS_SUBBYTE_TYPE_PADDED


def _codes(last: int) -> frozenset[int]:
    return frozenset(code.value for code in DLDataTypeCode if code <= last)


def _devices(last: int) -> frozenset[int]:
    return frozenset(device.value for device in DLDeviceType if device <= last)


DLPACK_VERSIONS: dict[Version, Header] = {
    header.version: header
    for header in (
        Header((0, 8), _devices(16), _codes(6), Flags(0), _OLD_STRUCTS, True),
        Header((1, 0), _devices(17), _codes(6), _COPIED, _STRUCTS, True),
        Header((1, 1), _devices(17), _codes(17), _PADDED, _STRUCTS, True),
        Header((1, 2), _devices(18), _codes(17), _PADDED, (*_STRUCTS, *_API), False, "__c_dlpack_exchange_api__"),
        Header((1, 3), _devices(18), _codes(17), _PADDED, (*_STRUCTS, *_API), False, "__dlpack_c_exchange_api__"),
    )
}


def header_named(version: Version) -> Header:
    """Return the header of a version; raise ``ValueError`` with the known ones."""
    try:
        return DLPACK_VERSIONS[version]
    except KeyError:
        known = ", ".join(f"{major}.{minor}" for major, minor in DLPACK_VERSIONS)
        raise ValueError(f"no dlpack.h {version[0]}.{version[1]} is known: expected one of {known}") from None


class DLTensor(NamedTuple):
    """The scalar fields of a ``DLTensor`` in the header's order, its device and its type written out."""

    data: int
    device_type: int
    device_id: int
    ndim: int
    code: int
    bits: int
    lanes: int
    shape: int
    strides: int
    byte_offset: int

    @property
    def device(self) -> tuple[int, int]:
        """Return device type and device number."""
        return self.device_type, self.device_id

    @property
    def dtype(self) -> tuple[int, int, int]:
        """Return type code, bits and lanes."""
        return self.code, self.bits, self.lanes

    def _repr_html_(self) -> str:
        """Show the fields in a notebook."""
        from dlpack_model.pictures import tensor_picture

        return tensor_picture(self)._repr_html_()

    def _repr_svg_(self) -> str:
        """Show the fields in a notebook."""
        from dlpack_model.pictures import tensor_picture

        return tensor_picture(self)._repr_svg_()


def _structs(word: int, most: int) -> dict[str, Struct]:
    version = Struct(word, most, major="uint32_t", minor="uint32_t")
    device = Struct(word, most, device_type="int32_t", device_id="int32_t")
    dtype = Struct(word, most, code="uint8_t", bits="uint8_t", lanes="uint16_t")
    tensor = Struct(
        word,
        most,
        data="pointer",
        device=device,
        ndim="int32_t",
        dtype=dtype,
        shape="pointer",
        strides="pointer",
        byte_offset="uint64_t",
    )
    header = Struct(word, most, version=version, prev_api="pointer")
    return {
        "DLPackVersion": version,
        "DLDevice": device,
        "DLDataType": dtype,
        "DLTensor": tensor,
        "DLManagedTensor": Struct(word, most, dl_tensor=tensor, manager_ctx="pointer", deleter="pointer"),
        "DLManagedTensorVersioned": Struct(
            word,
            most,
            version=version,
            manager_ctx="pointer",
            deleter="pointer",
            flags="uint64_t",
            dl_tensor=tensor,
        ),
        "DLPackExchangeAPIHeader": header,
        "DLPackExchangeAPI": Struct(
            word,
            most,
            header=header,
            managed_tensor_allocator="pointer",
            managed_tensor_from_py_object_no_sync="pointer",
            managed_tensor_to_py_object_no_sync="pointer",
            dltensor_from_py_object_no_sync="pointer",
            current_work_stream="pointer",
        ),
    }


STRUCTS = tuple(_structs(8, 8))
_FORMATS = {"int8_t": "b", "int16_t": "h", "int32_t": "i", "int64_t": "q"}
_FORMATS |= {f"u{kind}": letter.upper() for kind, letter in _FORMATS.items()}


class Codec:
    """Pack the scalar fields of a struct into its bytes, and unpack them.

    ``names`` are the fields in order, those of inner structs as ``outer.inner``; ``size`` is in bytes, ``behind`` the
    next offset that is aligned to 8.
    """

    def __init__(self, layout: Struct, order: Literal["little", "big"]) -> None:
        self.layout = layout
        self.size = layout.size
        # Where an array of int64_t can lie behind the struct.
        self.behind = layout.size + -layout.size % 8
        self.offsets = dict(_leaves(layout, "", 0))
        self.names = tuple(self.offsets)
        text = "<" if order == "little" else ">"
        end = 0
        for offset, kind in self.offsets.values():
            size = layout.scalar(kind)[0]
            letter = _FORMATS.get(kind) or {4: "I", 8: "Q"}[size]
            text += f"{offset - end}x{letter}"
            end = offset + size
        self._struct = struct.Struct(f"{text}{layout.size - end}x")
        self.pack = self._struct.pack
        self.unpack = self._struct.unpack


def _leaves(layout: Struct, prefix: str, base: int) -> list[tuple[str, tuple[int, str]]]:
    """Return the scalar fields of a struct in order: dotted name, offset in bytes and C type."""
    found: list[tuple[str, tuple[int, str]]] = []
    for name, kind in layout.fields.items():
        offset = base + layout.offsets[name]
        if isinstance(kind, Struct):
            found += _leaves(kind, f"{prefix}{name}.", offset)
        else:
            found.append((f"{prefix}{name}", (offset, kind)))
    return found


class Abi:
    """The structs of ``dlpack.h`` on one machine: ``layouts`` by name, ``codecs`` by name.

    ``word`` is the machine's word in bytes, ``order`` its byte order, ``most`` the largest alignment of a scalar.
    """

    def __init__(self, word: int, order: Literal["little", "big"], most: int) -> None:
        self.word = word
        self.order = order
        self.most = most
        self.layouts = _structs(word, most)
        self.codecs = {name: Codec(layout, order) for name, layout in self.layouts.items()}
        # What a struct of the version that consumers know begins with.
        self.major = MAJOR.to_bytes(4, order)
        self.int64s: dict[int, struct.Struct] = {}
        self.tensor = self.codecs["DLTensor"]
        self.legacy = self.codecs["DLManagedTensor"]
        self.versioned = self.codecs["DLManagedTensorVersioned"]

    def integers(self, values: tuple[int, ...] | list[int]) -> bytes:
        """Return the bytes of an array of ``int64_t``."""
        return self.of_int64s(len(values)).pack(*values)

    def integers_from(self, raw: bytes) -> tuple[int, ...]:
        """Return an array of ``int64_t`` from its bytes."""
        return self.of_int64s(len(raw) // 8).unpack(raw)

    def of_int64s(self, count: int) -> struct.Struct:
        """Return what packs and unpacks an array of ``count`` times ``int64_t``."""
        found = self.int64s.get(count)
        if found is None:
            found = self.int64s[count] = struct.Struct(f"{'<' if self.order == 'little' else '>'}{count}q")
        return found

    def view(self, name: str, raw: bytes) -> dict[str, Any]:
        """Return the fields of a struct by dotted name."""
        codec = self.codecs[name]
        return dict(zip(codec.names, codec.unpack(raw), strict=True))


@cache
def abi_for(word: int, order: Literal["little", "big"], most: int = 8) -> Abi:
    """Return the structs laid out for a machine."""
    return Abi(word, order, most)
