"""Hold vectors, model and an implementation against each other, vector by vector."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started, Unsupported
from capsule_model.conform.rename import renamed
from capsule_model.conform.session import Answer, Session
from capsule_model.profiles import BEHAVIOURS, PROFILES, Profile, profile_named
from capsule_model.trace.execute import BadVector, Run, run
from capsule_model.trace.expectation import Difference, compare, holds, latitude, match_step, resolved
from capsule_model.trace.needs import needs, operations_used
from capsule_model.trace.returns import MISSING
from capsule_model.trace.wording import shown

__all__ = [
    "OUTCOMES",
    "Divergence",
    "Result",
    "choose_profile",
    "expected_differences",
    "nearest_profile",
    "run_vectors",
    "sent",
]

OUTCOMES = ("passed", "failed", "unsupported", "not-applicable", "undefined", "errored", "crashed", "timed-out")

Vector = Mapping[str, Any]

_NOT_SENT = frozenset({"expect", "variants", "rules", "leaks", "title", "requires", "note"})


@dataclass(frozen=True, slots=True)
class Divergence:
    """One key of one step: what the vector expects, what the model predicts, what was seen.

    `MISSING` stands where a side says nothing of it.
    """

    path: str
    key: str
    expected: Any = MISSING
    model: Any = MISSING
    seen: Any = MISSING


@dataclass(slots=True)
class Result:
    """What became of one vector.

    `reached` are the rules that the model went through; `settled` says that steps were asked to wait for destructors.
    """

    vector: Vector
    outcome: str
    divergences: list[Divergence] = field(default_factory=list)
    detail: str | None = None
    reached: frozenset[str] = frozenset()
    lacking: tuple[str, ...] = ()
    settled: bool = False

    @property
    def id(self) -> str:
        """Return the vector's id."""
        return str(self.vector["id"])


def run_vectors(
    vectors: Iterable[Vector],
    session: Session,
    about: Started,
    profile: Profile,
    advance: Callable[[], None] = lambda: None,
    *,
    copies: bool = True,
) -> tuple[list[Result], list[tuple[str, BadVector]]]:
    """Run every vector; return the results in order, and the vectors that make no sense to the model.

    With `copies`, each vector that was sent is followed by its renamed copy, which must have the same outcome.
    """
    results: list[Result] = []
    bad: list[tuple[str, BadVector]] = []
    previous: Result | None = None
    for vector in vectors:
        try:
            result, answer = _one(vector, session, about, profile)
        except BadVector as error:
            bad.append((vector["id"], error))
            continue
        finally:
            advance()
        if answer is not None and answer.earlier is not None and previous is not None:
            previous.outcome = answer.earlier.outcome
            previous.detail = f"after its answer, before that of {result.id}: {answer.earlier}"
        results.append(result)
        if answer is not None:
            previous = result
            if copies:
                _hold_to_copy(result, session, about, profile)
    return results, bad


def choose_profile(about: Started, wanted: str | None) -> tuple[Profile, str | None]:
    """Return the profile to hold the implementation to, and a note where that was a guess.

    An implementation that declares behaviours is held to those. Raises `ValueError` with one line for an
    unknown profile or behaviour.
    """
    if wanted is not None:
        return profile_named(wanted), None
    profile, note = nearest_profile(about.profile)
    if about.behaviours is None:
        return profile, note
    unknown = sorted(about.behaviours - BEHAVIOURS.keys())
    if unknown:
        raise ValueError(f"the adapter declares an unknown behaviour {unknown[0]!r}; expected names of profiles show")
    for behaviour in sorted(about.behaviours ^ profile.behaviours):
        profile = profile.flipped(behaviour)
    return replace(profile, name=f"{about.implementation} as declared"), note


def sent(vector: Vector) -> dict[str, Any]:
    """Return what an adapter gets of `vector`: no expectations, no rules, nothing for the reader."""
    stripped = {key: value for key, value in vector.items() if key not in _NOT_SENT}
    stripped["steps"] = [_sent_step(step) for step in vector["steps"]]
    if "functions" in vector:
        stripped["functions"] = {
            name: {**function, "steps": [_sent_step(step) for step in function["steps"]]}
            if "steps" in function
            else function
            for name, function in vector["functions"].items()
        }
    return stripped


