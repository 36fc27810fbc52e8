"""The cross: its outcomes, its committed table, and the recursion on a real interpreter."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import pytest

from dlpack_model.cross import PAGE, TABLE, files, main
from dlpack_model.cross_page import GOOD, verdict
from dlpack_model.cross_run import ALONE, FATES, PRODUCERS, STYLES, Combination, Outcome, combinations, run, run_all
from dlpack_model.deleters import DELETERS
from dlpack_model.destructors import DESTRUCTORS
from dlpack_model.real import recursion

RESULTS = Path(__file__).resolve().parents[2] / "specs" / "results"


def _run(fate: str, consumer: str = "", destructor: str = "save-error", deleter: str = "normal") -> str:
    return verdict(run(Combination("1.3", destructor, deleter, fate, consumer)))


def test_the_committed_table_is_up_to_date() -> None:
    """Running every combination gives the committed page and the committed list, to the letter."""
    for name, text in files(run_all(), RESULTS).items():
        assert (RESULTS / name).read_text(encoding="utf-8") == text, f"{name} is out of date"


def test_the_cross_is_full() -> None:
    """Every declared destructor and deleter meets every producer, every fate, and every consumer where there is one."""
    made = list(combinations())
    without, consumed = len(ALONE), len(FATES) * len(STYLES)
    assert len(made) == len(set(made)) == len(PRODUCERS) * len(DESTRUCTORS) * len(DELETERS) * (without + consumed)
    assert {one.destructor for one in made} == set(DESTRUCTORS)
    assert {one.deleter for one in made} == set(DELETERS)
    assert len(made) >= 1_000


def test_the_list_says_what_the_runs_said() -> None:
    """A row and a column of the committed list lead to the outcome of that combination."""
    found = json.loads((RESULTS / TABLE).read_text(encoding="utf-8"))
    row = next(row for row in found["rows"] if (row["producer"], row["destructor"]) == ("1.0", "always-deletes"))
    column = found["columns"].index({"fate": "consumed twice", "consumer": "rename-only"})
    outcome = found["outcomes"][row["outcomes"][column]]
    seen = run(Combination("1.0", "always-deletes", row["deleter"], "consumed twice", "rename-only"))
    assert (outcome["first"], outcome["rule"], outcome["end"]) == (seen.first, seen.rule, seen.end)
    assert found["combinations"] == sum(len(row["outcomes"]) for row in found["rows"])


@pytest.mark.parametrize("fate", [*ALONE, *FATES])
def test_who_keeps_the_rules_is_safe_but_under_a_foreign_name(fate: str) -> None:
    """A good producer and a good consumer are safe whatever becomes of the capsule, unless it is renamed."""
    expected = "✗ no-owner, leak" if fate.startswith("renamed") else "✓"
    assert _run(fate, "" if fate in ALONE else "rename-only") == expected


@pytest.mark.parametrize(
    ("fate", "changed", "expected"),
    [
        ("renamed to a foreign name and dropped", {"destructor": "specification-example"}, "✗ dealloc-reentered"),
        ("dropped", {"destructor": "always-deletes"}, "△ contract"),
        ("consumed", {"destructor": "get-pointer-alone"}, "✗ error-left"),
        ("consumed, dropped with an exception pending", {"destructor": "get-pointer-alone"}, "✗ error-lost"),
        ("consumed", {"consumer": "never-renames"}, "✗ contract, use-after-deleter"),
        ("consumed twice", {"consumer": "never-renames"}, "✗ contract, deleter-called-twice"),
        ("consumed", {"consumer": "fails-after-claim"}, "✗ deleter-called-twice"),
        ("consumed, dropped without the GIL", {"deleter": "without-gil"}, "✗ gil-not-held"),
        ("consumed, dropped after finalisation", {"deleter": "careless-late"}, "✗ after-finalisation"),
        ("consumed", {"deleter": "null", "consumer": "calls-null-deleter"}, "✗ null-deleter-called"),
        ("dropped", {"deleter": "null", "destructor": "get-pointer-alone"}, "✗ abort"),
        ("dropped", {"destructor": "none"}, "✗ contract, leak"),
    ],
)
def test_a_fault_shows_where_it_matters(fate: str, changed: dict[str, str], expected: str) -> None:
    """What was broken first and what it came to are told apart."""
    consumer = "" if fate in ALONE else "rename-only"
    assert _run(fate, **{"consumer": consumer, **changed}) == expected


def test_refusals_are_no_faults() -> None:
    """A producer of another major version refuses, and one that does not ask leaves it to the consumer."""
    for producer in ("2.0", "2.0, whatever is asked"):
        assert verdict(run(Combination(producer, "save-error", "normal", "consumed", "rename-only"))) == "○"
    careless = Combination("2.0, whatever is asked", "save-error", "normal", "consumed", "no-version-check")
    assert run(careless) == Outcome("read-past-flags", "from_dlpack/verifies-version", "read-past-flags")


def test_the_page_has_the_recursion_beside_the_example(tmp_path: Path) -> None:
    """The figure is the one that was measured; without one the page is silent about it."""
    page = (RESULTS / PAGE).read_text(encoding="utf-8")
    measured = json.loads((RESULTS / recursion.RESULT).read_text(encoding="utf-8"))
    assert measured["python"].startswith("3.11.")
    assert f"On CPython {measured['python']}" in page
    assert f"{measured['depth']:,} calls deep and ended by {measured['signal']}" in page
    few = {one: Outcome("", "", "safe") for one in combinations()}
    assert "calls deep" not in files(few, tmp_path)[PAGE]
    assert GOOD in few


def test_the_command_wants_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A folder that does not exist is bad usage, told in one line."""
    assert main(["--output", str(tmp_path / "absent")]) == 2
    assert "expected a folder that exists" in capsys.readouterr().err


def _measured(limit: int) -> dict[str, object]:
    if platform.python_implementation() != "CPython":
        pytest.skip("reference counts are CPython's")
    try:
        return recursion.measure(limit)
    except recursion.NoCompiler as reason:
        pytest.skip(str(reason))


def test_the_example_recurses_on_this_interpreter() -> None:
    """Under a foreign name the real destructor runs inside itself as often as it is let."""
    seen = _measured(700)
    assert (seen["depth"], seen["stopped"], seen["signal"]) == (700, True, None)


def test_the_recursion_ends_the_process() -> None:
    """Without a limit the process does not come back from it."""
    seen = _measured(0)
    assert seen["signal"] in ("SIGSEGV", "SIGBUS", "SIGABRT")
    assert isinstance(seen["depth"], int)
    assert seen["depth"] > 700


def test_a_machine_without_compiler_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the example cannot be compiled, the command says so in one line and returns 2."""
    monkeypatch.setattr(shutil, "which", lambda command: None)
    assert recursion.main(["--limit", "3"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
