"""Killing any process of a campaign at a random moment loses at most the case that it had in hand."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from campaign_samples import without_time

from capsule_model.fuzz.campaign.corpus import Corpus, State
from capsule_model.fuzz.campaign.engine import Open
from capsule_model.fuzz.campaign.rounds import Budget, campaign, so_far
from capsule_model.fuzz.campaign.workers import Inline
from capsule_model.fuzz.command import SIZES

COUNTING = Path(__file__).with_name("counting_adapter.py")
STEPS = 24_000
JOBS = 2
KILLS = 10

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc tells who is whose child")


class Killed:
    """A campaign in a folder, and how often it was killed."""

    def __init__(self, folder: Path) -> None:
        self.marks = folder / "marks"
        self.marks.touch()
        self.corpus = folder / "corpus"
        self.adapter = f"{sys.executable} {COUNTING} {self.marks}"
        self.opened = Open(self.adapter)
        self.random = random.Random(20_261_127)

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the command."""
        arguments = ["fuzz", "--adapter", self.adapter, "--steps", str(STEPS), "--seed", "8", "--jobs", str(JOBS)]
        command = [sys.executable, "-m", "capsule_model", *arguments, "--corpus", str(self.corpus)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def moments(self, cases: int) -> list[int]:
        """Return ten random numbers of cases in their order, all of them well before the end."""
        return sorted(self.random.choices(range(cases * 3 // 4), k=KILLS))

    def reach(self, process: subprocess.Popen[bytes], cases: int) -> bool:
        """Let a random moment pass until so many vectors were performed; return whether the process is still there."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.random.uniform(0, 0.1))
                return False
            if self.cases() >= cases:
                return True

    def cases(self) -> int:
        """Return how many vectors were performed, by whomever."""
        return len(self.marks.read_bytes())

    def state(self) -> tuple[State, State]:
        """Return where the campaign stands, without and with the round in progress."""
        corpus = Corpus(self.corpus)
        state = corpus.open(8, self.opened.about())
        return state, so_far(corpus, state, self.opened)[0]

    def end(self) -> State:
        """Go on to the end in this process."""
        corpus, workers = Corpus(self.corpus), Inline()
        state = corpus.open(8, self.opened.about())
        try:
            campaign(corpus, state, self.opened, workers, Budget(STEPS, None), SIZES["vectors"])
        finally:
            workers.close()
        return state


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], int]:
    """Return the state of a campaign that nobody killed, and how many vectors it performed."""
    calm = Killed(tmp_path_factory.mktemp("calm"))
    state = calm.end()
    return without_time(state), calm.cases()


def _children(process: int) -> Iterator[int]:
    """Return the processes that a process has started, without those that are gone."""
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                yield int(child)


def test_kill_9_of_the_command_at_ten_random_moments(whole: tuple[dict[str, object], int], tmp_path: Path) -> None:
    """After each kill the folder is whole and nothing that was done is gone; in the end all is as if undisturbed."""
    killed = Killed(tmp_path)
    before = 0
    for cases in killed.moments(whole[1]):
        process = killed.begin()
        assert killed.reach(process, cases), "the campaign was at its end too early to be killed ten times"
        process.kill()
        process.wait()
        if (killed.corpus / "campaign.json").exists():
            _, now = killed.state()
            assert now.steps >= before
            before = now.steps
    assert without_time(killed.end()) == whole[0]
    assert killed.cases() - whole[1] <= KILLS * JOBS


def test_kill_9_of_its_processes_at_ten_random_moments(whole: tuple[dict[str, object], int], tmp_path: Path) -> None:
    """A process that is killed is replaced, and the campaign ends as if undisturbed."""
    killed = Killed(tmp_path)
    process = killed.begin()
    for cases in killed.moments(whole[1]):
        children: list[int] = []
        while not children:
            assert killed.reach(process, cases), "the campaign was at its end too early to be killed ten times"
            children = sorted(_children(process.pid))
        os.kill(killed.random.choice(children), signal.SIGKILL)
    assert process.wait() == 0
    state, now = killed.state()
    assert without_time(state) == without_time(now) == whole[0]
    assert killed.cases() - whole[1] <= KILLS
