"""The committed results: there, of these vectors, without surprises, and the page that shows them up to date."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from capsule_model.cli import run
from capsule_model.conform.answers import Started
from capsule_model.conform.commands import known_names
from capsule_model.conform.expectations import Expectations, builtin_expectations, shipped_ids
from capsule_model.conform.report import vectors_digest
from capsule_model.locate import specs
from capsule_model.show.comparison import compare, shortcomings
from capsule_model.show.results import Column, read_results
from capsule_model.suites import vectors_of
from capsule_model.trace.files import load

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "specs" / "results"

# By name: implementation, the beginning of its version, and the profile that it is held to, where CPython's own.
REQUIRED = {
    "cp39": ("cpython", "3.9.", "cpython-3.9"),
    "py310": ("cpython", "3.10.", "cpython-3.10"),
    "cp311": ("cpython", "3.11.", "cpython-3.11"),
    "py312": ("cpython", "3.12.", "cpython-3.12"),
    "cp313": ("cpython", "3.13.", "cpython-3.13"),
    "cp314": ("cpython", "3.14.", "cpython-3.14"),
    "cp315": ("cpython", "3.15.", "cpython-3.15"),
    "cp311d": ("cpython", "3.11.", "cpython-3.11-debug"),
    "cp313d": ("cpython", "3.13.", "cpython-3.13-debug"),
    "cp315d": ("cpython", "3.15.", "cpython-3.15-debug"),
    "cp313t": ("cpython", "3.13.", "cpython-3.13-free-threaded"),
    "cp313i386": ("cpython", "3.13.", "cpython-3.13-32"),
    "cp313s390x": ("cpython", "3.13.", "cpython-3.13-be"),
    "pypy39": ("pypy", "7.3.11", None),
    "pypy311": ("pypy", "7.3.19", None),
    "pypy311v8": ("pypy", "8.0.1", None),
    "pyodide313": ("pyodide", "", None),
    "pyodide314": ("pyodide", "", None),
}
# No compiler builds for these where the results are made.
WITHOUT_COMPILER = {"cp313s390x"}
MOST_UNSUPPORTED = 0.02
# What other commands make beside them, with tests of their own.
OTHERS = set("dlpack-audit dlpack-cross dlpack-recursion explore inspect inspect-libraries mutants sanitizer".split())
NAMES = sorted({*REQUIRED, *(file.stem for file in RESULTS.glob("*.json"))} - OTHERS)


@cache
def column(name: str) -> Column:
    """Return the committed result of that name; fail with the command that makes it where there is none."""
    file = RESULTS / f"{name}.json"
    if not file.is_file():
        pytest.fail(f"no specs/results/{name}.json; {again(name)}", pytrace=False)
    return read_results([file])[0]


@cache
def digest() -> str:
    """Return the hash of the vectors as they are."""
    loaded = load(vectors_of(), known_names())
    assert not loaded.problems
    return vectors_digest(loaded.vectors)


def again(name: str) -> str:
    """Say how a result is made again."""
    return f"make it again with: capsule-model matrix {name} --interpreters DIR --output specs/results"


@pytest.mark.parametrize("name", NAMES)
def test_result_is_of_these_vectors(name: str) -> None:
    """A result older than the vectors is out of date."""
    found = column(name).vectors
    if found != digest():
        pytest.fail(f"specs/results/{name}.json is of vectors {found}, not {digest()}; {again(name)}", pytrace=False)


@pytest.mark.parametrize("name", NAMES)
def test_result_has_the_reasons_of_today(name: str) -> None:
    """A result older than the expectations of its implementation is out of date."""
    document = json.loads((specs() / "results" / f"{name}.json").read_text("utf-8"))
    about = document["implementation"]
    declared = builtin_expectations(about["name"], shipped_ids()) or Expectations(about["name"])
    started = Started(about["name"], about["version"], about["profile"], frozenset(), frozenset())
    if document["expectations"]["files"]:
        assert document["expectations"]["digest"] == declared.digest(started), again(name)
    else:
        assert not declared.applying(started), again(name)


@pytest.mark.parametrize("name", NAMES)
def test_result_has_no_surprises(name: str) -> None:
    """What diverges is declared with a reason, what is declared is so, and something passed."""
    found = column(name)
    assert shortcomings(found) == [], [entry.id for entry in found.entries if entry.kind == "unexpected"][:10]


@pytest.mark.parametrize("name", REQUIRED)
def test_result_is_of_what_its_name_says(name: str) -> None:
    """Implementation, version and profile are those that the name stands for."""
    found = column(name)
    implementation, version, profile = REQUIRED[name]
    assert found.implementation == implementation
    assert found.version.startswith(version)
    assert profile in (None, found.profile)


@pytest.mark.parametrize("name", [name for name, (is_of, _, _) in REQUIRED.items() if is_of == "cpython"])
def test_cpython_is_met(name: str) -> None:
    """A CPython diverges nowhere, and where a compiler can build for it, next to nothing is unsupported.

    What a version or a build does otherwise is a behaviour of its profile, not an expectation.
    """
    kinds = column(name).kinds
    asked = kinds.total() - kinds["quiet"]
    assert name in WITHOUT_COMPILER or kinds["unsupported"] <= MOST_UNSUPPORTED * asked
    assert kinds["by-design"] == kinds["differs"] == kinds["crash"] == 0


def test_nothing_is_suspect() -> None:
    """No vector fails on every implementation that ran it."""
    assert not compare([column(name) for name in NAMES]).suspects


def test_page_is_what_its_own_command_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that the page gives makes the page, byte for byte, of all results in the folder."""
    page = RESULTS / "README.md"
    assert page.is_file(), "no specs/results/README.md; make it with: capsule-model report NAME.json... --markdown ..."
    text = page.read_bytes()
    command = re.search(r"^    capsule-model (report .*)$", text.decode("utf-8"), re.MULTILINE)
    assert command is not None
    words = shlex.split(command[1])
    assert sorted(word.removesuffix(".json") for word in words if word.endswith(".json")) == NAMES
    made = tmp_path / "README.md"
    monkeypatch.chdir(RESULTS)
    assert words[-2:] == ["--markdown", "README.md"]
    assert run([*words[:-1], str(made)]) == 0
    assert made.read_bytes() == text, f"specs/results/README.md is out of date; in its folder: {command[0].strip()}"


def test_page_is_linked() -> None:
    """The project's README leads to the results."""
    assert "(specs/results/README.md)" in (ROOT / "README.md").read_text("utf-8")
