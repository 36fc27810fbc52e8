"""The garbage collector, as far as capsules meet it: traverse, clear, and what is tracked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from capsule_model.errors import PyErr_WriteUnraisable
from capsule_model.memory import NULL
from capsule_model.objects import IMMORTAL, Capsule, PyModule_Type, PyType_Type
from capsule_model.runtime import Py_DECREF, Py_INCREF, PyObject_Free, hold, merge_all_queues
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

    Errors have no caller to go to: the hook for unraisable ones gets them. Source: Python/gc.c:1016, 1457 (3.13.5).
    """
    # rule: gc/pending-error-stays
    aside, py.error = py.error, None
    if "collector-holds-garbage" in py.behaviours:
        _collect_held(py)
    else:
        for op in _unreachable(py, py.tracked):
            if op not in py.objects:
                # rule: gc/cleared-by-another
                continue
            Py_INCREF(py, op)
            _clear(py, op)
    if py.error is not None:
        # rule: gc/collection-error-is-unraisable
        PyErr_WriteUnraisable(py, NULL)
    py.error = aside


def _clear(py: Process, op: int) -> None:
    """Call a capsule's clear function, then give back the collector's reference, which may bring it to its end."""
    # rule: gc/clears-unreachable
    py.functions.typed(py.objects[op].clear_func, "clear").call(op)
    if py.error is not None:
        # rule: gc/clear-error-is-unraisable
        PyErr_WriteUnraisable(py, NULL)
    Py_DECREF(py, op)


def _unreachable(py: Process, among: Iterable[int], held: int = 0) -> list[int]:
    """Return the tracked capsules whose references all come from unreachable tracked capsules.

    Capsules are looked for ``among`` some, each of which the collector holds ``held`` references to.
    """
    count = {op: py.objects[op].ob_refcnt - held for op in among}
    edges: dict[int, list[int]] = {}
    for op in count:
        edges[op] = gc_get_referents(py, op)
        for target in edges[op]:
            if target in count:
                count[target] -= 1
    reached = [op for op in count if count[op] > 0]
    alive = set(reached)
    while reached:
        for target in edges[reached.pop()]:
            if target in count and target not in alive:
                # rule: gc/reachable-stays
                alive.add(target)
                reached.append(target)
    return [op for op in count if op not in alive]


def _collect_held(py: Process) -> None:
    """Collect as a free-threaded build does: merge all counts first, and hold everything until it was cleared.

    The order of clearing is that of addresses there, which nobody can rely on; here it is that of tracking.
    Source: Python/gc_free_threading.c:1109 (3.13.5).
    """
    last = merge_all_queues(py)
    modules = _unused_modules(py)
    garbage = _unreachable(py, py.tracked)
    for op in garbage:
        # rule: gc/holds-garbage
        hold(py, op)
    for op in last:
        Py_DECREF(py, op)
    unreachable = _unreachable(py, garbage, 1)
    for op in garbage:
        if op in unreachable:
            # rule: gc/clear-order
            _clear(py, op)
        else:
            # rule: gc/saved-in-collection
            Py_DECREF(py, op)
    for module in modules:
        # rule: gc/collects-modules
        _free_module(py, module)


def _unused_modules(py: Process) -> list[int]:
    """Return the modules that nothing refers to, unless they can never be destroyed."""
    if py.has_immortal_modules():
        # rule: gc/immortal-modules
        return []
    modules = [struct for struct in py.objects.alive() if struct.ob_type == PyModule_Type]
    return [struct.address for struct in modules if struct.ob_refcnt == IMMORTAL]


def _free_module(py: Process, module: int) -> None:
    """Free a module and give back what it held."""
    struct = py.objects[module]
    PyObject_Free(py, module, struct)
    for value in struct.attrs.values():
        if py.objects[value].ob_type == PyType_Type and py.objects[value].ob_refcnt < IMMORTAL:
            raise NotModelled("what a collection does to classes")
        Py_DECREF(py, value)
