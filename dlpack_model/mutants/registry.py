"""All faulty parties."""

from __future__ import annotations

from dlpack_model.mutants import consumption, destruction, negotiation, production
from dlpack_model.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS: tuple[Mutant, ...] = (
    *destruction.DESTRUCTORS,
    *destruction.DELETERS,
    *production.CAPSULES,
    *production.STRUCTS,
    *negotiation.KEYWORDS,
    *negotiation.REFUSALS,
    *consumption.RENAMING,
    *consumption.OWNING,
    *consumption.READING,
    *consumption.ASKING,
)
