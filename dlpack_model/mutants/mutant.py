"""A faulty party: the model's own with one mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from dlpack_model.bugs import BUGS
from dlpack_model.consumer import Consumer
from dlpack_model.deleters import Deleter
from dlpack_model.destructors import Destructor
from dlpack_model.exchange import Exchange
from dlpack_model.parties import Parties
from dlpack_model.producer import Producer, export

__all__ = ["Mutant", "asking", "consuming", "deleting", "destroying", "having_bug", "producing", "returning"]

Keywords = Mapping[str, Any]


@dataclass(frozen=True)
class Mutant:
    """One mistake: its id, a sentence that says what it does wrong, the rules that it breaks, and who makes it.

    ``equivalent`` says why nobody can notice it, where that is so.
    """

    id: str
    title: str
    rules: tuple[str, ...]
    parties: Parties
    equivalent: str | None = None


def producing(**changes: Any) -> Parties:
    """Return parties whose producers differ from those that are described in some fields."""

    @lru_cache(256)
    def changed(producer: Producer) -> Producer:
        return replace(producer, **changes)

    return Parties("a faulty producer", producer=changed)


def consuming(**changes: Any) -> Parties:
    """Return parties whose consumers differ from those that are described in some fields."""

    @lru_cache(256)
    def changed(consumer: Consumer) -> Consumer:
        return replace(consumer, **changes)

    return Parties("a faulty consumer", consumer=changed)


def destroying(body: Callable[[Exchange, int, bool], None]) -> Parties:
    """Return parties whose producers set this capsule destructor, and mean that it is a good one."""
    return producing(destructor=Destructor(body.__name__.strip("_").replace("_", "-"), body))


def deleting(body: Deleter) -> Parties:
    """Return parties whose producers set this deleter; who has none still has none."""

    @lru_cache(256)
    def changed(producer: Producer) -> Producer:
        return producer if producer.deleter in ("null", "counts-shares") else replace(producer, deleter=body)

    return Parties("a faulty deleter", producer=changed)


def asking(changed: Callable[[Exchange, Any, dict[str, Any]], Keywords]) -> Parties:
    """Return parties whose producers take the keywords of a call for others."""

    def exports(ex: Exchange, array: Any, keywords: Keywords) -> int:
        return export(ex, array, changed(ex, array, dict(keywords)))

    return Parties("a faulty producer", exports=exports)


def returning(after: Callable[[Exchange, Any, Keywords, int], int]) -> Parties:
    """Return parties whose producers do something with the capsule, or with NULL, before they return it."""

    def exports(ex: Exchange, array: Any, keywords: Keywords) -> int:
        return after(ex, array, keywords, export(ex, array, keywords))

    return Parties("a faulty producer", exports=exports)


def having_bug(name: str) -> Parties:
    """Return parties that have one of the ten known bugs: who is described, with the fields that make the bug."""
    bug = BUGS[name]
    faulty: Any = bug.consumers[0] if bug.consumers else bug.producers[0]
    plain = type(faulty)()
    named = [field.name for field in fields(plain) if field.init and field.name != "name"]
    changes = {name: getattr(faulty, name) for name in named if getattr(faulty, name) != getattr(plain, name)}
    return consuming(**changes) if bug.consumers else producing(**changes)
