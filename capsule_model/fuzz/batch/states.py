"""The states that are counted: an operation, its outcome, and what the capsule looked like before it."""

from __future__ import annotations

from functools import cache

from capsule_model.fuzz.batch import code

__all__ = [
    "COUNT",
    "destructor_kind",
    "destructor_kind_number",
    "name_kind",
    "name_kind_number",
    "outcome_of",
    "parsed",
    "parts",
    "words",
]

# The orders are those of batch.c.
OUTCOMES = ("0", "not 0", "ValueError", "AttributeError", "ImportError", "another error")
NAME_KINDS = ("no object", "no capsule", "NULL", "empty", "text", "not UTF-8", "written to", "of a module")
CONTEXTS = ("NULL", "opaque", "a capsule")
DESTRUCTORS = ("none", "the interpreter's", "looks", "changes", "drops", "leaves an error")
COUNTS = ("1", "2", "more")
PENDING = ("nothing pending", "pending")
_OPERATIONS = (*code.OPERATIONS, "destructor")
COUNT = len(_OPERATIONS) * len(OUTCOMES) * len(NAME_KINDS) * len(CONTEXTS) * len(DESTRUCTORS) * len(COUNTS) * 2
PARTS = ("operation", "outcome", "name", "context", "destructor", "refcnt", "pending")


@cache
def words(state: int) -> str:
    """Return a state's number in words, such as ``PyCapsule_GetName, not 0, name text, context NULL, …``."""
    rest, pending = divmod(state, 2)
    rest, count = divmod(rest, len(COUNTS))
    rest, destructor = divmod(rest, len(DESTRUCTORS))
    rest, context = divmod(rest, len(CONTEXTS))
    rest, name = divmod(rest, len(NAME_KINDS))
    operation, outcome = divmod(rest, len(OUTCOMES))
    begins, ends = f"{_OPERATIONS[operation]}, {OUTCOMES[outcome]}", PENDING[pending]
    if name < NAME_KINDS.index("NULL"):
        return f"{begins}, {NAME_KINDS[name]}, {ends}"
    return (
        f"{begins}, name {NAME_KINDS[name]}, context {CONTEXTS[context]}, destructor {DESTRUCTORS[destructor]}, "
        f"refcnt {COUNTS[count]}, {ends}"
    )


@cache
def parts(state: int) -> tuple[tuple[str, str], ...]:
    """Return the parts of a state's number, each with its name."""
    return tuple(parsed(words(state)).items())


def parsed(state: str) -> dict[str, str]:
    """Return the parts of a state in words; ``ValueError`` names one that is none."""
    operation, *parts = state.split(", ")
    if operation not in _OPERATIONS or len(parts) not in (3, 6) or parts[0] not in OUTCOMES or parts[-1] not in PENDING:
        raise ValueError(f"{state!r} is no state: expected such as {words(0)!r}")
    found = {"operation": operation, "outcome": parts[0], "pending": parts[-1]}
    for part in parts[1:-1]:
        name, _, value = part.partition(" ")
        if name in PARTS:
            found[name] = value
    return found


def name_kind(place: int) -> str:
    """Return of which kind the name at a place of the pool is; NULL is at -1."""
    if place < 0:
        return "NULL"
    if place >= len(code.NAMES):
        return "of a module"
    if place in code.WRITABLE:
        return "written to"
    name = code.NAMES[place]
    return "empty" if not name else "not UTF-8" if b"\xff" in name else "text"


def name_kind_number(place: int) -> int:
    """Return the number of that kind."""
    return NAME_KINDS.index(name_kind(place))


def destructor_kind(name: str) -> str:
    """Return of which kind a destructor is."""
    if name in code.NATIVE:
        return "the interpreter's"
    if name in code.LOUD:
        return "leaves an error"
    if name in ("none", "drops"):
        return name
    return "looks" if name in ("quiet", "looks", "refused") else "changes"


def destructor_kind_number(name: str) -> int:
    """Return the number of that kind."""
    return DESTRUCTORS.index(destructor_kind(name))


def outcome_of(type: str) -> int:
    """Return the number of the outcome that an exception of a type is."""
    return OUTCOMES.index(type) if type in OUTCOMES else len(OUTCOMES) - 1
