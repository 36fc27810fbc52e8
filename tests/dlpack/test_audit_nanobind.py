"""The audit of a module written with nanobind, which is compiled for it.

``DLPACK_PYTHONS`` may name more Pythons, as a PATH does, that have nanobind where this one has not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from nanobind_arrays.build import Missing, build
from nanobind_arrays.described import library

from dlpack_model.audit.outcome import Audit, Result
from dlpack_model.audit.run import audit
from dlpack_model.audit.script import MOST_LINES

PYTHONS = [sys.executable, *filter(None, os.environ.get("DLPACK_PYTHONS", "").split(os.pathsep))]


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Compile the module for the first Python that has nanobind, and audit it."""
    folder, reasons = tmp_path_factory.mktemp("nanobind"), list[str]()
    for python in PYTHONS:
        try:
            build(folder, python)
        except Missing as missing:
            reasons.append(str(missing))
        else:
            return audit(library(folder), python)
    pytest.skip("; ".join(reasons))


@pytest.fixture(scope="session")
def results(audited: Audit) -> Mapping[str, Result]:
    """Return the results by name, of the version whose source was read."""
    if not audited.version.startswith("3.1."):
        pytest.skip(f"nanobind is {audited.version}; what is expected was read in 3.1")
    return {result.name: result for result in audited.results}


def test_audit_comes_to_an_end(audited: Audit) -> None:
    """Most of what is asked is answered, and every finding is shown by a script that a reader can read."""
    counts = audited.count()
    assert audited.roles == ("producer", "consumer")
    assert counts["kept"] > 120
    assert counts["unconfirmed"] == 0
    assert audited.findings
    assert max(finding.script.count("\n") for finding in audited.findings) <= MOST_LINES


def test_exports_are_right(results: Mapping[str, Result]) -> None:
    """What nanobind exports is never said to be wrong, but for a stream that it ignores on the CPU."""
    broken = {result.probe for result in results.values() if result.side == "producer" and result.verdict == "broken"}
    assert broken == {"stream"}
    assert results["element[inner block]"].verdict == results["element[reversed]"].verdict == "kept"
    assert results["deleter-at-exit[versioned]"].verdict == "kept"


def test_layouts_arrive(results: Mapping[str, Result]) -> None:
    """Strides, offsets and NULL pointers arrive, also where strides are absent."""
    layouts = [result for result in results.values() if result.probe == "layout"]
    assert len(layouts) > 10
    assert {result.verdict for result in layouts} == {"kept"}


@pytest.mark.parametrize(
    ("name", "rule", "severity"),
    [
        # Of a capsule that it asked for, nanobind clears the destructor, and leaves the name.
        ("life[old]", "from_dlpack/renames", "contract"),
        ("ownership[versioned]", "from_dlpack/renames", "contract"),
        ("same-capsule-twice[old]", "from_dlpack/consumed-once", "double free"),
        # The major version is never looked at.
        ("other-version[version 2]", "from_dlpack/verifies-version", "contract"),
        # Whatever is raised is cleared, and the arguments are said not to fit.
        ("exceptions[KeyError]", "from_dlpack/propagates", "contract"),
        ("stream[stream 1234]", "__dlpack__/stream-cpu", "contract"),
    ],
)
def test_what_nanobind_breaks(results: Mapping[str, Result], name: str, rule: str, severity: str) -> None:
    """What the source of nanobind shows to break a rule is found, with its rule and severity."""
    found = results[name]
    assert (found.verdict, found.rule, found.severity) == ("broken", rule, severity)


def test_no_compiler_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler, or without that Python, one line says what is expected."""
    with monkeypatch.context() as without:
        without.setenv("CXX", "no-such-compiler")
        with pytest.raises(Missing, match=r"\Ano-such-compiler: no such compiler; expected one of C\+\+17\Z"):
            build(tmp_path)
    monkeypatch.setenv("CXX", sys.executable)
    with pytest.raises(Missing, match=r"\A\S+: No such file or directory\Z"):
        build(tmp_path, str(tmp_path / "python"))
