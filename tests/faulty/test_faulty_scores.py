"""Scores of faulty implementations: who is killed and how soon, what is a finding, and the committed results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from capsule_model.cli import run
from capsule_model.locate import specs
from capsule_model.mutants import by_programs, scores
from capsule_model.mutants.by_programs import by_campaign, by_hypothesis, spread
from capsule_model.mutants.by_small_programs import by_small_programs, small_programs
from capsule_model.mutants.by_vectors import FIRST, judged, suite
from capsule_model.mutants.mutant import Mutant
from capsule_model.mutants.registry import MUTANTS
from capsule_model.mutants.scores import Bounds, document, faults, of_other_parties, score, score_all
from capsule_model.mutants.session import MutantSession, loaded, opener
from capsule_model.mutants.show import page
from capsule_model.profiles import profile_named
from capsule_model.trace import execute

PROFILE = profile_named(FIRST)
UNCHANGED = Mutant("test/unchanged", "Nothing is wrong.", (), ())
SAMPLE = [id for id, mutant in MUTANTS.items() if mutant.equivalent is None][::9]
BOUND = 20_000


@cache
def committed() -> dict[str, Any]:
    """Return the committed scores."""
    document: dict[str, Any] = json.loads((specs() / "results" / "mutants.json").read_text("utf-8"))
    return document


def of_capsules() -> dict[str, dict[str, Any]]:
    """Return the committed entries of the mutants that are made here, by id."""
    return {entry["id"]: entry for entry in committed()["mutants"] if entry["party"] == "capsule"}


def entry(id: str = "a/b", **changes: Any) -> dict[str, Any]:
    """Return an entry of a mutant that everything kills, with changes."""
    killed = {"vectors": "capsule.x", "hypothesis": True, "campaign": True}
    steps = {"vectors": 3, "hypothesis": 4, "campaign": {"median": 5, "most": 6, "seeds": [5, 6]}}
    return {"id": id, "title": "T.", "killed_by": killed, "steps": steps, "equivalent": None} | changes


def lasting(found: dict[str, Any]) -> dict[str, Any]:
    """Return an entry without the figure that depends on what Hypothesis finds in the modules that are loaded."""
    return found | {"steps": {key: value for key, value in found["steps"].items() if key != "hypothesis"}}


def test_committed_scores_are_of_these_mutants() -> None:
    """Nobody is missing, titles, rules and reasons are those of today, and nobody survives without a reason."""
    entries = of_capsules()
    assert list(entries) == list(MUTANTS), "make it again with: capsule-model mutants --json … --markdown …"
    for id, mutant in MUTANTS.items():
        assert (entries[id]["title"], tuple(entries[id]["rules"])) == (mutant.title, mutant.rules)
        assert entries[id]["equivalent"] == mutant.equivalent
    assert committed()["format"] == 1
    assert set(committed()["survivors"]) >= {id for id, mutant in MUTANTS.items() if mutant.equivalent is not None}
    assert faults(committed()["mutants"]) == []


def test_committed_scores_are_within_the_bounds() -> None:
    """The campaign kills each within 20,000 steps in the median of five seeds, and 200,000 from any."""
    for id, found in of_capsules().items():
        if found["equivalent"] is None:
            campaign = found["steps"]["campaign"]
            assert len(campaign["seeds"]) >= 5, id
            assert campaign["median"] <= BOUND, id
            assert campaign["most"] <= 10 * BOUND, id


def test_the_page_is_made_of_the_committed_scores() -> None:
    """The page beside them is what the command makes of them."""
    made = page(committed()["mutants"])
    assert (specs() / "results" / "mutants.md").read_text("utf-8") == made
    assert all(f"| `{id}` | " in made for id in MUTANTS)


@pytest.mark.parametrize("id", SAMPLE)
def test_a_sample_is_killed_again(id: str) -> None:
    """The vector that the committed scores name notices the mutant, and a campaign does within 20,000 steps."""
    (vector,) = [one for one in suite() if one["id"] == of_capsules()[id]["killed_by"]["vectors"]]
    session = MutantSession(loaded(MUTANTS[id]), vector, FIRST)
    steps, killed = judged(vector, execute.run(vector, PROFILE), session, PROFILE)
    assert killed
    assert 0 < steps <= len(vector["steps"])
    (found,) = by_campaign(opener(MUTANTS[id], FIRST), PROFILE, BOUND, [1])
    assert found is not None


def test_one_entry_says_how_soon_everything_kills() -> None:
    """The entry of a mutant has what the format says, and is the same a second time."""
    bounds = Bounds(seeds=2, steps=2_000, examples=40)
    found = score(MUTANTS["GetPointer/ignores-name"], bounds)
    assert lasting(found) == lasting(score(MUTANTS["GetPointer/ignores-name"], bounds))
    assert found["killed_by"]["hypothesis"] is found["killed_by"]["campaign"] is True
    assert found["killed_by"]["vectors"] in {vector["id"] for vector in suite()}
    steps = found["steps"]
    assert 0 < steps["hypothesis"] <= 40 * (by_programs.LENGTH + 30)
    assert steps["campaign"]["seeds"] == by_campaign(
        opener(MUTANTS["GetPointer/ignores-name"], FIRST), PROFILE, 2_000, [1, 2]
    )
    assert steps["campaign"]["most"] == max(steps["campaign"]["seeds"])
    assert "small_programs" not in found


def test_another_campaign_can_be_taken() -> None:
    """The campaign is an argument: it gets the steps, each seed, the profile, and what opens a session."""
    asked: list[Any] = []

    def campaign(steps: int, seed: int, profile: Any, open: Callable[[dict[str, Any]], Any]) -> tuple[int, object]:
        asked.append((steps, seed, profile.name, open({}).close()))
        return 10 * seed, "a difference" if seed > 1 else None

    found = by_campaign(opener(UNCHANGED, FIRST), PROFILE, 77, [1, 2, 3], campaign)
    assert found == [None, 20, 30]
    assert asked == [(77, seed, FIRST, []) for seed in (1, 2, 3)]


@pytest.mark.parametrize(
    ("found", "expected"),
    [([3, 1, 2], (2, 3)), ([4, 1], (1, 4)), ([None, 1, 2], (2, None)), ([None, None, 2], (None, None))],
)
def test_a_seed_that_misses_counts_as_more_than_all(
    found: list[int | None], expected: tuple[int | None, int | None]
) -> None:
    """The median and the most steps of seeds, of which some may not have noticed the mutant."""
    assert spread(found) == expected


def test_nothing_kills_what_is_right() -> None:
    """The state machine, and all programs of one call, find no difference in an unchanged copy."""
    open = opener(UNCHANGED, FIRST)
    assert by_hypothesis(open, PROFILE, 3) is None
    count, differs = by_small_programs(open, PROFILE, 1)
    assert not differs
    assert count == len(list(small_programs(1))) > 200


@pytest.mark.parametrize("id", ["names/null-equals-empty", "SetDestructor/null-keeps-old", "IsValid/clears-pending"])
def test_small_programs_see_what_they_can(id: str) -> None:
    """Two calls are enough for many mistakes; one that needs a pending exception is not among them."""
    assert by_small_programs(opener(MUTANTS[id], FIRST), PROFILE, 1)[1] == (id != "IsValid/clears-pending")


def test_findings() -> None:
    """A mutant that vectors or a seed miss is a finding, and so is a reason that is none; Hypothesis may miss one."""
    missed = {"vectors": None, "hypothesis": False, "campaign": False}
    assert faults([entry(), entry(killed_by=entry()["killed_by"] | {"hypothesis": False})]) == []
    assert faults([entry("v", killed_by=entry()["killed_by"] | {"vectors": None})]) == ["v: no vector kills it"]
    assert faults([entry("c", killed_by=entry()["killed_by"] | {"campaign": False})]) == [
        "c: the campaign does not kill it from every seed"
    ]
    assert faults([entry(killed_by=missed, equivalent="Reason.")]) == []
    told = ["e: is declared equivalent, and something tells it from the model"]
    assert faults([entry("e", equivalent="Reason.")]) == told
    differs = {"count": 3, "differs": True}
    assert faults([entry("e", killed_by=missed, equivalent="Reason.", small_programs=differs)]) == told
    assert document([entry("k"), entry("s", killed_by=missed)])["survivors"] == ["s"]


def test_other_parties_are_asked_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutants of another package come from it by name, within the same bounds; one that is not there has none."""
    asked: list[Any] = []
    party = ModuleType("cm_other_party")

    def theirs(progress: Any, only: Any, seeds: int, steps: int) -> list[dict[str, Any]]:
        asked.append((only, seeds, steps))
        return [entry("x/y", party="other")]

    party.scores = theirs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cm_other_party", party)
    monkeypatch.setattr(scores, "OTHER_PARTIES", {"other": "cm_other_party", "absent": "cm_absent.mutants"})
    assert [one["id"] for one in of_other_parties({"x/y"}, Bounds(3, 40))] == ["x/y"]
    assert asked == [({"x/y"}, 3, 40)]