def expected_differences(vector: Vector, profile: Profile, seen: Run) -> list[Difference]:
    """Return where a run of the model is not what `vector` expects under `profile`."""
    steps, functions = resolved(vector, profile.behaviours.__contains__)
    differences: list[Difference] = []
    for index, observation in enumerate(seen.steps):
        differences += match_step(steps[index], observation, str(index), functions)
    last = str(len(seen.steps))
    wanted = steps[len(seen.steps)] if len(seen.steps) < len(steps) else {}
    if seen.diagnosis is not None:
        kind = str(seen.diagnosis.kind)
        if wanted.get("undefined") != kind:
            differences.append(Difference(last, "undefined", wanted.get("undefined", MISSING), _diagnosed(seen)))
        elif "of" in wanted and wanted["of"] != seen.of:
            differences.append(Difference(last, "of", wanted["of"], MISSING if seen.of is None else seen.of))
    elif seen.aborted is not None:
        if "abort" not in wanted:
            differences.append(Difference(last, "abort", MISSING, seen.aborted))
    else:
        differences += _leaks(vector, seen.leaks)
    return differences


def _hold_to_copy(result: Result, session: Session, about: Started, profile: Profile) -> None:
    """Run the renamed copy of a vector that was sent; another outcome makes the result `failed`."""
    copy = renamed(result.vector)
    if copy == result.vector:
        return
    try:
        other, answer = _one(copy, session, about, profile, rules=False)
    except BadVector as error:
        other, answer = Result(copy, "errored", detail=f"the model refuses it: {error}"), None
    if answer is not None and answer.earlier is not None:
        result.outcome = answer.earlier.outcome
        result.detail = f"after its answer, before that of its renamed copy: {answer.earlier}"
    elif other.outcome != result.outcome:
        difference = Divergence("end", "renamed", expected=result.outcome, seen=other.outcome)
        details = [] if result.detail is None else [result.detail]
        result.detail = "; ".join([*details, f"its renamed copy: {other.outcome}{_reason(other)}"])
        result.divergences.append(difference)
        result.outcome = "failed"


def _reason(result: Result) -> str:
    """Say in short why a result is what it is: its detail, and the first of its divergences."""
    reasons = [] if result.detail is None else [result.detail]
    for divergence in result.divergences[:1]:
        sides = (("expected", divergence.expected), ("model", divergence.model), ("seen", divergence.seen))
        told = ", ".join(f"{side} {shown(value, 120)}" for side, value in sides if value is not MISSING)
        reasons.append(f"step {divergence.path}, {divergence.key}: {told}")
    return "".join(f": {reason}" for reason in reasons)


def _one(
    vector: Vector, session: Session, about: Started, profile: Profile, *, rules: bool = True
) -> tuple[Result, Answer | None]:
    if not all(holds(condition, profile.behaviours.__contains__) for condition in vector.get("requires", ())):
        return Result(vector, "not-applicable"), None
    try:
        model = run(vector, profile, rules=rules)
    except BadVector:
        raise
    except Exception as error:
        return Result(vector, "errored", detail=f"the model failed: {type(error).__name__}: {error}"), None
    reached = frozenset(rule for _, rule in model.reached)
    against_model = expected_differences(vector, profile, model)
    if model.diagnosis is not None or (model.aborted is not None and against_model):
        outcome = "failed" if against_model else "undefined"
        detail = str(model.diagnosis or model.aborted) if against_model else None
        return Result(vector, outcome, _merged(against_model, [], []), detail, reached), None
    if against_model and any(d.key in ("undefined", "abort") for d in against_model):
        return Result(vector, "failed", _merged(against_model, [], []), None, reached), None
    lacking = _lacking(vector, about, model)
    if lacking:
        return Result(vector, "unsupported", detail="needs " + ", ".join(lacking), lacking=lacking), None
    message = sent(vector)
    settled = about.defers and _wait_for_destructors(message, model)
    answer = session.ask(message, crash_expected=model.aborted is not None)
    if "returns-on-failure" in about.features and isinstance(answer.what, Ran) and _blind(answer.what.steps):
        detail = "leaves out what a failing call returned, although it has the feature returns-on-failure"
        return Result(vector, "errored", detail=detail, reached=reached), answer
    result = _judged(vector, profile, model, against_model, answer, reached)
    result.settled = settled
    return result, answer


