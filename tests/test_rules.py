"""The marks in the code: which rules it names, and noting those that a run carries out."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

import capsule_model
from capsule_model import NULL, Interpreter, rules
from capsule_model.profiles import PROFILES
from capsule_model.rules import MARK, MODULES, code_rules, observed
from capsule_model.trace.execute import run

PACKAGE = Path(capsule_model.__file__).parent

SOURCE = """
def plain(value):
    return value

def single(value):
    if value:
        # rule: A/true
        return 1
    # rule: A/false
    return 0

def stacked(value):
    # rule: B/first
    # rule: B/second

    # not a rule
    # rule: B/third
    return value

def everywhere(value):
    for item in value:
        # rule: C/loop
        item()
    else:
        # rule: C/else
        value = None
    try:
        # rule: C/try
        len(value)
    except TypeError:
        # rule: C/except
        pass
    finally:
        # rule: C/finally
        value = 0
    with open("/dev/null"):
        # rule: C/with
        pass

def raising():
    # rule: D/raises
    raise KeyError

class Thing:
    def method(self):
        def inner():
            # rule: E/inner
            return 1
        return inner()

    # rule: E/method-after
    def second(self):
        # rule: E/second
        return 2
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a module with marks of every kind, as the only one that is observed."""
    file = tmp_path / "cm_marked.py"
    file.write_text(SOURCE)
    made = types.ModuleType("cm_marked")
    made.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "cm_marked", made)
    exec(compile(SOURCE, file, "exec", dont_inherit=True), made.__dict__)
    monkeypatch.setattr(rules, "MODULES", (made,))
    rules._noting.cache_clear()
    yield made
    rules._noting.cache_clear()


def codes() -> dict[str, CodeType]:
    """Return the code of every function and method of the modules that have marks."""
    return {
        f"{module.__name__}.{name}": function.__code__
        for module in MODULES
        for name, function in rules._functions(module).items()
    }


def test_the_rules_that_the_code_names() -> None:
    """Each has the file and line of the statement that follows its mark; every mark in the source is found."""
    named = code_rules()
    for places in named.values():
        for place in places:
            file, line = place.split(":")
            source = (PACKAGE.parent / file).read_text("utf-8").splitlines()
            assert MARK.match(source[int(line) - 1]) is None
            assert MARK.match(source[int(line) - 2])
    marked = [
        match[1]
        for file in PACKAGE.glob("*.py")
        for line in file.read_text("utf-8").splitlines()
        if (match := MARK.match(line))
    ]
    assert len(marked) > 100
    assert sorted(marked) == sorted(rule for rule, places in named.items() for _ in places)


def test_a_statement_follows_every_mark() -> None:
    """A mark that no statement follows would be noted nowhere."""
    for module in MODULES:
        tree = ast.parse(inspect.getsource(module))
        statements = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)}
        assert rules._marks(module).keys() <= statements, module.__name__


def test_marks_of_every_kind(module: Any) -> None:
    """Marks in branches, loops, handlers, methods and inner functions are noted when they are passed."""
    with observed() as sink:
        sink.path = "p"
        assert module.plain(1) == 1
        assert module.single(0) == 0
        assert module.single(1) == 1
        module.everywhere([int, int])
        assert module.Thing().method() == 1
        assert module.Thing().second() == 2
    assert sink.reached == [
        ("p", rule)
        for rule in (
            "A/false",
            "A/true",
            "C/loop",
            "C/loop",
            "C/else",
            "C/try",
            "C/except",
            "C/finally",
            "C/with",
            "E/inner",
            "E/second",
        )
    ]


def test_marks_above_one_statement_are_all_noted(module: Any) -> None:
    """Stacked marks belong to the next statement, whatever other comments lie between, in their order."""
    with observed() as sink:
        module.stacked(5)
    assert [rule for _, rule in sink.reached] == ["B/first", "B/second", "B/third"]


def test_code_without_marks_is_not_exchanged(module: Any) -> None:
    """Only what notes something is replaced."""
    plain = module.plain.__code__
    with observed():
        assert module.plain.__code__ is plain
        assert "__rule_reached__" in module.single.__code__.co_names
    assert "__rule_reached__" not in module.single.__code__.co_names


def test_the_path_of_the_step_is_noted(module: Any) -> None:
    """Each rule is noted with the path that is set when it is carried out."""
    with observed() as sink:
        module.single(1)
        sink.path = "3/d1.1/0"
        module.single(0)
    assert sink.reached == [("", "A/true"), ("3/d1.1/0", "A/false")]


def test_the_plain_code_comes_back() -> None:
    """After the block every function has the very code object that it had, also when the block raises."""
    before = codes()
    with observed() as sink:
        during = codes()
        Interpreter().PyCapsule_New(NULL, NULL, NULL)
    assert ("", "PyCapsule_New/null-pointer") in sink.reached
    assert sum(during[name] is not code for name, code in before.items()) > 50
    assert all(code is before[name] for name, code in codes().items())
    with pytest.raises(ZeroDivisionError), observed():
        1 / 0  # noqa: B018
    assert all(code is before[name] for name, code in codes().items())
    assert not any(hasattr(module, "__rule_reached__") for module in MODULES)


def test_one_observation_at_a_time(module: Any) -> None:
    """A second observation inside the first is refused, and the first goes on."""
    with observed() as sink:
        with pytest.raises(RuntimeError, match="observed already"), observed():
            pass
        module.single(1)
    assert sink.reached == [("", "A/true")]
    with observed():
        pass


def test_an_exception_passes_through_noting_code(module: Any) -> None:
    """What the code raises is raised; the rule before it was noted, and the traceback has the source's line."""
    with pytest.raises(KeyError) as found, observed() as sink:
        module.raising()
    assert sink.reached == [("", "D/raises")]
    line = SOURCE.splitlines()[found.traceback[-1].lineno]
    assert line.strip() == "raise KeyError"


