"""Dropping a reference with Python at hand and without, and what happens when a thread attaches."""

from __future__ import annotations

from capsule_model.layers.pyo3.crate import Crate
from capsule_model.runtime import Py_DECREF

__all__ = ["attach", "drop"]


def drop(rust: Crate, op: int, *, attached: bool = True) -> None:
    """Drop a ``Py`` or a ``Bound``: the reference goes at once, or waits for a thread that attaches.

    Source: register_decref in src/internal/state.rs:319 (0.29.2).
    """
    if attached:
        # rule: PyO3.drop/attached
        Py_DECREF(rust.py, op)
    else:
        # rule: PyO3.drop/waits-for-a-thread
        rust.pool.append(op)


def attach(rust: Crate) -> None:
    """Attach the running thread, as ``Python::attach`` does: first it gives back all references that wait.

    Source: drop_deferred_references in src/internal/state.rs:238 (0.29.2).
    """
    waiting, rust.pool[:] = list(rust.pool), []
    for op in waiting:
        # rule: PyO3.attach/gives-back-what-waits
        Py_DECREF(rust.py, op)
