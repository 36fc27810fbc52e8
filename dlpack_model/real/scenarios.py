"""The scenarios: what is exported, how, and how it is asked for. Each is data, for the model and for reality alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from dlpack_model.abi import DLDeviceType
from dlpack_model.arrays import new_array
from dlpack_model.dtypes import DType, Value, dtype_named, element_type
from dlpack_model.exchange import Exchange, Record
from dlpack_model.producer import Producer

__all__ = ["SCENARIOS", "Scenario", "make_array", "overwrite", "scenario_named"]

# A destructor that cannot fail; the published ones that can are the business of the model's own tests.
DESTRUCTOR = "return-early"
# Where a tensor makes no sense to the model, only the libraries that are known to refuse it are asked.
EIGHT_BITS = (
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3b11fnuz",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)
NUMPY = ("numpy-1.26", "numpy-2")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One import: an array, the producer that exports it, and the call of ``from_dlpack``.

    ``dtype`` is a name or (code, bits, lanes). ``array`` and ``producer`` are what differs from the defaults of
    ``new_array`` and ``Producer``, ``struct`` what is written over the filled-in struct: fields by dotted name, and
    ``shape[0]`` or ``strides[0]``. ``source`` is what ``from_dlpack`` is given: the array, a capsule that its
    method has returned, or an object without methods; it is called ``calls`` times. ``libraries`` are those for which
    it is defined (None: all), ``alone`` those whose process it may end.
    """

    id: str
    title: str
    dtype: str | tuple[int, int, int] = "int32"
    shape: tuple[int, ...] = (2, 3)
    array: Mapping[str, Any] = field(default_factory=dict)
    producer: Mapping[str, Any] = field(default_factory=dict)
    struct: Mapping[str, int] = field(default_factory=dict)
    source: Literal["array", "capsule", "object"] = "array"
    calls: int = 1
    copy: bool | None = None
    device: tuple[int, int] | None = None
    libraries: tuple[str, ...] | None = None
    alone: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the scenario as JSON can write it."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scenario:
        """Return the scenario that ``as_json`` wrote."""
        given = {one.name: _tuples(data[one.name]) for one in fields(cls)}
        given["producer"] = {key: _of_json(key, value) for key, value in given["producer"].items()}
        return cls(**given)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, frozenset):
        return sorted(value)
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"complex"}:
            return complex(*value["complex"])
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value


def _of_json(key: str, value: Any) -> Any:
    if key == "capsule_name":
        return value.encode()
    return frozenset(value) if key in ("keywords", "devices") else value


def _element_type(given: str | tuple[int, int, int]) -> DType:
    if isinstance(given, str):
        return dtype_named(given)
    found = element_type(*given)
    if found is None:
        raise ValueError(f"dtype {given} means nothing: expected (code, bits, lanes) that dlpack.h explains")
    return found


def make_array(ex: Exchange, scenario: Scenario) -> int:
    """Make the array of a scenario in an exchange and return a new reference to it."""
    producer = Producer(**{"destructor": DESTRUCTOR, "deleter": "nothing", **scenario.producer})
    return new_array(ex, producer, _element_type(scenario.dtype), scenario.shape, **scenario.array)


def overwrite(ex: Exchange, scenario: Scenario, record: Record) -> None:
    """Write over a managed tensor what a scenario wants to be wrong with it."""
    codec = ex.abi.versioned if record.versioned else ex.abi.legacy
    for name, value in scenario.struct.items():
        vector, _, index = name.partition("[")
        field_name = name if name in codec.offsets else f"dl_tensor.{vector}"
        offset, kind = codec.offsets[field_name]
        address, size, signed = record.address + offset, *codec.layout.scalar(kind)
        if index:
            address, size, signed = ex.memory.load_word(address) + 8 * int(index.rstrip("]")), 8, True
        ex.memory.store(address, value, size, signed)


