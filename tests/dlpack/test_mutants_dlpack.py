"""Faulty parties of the exchange: the registry makes sense, and a sample of them is noticed as it should be."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from capsule_model.conform.specification import read_rules
from capsule_model.suites import chapters_of
from dlpack_model.bugs import BUGS
from dlpack_model.exchange import EVERYTHING
from dlpack_model.mutants import scores
from dlpack_model.mutants.by_programs import by_campaign, by_hypothesis, spread
from dlpack_model.mutants.by_vectors import first_killer
from dlpack_model.mutants.mutant import Mutant, having_bug
from dlpack_model.mutants.registry import MUTANTS
from dlpack_model.mutants.scoring import chosen, main, score, survives, unharmed
from dlpack_model.parties import NOBODY, Parties

BY_ID = {mutant.id: mutant for mutant in MUTANTS}
# One of each way to be made: a field, a destructor, a deleter, a struct, keywords, code around an export, a reading.
SAMPLE = (
    "destructor.clears-error",
    "deleter.reads-after-free",
    "producer.strides-in-bytes",
    "producer.whole-version",
    "producer.fails-silently",
    "consumer.legacy-used-name",
    "consumer.one-lane",
)


def test_there_are_enough_and_each_is_told() -> None:
    """Ids are words, told apart by what is faulty; titles are sentences; no two are told alike."""
    assert len(MUTANTS) >= 50
    assert len(BY_ID) == len(MUTANTS) == len({mutant.title for mutant in MUTANTS})
    assert {mutant.id.partition(".")[0] for mutant in MUTANTS} == {"producer", "destructor", "deleter", "consumer"}
    for mutant in MUTANTS:
        assert re.fullmatch(r"[a-z]+\.[a-z]+(-[a-z]+)*", mutant.id)
        assert mutant.title.endswith(".")
        assert mutant.equivalent is None or mutant.equivalent.endswith(".")


def test_each_breaks_rules_that_there_are() -> None:
    """What a mutant is said to break stands in a chapter of the suite."""
    known = {rule.id for rule in read_rules(chapters_of("dlpack"))}
    assert {mutant.id: set(mutant.rules) - known for mutant in MUTANTS if not set(mutant.rules) <= known} == {}
    assert all(mutant.rules for mutant in MUTANTS)


def test_the_known_bugs_are_among_them() -> None:
    """Each of the ten bugs makes parties that a campaign notices soon."""
    for name in BUGS:
        assert by_campaign(having_bug(name), 5_000, [1]) != [None], name


def test_the_model_itself_is_not_noticed() -> None:
    """Neither vectors nor programs have anything to say of parties that keep the rules."""
    unharmed(500)
    assert by_hypothesis(NOBODY, 100) is None


def test_a_model_that_is_noticed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are worth nothing where the model itself fails, and then there are none."""
    monkeypatch.setattr("dlpack_model.mutants.scoring.NOBODY", BY_ID["consumer.never-renames"].parties)
    with pytest.raises(AssertionError, match="the model itself is noticed"):
        unharmed(100)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_mutant_is_noticed_by_all_three(name: str) -> None:
    """A vector, Hypothesis and the campaign notice a mutant, the campaign long before it has to."""
    entry = score(BY_ID[name], seeds=2, steps=20_000)
    assert entry["killed_by"]["vectors"] is not None
    assert not entry["watched"]
    assert entry["killed_by"]["campaign"]
    assert entry["steps"]["campaign"]["most"] <= 20_000
    assert entry["killed_by"]["hypothesis"]
    assert not survives(entry)


def test_what_only_the_model_can_see_is_marked() -> None:
    """A NULL that is called shows in no observation of the model: the broken rule alone is noticed."""
    parties = BY_ID["consumer.calls-null"].parties
    assert first_killer(parties) is None
    watched = first_killer(parties, watch=EVERYTHING)
    assert watched is not None
    assert watched.vector.startswith("dlpack.deleter.null")


def test_most_that_no_vector_shows_are_locks_and_leaks() -> None:
    """Some mistakes change no observation that a program can make; whoever is among them really is not seen."""
    for name in ("deleter.keeps-self", "deleter.without-gil", "consumer.reads-past-flags"):
        assert first_killer(BY_ID[name].parties) is None, name


def test_an_equivalent_one_is_not_noticed() -> None:
    """What is declared equivalent has a reason, and no program of a few thousand steps says otherwise."""
    for mutant in MUTANTS:
        if mutant.equivalent is not None:
            assert by_campaign(mutant.parties, 2_000, [1]) == [None]
            assert first_killer(mutant.parties, watch=EVERYTHING) is None


def test_scores_are_the_same_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs write the same file, in the form that the page tells, and the command succeeds."""
    monkeypatch.setattr("dlpack_model.mutants.scoring.unharmed", lambda: None)
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        assert main(["consumer.never-renames", "--seeds", "2", "--steps", "500", "--json", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    told = json.loads(files[0].read_text("utf-8"))
    assert (told["format"], told["survivors"]) == (1, [])
    (entry,) = told["mutants"]
    keys = {"id", "title", "party", "rules", "killed_by", "steps", "watched", "equivalent"}
    assert entry.keys() == keys
    assert entry["party"] == "dlpack"
    assert entry["steps"]["campaign"].keys() == {"median", "most", "seeds"}
    assert "1 faulty parties, 0 equivalent, 0 not noticed by all" in capsys.readouterr().out


def test_progress_is_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits gets a line for each mutant, in their order."""
    monkeypatch.setattr("dlpack_model.mutants.scoring.unharmed", lambda: None)
    lines: list[str] = []
    entries = scores(lines.append, {"destructor.none", "consumer.keeps-capsule"}, 1, 500)
    assert [line.partition(":")[0] for line in lines] == [entry["id"] for entry in entries]
    assert [entry["id"] for entry in entries] == ["destructor.none", "consumer.keeps-capsule"]


def test_a_survivor_fails_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A mutant that nobody notices, and that is not said to be equivalent, is named, and the exit code is 1."""
    quiet = Mutant("producer.quiet", "Nothing is wrong.", ("__dlpack__/capsule-name",), Parties("quiet"))
    monkeypatch.setattr("dlpack_model.mutants.scoring.MUTANTS", (quiet,))
    monkeypatch.setattr("dlpack_model.mutants.scoring.unharmed", lambda: None)
    monkeypatch.setattr("dlpack_model.mutants.scoring.by_hypothesis", lambda parties: None)
    assert main(["--seeds", "1", "--steps", "100"]) == 1
    assert "1 not noticed by all: producer.quiet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["consumer.nobody"], "no mutant 'consumer.nobody'"),
        (["--seeds", "0"], "argument --seeds: 0 is not a number from 1 on"),
        (["--json", "/nowhere/at/all.json"], "no such folder"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong with the arguments is said, with exit code 2."""
    with pytest.raises(SystemExit) as wrong:
        main(arguments)
    assert wrong.value.code == 2
    assert told in capsys.readouterr().err


def test_ids_choose() -> None:
    """Chosen mutants keep the order of the registry; no ids mean all."""
    assert chosen(None) == list(MUTANTS)
    assert [mutant.id for mutant in chosen({"deleter.null", "destructor.none"})] == ["destructor.none", "deleter.null"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([5, 1, 9], (5, 9)),
        ([4, 2], (3, 4)),
        ([1, None, 3], (3, None)),
        ([None, 2, None], (None, None)),
        ([], (None, None)),
    ],
)
def test_spread_counts_never_as_the_most(found: list[int | None], expected: tuple[int | None, int | None]) -> None:
    """A seed that never notices is more than any number of steps."""
    assert spread(found) == expected
