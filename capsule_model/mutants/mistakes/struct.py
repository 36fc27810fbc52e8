"""Mistakes about the struct: its words in another order, too many of them, or too few."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

IN_ORDER = ("layout/fields-in-order",)
FIELDS = 'CAPSULE_FIELDS = ("pointer", "name", "context", "destructor")'
COLLECTED = 'GC_FIELDS = ("traverse_func", "clear_func")'


def _laid_out(id: str, title: str, old: str, new: str) -> Mutant:
    """Return a mutant whose struct has other words."""
    return Mutant(f"layout/{id}", title, IN_ORDER, (Edit("profiles", "", old, new),))


MISTAKES = (
    _laid_out(
        "name-first",
        "The name lies before the pointer.",
        FIELDS,
        'CAPSULE_FIELDS = ("name", "pointer", "context", "destructor")',
    ),
    _laid_out(
        "destructor-before-context",
        "The destructor lies before the context.",
        FIELDS,
        'CAPSULE_FIELDS = ("pointer", "name", "destructor", "context")',
    ),
    _laid_out(
        "context-before-name",
        "The context lies before the name.",
        FIELDS,
        'CAPSULE_FIELDS = ("pointer", "context", "name", "destructor")',
    ),
    _laid_out(
        "one-word-more",
        "The struct has a word more, for flags.",
        FIELDS,
        'CAPSULE_FIELDS = ("pointer", "name", "context", "destructor", "flags")',
    ),
    _laid_out("without-traverse", "The struct has no words for the collector.", COLLECTED, "GC_FIELDS = ()"),
    _laid_out(
        "clear-before-traverse",
        "The clear function lies before the traverse function.",
        COLLECTED,
        'GC_FIELDS = ("clear_func", "traverse_func")',
    ),
)
