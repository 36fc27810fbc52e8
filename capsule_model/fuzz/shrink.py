"""Make a program that shows a difference as small as it can be, and keep it defined all the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from capsule_model.conform.answers import Misbehaviour
from capsule_model.fuzz.cause import ENDS, Cause, cause_of
from capsule_model.fuzz.lockstep import Divergence, Lockstep, Session
from capsule_model.fuzz.simpler import simpler
from capsule_model.profiles import Profile
from capsule_model.trace.contract import form_of, operations
from capsule_model.trace.execute import BadVector, Machine
from capsule_model.trace.expectation import Difference
from capsule_model.undefined import Abort, NotModelled, UndefinedBehavior

__all__ = ["died", "is_defined", "replay", "shrink", "without_steps"]

Vector = dict[str, Any]
Fails = Callable[[Vector], Divergence | None]

# What may be called while an exception is pending; of all else it is not known what happens then.
_WHILE_PENDING = frozenset(
    "PyCapsule_New PyCapsule_CheckExact PyCapsule_IsValid PyCapsule_GetPointer PyCapsule_GetName "
    "PyCapsule_GetDestructor PyCapsule_GetContext PyCapsule_SetPointer PyCapsule_SetName PyCapsule_SetDestructor "
    "PyCapsule_SetContext Py_INCREF Py_DECREF Py_IncRef Py_DecRef Py_REFCNT PyErr_SetString PyErr_Clear "
    "PyErr_NoMemory PyErr_Occurred PyErr_WriteUnraisable malloc free string write read layout poke settle".split()
)


def replay(
    vector: Mapping[str, Any], profile: Profile, session_factory: Callable[[Vector], Session]
) -> Divergence | None:
    """Run a vector on the model and on a session, and stop at the first difference.

    A session that raises ``Misbehaviour`` has died, or hangs: that is the difference, with the outcome as its key.
    """
    shared = {key: value for key, value in vector.items() if key in ("functions", "modules")}
    steps: list[dict[str, Any]] = []
    place = "end"
    try:
        session = session_factory(shared)
        with _closed(session):
            lockstep = Lockstep(shared, profile, session)
            for index, step in enumerate(vector["steps"]):
                steps, place = lockstep.steps, str(index)
                found = lockstep.step(step)
                if found is not None:
                    return found
            place = "end"
            return lockstep.close()
    except Misbehaviour as wrong:
        return died(wrong, shared, steps, place)


@contextmanager
def _closed(session: Session) -> Iterator[None]:
    """End a session; where it has died, its end tells nothing new."""
    try:
        yield
    except Misbehaviour:
        with suppress(Misbehaviour):
            session.close()
        raise
    else:
        session.close()


def died(wrong: Misbehaviour, shared: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], path: str) -> Divergence:
    """Return the end of an implementation as a divergence at ``path``, a step's or ``end`` where nobody knows."""
    told = str(wrong).partition("; its standard error ends: ")[0]
    head = {"format": 1, "id": "fuzz.found", "title": "Found by chance", "rules": ["PyCapsule_New/returns-capsule"]}
    return Divergence([Difference(path, wrong.outcome, "an answer", told)], {**head, **shared, "steps": list(steps)})


def is_defined(vector: Mapping[str, Any], profile: Profile) -> bool:
    """Tell whether every step of a vector means something and is defined, on the model and under a profile."""
    if not all(_has_its_forms(step) for step in _all_steps(vector)):
        return False
    try:
        machine = Machine(vector, profile)
        for index, step in enumerate(vector["steps"]):
            if machine.py.error is not None and step["op"] not in _WHILE_PENDING:
                return False
            machine.step(step, str(index))
        machine.finish()
    except (Abort, BadVector, NotModelled, RecursionError, UndefinedBehavior):
        return False
    return True


