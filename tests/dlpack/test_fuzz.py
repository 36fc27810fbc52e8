"""The state machine of the exchange: quiet where the rules are kept, and not where they are broken."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import Any

import pytest

from capsule_model import Kind, UndefinedBehavior
from dlpack_model.__main__ import main as start
from dlpack_model.arrays import new_array
from dlpack_model.behaved import PLAIN_CONSUMER, PLAIN_PRODUCER
from dlpack_model.bugs import BUGS
from dlpack_model.exchange import EVERYTHING, Exchange
from dlpack_model.fuzz.command import campaign, exchange_machine, find, main
from dlpack_model.machine import ExchangeMachine
from dlpack_model.violations import Broken, Violation


def _found(made: type[ExchangeMachine], steps: int = 1_500) -> BaseException:
    campaign(made, steps, length=20, shrink=False)
    assert made.found is not None
    return made.found[1]


def test_who_keeps_the_rules_breaks_none() -> None:
    """Over 3,000 steps nothing is broken, and every way in is gone both with and without success."""
    made = exchange_machine()
    assert campaign(made, 3_000, shrink=False) is None
    assert made.steps >= 3_000
    ways = {f"{way}, {end}" for way in ("import", "export", "capsule") for end in ("done", "refused")}
    assert made.told.keys() == ways | {"consumed capsule, refused"}
    assert made.told["import, done"] >= 100


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found_within_a_thousand_steps(name: str) -> None:
    """Each of the ten is found, by a diagnosis that is declared for it."""
    found = find(BUGS[name], 1_000, start=2)
    assert found is not None
    assert found[0] <= 1_000
    assert BUGS[name].explains(found[1]), str(found[1])


def test_the_same_start_makes_the_same_programs() -> None:
    """A bug is found again at the same step."""
    first, second = (find(BUGS["flag-lost"], 1_000, start=3) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first[0], str(first[1])) == (second[0], str(second[1]))


def test_a_bug_that_comes_too_late_is_not_found() -> None:
    """What is found behind the last step asked for does not count."""
    found = find(BUGS["late-rename"], 1_000)
    assert found is not None
    assert find(BUGS["late-rename"], found[0] - 1) is None


def test_there_are_ten_bugs_with_their_issues() -> None:
    """Each bug is told in a sentence, names whom it is about, and real issues by repository and number."""
    assert len(BUGS) == 10
    for bug in BUGS.values():
        assert bug.about.endswith(".")
        assert bug.producers or bug.consumers
        assert bug.found_by
        assert all(re.fullmatch(r"[a-z]+#\d+", issue) for issue in bug.issues)


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({"deleter": "careless-late"}, {Broken.AFTER_FINALISATION}),
        ({"deleter": "raises"}, {Broken.ERROR_LEFT, Broken.ERROR_LOST}),
        ({"deleter": "keeps-self"}, {Broken.NO_OWNER}),
        ({"copies": False}, {Broken.CONTRACT}),
        ({"deleter": "normal", "shares": True}, {Kind.USE_AFTER_FREE}),
    ],
)
def test_a_producer_of_ones_own_is_held_to_the_rules(changed: dict[str, Any], kinds: set[Broken | Kind]) -> None:
    """What a producer does wrong shows in the machine made of it."""
    found = _found(exchange_machine(producers=[replace(PLAIN_PRODUCER, **changed)]))
    assert isinstance(found, UndefinedBehavior)
    assert found.kind in kinds


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({"ignores_strides": True}, {Broken.WRONG_VALUES, Kind.OUT_OF_BOUNDS}),
        ({"swallows_errors": True}, {Broken.CONTRACT}),
        ({"leaves_error": True}, {Broken.ERROR_LEFT}),
        ({"sends_stream": False, "stream": 7}, {Broken.CONTRACT}),
    ],
)
def test_a_consumer_of_ones_own_is_held_to_the_rules(changed: dict[str, Any], kinds: set[Broken | Kind]) -> None:
    """What a consumer does wrong shows in the machine made of it."""
    found = _found(exchange_machine(consumers=[replace(PLAIN_CONSUMER, **changed)]), 3_000)
    assert isinstance(found, UndefinedBehavior)
    assert found.kind in kinds


def test_things_die_without_the_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleter that takes the GIL for granted is found, also where the end of the interpreter is not looked at."""
    watch = EVERYTHING - {Broken.AFTER_FINALISATION}
    monkeypatch.setattr("dlpack_model.machine.Exchange", lambda py, **named: Exchange(py, watch=watch, **named))
    found = _found(exchange_machine(producers=[replace(PLAIN_PRODUCER, deleter="without-gil")]), 3_000)
    assert isinstance(found, Violation)
    assert found.kind == Broken.GIL_NOT_HELD


def test_a_machine_needs_both_sides() -> None:
    """Without producers or without consumers there is nothing to try."""
    for producers, consumers in (([], None), (None, [])):
        with pytest.raises(ValueError, match="at least one producer and one consumer"):
            exchange_machine(producers, consumers)


def test_what_is_left_at_the_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that nobody frees fails the program that made it."""

    def leaking(ex: Any, *given: Any, **named: Any) -> int:
        ex.py.malloc(8)
        return new_array(ex, *given, **named)

    monkeypatch.setattr("dlpack_model.machine.new_array", leaking)
    assert "is never freed" in str(_found(exchange_machine()))


def test_a_write_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are compared with a list that the model knows nothing of."""
    monkeypatch.setattr("dlpack_model.machine.set_value", lambda *given: None)
    assert re.search(r" reads .*, expected ", str(_found(exchange_machine())))


def test_a_consumed_capsule_must_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine sees it by itself where a consumed capsule is taken, also where no rule is watched."""
    made = exchange_machine(consumers=[replace(PLAIN_CONSUMER, ignores_names=True)])
    silent = frozenset[Broken]()
    monkeypatch.setattr("dlpack_model.machine.Exchange", lambda py, **named: Exchange(py, watch=silent, **named))
    assert "takes a capsule that was consumed" in str(_found(made))


def test_the_command_counts_and_judges(capsys: pytest.CaptureFixture[str]) -> None:
    """A quiet run returns 0 with its figures, a bug that is not found 1, bad usage 2."""
    assert main(["--steps", "200", "--seed", "4"]) == 0
    assert re.search(r"seed 4: \d+ steps in .* s, no violation", capsys.readouterr().out)
    assert main(["--steps", "1", "--bugs"]) == 1
    assert "0 of 10 bugs found within 1 steps" in capsys.readouterr().out
    with pytest.raises(SystemExit) as wrong:
        main(["--steps", "0"])
    assert wrong.value.code == 2


def test_the_command_shows_the_program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A violation is told with its diagnosis and the shortest program that shows it."""
    faulty = exchange_machine(consumers=[replace(PLAIN_CONSUMER, forgets_deleter=True)])
    monkeypatch.setattr("dlpack_model.fuzz.command.exchange_machine", lambda: faulty)
    assert main(["--steps", "1000"]) == 1
    told = capsys.readouterr().out
    assert "no-owner: " in told
    assert "state.new(" in told


def test_without_hypothesis_one_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the extra is not installed, the command names it; there is no traceback."""
    monkeypatch.delitem(sys.modules, "dlpack_model.fuzz.command")
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.setattr(sys, "argv", ["dlpack-model", "fuzz"])
    assert start() == 2
    assert capsys.readouterr().err == "dlpack-model: hypothesis is missing; pip install 'capsule-model[fuzz]'\n"
