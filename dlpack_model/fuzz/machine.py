"""Programs that Hypothesis makes, for whoever is held to the model, and makes small again where they differ.

This module alone needs Hypothesis, the extra ``fuzz``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from capsule_model.fuzz.machine import Drawn
from capsule_model.fuzz.programs import Seeded
from capsule_model.profiles import Profile
from dlpack_model.fuzz.behaved import CONSUMERS_IN_WORDS, PRODUCERS_IN_WORDS
from dlpack_model.fuzz.campaign import STEPS_A_PROGRAM, program
from dlpack_model.fuzz.findings import Finding, finding
from dlpack_model.fuzz.play import DEFAULT, Implementation, Play, playing
from dlpack_model.fuzz.programs import Programs, Step, giving_back
from dlpack_model.fuzz.shrink import shrunk
from dlpack_model.parties import Parties

__all__ = ["Found", "ProgramMachine", "consumers", "machine", "producers", "programs", "run_machine"]

T = TypeVar("T")
PROGRAMS = 25


class Found(AssertionError):
    """Report a program in which somebody does other things than the model.

    Its text is the shortest program of the same cause: in words, and as the file of a vector.
    """

    def __init__(self, found: Finding, implementation: Implementation) -> None:
        super().__init__(found.cause)
        self.found = found
        self.implementation = implementation
        self.small: Finding | None = None

    @property
    def finding(self) -> Finding:
        """Return the finding, made small when it is first asked for."""
        if self.small is None:
            self.small = shrunk(self.found, self.implementation)
        return self.small

    def __str__(self) -> str:
        """Return the finding in words, and as a vector."""
        return str(self.finding)


def producers() -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of producers that keep the rules: arguments of the operation ``dlpack.array``."""
    return st.sampled_from(PRODUCERS_IN_WORDS).map(dict)


def consumers() -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of consumers that keep the rules: arguments of the operation ``from_dlpack``."""
    return st.sampled_from(CONSUMERS_IN_WORDS).map(dict)


@st.composite
def programs(
    draw: st.DrawFn, length: int = 20, profile: Profile = DEFAULT, ops: Collection[str] | None = None
) -> list[Step]:
    """Return a strategy of whole programs that keep the rules: steps of vectors, which give back all that they own."""
    return program(Drawn(draw), length, profile, ops)[0]


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    """Draw a step that keeps the rules where the machine that asks for it stands."""
    running: ProgramMachine = draw(st.runner())
    running.programs.choices = Drawn(draw)
    return running.programs.next_step(running.play.machine)


class ProgramMachine(RuleBasedStateMachine):
    """One program, played in the model step by step and then by an implementation; a difference raises ``Found``.

    ``steps`` counts the steps of all programs up to the first that differs, of which ``found`` is the number.
    """

    implementation: ClassVar[Callable[[Sequence[Step]], Any]]
    profile: ClassVar[Profile]
    ops: ClassVar[Collection[str] | None]
    steps: ClassVar[int]
    found: ClassVar[tuple[int, Finding] | None]

    def __init__(self) -> None:
        super().__init__()
        self.play = Play(profile=self.profile)
        self.programs = Programs(Seeded(0), self.ops)
        self.finalises = False

    @initialize(finalises=st.booleans())
    def begin(self, finalises: bool) -> None:
        """Say whether the interpreter ends before the tensors that the program owns."""
        self.finalises = finalises

    @rule(step=_steps())
    def step(self, step: Step) -> None:
        """Perform a step in the model."""
        if not self.play.step(step):
            self._fail()

    def _fail(self) -> NoReturn:
        raise RuntimeError(f"the model breaks a rule: {self.play.seen.harm}")

    def teardown(self) -> None:
        """Give everything back, and hold the implementation to the whole program."""
        if self.play.seen.harm is not None:
            return
        for step in self._ending():
            if not self.play.step(step):
                self._fail()
        made, expected = self.play.program, self.play.end()
        found = finding(made, type(self).implementation, self.profile, expected)
        cls = type(self)
        if found is None:
            cls.steps += len(made)
            return
        cls.steps += min(found.step + 1, len(made))
        if cls.found is None:
            cls.found = cls.steps, found
        raise Found(found, cls.implementation)

    def _ending(self) -> Iterator[Step]:
        while self.programs.waiting:
            yield self.programs.waiting.pop(0)
        if self.finalises:
            yield from self.programs.finalising_steps()
        yield from giving_back(self.play.machine)


def machine(
    implementation: Parties | Implementation, *, profile: Profile = DEFAULT, ops: Collection[str] | None = None
) -> type[ProgramMachine]:
    """Return a state machine that holds an implementation to the model: parties of one's own, or an adapter.

    Run it with ``hypothesis.stateful.run_state_machine_as_test``, or take its ``TestCase``: by their settings
    Hypothesis makes nothing small, which a ``Found`` does for itself, and sooner. Returns, types of
    exceptions, the error indicator, reference counts, calls of methods, destructors and deleters in their order, what
    is leaked, and, of parties, every broken rule are looked at. ``ops`` are the operations that it has (None: all).
    """
    space: dict[str, Any] = {
        "implementation": staticmethod(playing(implementation, profile)),
        "profile": profile,
        "ops": ops,
        "steps": 0,
        "found": None,
        "__doc__": ProgramMachine.__doc__,
    }
    made: type[ProgramMachine] = type("ProgramsHere", (ProgramMachine,), space)
    made.TestCase.settings = settings(
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        print_blob=False,
        report_multiple_bugs=False,
        stateful_step_count=30,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    return made


def run_machine(made: type[ProgramMachine], steps: int, start: int = 1, *, length: int = 30) -> Found | None:
    """Run programs of a machine until ``steps`` steps were made in all; return what was found, None where nothing was.

    The same ``start`` makes the same programs. Hypothesis makes nothing small here: what is found does so itself.
    """
    number = start
    while made.steps < steps:
        quick = settings(
            max_examples=PROGRAMS,
            stateful_step_count=min(length, STEPS_A_PROGRAM),
            phases=[Phase.generate],
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(seed(number)(made), settings=quick)
        except Found as found:
            return found
        number += 1
    return None