def test_the_number_of_jobs_changes_nothing() -> None:
    """Two at once give the entries of one after the other, in the order of the registry."""
    only = ["IsValid/ignores-name", "GetPointer/ignores-name"]
    bounds = Bounds(seeds=1, steps=400, examples=40)
    alone = list(score_all(only, bounds))
    assert [one["id"] for one in alone] == only[::-1]
    assert [*map(lasting, score_all(only, bounds, 2))] == [*map(lasting, alone)]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It shows a table and totals, writes the scores and the page, and ends with 0 where all are killed."""
    json_file, markdown = tmp_path / "m.json", tmp_path / "m.md"
    words = ["mutants", "--only", "GetPointer/ignores-name", "--seeds", "1", "--steps", "1000"]
    assert run([*words, "--json", str(json_file), "--markdown", str(markdown)]) == 0
    shown = capsys.readouterr().out
    assert "GetPointer/ignores-name" in shown
    assert "vectors: 1 of 1 killed" in shown
    found = json.loads(json_file.read_text("utf-8"))
    assert (found["format"], found["survivors"]) == (1, [])
    assert markdown.read_text("utf-8") == page(found["mutants"])
    assert run(["mutants", "--only", "types/no-CapsuleType", "--seeds", "1", "--steps", "1"]) == 1
    assert "finding: types/no-CapsuleType: the campaign does not kill it from every seed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "no/such"], "no/such"),
        (["--json", "no-such-folder/x.json"], "--json no-such-folder/x.json: no such folder"),
        (["--seeds", "0"], "Invalid value for '--seeds'"),
        (["--jobs", "none"], "Invalid value for '--jobs'"),
    ],
)
def test_bad_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what was wrong and what would be right, before anything is run."""
    assert run(["mutants", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
