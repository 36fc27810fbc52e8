"""Programs that Hypothesis makes, and makes small again where the model and an implementation differ.

This module alone needs Hypothesis, the extra ``fuzz``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from capsule_model.fuzz.lockstep import Divergence, Lockstep, Session
from capsule_model.fuzz.programs import Programs
from capsule_model.fuzz.shrink import replay, shrink
from capsule_model.fuzz.tell import as_vector, tell
from capsule_model.fuzz.worlds import Choices, Seeded, Step, world
from capsule_model.objects import Capsule
from capsule_model.profiles import Profile
from capsule_model.trace.write import dump_vectors

__all__ = ["SETTINGS", "Drawn", "Failure", "LockstepMachine", "machine", "plain_or_seeded", "with_settings"]

T = TypeVar("T")
M = TypeVar("M", bound=RuleBasedStateMachine)
BETWEEN_LOOKS = 20
# How many programs may be run to make the one that is shown shorter still.
BUDGET = 500
# A failure makes its program shorter itself, in less time than Hypothesis takes and down to less.
SETTINGS = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
WORLDS = (1 << 20) - 1


@cache
def _below(count: int) -> st.SearchStrategy[int]:
    return st.sampled_from(range(count))


class Drawn:
    """Choices that Hypothesis makes: the first option is the simplest, and so is a no."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.draw(_below(len(options)))]

    def often(self, rate: float) -> bool:
        """Return true at about this rate."""
        return self.draw(_below(100)) >= 100 - round(100 * rate)


class _Plain:
    """Choices that are always the simplest."""

    def pick(self, options: Sequence[T]) -> T:
        """Return the first option."""
        return options[0]

    def often(self, rate: float) -> bool:
        """Return false."""
        return False


def plain_or_seeded(number: int) -> Choices:
    """Return the choices of a number: the simplest ones for 0."""
    return Seeded(number) if number else _Plain()


@st.composite
def _worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a world by its number: one choice, so that shrinking is about the steps; number 0 is the simplest."""
    return world(plain_or_seeded(draw(st.integers(0, WORLDS))), draw(st.runner()).profile)


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    """Draw a step that is defined where the machine that asks for it stands."""
    running: LockstepMachine = draw(st.runner())
    running.programs.choices = Drawn(draw)
    return running.next_step()


class Failure(AssertionError):
    """A difference between the model and an implementation.

    As text it is the shortest program that was found to show it, in about ten lines and as a file of vectors. The
    program is made shorter only when the text is asked for, so that what nobody reads costs nothing.
    """

    def __init__(
        self,
        divergence: Divergence,
        profile: Profile,
        fails: Callable[[dict[str, Any]], Divergence | None],
        budget: int = BUDGET,
    ) -> None:
        super().__init__(divergence)
        self.divergence = divergence
        self._profile = profile
        self._fails = fails
        self._budget = budget
        self._text: str | None = None

    def shortest(self) -> Divergence:
        """Return the divergence with the shortest program; the one that was found where it does not show again."""
        try:
            return shrink(self.divergence.vector, self._fails, self._budget, profile=self._profile)
        except (RuntimeError, ValueError):
            return self.divergence

    def __str__(self) -> str:
        """Return the finding in words, and below it the vector."""
        if self._text is None:
            shortest = self.shortest()
            lines = tell(shortest, self._profile)
            try:
                lines.append(dump_vectors([as_vector(shortest, "fuzz.found", self._profile)]))
            except ValueError:
                lines.append(dump_vectors([shortest.vector]))
            self._text = "\n".join(lines)
        return self._text


class LockstepMachine(RuleBasedStateMachine):
    """One program on the model and on an implementation; a difference fails with the shortest one that shows it.

    ``budget`` is how many programs may be run to find that.
    """

    profile: Profile
    session: Callable[[dict[str, Any]], Session]
    budget: ClassVar[int] = BUDGET

    def __init__(self) -> None:
        super().__init__()
        self.opened: Session | None = None
        self.diverged = False
        self.looked = 0

    @initialize(shared=_worlds())
    def begin(self, shared: dict[str, Any]) -> None:
        """Open the program on both sides, with functions and modules made by chance."""
        self.lockstep = self.open(shared)
        # Each step brings the choices that it draws from.
        self.programs = Programs(Seeded(0), self.profile)

    def open(self, shared: dict[str, Any]) -> Lockstep:
        """Return the model and the implementation, each at the beginning of a program."""
        self.opened = type(self).session(shared)
        return Lockstep(shared, self.profile, self.opened)

    def fails(self, vector: dict[str, Any]) -> Divergence | None:
        """Run a program again and return what differs."""
        return replay(vector, self.profile, type(self).session)

    def next_step(self) -> Step:
        """Return a step that is defined where the program stands."""
        return self.programs.next_step(self.lockstep.machine)

    @rule(step=_steps())
    def step(self, step: Step) -> None:
        """Perform a step on both sides."""
        self._judge(self.lockstep.step(step))

    @precondition(lambda self: len(self.lockstep.steps) - self.looked >= BETWEEN_LOOKS)
    @rule()
    def look(self) -> None:
        """Compare the words of every capsule that is alive, those that modules hold included."""
        machine = self.lockstep.machine
        for address, token in list(machine.tokens.of_address.items()):
            if isinstance(machine.py.objects.get(address), Capsule):
                # A reference to a name means its newest generation.
                name = token.partition("#")[0]
                if machine.tokens.address[name] == address:
                    self._judge(self.lockstep.step({"op": "layout", "args": {"op": {"ref": name}}}))
        self.looked = len(self.lockstep.steps)

    def teardown(self) -> None:
        """Give back what the program owns, compare what each side says is leaked, and end the session."""
        if self.opened is None:
            return
        try:
            if not self.diverged:
                while self.programs.waiting:
                    self._judge(self.lockstep.step(self.next_step()))
                for step in self.programs.closing_steps(self.lockstep.machine):
                    self._judge(self.lockstep.step(step))
                self._judge(self.lockstep.close())
        finally:
            self.opened.close()

    def _judge(self, found: Divergence | None) -> None:
        if found is not None:
            self.diverged = True
            raise Failure(found, self.profile, self.fails, self.budget)


def machine(session_factory: Callable[[dict[str, Any]], Session], profile: Profile) -> type[LockstepMachine]:
    """Return a state machine that holds the model under ``profile`` against what ``session_factory`` opens.

    ``session_factory`` gets the functions and modules of a program and returns a session on an implementation. Run
    the machine with ``hypothesis.stateful.run_state_machine_as_test``, or take its ``TestCase``. Returns, error type
    and text, the error indicator, reference counts, destructor calls in their order, every word of the struct and
    leaks are compared; where they differ the failure tells the shortest program in about ten lines and as a vector.
    """
    space = {"profile": profile, "session": staticmethod(session_factory), "__doc__": LockstepMachine.__doc__}
    return with_settings(type("LockstepHere", (LockstepMachine,), space))


def with_settings(made: type[M], own: settings = SETTINGS) -> type[M]:
    """Return a machine with settings of its own, by which most leave shrinking to their failures."""
    made.TestCase.settings = own
    return made
