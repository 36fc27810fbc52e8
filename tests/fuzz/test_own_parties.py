"""Producers and consumers of one's own: what they must keep to, and that each fault is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from capsule_model.fuzz import consumer_machine, producer_machine
from capsule_model.fuzz.broken import RuleBroken
from capsule_model.fuzz.own_parties import SETTINGS
from capsule_model.fuzz.real import DESTRUCTOR, Keep, address_of, api, is_supported, object_at
from capsule_model.trace.execute import run

pytestmark = pytest.mark.skipif(is_supported() is not None, reason=str(is_supported()))
QUICK = settings(SETTINGS, max_examples=25, stateful_step_count=10, derandomize=True, database=None)
NAMES = Keep()
NAME = NAMES.string(b"mine")
OTHER = NAMES.string(b"other")
LIVE: list[int] = []
GIVES_BACK = DESTRUCTOR(lambda capsule: LIVE.pop() if LIVE else None)
FORGETS = DESTRUCTOR(lambda capsule: None)
KEPT: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Let what faulty parties keep die while its destructor is still there."""
    yield
    KEPT.clear()
    LIVE.clear()


def capsule(name: int = NAME, destructor: Any = GIVES_BACK) -> Any:
    """Make a capsule that owns a thing."""
    LIVE.append(1)
    address = api("PyCapsule_New")(0x1000, name, address_of(destructor))
    made = object_at(address)
    api("Py_DecRef")(address)
    return made


def as_address() -> int:
    """Return a new reference as its address."""
    made = capsule()
    api("Py_IncRef")(id(made))
    return id(made)


def keeps_it() -> Any:
    """Keep a reference to what is given away."""
    KEPT.append(capsule())
    return KEPT[-1]


def broken(made: Any) -> RuleBroken:
    """Run a machine that must fail and return how; the vector of it is one that the model runs."""
    with pytest.raises(RuleBroken) as failure:
        run_state_machine_as_test(made, settings=QUICK)
    text = str(failure.value)
    (vector,) = json.loads(text[text.index('{"format"') :])["vectors"]
    assert run(vector, failure.value.profile).diagnosis is None
    assert len(failure.value.lines()) <= 12
    return failure.value


@pytest.mark.parametrize("producer", [capsule, as_address])
def test_a_producer_that_keeps_the_rules_passes(producer: Callable[[], Any]) -> None:
    """Objects and addresses of capsules are taken."""
    run_state_machine_as_test(producer_machine(producer, b"mine", lambda: len(LIVE)), settings=QUICK)


@pytest.mark.parametrize(
    ("producer", "told"),
    [
        (lambda: capsule(OTHER), "have the name b'mine'"),
        (lambda: capsule(0), "have the name b'mine'"),
        (lambda: object(), "returns a capsule or raises"),
        (lambda: 0, "sets an exception when it fails"),
        (keeps_it, "gives away the only reference"),
        (lambda: capsule(destructor=FORGETS), "goes with it"),
    ],
    ids=["another name", "no name", "no capsule", "NULL", "keeps it", "leaks"],
)
def test_a_faulty_producer_is_found(producer: Callable[[], Any], told: str) -> None:
    """Name, type, failure, ownership and what is owned are each looked at."""
    assert told in broken(producer_machine(producer, b"mine", lambda: len(LIVE))).rule


def pointer(taken: Any) -> int:
    """Take a pointer by the rules."""
    return int(api("PyCapsule_GetPointer")(id(taken), NAME))


def takes_any_name(taken: Any) -> int:
    """Take a pointer whatever the name."""
    if type(taken).__name__ != "PyCapsule":
        raise TypeError("no capsule")
    return int(api("PyCapsule_GetPointer")(id(taken), api("PyCapsule_GetName")(id(taken))))


def takes_anything(taken: Any) -> int:
    """Never refuse."""
    return 0


def keeps(taken: Any) -> int:
    """Keep a reference for good."""
    found = pointer(taken)
    KEPT.append(taken)
    return found


def keeps_refused(taken: Any) -> int:
    """Keep a reference when it fails."""
    try:
        return pointer(taken)
    except ValueError:
        api("Py_IncRef")(id(taken))
        raise


def refuses(taken: Any) -> int:
    """Refuse everything."""
    raise ValueError("no")


def spoils(taken: Any) -> int:
    """Write the context before the name was looked at."""
    if type(taken).__name__ == "PyCapsule":
        api("PyCapsule_SetContext")(id(taken), 0x5000)
    return pointer(taken)


def compares_beginnings(taken: Any) -> int:
    """Take names that only begin alike."""
    return pointer(taken) if type(taken).__name__ != "PyCapsule" or not _longer(taken) else 0


def _longer(taken: Any) -> bool:
    return 'object "minex"' in repr(taken)


def test_a_consumer_that_keeps_the_rules_passes() -> None:
    """A consumer that asks for its name passes, and so does one that keeps what it says."""
    run_state_machine_as_test(consumer_machine(pointer, b"mine"), settings=QUICK)
    run_state_machine_as_test(consumer_machine(keeps, b"mine", capsule, keeps=1), settings=QUICK)


@pytest.mark.parametrize(
    ("consumer", "told"),
    [
        (takes_any_name, "checks that it has a capsule of its name"),
        (takes_anything, "checks that it has a capsule of its name"),
        (compares_beginnings, "checks that it has a capsule of its name"),
        (keeps, "keeps no reference"),
        (keeps_refused, "keeps no reference"),
        (refuses, "takes a capsule that fits"),
        (spoils, "leaves alone what it refuses"),
    ],
)
def test_a_faulty_consumer_is_found(consumer: Callable[[Any], Any], told: str) -> None:
    """Names, references on both ways out, fields and refusals are each looked at."""
    assert told in broken(consumer_machine(consumer, b"mine")).rule


def test_the_program_of_a_failure_is_the_shortest() -> None:
    """Hypothesis leaves out what the broken rule does not need: one capsule, of another name, handed over once."""
    found = broken(consumer_machine(takes_any_name, b"mine"))
    (vector,) = json.loads(str(found)[str(found).index('{"format"') :])["vectors"]
    assert [step["op"] for step in vector["steps"]].count("PyCapsule_New") == 1
    assert len(vector["steps"]) <= 3
