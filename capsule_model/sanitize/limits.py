"""What the checkers cannot see, and why: every miss has to be explained by one of these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from capsule_model.sanitize.reports import Tool
from capsule_model.undefined import Kind

__all__ = ["LIMITS", "Limit", "limit_for"]

BOTH: tuple[Tool, ...] = ("asan", "valgrind")


@dataclass(frozen=True, slots=True)
class Limit:
    """One thing that checkers cannot see: its word, which of them, of which kind, in which pairs, and the reason.

    `pairs` are patterns for the last part of a vector's id. A limit of `uninstrumented` holds only where the
    interpreter was not built for the sanitizer.
    """

    word: str
    tools: tuple[Tool, ...]
    kind: Kind | None
    pairs: tuple[str, ...]
    reason: str
    uninstrumented: bool = False


LIMITS: tuple[Limit, ...] = (
    Limit(
        "code-can-be-read", BOTH, Kind.WILD_POINTER, ("*-function", "name-*"),
        "The machine code of a function is memory that may be read, and whoever reads it as an object or as a string "
        "stays inside of it. Only what writes to it or jumps elsewhere is seen.",
    ),
    Limit(
        "no-alignment", BOTH, Kind.MISALIGNED, ("*",),
        "The machine reads words at any address, all bytes lie inside of the object, and neither tool looks at "
        "alignment. UndefinedBehaviorSanitizer would, where the compiler knows the type.",
    ),
    Limit(
        "no-types", BOTH, Kind.NOT_AN_OBJECT, ("*-block", "*-inside"),
        "Both tools know which bytes may be touched, not what they mean. The header is looked for in bytes that are "
        "allocated and written, and the type found there is simply another one than that of capsules.",
    ),
    Limit(
        "not-told-whether-written", ("asan",), Kind.UNINITIALISED_READ, ("*",),
        "AddressSanitizer keeps no account of which bytes were written; MemorySanitizer does. It reports only where "
        "what happens to stand there leads out of the block.",
    ),
    Limit(
        "no-signatures", BOTH, Kind.WRONG_FUNCTION_TYPE, ("*",),
        "A call through a pointer of another type passes arguments in the same registers, and neither tool compares "
        "signatures. A control-flow check of the compiler would.",
    ),
    Limit(
        "counts-are-numbers", BOTH, Kind.NEGATIVE_REFCOUNT, ("*",),
        "A reference count is a number like any other to the tools. That nobody owned the reference shows only where "
        "the object is used or freed again while its memory is gone; a debug build of the interpreter checks it.",
    ),
    Limit(
        "no-indicator", BOTH, Kind.PENDING_EXCEPTION, ("*",),
        "Nothing is done to memory that it is not good for: an exception is lost, or kept too long. A debug build of "
        "the interpreter asserts some of it.",
    ),
    Limit(
        "null-is-checked", BOTH, Kind.NO_EXCEPTION, ("*",),
        "This release of the interpreter copes with there being no exception. No bad access takes place; a debug "
        "build may stop.",
    ),
    Limit(
        "interpreter-not-built-for-it", ("asan",), None, ("*",),
        "The interpreter was not built for AddressSanitizer: only its heap, the C library's functions and the adapter "
        "are watched, not what the interpreter reads and writes itself.", uninstrumented=True,
    ),
)  # fmt: skip


def limit_for(tool: Tool, instrumented: bool, kind: str, pair: str, limits: Iterable[Limit] = LIMITS) -> Limit | None:
    """Return the limit that explains why a tool missed a vector, None where nothing does."""
    for limit in limits:
        if tool not in limit.tools or (limit.uninstrumented and instrumented):
            continue
        if limit.kind in (None, kind) and any(fnmatchcase(pair, pattern) for pattern in limit.pairs):
            return limit
    return None
