"""Exercises of the notebook "Testing your own implementation"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsule_model.conform.runner import expected_differences
from capsule_model.lessons.exercise import Judge
from capsule_model.lessons.holding import hold, vectors
from capsule_model.lessons.judging import predicted
from capsule_model.lessons.verdict import NotYet
from capsule_model.mutants.registry import mutant_named
from capsule_model.mutants.session import MutantSession, loaded
from capsule_model.profiles import profile_named
from capsule_model.trace.execute import BadVector, run
from capsule_model.trace.expectation import match_step

__all__ = ["CLAIMED", "EXERCISES"]

_PROFILE = "cpython-3.13"
# As many as an implementation of the notebook's four functions passes.
_ENOUGH = 20
# Of the file get-pointer; two of them tell no name from an empty one.
CLAIMED = (
    "capsule.get-pointer.wrong-name",
    "capsule.get-pointer.both-null",
    "capsule.get-pointer.empty-for-nameless",
    "capsule.get-pointer.null-for-empty",
)


def which_notice(given: Any) -> str:
    """Judge a prediction of which of four vectors notice the notebook's mistake: (adapter, ids)."""
    adapter, ids = given
    if ids is ...:
        raise NotYet("no ids are given", "a set of some of the four ids")
    outcome = hold(adapter, vectors(*CLAIMED))
    seen = {result.id for result in outcome.failed}
    hint = "which of them hands over, or stores, no name or an empty one?"
    predicted(set(ids), seen, "the vectors that notice", hint)
    return "a vector notices what it looks at, and nothing else: so there are many of them"


def mended(given: Any) -> str:
    """Judge a comparison of names in the notebook's implementation: (adapter, implementation, function)."""
    adapter, implementation, same_name = given
    whole = type("Mended", (implementation,), {"same_name": staticmethod(same_name)})
    outcome = hold(adapter(whole), vectors("get-pointer", "is-valid"), copies=True)
    if outcome.failed:
        first = outcome.failed[0]
        where = first.divergences[0] if first.divergences else None
        at = "" if where is None else f", step {where.path}, {where.key}"
        hint = first.detail or str(first.vector["title"])
        raise NotYet(f"{len(outcome.failed)} vectors fail, the first is {first.id}{at}", hint)
    passed = outcome.counts.get("passed", 0)
    if passed < _ENOUGH:
        raise NotYet(f"{passed} vectors pass, {_ENOUGH} are within reach", "who supports nothing is not conformant")
    return f"{passed} vectors pass, each of them with other names, too"


def own_vector(given: Any) -> str:
    """Judge a vector that holds for the model, and fails an implementation that compares names by their beginning."""
    if not isinstance(given, Mapping) or not isinstance(given.get("steps"), list) or not given["steps"]:
        raise NotYet("that is no vector", 'a vector has "steps", a list of {"op": …, "args": …}')
    vector = {"format": 1, "id": "own.vector", "title": "mine", "rules": [], **given}
    profile = profile_named(_PROFILE)
    try:
        model = run(vector, profile)
    except (BadVector, KeyError, TypeError) as error:
        raise NotYet(
            f"the model cannot perform it: {error}", "compare its steps with those of the vector above"
        ) from None
    if model.diagnosis is not None:
        raise NotYet(f"its last step is undefined: {model.diagnosis.kind}", "a vector for others must be defined")
    wrong = expected_differences(vector, profile, model)
    if wrong:
        raise NotYet(f"the model does not meet it: {wrong[0]}", "Py_DECREF at the end, and expect what CPython does")
    if not any("expect" in step for step in vector["steps"]):
        raise NotYet("it expects nothing", 'the step that matters has "expect": {"return": …}')
    session = MutantSession(loaded(mutant_named("names/by-prefix")), vector, _PROFILE)
    for index, step in enumerate(vector["steps"]):
        if match_step(step.get("expect", {}), session.step(step, str(index)), str(index), {}):
            return f"step {index} fails the implementation that compares beginnings"
    raise NotYet("the faulty implementation passes it", "ask for a name with which the stored one begins")


EXERCISES: dict[str, Judge] = {"which-notice": which_notice, "mended": mended, "own-vector": own_vector}
