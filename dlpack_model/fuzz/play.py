"""Play programs: in the model with parties of any kind, or by an adapter in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from capsule_model import Abort, UndefinedBehavior
from capsule_model.profiles import PROFILES, Profile
from capsule_model.trace.execute import BadVector, Machine
from dlpack_model.exchange import EVERYTHING, Exchange
from dlpack_model.fuzz.programs import Step
from dlpack_model.parties import NOBODY, Parties
from dlpack_model.vectors import EXTENSION, exchange_of
from dlpack_model.violations import Broken, Violation

__all__ = ["DEFAULT", "Implementation", "Play", "Played", "adapter", "play", "playing"]

DEFAULT = PROFILES["cpython-3.13"]

EMPTY: Mapping[str, Any] = {"steps": []}


@dataclass
class Played:
    """What a program showed: an observation for each step that came to its end, and how it ended.

    ``harm`` is the diagnosis, or what else ended it early, and ``rule`` the rule that was broken, where it is one.
    ``leaks`` are the tokens still owned, ``left`` counts what the process has not freed; None where it did not say.
    ``skipped`` tells why the program could not be played at all.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    harm: str | None = None
    rule: str | None = None
    leaks: list[str] = field(default_factory=list)
    left: int | None = None
    skipped: str | None = None


Implementation = Callable[[Sequence[Step]], Played]


class Play:
    """One program in the model, in progress; ``parties`` stand in for the model's own.

    ``vector`` has the functions and modules that the program may speak of; broken rules of the kinds in ``watch`` end
    it.
    """

    def __init__(
        self,
        parties: Parties = NOBODY,
        profile: Profile = DEFAULT,
        *,
        vector: Mapping[str, Any] = EMPTY,
        watch: frozenset[Broken] = EVERYTHING,
    ) -> None:
        self.machine = Machine(vector, profile, None, (EXTENSION,))
        self.exchange: Exchange = exchange_of(self.machine, parties=parties, watch=watch)
        self.program: list[Step] = []
        self.seen = Played()

    def step(self, step: Step) -> bool:
        """Perform a step; return False where it does not come to its end."""
        seen, path = self.seen, str(len(self.program))
        self.program.append(step)
        try:
            seen.steps.append(self.machine.step(step, path))
        except UndefinedBehavior as diagnosis:
            seen.harm = str(diagnosis)
            seen.rule = diagnosis.rule if isinstance(diagnosis, Violation) else str(diagnosis.kind)
        except Abort as death:
            seen.harm = f"the process dies: {death}"
        except BadVector as error:
            seen.harm = f"bad input: step {error.path}: {error.message}"
        except Exception as error:
            # Code of one's own can raise anything; in C it would have gone on with whatever it had.
            seen.harm = f"{type(error).__name__}: {error}"
        return seen.harm is None

    def end(self) -> Played:
        """End the program, and return what it showed."""
        if self.seen.harm is None:
            self.machine.finish()
            self.seen.leaks = self.machine.leaks()
            if not self.exchange.finalised:
                self.seen.left = len(self.machine.py.leaks())
        return self.seen


def play(program: Sequence[Step], parties: Parties = NOBODY, profile: Profile = DEFAULT) -> Played:
    """Play a whole program in the model, by parties of one's own or by the model's."""
    running = Play(parties, profile)
    for step in program:
        if not running.step(step):
            break
    return running.end()


def playing(implementation: Parties | Implementation, profile: Profile = DEFAULT) -> Implementation:
    """Return what plays a program: parties do it in the model."""
    if isinstance(implementation, Parties):
        parties = implementation
        return lambda program: play(program, parties, profile)
    return implementation


@contextmanager
def adapter(command: str | None = None, time_limit: float = 10.0) -> Iterator[tuple[Implementation, frozenset[str]]]:
    """Start the adapter of a command line (None: that of the suite, on this interpreter); stop it at the end.

    Gives what plays programs by it, and the operations that it has. ``ValueError`` with one line for a command that
    is none or that does not start.
    """
    from capsule_model.conform.answers import Misbehaviour, Ran, Unsupported
    from capsule_model.conform.held import adapter_process
    from capsule_model.conform.session import Session

    session = Session(adapter_process(command, time_limit, "dlpack"))
    try:
        about = session.start()
    except Misbehaviour as failure:
        session.stop()
        raise ValueError(
            f"adapter {(command or 'of this interpreter')[:80]}: {failure}; expected one that starts"
        ) from None

    def perform(program: Sequence[Step]) -> Played:
        answer = session.ask({"format": 1, "id": "dlpack.found", "steps": list(program)}).what
        if isinstance(answer, Ran):
            return Played(list(answer.steps), leaks=list(answer.leaks))
        if isinstance(answer, Unsupported):
            return Played(skipped=answer.what)
        return Played(harm=str(answer))

    try:
        yield perform, about.ops
    finally:
        session.stop()
