"""Compare what a checker saw of a vector with what the model says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from capsule_model.profiles import Profile
from capsule_model.sanitize.run import Seen
from capsule_model.trace.execute import run
from capsule_model.undefined import Kind

__all__ = ["Claim", "Compared", "Verdict", "claim_of", "compare"]

Verdict = Literal["agrees", "missed", "false alarm", "not run"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What the model says of a vector: the kind, None where all is defined, and the number of the step that is it.

    A leak is at no step: `step` is then the number of steps.
    """

    kind: str | None
    step: int
    aborts: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """A verdict, and whether a report came only after the step that was undefined, when its damage was met."""

    verdict: Verdict
    later: bool = False


def claim_of(vector: Mapping[str, Any], profile: Profile) -> Claim:
    """Return what the model says of a vector under a profile."""
    found = run(vector, profile)
    if found.diagnosis is not None:
        return Claim(found.diagnosis.kind, len(found.steps))
    return Claim(Kind.LEAK if found.leaks else None, len(found.steps), found.aborted is not None)


def compare(claim: Claim, seen: Seen) -> Compared:
    """Return whether a checker agrees with the model.

    What is undefined counts as seen if it is reported, or if the process dies, while the step runs or after it. A
    report before that step is a false alarm, as is any of a vector that is defined. What a debug build ends is neither.
    """
    if seen.outcome == "refused":
        return Compared("not run")
    if claim.aborts:
        return Compared("agrees" if seen.outcome == "died" else "not run")
    if claim.kind == Kind.LEAK:
        if seen.outcome != "silent":
            return Compared("false alarm")
        return Compared("agrees" if seen.leaks else "missed")
    if claim.kind is None:
        return Compared("false alarm" if seen.outcome != "silent" or seen.leaks else "agrees")
    if seen.outcome not in ("reported", "died"):
        return Compared("missed")
    if seen.step is None:
        return Compared("agrees", later=True)
    return Compared("false alarm" if int(seen.step.partition("/")[0]) < claim.step else "agrees")
