"""States, and the one form that all states have which are equal but for the names of things.

Capsules, dead capsules, opaque pointers and contexts, buffers with the same name in them, and threads are
interchangeable: no function of the model looks at more of them than whether two are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

from capsule_model.memory import NULL

__all__ = ["CONTEXT", "DESTRUCTOR", "NAME", "POINTER", "REFS", "CapsuleWords", "Forms", "Parts", "State"]

# What is known of a capsule: its count, and the words that the setters store.
CapsuleWords = tuple[int, int, int, int, int]
REFS, POINTER, NAME, CONTEXT, DESTRUCTOR = range(5)
# The owner's number or -1, what the owner counted, and whether the capsule waits for it.
Parts = tuple[int, int, bool]


class State(NamedTuple):
    """The capsules that are alive, the type of the exception that each thread has pending, "" for none, and threads.

    Where counts have two parts, ``parts`` are those of each capsule, and ``queues`` has for each thread the capsules
    that wait for it.
    """

    capsules: tuple[CapsuleWords, ...]
    errors: tuple[str, ...]
    parts: tuple[Parts, ...] = ()
    queues: tuple[tuple[int, ...], ...] = ()


class Forms:
    """Bring states to their form: ``slots`` are the addresses of capsules, ``graves`` those of dead ones.

    ``alike`` are groups of other addresses in which each can stand for each.
    """

    def __init__(self, slots: Sequence[int], graves: Sequence[int], alike: Sequence[Sequence[int]]) -> None:
        self.slots = tuple(slots)
        self.graves = tuple(graves)
        self.groups = {address: tuple(group) for group in alike for address in group}
        # The first of a group stands for all where order is to depend on no name.
        self.kinds = {address: group[0] for address, group in self.groups.items()}
        self.kinds |= dict.fromkeys((*slots, *graves), 1)

    def form(self, capsules: Sequence[CapsuleWords | None], errors: tuple[str, ...]) -> State:
        """Return the form of a state of one thread; the capsules that died are None."""
        best = min(self.renamed(capsules, order) for order in self.orders(capsules))
        return State(best, errors)

    def form_of_threads(
        self,
        capsules: Sequence[CapsuleWords | None],
        errors: tuple[str, ...],
        parts: Sequence[Parts],
        queues: Sequence[Sequence[int]],
    ) -> State:
        """Return the form of a state of several threads."""
        return min(
            self.arranged(capsules, errors, parts, queues, order, threads)
            for order in self.orders(capsules)
            for threads in permutations(range(len(errors)))
        )

    def arranged(
        self,
        capsules: Sequence[CapsuleWords | None],
        errors: tuple[str, ...],
        parts: Sequence[Parts],
        queues: Sequence[Sequence[int]],
        order: Sequence[int],
        threads: Sequence[int],
    ) -> State:
        """Return a state with its capsules and its threads in an order."""
        places = {self.slots[old]: self.slots[new] for new, old in enumerate(order)}
        numbers = {old: new for new, old in enumerate(threads)} | {-1: -1}
        return State(
            self.renamed(capsules, order),
            tuple([errors[old] for old in threads]),
            tuple([(numbers[parts[old][0]], *parts[old][1:]) for old in order]) if parts else (),
            tuple([tuple([places[op] for op in queues[old]]) for old in threads]) if queues else (),
        )

    def orders(self, capsules: Sequence[CapsuleWords | None]) -> Sequence[Sequence[int]]:
        """Return the orders of the live capsules that may be that of the form."""
        alive = [slot for slot, words in enumerate(capsules) if words is not None]
        if len(alive) < 2:
            return (alive,)
        kinds = self.kinds
        keys = {}
        for slot in alive:
            refs, _, name, context, destructor = capsules[slot]  # type: ignore[misc]
            keys[slot] = (refs, kinds.get(name, name), kinds.get(context, context), destructor)
        if len(set(keys.values())) == len(keys):
            return (sorted(alive, key=keys.__getitem__),)
        return list(permutations(alive))

    def renamed(self, capsules: Sequence[CapsuleWords | None], order: Sequence[int]) -> tuple[CapsuleWords, ...]:
        """Return the live capsules in an order, and everything that has no name of its own named as it appears."""
        slots, groups = self.slots, self.groups
        known = {NULL: NULL}
        for new, old in enumerate(order):
            known[slots[old]] = slots[new]
        used: dict[tuple[int, ...], int] = {}
        found = []
        for old in order:
            refs, pointer, name, context, destructor = capsules[old]  # type: ignore[misc]
            for word in (pointer, name, context):
                if word not in known:
                    group = groups.get(word) or self._group_of(word)
                    place = used.get(group, 0)
                    used[group] = place + 1
                    known[word] = group[place] if group else word
            found.append((refs, known[pointer], known[name], known[context], destructor))
        return tuple(found)

    def _group_of(self, word: int) -> tuple[int, ...]:
        """Return the graves for a capsule that is dead or dies, nothing for what stands for itself."""
        return self.graves if word in self.graves or word in self.slots else ()
