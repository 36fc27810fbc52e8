"""The committed results under both checkers: of these vectors, without surprises, and the page that shows them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from capsule_model.conform.commands import known_names
from capsule_model.locate import specs
from capsule_model.profiles import profile_named
from capsule_model.sanitize.limits import LIMITS
from capsule_model.sanitize.page import page
from capsule_model.sanitize.result import digest_of, read_document, shortcomings
from capsule_model.sanitize.verdict import claim_of
from capsule_model.suites import undefined_vectors
from capsule_model.trace.files import Vector, load

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
        assert row["model_step"] in (None, claim.step), row["id"]


@pytest.mark.parametrize("tool", ["asan", "valgrind"])
def test_tools_agree_but_for_their_limits(tool: str) -> None:
    """At least two hundred of each, no false alarm, and every miss has a reason that is declared today."""
    found = result(tool)
    assert shortcomings(found) == []
    totals = found["totals"]
    assert totals["undefined"] >= 200
    assert totals["defined"] == totals["silent"] >= 200
    assert totals["false_alarms"] == totals["not_run"] == totals["unexplained"] == 0
    assert totals["seen"] + totals["missed"] == totals["undefined"]
    assert {row["limit"] for row in found["vectors"]} <= {None, *(limit.word for limit in LIMITS)}


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
