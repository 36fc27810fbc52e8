"""Make what was found small, and put it into words; in a process of its own, whatever the program does there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capsule_model.fuzz.campaign.engine import Open
from capsule_model.fuzz.campaign.shard import in_turn
from capsule_model.fuzz.campaign.written import performed
from capsule_model.fuzz.found import as_vector
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.fuzz.shrink import shrink
from capsule_model.fuzz.tell import tell
from capsule_model.trace.write import dump_vectors

__all__ = ["Raw", "Settled", "as_found", "settle"]

# How many programs may be tried to make one smaller.
TRIES = 600


@dataclass(frozen=True)
class Raw:
    """A finding as the record of a case has it, and what opens the implementation that shows it."""

    finding: dict[str, Any]
    open: Open


@dataclass(frozen=True)
class Settled:
    """A finding as it is written down: the text of a file of vectors, and what there is to read."""

    vectors: str
    told: str


def settle(raw: Raw) -> Settled:
    """Perform a finding's program again behind an adapter, make it as short as can be, and tell it.

    What does not show there, as where it takes what other programs left in the process, stays as it was found.
    """
    with in_turn:
        return _settle(raw)


def _settle(raw: Raw) -> Settled:
    implementation = raw.open.isolated()
    try:

        def fails(vector: Mapping[str, Any]) -> Divergence | None:
            written = performed(vector, implementation.profile)
            return implementation.perform(written) if written.stopped is None else None

        if fails(raw.finding["vector"]) is None:
            return as_found(raw, "It was not seen again when the program was performed alone.")
        small = shrink(raw.finding["vector"], fails, TRIES, profile=implementation.profile)
        name = f"fuzz.found-{raw.finding['id']}"
        vector = as_vector(small, name, implementation.profile)
        return Settled(dump_vectors([vector]), "\n".join(tell(small, implementation.profile)))
    finally:
        implementation.close()


def as_found(raw: Raw, why: str = "It was not made smaller.") -> Settled:
    """Return a finding as it was found."""
    finding = raw.finding
    vector = {**finding["vector"], "id": f"fuzz.found-{finding['id']}"}
    lines = [finding["title"], *finding["differences"], f"after {len(vector['steps'])} steps. {why}"]
    return Settled(dump_vectors([vector]), "\n".join(lines))
