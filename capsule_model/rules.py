"""Which rules the code carries out: the ``# rule:`` marks, read from the source.

A mark is a comment on a line of its own; it names the rule that the next statement carries out. Ordinary runs
pay nothing for them. ``observed`` swaps in functions that note every mark they pass, and swaps the plain ones back.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import CodeType, FunctionType, ModuleType

from capsule_model import (
    attributes,
    capsule,
    collector,
    errors,
    imports,
    layout,
    memory,
    objects,
    process,
    python_view,
    runtime,
)

__all__ = ["MODULES", "Sink", "code_rules", "observed"]

MODULES: tuple[ModuleType, ...] = (
    capsule,
    imports,
    attributes,
    runtime,
    errors,
    collector,
    python_view,
    layout,
    memory,
    objects,
    process,
)
MARK = re.compile(r"^\s*# rule: (\S+)$")
_NOTE = "__rule_reached__"


@dataclass
class Sink:
    """Collect the rules that are carried out, each with the path of the step that is running."""

    path: str = ""
    reached: list[tuple[str, str]] = field(default_factory=list)


@cache
def _marks(module: ModuleType) -> dict[int, list[str]]:
    """Return the rules of each marked line: of the first line after the marks."""
    marks: dict[int, list[str]] = {}
    waiting: list[str] = []
    for number, line in enumerate(inspect.getsource(module).splitlines(), 1):
        found = MARK.match(line)
        if found:
            waiting.append(found[1])
        elif waiting and line.strip() and not line.lstrip().startswith("#"):
            marks[number], waiting = waiting, []
    return marks


def code_rules(more: Iterable[ModuleType] = ()) -> dict[str, list[str]]:
    """Return the rules that the code names, that of ``more`` modules too, each with the places, as ``file:line``."""
    places: dict[str, list[str]] = {}
    for module in (*MODULES, *more):
        file = module.__name__.replace(".", "/") + ".py"
        for line, rules in _marks(module).items():
            for rule in rules:
                places.setdefault(rule, []).append(f"{file}:{line}")
    return places


class _Marker(ast.NodeTransformer):
    """Put a note in front of each marked statement."""

    def __init__(self, marks: dict[int, list[str]]) -> None:
        self.marks = marks

    def visit(self, node: ast.AST) -> ast.AST:
        """Go through the bodies of a node."""
        self.generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                setattr(node, name, [new for old in body for new in self._marked(old)])
        return node

    def _marked(self, statement: ast.stmt) -> list[ast.stmt]:
        notes = [ast.parse(f"{_NOTE}({rule!r})").body[0] for rule in self.marks.get(statement.lineno, ())]
        for note in notes:
            for child in ast.walk(note):
                ast.copy_location(child, statement)
        return [*notes, statement]


def _functions(module: ModuleType) -> dict[str, FunctionType]:
    """Return the functions and methods that a module defines, by qualified name, without what wraps them."""
    found: dict[str, FunctionType] = {}
    for value in vars(module).values():
        if getattr(value, "__module__", None) == module.__name__:
            members = vars(value).values() if isinstance(value, type) else (value,)
            found |= {
                member.__qualname__: inspect.unwrap(member) for member in members if isinstance(member, FunctionType)
            }
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Return the code objects that a code object holds, one level deep."""
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def _names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*map(_names, _codes(code)))


@cache
def _noting(module: ModuleType) -> list[tuple[FunctionType, CodeType]]:
    """Return each marked function of a module with the code that notes."""
    swaps: list[tuple[FunctionType, CodeType]] = []
    tree = ast.parse(inspect.getsource(module))
    _Marker(_marks(module)).visit(tree)
    flags = __future__.annotations.compiler_flag
    compiled = compile(tree, module.__file__ or "", "exec", flags, True)
    functions = _functions(module)
    bodies = [compiled, *_codes(compiled)]
    for code in (inner for body in bodies for inner in _codes(body)):
        function = functions.get(code.co_qualname)
        if function is not None and _NOTE in _names(code):
            swaps.append((function, code))
    return swaps


@contextmanager
def observed(more: Iterable[ModuleType] = ()) -> Iterator[Sink]:
    """Note the rules that are carried out while the block runs, by ``more`` modules too; one at a time in a process."""
    sink = Sink()
    modules = (*MODULES, *more)

    def note(rule: str) -> None:
        sink.reached.append((sink.path, rule))

    outer = [vars(module).get(_NOTE) for module in modules]
    if any(outer):
        raise RuntimeError("rules are being observed already")
    swaps = [swap for module in modules for swap in _noting(module)]
    for module in modules:
        setattr(module, _NOTE, note)
    # Not what was there the first time: it may have been exchanged since, as tests do that seed a fault.
    plain = [function.__code__ for function, _ in swaps]
    for function, noting in swaps:
        function.__code__ = noting
    try:
        yield sink
    finally:
        for (function, _), code in zip(swaps, plain, strict=True):
            function.__code__ = code
        for module in modules:
            delattr(module, _NOTE)
