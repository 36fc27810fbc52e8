"""Campaigns: the same findings whoever performs them, going on where they were, and what is kept of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_samples import DIFFERENT, SAME, Deadly, run, without_time

from capsule_model.fuzz.campaign.corpus import Corpus, State
from capsule_model.fuzz.campaign.engine import Compact, Open
from capsule_model.fuzz.campaign.learnt import KEPT, Learnt
from capsule_model.fuzz.campaign.rounds import SHARDS, Budget, Progress, Sizes, campaign, round_steps, so_far
from capsule_model.fuzz.campaign.workers import Inline, Local
from capsule_model.fuzz.programs import KINDS, kinds_by_weight

STEPS = 2_500


@pytest.fixture(scope="module", autouse=True)
def inline() -> Iterator[Inline]:
    """Return what performs shards in this process, and close what it leaves open."""
    workers = Inline()
    yield workers
    workers.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, State]:
    """Return a campaign with findings, performed by this process alone."""
    return run(tmp_path_factory.mktemp("alone"), DIFFERENT, Inline(), STEPS)


def test_what_is_found_is_known_by_its_cause(alone: tuple[Corpus, State]) -> None:
    """A difference that shows in many programs is one finding, with a short vector that shows it."""
    corpus, state = alone
    assert len(state.findings) >= 3
    assert max(found["count"] for found in state.findings.values()) > 1
    for name, found in state.findings.items():
        vector, told = corpus.finding(name)
        assert vector is not None
        assert len(vector["steps"]) <= 6, found
        assert told
        assert vector["steps"][-1]["op"] in told


def test_two_processes_find_the_same(alone: tuple[Corpus, State], tmp_path: Path) -> None:
    """The number of processes changes nothing of what is learnt or found, down to the files."""
    corpus, state = alone
    workers = Local(2)
    try:
        other_corpus, other = run(tmp_path, DIFFERENT, workers, STEPS)
    finally:
        workers.close()
    assert without_time(other) == without_time(state)
    files = sorted(file.name for file in (corpus.folder / "findings").iterdir())
    assert files == sorted(file.name for file in (tmp_path / "findings").iterdir())
    for name in files:
        assert (other_corpus.folder / "findings" / name).read_text() == (corpus.folder / "findings" / name).read_text()


def test_another_seed_is_another_campaign(alone: tuple[Corpus, State], tmp_path: Path) -> None:
    """A seed names the programs: another one reaches other states."""
    _, other = run(tmp_path, DIFFERENT, Inline(), 1_000, seed=6)
    assert other.learnt.states.keys() - alone[1].learnt.states.keys()


def test_an_interrupted_campaign_goes_on(alone: tuple[Corpus, State], tmp_path: Path) -> None:
    """What is interrupted in the middle of a round ends as if it had not been, and no case is performed again."""
    performed: list[int] = []

    def interrupt(progress: Progress) -> None:
        performed.append(progress.steps)
        if len(performed) == SHARDS + 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, DIFFERENT, Inline(), STEPS, told=interrupt)
    corpus = Corpus(tmp_path)
    state = corpus.open(5, DIFFERENT.about())
    assert state.round == 1
    whole, _ = so_far(corpus, state, DIFFERENT)
    assert whole.steps == performed[-1] > state.steps
    before = {file.name: file.read_bytes() for file in (tmp_path / "journal").iterdir()}
    assert len(before) == 5
    _, ended = run(tmp_path, DIFFERENT, Inline(), STEPS)
    assert without_time(ended) == without_time(alone[1])
    assert not list((tmp_path / "journal").iterdir())


def test_time_that_is_up_leaves_the_round_for_later(tmp_path: Path) -> None:
    """At its time a campaign ends between two cases, and what is done of the round is there for the next run."""
    corpus = Corpus(tmp_path)
    state = corpus.open(5, SAME.about())
    ended = campaign(corpus, state, SAME, Inline(), Budget(None, 1.0), Sizes(60, 240))
    assert ended
    assert state.steps == 0


def test_the_steps_of_a_round_are_those_that_are_left() -> None:
    """Rounds double up to the largest, and the last one has exactly what is left to do."""
    sizes = Sizes(10, 70)
    assert [sum(round_steps(sizes, number, None)) // SHARDS for number in range(5)] == [10, 20, 40, 70, 70]
    for left in (1, 15, 16, 17, 159):
        assert sum(round_steps(sizes, 0, left)) == left
        assert len(round_steps(sizes, 0, left)) == SHARDS
    assert sum(round_steps(sizes, 10_000, None)) == 70 * SHARDS


def test_a_process_that_dies_by_chance_loses_nothing(tmp_path: Path) -> None:
    """A worker that is killed is replaced, and its shard goes on with the case that was in hand."""
    workers = Local(2)
    try:
        once = Deadly(SAME.command, None, 10.0, once=str(tmp_path / "died"))
        _, state = run(tmp_path / "a", once, workers, 1_500)
    finally:
        workers.close()
    assert (tmp_path / "died").exists()
    _, whole = run(tmp_path / "b", SAME, Inline(), 1_500)
    assert without_time(state) == without_time(whole)
    assert not state.findings


def test_a_case_that_kills_every_process_is_a_finding(tmp_path: Path) -> None:
    """Where process after process dies of one case, its program is a finding, and the campaign goes on."""
    workers = Local(2)
    try:
        _, state = run(tmp_path, Deadly(SAME.command, None, 10.0, always="5.0.2.0"), workers, 1_500)
    finally:
        workers.close()
    (found,) = state.findings.values()
    assert "SIGKILL" in found["title"]
    assert found["seed"] == "5.0.2.0"
    assert state.steps >= 1_500


@pytest.mark.parametrize(
    ("seed", "implementation", "told"),
    [(6, "cpython", "seed 5, not 6"), (5, "pypy", "implementation capsule-model, not pypy")],
)
def test_a_folder_belongs_to_one_campaign(seed: int, implementation: str, told: str, tmp_path: Path) -> None:
    """Another seed or implementation is refused in one line, and nothing is changed."""
    about = SAME.about()
    Corpus(tmp_path).open(5, about)
    before = (tmp_path / "campaign.json").read_bytes()
    other = about if seed == 6 else about | {"implementation": implementation}
    with pytest.raises(ValueError, match=told):
        Corpus(tmp_path).open(seed, other)
    assert (tmp_path / "campaign.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "seed": "x"}'])
def test_a_damaged_folder_is_refused(text: str, tmp_path: Path) -> None:
    """A file that no campaign wrote is named, in one line."""
    (tmp_path / "campaign.json").write_text(text)
    with pytest.raises(ValueError, match=r"^--corpus .*: campaign\.json is .*; expected") as refused:
        Corpus(tmp_path).open(5, {})
    assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file where the folder should be is bad usage."""
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"--corpus .*expected a folder to write to"):
        Corpus(tmp_path / "file").open(5, {})


