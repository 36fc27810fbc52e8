"""Run what proves claims on one interpreter, and say which claims it bears out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capsule_model.claims.read import Claim, Proof
from capsule_model.claims.scripts import Shown, run_scripts
from capsule_model.conform.adapter import AdapterProcess
from capsule_model.conform.answers import Misbehaviour, Ran, Started
from capsule_model.conform.runner import Result, choose_profile, expected_differences, run_vectors
from capsule_model.conform.session import Answer, Session
from capsule_model.locate import specs
from capsule_model.suites import CAPSULE
from capsule_model.trace.execute import run
from capsule_model.trace.expectation import match_step, resolved
from capsule_model.trace.extensions import extension
from capsule_model.trace.needs import operations_used
from capsule_model.trace.wording import shown as worded

__all__ = ["Judged", "Proved", "Prover"]

Vector = Mapping[str, Any]

_LEAST_MINOR = 11


@dataclass(frozen=True, slots=True)
class Proved:
    """A proof, what it had to find, and what it came to."""

    proof: Proof
    expected: bool
    shown: Shown

    @property
    def contradicts(self) -> bool:
        """Tell whether the proof found something else than the verdict says, or broke."""
        return self.shown.broken or (self.shown.holds is not None and self.shown.holds != self.expected)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the proofs of one claim came to."""

    claim: Claim
    proved: tuple[Proved, ...]

    @property
    def status(self) -> str:
        """Return `shown`, `contradicted`, `skipped` (nothing could be looked at) or `not run` (about no behaviour)."""
        if not self.proved:
            return "not run"
        if any(proved.contradicts for proved in self.proved):
            return "contradicted"
        return "skipped" if all(proved.shown.holds is None for proved in self.proved) else "shown"


