"""The committed results: the page, the scripts of its findings, and the libraries that are installed here."""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dlpack_model.audit.outcome import SEVERITIES, Report
from dlpack_model.audit.page_markdown import as_markdown, write_findings
from dlpack_model.audit.registry import LIBRARIES, library_named
from dlpack_model.audit.run import audit
from dlpack_model.audit.script import MOST_LINES

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "specs" / "results"


@pytest.fixture(scope="module")
def report() -> Report:
    """Return what is committed."""
    return Report.from_json((RESULTS / "dlpack-audit.json").read_text("utf-8"))


def test_page_is_that_of_the_report(report: Report) -> None:
    """The page is what ``dlpack-model report specs/results/dlpack-audit.json --markdown FILE`` writes."""
    assert (RESULTS / "dlpack.md").read_text("utf-8") == as_markdown(report, {})


def test_scripts_are_those_of_the_report(report: Report, tmp_path: Path) -> None:
    """Every finding has its script and page in the folder, as they are in the report, and nothing else is there."""
    write_findings(report, tmp_path)
    written = {file.name: file.read_text("utf-8") for file in tmp_path.iterdir()}
    assert written == {file.name: file.read_text("utf-8") for file in (RESULTS / "findings").iterdir()}


def test_scripts_are_short_and_on_their_own(report: Report) -> None:
    """A script has at most 60 lines, is Python, and needs nothing of this project."""
    for finding in report.findings():
        assert finding.script.count("\n") <= MOST_LINES
        ast.parse(finding.script)
        assert "dlpack_model" not in finding.script


def test_every_finding_was_shown(report: Report) -> None:
    """What a script said when it was run is what the finding is about; nothing is left unconfirmed."""
    for finding in report.findings():
        start = "the process" if finding.severity == "crash" else f"{finding.severity}:"
        assert finding.shown.startswith(start)
    assert {result.verdict for one in report.audits for result in one.results} <= {
        *("kept", "broken", "choice", "unsupported")
    }


def test_all_libraries_are_there(report: Report) -> None:
    """Each library that the audit knows, nanobind, and three versions of NumPy; each audit took less than a minute."""
    assert {one.library for one in report.audits} == {*LIBRARIES, "nanobind"}
    numpy = {".".join(one.version.split(".")[:2]) for one in report.audits if one.library == "numpy"}
    assert {"1.26", "2.0"} < numpy
    assert max(one.seconds for one in report.audits) < 60
    producers = [one.library for one in report.audits if "producer" in one.roles]
    consumers = [one.library for one in report.audits if "consumer" in one.roles]
    pairs = {(pair.producer, pair.consumer) for pair in report.pairs}
    assert pairs == {(one, other) for one in producers for other in consumers}


def test_readme_has_the_figures(report: Report) -> None:
    """The table in the README counts what the report has, library by library."""
    readme = (ROOT / "README.md").read_text("utf-8")
    for one in report.audits:
        counts = [sum(finding.severity == severity for finding in one.findings) for severity in SEVERITIES[::-1]]
        row = " | ".join(str(count) if count else "·" for count in counts)
        assert f"| {one.library} {one.version} | {row} |" in readme


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_installed_library_breaks_what_is_committed(report: Report, name: str) -> None:
    """The findings of a version that is committed are found again, and no others."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    seen = audit(library_named(name), sys.executable)
    for one in report.audits:
        if (one.library, one.version) == (name, seen.version):
            assert {finding.id for finding in seen.findings} == {finding.id for finding in one.findings}
            return
    pytest.skip(f"{name} {seen.version} is not among what is committed")
