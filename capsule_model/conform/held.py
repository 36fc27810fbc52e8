"""Settle what an implementation is held to, and hold it to that: its profile, and its declared divergences."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from capsule_model.conform.adapter import AdapterProcess, command_of
from capsule_model.conform.answers import Misbehaviour, Started
from capsule_model.conform.expectations import Expectations, Verdict, expectations_for, shipped_ids
from capsule_model.conform.report import Report
from capsule_model.conform.runner import choose_profile, run_vectors
from capsule_model.conform.session import Session
from capsule_model.conform.specification import rules_about
from capsule_model.locate import specs
from capsule_model.profiles import Profile
from capsule_model.suites import CAPSULE
from capsule_model.trace.extensions import extension
from capsule_model.trace.files import Loaded, Problem

__all__ = ["Held", "adapter_process", "hold", "report_of"]

_START_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Held:
    """An implementation that was started: what it says of itself, and what it is held to.

    `note` says where the profile is not what the adapter suggests; `expectations` are None where none were wanted.
    """

    about: Started
    profile: Profile
    note: str | None
    expectations: Expectations | None


def adapter_process(command: str | None, time_limit: float, suite: str = CAPSULE) -> AdapterProcess:
    """Return the adapter of that command line, None for that of the `suite` on this interpreter: ctypes, if no other.

    `time_limit` is in seconds, for each answer. Raises `ValueError` with one line for a command that is none.
    """
    if command is not None:
        return AdapterProcess(command_of(command), time_limit)
    found = extension(suite)
    own = found.adapter if found is not None else ()
    return AdapterProcess([sys.executable, *(own or (str(specs() / "adapters" / "ctypes_adapter.py"),))], time_limit)


def hold(
    session: Session, profile: str | None = None, expectations: Sequence[Path] | None = (), ids: Collection[str] = ()
) -> Held:
    """Start the adapter of `session` and settle what it is held to.

    `expectations` are files that come on top of the shipped ones, None for none at all; `ids` are those of vectors
    that they may name beside the shipped ones. Raises `ValueError` with one line for an adapter that does not start,
    an unknown profile, or bad expectations.
    """
    about = _start(session)
    chosen, note = choose_profile(about, profile)
    if expectations is None:
        return Held(about, chosen, note, None)
    own = chosen.name == choose_profile(about, None)[0].name
    declared = expectations_for(about.implementation, expectations, shipped_ids() | set(ids), shipped=own)
    return Held(about, chosen, note if own else "not its own, so that no shipped expectation applies", declared)


def report_of(
    session: Session,
    held: Held,
    loaded: Loaded,
    advance: Callable[[], None] = lambda: None,
    *,
    copies: bool = True,
) -> Report:
    """Run all that was loaded, calling `advance` after each vector, and return what there is to report.

    With `copies`, each vector that was sent is followed by its renamed copy.
    """
    results, bad = run_vectors(loaded.vectors, session, held.about, held.profile, advance, copies=copies)
    problems = [str(problem) for problem in loaded.problems]
    problems += [str(Problem(loaded.files[name], error.message, name, error.path)) for name, error in bad]
    binding = [
        rule.id for rule in rules_about(loaded.vectors) if rule.level != "UNDEFINED" and rule.applies(held.profile)
    ]
    declared = held.expectations
    verdict = Verdict() if declared is None else declared.judge(held.about, results)
    return Report(held.about, held.profile, held.note, results, binding, problems, loaded.vectors, declared, verdict)


def _start(session: Session) -> Started:
    """Start the adapter; a few attempts, for what it does once it may not do twice."""
    first: Misbehaviour | None = None
    for _ in range(_START_ATTEMPTS):
        try:
            return session.start()
        except Misbehaviour as failure:
            first = first or failure
            if failure.outcome == "timed-out":
                break
    raise ValueError(f"the adapter {first}") from None
