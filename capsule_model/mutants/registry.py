"""All mutants, by id, in the order of what they are about."""

from __future__ import annotations

from capsule_model.mutants.mistakes import (
    access,
    collected,
    importing,
    lifetime,
    making,
    names,
    pending,
    python_view,
    struct,
    validity,
)
from capsule_model.mutants.mutant import Mutant

__all__ = ["MUTANTS", "mutant_named"]

ABOUT = (names, making, validity, access, lifetime, pending, importing, collected, python_view, struct)
MUTANTS: dict[str, Mutant] = {mutant.id: mutant for about in ABOUT for mutant in about.MISTAKES}


def mutant_named(id: str) -> Mutant:
    """Return the mutant of an id; raise ``ValueError`` with one line where there is none."""
    try:
        return MUTANTS[id]
    except KeyError:
        known = ", ".join(MUTANTS)
        raise ValueError(f"unknown mutant {id!r}: expected one of {known}") from None
