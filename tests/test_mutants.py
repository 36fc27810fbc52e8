"""The model's checks: each, taken away, is noticed by a committed vector; and the script that says so notices too."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import mutants as module
import pytest
from mutants import Mutant, applied, killer, mutants, survivors

from capsule_model import attributes, capsule, collector, errors, imports, runtime
from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.trace.files import load

NEW: dict[str, Any] = {
    "op": "PyCapsule_New",
    "args": {"pointer": None, "name": None, "destructor": None},
    "expect": {"return": None, "error": {"type": "ValueError", "code": "New/null-pointer"}},
}
VECTOR: dict[str, Any] = {"id": "test.null", "title": "t", "rules": ["PyCapsule_New/null-pointer"], "steps": [NEW]}

SOURCE = """
def decide(a, b, items):
    while a:
        a = 0
    x = 1 if b else 2
    assert a == 0
    return [item for item in items if item if not item == b] or (a and b)

def plain():
    return 1

class Box:
    def full(self):
        if self:
            return 1
"""


def test_no_check_can_be_taken_away() -> None:
    """Every test, negated, and every operand, negated or dropped, makes a vector fail under some profile."""
    loaded = load(specs() / "vectors" / "capsule")
    assert loaded.problems == []
    count, left = survivors(list(loaded.vectors))
    assert count > 100
    assert [f"{mutant.where}: {mutant.change}" for mutant in left] == []


def test_what_is_mutated() -> None:
    """The capsule, import and deallocation code, with errors and the collector."""
    assert set(module.MODULES) == {capsule, imports, attributes, runtime, errors, collector}


def test_every_kind_of_check_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of `if`, `while`, conditional expressions and comprehensions, and operands; `assert` is no check."""
    file = tmp_path / "cm_checks.py"
    file.write_text(SOURCE)
    made = ModuleType("cm_checks")
    made.__file__ = str(file)
    exec(compile(SOURCE, str(file), "exec", dont_inherit=True), made.__dict__)
    monkeypatch.setitem(sys.modules, "cm_checks", made)
    found = list(mutants(made))
    assert sorted((mutant.where, mutant.change, mutant.function.__name__) for mutant in found) == [
        ("cm_checks:14", "negate self", "full"),
        ("cm_checks:3", "negate a", "decide"),
        ("cm_checks:5", "negate b", "decide"),
        ("cm_checks:7", "drop [item for item in items if item if not item == b]", "decide"),
        ("cm_checks:7", "drop a", "decide"),
        ("cm_checks:7", "drop a and b", "decide"),
        ("cm_checks:7", "drop b", "decide"),
        ("cm_checks:7", "negate [item for item in items if item if not item == b]", "decide"),
        ("cm_checks:7", "negate a", "decide"),
        ("cm_checks:7", "negate a and b", "decide"),
        ("cm_checks:7", "negate b", "decide"),
        ("cm_checks:7", "negate item", "decide"),
        ("cm_checks:7", "negate not item == b", "decide"),
    ]
    assert len({mutant.code for mutant in found}) == len(found)
    assert all(mutant.code != mutant.function.__code__ for mutant in found)


def _of(function: Any) -> list[Mutant]:
    return [mutant for mutant in mutants(capsule) if mutant.function is function]


def test_without_vectors_every_mutant_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing notices anything where nothing is run."""
    monkeypatch.setattr(module, "MODULES", (capsule,))
    lines: list[str] = []
    count, left = survivors([], lines.append)
    assert count == len(left) == len(lines) > 10
    assert all(line.endswith(": NOT NOTICED") for line in lines)


def test_a_vector_notices_the_check_that_it_shows() -> None:
    """The vector of a NULL pointer notices New's one check, and none of GetPointer's."""
    profiles = [PROFILES["cpython-3.11"]]
    (mutant,) = _of(capsule.PyCapsule_New)
    assert killer(mutant, [VECTOR], profiles) == "test.null under cpython-3.11"
    assert all(killer(mutant, [VECTOR], profiles) is None for mutant in _of(capsule.PyCapsule_GetPointer))


def test_a_vector_that_does_not_apply_notices_nothing() -> None:
    """What it requires is asked first."""
    (mutant,) = _of(capsule.PyCapsule_New)
    elsewhere = VECTOR | {"requires": ["gc-capsule"]}
    assert killer(mutant, [elsewhere], [PROFILES["cpython-3.11"]]) is None
    assert killer(mutant, [elsewhere], [PROFILES["cpython-3.13"]]) == "test.null under cpython-3.13"


def test_vectors_that_fail_by_themselves_prove_nothing() -> None:
    """A vector that the unchanged model does not meet would notice every mutant: it is refused."""
    wrong = VECTOR | {"steps": [NEW | {"expect": {"error": None}}]}
    with pytest.raises(AssertionError, match=r"the unchanged model fails test\.null"):
        survivors([wrong])


def test_the_model_is_put_back() -> None:
    """A mutant is there for the block only, and so is the end of endless loops, also when the block raises."""
    (mutant,) = _of(capsule.PyCapsule_New)
    plain: CodeType = capsule.PyCapsule_New.__code__
    before = signal.getsignal(signal.SIGALRM)
    with applied(mutant):
        assert capsule.PyCapsule_New.__code__ is mutant.code
        assert signal.getsignal(signal.SIGALRM) is not before
    assert capsule.PyCapsule_New.__code__ is plain
    with pytest.raises(ZeroDivisionError), applied(mutant):
        1 / 0  # noqa: B018
    assert capsule.PyCapsule_New.__code__ is plain
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_endless_loop_is_noticed() -> None:
    """A loop that a change makes endless is ended, and counts as noticed."""
    (mutant,) = _of(capsule.PyCapsule_New)
    endless = Mutant(mutant.where, "loops", mutant.function, _forever.__code__)
    ring = signal.alarm

    def soon(seconds: int) -> int:
        signal.setitimer(signal.ITIMER_REAL, 0.01 if seconds else 0)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "alarm", soon)
        assert killer(endless, [VECTOR], [PROFILES["cpython-3.11"]]) == "test.null under cpython-3.11"
    assert ring(0) == 0


def _forever(py: Any, pointer: int, name: int, destructor: int) -> int:
    while True:
        pass
