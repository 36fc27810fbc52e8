"""Write the script of a finding: the probe, what it needs of the kit, and the library's own code, and nothing else."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from functools import cache

from dlpack_model.audit import kit
from dlpack_model.audit.probe import Case, Probe
from dlpack_model.audit.registry import Library

__all__ = ["FUNCTIONS", "MAKERS", "MOST_LINES", "arguments_of", "asked_of", "script_of"]

MOST_LINES = 60
# What a library's description gives: makers are called without arguments, functions with what is to be looked at.
MAKERS = ("make", "large", "readonly", "swapped", "padded", "cpu")
FUNCTIONS = ("consume", "values", "writable")


def arguments_of(probe: Probe, case: Case, library: Library) -> dict[str, str] | None:
    """Return the code of each argument of a probe, None where the library does not have what it takes."""
    found: dict[str, str] = {}
    for name, parameter in inspect.signature(probe.run).parameters.items():
        described = getattr(library, name, "")
        given = case.arguments.get(name, described if isinstance(described, str) else repr(described))
        if given:
            found[name] = given
        elif parameter.default is parameter.empty:
            return None
    return found


def asked_of(probe: Probe) -> str:
    """Return what a probe does, in a sentence."""
    return inspect.cleandoc(probe.run.__doc__ or "").partition("\n")[0]


def script_of(probe: Probe, arguments: Mapping[str, str], library: Library, title: str) -> str:
    """Return a script that runs the probe by itself; it ends with 1 where the rule is broken.

    ``title`` becomes its docstring. ``ValueError`` where it would be longer than ``MOST_LINES``.
    """
    function = _bare(ast.parse(textwrap.dedent(inspect.getsource(probe.run))).body)[0]
    assert isinstance(function, ast.FunctionDef)
    setup, own = ast.parse(library.setup).body, list[ast.stmt]()
    for name, code in arguments.items():
        if "Source" in _names([function]):
            # One producer is enough.
            code = code.replace("Simple()", "Source()")
        if name in MAKERS:
            own += ast.parse(f"def {name}():\n    return {code}").body
        elif name in FUNCTIONS and code != name:
            own += ast.parse(f"{name} = {code}").body
    given = ", ".join(name if name in MAKERS + FUNCTIONS else f"{name}={code}" for name, code in arguments.items())
    end = ast.parse(
        f"verdict, seen, *rule = {function.name}({given})\n"
        "print(verdict + ':', *seen.split())\n"
        "sys.exit(verdict not in ('kept', 'choice', 'unsupported'))\n"
    ).body
    kit_part = _needed([*own, function, *end])
    whole = [*kit_part, *own, function, *end]
    imports = dict.fromkeys((*_imports(whole), *map(ast.unparse, setup)))
    parts = [f'"""{_safe(title)}"""', f"# {asked_of(probe)}", *imports, "", *map(ast.unparse, kit_part), ""]
    parts += [*map(ast.unparse, own), ast.unparse(function), "", *map(ast.unparse, end)]
    text = "".join(line + "\n" for part in parts for line in _lines(part))
    if text.count("\n") > MOST_LINES:
        text = _tighter(text)
    if text.count("\n") > MOST_LINES:
        text = text.replace(parts[1] + "\n", "", 1)
    if text.count("\n") > MOST_LINES:
        raise ValueError(f"the script of {probe.id} has {text.count(chr(10))} lines; expected at most {MOST_LINES}")
    return text


def _lines(part: str) -> list[str]:
    """Return the lines of a part, without the empty ones inside."""
    return [line for line in part.split("\n") if line.strip()] if part else [""]


def _tighter(text: str) -> str:
    """Put what is done in one line on a condition behind the condition, where there is room."""
    lines = text.split("\n")
    for place in reversed(range(len(lines) - 1)):
        head, tail = lines[place], lines[place + 1]
        indent = len(head) - len(head.lstrip())
        alone = len(tail) - len(tail.lstrip()) == indent + 4 and not tail.lstrip().startswith(_OPENING)
        after = lines[place + 2] if place + 2 < len(lines) else ""
        ends = len(after) - len(after.lstrip()) <= indent
        opens = head.lstrip().startswith(_HEADS) and head.endswith(":")
        if opens and alone and ends and len(head) + 1 + len(tail.lstrip()) <= 120:
            lines[place : place + 2] = [f"{head} {tail.lstrip()}"]
    return "\n".join(line for line in lines if line) + "\n"


# What a colon ends, and what cannot stand behind one.
_HEADS = ("if ", "for ", "class ", "def ", "try:", "except ")
_OPENING = ("if ", "for ", "while ", "with ", "def ", "class ", "try:", "@")


def _safe(title: str) -> str:
    """Return a text that can stand in a docstring of one line."""
    kept = "".join(character if character.isprintable() else " " for character in title)
    return kept.replace("\\", "/").replace('"', "'")[:110]


class _Bare(ast.NodeTransformer):
    """Take annotations, decorators and docstrings away."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Strip a function."""
        node.returns, node.decorator_list = None, []
        for argument in (*node.args.args, *node.args.kwonlyargs, node.args.kwarg, node.args.vararg):
            if argument is not None:
                argument.annotation = None
        _without_docstring(node)
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Strip a class."""
        _without_docstring(node)
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        """Make a plain assignment."""
        assert node.value is not None
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _without_docstring(node: ast.FunctionDef | ast.ClassDef) -> None:
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:]


def _bare(nodes: Iterable[ast.stmt]) -> list[ast.stmt]:
    return [ast.fix_missing_locations(_Bare().visit(node)) for node in nodes]


@cache
def _kit() -> Mapping[str, ast.stmt]:
    """Return the definitions of the kit by name, in their order; a statement that defines two stands under both."""
    found: dict[str, ast.stmt] = {}
    for node in _bare(ast.parse(inspect.getsource(kit)).body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            names = [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            found |= dict.fromkeys(names, node)
    return found


def _names(nodes: Iterable[ast.stmt]) -> set[str]:
    return {inner.id for node in nodes for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _needed(nodes: list[ast.stmt]) -> list[ast.stmt]:
    """Return the definitions of the kit that are named in some code, and those that they name, in the kit's order."""
    table = dict(_kit())
    asked = {inner.attr for node in nodes for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
    for name, node in table.items():
        if isinstance(node, ast.ClassDef):
            table[name] = _with_methods(node, asked)
    wanted, new = set[str](), _names(nodes) & set(table)
    while new:
        wanted |= new
        new = _names(table[name] for name in new) & set(table) - wanted
    return [_short(node) for node in dict.fromkeys(node for name, node in table.items() if name in wanted)]


def _with_methods(node: ast.ClassDef, asked: set[str]) -> ast.ClassDef:
    """Return a class with the methods that are asked for, and those that Python calls by itself."""
    kept = [
        inner
        for inner in node.body
        if not isinstance(inner, ast.FunctionDef) or inner.name.startswith("__") or inner.name in asked
    ]
    return ast.ClassDef(node.name, node.bases, node.keywords, kept, node.decorator_list)


def _short(node: ast.stmt) -> ast.stmt:
    """Return a function that only returns something as a name for an expression."""
    match node:
        case ast.FunctionDef(name, arguments, [ast.Return(ast.expr() as value)]):
            target = ast.Name(name, ast.Store())
            return ast.fix_missing_locations(ast.Assign([target], ast.Lambda(arguments, value), lineno=0))
    return node


def _imports(nodes: list[ast.stmt]) -> list[str]:
    """Return the imports of the standard library that some code needs."""
    names = _names(nodes)
    modules = [name for name in ("ctypes", "gc", "math", "os", "sys", "threading", "weakref") if name in names]
    types = sorted(name for name in names if name.startswith("c_") or name == "py_object")
    return [f"import {', '.join(modules)}"] * bool(modules) + (
        [f"from ctypes import {', '.join(types)}"] if types else []
    )
