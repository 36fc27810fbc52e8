"""List what two profiles do differently: behaviours by name, and the vectors in which it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from capsule_model.profiles import Behaviour, Profile, differences
from capsule_model.trace.execute import BadVector, run
from capsule_model.trace.expectation import holds

__all__ = ["ProfileDiff", "outcome", "profile_diff"]


@dataclass(frozen=True, slots=True)
class ProfileDiff:
    """The differences between the profiles `left` and `right`.

    `vectors` are those in which an implementation of `left` that is held to `right` diverges. In `one_sided` it is
    not asked, because `right` leaves the vector undefined or does not apply, or its answer cannot be foretold,
    because `left` leaves it undefined: id, then how the vector ends under `left` and under `right`.
    """

    left: Profile
    right: Profile
    behaviours: list[Behaviour]
    vectors: list[str]
    one_sided: list[tuple[str, str, str]]

    def lines(self, *, vectors: bool) -> list[str]:
        """Return the differences in words, one a line; with `vectors`, those that show them too."""
        found = [
            f"{behaviour.name} ({self._side(behaviour)}): {behaviour.sentence} [{behaviour.source}]"
            for behaviour in self.behaviours
        ]
        if vectors:
            found += [f"vector {identifier}" for identifier in self.vectors]
            found += [f"vector {name}: {left} / {right}" for name, left, right in self.one_sided]
        return [*found, f"{len(self.behaviours)} behaviours, {len(self.vectors) + len(self.one_sided)} vectors"]

    def as_json(self) -> dict[str, Any]:
        """Return the differences as JSON."""
        return {
            "format": 1,
            "profiles": [self.left.name, self.right.name],
            "behaviours": [
                {
                    "name": behaviour.name,
                    "sentence": behaviour.sentence,
                    "source": behaviour.source,
                    "has": self._side(behaviour),
                }
                for behaviour in self.behaviours
            ],
            "vectors": self.vectors,
            "one_sided": [{"id": name, "left": left, "right": right} for name, left, right in self.one_sided],
        }

    def _side(self, behaviour: Behaviour) -> str:
        return self.left.name if behaviour.name in self.left.behaviours else self.right.name


def profile_diff(left: Profile, right: Profile, vectors: Iterable[Mapping[str, Any]]) -> ProfileDiff:
    """Compare two profiles by what the model shows of `vectors` under each."""
    showing: list[str] = []
    one_sided: list[tuple[str, str, str]] = []
    for vector in vectors:
        asked, own = outcome(vector, right), outcome(vector, left)
        answer = _performed(vector, left)
        if asked[0] in ("runs", "aborts") and answer[0] in ("runs", "aborts"):
            if answer != asked:
                showing.append(vector["id"])
        elif own != asked:
            one_sided.append((vector["id"], own[0], asked[0]))
    return ProfileDiff(left, right, differences(left, right), showing, one_sided)


def outcome(vector: Mapping[str, Any], profile: Profile) -> tuple[str, Any]:
    """Return how a run of the model ends: `runs`, `undefined`, `aborts`, `not-applicable`, `bad`; and all it shows."""
    if not all(holds(condition, profile.behaviours.__contains__) for condition in vector.get("requires", ())):
        return "not-applicable", None
    return _performed(vector, profile)


def _performed(vector: Mapping[str, Any], profile: Profile) -> tuple[str, Any]:
    """Return how a run ends that does not ask whether the vector applies, as an adapter does not."""
    try:
        seen = run(vector, profile)
    except BadVector as error:
        return "bad", str(error)
    if seen.diagnosis is not None:
        return "undefined", (seen.steps, str(seen.diagnosis.kind), seen.of)
    return "runs" if seen.aborted is None else "aborts", (seen.steps, sorted(seen.leaks))
