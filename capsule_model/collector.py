"""The garbage collector, as far as capsules meet it: traverse, clear, and what is tracked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from capsule_model.errors import PyErr_WriteUnraisable
from capsule_model.memory import NULL
from capsule_model.objects import Capsule
from capsule_model.runtime import Py_DECREF, Py_INCREF
from capsule_model.undefined import NotModelled

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = ["gc_collect", "gc_get_referents", "gc_is_tracked"]


def gc_is_tracked(py: Process, obj: int) -> int:
    """Return 1 if the collector tracks the object, else 0."""
    # rule: gc/tracked-after-SetTraverse-alone
    return int(py.objects[obj].is_tracked)


def gc_get_referents(py: Process, obj: int) -> list[int]:
    """Return what the object's traverse function visits, tracked or not."""
    if not isinstance(py.objects[obj], Capsule):
        raise NotModelled("the referents of an object that is no capsule")
    found: list[int] = []

    def visit(address: int) -> int:
        found.append(address)
        return 0

    capsule_traverse(py, obj, visit)
    return found


def capsule_traverse(py: Process, op: int, visit: Callable[[int], int]) -> None:
    """Call the capsule's traverse function, if it has one."""
    capsule = py.objects[op]
    if capsule.traverse_func == NULL:
        # rule: gc/nothing-to-traverse
        return
    # rule: gc/traverse-is-called
    py.functions.typed(capsule.traverse_func, "traverse").call(op, visit)


def gc_collect(py: Process) -> None:
    """Find the tracked capsules that only each other keep alive, and clear them.

    Each is held by the collector while its clear function runs; the reference that clear gives back brings it
    to its end afterwards. Errors have no caller to go to: the hook for unraisable ones gets them.
    Source: Python/gc.c:1016, 1457 (3.13.5).
    """
    for op in _unreachable(py):
        if op not in py.objects:
            # rule: gc/cleared-by-another
            continue
        capsule = py.objects[op]
        Py_INCREF(py, op)
        # rule: gc/clears-unreachable
        py.functions.typed(capsule.clear_func, "clear").call(op)
        if py.error is not None:
            # rule: gc/clear-error-is-unraisable
            PyErr_WriteUnraisable(py, NULL)
        Py_DECREF(py, op)
    if py.error is not None:
        # rule: gc/collection-error-is-unraisable
        PyErr_WriteUnraisable(py, NULL)


def _unreachable(py: Process) -> list[int]:
    """Return the tracked capsules whose references all come from unreachable tracked capsules."""
    count = {op: py.objects[op].ob_refcnt for op in py.tracked}
    edges: dict[int, list[int]] = {}
    for op in py.tracked:
        edges[op] = gc_get_referents(py, op)
        for target in edges[op]:
            if target in count:
                count[target] -= 1
    reached = [op for op in py.tracked if count[op] > 0]
    alive = set(reached)
    while reached:
        for target in edges[reached.pop()]:
            if target in count and target not in alive:
                # rule: gc/reachable-stays
                alive.add(target)
                reached.append(target)
    return [op for op in py.tracked if op not in alive]
