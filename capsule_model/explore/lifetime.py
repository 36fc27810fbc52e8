"""Invariants of counts, deaths and destructors.

Each function returns what was seen where its invariant is broken, else None.
"""

from __future__ import annotations

from capsule_model.explore.scripts import DROP
from capsule_model.explore.states import CONTEXT, DESTRUCTOR, REFS
from capsule_model.explore.step import RunSeen, Step
from capsule_model.memory import NULL

__all__ = [
    "counting_stores_nothing",
    "counts_are_references",
    "dead_are_diagnosed",
    "defined_is_not_diagnosed",
    "destructor_finds_capsule",
    "destructor_finds_count_zero",
    "destructor_finds_indicator",
    "destructor_finds_words",
    "destructor_leaves_indicator",
    "destructor_once",
    "living_are_not_destroyed",
    "merged_by_owner",
    "owned_is_alive",
    "parts_add_up",
    "spoilt",
    "undefined_is_diagnosed",
    "unowned_is_gone",
    "waiting_is_queued",
]


def references(step: Step) -> list[int]:
    """Return how many references to each capsule the program has after a step, by its own books."""
    owned = list(step.owned)
    op = step.operation
    if op is not None:
        if op.op == "Py_INCREF":
            owned[op.slot] += 1
        elif op.op == "Py_DECREF":
            owned[op.slot] -= 1
        elif op.op == "PyCapsule_New" and len(step.after) > len(owned):
            owned.append(1)
    for run in step.runs:
        slot = dropped(step, run)
        if slot >= 0:
            owned[slot] -= 1
    return owned


def dropped(step: Step, run: RunSeen) -> int:
    """Return the slot of the capsule that a run of a destructor gave back a reference to, -1 where it did not."""
    if run.script != DROP or run.words is None:
        return -1
    return step.slot_of(run.words[CONTEXT])


def waits(step: Step, slot: int) -> int:
    """Return 1 where a reference waits in a queue, which still counts, else 0."""
    return int(step.parts[slot][2]) if step.parts else 0


def _deaths(step: Step) -> list[int]:
    """Return the slots of the capsules that died in a step."""
    if None not in step.after:
        return []
    return [slot for slot, words in enumerate(step.before) if words is not None and step.after[slot] is None]


def counts_are_references(step: Step) -> str | None:
    """Check that a count is the number of references that are owned, and that of a waiting one."""
    owned = references(step)
    for slot, words in enumerate(step.after):
        if words is not None and words[REFS] != owned[slot] + waits(step, slot):
            return f"the count of {_named(step, slot)} is {words[REFS]}, and the program has {owned[slot]}"
    return None


def owned_is_alive(step: Step) -> str | None:
    """Check that no capsule dies to which the program has a reference."""
    if None not in step.after:
        return None
    owned = references(step)
    for slot in _deaths(step):
        if owned[slot] > 0:
            return f"{_named(step, slot)} dies, and the program has {owned[slot]} references to it"
    return None


def unowned_is_gone(step: Step) -> str | None:
    """Check that a capsule is freed with its last reference, whatever its destructor did, unless it waits."""
    owned = references(step)
    for slot, words in enumerate(step.after):
        if words is not None and owned[slot] == 0 and not waits(step, slot):
            return f"{_named(step, slot)} is alive, and nobody has a reference to it"
    return None


def counting_stores_nothing(step: Step) -> str | None:
    """Check that counting, and the death of another, leaves every word of a capsule that lives on."""
    for slot, (before, after) in enumerate(zip(step.before, step.after, strict=False)):
        if before is not None and after is not None and before[1:] != after[1:]:
            return f"a word of {_named(step, slot)} changes"
    return None


def dead_are_diagnosed(step: Step) -> str | None:
    """Check that no function takes a capsule that died for a live one."""
    for slot in _deaths(step):
        taken = step.world.uses_of_dead(step.world.slots[slot])
        if taken:
            return f"{' and '.join(taken)} can use {_named(step, slot)}, which is dead"
    return None


def living_are_not_destroyed(step: Step) -> str | None:
    """Check that a destructor runs for nothing but a capsule that dies in the same step."""
    if not step.runs:
        return None
    dead = [step.world.slots[slot] for slot in _deaths(step)]
    for run in step.runs:
        if run.capsule not in dead:
            return f"{run.script} runs for {step.world.shown(run.capsule)}, which does not die"
    return None


def destructor_once(step: Step) -> str | None:
    """Check that each death runs the destructor that was stored last, once, or none where that is NULL."""
    for slot in _deaths(step):
        words, address = step.before[slot], step.world.slots[slot]
        assert words is not None
        stored = step.world.scripts.get(words[DESTRUCTOR])
        expected = [stored] if stored else []
        ran = [run.script for run in step.runs if run.capsule == address]
        if ran != expected:
            return f"{_named(step, slot)} dies and runs {ran or 'nothing'}, with {expected or 'nothing'} stored"
    return None


