"""What PyO3's versions do differently, as named behaviours: declared here once, asked for by name."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BEHAVIOURS", "NEWEST", "OLDEST", "Behaviour", "behaviours_of", "version_named"]

Version = tuple[int, int]

OLDEST: Version = (0, 16)
NEWEST: Version = (0, 29)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Name one difference: what the versions ``since`` … ``until`` do (both included), and where that is written."""

    name: str
    sentence: str
    source: str
    since: Version = OLDEST
    until: Version = NEWEST


BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.name: behaviour
    for behaviour in (
        Behaviour(
            "owns-name",
            "new and new_with_destructor take an Option<CString>, which the box keeps; before, a &CStr is borrowed.",
            "src/types/capsule.rs:82 and 100 (0.17.3), src/types/capsule.rs:83 (0.16.0)",
            since=(0, 17),
        ),
        Behaviour(
            "name-is-optional",
            "name returns an Option; before, a NULL name is read as a C string.",
            "src/types/capsule.rs:243 (0.17.3), src/types/capsule.rs:211 (0.16.0)",
            since=(0, 17),
        ),
        Behaviour(
            "destructor-is-send",
            "The type of a destructor closure must be Send.",
            "src/types/capsule.rs:96 (0.17.3), src/types/capsule.rs:95 (0.16.0)",
            since=(0, 17),
        ),
        Behaviour(
            "context-ignores-name",
            "context looks for an error whenever the context is NULL; before, only where the capsule is valid.",
            "src/types/capsule.rs:193 (0.17.3), src/types/capsule.rs:181 (0.16.0)",
            since=(0, 17),
        ),
        Behaviour(
            "unchecked-methods-clear-error",
            "pointer and is_valid clear the error indicator where a name or a pointer is NULL.",
            "src/types/capsule.rs:219 to 264 (0.17.3), absent in 0.16.0",
            since=(0, 17),
            until=(0, 28),
        ),
        Behaviour(
            "unchecked-methods",
            "pointer, reference and is_valid exist: they pass the capsule's own name.",
            "src/types/capsule.rs:348 to 379 (0.28.3), gone in 0.29.0",
            until=(0, 28),
        ),
        Behaviour(
            "checked-methods",
            "pointer_checked and is_valid_checked exist: the caller names the capsule.",
            "src/types/capsule.rs:254 and 265 (0.27.2)",
            since=(0, 27),
        ),
        Behaviour(
            "name-is-a-pointer",
            "name returns a CapsuleName, a pointer that only unsafe code reads; before, a &CStr that safe code reads.",
            "src/types/capsule.rs:272 and 391 (0.27.2)",
            since=(0, 27),
        ),
        Behaviour(
            "takes-pointers",
            "new_with_pointer and new_with_pointer_and_destructor exist.",
            "src/types/capsule.rs:177 and 234 (0.28.3)",
            since=(0, 28),
        ),
        Behaviour(
            "takes-values-with-static-names",
            "new_with_value and new_with_value_and_destructor exist; new and new_with_destructor are deprecated.",
            "src/types/capsule.rs:132 and 192 (0.29.2)",
            since=(0, 29),
        ),
        Behaviour(
            "allows-zero-sized",
            "A value of no size can be put into a capsule; before, that does not compile.",
            "src/types/capsule.rs:132 (0.29.2), the bound AssertNotZeroSized in src/types/capsule.rs:570 (0.28.3)",
            since=(0, 29),
        ),
        Behaviour(
            "destructor-is-static",
            "The type of a destructor closure must be 'static; before, a closure may borrow what dies earlier.",
            "src/types/capsule.rs:233 (0.29.2), src/types/capsule.rs:105 (0.28.3)",
            since=(0, 29),
        ),
        Behaviour(
            "imports-pointers",
            "import_pointer exists.",
            "src/types/capsule.rs:416 (0.29.2)",
            since=(0, 29),
        ),
        Behaviour(
            "import-checks-alignment",
            "import refuses a pointer that is not aligned for the type; before, it makes a reference of it.",
            "src/types/capsule.rs:395 (0.29.2), src/types/capsule.rs:262 (0.28.3)",
            since=(0, 29),
        ),
    )
}


def version_named(text: str) -> Version:
    """Return the version that a text such as ``0.29`` or ``0.29.2`` names.

    Raises ``ValueError`` for what is none of 0.16 to 0.29. The security release 0.16.6, which differs from 0.16.0 to
    0.16.5, is not modelled.
    """
    parts = text.split(".")
    known = len(parts) in (2, 3) and all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts)
    version = (int(parts[0]), int(parts[1])) if known else (0, 0)
    if not OLDEST <= version <= NEWEST or text == "0.16.6":
        raise ValueError(f"no version {text[:20]!r} of PyO3: expected one from 0.16 to 0.29, without 0.16.6")
    return version


def behaviours_of(version: Version) -> frozenset[str]:
    """Return the names of the behaviours that a version has."""
    return frozenset(name for name, one in BEHAVIOURS.items() if one.since <= version <= one.until)
