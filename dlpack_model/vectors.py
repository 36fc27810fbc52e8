"""The operations of the suite ``dlpack``: what a step of a vector does in the model of the exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from capsule_model import NULL
from capsule_model.trace.extensions import Extension
from capsule_model.trace.operations import NOTHING, BadVector
from dlpack_model import (
    abi,
    arrays,
    consumer,
    contract,
    deleters,
    destructors,
    dtypes,
    exchange,
    exchange_api,
    importing,
    producer,
    streams,
    suitability,
    tensor,
)
from dlpack_model.abi import DLTensor
from dlpack_model.arguments import bad, integers, number, pair, quirks_of, shown, word
from dlpack_model.arrays import Array
from dlpack_model.exchange import Exchange, Record
from dlpack_model.violations import Broken

if TYPE_CHECKING:
    from capsule_model.show.stepper.cards import Card
    from capsule_model.trace.execute import Machine

__all__ = ["EXTENSION", "exchange_of"]

Args = Mapping[str, Any]
MAX_BYTES = 1 << 16
_OBJECT_QUIRKS = ("non-native", "padded")


def exchange_of(machine: Machine, **options: Any) -> Exchange:
    """Return the exchange of a vector's process, made with the options when it is first asked for."""
    found = machine.extra.get("dlpack")
    if found is None:
        found = machine.extra["dlpack"] = Exchange(machine.py, event=lambda event: _event(machine, event), **options)
    assert isinstance(found, Exchange)
    return found


def _event(machine: Machine, event: dict[str, Any]) -> None:
    """Add an event to the step in progress, with the token of what it is about."""
    address = event.get("of")
    record = exchange_of(machine).records.get(address) if address is not None else None
    if record is not None:
        address = record.array.address
    if address is not None:
        seen = machine.tokens.seen(address)
        event = {**event, "of": None if seen is None else seen["ref"]}
    machine.event({key: value for key, value in event.items() if key != "values"})


def _object(machine: Machine, address: int, bind: str | None) -> Any:
    if address == NULL:
        machine.bind(address, bind)
        return None
    machine.own(address, bind)
    return machine.tokens.seen(address)


def _array_of(machine: Machine, args: Args, name: str) -> Array:
    address = machine.value(args[name], f"#{machine.path}.{name}")
    array = exchange_of(machine).arrays.get(address)
    if array is None:
        machine.py.Py_REFCNT(address)
        raise BadVector(f"{name} is no array", machine.path)
    return array


def _record_of(machine: Machine, args: Args, name: str) -> Record:
    """Return the managed tensor that a capsule, or an address, stands for."""
    ex = exchange_of(machine)
    address = machine.value(args[name], f"#{machine.path}.{name}")
    record = ex.by_capsule.get(address) or ex.records.get(address)
    if record is None:
        raise BadVector(f"{name} is neither a capsule with a tensor nor a tensor", machine.path)
    return record


def _new_array(machine: Machine, args: Args, bind: str | None) -> Any:
    ex = exchange_of(machine)
    quirks = quirks_of(args)
    try:
        made = _producer(
            word(args, "producer", "producer"), tuple(quirk for quirk in quirks if quirk not in _OBJECT_QUIRKS)
        )
        made = _described(machine, made, args)
        own = ex.parties.producer
        made = made if own is None else own(made)
        values = args.get("values")
        shape = integers(machine, args, "shape") or ()
        _bounded(machine, shape, args)
        address = arrays.new_array(
            ex,
            made,
            word(args, "dtype", "int32"),
            shape,
            None if values is None else [number(machine, item) for item in values],
            strides=integers(machine, args, "strides"),
            offset=args.get("offset") or 0,
            device=pair(machine, args, "device") or arrays.CPU,
            read_only=bool(args.get("read_only")),
            padded="padded" in quirks,
            swapped="non-native" in quirks,
            size=args.get("size"),
            name=bind or "an array",
        )
    except ValueError as error:
        raise bad(machine, error) from None
    return _object(machine, address, bind)


@lru_cache(1024)
def _producer(name: str, quirks: tuple[str, ...]) -> producer.Producer:
    return producer.quirky(producer.Producer(name), quirks)


@lru_cache(1024)
def _changed(made: producer.Producer, *changes: tuple[str, Any]) -> producer.Producer:
    return replace(made, **dict(changes))


def _described(machine: Machine, made: producer.Producer, args: Args) -> producer.Producer:
    """Return the producer with what the step says of it in arguments of their own."""
    changes: dict[str, Any] = {}
    for name, known in (("destructor", destructors.DESTRUCTORS), ("deleter", deleters.DELETERS)):
        if name in args:
            if args[name] not in known:
                raise ValueError(f"no {name} {str(args[name])[:40]!r}: expected one of {', '.join(known)}")
            changes[name] = args[name]
    version = pair(machine, args, "version")
    if version is not None:
        changes["version"] = version
    return _changed(made, *changes.items()) if changes else made


