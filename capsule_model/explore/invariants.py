"""The invariants: what holds in every state and transition, and the rules that it follows from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from capsule_model.explore import calls, lifetime
from capsule_model.explore.step import Step

__all__ = ["INVARIANTS", "MERGE", "Invariant", "by_operation"]

Check = Callable[[Step], str | None]

ASKING = ("PyCapsule_IsValid",)
POINTER = ("PyCapsule_GetPointer",)
NAME = ("PyCapsule_GetName",)
READING = ("PyCapsule_GetDestructor", "PyCapsule_GetContext")
GETTING = POINTER + NAME + READING
SETTING = ("PyCapsule_SetPointer", "PyCapsule_SetName", "PyCapsule_SetDestructor", "PyCapsule_SetContext")
NEW = ("PyCapsule_New",)
INDICATOR = ("PyErr_SetString", "PyErr_Clear")
COUNTING = ("Py_INCREF", "Py_DECREF")
# What the first half of a thread's step is called, which is no operation.
MERGE = "merge"
ENDING = ("Py_DECREF", MERGE)
CALLS = ASKING + GETTING + SETTING + NEW + INDICATOR + COUNTING
EVERY = (*CALLS, MERGE)
# Asked of a step that was stopped; all others are asked of one that came to an end.
STOPPED = "stopped"

_INVALID = tuple(f"{op}/invalid" for op in (*GETTING, *SETTING))
_FAILURES = (
    "PyCapsule/invalid-null",
    "PyCapsule_New/null-pointer",
    "PyCapsule_SetPointer/null-pointer",
    "PyCapsule_GetPointer/name-mismatch",
)
_STORES = tuple(f"{op}/stores" for op in SETTING)
_LAST = "Py_DECREF/last-reference-deallocates"


@dataclass(frozen=True, slots=True)
class Invariant:
    """One invariant: its id, what it says, the rules that it follows from, the operations it is about, and its check.

    ``fails`` says that it is about calls that fail alone (true) or about those that succeed (false).
    """

    id: str
    sentence: str
    rules: tuple[str, ...]
    operations: tuple[str, ...]
    check: Check
    fails: bool | None = None


INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "returns-tell",
        "A call that fails returns NULL or -1; one that succeeds returns 0 from a setter, and no NULL for a pointer.",
        (*_FAILURES, *_INVALID),
        GETTING + SETTING + NEW,
        calls.returns_tell,
    ),
    Invariant(
        "failure-sets-one-error",
        "A call that fails leaves one exception, a new ValueError, in place of the one that was pending.",
        (*_FAILURES, *_INVALID, "error-indicator/replaced-not-chained"),
        GETTING + SETTING + NEW,
        calls.failure_sets_error,
        fails=True,
    ),
    Invariant(
        "error-names-function",
        "The exception of a call that fails names the function.",
        (*_FAILURES, *_INVALID),
        GETTING + SETTING + NEW,
        calls.error_names_function,
        fails=True,
    ),
    Invariant(
        "failure-changes-nothing",
        "A call that fails changes no word of any capsule.",
        (*_FAILURES, *_INVALID),
        GETTING + SETTING + NEW,
        calls.failure_changes_nothing,
        fails=True,
    ),
    Invariant(
        "success-leaves-indicator",
        "A getter, a setter and PyCapsule_New that succeed leave the error indicator as they found it.",
        ("error-indicator/success-leaves-it",),
        GETTING + SETTING + NEW,
        calls.success_leaves_indicator,
        fails=False,
    ),
    Invariant(
        "is-valid-is-silent",
        "PyCapsule_IsValid never touches the error indicator, whatever it answers.",
        ("error-indicator/success-leaves-it", "PyCapsule_IsValid/compares-name"),
        ASKING,
        calls.is_valid_is_silent,
    ),
    Invariant(
        "is-valid-agrees",
        "PyCapsule_IsValid returns 1 exactly where PyCapsule_GetPointer with the same name succeeds, and else 0.",
        ("PyCapsule_IsValid/compares-name", "PyCapsule_GetPointer/name-mismatch", "PyCapsule/names-compare-by-strcmp"),
        ASKING,
        calls.is_valid_agrees,
    ),
    Invariant(
        "null-is-never-valid",
        "PyCapsule_IsValid of NULL is 0 under every name.",
        ("PyCapsule_IsValid/null",),
        ASKING,
        calls.null_is_never_valid,
    ),
    Invariant(
        "get-pointer-returns-stored",
        "PyCapsule_GetPointer with a name that matches by its bytes returns the pointer that was stored last.",
        (
            "PyCapsule_GetPointer/returns-pointer",
            "PyCapsule/names-compare-by-strcmp",
            "PyCapsule/null-name-matches-null-alone",
        ),
        POINTER,
        calls.getter_returns_stored,
        fails=False,
    ),
    Invariant(
        "get-name-returns-address",
        "PyCapsule_GetName returns the very address that was given as the name.",
        ("PyCapsule_GetName/returns-stored-address", "PyCapsule_New/name-is-not-copied"),
        NAME,
        calls.getter_returns_stored,
        fails=False,
    ),
    Invariant(
        "get-word-returns-stored",
        "PyCapsule_GetDestructor and PyCapsule_GetContext return what was stored last.",
        ("PyCapsule_GetDestructor/returns-destructor", "PyCapsule_GetContext/returns-context"),
        READING,
        calls.getter_returns_stored,
        fails=False,
    ),
    Invariant(
        "asking-changes-nothing",
        "No getter and no PyCapsule_IsValid changes a word or a count of any capsule.",
        ("PyCapsule_GetPointer/returns-pointer", "PyCapsule_IsValid/compares-name"),
        GETTING + ASKING,
        calls.asking_changes_nothing,
    ),
    Invariant(
        "setter-stores",
        "A setter that succeeds stores its word.",
        _STORES,
        SETTING,
        calls.setter_stores,
        fails=False,
    ),
    Invariant(
        "setter-leaves-the-rest",
        "A setter changes no word but its own, no count, and no other capsule.",
        _STORES,
        SETTING,
        calls.setter_leaves_the_rest,
        fails=False,
    ),
    Invariant(
        "new-is-what-was-given",
        "A new capsule has the pointer, name and destructor that it was given, the context NULL and one reference.",
        ("PyCapsule_New/returns-capsule", "PyCapsule_New/name-is-not-copied", "PyCapsule_New/context-starts-null"),
        NEW,
        calls.new_is_what_was_given,
        fails=False,
    ),
    Invariant(
        "new-leaves-others",
        "PyCapsule_New makes one capsule at an address of its own, or none where it fails, and changes no other.",
        ("PyCapsule_New/returns-capsule", "PyCapsule_New/null-pointer"),
        NEW,
        calls.new_leaves_others,
    ),
    Invariant(
        "names-stay",
        "No operation writes a byte of a name.",
        ("PyCapsule_SetName/stores", "PyCapsule_New/name-is-not-copied"),
        EVERY,
        calls.names_stay,
    ),
    Invariant(
        "indicator-holds-one",
        "An exception that is set takes the place of the one before; after PyErr_Clear none is pending.",
        ("error-indicator/replaced-not-chained", "PyErr_Clear/forgets"),
        INDICATOR,
        calls.indicator_holds_one,
    ),
    Invariant(
        "counts-are-references",
        "A count is the number of references that are owned, one that waits for its owner included.",
        ("Py_INCREF/adds-one", _LAST, "PyCapsule_New/returns-capsule"),
        COUNTING + NEW + (MERGE,),
        lifetime.counts_are_references,
    ),
    Invariant(
        "owned-is-alive",
        "No capsule dies as long as anybody owns a reference to it.",
        (_LAST,),
        EVERY,
        lifetime.owned_is_alive,
    ),
    Invariant(
        "unowned-is-gone",
        "The last reference takes the capsule with it, whatever its destructor did, unless it waits for its owner.",
        (_LAST, "dealloc/frees-in-any-case"),
        ENDING,
        lifetime.unowned_is_gone,
    ),
    Invariant(
        "counting-stores-nothing",
        "Counting, and the death of one capsule, changes no word of another.",
        ("Py_INCREF/adds-one", _LAST),
        (*COUNTING, MERGE),
        lifetime.counting_stores_nothing,
    ),
    Invariant(
        "dead-are-diagnosed",
        "Every later use of a capsule that died is a use after free.",
        ("object/use-after-free",),
        ENDING,
        lifetime.dead_are_diagnosed,
    ),
    Invariant(
        "living-are-not-destroyed",
        "A destructor runs for a capsule that dies and at no other time: not when it is replaced, not by any getter.",
        ("PyCapsule_SetDestructor/stores", "dealloc/calls-destructor"),
        EVERY,
        lifetime.living_are_not_destroyed,
    ),
    Invariant(
        "destructor-once",
        "Each death runs the destructor that was stored last exactly once, and none where that is NULL.",
        ("dealloc/calls-destructor",),
        ENDING,
        lifetime.destructor_once,
    ),
    Invariant(
        "destructor-finds-count-zero",
        "A destructor finds the count of its capsule at 0.",
        ("dealloc/refcount-is-zero-in-destructor",),
        ENDING,
        lifetime.destructor_finds_count_zero,
    ),
    Invariant(
        "destructor-finds-capsule",
        "A destructor runs before the memory of its capsule goes.",
        ("dealloc/frees-in-any-case", "dealloc/calls-destructor"),
        ENDING,
        lifetime.destructor_finds_capsule,
    ),
    Invariant(
        "destructor-finds-words",
        "A destructor finds pointer, name, context and destructor of its capsule as they were stored last.",
        ("dealloc/calls-destructor",),
        ENDING,
        lifetime.destructor_finds_words,
    ),
    Invariant(
        "destructor-finds-indicator",
        "A destructor finds the exception that is pending where the last reference is given back, in a merge none.",
        ("dealloc/indicator-is-not-saved", "biased-count/owner-merges"),
        ENDING,
        lifetime.destructor_finds_indicator,
    ),
    Invariant(
        "destructor-leaves-indicator",
        "What a destructor leaves pending stays so; counting without a death leaves the indicator alone.",
        ("dealloc/indicator-is-not-saved",),
        (*COUNTING, MERGE),
        lifetime.destructor_leaves_indicator,
    ),
    Invariant(
        "undefined-is-diagnosed",
        "A destructor that gives back a reference that nobody owns is diagnosed.",
        ("Py_DECREF/negative", "Py_DECREF/negative-aborts", "object/use-after-free", "object/not-an-object"),
        ENDING,
        lifetime.undefined_is_diagnosed,
    ),
    Invariant(
        "defined-is-not-diagnosed",
        "Nothing else is: NULL where a function takes it, and every use of a capsule that somebody owns, are defined.",
        ("PyCapsule/invalid-null", "PyCapsule_IsValid/null", _LAST),
        (STOPPED,),
        lifetime.defined_is_not_diagnosed,
    ),
    Invariant(
        "waiting-is-queued",
        "A capsule that waits for its owner's thread is in that thread's queue, once, and in no other.",
        ("biased-count/waits-for-owner", "biased-count/owner-merges"),
        (*COUNTING, MERGE),
        lifetime.waiting_is_queued,
    ),
    Invariant(
        "merged-by-owner",
        "What had waited ends in the thread that made it, and its destructor runs there.",
        ("biased-count/owner-merges",),
        (MERGE,),
        lifetime.merged_by_owner,
    ),
    Invariant(
        "parts-add-up",
        "A capsule has an owner exactly as long as that one has counted a reference that it did not give back.",
        ("biased-count/two-parts", "biased-count/owner-lets-go", "biased-count/merged-has-no-owner"),
        COUNTING + NEW + (MERGE,),
        lifetime.parts_add_up,
    ),
)


def by_operation() -> Mapping[tuple[str, bool], list[tuple[str, Check]]]:
    """Return the checks that each operation has to pass where it succeeds and where it fails, and those of a stop."""
    return {
        (op, fails): [(one.id, one.check) for one in INVARIANTS if op in one.operations and one.fails in (None, fails)]
        for op in (*EVERY, STOPPED)
        for fails in (False, True)
    }
