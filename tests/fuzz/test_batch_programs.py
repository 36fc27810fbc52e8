"""Compact programs: what they mean as vectors, that chance alone decides them, and what steers them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from capsule_model.fuzz.batch import Weights, code, states
from capsule_model.fuzz.batch.generate import choices, make_program
from capsule_model.fuzz.batch.perform import Errors, Places, Side
from capsule_model.fuzz.batch.reading import Call, Step, steps_of
from capsule_model.fuzz.batch.translate import Translation
from capsule_model.fuzz.batch.weights import OWN, table
from capsule_model.profiles import PROFILES, Profile
from capsule_model.trace.execute import Machine
from capsule_model.trace.files import load
from capsule_model.trace.write import dump_vectors

SUPPORTED = [f"cpython-3.{minor}{kind}" for minor in range(11, 16) for kind in ("", "-debug")]


def _programs(
    profile: Profile, count: int, weights: Weights | None = None, places: Places | None = None
) -> tuple[list[list[int]], Places, Errors]:
    """Return some programs, where their strings lie, and what their errors are."""
    places, errors = places or Places(), Errors()
    side = Side(profile, places, errors)
    made = choices(weights or Weights(), profile, places)
    programs = []
    for number in range(count):
        side.undo_writing()
        programs.append(list(make_program(side, made, random.Random(number), 300)))
    return programs, places, errors


class _Seen:
    """What the machine of vectors saw, against what the compact program says must be seen."""

    def __init__(self, translation: Translation, profile: Profile) -> None:
        vector = translation.vector()
        self.translation = translation
        self.machine = Machine(vector, profile)
        self.observations = [self.machine.step(step, str(at)) for at, step in enumerate(vector["steps"])]

    def agrees(self, step: Step, path: int, looked: int | None) -> None:
        """Assert that one step shows the same in both."""
        seen = self.observations[path]
        self._error(step.error, seen["error"], seen["indicator"])
        if step.operation in code.ADDRESSES and "return" in seen and step.operation != "PyCapsule_GetName":
            self._same(seen["return"], step.result)
        elif isinstance(seen.get("return"), int):
            assert seen["return"] == step.result
        self._calls(step.calls, seen["events"])
        if looked is not None:
            assert step.words is not None
            self._words(step, self.observations[looked]["return"]["words"])

    def _words(self, step: Step, seen: list[Any]) -> None:
        words = dict(zip(code.WORDS, step.words or (), strict=True))
        assert seen[0] == {"refcnt": words["ob_refcnt"]}
        # The strings in modules have names of their own in a vector.
        known = ("pointer", "context", "destructor") if step.place >= code.MODULES else code.WORDS[2:6]
        for name, word in zip(("pointer", "name", "context", "destructor"), seen[2:6], strict=True):
            if name in known:
                self._same(word, words[name])

    def _error(self, number: int, seen: Any, indicator: str) -> None:
        if number < 2:
            assert indicator in (("clear", "cleared"), ("unchanged",))[number]
        else:
            assert {key: seen[key] for key in ("type", "text")} == self.translation.error(number)

    def _calls(self, calls: list[Call], events: list[Any]) -> None:
        assert [event["call"] for event in events] == [f"d_{list(code.DESTRUCTORS)[call.destructor]}" for call in calls]
        for call, event in zip(calls, events, strict=True):
            self._same({"ref": event["args"][0]}, call.of)
            assert event["refcnt"] == call.words[0]
            for number, key in ((call.before, "before"), (call.after, "after")):
                assert (event[key] is None) == (number == 0)
                if number > 1:
                    assert event[key]["text"] == self.translation.error(number)["text"]
            for (inner, number, result), observed in zip(call.actions, event["steps"], strict=True):
                self._error(number, observed["error"], observed["indicator"])
                self._calls(inner, observed["events"])
                if "return" in observed and not isinstance(observed["return"], int):
                    self._same(observed["return"], result)

    def _same(self, seen: Any, word: int) -> None:
        """Assert that an address is the one of a word; what a destructor looks at is called held from then on."""
        shown = self.translation.shown(word)
        token = None if seen is None else seen.get("ref", seen.get("ptr", seen.get("function")))
        if token is not None and token.startswith("held"):
            assert shown["ref"].startswith("c")
        else:
            assert token == (None if shown is None else shown["ref"])


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_translation_shows_what_the_program_says(name: str) -> None:
    """As a vector, a program shows the same returns, errors, calls of destructors and words, step by step."""
    profile = PROFILES[name]
    programs, places, errors = _programs(profile, 3)
    for program in programs:
        translation = Translation(program, places, errors, looks=True)
        seen = _Seen(translation, profile)
        for step, path, looked in zip(translation.compact, translation.paths, translation.looked, strict=True):
            seen.agrees(step, path, looked)
        assert seen.machine.leaks() == []
        assert translation.compact[-1].end == len(program) - 2


def test_a_translation_is_a_vector_that_can_be_committed(tmp_path: Any) -> None:
    """What a program becomes is read back from a file without a fault, functions and modules included."""
    (program, *_), places, errors = _programs(
        PROFILES["cpython-3.13"], 1, Weights(operations={"PyCapsule_New": 1, "hold": 1, "PyCapsule_Import": 1})
    )
    vector = Translation(program, places, errors).vector()
    file = tmp_path / "found.json"
    file.write_text(dump_vectors([vector]))
    loaded = load(file)
    assert not loaded.problems, loaded.problems[0]
    assert [found["steps"] for found in loaded.vectors] == [vector["steps"]]
    assert {"functions", "modules"} <= vector.keys()


def test_programs_do_not_depend_on_addresses() -> None:
    """The same seed gives the same steps wherever strings and destructors lie; another seed gives others."""
    profile = PROFILES["cpython-3.12"]
    elsewhere = Places(0x7000_0000_0000, tuple(range(0x6000_0000_0000, 0x6000_0000_0000 + 16 * 13, 16)))
    here, there = _programs(profile, 2), _programs(profile, 2, None, elsewhere)
    vectors = [[Translation(program, *where[1:]).vector() for program in where[0]] for where in (here, there)]
    assert vectors[0] == vectors[1]
    assert vectors[0][0] != vectors[0][1]


def test_programs_reach_what_they_are_for() -> None:
    """Each operation, each destructor, each name and path, nested deaths and left errors are all among the steps."""
    programs, places, _ = _programs(PROFILES["cpython-3.13"], 60)
    steps = [step for program in programs for step in steps_of(program)]
    calls = [call for step in steps for call in step.calls]
    assert {step.operation for step in steps} == {*code.OPERATIONS} - {"PyErr_SetString", "drop", "end"}
    assert {call.destructor for call in calls} == set(range(len(code.DESTRUCTORS)))
    assert any(inner for call in calls for inner, _, _ in call.actions)
    assert any(call.before for call in calls)
    asked = {word for step in steps if step.operation == "PyCapsule_GetPointer" for word in step.arguments}
    assert asked >= {0, *(places.name(place) for place in range(len(code.NAMES)))}
    imported = {step.arguments[0] for step in steps if step.operation == "PyCapsule_Import"}
    assert len(imported) >= len(code.PATHS) - 3
    assert {step.pending for step in steps} == {None, *code.EXCEPTIONS}
    assert any(step.leave and step.error == 1 for step in steps)


def test_debug_builds_get_quiet_destructors() -> None:
    """Where a destructor that changes the error indicator ends the process, no capsule is given one."""
    names = [*code.DESTRUCTORS, *code.NATIVE]
    assert not {names[place] for place in code.destructors_of(PROFILES["cpython-3.13-debug"])} & code.LOUD
    assert len(code.destructors_of(PROFILES["cpython-3.13"])) == len(code.DESTRUCTORS) + len(code.NATIVE) - 1


def test_a_table_has_each_choice_and_its_share() -> None:
    """Every choice above 0 has a byte, however small its weight, and the others keep their proportion."""
    bytes_of = table({"never": 0, "seldom": 1e-6, "often": 3, "twice as often": 6})
    counts = [bytes_of.count(number) for number in range(4)]
    assert len(bytes_of) == 256
    assert counts[:2] == [0, 1]
    assert counts[3] == pytest.approx(2 * counts[2], abs=2)


def test_weights_raise_what_was_reached_least() -> None:
    """What counts say was reached seldom, or never, becomes more likely; the same counts give the same weights."""
    state = "{}, 0, name text, context NULL, destructor none, refcnt 1, nothing pending"
    counts = {state.format("PyCapsule_GetName"): 10_000, state.format("PyCapsule_GetContext"): 1}
    plain, steered = Weights(), Weights.from_counts(counts)
    rose = {name: steered.operations[name] / weight for name, weight in plain.operations.items()}
    assert rose["PyCapsule_GetName"] < 1 < rose["PyCapsule_GetContext"]
    assert rose["PyCapsule_Import"] == max(rose.values())
    assert steered == Weights.from_counts(dict(reversed(counts.items())))
    assert Weights.from_counts({}) == plain
    assert steered.names[OWN] == plain.names[OWN]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"operations": {"PyCapsule_Get": 1}},
            "weights: operations has 'PyCapsule_Get': expected some of PyCapsule_IsValid, ",
        ),
        ({"names": {"NULL": 0}}, "weights: names: expected numbers from 0 on, and one above"),
        ({"errors": {"none": -1}}, "weights: errors: expected numbers from 0 on, and one above"),
    ],
)
def test_weights_that_mean_nothing_are_refused(given: dict[str, Any], told: str) -> None:
    """A choice that there is not, and weights that leave none, are named in one line."""
    with pytest.raises(ValueError, match=r"^weights: ") as failure:
        Weights(**given)
    assert str(failure.value).startswith(told)


def test_states_are_read_as_they_are_written() -> None:
    """The words of a state say all that its number does, and what is none is refused."""
    numbers = random.Random(1).sample(range(states.COUNT), 500)
    words = {states.words(number) for number in numbers if ", name " in states.words(number)}
    assert all(set(states.parsed(state)) == set(states.PARTS) for state in words)
    assert len({tuple(states.parsed(state).items()) for state in words}) == len(words)
    with pytest.raises(ValueError, match="is no state: expected such as"):
        states.parsed("PyCapsule_GetName, gladly")
