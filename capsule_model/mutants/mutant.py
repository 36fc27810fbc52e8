"""A faulty implementation: the model with one mistake, written as edits of its source."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Edit", "Mutant", "edited", "patched"]

PACKAGE = "capsule_model"


@dataclass(frozen=True, slots=True)
class Edit:
    """One replaced piece of source.

    ``module`` is a module of ``capsule_model`` and ``function`` the qualified name of a function in it, empty for
    the whole module. ``old`` must occur exactly once there; ``new`` takes its place.
    """

    module: str
    function: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: its id, a sentence that says what it does wrong, the rules that it breaks, and how it is made.

    ``equivalent`` is the reason why no defined program can tell it from the model, None where one can.
    """

    id: str
    title: str
    rules: tuple[str, ...]
    edits: tuple[Edit, ...]
    equivalent: str | None = None


def patched(edits: Iterable[Edit]) -> dict[str, str]:
    """Return the source of each module that is edited, by its full name.

    Raises ``ValueError`` with one line where a piece does not occur exactly once.
    """
    sources: dict[str, str] = {}
    for edit in edits:
        name = f"{PACKAGE}.{edit.module}"
        sources[name] = edited(sources.get(name) or _source(name), edit)
    return sources


def edited(source: str, edit: Edit) -> str:
    """Return a module's source with one piece replaced; raise ``ValueError`` where it is not there exactly once."""
    start, end = _span(source, edit)
    body = source[start:end]
    found = body.count(edit.old)
    if found != 1:
        where = f"{edit.module}.{edit.function}" if edit.function else edit.module
        raise ValueError(f"{where} has {found} pieces {edit.old!r}; expected exactly one")
    return source[:start] + body.replace(edit.old, edit.new) + source[end:]


def _span(source: str, edit: Edit) -> tuple[int, int]:
    """Return where the edited function begins and ends in the source."""
    if not edit.function:
        return 0, len(source)
    scope: ast.AST = ast.parse(source)
    for part in edit.function.split("."):
        inner = [node for node in ast.iter_child_nodes(scope) if getattr(node, "name", None) == part]
        if len(inner) != 1:
            raise ValueError(f"{edit.module} has {len(inner)} functions {edit.function}; expected exactly one")
        (scope,) = inner
    assert isinstance(scope, ast.FunctionDef | ast.ClassDef)
    lines = source.splitlines(keepends=True)
    start = sum(map(len, lines[: scope.lineno - 1]))
    return start, start + sum(map(len, lines[scope.lineno - 1 : scope.end_lineno]))


def _source(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as file:
        return file.read()
