"""Run programs on the model and on an implementation at once, and stop where they differ.

``python -m capsule_model.fuzz.lockstep --steps N --seed S`` does it with the interpreter that runs it.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from capsule_model.fuzz.programs import Programs, Seeded, world
from capsule_model.locate import specs
from capsule_model.profiles import Profile, profile_named
from capsule_model.trace.execute import Machine
from capsule_model.trace.expectation import Difference, compare
from capsule_model.trace.write import dump_vectors
from capsule_model.undefined import Abort, NotModelled, UndefinedBehavior

__all__ = ["Divergence", "Lockstep", "Session", "campaign", "load_adapter", "main", "this_interpreter"]

STEPS_A_PROGRAM = 200
# What programs cannot do without, and an adapter without a C compiler has not.
NEEDED = ("error-indicator", "compiled-destructors", "macros")


class Session(Protocol):
    """One vector in progress on an implementation."""

    def step(self, step: dict[str, Any], path: str) -> dict[str, Any]:
        """Perform a step and return the observation."""

    def close(self) -> list[str]:
        """End the vector and return the tokens that it still owns; a second time nothing happens."""


@dataclass(frozen=True)
class Divergence:
    """What the model and the implementation did differently, and the program that shows it."""

    differences: list[Difference]
    vector: dict[str, Any]

    def __str__(self) -> str:
        """Return the differences, a line each, and the step they belong to."""
        lines = [str(difference) for difference in self.differences]
        steps = self.vector["steps"]
        return "\n".join([*lines, f"after {len(steps)} steps, the last one {steps[-1] if steps else None}"])


class Lockstep:
    """The model and an implementation in the same program, compared after every step."""

    def __init__(self, shared: dict[str, Any], profile: Profile, session: Session) -> None:
        self.machine = Machine(shared, profile)
        self.session = session
        self.shared = shared
        self.steps: list[dict[str, Any]] = []

    def step(self, step: dict[str, Any]) -> Divergence | None:
        """Perform a step on both sides and return what differs."""
        path = str(len(self.steps))
        self.steps.append(step)
        try:
            expected = self.machine.step(step, path)
        except (Abort, NotModelled, UndefinedBehavior) as stopped:
            return self._judge([Difference(path, "the model", "a step that it can take", str(stopped))])
        return self._judge(compare(expected, self.session.step(step, path), path))

    def close(self) -> Divergence | None:
        """End the program on both sides and compare what each says is leaked."""
        expected, seen = self.machine.leaks(), self.session.close()
        return self._judge([Difference("end", "leaks", expected, seen)] if expected != seen else [])

    def _judge(self, differences: list[Difference]) -> Divergence | None:
        if not differences:
            return None
        head = {"id": "fuzz.found", "title": "Found by chance", "rules": ["PyCapsule_New/returns-capsule"]}
        return Divergence(differences, {"format": 1, **head, **self.shared, "steps": list(self.steps)})


def campaign(
    steps: int,
    seed: int,
    profile: Profile,
    session: Callable[[dict[str, Any]], Session],
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[int, Divergence | None]:
    """Run programs from a seed until ``steps`` steps were compared, or two sides differ.

    Returns how many steps were compared and the first divergence. The same seed gives the same programs.
    """
    done = program = 0
    while done < steps:
        choices = Seeded(f"{seed}.{program}")
        program += 1
        shared = world(choices, profile)
        lockstep = Lockstep(shared, profile, session(shared))
        programs = Programs(choices, profile)
        try:
            found = _program(lockstep, programs) or lockstep.close()
        finally:
            lockstep.session.close()
        done += len(lockstep.steps)
        if found:
            return done, found
        progress(done)
    return done, None


def _program(lockstep: Lockstep, programs: Programs) -> Divergence | None:
    """Run one program up to the point where it owns nothing any more."""
    while len(lockstep.steps) < STEPS_A_PROGRAM or programs.waiting:
        found = lockstep.step(programs.next_step(lockstep.machine))
        if found:
            return found
    for step in programs.closing_steps(lockstep.machine):
        found = lockstep.step(step)
        if found:
            return found
    return None


def load_adapter() -> Any:
    """Load the adapter that travels with the specification as a module of this process."""
    spec = importlib.util.spec_from_file_location("capsule_model_lockstep", specs() / "adapters" / "ctypes_adapter.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def this_interpreter() -> tuple[Profile, Callable[[dict[str, Any]], Session]]:
    """Return the profile of the running interpreter, and what opens a session on it.

    Raises ``ValueError`` with one line where there is no such profile, or where something that programs do cannot
    be seen, as without a C compiler.
    """
    module = load_adapter()
    adapter = module.Adapter()
    about = adapter.start()
    for feature in NEEDED:
        if feature in about["absent"]:
            raise ValueError(f"the adapter lacks {feature}: {about['absent'][feature]}")
    return profile_named(about["profile"]), partial(module.Session, adapter)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign on this interpreter; return 0, 1 where it diverges, 2 for bad usage or a missing feature."""
    parser = argparse.ArgumentParser(prog="capsule_model.fuzz.lockstep", description=main.__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000, help="how many steps to compare (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which programs to make (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"argument --steps: {options.steps} is not a number from 1 on")
    try:
        profile, session = this_interpreter()
    except ValueError as error:
        print(f"lockstep: {error}", file=sys.stderr)
        return 2
    shown = sys.stderr.isatty()
    begun = time.monotonic()
    done, found = campaign(
        options.steps,
        options.seed,
        profile,
        session,
        lambda done: print(f"\r{done:,} of {options.steps:,} steps", end="", file=sys.stderr) if shown else None,
    )
    if shown:
        print(file=sys.stderr)
    outcome = "a divergence" if found else "no divergence"
    print(f"{profile.name}, seed {options.seed}: {done} steps in {time.monotonic() - begun:.1f} s, {outcome}")
    if found is None:
        return 0
    print(found)
    print(dump_vectors([found.vector]), end="")
    return 1


if __name__ == "__main__":
    sys.exit(main())
