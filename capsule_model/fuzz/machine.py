"""Programs that Hypothesis makes, and makes small again where the model and an implementation differ.

This module alone needs Hypothesis, the extra ``fuzz``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from capsule_model.fuzz.lockstep import Divergence, Lockstep, Session
from capsule_model.fuzz.programs import Programs, Seeded, Step, world
from capsule_model.objects import Capsule
from capsule_model.profiles import Profile
from capsule_model.trace.write import dump_vectors

__all__ = ["Drawn", "LockstepMachine", "machine"]

T = TypeVar("T")
BETWEEN_LOOKS = 20
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


@st.composite
def _worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a world by its number: one choice, so that shrinking is about the steps; number 0 is the simplest."""
    number = draw(st.integers(0, WORLDS))
    return world(Seeded(number) if number else _Plain(), draw(st.runner()).profile)


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    """Draw a step that is defined where the machine that asks for it stands."""
    running: LockstepMachine = draw(st.runner())
    running.programs.choices = Drawn(draw)
    return running.programs.next_step(running.lockstep.machine)


class LockstepMachine(RuleBasedStateMachine):
    """One program on the model and on an implementation; a difference fails with the program as a vector."""

    profile: Profile
    session: Callable[[dict[str, Any]], Session]

    def __init__(self) -> None:
        super().__init__()
        self.opened: Session | None = None
        self.diverged = False
        self.looked = 0

    @initialize(shared=_worlds())
    def begin(self, shared: dict[str, Any]) -> None:
        """Open the program on both sides, with functions and modules made by chance."""
        self.opened = type(self).session(shared)
        self.lockstep = Lockstep(shared, self.profile, self.opened)
        # Each step brings the choices that it draws from.
        self.programs = Programs(Seeded(0), self.profile)

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
                    self._judge(self.lockstep.step(self.programs.waiting.pop(0)))
                for step in self.programs.closing_steps(self.lockstep.machine):
                    self._judge(self.lockstep.step(step))
                self._judge(self.lockstep.close())
        finally:
            self.opened.close()

    def _judge(self, found: Divergence | None) -> None:
        if found is not None:
            self.diverged = True
            raise AssertionError(f"{found}\n{dump_vectors([found.vector])}")


def machine(session_factory: Callable[[dict[str, Any]], Session], profile: Profile) -> type[LockstepMachine]:
    """Return a state machine that holds the model under ``profile`` against what ``session_factory`` opens.

    ``session_factory`` gets the functions and modules of a program and returns a session on an implementation. Run
    the machine with ``hypothesis.stateful.run_state_machine_as_test``, or take its ``TestCase``. Returns, error type
    and text, the error indicator, reference counts, destructor calls in their order, every word of the struct and
    leaks are compared; where they differ the failure shows the differences and the shortest program as a vector.
    """
    space = {"profile": profile, "session": staticmethod(session_factory), "__doc__": LockstepMachine.__doc__}
    return type("LockstepHere", (LockstepMachine,), space)