def _dtypes() -> Iterator[Scenario]:
    """Name every element type of the header once."""
    some: tuple[Value, ...] = (0, 1, 2, 3, 4, 5)
    for bits in (8, 16, 32, 64):
        yield Scenario(f"dtype-int{bits}", f"{bits}-bit integers", f"int{bits}", array={"values": (-1, *some[1:])})
        yield Scenario(f"dtype-uint{bits}", f"unsigned {bits}-bit integers", f"uint{bits}")
    for name in ("float16", "bfloat16", "float32", "float64"):
        numbers = (0.5, -2.0, 3.0, float("inf"), -0.0, 8.0)
        yield Scenario(f"dtype-{name}", f"{name} numbers", name, array={"values": numbers})
    for name in ("complex64", "complex128"):
        pairs = (1 + 2j, -1j, 0j, 2 + 0j, -0.5 + 1j, 4 + 4j)
        yield Scenario(f"dtype-{name}", f"{name} numbers", name, array={"values": pairs})
    yield Scenario("dtype-bool", "truth values", "bool", array={"values": (True, False, True, True, False, False)})
    for name in EIGHT_BITS:
        yield Scenario(f"dtype-{name}", f"{name} numbers", name, array={"values": (1.0, 2.0, 4.0, 8.0, 16.0, 0.5)})
    yield Scenario("dtype-float4", "packed 4-bit numbers", "float4_e2m1fn", array={"values": (1.0,) * 6})
    yield Scenario(
        "dtype-float4-pairs", "4-bit numbers, two an element", "float4_e2m1fnx2", array={"values": ((1.0, 2.0),) * 6}
    )
    yield Scenario("dtype-float6", "packed 6-bit numbers", "float6_e2m3fn", shape=(4,), array={"values": (1.0,) * 4})
    yield Scenario("dtype-int4", "packed 4-bit integers", "int4")
    yield Scenario("dtype-handle", "opaque handles", "handle64")
    yield Scenario("dtype-lanes", "four lanes an element", "int8x4")
    yield Scenario("dtype-float-lanes", "two lanes of numbers an element", "float32x2")
    yield Scenario("dtype-odd-bits", "integers of 7 bits", (0, 7, 1))
    yield Scenario("dtype-wide", "integers of 128 bits", (0, 128, 1), array={"values": (1, 2, 3, 4, 5, 6)})
    yield Scenario("dtype-wide-bool", "truth values of 32 bits", (6, 32, 1), array={"values": (1, 0, 1, 0, 1, 0)})
    yield Scenario("dtype-half-complex", "complex numbers of two halves", (5, 32, 1), array={"values": (1 + 2j,) * 6})