def test_kinds_that_still_reach_new_states_are_made_more_often() -> None:
    """The chance of a new state moves the weights; a kind that has shown all it can is still made."""
    learnt = Learnt()
    learnt.kinds = {kind: Counter({f"{kind} state": 1000}) for kind in KINDS}
    learnt.kinds["rename"] = Counter({f"rename {number}": 1 for number in range(50)})
    weights = learnt.weights(KINDS)
    whole, base = sum(weights.values()), sum(KINDS.values())
    assert weights["rename"] / whole > 5 * KINDS["rename"] / base
    assert all(weights[kind] / whole >= 0.4 * KINDS[kind] / base for kind in KINDS)
    picked = Counter(kinds_by_weight(weights))
    assert set(picked) == set(KINDS)
    assert picked["rename"] > picked["new"]


def test_without_knowledge_kinds_are_made_as_they_stand() -> None:
    """At the beginning nothing is steered."""
    weights = Learnt().weights(KINDS)
    assert {kind: round(weight * sum(KINDS.values())) for kind, weight in weights.items()} == dict(KINDS)


def test_what_is_learnt_can_be_written_down() -> None:
    """Counts and beginnings of programs survive a file, and the rarest beginnings are kept."""
    learnt = Learnt()
    for number in range(KEPT + 9):
        kept = {"state": f"s{number:03}", "shared": {}, "steps": [], "writer": {}}
        learnt.add({"steps": 1, "kinds": {"new": {f"s{number:03}": number + 1}}, "rules": {"a/b": 1}, "kept": [kept]})
    learnt.settle()
    assert [prefix["state"] for prefix in learnt.prefixes] == [f"s{number:03}" for number in range(KEPT)]
    written = json.loads(json.dumps(learnt.as_json()))
    assert Learnt.from_json(written) == learnt


def test_compact_programs_are_the_same_in_every_process(tmp_path: Path) -> None:
    """In the process of this interpreter, two workers compare and learn what one does, by both sorts of programs."""
    states = []
    for jobs in (1, 2):
        workers = Local(jobs)
        try:
            opened = Open()
            if opened.about()["programs"] != "compact":
                pytest.skip("no compact programs on this interpreter")
            states.append(run(tmp_path / str(jobs), opened, workers, 60_000, sizes=Sizes(2_000, 4_000))[1])
        finally:
            workers.close()
    one, two = states
    assert without_time(one) == without_time(two)
    assert not one.findings
    assert len(one.learnt.batch) > 1_000
    assert len(one.learnt.rules) > 40


def test_a_compact_case_that_is_lost_is_shown_as_a_vector() -> None:
    """The programs of a case can be had without performing them, for the one that kills a process is among them."""
    engine = Open()()
    try:
        if not isinstance(engine, Compact):
            pytest.skip("no compact programs on this interpreter")
        case = engine.lost(1, "5.0.0.1", 1_200, Learnt(), "died of SIGSEGV")
    finally:
        engine.close()
    assert case["steps"] >= 1_200
    assert "SIGSEGV" in case["finding"]["title"]
    assert case["finding"]["vector"]["steps"]
