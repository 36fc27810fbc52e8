"""What ``nanobind::capsule`` does with a capsule.

Source of all: include/nanobind/nb_types.h of nanobind 3.1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.layers.functions import CLEANUP, call, none, shared
from capsule_model.memory import NULL

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter

__all__ = ["capsule", "data", "data_named", "name"]


def capsule(py: Interpreter, pointer: int, name: int = NULL, cleanup: int = NULL) -> int:
    """Do ``nb::capsule(pointer, name, cleanup)`` and return a new reference; NULL gives ``None``, and no exception.

    ``cleanup`` is a ``void (*)(void *) noexcept`` that takes the pointer, or NULL. Source: nb_types.h:747 (3.1.0).
    """
    if pointer == NULL:
        # rule: nanobind/null-is-none
        return none(py)
    op = py.PyCapsule_New(pointer, name, shared(py, _call_cleanup))
    # rule: nanobind/context-holds-the-cleanup
    py.PyCapsule_SetContext(op, cleanup)
    return op


def _call_cleanup(py: Interpreter, op: int) -> None:
    """Call the function in the context with the pointer, whatever the capsule is called by now.

    No error is put aside.
    """
    cleanup = py.PyCapsule_GetContext(op)
    if cleanup == NULL:
        # rule: nanobind/nothing-without-cleanup
        return
    # rule: nanobind/destructor-passes-its-own-name
    pointer = py.PyCapsule_GetPointer(op, py.PyCapsule_GetName(op))
    # rule: nanobind/calls-what-the-context-holds
    # rule: nanobind/destructor-does-not-save-the-error
    # rule: nanobind/error-of-the-cleanup-stays
    call(py, cleanup, CLEANUP, pointer)


def name(py: Interpreter, op: int) -> int:
    """Do ``capsule.name()``; NULL for ``None``. Source: nb_types.h:766 (3.1.0)."""
    # rule: nanobind/name
    return NULL if op == none(py) else py.PyCapsule_GetName(op)


def data(py: Interpreter, op: int) -> int:
    """Do ``capsule.data()``: the pointer, by the capsule's own name; NULL for ``None``.

    Source: nb_types.h:770 (3.1.0).
    """
    # rule: nanobind/own-name-passed
    return NULL if op == none(py) else py.PyCapsule_GetPointer(op, name(py, op))


def data_named(py: Interpreter, op: int, name: int) -> int:
    """Do ``capsule.data(name)``: the pointer if the name matches, else ``ValueError``.

    Source: nb_types.h:773 (3.1.0).
    """
    # rule: nanobind/name-compared-where-given
    return NULL if op == none(py) else py.PyCapsule_GetPointer(op, name)