def _layouts() -> Iterator[Scenario]:
    """Vary shape, strides and where the elements lie."""
    yield Scenario("layout-vector", "one dimension", shape=(5,))
    yield Scenario("layout-three", "three dimensions", shape=(2, 3, 2))
    yield Scenario("layout-scalar", "no dimensions", shape=(), array={"values": (7,)})
    yield Scenario("layout-empty", "no elements", shape=(0,))
    yield Scenario("layout-empty-matrix", "no elements, three columns", shape=(0, 3))
    yield Scenario(
        "layout-empty-data",
        "no elements, and a data pointer",
        shape=(0,),
        array={"size": 16},
        producer={"data_of_nothing": True},
    )
    yield Scenario("layout-ones", "dimensions of length one", shape=(1, 4, 1))
    yield Scenario("layout-column-major", "column-major", array={"strides": (1, 2)})
    yield Scenario("layout-strided", "every second element", shape=(4,), array={"strides": (2,)})
    yield Scenario("layout-rows-apart", "rows with a gap behind each", array={"strides": (5, 1)})
    yield Scenario("layout-negative", "backwards", shape=(4,), array={"strides": (-1,)})
    yield Scenario("layout-negative-rows", "rows from the last to the first", array={"strides": (-3, 1)})
    yield Scenario("layout-broadcast", "one row seen twice", array={"strides": (0, 1), "values": (1, 2, 3) * 2})
    yield Scenario("layout-null-strides", "strides NULL", producer={"null_strides": True})
    yield Scenario(
        "layout-null-strides-old", "strides NULL, version 1.0", producer={"null_strides": True, "version": (1, 0)}
    )
    yield Scenario(
        "layout-null-strides-legacy",
        "strides NULL in the old struct",
        producer={"null_strides": True, "structs": False},
    )
    yield Scenario(
        "layout-null-strides-scalar",
        "no dimensions, strides NULL",
        shape=(),
        array={"values": (7,)},
        producer={"null_strides": True},
    )
    yield Scenario("layout-folded", "64 bytes in front, folded into the data pointer", array={"offset": 64})
    yield Scenario(
        "layout-offset", "64 bytes in front, said by byte_offset", array={"offset": 64}, producer={"byte_offset": True}
    )
    yield Scenario(
        "layout-offset-legacy",
        "byte_offset in the old struct",
        array={"offset": 64},
        producer={"byte_offset": True, "structs": False},
    )
    yield Scenario(
        "layout-offset-strides",
        "byte_offset and strides NULL",
        array={"offset": 64},
        producer={"byte_offset": True, "null_strides": True},
    )
    yield Scenario(
        "layout-offset-strides-legacy",
        "byte_offset and strides NULL in the old struct",
        array={"offset": 64},
        producer={"byte_offset": True, "null_strides": True, "structs": False},
    )
    yield Scenario(
        "layout-offset-strides-scalar",
        "no dimensions, byte_offset and strides NULL",
        shape=(),
        array={"values": (7,), "offset": 64},
        producer={"byte_offset": True, "null_strides": True},
    )
    for by in (1, 2, 4, 8, 16, 32):
        yield Scenario(f"layout-aligned-{by}", f"elements at {by} past a multiple of 64", array={"offset": by})
    yield Scenario("layout-misaligned-float64", "float64 at a multiple of 4", "float64", array={"offset": 4})
    for ndim in (32, 33, 64, 65):
        yield Scenario(f"layout-ndim-{ndim}", f"{ndim} dimensions", shape=(1,) * ndim, array={"values": (7,)})


def _structs() -> Iterator[Scenario]:
    """Vary struct, version, flags, and the name of the capsule."""
    yield Scenario("struct-legacy", "the old struct, whatever was asked", producer={"structs": False})
    yield Scenario("struct-versioned", "the new struct, whatever was asked", producer={"structs": True})
    yield Scenario(
        "struct-legacy-only",
        "a producer that knows the old struct alone",
        producer={"structs": False, "version": (0, 8)},
    )
    yield Scenario("struct-no-legacy", "a producer without the old struct", producer={"legacy": False})
    for version in ((0, 9), (1, 0), (1, 1), (1, 99), (2, 0), (3, 1)):
        told = f"{version[0]}.{version[1]}"
        yield Scenario(f"version-{told}", f"the new struct says {told}", producer={"structs": True, "version": version})
    yield Scenario(
        "version-negotiated", "a producer of 2.0 is asked for less", producer={"version": (2, 0), "legacy": False}
    )
    names = {
        "foreign": b"tensor",
        "used": b"used_dltensor",
        "used-versioned": b"used_dltensor_versioned",
        "capitals": b"DLTENSOR",
        "longer": b"dltensor_versioned2",
        "blank": b"dltensor ",
        "empty": b"",
    }
    for id, text in names.items():
        yield Scenario(f"name-{id}", f"the capsule is named {text.decode()!r}", producer={"capsule_name": text})
    yield Scenario(
        "name-legacy-in-legacy",
        "the old struct under a wrong name",
        producer={"structs": False, "capsule_name": b"tensor"},
    )
    yield Scenario(
        "name-versioned-as-legacy",
        "the new struct under the old name",
        producer={"structs": True, "capsule_name": b"dltensor"},
        libraries=(*NUMPY, "torch"),
    )
    yield Scenario("flags-read-only", "elements that are read-only", array={"read_only": True})
    yield Scenario(
        "flags-read-only-legacy",
        "read-only elements, and the old struct",
        array={"read_only": True},
        producer={"structs": False},
    )
    yield Scenario(
        "flags-read-only-unsaid",
        "read-only elements, old struct, no refusal",
        array={"read_only": True},
        producer={"structs": False, "read_only_error": False},
    )
    yield Scenario("flags-read-only-empty", "read-only, and no elements", shape=(0,), array={"read_only": True})
    yield Scenario("flags-copied", "a copy that nobody asked for", producer={"copies_anyway": True})
    yield Scenario("flags-unknown", "a flag that no header names", producer={"flags": 1 << 40})
    yield Scenario("deleter-null", "a NULL deleter", producer={"deleter": "null"}, alone=("jax",))
    yield Scenario(
        "deleter-null-legacy",
        "a NULL deleter in the old struct",
        producer={"deleter": "null", "structs": False},
        alone=("jax",),
    )
    yield Scenario("destructor-none", "no destructor", producer={"destructor": "none"})
    yield Scenario("destructor-none-refused", "no destructor, and lanes", "int8x4", producer={"destructor": "none"})
    yield Scenario(
        "destructor-deletes-always",
        "a destructor that does not look at the name",
        producer={"destructor": "always-deletes"},
    )
    yield Scenario(
        "destructor-never-deletes", "a destructor that does nothing", "int8x4", producer={"destructor": "never-deletes"}
    )