class Prover:
    """One interpreter, its adapters and the vectors; an adapter is started when a proof needs it.

    `python` is the interpreter's path, None for the running one. `vectors` maps ids to vectors, `suites` to suites.
    """

    def __init__(
        self, python: str | None, vectors: Mapping[str, Vector], suites: Mapping[str, str], time_limit: float = 60.0
    ) -> None:
        self._python = python or sys.executable
        self._vectors = vectors
        self._suites = suites
        self._time_limit = time_limit
        self._held: dict[str, tuple[_Recording, Started] | str] = {}
        self._shown: dict[str, tuple[Result, Ran | None]] = {}
        self.about: Started | None = None

    @property
    def minor(self) -> int:
        """Return the minor version of the interpreter; raise `ValueError` where the adapter does not start."""
        held = self._session(CAPSULE)
        if isinstance(held, str):
            raise ValueError(held)
        self.about = held[1]
        with suppress(ValueError, IndexError):
            return int(self.about.version.split(".")[1])
        raise ValueError(f"the adapter says that it is of version {self.about.version}; expected 3.N")

    def judge(self, claims: Sequence[Claim], advance: Callable[[], None] = lambda: None) -> list[Judged]:
        """Run the proofs of all `claims` and return what they came to, in order; `advance` is called after each."""
        minor = self.minor
        functions = [proof.name for claim in claims for proof in claim.proofs if proof.script is not None]
        scripts = run_scripts(self._python, specs() / "claims", functions, self._time_limit)
        judged = []
        for claim in claims:
            found = tuple(
                Proved(
                    proof,
                    claim.expected(proof, minor),
                    scripts[proof.name] if proof.script is not None else self._by_vector(proof),
                )
                for proof in claim.proofs
            )
            judged.append(Judged(claim, found))
            advance()
        return judged

    def stop(self) -> None:
        """End the adapters."""
        for held in self._held.values():
            if not isinstance(held, str):
                held[0].stop()

    def _by_vector(self, proof: Proof) -> Shown:
        suite = self._suites[proof.name]
        held = self._session(suite)
        if isinstance(held, str):
            return Shown(None, held)
        session, about = held
        profile, _ = choose_profile(about, None)
        vector = self._vectors[proof.name]
        if proof.name not in self._shown:
            session.seen = None
            results, bad = run_vectors([vector], session, about, profile, copies=False)
            if bad:
                return Shown(None, f"the model refuses the vector: {bad[0][1].message}", broken=True)
            self._shown[proof.name] = results[0], session.seen
        result, ran = self._shown[proof.name]
        steps = None if ran is None else ran.steps
        said = ""
        # What has no interpreter of its own: PyO3, and CObject today.
        if suite == "layers" and result.outcome == "unsupported" and not operations_used(vector) <= about.ops:
            model = run(vector, profile)
            if expected_differences(vector, profile, model):
                return Shown(None, "the model does not do as the vector says", broken=True)
            result, steps, said = replace(result, outcome="passed"), model.steps, ", to the model"
        if result.outcome in ("not-applicable", "unsupported"):
            reason = result.detail or "it does not apply to this version or build"
            return Shown(None, reason)
        if result.outcome not in ("passed", "undefined"):
            return Shown(None, f"{result.outcome}: {result.detail or _first(result)}", broken=True)
        if proof.predicts is None:
            saw = "undefined, to the model" if result.outcome == "undefined" else f"as the vector says{said}"
            return Shown(True, saw)
        if proof.predicts.keys() == {"defined"}:
            defined = steps is not None
            saw = "runs to its end" if defined else _end(vector)
            return Shown(defined == proof.predicts["defined"], saw)
        if steps is None and result.outcome == "passed":
            return Shown(False, "the process ends")
        if steps is None or proof.step is None or proof.step >= len(steps):
            return Shown(None, f"has no step {proof.step} to look at", broken=True)
        expect = dict(proof.predicts)
        functions = resolved(vector, profile.behaviours.__contains__)[1]
        differences = [
            difference
            for difference in match_step(expect, steps[proof.step], str(proof.step), functions)
            if difference.key.partition(".")[0] in expect
        ]
        return Shown(not differences, _seen(steps[proof.step], expect) + said)

    def _session(self, suite: str) -> tuple[_Recording, Started] | str:
        """Return the adapter of a suite, started, or why there is none."""
        if suite not in self._held:
            self._held[suite] = self._start(suite)
        return self._held[suite]

    def _start(self, suite: str) -> tuple[_Recording, Started] | str:
        if suite == CAPSULE:
            command = [self._python, str(specs() / "adapters" / "ctypes_adapter.py")]
        elif self._python != sys.executable and self.minor < _LEAST_MINOR:
            return f"the suite {suite} needs Python 3.{_LEAST_MINOR}"
        else:
            root = str(Path(__file__).resolve().parents[2])
            added = extension(suite)
            if added is None or added.adapter[:1] != ("-m",):
                return f"the suite {suite} has no adapter for an interpreter"
            code = f"import sys; sys.path.insert(0, {root!r}); from {added.adapter[1]} import main; main()"
            command = [self._python, "-c", code]
        session = _Recording(AdapterProcess(command, self._time_limit))
        try:
            return session, session.start()
        except Misbehaviour as failure:
            return f"the adapter of the suite {suite} {failure}"


class _Recording(Session):
    """A session that keeps what was seen last."""

    seen: Ran | None = None

    def ask(self, vector: Vector, *, crash_expected: bool = False) -> Answer:
        """Return the answer to one vector, and keep it."""
        answer = super().ask(vector, crash_expected=crash_expected)
        self.seen = answer.what if isinstance(answer.what, Ran) else None
        return answer


def _seen(step: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Say what a step showed under `keys`."""
    parts = []
    for key in keys:
        value = step.get(key)
        if key == "error" and isinstance(value, Mapping):
            parts.append(f"{value.get('type')}: {value.get('text')}")
        else:
            parts.append(f"{key} {worded(value, 200)}")
    return ", ".join(parts)


def _end(vector: Vector) -> str:
    """Say what a vector that is never run to its end expects there."""
    last = vector["steps"][-1]
    ends = [last.get("expect", {}), *(variant["expect"] for variant in last.get("variants", ()))]
    kinds = [str(end["undefined"]) for end in ends if "undefined" in end]
    return f"the model diagnoses {kinds[0]}" if kinds else "the process ends"


def _first(result: Result) -> str:
    return "".join(f"step {d.path}, {d.key}: {worded(d.seen, 120)}" for d in result.divergences[:1])
