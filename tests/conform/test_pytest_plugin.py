"""The pytest plugin: vectors are items that mark, skip, fail, xfail, select and report as people expect of pytest."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from vector_samples import GET, SOUND, WRONG, vector

import capsule_model.conform.test_vectors  # noqa: F401  # once, and not in every run of pytest inside a test

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = Path(__file__).parent / "adapters"
CONTROLS = f"{sys.executable} -m capsule_model.conform.controls"
MODEL = f"{CONTROLS} model cpython-3.13"
NODE = "capsule_model.conform.test_vectors"

PENDING = GET | {"pending": {"type": "KeyError", "text": "k"}}
BY_DESIGN = "by-design: It is meant so. (https://example.org/why)"


ONE = vector("one", SOUND)
TWO = vector("two", SOUND, rules=["PyCapsule_New/returns-capsule", "PyCapsule_GetPointer/returns-pointer"])
DIFFERENT = vector("different", WRONG)
UNDEFINED = vector(
    "undefined",
    {"op": "malloc", "args": {"size": 8}, "bind": "b"},
    {"op": "free", "args": {"ptr": {"ref": "b"}}},
    {"op": "free", "args": {"ptr": {"ref": "b"}}, "expect": {"undefined": "double-free"}},
)


class Suite:
    """A folder with vectors, and pytest to run them in it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester

    def write(self, *vectors: Any) -> None:
        """Write the vectors that the next run is about."""
        (self.pytester.path / "vectors.json").write_text(json.dumps({"format": 1, "vectors": vectors}))

    def run(self, *arguments: str, adapter: str = MODEL, workers: bool = False) -> pytest.RunResult:
        """Run them with `adapter`; in a process of its own where there are workers."""
        given = ["--capsule-vectors", "vectors.json", "--capsule-adapter", adapter, "--strict-markers", "-Werror"]
        # The plugin of hypothesis would import the whole of it in every run.
        run = self.pytester.runpytest_subprocess if workers else self.pytester.runpytest_inprocess
        return run("-p", "no:hypothesispytest", "--pyargs", "capsule_model.conform", *given, *arguments)


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return an empty suite; what runs in it finds this package, and prints as on a wide terminal."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "200")
    return Suite(pytester)


def expectations(suite: Suite, outcome: str, class_: str, hashes: Mapping[str, str]) -> str:
    """Write expectations of the model for the vectors of those names; return the option that applies them."""
    lines = [
        "format = 1",
        'implementation = "capsule-model"',
        "[[divergence]]",
        f'class = "{class_}"',
        'versions = ["*"]',
        f'outcome = "{outcome}"',
        'reason = "It is meant so."',
        'link = "https://example.org/why"',
        "[divergence.vectors]",
        *(f'"test.sample.{name}" = "{observed}"' for name, observed in hashes.items()),
    ]
    (suite.pytester.path / "declared.toml").write_text("\n".join(lines))
    return "--capsule-expectations=declared.toml"


def observation(result: pytest.RunResult) -> str:
    """Return the hash that a failure shows."""
    return next(line.split()[-1] for line in result.outlines if line.strip().startswith("observation "))


def test_a_vector_is_an_item(suite: Suite) -> None:
    """Each vector passes under a node id that has its own id; the implementation is named; other tests are none."""
    suite.write(ONE, TWO)
    result = suite.run("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["capsule-model: capsule-model control, profile cpython-3.13"])
    result.stdout.fnmatch_lines([f"{NODE}::test.sample.one PASSED*", f"{NODE}::test.sample.two PASSED*"])


def test_without_an_adapter_it_is_this_interpreter(suite: Suite) -> None:
    """The ctypes adapter on the interpreter that runs pytest is the default."""
    suite.write(ONE)
    arguments = ["--pyargs", "capsule_model.conform", "--capsule-vectors", "vectors.json"]
    result = suite.pytester.runpytest_inprocess(*arguments)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"capsule-model: cpython {sys.version_info[0]}.{sys.version_info[1]}.*"])


