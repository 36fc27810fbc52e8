"""The runner: what is sent and what is not, and what becomes of each answer."""

from __future__ import annotations

import io
import signal
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console
from vector_samples import FREE, GET, NEW, QUIET, SOUND, WRONG, Fake, results, vector

from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started, Unsupported, started
from capsule_model.conform.report import Report, as_json, print_report
from capsule_model.conform.runner import choose_profile, sent
from capsule_model.profiles import PROFILES
from capsule_model.trace.contract import operations
from capsule_model.trace.needs import FEATURES

DYING: list[dict[str, Any]] = [
    {**NEW, "args": {**NEW["args"], "destructor": {"function": "d"}}},
    {"op": "Py_INCREF", "args": {"op": {"ref": "c"}}},
    {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}},
    {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}, "expect": {"events": [{"call": "d"}]}},
]


class Recording(Fake):
    """A `Fake` that keeps what it is sent."""

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Keep the vector, and answer as the model does."""
        self.settles = [step.get("settle", False) for step in vector["steps"]]
        plain = {**vector, "steps": [{k: v for k, v in step.items() if k != "settle"} for step in vector["steps"]]}
        return super().run(plain)


@pytest.mark.parametrize(
    ("defers", "function", "expected"),
    [
        (False, {"kind": "destructor", "steps": []}, [False, False, False, False]),
        (True, {"kind": "destructor", "steps": []}, [False, False, False, True]),
        (True, {"native": "PyErr_Clear"}, [True, True, True, True]),
    ],
)
def test_steps_wait_for_destructors_that_are_deferred(
    defers: bool, function: dict[str, Any], expected: list[bool]
) -> None:
    """An adapter that defers is told where the model calls a destructor, and the result says that it was."""
    native = "native" in function
    steps = [*DYING[:-1], {key: value for key, value in DYING[-1].items() if key != "expect" or not native}]
    dying = {**vector("dying"), "steps": steps, "functions": {"d": function}, "leaks": []}
    fake = Recording({}, defers=defers)
    (result,) = results(fake, dying)
    assert fake.settles == expected
    assert (result.outcome, result.settled) == ("passed", defers)
    document = as_json(Report(fake.about, PROFILES["cpython-3.13"], None, [result], []))
    assert (document["summary"]["settled"], "settled" in document["vectors"][0]) == (int(defers), defers)
    output = io.StringIO()
    print_report(Report(fake.about, PROFILES["cpython-3.13"], None, [result], []), Console(file=output))
    assert ("steps that wait for destructors: 1" in output.getvalue()) == defers


def test_deferring_is_true_or_false() -> None:
    """Anything else in the answer to `start` breaks the protocol."""
    answer = {"protocol": 1, "implementation": "x", "version": "1", "ops": [], "features": []}
    assert not started(answer).defers
    assert started({**answer, "defers": True}).defers
    with pytest.raises(Misbehaviour, match="expected true or false"):
        started({**answer, "defers": 1})


def test_undefined_behaviour_is_never_sent() -> None:
    """The model alone runs a vector that ends in undefined behaviour, expected or not."""
    fake = Fake({})
    last = FREE[2] | {"expect": {"undefined": "double-free", "of": "b"}}
    expected = vector("expected", *FREE[:2], last)
    surprise = vector("surprise", *FREE)
    other = vector("other", *FREE[:2], FREE[2] | {"expect": {"undefined": "use-after-free"}})
    defined = vector("defined", GET | {"expect": {"undefined": "double-free"}})
    found = results(fake, expected, surprise, other, defined)
    assert [result.outcome for result in found] == ["undefined", "failed", "failed", "failed"]
    assert fake.sent == []
    assert [(d.key, d.model) for d in found[1].divergences] == [("undefined", "double-free of b")]
    assert (found[1].detail or "").startswith("double-free: ")


def test_nothing_that_tells_the_answer_is_sent() -> None:
    """Expectations, rules and words for the reader stay here, those inside functions too."""
    step = {**SOUND, "note": "n", "variants": [{"when": "gc-capsule", "expect": {}}], "pending": {"type": "KeyError"}}
    whole = vector(
        "whole",
        step,
        note="n",
        requires=["gc-capsule"],
        format=1,
        functions={"d": {"kind": "destructor", "max_calls": 2, "steps": [step]}, "n": {"native": "PyErr_Clear"}},
    )
    bare = {**GET, "pending": {"type": "KeyError"}}
    assert sent(whole) == {
        "format": 1,
        "id": "test.sample.whole",
        "steps": [NEW, bare],
        "functions": {"d": {"kind": "destructor", "max_calls": 2, "steps": [bare]}, "n": {"native": "PyErr_Clear"}},
    }


def test_requirements_and_lacks() -> None:
    """A vector that does not apply is not sent; one that the adapter cannot run is not sent either."""
    fake = Fake({}, features=frozenset(FEATURES) - {"memory"}, ops=frozenset(operations()) - {"Py_REFCNT"})
    count = {"op": "Py_REFCNT", "args": {"ob": {"ref": "c"}}}
    found = results(
        fake,
        vector("elsewhere", SOUND, requires=["!gc-capsule"]),
        vector("memory", *FREE[:2]),
        vector("count", count),
        vector("here", SOUND, requires=["gc-capsule"]),
    )
    assert [result.outcome for result in found] == ["not-applicable", "unsupported", "unsupported", "passed"]
    assert [result.lacking for result in found[1:3]] == [("memory",), ("Py_REFCNT",)]
    assert fake.sent == ["test.sample.here"]


def test_an_implementation_is_held_to_the_model_as_well() -> None:
    """What the vector leaves open is still compared with the model; leaks are compared, too."""
    made = QUIET | {"return": {"ref": "c"}}
    fake = Fake(
        {
            "open": Ran([made, QUIET | {"return": {"ref": "p2"}}], ["c"]),
            "leaky": Ran([made, QUIET | {"return": {"ref": "p1"}}], []),
            "short": Ran([made], ["c"]),
            "unsupported": Unsupported("a full moon"),
            "refused": Refused("no such operation", "1"),
        }
    )
    names = ("open", "leaky", "short", "unsupported", "refused")
    found = results(fake, *(vector(name, GET) for name in names))
    assert [result.outcome for result in found] == ["failed", "failed", "failed", "unsupported", "errored"]
    (open_,), (leaky,) = found[0].divergences, found[1].divergences
    assert (open_.path, open_.key, open_.model, open_.seen) == ("1", "return", {"ref": "p1"}, {"ref": "p2"})
    assert (leaky.path, leaky.key, leaky.expected, leaky.model, leaky.seen) == ("end", "leaks", ["c"], ["c"], [])
    assert [d.key for d in found[2].divergences] == ["steps"]
    assert found[4].detail == "the adapter refuses the vector: step 1: no such operation"


def test_latitude_lets_implementations_differ_from_the_model() -> None:
    """Where a rule allows either, an implementation need not choose what the model chose."""
    fake = Fake({"free": Ran([QUIET | {"return": {"ref": "c"}}, QUIET | {"return": None}], ["c"])})
    either = {"any_of": [{"return": {"ptr": "p1"}}, {"return": None}], "rule": "A/may"}
    assert [r.outcome for r in results(fake, vector("free", GET | {"expect": either}))] == ["passed"]


def test_an_expected_abort_must_kill_the_process() -> None:
    """A debug build that aborts as the vector says passes; one that lives on or ends by itself does not."""
    new = {**NEW, "args": {**NEW["args"], "destructor": {"function": "d"}}}
    raising = {"d": {"kind": "destructor", "steps": [{"op": "PyErr_NoMemory", "leave": True}]}}
    last = {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}, "expect": {"abort": True}}
    lives = Ran([QUIET | {"return": {"ref": "c"}}, QUIET], [])
    deaths = {
        "dies": Misbehaviour("crashed", "died of SIGABRT", signal.SIGABRT),
        "leaves": Misbehaviour("crashed", "ended"),
    }
    fake = Fake(deaths | {"lives": lives})
    them = [vector(name, steps=[new, last], leaks=[], functions=raising) for name in ("dies", "lives", "leaves")]
    surprise = vector("surprise", steps=[new, last | {"expect": {}}], functions=raising)
    found = results(fake, *them, surprise, profile="cpython-3.13-debug")
    assert [result.outcome for result in found] == ["passed", "failed", "crashed", "failed"]
    assert [(d.path, d.key, d.seen) for d in found[1].divergences] == [("1", "abort", "the process lives")]
    assert fake.sent == ["test.sample.dies", "test.sample.lives", "test.sample.leaves"]
    (calm,) = results(fake, them[1], profile="cpython-3.13")
    assert [(d.path, d.key) for d in calm.divergences] == [("1", "abort")]


def test_rules_are_reached_by_passed_vectors_alone() -> None:
    """A failed vector reaches nothing, and UNDEFINED rules are not in the total."""
    fake = Fake({})
    found = results(fake, vector("one", SOUND), vector("wrong", WRONG))
    report = Report(fake.about, PROFILES["cpython-3.13"], None, found, ["PyCapsule_New/returns-capsule", "A/never"])
    assert report.reached == {"PyCapsule_New/returns-capsule"}
    assert (report.percent, report.shortcomings(60)) == (50.0, ["1 failed", "50 % of the rules reached, below 60 %"])
    assert report.shortcomings(None) == ["1 failed"]
    failed = Report(fake.about, PROFILES["cpython-3.13"], None, found[1:], ["PyCapsule_New/returns-capsule"])
    assert failed.reached == frozenset()


@pytest.mark.parametrize(
    ("suggested", "name"),
    [
        ("cpython-3.12", "cpython-3.12"),
        ("cpython-3.13-free-threaded", "cpython-3.13-free-threaded"),
        ("cpython-3.99", "cpython-3.15"),
        ("cpython-3.99-debug", "cpython-3.15-debug"),
        ("cpython-3.8", "cpython-3.9"),
        ("pypy-3.11", "cpython-3.11"),
        ("cpython-3.12-of-its-own-kind", "cpython-3.12"),
        (None, "cpython-3.15"),
        ("something", "cpython-3.15"),
    ],
)
def test_the_nearest_profile(suggested: str | None, name: str) -> None:
    """An unknown suggestion leads to the nearest version built alike, and the report says that it was a guess."""
    profile, note = choose_profile(Started("x", "1", suggested, frozenset(), frozenset()), None)
    assert profile.name == name
    assert (note is None) == (suggested == name)


def test_declared_behaviours_make_a_profile() -> None:
    """An implementation that is not CPython is held to what it declares; an unknown behaviour is refused."""
    declared = Started("other", "1", "cpython-3.13", frozenset(), frozenset(), {}, frozenset({"gc-capsule"}))
    profile, _ = choose_profile(declared, None)
    assert profile.name == "other as declared"
    assert profile.behaviours == {"gc-capsule"}
    odd = Started("other", "1", None, frozenset(), frozenset(), {}, frozenset({"flies"}))
    with pytest.raises(ValueError, match="unknown behaviour 'flies'"):
        choose_profile(odd, None)