def _bounded(machine: Machine, shape: tuple[int, ...], args: Args) -> None:
    """Refuse arrays that take more than 65,536 bytes, or that are no arrays."""
    strides = integers(machine, args, "strides")
    count, reach = 1, 1
    for axis, length in enumerate(shape):
        count *= length
        reach += abs(strides[axis]) * max(length - 1, 0) if strides is not None and axis < len(strides) else 0
    offset, size = args.get("offset") or 0, args.get("size") or 0
    if min(shape, default=0) < 0 or (strides is not None and len(strides) != len(shape)):
        raise ValueError(
            f"shape {list(shape)} with these strides is no array: expected lengths from 0 on, a stride each"
        )
    if max(count, reach, offset, size) > MAX_BYTES // 16 or min(offset, size) < 0:
        raise ValueError(f"an array of that size: expected at most {MAX_BYTES // 16} elements and bytes of offset")


def _dlpack(machine: Machine, args: Args, bind: str | None) -> Any:
    keywords: dict[str, Any] = {}
    for name in ("max_version", "dl_device"):
        if name in args:
            keywords[name] = pair(machine, args, name)
    keywords |= {name: args[name] for name in ("stream", "copy") if name in args}
    array = _array_of(machine, args, "self")
    return _object(machine, producer.__dlpack__(exchange_of(machine), array, keywords), bind)


def _dlpack_device(machine: Machine, args: Args, bind: str | None) -> Any:
    answer = producer.__dlpack_device__(exchange_of(machine), _array_of(machine, args, "self"))
    return {"device": list(answer)}


def _consumer(machine: Machine, args: Args) -> consumer.Consumer:
    try:
        described = consumer.consumer_named(word(args, "consumer", ""), quirks_of(args))
    except ValueError as error:
        raise bad(machine, error) from None
    own = exchange_of(machine).parties.consumer
    return described if own is None else own(described)


def _from_dlpack(machine: Machine, args: Args, bind: str | None) -> Any:
    ex = exchange_of(machine)
    x = machine.value(args["x"], f"#{machine.path}.x")
    style = _consumer(machine, args)
    return _object(
        machine,
        consumer.from_dlpack(ex, style, x, device=pair(machine, args, "device"), copy=args.get("copy")),
        bind,
    )


def _values(machine: Machine, args: Args, bind: str | None) -> Any:
    array = _array_of(machine, args, "array")
    return {"values": [shown(value) for value in arrays.values_of(exchange_of(machine), array)]}


def _set(machine: Machine, args: Args, bind: str | None) -> Any:
    array = _array_of(machine, args, "array")
    index = integers(machine, args, "index") or ()
    value = args["value"]
    if value is None or isinstance(value, list):
        raise BadVector(f"value is {value!r}: expected a number", machine.path)
    try:
        arrays.set_value(exchange_of(machine), array, index, number(machine, value))
    except IndexError as error:
        raise bad(machine, error) from None
    return NOTHING


def _fields(machine: Machine, args: Args, bind: str | None) -> Any:
    """Show a managed tensor or a table of the exchange API: pointers as null or 1, shape and strides as lists."""
    ex = exchange_of(machine)
    table = machine.value(args["capsule"], f"#{machine.path}.capsule")
    if table in ex.tables:
        found = exchange_api.api_fields(ex, table)
        version = [found.pop("major"), found.pop("minor")]
        return {"fields": {"version": version} | {name: None if word == NULL else 1 for name, word in found.items()}}
    record = _record_of(machine, args, "capsule")
    ex.touch(record, "the program", "reads")
    raw = _raw_fields(ex, record)
    inner = {name.removeprefix("dl_tensor."): value for name, value in raw.items() if name.startswith("dl_tensor.")}
    shown: dict[str, Any] = {}
    if record.versioned:
        shown |= {"version": [raw["version.major"], raw["version.minor"]], "flags": raw["flags"]}
    return {"fields": shown | _tensor_shown(ex, inner) | {"deleter": None if raw["deleter"] == NULL else 1}}


def _raw_fields(ex: Exchange, record: Record) -> Mapping[str, int]:
    codec = ex.abi.versioned if record.versioned else ex.abi.legacy
    return dict(zip(codec.names, codec.unpack(ex.memory.read(record.address, codec.size)), strict=True))


