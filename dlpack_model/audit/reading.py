"""Read what a producer's struct points to with the model, and compare it with what the library reads."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from capsule_model import Interpreter
from dlpack_model.arrays import CPU
from dlpack_model.dtypes import DType, Value, element_type
from dlpack_model.exchange import Exchange
from dlpack_model.tensor import Layout, read_values

__all__ = ["judge"]


def judge(facts: Mapping[str, Any], rule: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the verdict on the facts of a look at an array, and the arguments that show one wrong element.

    ``rule`` is what a wrong element breaks, unless elements take less than a byte.
    The bytes are put into simulated memory and read there, as the struct's shape, strides and type have it.
    """
    kind = element_type(facts["code"], facts["bits"], facts["lanes"])
    if kind is None:
        named = f"code {facts['code']}, {facts['bits']} bits, {facts['lanes']} lanes"
        return ("contract", f"an element type without a meaning: {named}", "DLDataType/code-and-bits"), {}
    own = [complex(*value) if isinstance(value, list) and len(value) == 2 else value for value in facts["values"]]
    read = _read(facts, kind, facts["padded"])
    if len(own) != len(read):
        return ("unsupported", f"{len(own)} values in the library's list, {len(read)} elements"), {}
    indices = product(*map(range, facts["shape"]))
    for index, mine, theirs in zip(indices, read, own, strict=True):
        if mine != theirs and not (mine != mine and theirs != theirs):
            return _wrong(facts, kind, index, mine, theirs, rule)
    return ("kept", f"{len(own)} elements are what the library says they are"), {}


def _read(facts: Mapping[str, Any], kind: DType, padded: bool) -> list[Value]:
    """Return the elements as the model reads them."""
    raw = bytes.fromhex(facts["raw"])
    exchange = Exchange(Interpreter("cpython-3.13"))
    block = exchange.py.malloc(max(len(raw), 1))
    exchange.py.write(block, raw)
    layout = Layout(block - facts["low"], kind, tuple(facts["shape"]), tuple(facts["strides"]), CPU, padded=padded)
    return read_values(exchange, layout)


def _wrong(
    facts: Mapping[str, Any], kind: DType, index: tuple[int, ...], mine: Value, theirs: Any, rule: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the verdict on the first element that differs, and what shows it."""
    small = facts["bits"] < 8
    rule = "DLDataType/packed-bits" if small else rule
    try:
        raw = bytes((kind.to_bits(theirs),)) if small else kind.write(theirs, "little")
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return ("unsupported", f"element {list(index)} is {theirs!r}, which the type in the struct cannot be"), {}
    text = f"element {list(index)} is {theirs}, and {mine} where the struct says that it lies"
    values = {"index": repr(list(index)), "raw": repr(raw), "value": repr(theirs), "rule": repr(rule)}
    return ("wrong values", text, rule), values
