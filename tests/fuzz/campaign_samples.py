"""Implementations for campaigns that processes of their own can open."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsule_model.fuzz.campaign.corpus import Corpus, State
from capsule_model.fuzz.campaign.engine import Open, Vectors
from capsule_model.fuzz.campaign.journal import Case
from capsule_model.fuzz.campaign.learnt import Learnt
from capsule_model.fuzz.campaign.rounds import Budget, Sizes, campaign
from capsule_model.fuzz.campaign.workers import Workers

# The model of 3.9 held to what 3.13 does: differences of several causes.
OTHER_VERSION = f"{sys.executable} -m capsule_model.conform.controls model cpython-3.9"
DIFFERENT = Open(OTHER_VERSION, "cpython-3.13")
SAME = Open(f"{sys.executable} -m capsule_model.conform.controls model cpython-3.13")
SIZES = Sizes(60, 240)


def run(
    folder: Path, opened: Open, workers: Workers, steps: int, seed: int = 5, sizes: Sizes = SIZES, **more: Any
) -> tuple[Corpus, State]:
    """Run a campaign of so many steps in a folder, or go on with it."""
    corpus = Corpus(folder)
    state = corpus.open(seed, opened.about())
    campaign(corpus, state, opened, workers, Budget(steps, None), sizes, **more)
    return corpus, state


def without_time(state: State) -> dict[str, Any]:
    """Return a state without what is another in every run."""
    return state.as_json() | {"seconds": 0}


@dataclass(frozen=True)
class Deadly(Open):
    """The model behind the protocol, and cases that kill the process that performs them.

    ``once`` are files: a process dies of such a case where the file is not there yet, and makes it. ``always`` are the
    seeds of cases that kill every process.
    """

    once: str = ""
    always: str = ""

    def __call__(self) -> Any:
        """Open it."""
        return _Deadly(self, self.isolated())


class _Deadly(Vectors):
    def __init__(self, opened: Deadly, implementation: Any) -> None:
        super().__init__(implementation)
        self._opened = opened

    def case(self, number: int, seed: str, steps: int, learnt: Learnt) -> Case:
        mark = Path(self._opened.once or os.devnull)
        if seed == self._opened.always or (not mark.exists() and seed.endswith(".3.0")):
            if not mark.exists():
                mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().case(number, seed, steps, learnt)