def _tensor_shown(ex: Exchange, raw: Mapping[str, int]) -> dict[str, Any]:
    ndim = raw["ndim"]

    def pointed(name: str) -> list[int] | None:
        if raw[name] == NULL:
            return None
        return list(ex.abi.integers_from(ex.memory.read(raw[name], 8 * ndim))) if ndim > 0 else []

    return {
        "data": None if raw["data"] == NULL else 1,
        "device": [raw["device.device_type"], raw["device.device_id"]],
        "ndim": ndim,
        "dtype": [raw["dtype.code"], raw["dtype.bits"], raw["dtype.lanes"]],
        "shape": pointed("shape"),
        "strides": pointed("strides"),
        "byte_offset": raw["byte_offset"],
    }


_PARTS = {
    "version": ("version.major", "version.minor"),
    "device": ("dl_tensor.device.device_type", "dl_tensor.device.device_id"),
    "dtype": ("dl_tensor.dtype.code", "dl_tensor.dtype.bits", "dl_tensor.dtype.lanes"),
}


def _poke(machine: Machine, args: Args, bind: str | None) -> Any:
    """Write a field of a managed tensor; a list goes into the parts of a field, or to where shape and strides point."""
    ex = exchange_of(machine)
    record = _record_of(machine, args, "capsule")
    codec = ex.abi.versioned if record.versioned else ex.abi.legacy
    field, value = str(args["field"]), args["value"]
    if field in ("shape", "strides") and isinstance(value, list):
        numbers = integers(machine, {"value": value}, "value") or ()
        _store(machine, _raw_fields(ex, record)[f"dl_tensor.{field}"], ex.abi.integers(numbers))
        return NOTHING
    names = _PARTS.get(field) or ((field,) if field in codec.offsets else (f"dl_tensor.{field}",))
    parts = value if isinstance(value, list) else [value]
    if len(parts) != len(names) or any(name not in codec.offsets for name in names):
        raise BadVector(f"field {field[:40]!r} is not written with {value!r}", machine.path)
    for name, part in zip(names, parts, strict=True):
        offset, kind = codec.offsets[name]
        size, signed = codec.layout.scalar(kind)
        try:
            raw = (part or 0).to_bytes(size, ex.abi.order, signed=signed)
        except (OverflowError, AttributeError):
            raise BadVector(f"{part!r} does not fit into {name}", machine.path) from None
        _store(machine, record.address + offset, raw)
    return NOTHING


def _store(machine: Machine, address: int, raw: bytes) -> None:
    machine.py.write(address, raw)


def _save_thread(machine: Machine, args: Args, bind: str | None) -> Any:
    exchange_of(machine).gil = False
    return NOTHING


def _restore_thread(machine: Machine, args: Args, bind: str | None) -> Any:
    exchange_of(machine).gil = True
    return NOTHING


def _finalise(machine: Machine, args: Args, bind: str | None) -> Any:
    exchange_of(machine).finalised = True
    return 0


def _api(machine: Machine, args: Args, bind: str | None) -> Any:
    ex = exchange_of(machine)
    made = _array_of(machine, args, "array").producer
    quirks = frozenset(quirks_of(args))
    try:
        prev = pair(machine, args, "prev_version")
        older = exchange_api.publish(ex, made, prev, quirks=quirks).address if prev is not None else NULL
        address = exchange_api.publish(ex, made, pair(machine, args, "version") or (1, 3), older, quirks).address
    except ValueError as error:
        raise bad(machine, error) from None
    return _address(machine, address, bind)


def _address(machine: Machine, address: int, bind: str | None) -> Any:
    machine.bind(address, bind)
    return machine.tokens.seen(address)


def _find_api(machine: Machine, args: Args, bind: str | None) -> Any:
    array = _array_of(machine, args, "array")
    found = exchange_api.find_api(exchange_of(machine), array, checks_header="ignores-header" not in quirks_of(args))
    return _address(machine, found, bind)


def _table(machine: Machine, args: Args) -> int:
    address = machine.value(args["api"], f"#{machine.path}.api")
    if address not in exchange_of(machine).tables:
        raise BadVector("api is no table of an exchange API", machine.path)
    return address


def _allocate(machine: Machine, args: Args, bind: str | None) -> Any:
    ex = exchange_of(machine)
    try:
        dtype = dtypes.dtype_named(str(args["dtype"]))
        shape = integers(machine, args, "shape") or ()
        _bounded(machine, shape, args)
    except ValueError as error:
        raise bad(machine, error) from None
    device = pair(machine, args, "device") or arrays.CPU
    prototype = DLTensor(NULL, *device, len(shape), *dtype.triple, NULL, NULL, 0)
    return _address(machine, exchange_api.allocate(ex, _table(machine, args), prototype, shape), bind)


def _export(machine: Machine, args: Args, bind: str | None) -> Any:
    py_object = machine.value(args["py_object"], f"#{machine.path}.py_object")
    return _address(machine, exchange_api.export(exchange_of(machine), _table(machine, args), py_object), bind)