def test_noting_code_does_the_same() -> None:
    """The functions keep their signature and constants: only notes are put in."""
    before = codes()
    with observed():
        for name, code in codes().items():
            assert code.co_varnames[: code.co_argcount] == before[name].co_varnames[: code.co_argcount]
            assert code.co_firstlineno == before[name].co_firstlineno


VECTOR: dict[str, Any] = {
    "steps": [
        {"op": "PyCapsule_New", "args": {"pointer": {"ptr": "p"}, "name": None, "destructor": None}, "bind": "c"},
        {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}},
    ]
}


def test_an_ordinary_run_executes_the_plain_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `rules` a run pays nothing: no code is exchanged while it runs, with `rules` it is."""
    function = capsule_model.capsule.PyCapsule_New
    assert isinstance(function, FunctionType)
    plain, used = function.__code__, []
    place = capsule_model.objects.Objects.place

    def watching(self: Any, struct: Any) -> int:
        used.append(inspect.stack()[1].frame.f_code)
        return place(self, struct)

    monkeypatch.setattr(capsule_model.objects.Objects, "place", watching)
    profile = PROFILES["cpython-3.11"]
    assert run(VECTOR, profile).reached == []
    assert used[-1] is plain
    reached = run(VECTOR, profile, rules=True).reached
    assert used[-1] is not plain
    assert ("0", "PyCapsule_New/returns-capsule") in reached
    assert ("1", "Py_DECREF/last-reference-deallocates") in reached


def test_what_was_exchanged_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Observing puts back the code that it found, and not the one of the first time, so that a seeded fault lasts."""
    with observed():
        pass
    function = capsule_model.capsule.PyCapsule_GetContext
    other = function.__code__.replace(co_name="exchanged")
    monkeypatch.setattr(function, "__code__", other)
    with observed():
        assert function.__code__ is not other
    assert function.__code__ is other