def _judged(
    vector: Vector,
    profile: Profile,
    model: Run,
    against_model: list[Difference],
    answer: Answer,
    reached: frozenset[str],
) -> Result:
    match answer.what:
        case Misbehaviour() as wrong:
            if model.aborted is not None and wrong.signal == signal.SIGABRT:
                return Result(vector, "passed", reached=reached)
            return Result(vector, wrong.outcome, _merged(against_model, [], []), str(wrong), reached)
        case Unsupported() as lack:
            return Result(vector, "unsupported", detail=lack.what, lacking=(lack.what,))
        case Refused() as refusal:
            where = f"step {refusal.step}: " if refusal.step else ""
            return Result(
                vector, "errored", detail=f"the adapter refuses the vector: {where}{refusal.text}", reached=reached
            )
        case Ran() as seen:
            pass
    if model.aborted is not None:
        missing = Divergence(str(len(vector["steps"]) - 1), "abort", True, model.aborted, "the process lives")
        return Result(vector, "failed", [missing], None, reached)
    steps, functions = resolved(vector, profile.behaviours.__contains__)
    against_seen: list[Difference] = []
    between: list[Difference] = []
    if len(seen.steps) != len(steps):
        between.append(Difference("end", "steps", f"{len(steps)} steps", f"{len(seen.steps)} steps"))
    for index, (expect, ours, theirs) in enumerate(zip(steps, model.steps, seen.steps, strict=False)):
        against_seen += match_step(expect, theirs, str(index), functions)
        if not latitude(expect):
            between += compare(ours, theirs, str(index), functions)
    against_seen += _leaks(vector, seen.leaks)
    if sorted(model.leaks) != sorted(seen.leaks):
        between.append(Difference("end", "leaks", sorted(model.leaks), sorted(seen.leaks)))
    divergences = _merged(against_model, against_seen, between)
    return Result(vector, "failed" if divergences else "passed", divergences, None, reached)


def _wait_for_destructors(message: dict[str, Any], model: Run) -> bool:
    """Have the steps in which the model calls destructors end with a settle; the calls of native ones are not seen."""
    native = any("native" in function for function in message.get("functions", {}).values())
    found = False
    for step, ours in zip(message["steps"], model.steps, strict=False):
        if ours["events"] or native:
            step["settle"] = found = True
    return found


def _blind(steps: Iterable[Vector]) -> bool:
    """Tell whether an observation, or one inside an event, names something unseen."""
    return any(
        step.get("unseen") or any(_blind(event.get("steps", ())) for event in step.get("events", ())) for step in steps
    )


def _merged(
    against_model: list[Difference], against_seen: list[Difference], between: list[Difference]
) -> list[Divergence]:
    """Put what three comparisons say of one key of one step side by side."""
    found: dict[tuple[str, str], Divergence] = {}
    for difference in against_model:
        found[difference.path, difference.key] = Divergence(
            difference.path, difference.key, difference.expected, difference.seen
        )
    for difference in between:
        old = found.get((difference.path, difference.key), Divergence(difference.path, difference.key))
        found[old.path, old.key] = replace(old, model=difference.expected, seen=difference.seen)
    for difference in against_seen:
        old = found.get((difference.path, difference.key), Divergence(difference.path, difference.key))
        found[old.path, old.key] = replace(old, expected=difference.expected, seen=difference.seen)
    return list(found.values())


def _leaks(vector: Vector, leaks: list[str]) -> list[Difference]:
    wanted = sorted(vector.get("leaks", ()))
    return [] if wanted == sorted(leaks) else [Difference("end", "leaks", wanted, sorted(leaks))]


def _diagnosed(seen: Run) -> str:
    assert seen.diagnosis is not None
    return f"{seen.diagnosis.kind}" + (f" of {seen.of}" if seen.of else "")


def _lacking(vector: Vector, about: Started, model: Run) -> tuple[str, ...]:
    features = needs(vector, model.steps) - about.features
    # An operation may be called as the feature that it needs.
    return (*sorted(features), *sorted(operations_used(vector) - about.ops - features))


def _sent_step(step: Vector) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key not in _NOT_SENT}


def nearest_profile(suggested: str | None) -> tuple[Profile, str | None]:
    """Return the profile of that name, else the one of the nearest version among those built alike."""
    if suggested in PROFILES:
        return PROFILES[suggested], None
    found = re.search(r"(\d+)\.(\d+)(-[a-z0-9-]+)?$", suggested or "")
    if found is None:
        latest = max((name for name in PROFILES if _version(name)[1] == ""), key=lambda name: _version(name)[0])
        return PROFILES[latest], "assumed: the adapter suggests none that is known"
    version, build = (int(found[1]), int(found[2])), found[3] or ""
    alike = [name for name in PROFILES if _version(name)[1] == build]
    alike = alike or [name for name in PROFILES if _version(name)[1] == ""]
    older = [name for name in alike if _version(name)[0] <= version]
    nearest = max(older, key=lambda n: _version(n)[0]) if older else min(alike, key=lambda n: _version(n)[0])
    return PROFILES[nearest], f"the nearest to {suggested}"


def _version(name: str) -> tuple[tuple[int, int], str]:
    found = re.match(r"cpython-(\d+)\.(\d+)(.*)", name)
    return ((int(found[1]), int(found[2])), found[3]) if found else ((0, 0), name)