def test_a_divergence_is_shown_as_conform_shows_it(suite: Suite) -> None:
    """Title, rules, step, call, key and three answers; no traceback; the summary begins with the title."""
    suite.write(DIFFERENT, ONE)
    result = suite.run()
    result.assert_outcomes(failed=1, passed=1)
    begin = result.outlines.index("different is shown")
    assert [line.strip() for line in result.outlines[begin : begin + 6]] == [
        "different is shown",
        "rules: PyCapsule_New/returns-capsule",
        'step 1: PyCapsule_GetPointer(c, "a"): return',
        "expected NULL",
        "model    p1",
        "seen     p1",
    ]
    result.stdout.no_fnmatch_line("*test_vectors.py*")
    result.stdout.fnmatch_lines([f"FAILED {NODE}::test.sample.different - Failed: different is shown"])


@pytest.mark.parametrize(
    "selection",
    [
        ["-k", "PyCapsule_GetPointer/returns-pointer"],
        ["-k", "returns-pointer and not one"],
        ["-m", 'capsule_rule(id="PyCapsule_GetPointer/returns-pointer")'],
    ],
)
def test_rules_select(selection: list[str], suite: Suite) -> None:
    """A rule's id, or words of it, select the vectors that list it, by keyword and by marker."""
    suite.write(ONE, TWO)
    result = suite.run("-v", *selection)
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines([f"{NODE}::test.sample.two PASSED*"])


def test_one_item_by_its_node_id(suite: Suite) -> None:
    """The node id that pytest prints is one that `pytest --pyargs` takes."""
    suite.write(ONE, TWO)
    options = ["--capsule-vectors", "vectors.json", "--capsule-adapter", MODEL]
    result = suite.pytester.runpytest_inprocess("--pyargs", f"{NODE}::test.sample.two", *options)
    result.assert_outcomes(passed=1)


def test_a_declared_divergence_is_an_expected_failure(suite: Suite) -> None:
    """Its reason and link are shown; with --runxfail the divergence is."""
    suite.write(DIFFERENT, ONE)
    option = expectations(suite, "failed", "by-design", {"different": observation(suite.run())})
    result = suite.run(option, "-rx")
    result.assert_outcomes(xfailed=1, passed=1)
    result.stdout.fnmatch_lines([f"XFAIL {NODE}::test.sample.different - {BY_DESIGN}"])
    assert result.ret == 0
    shown = suite.run(option, "--runxfail")
    shown.assert_outcomes(failed=1, passed=1)
    shown.stdout.fnmatch_lines(['*step 1: PyCapsule_GetPointer(c, "a"): return'])
    shown.stdout.no_fnmatch_line("*test_vectors.py*")


def test_a_declared_divergence_that_has_gone_fails(suite: Suite) -> None:
    """It is a strict unexpected pass, with the reason that was declared."""
    suite.write(ONE)
    result = suite.run(expectations(suite, "failed", "by-design", {"one": "0" * 16}))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"[[]XPASS(strict)[]] {BY_DESIGN}"])


@pytest.mark.parametrize(
    ("outcome", "hash16", "message"),
    [
        ("failed", "0" * 16, "*: test.sample.different: another observation: *; expected 0000000000000000"),
        ("crashed", "0" * 16, "*: test.sample.different: another outcome: failed with observation *; expected crashed"),
    ],
)
def test_another_divergence_than_declared_fails(outcome: str, hash16: str, message: str, suite: Suite) -> None:
    """The failure shows what was seen, and what was declared."""
    suite.write(DIFFERENT)
    result = suite.run(expectations(suite, outcome, "differs", {"different": hash16}))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["different is shown", f"declared.toml: divergence 1 {message}"])