def _answers() -> Iterator[Scenario]:
    """Vary what the producer's methods take, answer and raise."""
    every = ("copy", "dl_device", "max_version", "stream")
    for left_out in every:
        kept = frozenset(every) - {left_out}
        yield Scenario(
            f"keywords-no-{left_out.replace('_', '-')}",
            f"the method does not know {left_out}",
            producer={"keywords": kept},
        )
    yield Scenario(
        "keywords-stream-alone", "the method knows stream alone", producer={"keywords": frozenset({"stream"})}
    )
    yield Scenario("keywords-none", "the method knows no keyword", producer={"keywords": frozenset()})
    yield Scenario(
        "keywords-none-copy", "no keyword, and a copy is wanted", producer={"keywords": frozenset()}, copy=True
    )
    yield Scenario(
        "keywords-none-no-copy", "no keyword, and no copy is wanted", producer={"keywords": frozenset()}, copy=False
    )
    yield Scenario(
        "keywords-no-copy-copy",
        "copy is not known, and wanted",
        producer={"keywords": frozenset(every) - {"copy"}},
        copy=True,
    )
    for type in (
        "BufferError",
        "RuntimeError",
        "TypeError",
        "AttributeError",
        "ValueError",
        "MemoryError",
        "KeyError",
        "KeyboardInterrupt",
    ):
        yield Scenario(
            f"raises-{type.lower()}", f"the method raises {type}", producer={"raises": (type, "told by the producer")}
        )
    yield Scenario("returns-number", "the method returns a number", producer={"returns": "int"})
    yield Scenario("returns-none", "the method returns None", producer={"returns": "NoneType"})
    yield Scenario(
        "returns-again", "the method returns its consumed capsule again", producer={"repeats": True}, calls=2
    )
    yield Scenario("twice", "two imports of one array", calls=2)
    yield Scenario("source-capsule", "a capsule instead of an array", source="capsule")
    yield Scenario(
        "source-capsule-legacy", "a capsule of the old struct", source="capsule", producer={"structs": False}
    )
    yield Scenario("source-capsule-twice", "one capsule, twice", source="capsule", calls=2)
    yield Scenario("source-capsule-copy", "a capsule, and a copy is wanted", source="capsule", copy=True)
    yield Scenario("source-object", "an object without the methods", source="object")


