"""Take the checks of the model away, one at a time, and see that a vector notices.

A check is the test of an ``if``, ``while`` or conditional expression, or an operand of ``and`` and ``or``. Each
is negated, each operand is dropped, and the vectors are run on the changed model: ``python tests/mutants.py``.
"""

from __future__ import annotations
import __future__

import ast
import copy
import inspect
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from capsule_model import attributes, capsule, collector, errors, imports, runtime
from capsule_model.conform.runner import expected_differences
from capsule_model.locate import specs
from capsule_model.profiles import PROFILES, Profile
from capsule_model.trace.execute import run
from capsule_model.trace.expectation import holds
from capsule_model.trace.files import load

Vector = Mapping[str, Any]

MODULES: tuple[ModuleType, ...] = (capsule, imports, attributes, runtime, errors, collector)
"""The capsule, import and deallocation code, with what it raises and what the collector does to it."""

TRIED_FIRST = (
    "cpython-3.11",
    "cpython-3.13",
    "cpython-3.13-free-threaded",
    "cpython-3.9",
    "cpython-3.13-debug",
    "cpython-3.11-debug",
)
"""Profiles that between them have every behaviour the code asks for."""


@dataclass(frozen=True)
class Mutant:
    """One changed check: where it stands, what was done to it, and the code of the function it stands in."""

    where: str
    change: str
    function: FunctionType
    code: CodeType


def mutants(module: ModuleType) -> Iterator[Mutant]:
    """Return the mutants of a module's functions, one for each way to change each check."""
    tree = ast.parse(inspect.getsource(module))
    inside = {id(node) for body in ast.walk(tree) if isinstance(body, ast.FunctionDef) for node in ast.walk(body)}
    for number, node in enumerate(ast.walk(tree)):
        for change in _changes(node) if id(node) in inside else ():
            changed = copy.deepcopy(tree)
            target = next(other for place, other in enumerate(ast.walk(changed)) if place == number)
            line = next(place.lineno for place in ast.walk(node) if hasattr(place, "lineno"))
            shown = f"{module.__name__}:{line}"
            description = _apply(target, change)
            ast.fix_missing_locations(changed)
            function, code = _enclosing(module, changed, line)
            yield Mutant(shown, description, function, code)


def _changes(node: ast.AST) -> list[tuple[str, int]]:
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
        return [("negate", 0)] if not isinstance(node, ast.Assert) else []
    if isinstance(node, ast.comprehension):
        return [("negate", index) for index in range(len(node.ifs))]
    if isinstance(node, ast.BoolOp):
        return [(kind, index) for index in range(len(node.values)) for kind in ("negate", "drop")]
    return []


def _apply(node: ast.AST, change: tuple[str, int]) -> str:
    kind, index = change
    if isinstance(node, ast.BoolOp):
        shown = ast.unparse(node.values[index])
        if kind == "drop":
            node.values[index] = ast.Constant(isinstance(node.op, ast.And))
        else:
            node.values[index] = ast.UnaryOp(ast.Not(), node.values[index])
    elif isinstance(node, ast.comprehension):
        shown = ast.unparse(node.ifs[index])
        node.ifs[index] = ast.UnaryOp(ast.Not(), node.ifs[index])
    else:
        assert isinstance(node, ast.If | ast.While | ast.IfExp)
        shown = ast.unparse(node.test)
        node.test = ast.UnaryOp(ast.Not(), node.test)
    return f"{kind} {shown}"


def _enclosing(module: ModuleType, tree: ast.Module, line: int) -> tuple[FunctionType, CodeType]:
    """Return the plain function that holds a line, and the changed code of it."""
    compiled = compile(tree, module.__file__ or "", "exec", __future__.annotations.compiler_flag, True)
    for node in tree.body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        for member in members:
            if isinstance(member, ast.FunctionDef) and member.lineno <= line <= (member.end_lineno or 0):
                holder = getattr(module, node.name) if isinstance(node, ast.ClassDef) else module
                function: FunctionType = vars(holder)[member.name]
                return function, _code(compiled, function.__qualname__)
    raise LookupError(f"{module.__name__}:{line} stands in no function")


def _code(code: CodeType, qualname: str) -> CodeType:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == qualname:
                return constant
            if qualname.startswith(constant.co_qualname + "."):
                return _code(constant, qualname)
    raise LookupError(qualname)


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Run the block with the function changed, and with an end to loops that the change makes endless."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"{mutant.where}: {mutant.change}: no end")

    plain = mutant.function.__code__
    before = signal.signal(signal.SIGALRM, stop)
    mutant.function.__code__ = mutant.code
    try:
        yield
    finally:
        mutant.function.__code__ = plain
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def killer(mutant: Mutant, vectors: list[Vector], profiles: list[Profile]) -> str | None:
    """Return the vector and the profile that notice a mutant, or None where none does."""
    with applied(mutant):
        for profile in profiles:
            for vector in vectors:
                if _applies(vector, profile) and _notices(vector, profile):
                    return f"{vector['id']} under {profile.name}"
    return None


def _applies(vector: Vector, profile: Profile) -> bool:
    return all(holds(name, profile.behaviours.__contains__) for name in vector.get("requires", ()))


def _notices(vector: Vector, profile: Profile) -> bool:
    """Tell whether a vector's expectations are not met; any failure of the model itself counts."""
    signal.alarm(5)
    try:
        return bool(expected_differences(vector, profile, run(vector, profile)))
    except Exception:
        return True
    finally:
        signal.alarm(0)


def survivors(vectors: list[Vector], progress: Callable[[str], None] = lambda line: None) -> tuple[int, list[Mutant]]:
    """Return how many mutants there are, and those that no vector notices under any profile."""
    first = [PROFILES[name] for name in TRIED_FIRST]
    profiles = first + [profile for profile in PROFILES.values() if profile not in first]
    unharmed = [
        vector["id"]
        for profile in first
        for vector in vectors
        if _applies(vector, profile) and _notices(vector, profile)
    ]
    if unharmed:
        raise AssertionError(f"the unchanged model fails {', '.join(sorted(set(unharmed)))}")
    count, left = 0, []
    for module in MODULES:
        for mutant in mutants(module):
            count += 1
            noticed = killer(mutant, vectors, profiles)
            progress(f"{mutant.where}: {mutant.change}: {noticed or 'NOT NOTICED'}")
            if noticed is None:
                left.append(mutant)
    return count, left


def main() -> int:
    """Print every mutant and what noticed it; return 1 if one was not noticed."""
    loaded = load(specs() / "vectors" / "capsule")
    count, left = survivors(list(loaded.vectors), print)
    print(f"{count} mutants, {count - len(left)} noticed, {len(left)} not")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
