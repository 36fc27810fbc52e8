"""What another package adds to vectors: the operations of a suite, its rules, its kinds of undefined behaviour."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from capsule_model.trace.contract import operations
from capsule_model.trace.needs import operations_used
from capsule_model.trace.operations import OPERATIONS, Operation
from capsule_model.undefined import Kind

if TYPE_CHECKING:
    from capsule_model.show.stepper.cards import Card
    from capsule_model.trace.execute import Machine

__all__ = ["MODULES", "Extension", "Kinds", "extension", "extensions_of"]

# By suite: the module whose EXTENSION it is. It is imported when a vector, or a command, asks for it.
MODULES = {"dlpack": "dlpack_model.vectors", "layers": "capsule_model.layers.vectors"}


@dataclass(frozen=True)
class Extension:
    """What the model of a suite adds.

    ``operations`` carry out the rows of that suite in ``operations.json``; ``modules`` are those with ``# rule:``
    marks, ``kinds`` the words that ``undefined`` may have besides the core's, and ``adapter`` the arguments that
    make the running Python the suite's adapter. ``state`` returns what ``explain`` shows: fields by token.
    ``cards`` returns what the stepper shows, by id; its second argument puts an address into words.
    ``after_step`` is called at the end of every step of the top level, inside it; what it raises ends that step.
    """

    suite: str
    operations: Mapping[str, Operation]
    modules: tuple[ModuleType, ...] = ()
    kinds: frozenset[str] = frozenset()
    adapter: tuple[str, ...] = ()
    state: Callable[[Machine], dict[str, Any]] | None = None
    after_step: Callable[[Machine], None] | None = None
    cards: Callable[[Machine, Callable[[int], str]], dict[str, Card]] | None = None


@cache
def extension(suite: str) -> Extension | None:
    """Return the extension that carries out a suite; None for one that needs none, or whose package is not there."""
    name = MODULES.get(suite)
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
    foreign = operations_used(vector).difference(OPERATIONS)
    if not foreign:
        return ()
    suites = {operations()[name].suite for name in foreign if name in operations()}
    return tuple(found for suite in sorted(suites) if (found := extension(suite)) is not None)


class Kinds(Collection[str]):
    """The kinds of undefined behaviour: the core's, and where a word is none of them, those of the extensions."""

    def __contains__(self, kind: object) -> bool:
        """Tell whether that is the word of a kind; extensions are imported only for one that the core has not."""
        return kind in _OF_CORE or any(kind in kinds for kinds in _of_extensions())

    def __iter__(self) -> Iterator[str]:
        """Return the words of all kinds."""
        return iter(_OF_CORE.union(*_of_extensions()))

    def __len__(self) -> int:
        """Return how many kinds there are."""
        return len(_OF_CORE.union(*_of_extensions()))


_OF_CORE = frozenset(kind.value for kind in Kind)


def _of_extensions() -> Iterator[frozenset[str]]:
    return (found.kinds for suite in MODULES if (found := extension(suite)) is not None)