def _requests() -> Iterator[Scenario]:
    """Vary copy and device, asked for and answered."""
    yield Scenario("copy-true", "a copy is wanted", copy=True)
    yield Scenario("copy-false", "no copy is wanted", copy=False)
    yield Scenario(
        "copy-true-unheard", "a copy is wanted, the producer makes none", copy=True, producer={"copies": False}
    )
    yield Scenario(
        "copy-false-unheard", "no copy is wanted, the producer makes one", copy=False, producer={"copies_anyway": True}
    )
    yield Scenario(
        "copy-false-misaligned", "no copy is wanted, 4 past a multiple of 64", copy=False, array={"offset": 4}
    )
    yield Scenario("copy-true-misaligned", "a copy is wanted, 4 past a multiple of 64", copy=True, array={"offset": 4})
    yield Scenario("copy-false-wide", "no copy of int64 is wanted", "int64", copy=False)
    yield Scenario(
        "copy-true-column-major",
        "a copy of column-major elements",
        copy=True,
        array={"strides": (1, 2)},
        producer={"copies": False},
    )
    yield Scenario(
        "copy-true-strided",
        "a copy of every second element",
        shape=(4,),
        copy=True,
        array={"strides": (2,)},
        producer={"copies": False},
    )
    yield Scenario("copy-true-read-only", "a copy of read-only elements", copy=True, array={"read_only": True})
    yield Scenario("device-cpu", "the CPU is asked for", device=(1, 0))
    yield Scenario("device-cpu-copy", "the CPU and a copy are asked for", device=(1, 0), copy=True)
    yield Scenario(
        "device-cpu-keywords",
        "the CPU is asked for, the method knows no keyword",
        device=(1, 0),
        producer={"keywords": frozenset()},
    )
    for device in DLDeviceType:
        if device != DLDeviceType.kDLCPU:
            yield Scenario(
                f"device-{device.value}", f"the elements lie on {device.name}", array={"device": (device.value, 0)}
            )
    yield Scenario("device-unknown", "a device type that no header names", array={"device": (99, 0)})
    yield Scenario("device-second-cpu", "CPU number 1", array={"device": (1, 1)})
    yield Scenario(
        "device-lie", "the method says CPU, the struct CUDA", array={"device": (2, 0)}, producer={"device": (1, 0)}
    )
    yield Scenario(
        "device-lie-host",
        "the method says CPU, the struct CUDA host memory",
        array={"device": (3, 0)},
        producer={"device": (1, 0)},
    )
    yield Scenario("device-as-number", "the method answers (1,)", producer={"device_as_int": True})


def _malformed() -> Iterator[Scenario]:
    """Give structs that make no sense to the libraries that are known to look."""
    yield Scenario("wrong-ndim", "ndim -1", struct={"dl_tensor.ndim": -1}, libraries=(*NUMPY, "jax"))
    yield Scenario("wrong-shape", "a negative length", struct={"shape[0]": -2})
    yield Scenario(
        "wrong-shape-legacy",
        "a negative length in the old struct",
        producer={"structs": False},
        struct={"shape[0]": -2},
    )
    yield Scenario("wrong-code", "a type code that no header names", struct={"dl_tensor.dtype.code": 77})
    yield Scenario("wrong-bits", "no bits", struct={"dl_tensor.dtype.bits": 0})
    yield Scenario("wrong-lanes", "no lanes", struct={"dl_tensor.dtype.lanes": 0})
    yield Scenario("wrong-size", "more elements than 64 bits count", struct={"shape[0]": 1 << 62, "shape[1]": 1 << 62})


def _all() -> Iterator[Scenario]:
    for group in (_dtypes, _layouts, _structs, _answers, _requests, _malformed):
        yield from group()


SCENARIOS: dict[str, Scenario] = {one.id: one for one in _all()}


def scenario_named(id: str) -> Scenario:
    """Return a scenario by id; ``ValueError`` for one that is not known."""
    try:
        return SCENARIOS[id]
    except KeyError:
        raise ValueError(f"no scenario {id[:40]!r}: expected one of {', '.join(SCENARIOS)}") from None
