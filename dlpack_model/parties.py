"""Whose code carries out what a program asks of producers and consumers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlpack_model.arrays import Array
    from dlpack_model.contract import Call
    from dlpack_model.exchange import Exchange
    from dlpack_model.producer import Producer
    from dlpack_model.styles import Consumer

__all__ = ["NOBODY", "Parties"]

Exports = Callable[["Exchange", "Array", Mapping[str, Any]], int]
Imports = Callable[["Exchange", "Consumer", int, "tuple[int, int] | None", "Call"], int]


@dataclass(frozen=True, slots=True, eq=False)
class Parties:
    """Say who stands in for the parties of an exchange; where a field is None, the model does what it always does.

    ``producer`` and ``consumer`` get a party as it is described, and return the one that takes its place. ``exports``
    is carried out instead of ``producer.export``: it gets exchange, array and keywords, and returns a new capsule, or
    NULL with the error indicator set. ``imports`` is carried out instead of ``consumer.receive``: it gets exchange,
    consumer, what to import, the device asked for and the ``Call``, and returns a new reference to an array, or NULL
    with the error indicator set. Both may call what they stand in for.
    """

    name: str = "parties"
    producer: Callable[[Producer], Producer] | None = None
    consumer: Callable[[Consumer], Consumer] | None = None
    exports: Exports | None = None
    imports: Imports | None = None


NOBODY = Parties("nobody")
