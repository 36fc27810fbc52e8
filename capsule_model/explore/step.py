"""One transition, as it was seen: a call of the model, and what there was before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from capsule_model.explore.alphabet import Operation
from capsule_model.explore.states import CapsuleWords, Parts
from capsule_model.undefined import Abort, UndefinedBehavior

if TYPE_CHECKING:
    from capsule_model.errors import PyErr
    from capsule_model.explore.world import World

__all__ = ["RunSeen", "Step"]


class RunSeen:
    """One run of a destructor: its script and capsule, the words and the exception that it found, and what it left.

    ``words`` is None where no capsule is alive at the address. What it left is what it found, until it ends.
    """

    __slots__ = ("capsule", "error_after", "error_before", "script", "thread", "words")

    def __init__(
        self, script: str, capsule: int, words: CapsuleWords | None, error_before: PyErr | None, thread: str
    ) -> None:
        self.script = script
        self.capsule = capsule
        self.words = words
        self.error_before = error_before
        self.error_after = error_before
        self.thread = thread


class Step:
    """One call, or the merge of the counts that wait for a thread, which has no operation.

    ``before`` and ``after`` are the capsules by slot, None where one is dead; ``fails`` says that the call has to
    fail, ``stopped`` why it did not come to an end. ``owned`` are the references to each that the program had.
    ``owners`` are the owners' numbers before; ``parts`` and ``queues`` are as in a state, and after. ``thread`` is the
    number of the thread that runs, ``earlier`` the merge that its step began with; a merge is ``spent`` where the
    call could not follow, as it gave back the last reference to the capsule that the call was to be about.
    """

    __slots__ = (
        "after",
        "before",
        "earlier",
        "error_after",
        "error_before",
        "fails",
        "operation",
        "owned",
        "owners",
        "parts",
        "queues",
        "result",
        "runs",
        "spent",
        "stopped",
        "thread",
        "world",
    )
    operation: Operation | None
    before: Sequence[CapsuleWords | None]
    after: Sequence[CapsuleWords | None]
    result: int | None
    fails: bool
    error_before: PyErr | None
    error_after: PyErr | None
    runs: Sequence[RunSeen]
    stopped: UndefinedBehavior | Abort | None
    owned: Sequence[int]
    owners: Sequence[int]
    parts: Sequence[Parts]
    queues: Sequence[Sequence[int]]
    thread: int
    spent: bool
    earlier: Step | None
    world: World

    def slot_of(self, address: int) -> int:
        """Return the slot of a capsule that was alive before, -1 for any other address."""
        for slot, words in enumerate(self.before):
            if self.world.slots[slot] == address:
                return slot if words is not None else -1
        return -1
