"""A process whose counts have two parts, and whose threads take turns.

As in a vector, a thread runs Python code where its step begins: it merges the counts that wait for it. What else
happens is up to the order of the steps, and every order is explored.
"""

from __future__ import annotations

from collections.abc import Sequence

from capsule_model.explore.alphabet import NONE, Operation
from capsule_model.explore.bound import Bound
from capsule_model.explore.lifetime import references
from capsule_model.explore.states import Parts as PartsSeen
from capsule_model.explore.states import State
from capsule_model.explore.step import Step
from capsule_model.explore.world import World
from capsule_model.objects import Parts
from capsule_model.runtime import handle_pending
from capsule_model.undefined import Abort, UndefinedBehavior

__all__ = ["ThreadedWorld"]

NO_PARTS: PartsSeen = (-1, 0, False)


class ThreadedWorld(World):
    """One process of a free-threaded build, with the threads of the bound, or with the first one alone."""

    def __init__(self, bound: Bound) -> None:
        self.threads = tuple(f"t{number}" for number in range(1, bound.threads + 1)) or ("",)
        self.numbers = {name: number for number, name in enumerate(self.threads)}
        super().__init__(bound)

    def initial(self) -> State:
        """Return the state with nothing in it, in which every thread has begun."""
        return State((), ("",) * len(self.threads), (), ((),) * len(self.threads))

    def operations(self, state: State) -> Sequence[Operation]:
        """Return what can be done in a state: a capsule that nobody has a reference to any more is not used."""
        return [
            operation
            for alphabet in self.alphabet
            for operation in alphabet[len(state.capsules)]
            if operation.slot == NONE or state.capsules[operation.slot][0] > state.parts[operation.slot][2]
        ]

    def restore(self, state: State) -> None:
        """Put the process into a state; the first thread runs, which takes no part where others do."""
        super().restore(state)
        py = self.py
        py.objects.parts.clear()
        for address, (owner, local, queued) in zip(self.slots, state.parts, strict=False):
            py.objects.parts[address] = Parts(None if owner < 0 else self.threads[owner], local, queued)
        py.queues = {"": []} | {name: list(queue) for name, queue in zip(self.threads, state.queues, strict=True)}
        py.thread = ""
        py.errors = {}
        if self.bound.threads:
            py.error = None
            py.errors = {name: self.pending[error] for name, error in zip(self.threads, state.errors, strict=True)}
        self.owned = [words[0] - parts[2] for words, parts in zip(state.capsules, state.parts, strict=True)]

    def undo(self, step: Step) -> None:
        """Put the process back into the state in which a step was made."""
        self.restore(self.state)

    def perform(self, operation: Operation) -> Step:
        """Make a thread's step: the merge of what waits for it, and then the call."""
        py, step = self.py, self.made
        step.thread = operation.thread
        step.before, step.owned, step.earlier = self.state.capsules, self.owned, None
        if self.bound.threads:
            py.switch_thread(self.threads[operation.thread])
            merge = self._merge(operation.thread)
            owned = references(merge)
            merge.spent = operation.slot != NONE and owned[operation.slot] < 1
            if merge.stopped is not None or merge.spent:
                return merge
            step.before, step.owned, step.earlier = merge.after, owned, merge
        step.owners = self._owners()
        self.call(step, operation)
        self._look(step)
        return step

    def _merge(self, thread: int) -> Step:
        """Let the running thread run Python code."""
        py = self.py
        step = Step()
        step.world, step.thread, step.operation, step.earlier = self, thread, None, None
        step.before, step.owned, step.owners = self.state.capsules, self.owned, self._owners()
        step.fails, step.result, step.stopped = False, None, None
        step.error_before = py.error
        self.runs = []
        try:
            handle_pending(py)
        except (UndefinedBehavior, Abort) as stopped:
            step.stopped = stopped
        step.runs, step.error_after, step.after = self.runs, py.error, self.capsules()
        self._look(step)
        return step

    def _owners(self) -> list[int]:
        return [parts[0] for parts in self.parts(len(self.py.structs) - self.first)]

    def _look(self, step: Step) -> None:
        step.parts = self.parts(len(step.after))
        queues = self.py.queues
        step.queues = tuple([tuple(queues[name]) for name in self.threads])

    def parts(self, count: int) -> tuple[PartsSeen, ...]:
        """Return the parts of the counts of so many capsules; dead ones have none."""
        found = []
        for address in self.slots[:count]:
            parts = self.py.objects.parts.get(address)
            owner = -1 if parts is None or parts.owner is None else self.numbers[parts.owner]
            found.append(NO_PARTS if parts is None else (owner, parts.local, parts.queued))
        return tuple(found)

    def unchanged(self, step: Step) -> bool:
        """Return false: a step of a thread changes at least which one runs."""
        return False

    def follow(self, step: Step) -> State:
        """Return the form of the state that a step led to, from a state that was brought to its form."""
        state = self.state
        if (step.after, self.left(step), step.parts, step.queues) == state:
            return state
        return self.successor(step)

    def successor(self, step: Step) -> State:
        """Return the form of the state that a step led to."""
        return self.forms.form_of_threads(step.after, self.left(step), step.parts, step.queues)

    def left(self, step: Step) -> tuple[str, ...]:
        """Return the type of the exception that each thread has pending after a step."""
        py = self.py
        pending = py.errors | {py.thread: py.error}
        return tuple(error.type if (error := pending[name]) else "" for name in self.threads)

    def waited(self, op: int) -> bool:
        """Tell whether a capsule waited for its owner in the state that the process was put into."""
        return any(op in queue for queue in self.state.queues)