def test_what_is_lacking_is_skipped_with_its_reason(suite: Suite) -> None:
    """The adapter's own reason is told, and the declared one where there is one."""
    suite.write(vector("pending", PENDING), ONE)
    ctypes = f"{sys.executable} {ROOT / 'specs' / 'adapters' / 'ctypes_adapter.py'} --no-driver"
    result = suite.run("-rs", adapter=ctypes)
    result.assert_outcomes(skipped=1, passed=1)
    result.stdout.fnmatch_lines(["SKIPPED*: lacks error-indicator (the driver is switched off)*"])
    nothing = suite.run("-rs", adapter=f"{CONTROLS} null")
    nothing.assert_outcomes(skipped=2)
    nothing.stdout.fnmatch_lines(["SKIPPED*: lacks *PyCapsule_New*"])


def test_what_does_not_apply_is_skipped(suite: Suite) -> None:
    """A behaviour that the profile lacks, and undefined behaviour, are no failures and no passes."""
    suite.write(UNDEFINED, vector("old", SOUND, requires=["!setpointer-checks-capsule-first"]))
    result = suite.run("-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*: undefined behaviour: only the model runs it"])
    result.stdout.fnmatch_lines(["SKIPPED*: not applicable: the profile lacks a behaviour that the vector requires"])


def test_a_crash_is_one_failure(suite: Suite) -> None:
    """The adapter is started again, and the other vectors lose nothing."""
    suite.write(ONE, TWO, vector("three", SOUND))
    result = suite.run(adapter=f"{sys.executable} {ADAPTERS / 'misbehaving.py'} signal test.sample.two")
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["crashed: two is shown", "*died of SIGSEGV*"])


def test_late_noise_is_no_pass(suite: Suite) -> None:
    """What an adapter does after its answer fails the item that notices it, and names the vector to blame."""
    # Without names and tokens a vector has no renamed copy, which would notice at once.
    nothing = {"op": "PyCapsule_IsValid", "args": {"capsule": None, "name": None}, "expect": {"return": 0}}
    suite.write(*(vector(name) | {"steps": [nothing], "leaks": []} for name in ("one", "two", "three", "four")))
    result = suite.run(adapter=f"{sys.executable} {ADAPTERS / 'misbehaving.py'} noise-after test.sample.two")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*vector test.sample.three*",
            "test.sample.two is to blame: after its answer, before that of test.sample.three, the adapter *bye*",
            "test.sample.three itself, run again: passed",
        ]
    )


def test_a_bad_vector_is_one_line(suite: Suite) -> None:
    """It is an error of collection that hides no sound vector from those who go on."""
    suite.write(5, ONE)
    result = suite.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["vectors.json: vector number 0: found 5; expected an object"])
    result.stdout.no_fnmatch_line("*Traceback*")
    suite.run("--continue-on-collection-errors").assert_outcomes(errors=1, passed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--capsule-adapter", "/no/such"], "the adapter cannot be started: /no/such: No such file or directory"),
        (["--capsule-adapter", "'"], "No closing quotation"),
        (["--capsule-profile", "cpython-2.7"], "unknown profile 'cpython-2.7': expected one of cpython-3.10"),
        (["--capsule-expectations", "nothing.toml"], "nothing.toml: no such file; expected expectations in TOML"),
        (["--capsule-expectations", "other.toml"], 'implementation is "pypy"; expected "capsule-model"'),
        (["--capsule-expectations", "unknown.toml"], "no vector test.sample.ones; expected test.sample.one"),
        (["--capsule-time-limit", "-1"], "'-1' is no time limit; expected seconds from 0.01 to 86400"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], message: str, suite: Suite) -> None:
    """Exit code 4, as pytest has it, and what would be right."""
    suite.write(ONE)
    expectations(suite, "failed", "differs", {"ones": "0" * 16})
    (suite.pytester.path / "declared.toml").rename(suite.pytester.path / "unknown.toml")
    (suite.pytester.path / "other.toml").write_text('format = 1\nimplementation = "pypy"\n')
    result = suite.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sum(message in line for line in result.errlines + result.outlines) == 1
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_file_of_expectations_may_name_what_is_not_selected(suite: Suite) -> None:
    """Selecting vectors makes no entry about another one unknown."""
    suite.write(ONE, DIFFERENT)
    option = expectations(suite, "failed", "differs", {"different": "0" * 16})
    suite.run(option, "-k", "one").assert_outcomes(passed=1, deselected=1)


