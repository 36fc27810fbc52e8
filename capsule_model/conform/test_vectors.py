"""The vectors as items of pytest, which runs this file where `pytest_plugin` is loaded."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from capsule_model.conform.answers import Misbehaviour
from capsule_model.conform.commands import known_names
from capsule_model.conform.expectations import DIVERGING, Expected
from capsule_model.conform.held import Held, adapter_process, hold
from capsule_model.conform.report import print_result
from capsule_model.conform.runner import Result, run_vectors
from capsule_model.conform.session import Answer, Session
from capsule_model.suites import vectors_of
from capsule_model.trace.files import Loaded, Problem, load
from capsule_model.trace.wording import clean

__all__ = ["BadInput", "VectorFile", "VectorItem", "check_usage", "vectors_beneath"]

# The name of the node is the same wherever the package lies, and `pytest --pyargs` takes it.
_NODE = "capsule_model.conform.test_vectors"
_NOT_RUN = {
    "not-applicable": "not applicable: the profile lacks a behaviour that the vector requires",
    "undefined": "undefined behaviour: only the model runs it",
}


def vectors_beneath(parent: pytest.Collector) -> VectorFile:
    """Return the collector of all vectors as a child of `parent`."""
    made: VectorFile = VectorFile.from_parent(parent, path=Path(__file__), nodeid=_NODE)
    return made


def check_usage(config: pytest.Config) -> None:
    """Start the adapter and end it again; raise `UsageError` with one line where it cannot be held to anything."""
    runner = _Runner(frozenset(_loaded(config).files))
    try:
        runner.start(config)
    finally:
        runner.pytest_unconfigure()


class VectorFile(pytest.File):
    """All vectors: an item for each sound one, a failing collector for each problem with the input."""

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """Load the vectors, and have the implementation started once it is known which of them are to be run."""
        loaded = _loaded(self.config)
        if not self.config.pluginmanager.has_plugin(_NODE):  # collected twice where it is asked for twice
            self.config.pluginmanager.register(_Runner(frozenset(loaded.files)), _NODE)
        for number, problem in enumerate(loaded.problems, 1):
            yield BadInput.from_parent(self, name=f"problem-{number}", problem=problem)
        for vector in loaded.vectors:
            yield VectorItem.from_parent(self, name=vector["id"], vector=vector, file=loaded.files[vector["id"]])


class BadInput(pytest.Collector):
    """A problem with a file of vectors: an error of collection in one line, which hides no sound vector."""

    def __init__(self, *, problem: Problem, **node: Any) -> None:
        super().__init__(**node)
        self._problem = problem

    def collect(self) -> list[pytest.Item]:
        """Say what is wrong."""
        raise self.CollectError(str(self._problem))


class VectorItem(pytest.Item):
    """A vector, held against the implementation; marked with each of its rules."""

    def __init__(self, *, vector: Mapping[str, Any], file: Path, **node: Any) -> None:
        super().__init__(**node)
        self.vector = vector
        self.file = file
        for rule in vector["rules"]:
            self.add_marker(pytest.mark.capsule_rule(id=rule))
            self.extra_keyword_matches.add(rule)
            self.user_properties.append(("capsule_rule", rule))

    def runtest(self) -> None:
        """Run the vector and its renamed copy; pass, or end as what was seen and what was declared demand."""
        runner = self.config.pluginmanager.get_plugin(_NODE)
        assert isinstance(runner, _Runner)
        held, result = runner.run(self)
        declared = held.expectations
        entry = declared.applying(held.about).get(result.id) if declared is not None else None
        if declared is not None and entry is not None:
            self.add_marker(pytest.mark.xfail(reason=_reason(entry.why), raises=_Declared, strict=True))
            faults = declared.judge(held.about, [result]).faults
            if result.outcome == "unsupported" and not faults:
                pytest.skip(f"{_lack(result, held)}; {_reason(entry.why)}")
            if not faults:
                raise _Declared(_text(result))
            if result.outcome != "passed":
                pytest.fail(f"{_text(result)}\n{clean(faults[0], 600)}", pytrace=False)
        elif result.outcome in DIVERGING:
            pytest.fail(_text(result), pytrace=False)
        elif result.outcome in _NOT_RUN:
            pytest.skip(_NOT_RUN[result.outcome])
        elif result.outcome == "unsupported":
            pytest.skip(_lack(result, held))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return a divergence as it is, for there is no code to be shown; anything else as ever."""
        return str(excinfo.value) if isinstance(excinfo.value, _Declared) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return where the vector stands, and its name as a heading."""
        return self.file, None, f"vector {self.name}"


class _Declared(Exception):
    """A divergence as it was declared."""


class _Runner:
    """The one adapter of this process of pytest: started when items are left to be run, ended with the run.

    `ids` are those of all vectors, also of those that are not to be run.
    """

    def __init__(self, ids: frozenset[str]) -> None:
        self._ids = ids
        self._session: _Watched | None = None
        self._held: Held | None = None
        self._failure: str | None = None

    def run(self, item: VectorItem) -> tuple[Held, Result]:
        """Return the result of one vector; fail the item where it has none, or where the one before misbehaved late."""
        if self._failure is not None:
            pytest.fail(self._failure, pytrace=False)
        session, held = self._session, self._held
        assert session is not None
        assert held is not None
        results, bad = run_vectors([item.vector], session, held.about, held.profile)
        for identifier, error in bad:
            pytest.fail(str(Problem(item.file, error.message, identifier, error.path)), pytrace=False)
        if session.late is not None:
            blamed, what = session.late
            session.late = None
            text = f"{blamed} is to blame: after its answer, before that of {item.name}, the adapter {what}"
            pytest.fail(f"{text}\n{item.name} itself, run again: {results[0].outcome}", pytrace=False)
        return held, results[0]

    def start(self, config: pytest.Config) -> None:
        """Start the adapter, and settle what it is held to; raise `UsageError` with one line where that cannot be."""
        try:
            adapter = adapter_process(config.getoption("--capsule-adapter"), config.getoption("--capsule-time-limit"))
            self._session = _Watched(adapter)
            profile, expectations = config.getoption("--capsule-profile"), config.getoption("--capsule-expectations")
            self._held = hold(self._session, profile, expectations, self._ids)
        except ValueError as error:
            raise pytest.UsageError(f"capsule-model: {error}") from None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Start the adapter where vectors are left to be run."""
        if config.option.collectonly or not any(isinstance(item, VectorItem) for item in items):
            return
        try:
            self.start(config)
        except pytest.UsageError as error:
            # A worker of pytest-xdist that raises here takes the whole run down with it.
            if not hasattr(config, "workerinput"):
                raise
            self._failure = str(error)

    def pytest_report_collectionfinish(self) -> list[str]:
        """Say which implementation is held to what."""
        if self._held is None:
            return []
        about, note = self._held.about, f" ({clean(self._held.note)})" if self._held.note else ""
        name = f"{clean(about.implementation, 100)} {clean(about.version, 200)}"
        return [f"capsule-model: {name}, profile {self._held.profile.name}{note}"]

    def pytest_unconfigure(self) -> None:
        """End the adapter."""
        if self._session is not None:
            self._session.stop()


