"""Have every library import from every other: who views, who copies, who refuses, and who deletes how often."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import product

from dlpack_model.audit.outcome import Pair
from dlpack_model.audit.probe import PROBES
from dlpack_model.audit.processes import Ended, Missing, Zygote
from dlpack_model.audit.registry import Library

__all__ = ["pair_up"]


def pair_up(
    libraries: Sequence[Library], python: str, limit: float, step: Callable[[int, int], None] = lambda done, total: None
) -> list[Pair]:
    """Return what each pair does, each in a process of its own that has imported all of the libraries."""
    import_module("dlpack_model.audit.probes")
    makers = [library for library in libraries if library.make]
    takers = [library for library in libraries if library.consume]
    found = list[Pair]()
    for pair in _together(list(product(makers, takers)), python, limit):
        found.append(pair)
        step(len(found), len(makers) * len(takers))
    order = {library.name: place for place, library in enumerate(libraries)}
    return sorted(found, key=lambda pair: (order[pair.producer], order[pair.consumer]))


def _together(both: Sequence[tuple[Library, Library]], python: str, limit: float) -> Iterator[Pair]:
    """Yield what pairs do: all of their libraries are imported into one process, or into several where that dies."""
    libraries = list({library.name: library for pair in both for library in pair}.values())
    for order in (libraries, libraries[::-1]):
        try:
            zygote = Zygote(order, python)
        except Missing:
            continue
        with zygote:
            asked = [(PROBES["pair"], _arguments(*pair)) for pair in both]
            for number, ended in zygote.run(asked, limit):
                yield _pair(*both[number], ended)
        return
    if len(both) == 1:
        ((maker, taker),) = both
        yield Pair(maker.name, taker.name, "crashes", None, None, "the process dies when it imports both")
        return
    for half in (both[: len(both) // 2], both[len(both) // 2 :]):
        yield from _together(half, python, limit)


def _arguments(maker: Library, taker: Library) -> dict[str, str]:
    wanted = None if taker.untyped else _nested(list(range(math.prod(maker.shape))), maker.shape)
    return {"make": maker.make, "consume": taker.consume, "values": taker.values, "wanted": repr(wanted)}


def _nested(flat: list[int], shape: tuple[int, ...]) -> list[object]:
    """Return numbers as nested lists, in a shape of one or two dimensions."""
    if len(shape) == 1:
        return list(flat)
    return [flat[row * shape[1] : (row + 1) * shape[1]] for row in range(shape[0])]


def _pair(maker: Library, taker: Library, ended: Ended) -> Pair:
    if ended.late:
        return Pair(maker.name, taker.name, "hangs", None, None, "the process does not come to an end")
    if ended.died:
        return Pair(maker.name, taker.name, "crashes", None, None, f"the process dies: {ended.died}")
    if len(ended.told) != 4:
        return Pair(maker.name, taker.name, "refuses", None, None, ended.told[-1])
    outcome, right, deleted, text = ended.told
    # Who refuses leaves the tensor to the capsule's destructor, which need not go by the deleter in the struct.
    deleted = "" if outcome == "refuses" and deleted == "0" else deleted
    values = {"True": True, "False": False}.get(right)
    return Pair(maker.name, taker.name, outcome, int(deleted) if deleted else None, values, text)
