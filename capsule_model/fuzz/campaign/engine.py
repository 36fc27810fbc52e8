"""What carries out the cases of a campaign: compact programs, or programs of the vector language."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsule_model.fuzz.batch import Batch, Weights, open_batch
from capsule_model.fuzz.campaign.implementations import BehindAdapter, Here, Implementation, as_divergence, stopped
from capsule_model.fuzz.campaign.journal import Case
from capsule_model.fuzz.campaign.learnt import Learnt
from capsule_model.fuzz.campaign.undefined import performed_alone, undefined_program
from capsule_model.fuzz.campaign.written import Written, performed, write
from capsule_model.fuzz.cause import cause_of
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.fuzz.worlds import Seeded
from capsule_model.profiles import Profile
from capsule_model.trace.expectation import Difference

__all__ = ["Compact", "Open", "Vectors", "finding_of"]

PROGRAM = 200
COMPACT = 20_000
# One case in so many is a program of the vector language, which knows more operations and is slower by far.
EVERY = 32
# One program in so many has a second one beside it that ends in undefined behaviour, where that is asked for.
UNDEFINED_EVERY = 8


@dataclass(frozen=True)
class Open:
    """Which implementation to open: an adapter's command, or this interpreter. It can be sent to a process.

    ``expectations`` are files of what is declared of it, on top of the shipped one, None for none at all.
    """

    command: str | None = None
    profile: str | None = None
    time_limit: float = 10.0
    undefined: bool = False
    expectations: tuple[Path, ...] | None = ()

    def __call__(self) -> Vectors | Compact:
        """Open it; raise ``ValueError`` with one line where it cannot be."""
        if self.command is not None:
            return Vectors(self.isolated(), self if self.undefined else None)
        here = Vectors(Here(), self if self.undefined else None)
        try:
            return Compact(here, open_batch(), self)
        except ValueError:
            return here

    def isolated(self) -> BehindAdapter:
        """Open it in a process of its own, whatever it is."""
        return BehindAdapter(self.command, self.profile, self.time_limit, self.expectations)

    def about(self) -> dict[str, Any]:
        """Return what a campaign is about, once the implementation was opened and ended again.

        ``programs`` are ``compact``, or ``vectors`` where only programs of the vector language can be performed.
        ``declared`` has the reasons of what is declared, by sort, and ``expectations`` the hash of all of it.
        """
        engine = self()
        engine.close()
        if isinstance(engine, Compact):
            return {**_here(engine.vectors.implementation.profile), "programs": "compact"}
        implementation = engine.implementation
        if isinstance(implementation, BehindAdapter):
            named = {"implementation": implementation.about.implementation, "version": implementation.about.version}
            declared = {
                "expectations": implementation.declared.digest(),
                "declared": implementation.declared.reasons(),
            }
            return {**named, "profile": implementation.profile.name, "programs": "vectors", **declared}
        return {**_here(implementation.profile), "programs": "vectors"}


def _here(profile: Profile) -> dict[str, Any]:
    named = {"implementation": platform.python_implementation(), "version": platform.python_version()}
    return {**named, "profile": profile.name}


class Vectors:
    """Cases that are one program of the vector language each.

    With ``undefined``, what opens the implementation in a process that is thrown away, some have a second program,
    which ends in undefined behaviour.
    """

    def __init__(self, implementation: Implementation, undefined: Open | None = None) -> None:
        self.implementation = implementation
        self._undefined = undefined

    def case(self, number: int, seed: str, steps: int, learnt: Learnt) -> Case:
        """Write a program next to the model, let the implementation perform it, and compare."""
        implementation = self.implementation
        written = self._write(seed, steps, learnt)
        found = stopped(written) or implementation.perform(written)
        case: Case = {
            "steps": len(written.observations),
            "kinds": {kind: dict(states) for kind, states in written.kinds.items()},
            "rules": dict(written.rules),
        }
        if written.kept:
            case["kept"] = written.kept
        for key in ("explained", "avoided"):
            if counts := getattr(implementation, key):
                case[key] = dict(counts)
        if found is not None:
            case["finding"] = finding_of(found)
        if self._undefined is not None and number % UNDEFINED_EVERY == 0:
            program = undefined_program(Seeded(f"{seed}.undefined"), implementation.profile)
            if program is not None:
                vector, kind = program
                end = performed_alone(self._undefined.command, vector, self._undefined.time_limit)
                case["undefined"] = {kind: {end: 1}}
        return case

    def lost(self, number: int, seed: str, steps: int, learnt: Learnt, how: str) -> Case:
        """Write the program again and give it as a finding, for it ends the process that performs it."""
        written = self._write(seed, steps, learnt)
        return {"steps": len(written.observations), "finding": finding_of(_died(written, how))}

    def close(self) -> None:
        """End the implementation."""
        self.implementation.close()

    def _write(self, seed: str, steps: int, learnt: Learnt) -> Written:
        implementation = self.implementation
        implementation.avoided = Counter()
        return write(
            Seeded(seed),
            implementation.profile,
            min(steps, PROGRAM),
            learnt,
            implementation.allows,
            implementation.adapted,
        )


class Compact:
    """Cases that are compact programs, and one in many that is a program of the vector language."""

    def __init__(self, vectors: Vectors, batch: Batch, opened: Open) -> None:
        self._open = opened
        self.vectors = vectors
        self.batch = batch
        self._weights: tuple[Counter[int], Weights] = Counter(), Weights()

    def case(self, number: int, seed: str, steps: int, learnt: Learnt) -> Case:
        """Carry out a case of either sort; which, its number says."""
        if number % EVERY == 0:
            return self.vectors.case(number, seed, steps, learnt)
        done = self.batch.case(seed, self._weighed(learnt), min(steps, COMPACT))
        case: Case = {"steps": done.steps, "batch": list(done.numbers.items())}
        if done.divergence is not None:
            case["finding"] = finding_of(done.divergence)
        return case

    def lost(self, number: int, seed: str, steps: int, learnt: Learnt, how: str) -> Case:
        """Perform the programs of a case in a process of their own, and give the one that ends it as a finding."""
        if number % EVERY == 0:
            return self.vectors.lost(number, seed, steps, learnt, how)
        vectors = self.batch.vectors(seed, self._weighed(learnt), min(steps, COMPACT))
        done = sum(len(vector["steps"]) for vector in vectors)
        implementation = self._open.isolated()
        try:
            for vector in vectors:
                written = performed(vector, implementation.profile)
                found = stopped(written) or implementation.perform(written)
                if found is not None:
                    return {"steps": done, "finding": finding_of(found)}
            # Alone, each of them ends well: what is shown is the last one, and how the process died.
            return {"steps": done, "finding": finding_of(_died(written, how))}
        finally:
            implementation.close()

    def _weighed(self, learnt: Learnt) -> Weights:
        """Return the weights that what was learnt makes; the shards of a round have learnt the same."""
        if self._weights[0] != learnt.batch:
            self._weights = learnt.batch, Weights.from_numbers(learnt.batch)
        return self._weights[1]

    def close(self) -> None:
        """End the implementation."""
        self.batch.close()
        self.vectors.close()


def finding_of(divergence: Divergence) -> dict[str, Any]:
    """Return the record of a divergence: its cause, what differs in words, and the program."""
    cause = cause_of(divergence)
    return {
        "id": cause.id,
        "cause": cause.key,
        "title": cause.title,
        "differences": [str(difference) for difference in divergence.differences],
        "vector": divergence.vector,
    }


def _died(written: Written, how: str) -> Divergence:
    return as_divergence(written, [Difference("end", "crashed", "an answer", how)], len(written.vector["steps"]))