class _Watched(Session):
    """A session that keeps what the adapter did after the answer to an earlier vector, with the id of that vector."""

    late: tuple[str, Misbehaviour] | None = None
    _asked: str | None = None

    def ask(self, vector: Mapping[str, Any], *, crash_expected: bool = False) -> Answer:
        """Return the answer to one vector; that to a renamed copy follows its own vector's, whose runner sees to it."""
        answer = super().ask(vector, crash_expected=crash_expected)
        if answer.earlier is not None and self._asked is not None and vector["id"] != self._asked:
            self.late = self._asked, answer.earlier
        self._asked = vector["id"]
        return answer


def _loaded(config: pytest.Config) -> Loaded:
    source: Path | None = config.getoption("--capsule-vectors")
    return load(vectors_of() if source is None else source, known_names())


def _text(result: Result) -> str:
    """Return a divergence as `conform` prints it, but for the vector's id, which is the item's."""
    stream = io.StringIO()
    print_result(result, Console(file=stream, highlight=False))
    return stream.getvalue().strip().replace(f"{result.id}: ", "", 1).removeprefix("failed: ")


def _lack(result: Result, held: Held) -> str:
    reasons = ((clean(name), held.about.absent.get(name)) for name in result.lacking)
    return "lacks " + ", ".join(name if reason is None else f"{name} ({clean(reason)})" for name, reason in reasons)


def _reason(why: Expected) -> str:
    return f"{why.class_}: {clean(why.reason, 1000)} ({clean(why.link, 500)})"
