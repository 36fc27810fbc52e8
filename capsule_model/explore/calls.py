"""Invariants of one call: what it returns, what it does to the error indicator, and what it stores.

Each function returns what was seen where its invariant is broken, else None.
"""

from __future__ import annotations

from capsule_model.capsule import PyCapsule_GetPointer
from capsule_model.explore.alphabet import NONE, PENDING, Operation
from capsule_model.explore.states import CONTEXT, DESTRUCTOR, NAME, POINTER, REFS, CapsuleWords
from capsule_model.explore.step import Step
from capsule_model.memory import NULL

__all__ = [
    "asking_changes_nothing",
    "error_names_function",
    "failure_changes_nothing",
    "failure_sets_error",
    "getter_returns_stored",
    "indicator_holds_one",
    "is_valid_agrees",
    "is_valid_is_silent",
    "names_stay",
    "new_is_what_was_given",
    "new_leaves_others",
    "null_is_never_valid",
    "returns_tell",
    "setter_leaves_the_rest",
    "setter_stores",
    "success_leaves_indicator",
]

_STORED = {
    "PyCapsule_GetPointer": POINTER,
    "PyCapsule_GetName": NAME,
    "PyCapsule_GetContext": CONTEXT,
    "PyCapsule_GetDestructor": DESTRUCTOR,
}


def _called(step: Step) -> Operation:
    assert step.operation is not None
    return step.operation


def _subject(step: Step) -> CapsuleWords:
    """Return the words that the capsule of a call had before it."""
    words = step.before[_called(step).slot]
    assert words is not None
    return words


def returns_tell(step: Step) -> str | None:
    """Check that what is returned tells failure from success."""
    op = _called(step)
    if op.word != NONE:
        wrong = step.result != (-1 if step.fails else 0)
    elif step.fails:
        wrong = step.result != NULL
    else:
        wrong = op.op in ("PyCapsule_New", "PyCapsule_GetPointer") and not step.result
    return f"it {'fails' if step.fails else 'succeeds'} and returns {step.result}" if wrong else None


def failure_sets_error(step: Step) -> str | None:
    """Check that a call that fails leaves one exception, its own."""
    error = step.error_after
    if error is None or error is step.error_before or error.type != "ValueError":
        return f"it fails and leaves {error!r}, having found {step.error_before!r}"
    return None


def error_names_function(step: Step) -> str | None:
    """Check that the text of the exception begins with the name of the function."""
    error = step.error_after
    if error is not None and not error.text.startswith(f"{_called(step).op} called with "):
        return f"its exception says {error.text!r}"
    return None


def failure_changes_nothing(step: Step) -> str | None:
    """Check that a call that fails changes no word of any capsule."""
    return _changed(step)


def success_leaves_indicator(step: Step) -> str | None:
    """Check that a call that succeeds leaves the error indicator as it found it."""
    if step.error_after is not step.error_before:
        return f"it succeeds and leaves {step.error_after!r}, having found {step.error_before!r}"
    return None


def is_valid_is_silent(step: Step) -> str | None:
    """Check that IsValid leaves the error indicator alone, whatever it answers."""
    if step.error_after is not step.error_before:
        return f"it returns {step.result} and leaves {step.error_after!r}, having found {step.error_before!r}"
    return None


def is_valid_agrees(step: Step) -> str | None:
    """Check that IsValid is 1 exactly where GetPointer with the same name succeeds, and else 0."""
    op = _called(step)
    pointer = step.world.ask(PyCapsule_GetPointer, *op.args)
    if step.result != (1 if pointer else 0):
        return f"it returns {step.result}, and PyCapsule_GetPointer {step.world.shown(pointer)}"
    return None


def null_is_never_valid(step: Step) -> str | None:
    """Check that NULL is not valid under any name."""
    if _called(step).slot == NONE and step.result != 0:
        return f"it returns {step.result}"
    return None


def getter_returns_stored(step: Step) -> str | None:
    """Check that a getter returns the word that was stored last, the very same."""
    op = _called(step)
    stored = _subject(step)[_STORED[op.op]]
    if step.result != stored:
        return f"it returns {step.world.shown(step.result)}, and {step.world.shown(stored)} is stored"
    return None


def asking_changes_nothing(step: Step) -> str | None:
    """Check that neither a getter nor IsValid changes a word or a count."""
    return _changed(step)


def setter_stores(step: Step) -> str | None:
    """Check that a setter that succeeds stores its word."""
    op = _called(step)
    words = step.after[op.slot]
    if words is not None and words[op.word] == op.args[1]:
        return None
    stored = "nothing" if words is None else step.world.shown(words[op.word])
    return f"it stores {stored}, and was given {step.world.shown(op.args[1])}"


def setter_leaves_the_rest(step: Step) -> str | None:
    """Check that a setter changes no other word and no count, of its capsule or of another."""
    op = _called(step)
    for slot, (before, after) in enumerate(zip(step.before, step.after, strict=False)):
        if before != after:
            if before is None or after is None or slot != op.slot:
                return f"{step.world.shown(step.world.slots[slot])} changes"
            if before[: op.word] != after[: op.word] or before[op.word + 1 :] != after[op.word + 1 :]:
                return f"the capsule has {step.world.shown_words(after)}"
    return None


def new_is_what_was_given(step: Step) -> str | None:
    """Check that a new capsule has what it was given, no context, and one reference."""
    pointer, name, destructor = _called(step).args
    words = step.after[-1] if len(step.after) > len(step.before) else None
    if words != (1, pointer, name, NULL, destructor):
        return f"the new capsule has {step.world.shown_words(words)}"
    return None


def new_leaves_others(step: Step) -> str | None:
    """Check that a new capsule lies where no other does, and changes none; and that none is made without success."""
    world, before = step.world, len(step.before)
    made = 0 if step.fails else 1
    if tuple(step.after[:before]) != tuple(step.before):
        return "another capsule changes"
    if len(step.after) != before + made:
        return f"{len(step.after) - before} capsules are made"
    if made and step.result != world.slots[before]:
        return "its address is that of another capsule"
    return None


def names_stay(step: Step) -> str | None:
    """Check that no byte of a name is written, whoever stores it and whatever is done to it."""
    return "a byte of a name changes" if step.world.names_written() else None


def indicator_holds_one(step: Step) -> str | None:
    """Check that an exception that is set takes the place of the one before, and that clearing leaves none."""
    error = step.error_after
    if _called(step).op == "PyErr_Clear":
        return None if error is None else f"{error!r} is still pending"
    if error is None or error is step.error_before or error.type != PENDING:
        return f"{error!r} is pending"
    return None


def _changed(step: Step) -> str | None:
    """Say which capsule changed, if any did."""
    if step.after == step.before:
        return None
    for slot, (before, after) in enumerate(zip(step.before, step.after, strict=False)):
        if before != after:
            token = step.world.shown(step.world.slots[slot])
            if before is None or after is None:
                return f"{token} dies"
            word = [old == new for old, new in zip(before, after, strict=True)].index(False)
            return f"the count of {token} changes" if word == REFS else f"the word {word} of {token} changes"
    return "a capsule is made"
