"""Renamed copies: what the runner does with them, and which adapters they catch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rename_samples import Step, get, new, vector

from capsule_model.cli import run as command
from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started, Unsupported
from capsule_model.conform.rename import renamed
from capsule_model.conform.runner import Result, run_vectors
from capsule_model.conform.session import Session
from capsule_model.profiles import PROFILES
from capsule_model.trace.contract import operations
from capsule_model.trace.execute import run
from capsule_model.trace.needs import FEATURES

ROOT = Path(__file__).resolve().parents[2]
PROFILE = PROFILES["cpython-3.13"]


class Fake:
    """An adapter that answers as the model does, but for what `wrong` makes of a vector."""

    def __init__(self, wrong: Any = lambda vector, ran: ran, **changes: Any) -> None:
        self.wrong = wrong
        self.sent: list[Mapping[str, Any]] = []
        about = {"ops": frozenset(operations()), "features": frozenset(FEATURES), **changes}
        self.about = Started("fake", "1", PROFILE.name, **about)

    def start(self) -> Started:
        """Begin."""
        return self.about

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Answer."""
        self.sent.append(vector)
        seen = run(vector, PROFILE)
        answer: Ran | Unsupported | Refused | Misbehaviour = self.wrong(vector, Ran(seen.steps, seen.leaks))
        if isinstance(answer, Misbehaviour):
            raise answer
        return answer

    def stop(self) -> None:
        """End."""


def results(fake: Fake, *vectors: Any, copies: bool = True) -> list[Result]:
    """Return the results of `vectors` with the adapter `fake`."""
    found, bad = run_vectors(vectors, Session(fake), fake.about, PROFILE, copies=copies)
    assert bad == []
    return found


SOUND = vector(new("mod.attr"), {**get("mod.attr"), "expect": {"return": {"ptr": "p1"}}}, leaks=["c"])


def knows_the_name(vector: Mapping[str, Any], answer: Ran) -> Ran:
    """Return the pointer only to whoever asks for `mod.attr`."""
    if vector["steps"][-1]["args"]["name"] != {"cstr": "mod.attr"}:
        answer.steps[-1] = {**answer.steps[-1], "return": None}
    return answer


def test_an_adapter_that_knows_the_names_fails() -> None:
    """The copy tells it, and the report says which step of the copy went wrong; without copies it gets through."""
    (found,) = results(Fake(knows_the_name), SOUND)
    assert found.outcome == "failed"
    (difference,) = found.divergences
    assert (difference.path, difference.key) == ("end", "renamed")
    assert (difference.expected, difference.seen) == ("passed", "failed")
    token = renamed(SOUND)["steps"][1]["expect"]["return"]["ptr"]
    sides = f'expected {{"ptr": "{token}"}}, model {{"ref": "{token}"}}, seen null'
    assert found.detail == f"its renamed copy: failed: step 1, return: {sides}"
    (found,) = results(Fake(knows_the_name), SOUND, copies=False)
    assert found.outcome == "passed"


def test_each_vector_that_is_sent_is_followed_by_its_copy() -> None:
    """The copy comes right after the original under the same id; what is not sent has none, nor what has no names."""
    nothing = vector({"op": "settle"}, id="test.rename.nothing")
    elsewhere = {**SOUND, "id": "test.rename.elsewhere", "requires": ["!gc-capsule"]}
    fake = Fake()
    found = results(fake, SOUND, nothing, elsewhere)
    assert [result.outcome for result in found] == ["passed", "passed", "not-applicable"]
    assert [one["id"] for one in fake.sent] == [SOUND["id"], SOUND["id"], "test.rename.nothing"]
    assert fake.sent[1]["steps"] == [
        {k: v for k, v in step.items() if k != "expect"} for step in renamed(SOUND)["steps"]
    ]


