"""What another package adds to vectors: the operations of a suite, its rules, its kinds of undefined behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from capsule_model.trace.contract import operations
from capsule_model.trace.needs import operations_used
from capsule_model.trace.operations import OPERATIONS, Operation

if TYPE_CHECKING:
    from capsule_model.trace.execute import Machine

__all__ = ["Extension", "extension", "extensions_of"]

# By suite: the module whose EXTENSION it is. It is imported when a vector, or a command, asks for it.
_MODULES = {"dlpack": "dlpack_model.vectors"}


@dataclass(frozen=True)
class Extension:
    """What the model of a suite adds.

    ``operations`` carry out the rows of that suite in ``operations.json``; ``modules`` are those with ``# rule:``
    marks, ``kinds`` the words that ``undefined`` may have besides the core's, and ``adapter`` the arguments that
    make the running Python the suite's adapter. ``state`` returns what ``explain`` shows: fields by token.
    ``after_step`` is called at the end of every step of the top level, inside it; what it raises ends that step.
    """

    suite: str
    operations: Mapping[str, Operation]
    modules: tuple[ModuleType, ...] = ()
    kinds: frozenset[str] = frozenset()
    adapter: tuple[str, ...] = ()
    state: Callable[[Machine], dict[str, Any]] | None = None
    after_step: Callable[[Machine], None] | None = None


@cache
def extension(suite: str) -> Extension | None:
    """Return the extension that carries out a suite; None for one that needs none, or whose package is not there."""
    name = _MODULES.get(suite)
    if name is None:
        return None
    try:
        found: Extension = import_module(name).EXTENSION
    except ModuleNotFoundError as error:
        if error.name not in (name, name.partition(".")[0]):
            raise
        return None
    return found


def extensions_of(vector: Mapping[str, Any]) -> tuple[Extension, ...]:
    """Return the extensions that the operations of a vector need, as far as their packages are there."""
    foreign = [name for name in operations_used(vector) if name not in OPERATIONS]
    suites = {operations()[name].suite for name in foreign if name in operations()}
    return tuple(found for suite in sorted(suites) if (found := extension(suite)) is not None)
