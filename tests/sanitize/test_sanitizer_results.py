"""The committed results under both checkers: of these vectors, without surprises, and the page that shows them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from capsule_model import cli
from capsule_model.conform.commands import known_names
from capsule_model.locate import specs
from capsule_model.profiles import profile_named
from capsule_model.sanitize import command
from capsule_model.sanitize.limits import LIMITS, limit_for
from capsule_model.sanitize.page import page
from capsule_model.sanitize.reports import Tool
from capsule_model.sanitize.result import digest_of, read_document, shortcomings
from capsule_model.sanitize.verdict import claim_of
from capsule_model.suites import undefined_vectors
from capsule_model.trace.files import Vector, load
from capsule_model.undefined import Kind

FILE = specs() / "results" / "sanitizer.json"
AGAIN = "make it again with: capsule-model sanitize --tool asan|valgrind --interpreter PATH --json FILE --markdown FILE"


@cache
def document() -> dict[str, Any]:
    """Return the committed results."""
    return read_document(FILE)


def result(tool: str) -> dict[str, Any]:
    """Return the run under a tool."""
    (found,) = [run for run in document()["runs"] if run["tool"]["name"] == tool]
    return dict(found)


@cache
def vectors() -> list[Vector]:
    """Return the pairs as they are."""
    return load(undefined_vectors(), known_names()).vectors


@pytest.mark.parametrize("tool", ["asan", "valgrind"])
def test_results_are_of_these_vectors(tool: str) -> None:
    """A result older than the pairs is out of date, and none of them was left out."""
    found = result(tool)
    assert found["specification"]["vectors"] == digest_of(vectors()), AGAIN
    assert {row["id"] for row in found["vectors"]} == {vector["id"] for vector in vectors()}
    assert found["not_applicable"] == []


@pytest.mark.parametrize("tool", ["asan", "valgrind"])
def test_results_are_held_against_the_model_of_today(tool: str) -> None:
    """A model that changes its mind about a vector, or about its step, makes the results be made again."""
    found = result(tool)
    claims = {vector["id"]: claim_of(vector, profile_named(found["profile"])) for vector in vectors()}
    for row in found["vectors"]:
        claim = claims[row["id"]]
        assert row["undefined"] == (claim.kind is not None), row["id"]
        assert claim.kind in (None, row["kind"]), row["id"]
        assert row["model_step"] == (None if claim.kind in (None, Kind.LEAK) else claim.step), row["id"]


@pytest.mark.parametrize("tool", ["asan", "valgrind"])
def test_tools_agree_but_for_their_limits(tool: Tool) -> None:
    """At least two hundred of each, no false alarm, and every miss has a reason that is declared today."""
    found = result(tool)
    assert shortcomings(found) == []
    totals = found["totals"]
    assert totals["undefined"] >= 200
    assert totals["defined"] == totals["silent"] >= 200
    assert totals["false_alarms"] == totals["not_run"] == totals["unexplained"] == 0
    assert totals["seen"] + totals["missed"] == totals["undefined"]
    instrumented = found["implementation"]["instrumented"]
    for row in found["vectors"]:
        if row["verdict"] == "missed":
            limit = limit_for(tool, instrumented, row["kind"], row["id"].split(".")[2])
            assert limit is not None, row["id"]
            assert limit.word == row["limit"]


@pytest.mark.parametrize("limit", [limit for limit in LIMITS if not limit.uninstrumented], ids=lambda limit: limit.word)
def test_limit_explains_a_miss(limit: Any) -> None:
    """A limit that no tool shows any more is to be taken out."""
    for tool in limit.tools:
        assert any(row["limit"] == limit.word for row in result(tool)["vectors"]), AGAIN


def test_address_sanitizer_was_built_into_the_interpreter() -> None:
    """The accesses of the interpreter itself were watched, not only those of the C library and the adapter."""
    assert result("asan")["implementation"]["instrumented"] is True


def test_page_is_of_these_results() -> None:
    """The page is what the command makes of the results, byte for byte."""
    assert FILE.with_suffix(".md").read_text("utf-8") == page(document()), AGAIN


def test_every_key_is_documented() -> None:
    """What the file has is what its format says."""
    text = (specs() / "formats" / "sanitize.md").read_text("utf-8")
    for run in document()["runs"]:
        for keys in (run, run["totals"], run["tool"], run["implementation"], run["vectors"][0]):
            assert [key for key in keys if f"`{key}`" not in text] == []


def test_command_keeps_the_other_tools_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run takes its place beside the first one, or in the place of an earlier one of the same tool."""
    monkeypatch.setattr(command, "run_once", lambda interpreter, tool, *rest: result(tool))
    file, shown = tmp_path / "r.json", tmp_path / "r.md"
    for tool in ("valgrind", "asan", "valgrind"):
        assert cli.run(["sanitize", "--tool", tool, "--json", str(file), "--markdown", str(shown)]) == 0
    assert file.read_text("utf-8") == FILE.read_text("utf-8")
    assert shown.read_text("utf-8") == page(document())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"verdict": "false alarm", "seen": "reported", "word": "bad-free", "step": "1"}, "bad-free at step 1"),
        ({"verdict": "missed", "limit": None}, "missed, and no limit of the tool explains it"),
        ({"verdict": "not run", "seen": "refused", "word": "no"}, "not run: refused no"),
    ],
)
def test_what_is_wrong_is_told_and_counts(
    changed: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A false alarm, an unexplained miss and a vector that was not run each have a line, and the exit code is 1."""
    found = result("asan")
    found["vectors"] = [found["vectors"][0] | changed, *found["vectors"][1:]]
    monkeypatch.setattr(command, "run_once", lambda *anything: found)
    assert cli.run(["sanitize", "--tool", "asan"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(found["vectors"][0]["id"])]
    assert told in line