def destructor_finds_count_zero(step: Step) -> str | None:
    """Check that a destructor finds the count of its capsule at 0."""
    for run in step.runs:
        if run.words is not None and run.words[REFS] != 0:
            return f"{run.script} finds a count of {run.words[REFS]}"
    return None


def destructor_finds_capsule(step: Step) -> str | None:
    """Check that a destructor runs before the memory of its capsule goes."""
    for run in step.runs:
        if run.words is None:
            return f"{run.script} finds no capsule at its argument"
    return None


def destructor_finds_words(step: Step) -> str | None:
    """Check that a destructor finds pointer, name, context and destructor as they were stored last."""
    for run in step.runs:
        before = step.before[slot] if (slot := step.slot_of(run.capsule)) >= 0 else None
        if run.words is not None and before is not None and run.words[1:] != before[1:]:
            return f"{run.script} finds {step.world.shown_words(run.words)}"
    return None


def destructor_finds_indicator(step: Step) -> str | None:
    """Check that the destructor that a call runs finds what was pending; in a merge it finds nothing."""
    if step.runs:
        found, expected = step.runs[0].error_before, step.error_before if step.operation else None
        if found is not expected:
            return f"{step.runs[0].script} finds {found!r}, with {expected!r} pending"
    return None


def destructor_leaves_indicator(step: Step) -> str | None:
    """Check that what the destructor leaves pending stays, and without one that nothing changes.

    After a merge, what was pending before it is back.
    """
    left = step.runs[0].error_after if step.runs and step.operation else step.error_before
    if step.error_after is not left:
        return f"{step.error_after!r} is pending, and {left!r} was left"
    return None


def defined_is_not_diagnosed(step: Step) -> str | None:
    """Check that a step is stopped only where a destructor gave back what nobody owned, or left a forbidden error."""
    if step.stopped is None or spoilt(step) is not None:
        return None
    last = step.runs[-1] if step.runs else None
    allowed = {"dealloc-checks-error", "dealloc-checks-error-type"} & step.world.py.behaviours
    if last is not None and last.error_after is not last.error_before and (allowed or step.operation is None):
        return None
    return f"the model stops it: {str(step.stopped).splitlines()[0]}"


def undefined_is_diagnosed(step: Step) -> str | None:
    """Check that a step in which a destructor gives back what is no capsule, or a dead or dying one, is stopped."""
    run = spoilt(step) if step.runs else None
    if run is None or run.words is None or waited(step, run.words[CONTEXT]):
        return None
    return f"{run.script} gives back {step.world.shown(run.words[CONTEXT])}, and nothing happens"


def waited(step: Step, op: int) -> bool:
    """Tell whether a capsule waited for its owner before a step: then nobody looks at its count before the merge."""
    return step.world.waited(op)


def spoilt(step: Step) -> RunSeen | None:
    """Return the run of a destructor that gave back a reference that the program did not have, None where none did."""
    owned = list(step.owned)
    if step.operation is not None and step.operation.op == "Py_DECREF":
        owned[step.operation.slot] -= 1
    for run in step.runs:
        if run.script == DROP and run.words is not None and run.words[CONTEXT] != NULL:
            slot = dropped(step, run)
            if slot < 0 or owned[slot] == 0:
                return run
            owned[slot] -= 1
    return None


def waiting_is_queued(step: Step) -> str | None:
    """Check that a capsule that waits is in the queue of its owner, once, and in no other."""
    if not step.parts:
        return None
    for slot, words in enumerate(step.after):
        owner, _, waiting = step.parts[slot]
        places = [thread for thread, queue in enumerate(step.queues) for op in queue if op == step.world.slots[slot]]
        if places != ([owner] if waiting and words is not None else []):
            return f"{_named(step, slot)} is in the queues of {[step.world.threads[place] for place in places]}"
    return None


def merged_by_owner(step: Step) -> str | None:
    """Check that what ends in a merge had waited for the thread that runs, and its destructor runs there."""
    if step.operation is not None:
        return None
    here = step.world.threads[step.thread]
    for slot in _deaths(step):
        if step.owners[slot] != step.thread and not any(dropped(step, run) == slot for run in step.runs):
            return f"{_named(step, slot)} of another thread ends in a merge of {here}"
    for run in step.runs:
        if run.thread != here:
            return f"{run.script} runs in {run.thread}"
    return None


def parts_add_up(step: Step) -> str | None:
    """Check that an owner counted no more than there are references, and without an owner nobody counts apart."""
    if not step.parts:
        return None
    for slot, words in enumerate(step.after):
        owner, local, _ = step.parts[slot]
        if words is not None and not (local == 0 if owner < 0 else local > 0):
            return f"{_named(step, slot)} has {words[REFS]} references, of which its owner counted {local}"
    return None


def _named(step: Step, slot: int) -> str:
    return step.world.shown(step.world.slots[slot])
