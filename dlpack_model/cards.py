"""What the stepper shows of an exchange: arrays with their elements, exports with their structs, who holds the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from capsule_model import NULL, UndefinedBehavior
from capsule_model.show.stepper.cards import Card, object_card
from capsule_model.trace.wording import clean
from dlpack_model.arguments import shown
from dlpack_model.tensor import read_values

if TYPE_CHECKING:
    from capsule_model.trace.execute import Machine
    from dlpack_model.arrays import Array
    from dlpack_model.exchange import Exchange, Record

__all__ = ["exchange_cards"]

MOST_ELEMENTS = 64
_EXCHANGE = "Exchange"
_POINTERS = ("data", "manager_ctx", "deleter")

TextOf = Callable[[int], str]


def exchange_cards(machine: Machine, text_of: TextOf) -> dict[str, Card]:
    """Return the cards of a machine's exchange, none where nothing was exchanged yet; nothing is changed by it."""
    ex: Exchange | None = machine.extra.get("dlpack")
    if ex is None:
        return {}
    cards = {"x": Card(_EXCHANGE, "exchange", "", _rules_and_gil(ex))}
    for address, array in ex.arrays.items():
        cards[object_card(address)] = Card("Arrays", array.name, f"{address:#x}", _array(ex, array, text_of))
    for record in ex.records.values():
        if not record.deleted:
            at = f"{record.address:#x}"
            cards[f"x{record.number}"] = Card(_EXCHANGE, f"export {record.number}", at, _export(ex, record, text_of))
        for capsule in record.capsules:
            if ex.py.capsule_at(capsule) is not None:
                consumed = record.consumed.get(capsule)
                fields = {"tensor": f"export {record.number}"}
                fields |= {} if consumed is None else {"consumed by": clean(consumed, 80)}
                cards[object_card(capsule)] = Card("", "", "", fields)
    return cards


def _rules_and_gil(ex: Exchange) -> dict[str, str]:
    fields = {"dlpack.h": ".".join(map(str, ex.header.version)), "GIL": "held" if ex.gil else "not held"}
    if ex.readings:
        fields["readings"] = ", ".join(sorted(ex.readings))
    if ex.finalised:
        fields["interpreter"] = "ended"
    return fields


def _array(ex: Exchange, array: Array, text_of: TextOf) -> dict[str, str]:
    layout = array.layout
    fields = {
        "library": clean(array.producer.name, 80),
        "dtype": layout.dtype.name,
        "shape": str(list(layout.shape)),
        "strides": str(list(layout.strides)),
        "device": f"{layout.device[0]}, {layout.device[1]}",
        "data": text_of(array.data),
        "elements": _elements(ex, array),
    }
    if array.read_only:
        fields["read-only"] = "yes"
    if array.record is not None:
        fields["views"] = f"export {array.record.number}"
    if array.made_on is not None:
        fields["still computed on"] = f"stream {array.made_on}"
    return fields


def _elements(ex: Exchange, array: Array) -> str:
    if array.layout.size > MOST_ELEMENTS:
        return f"{array.layout.size} elements"
    try:
        return ", ".join(str(shown(value)) for value in read_values(ex, array.layout)) or "none"
    except UndefinedBehavior as diagnosis:
        return f"cannot be read: {diagnosis.kind}"


def _export(ex: Exchange, record: Record, text_of: TextOf) -> dict[str, str]:
    owners = [name for name, _ in record.claims]
    fields = {
        "of": text_of(record.array.address),
        "struct": "DLManagedTensorVersioned" if record.versioned else "DLManagedTensor",
        "capsules": ", ".join(text_of(capsule) for capsule in record.capsules) or "none",
        "taken over by": clean(", ".join(owners), 160) or "nobody",
        "deleter calls": f"{record.calls} of {record.exports}",
    }
    try:
        return fields | _struct(ex, record, text_of)
    except UndefinedBehavior as diagnosis:
        return fields | {"memory": f"cannot be read: {diagnosis.kind}"}


def _struct(ex: Exchange, record: Record, text_of: TextOf) -> dict[str, str]:
    """Return the fields of a managed tensor by their names in the header."""
    codec = ex.abi.versioned if record.versioned else ex.abi.legacy
    raw = dict(zip(codec.names, codec.unpack(ex.memory.read(record.address, codec.size)), strict=True))
    fields: dict[str, str] = {}
    parts: dict[str, list[int]] = {}
    for name, value in raw.items():
        field, _, part = name.removeprefix("dl_tensor.").partition(".")
        if part:
            parts.setdefault(field, []).append(value)
            fields[field] = ", ".join(map(str, parts[field]))
        elif field in ("shape", "strides"):
            fields[field] = _pointed(ex, value, raw["dl_tensor.ndim"])
        else:
            fields[field] = text_of(value) if field in _POINTERS else str(value)
    return fields


def _pointed(ex: Exchange, address: int, ndim: int) -> str:
    if address == NULL:
        return "NULL"
    if not 0 < ndim <= MOST_ELEMENTS:
        return "[]"
    return str(list(ex.abi.integers_from(ex.memory.read(address, 8 * ndim))))