def _all_steps(vector: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from vector["steps"]
    for function in vector.get("functions", {}).values():
        yield from function.get("steps", ())


def _has_its_forms(step: Mapping[str, Any]) -> bool:
    operation = operations().get(step["op"])
    return operation is not None and all(
        form_of(argument) in operation.forms(name) for name, argument in step.get("args", {}).items()
    )


def shrink(vector: Mapping[str, Any], fails: Fails, budget: int = 2000, *, profile: Profile) -> Divergence:
    """Return the divergence of the smallest program that was found to differ by the same cause.

    ``fails`` performs a vector and returns what differs; a death of the implementation is a difference, too. Every
    program that it is given is defined on the model under ``profile``, and it is called at most ``budget`` times,
    the first time with ``vector`` itself. The same calls give the same result. A program that the model itself
    cannot take is returned as it is: a smaller one might be undefined for a reason of its own.

    Raises ``ValueError`` with one line where ``vector`` shows no difference, or is not defined.
    """
    whole = dict(vector)
    defined = is_defined(whole, profile)
    found = fails(whole)
    if found is None:
        raise ValueError("the program shows no difference when it is run again; expected one that always does")
    if found.differences[0].key == "the model":
        return found
    if not defined:
        raise ValueError("the program is not defined on the model; expected one in which every step is")
    shrinking = _Shrinking(found, fails, profile, budget - 1)
    shrinking.shorten()
    while shrinking.round():
        pass
    return shrinking.best


class _Shrinking:
    """The smallest program so far, and what may still be tried."""

    def __init__(self, found: Divergence, fails: Fails, profile: Profile, budget: int) -> None:
        self.best = found
        self.cause: Cause | None = None
        self.fails = fails
        self.profile = profile
        self.budget = budget
        self.tried: set[str] = set()
        if found.differences[0].path != "end" or found.differences[0].key not in ENDS:
            self.cause = cause_of(found)

    def shorten(self) -> None:
        """Find the step at which a program ends the process, where that is not known: it dies of all longer ones."""
        if self.cause is not None:
            return
        ending = self.best.differences[0]
        low, high = 0, len(self.best.vector["steps"])
        while low + 1 < high and self.budget > 0:
            middle = (low + high) // 2
            found = self._run({**self.best.vector, "steps": self.best.vector["steps"][:middle]})
            if found is not None and _alike(found.differences[0], ending):
                high, self.best = middle, found
            else:
                low = middle
        self.best = _placed(self.best)
        self.cause = cause_of(self.best)

    def round(self) -> bool:
        """Try all that makes the program smaller; return whether something did."""
        before = self.best
        self._steps()
        for change in simpler(self.best.vector):
            candidate = change(self.best.vector)
            if candidate is not None:
                self._try(candidate)
        return self.best is not before and self.budget > 0

    def _steps(self) -> None:
        """Leave out runs of steps, long ones first, from the end to the beginning."""
        size = len(self.best.vector["steps"])
        while size:
            end = len(self.best.vector["steps"])
            while end > 0:
                start = max(0, end - size)
                self._try(without_steps(self.best.vector, range(start, end)))
                end = min(start, len(self.best.vector["steps"]))
            size = min(size, len(self.best.vector["steps"])) // 2

    def _try(self, candidate: Vector) -> None:
        found = self._run(candidate)
        if found is None:
            return
        found = _placed(found)
        if cause_of(found).key == (self.cause.key if self.cause else ""):
            self.best = found

    def _run(self, candidate: Vector) -> Divergence | None:
        written = json.dumps(candidate, sort_keys=True)
        if self.budget <= 0 or written in self.tried:
            return None
        self.tried.add(written)
        if not is_defined(candidate, self.profile):
            return None
        self.budget -= 1
        return self.fails(candidate)


def _alike(one: Difference, other: Difference) -> bool:
    return (one.key, one.seen) == (other.key, other.seen)


def _placed(found: Divergence) -> Divergence:
    """Put the end of a process to the last step of its program."""
    first, steps = found.differences[0], found.vector["steps"]
    if first.key not in ENDS or first.path != "end" or not steps:
        return found
    return replace(found, differences=[replace(first, path=str(len(steps) - 1)), *found.differences[1:]])


def without_steps(vector: Mapping[str, Any], left_out: Sequence[int] | range) -> Vector:
    """Return a vector without some of its steps, nor those that use what nothing binds any more."""
    out = set(left_out)
    steps: list[Mapping[str, Any]] = vector["steps"]
    lost = {steps[index]["bind"] for index in out if "bind" in steps[index]}
    kept: list[Mapping[str, Any]] = []
    bound: set[str] = set()
    for index, step in enumerate(steps):
        if index in out or any(token in lost and token not in bound for token in _references(step)):
            lost.update([step["bind"]] if "bind" in step else [])
            continue
        kept.append(step)
        bound.update([step["bind"]] if "bind" in step else [])
    return {**vector, "steps": kept}


def _references(step: Mapping[str, Any]) -> Iterator[str]:
    for argument in step.get("args", {}).values():
        if isinstance(argument, Mapping) and "ref" in argument:
            yield str(argument["ref"]).partition("#")[0]