def test_listing_starts_no_adapter(suite: Suite) -> None:
    """With --collect-only, and where nothing is selected, no adapter is needed."""
    suite.write(ONE)
    assert suite.run("--collect-only", adapter="/no/such").ret == 0
    assert suite.run("-k", "nothing", adapter="/no/such").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_last_failed_and_exit_first(suite: Suite) -> None:
    """`--lf` runs again what failed, and `-x` stops there."""
    suite.write(ONE, DIFFERENT, TWO)
    suite.run("-x").assert_outcomes(passed=1, failed=1)
    suite.run("--lf").assert_outcomes(failed=1)


def test_the_adapter_is_started_once_and_stopped(suite: Suite) -> None:
    """One process serves all items, and is asked to end."""
    suite.write(ONE, TWO)
    suite.run(adapter=f"{sys.executable} {ADAPTERS / 'tap.py'} log {MODEL}").assert_outcomes(passed=2)
    lines = [json.loads(line) for line in (suite.pytester.path / "log").read_text().splitlines()]
    asked = [json.loads(line["line"])["cmd"] for line in lines if line["to"] == "adapter"]
    assert [asked.count(command) for command in ("start", "stop")] == [1, 1]
    assert asked[-1] == "stop"


def test_workers(suite: Suite) -> None:
    """Under pytest-xdist every vector has its outcome; marks and reasons come through."""
    suite.write(*(vector(f"n{number}", SOUND) for number in range(6)), DIFFERENT, UNDEFINED)
    result = suite.run("-n2", "-rs", workers=True)
    result.assert_outcomes(passed=6, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["different is shown", '*step 1: PyCapsule_GetPointer(c, "a"): return'])
    result.stdout.fnmatch_lines(["SKIPPED*: undefined behaviour: only the model runs it"])


def test_bad_usage_with_workers(suite: Suite) -> None:
    """It is found before there are workers, which could not end the run for it."""
    suite.write(ONE)
    result = suite.run("-n2", adapter="/no/such", workers=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sum("cannot be started: /no/such" in line for line in result.errlines + result.outlines) == 1


def test_junit_xml(suite: Suite) -> None:
    """The class is the suite, the name the vector; rules are properties, the divergence is the message."""
    suite.write(TWO, DIFFERENT)
    suite.run("--junitxml=report.xml")
    cases = {case.get("name"): case for case in ElementTree.parse(suite.pytester.path / "report.xml").iter("testcase")}
    assert {case.get("classname") for case in cases.values()} == {NODE}
    properties = [(each.get("name"), each.get("value")) for each in cases["test.sample.two"].iter("property")]
    assert properties == [("capsule_rule", rule) for rule in TWO["rules"]]
    failure = cases["test.sample.different"].find("failure")
    assert failure is not None
    assert "different is shown\n  rules: PyCapsule_New/returns-capsule\n  step 1: " in (failure.get("message") or "")


def test_other_runs_are_left_alone(suite: Suite) -> None:
    """In a run about something else the plugin imports nothing beyond the package's own face."""
    suite.pytester.makepyfile(
        """
        import sys

        def test_it():
            loaded = {name for name in sys.modules if name.startswith("capsule_model.conform.")}
            assert loaded == {"capsule_model.conform.pytest_plugin"}
            assert not {"rich", "click", "jsonschema_rs"} & sys.modules.keys()
        """
    )
    suite.pytester.runpytest_subprocess().assert_outcomes(passed=1)