def test_undefined_behaviour_is_not_sent_as_a_copy_either() -> None:
    """A vector that ends in undefined behaviour stays with the model, and so does its copy."""
    fake = Fake()
    free: Step = {"op": "free", "args": {"ptr": {"ref": "c"}}, "expect": {"undefined": "invalid-free", "of": "c"}}
    (found,) = results(fake, vector(new("a"), free))
    assert found.outcome == "undefined"
    assert fake.sent == []


def test_the_same_misfortune_twice_is_the_same_outcome() -> None:
    """A copy that fails, crashes or is not supported as its original is, adds nothing."""
    answers: dict[str, Any] = {
        "failed": lambda ran: Ran(ran.steps, []),
        "crashed": lambda ran: Misbehaviour("crashed", "died"),
        "unsupported": lambda ran: Unsupported("a full moon"),
        "errored": lambda ran: Refused("no", None),
        "timed-out": lambda ran: Misbehaviour("timed-out", "gave no answer"),
    }
    fake = Fake(lambda vector, ran: answers[vector["id"].rpartition(".")[2]](ran))
    found = results(fake, *({**SOUND, "id": f"test.rename.{name}"} for name in answers))
    assert [result.outcome for result in found] == list(answers)
    assert "renamed" not in {difference.key for result in found for difference in result.divergences}


def test_a_copy_that_fares_otherwise_is_a_failure() -> None:
    """Whichever of the two crashed, the vector failed, and both reasons are told."""

    def dies_of(names: set[str]) -> Any:
        def answer(vector: Mapping[str, Any], ran: Ran) -> Any:
            return Misbehaviour("crashed", "died") if vector["steps"][0]["bind"] in names else ran

        return answer

    copy = renamed(SOUND)["steps"][0]["bind"]
    (found,) = results(Fake(dies_of({copy})), SOUND)
    # The copy was tried again in a fresh process, so that its death is not its predecessor's.
    assert (found.outcome, found.detail) == ("failed", "its renamed copy: crashed: died")
    (found,) = results(Fake(dies_of({"c"})), SOUND)
    assert (found.outcome, found.detail) == ("failed", "died; its renamed copy: passed")
    (difference,) = found.divergences
    assert (difference.expected, difference.seen) == ("crashed", "passed")


def test_a_process_that_dies_late_is_blamed_on_the_original() -> None:
    """A death while the copy runs, which does not come again in a fresh process, is that of the vector before it."""
    deaths = iter([None, Misbehaviour("crashed", "died late")])
    fake = Fake(lambda vector, ran: next(deaths, None) or ran)
    (found,) = results(fake, SOUND)
    assert found.outcome == "crashed"
    assert found.detail == "after its answer, before that of its renamed copy: died late"


def test_a_model_that_cannot_run_the_copy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that makes no sense to the model is another outcome, not a bad vector."""
    bad = {**SOUND, "steps": [{"op": "settle"}, get("x", "nobody")]}
    monkeypatch.setattr("capsule_model.conform.runner.renamed", lambda vector: bad)
    (found,) = results(Fake(), SOUND)
    assert (found.outcome, found.divergences[0].seen) == ("failed", "errored")
    assert "its renamed copy: errored: the model refuses it: step 1: nothing is bound as 'nobody'" in str(found.detail)


def test_the_command_runs_copies_unless_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`conform` says what the copy showed; `--no-copies` leaves it at the vectors themselves."""
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps({"format": 1, "vectors": [{**SOUND, "rules": ["PyCapsule_New/returns-capsule"]}]}))
    monkeypatch.setattr("capsule_model.conform.commands._adapter", lambda *options: Fake(knows_the_name))
    assert command(["conform", "--vectors", str(file), "--no-copies"]) == 0
    capsys.readouterr()
    assert command(["conform", "--vectors", str(file)]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    begin = lines.index("at the end: renamed")
    assert lines[begin + 1 : begin + 3] == ["expected passed", "seen     failed"]
    assert lines[begin - 1].startswith("its renamed copy: failed: step 1, return: expected")
