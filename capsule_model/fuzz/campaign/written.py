"""Write a program by chance next to the model, and note what it reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from capsule_model import rules as rule_marks
from capsule_model.fuzz.campaign.learnt import Learnt, Prefix
from capsule_model.fuzz.campaign.states import outcome_of, situation_of, state_key
from capsule_model.fuzz.programs import KINDS, Choices, Programs, kinds_by_weight, world
from capsule_model.fuzz.worlds import Step
from capsule_model.profiles import Profile
from capsule_model.trace.execute import BadVector, Machine
from capsule_model.undefined import Abort, NotModelled, UndefinedBehavior

__all__ = ["Allowed", "Written", "performed", "write"]

Allowed = Callable[[Step, Machine], bool]

# How many of the beginnings that reached something new one case may hand on, and how long they may be.
MOST_KEPT, LONGEST_KEPT = 2, 60
# How often a program goes on from such a beginning.
FROM_PREFIX = 0.25
CLOSING = "closing"


@dataclass
class Written:
    """A program, what the model shows of each step, and what was reached: states by kind of step, and rules.

    ``stopped`` says why the model cannot take the last step, which has no observation then.
    """

    vector: dict[str, Any]
    observations: list[dict[str, Any]] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    rules: Counter[str] = field(default_factory=Counter)
    kept: list[Prefix] = field(default_factory=list)
    stopped: str | None = None


class _Writer:
    def __init__(self, written: Written, machine: Machine, programs: Programs, learnt: Learnt) -> None:
        self.written = written
        self.machine = machine
        self.programs = programs
        self.learnt = learnt
        self.new: str | None = None

    def take(self, step: Step, kind: str) -> None:
        """Let the model perform a step, and note what it reached."""
        written, machine = self.written, self.machine
        steps = written.vector["steps"]
        steps.append(step)
        situation = situation_of(machine, step)
        observation = machine.step(step, str(len(steps) - 1))
        written.observations.append(observation)
        state = state_key(step["op"], situation, outcome_of(observation))
        written.kinds.setdefault(kind, Counter())[state] += 1
        if state not in self.learnt.states and len(written.kept) < MOST_KEPT and len(steps) <= LONGEST_KEPT:
            self.new = state
        # A beginning that can be gone on from ends where no step waits.
        if self.new and not self.programs.waiting and all(kept["state"] != self.new for kept in written.kept):
            shared = {key: value for key, value in written.vector.items() if key != "steps"}
            prefix = {"state": self.new, "shared": shared, "steps": list(steps), "writer": self.programs.written()}
            written.kept.append(prefix)
            self.new = None


def write(
    choices: Choices,
    profile: Profile,
    steps: int,
    learnt: Learnt,
    allowed: Allowed = lambda step, machine: True,
    adapted: Callable[[dict[str, Any]], dict[str, Any]] = lambda shared: shared,
) -> Written:
    """Write a program of ``steps`` steps and those that give back what it owns; rules are observed meanwhile.

    Kinds of steps are weighed by what was learnt, and some programs go on from a beginning that reached a rare state.
    ``allowed`` says of a step whether the implementation may be given it in the machine's state, ``adapted`` changes
    what programs declare: functions and modules.
    """
    prefix = choices.pick(learnt.prefixes) if learnt.prefixes and choices.often(FROM_PREFIX) else None
    shared = adapted(world(choices, profile))
    if prefix is not None:
        shared = prefix["shared"]
    written = Written({**shared, "steps": []})
    kinds = kinds_by_weight(learnt.weights(KINDS))
    programs = Programs(choices, profile, kinds, prefix and prefix["writer"])
    with rule_marks.observed() as sink:
        writer = _Writer(written, Machine(shared, profile, sink), programs, learnt)
        try:
            _write(writer, steps, prefix["steps"] if prefix is not None else (), allowed)
        except (Abort, NotModelled, UndefinedBehavior) as stopped:
            written.stopped = str(stopped)
    written.rules.update(rule for _, rule in sink.reached)
    if written.stopped is None:
        written.leaks = writer.machine.leaks()
    return written


def performed(vector: Mapping[str, Any], profile: Profile) -> Written:
    """Let the model perform a vector's steps, and return what it shows of each."""
    shared = {key: vector[key] for key in ("functions", "modules") if key in vector}
    written = Written({**shared, "steps": []})
    machine = Machine(shared, profile)
    try:
        for index, step in enumerate(vector["steps"]):
            written.vector["steps"].append(step)
            written.observations.append(machine.step(step, str(index)))
        written.leaks = machine.leaks()
    except (Abort, BadVector, NotModelled, UndefinedBehavior) as stopped:
        written.stopped = str(stopped)
    return written


def _write(writer: _Writer, steps: int, beginning: tuple[Step, ...] | list[Step], allowed: Allowed) -> None:
    programs, machine = writer.programs, writer.machine
    for step in beginning:
        writer.take(step, "prefix")
    made = writer.written.vector["steps"]
    refused = 0
    while len(made) < steps or programs.waiting:
        step = programs.next_step(machine)
        if allowed(step, machine):
            writer.take(step, programs.kind)
            refused = 0
        elif (refused := refused + 1) > 1_000:
            raise NotModelled("a step that the implementation may be given")
        else:
            _forget(programs, step)
    for step in programs.closing_steps(machine):
        # What gives back references is needed, whatever it is.
        if "leave" not in step or allowed(step, machine):
            writer.take(step, CLOSING)


def _forget(programs: Programs, step: Step) -> None:
    """Take back what the writer believes of a step that is not performed."""
    token = step.get("bind")
    if token is not None:
        for known in (programs.capsules, programs.names):
            if token in known:
                known.remove(token)
        programs.waiting.clear()
