"""The faulty implementations: each is made by edits that fit the model's source, beside a model that stays as it is."""

from __future__ import annotations

import re
import sys

import pytest

import capsule_model.capsule
from capsule_model.conform.commands import known_names
from capsule_model.fuzz.lockstep import campaign
from capsule_model.fuzz.programs import Programs, Seeded, world
from capsule_model.interpreter import Interpreter
from capsule_model.mutants.by_vectors import FIRST, OTHERS, first_killer
from capsule_model.mutants.mutant import Edit, Mutant, edited, patched
from capsule_model.mutants.registry import ABOUT, MUTANTS, mutant_named
from capsule_model.mutants.session import MutantSession, loaded, opener
from capsule_model.mutants.twin import twin
from capsule_model.profiles import BEHAVIOURS, PROFILES, profile_named
from capsule_model.trace.contract import operations
from capsule_model.trace.execute import Machine

NEW = {
    "op": "PyCapsule_New",
    "args": {"pointer": {"ptr": "p"}, "name": {"cstr": "a"}, "destructor": None},
    "bind": "c",
}
OTHER_NAME = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "b"}}}
UNCHANGED = Mutant("test/unchanged", "Nothing is wrong.", (), ())
# What programs leave to vectors: storage that is freed, fields that are read as bytes, and threads.
LEFT_OUT = {"malloc", "free", "read", "settle"}


def test_ids_are_words_and_each_is_one_mutant() -> None:
    """There are more than a hundred, none hides another of the same id, and each title is a sentence."""
    assert len(MUTANTS) == sum(len(about.MISTAKES) for about in ABOUT) > 100
    for mutant in MUTANTS.values():
        assert re.fullmatch(r"[A-Za-z]+/[A-Za-z]+(-[A-Za-z]+)*", mutant.id), mutant.id
        assert re.fullmatch(r"[A-Z].+\.", mutant.title), mutant.id
    assert len({mutant.title for mutant in MUTANTS.values()}) == len(MUTANTS)


def test_the_rules_that_a_mutant_breaks_are_rules() -> None:
    """Each names at least one, and each of them is a heading of a chapter."""
    known = known_names().rules
    assert known is not None
    assert {rule for mutant in MUTANTS.values() for rule in mutant.rules} <= set(known)
    assert all(mutant.rules for mutant in MUTANTS.values())


def test_every_edit_fits_the_source_exactly_once() -> None:
    """A mutant whose piece is gone from the model, or stands there twice, is refused; and each changes something."""
    for mutant in MUTANTS.values():
        for name, source in patched(mutant.edits).items():
            plain = patched([Edit(name.partition(".")[2], "", "from __future__", "from __future__")])[name]
            assert source != plain, mutant.id
            compile(source, mutant.id, "exec", dont_inherit=True)


@pytest.mark.parametrize(
    ("function", "old", "message"),
    [
        ("f", "x = 3", r"m\.f has 0 pieces 'x = 3'; expected exactly one"),
        ("f", "x = 1", r"m\.f has 2 pieces 'x = 1'; expected exactly one"),
        ("h", "x = 1", "m has 0 functions h; expected exactly one"),
    ],
)
def test_a_piece_that_is_not_there_once_is_refused(function: str, old: str, message: str) -> None:
    """The error says where, and how often."""
    source = "def f():\n    x = 1\n    x = 1\n\n\ndef g():\n    x = 3\n"
    with pytest.raises(ValueError, match=f"^{message}$"):
        edited(source, Edit("m", function, old, ""))
    assert edited(source, Edit("m", "g", "x = 3", "x = 4")).count("x = 1") == 2


def test_an_unchanged_copy_behaves_as_the_model() -> None:
    """No vector tells it from the model, under a profile with a collector and one without, and no program does."""
    assert first_killer(loaded(UNCHANGED), (FIRST, "cpython-3.11")) is None
    done, found = campaign(3_000, 1, profile_named(FIRST), opener(UNCHANGED, FIRST))
    assert found is None
    assert done >= 3_000


def test_the_model_stays_as_it_is() -> None:
    """A copy is another set of modules; the model's own are those that were there before, and work as they did."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("capsule_model")}
    paths = list(sys.meta_path)
    copy = twin(patched(MUTANTS["GetPointer/ignores-name"].edits))
    assert {name: module for name, module in sys.modules.items() if name.startswith("capsule_model")} == before
    assert sys.meta_path == paths
    machine = copy.machine({}, FIRST)
    assert not isinstance(machine, Machine)
    assert machine.step(NEW, "0")["return"] == {"ref": "c"}
    assert machine.step(OTHER_NAME, "1")["return"] == {"ref": "p"}
    py = Interpreter(FIRST)
    assert py.PyCapsule_GetPointer(py.PyCapsule_New(16, py.cstring("a"), 0), py.cstring("b")) == 0
    assert sys.modules["capsule_model.capsule"] is capsule_model.capsule


def test_a_copy_that_cannot_be_loaded_leaves_the_model() -> None:
    """Source that fails while it is imported does not stay in the place of the model."""
    with pytest.raises(ZeroDivisionError):
        twin({"capsule_model.capsule": "1 / 0"})
    assert sys.modules["capsule_model.capsule"] is capsule_model.capsule
    assert not any(type(finder).__module__.startswith("capsule_model") for finder in sys.meta_path)


def test_a_mutant_that_dies_is_a_result() -> None:
    """From its death on every step shows it, it owns nothing, and closing it again does no harm."""
    session = MutantSession(loaded(MUTANTS["capsule/null-not-refused"]), {}, FIRST)
    assert session.step(NEW, "0")["return"] == {"ref": "c"}
    seen = session.step({"op": "PyCapsule_GetName", "args": {"capsule": None}}, "1")
    assert seen["return"]["died"].startswith("UndefinedBehavior: null-dereference")
    assert session.step(NEW, "2") == seen
    assert session.close() == session.close() == []
    assert not session.aborted


def test_profiles_have_every_behaviour() -> None:
    """The profiles of those who survive the first show all that versions and builds do differently, or do not."""
    chosen = [PROFILES[name].behaviours for name in (FIRST, *OTHERS)]
    assert frozenset().union(*chosen) == BEHAVIOURS.keys()
    assert frozenset.intersection(*chosen) == frozenset()


def test_an_unknown_mutant_is_refused_with_the_names_of_all() -> None:
    """The error is one line."""
    with pytest.raises(
        ValueError, match=r"^unknown mutant 'x': expected one of names/null-matches-anything, "
    ) as error:
        mutant_named("x")
    assert "\n" not in str(error.value)


def test_programs_call_whatever_can_be_called() -> None:
    """Every operation of the suite that mutants can be wrong about is a step of programs, or of their functions."""
    profile = profile_named(FIRST)
    called: set[str] = set()
    for seed in range(30):
        choices = Seeded(seed)
        shared = world(choices, profile)
        machine, programs = Machine(shared, profile), Programs(choices, profile)
        for number in range(150):
            step = programs.next_step(machine)
            machine.step(step, str(number))
            called.add(step["op"])
        called |= {step["op"] for function in shared["functions"].values() for step in function.get("steps", ())}
    wanted = {name for name, row in operations().items() if row.suite == "capsule"} - LEFT_OUT
    assert called == wanted