def _import(machine: Machine, args: Args, bind: str | None) -> Any:
    record = _record_of(machine, args, "tensor")
    result = exchange_api.import_tensor(exchange_of(machine), _table(machine, args), record.address)
    return _object(machine, result, bind)


def _borrow(machine: Machine, args: Args, bind: str | None) -> Any:
    ex = exchange_of(machine)
    py_object = machine.value(args["py_object"], f"#{machine.path}.py_object")
    found = exchange_api.borrow(ex, _table(machine, args), py_object)
    if found is None:
        return None
    names = [name.removeprefix("dl_tensor.") for name in ex.abi.tensor.names]
    return {"fields": _tensor_shown(ex, dict(zip(names, found, strict=True)))}


def _work_stream(machine: Machine, args: Args, bind: str | None) -> Any:
    device = pair(machine, args, "device") or arrays.CPU
    stream = exchange_api.work_stream(exchange_of(machine), _table(machine, args), device)
    return stream or None


def _call_deleter(machine: Machine, args: Args, bind: str | None) -> Any:
    ex = exchange_of(machine)
    record = _record_of(machine, args, "tensor")
    exchange_api.call_owned_deleter(ex, record.address)
    return NOTHING


def _header(machine: Machine, args: Args, bind: str | None) -> Any:
    ex = exchange_of(machine)
    version = pair(machine, args, "version")
    try:
        ex.follow(version or (1, 3), ex.readings)
    except ValueError as error:
        raise bad(machine, error) from None
    return NOTHING


def _reading(machine: Machine, args: Args, bind: str | None) -> Any:
    ex = exchange_of(machine)
    try:
        ex.follow(ex.header.version, ex.readings | {word(args, "reading", "")})
    except ValueError as error:
        raise bad(machine, error) from None
    return NOTHING


def _work_on(machine: Machine, args: Args, bind: str | None) -> Any:
    array = _array_of(machine, args, "array")
    array.made_on = args["stream"]
    array.ready = frozenset()
    return NOTHING


def _after_step(machine: Machine) -> None:
    found = machine.extra.get("dlpack")
    if found is not None:
        found.check()


def _state(machine: Machine) -> dict[str, Any]:
    """Return what ``explain`` shows: of each array its memory, of each capsule who will call the deleter."""
    found = machine.extra.get("dlpack")
    if found is None:
        return {}
    shown: dict[str, Any] = {}
    for address, array in found.arrays.items():
        token = machine.tokens.of_address.get(address)
        if token is not None:
            views = None if array.record is None else f"export {array.record.number}"
            shown[token] = {"shape": list(array.layout.shape), "dtype": array.layout.dtype.name, "views": views}
    for record in found.live.values():
        for capsule in record.capsules:
            token = machine.tokens.of_address.get(capsule)
            if token is not None and machine.py.capsule_at(capsule) is not None:
                shown[token] = {"tensor": f"export {record.number}", "taken over by": record.consumed.get(capsule)}
    return shown


def _cards(machine: Machine, text_of: Callable[[int], str]) -> dict[str, Card]:
    # Here, for only the stepper asks.
    from dlpack_model.cards import exchange_cards

    return exchange_cards(machine, text_of)


_OPERATIONS: dict[str, Callable[[Machine, Args, str | None], Any]] = {
    "dlpack.array": _new_array,
    "__dlpack__": _dlpack,
    "__dlpack_device__": _dlpack_device,
    "from_dlpack": _from_dlpack,
    "dlpack.values": _values,
    "dlpack.set": _set,
    "dlpack.fields": _fields,
    "dlpack.poke": _poke,
    "PyEval_SaveThread": _save_thread,
    "PyEval_RestoreThread": _restore_thread,
    "Py_FinalizeEx": _finalise,
    "dlpack.api": _api,
    "dlpack.find_api": _find_api,
    "managed_tensor_allocator": _allocate,
    "managed_tensor_from_py_object_no_sync": _export,
    "managed_tensor_to_py_object_no_sync": _import,
    "dltensor_from_py_object_no_sync": _borrow,
    "current_work_stream": _work_stream,
    "dlpack.call_deleter": _call_deleter,
    "dlpack.header": _header,
    "dlpack.reading": _reading,
    "dlpack.work_on": _work_on,
}

EXTENSION = Extension(
    "dlpack",
    _OPERATIONS,
    (
        abi,
        dtypes,
        tensor,
        arrays,
        exchange,
        deleters,
        destructors,
        streams,
        contract,
        producer,
        suitability,
        importing,
        consumer,
        exchange_api,
    ),
    frozenset(kind.value for kind in Broken),
    ("-m", "dlpack_model.adapter"),
    _state,
    _after_step,
    _cards,
)
