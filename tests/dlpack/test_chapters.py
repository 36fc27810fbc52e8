"""The rules of the exchange: each is kept by a vector and broken by another, and what is diagnosed is a rule."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from capsule_model.conform.specification import Rule, read_rules
from capsule_model.profiles import PROFILES
from capsule_model.suites import chapters_of, vectors_of
from capsule_model.trace.contract import operations
from capsule_model.trace.execute import Run, run
from dlpack_model.readings import READINGS
from dlpack_model.violations import CONSEQUENCE, Broken, Violation

PROFILE = PROFILES["cpython-3.13"]
CHAPTERS = chapters_of("dlpack")

# The rules in the order in which the chapter "overview" numbers them.
RULES: dict[int, list[str]] = {
    1: ["__dlpack__/capsule-name", "__dlpack__/name-is-static"],
    2: ["__dlpack__/capsule-destructor", "capsule-destructor/deletes-while-unconsumed"],
    3: ["DLManagedTensor/deleter-may-be-null", "DLManagedTensor/deleter-deletes-self"],
    4: ["DLManagedTensor/deleter-acquires-gil"],
    5: ["__dlpack__/max-version-none"],
    6: ["__dlpack__/copy-true", "__dlpack__/copy-false", "DLManagedTensorVersioned/is-copied"],
    7: ["__dlpack__/dl-device", "__dlpack__/buffer-error"],
    8: ["__dlpack__/stream-cpu", "__dlpack__/stream-cuda", "__dlpack__/stream-rocm", "__dlpack__/stream-minus-one"],
    9: ["DLTensor/data-of-nothing"],
    10: ["DLTensor/strides-not-null"],
    11: [
        "DLManagedTensorVersioned/flags-default-zero",
        "DLDataType/native-endianness",
        "DLDataType/sub-byte-bits",
    ],
    12: ["__dlpack_device__/tuple"],
    13: ["from_dlpack/renames", "DLManagedTensor/deleter-is-called", "DLManagedTensor/deleter-once"],
    14: ["from_dlpack/verifies-version", "from_dlpack/nothing-past-flags"],
    15: ["from_dlpack/passes-stream"],
    16: ["from_dlpack/read-only-ignored"],
    17: ["from_dlpack/unsupported-device"],
    18: ["from_dlpack/propagates", "from_dlpack/type-error-retry"],
    19: ["from_dlpack/copy-true", "from_dlpack/copy-false"],
    20: ["DLPackExchangeAPI/header-major", "DLPackExchangeAPI/functions-not-null"],
    21: ["managed_tensor_allocator/set-error"],
    22: ["current_work_stream/cpu-null"],
}
# Rules that allow, or that say which of several good outcomes it is: nothing can break them.
ALLOWED: dict[int, list[str]] = {
    5: [
        "__dlpack__/max-version-enough",
        "__dlpack__/max-version-old",
        "__dlpack__/max-version-too-old",
        "__dlpack__/may-return-another-version",
    ],
    7: ["__dlpack__/device-unsupported"],
    8: ["__dlpack__/stream-synchronised"],
    10: ["DLTensor/zero-dimensional"],
    11: ["from_dlpack/unknown-dtype"],
    14: ["from_dlpack/deletes-on-error"],
    20: ["DLPackExchangeAPI/prev-api", "dltensor_from_py_object_no_sync/may-be-null"],
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the vectors of the suite show: the vectors by id, their runs, and the violation in which each ends."""

    vectors: Mapping[str, Mapping[str, Any]]
    runs: Mapping[str, Run]
    violations: Mapping[str, Violation]

    def keeping(self, rule: str) -> list[str]:
        """Return the vectors that list a rule, reach it, and come to a good end under the ordinary readings."""
        return [
            name
            for name, vector in self.vectors.items()
            if rule in vector["rules"]
            and self.runs[name].diagnosis is None
            and self.runs[name].aborted is None
            and rule in {reached for _, reached in self.runs[name].reached}
            and not readings_of(vector)
        ]

    def breaking(self, rule: str) -> list[str]:
        """Return the vectors that list a rule and end in the diagnosis that it is broken."""
        return [
            name
            for name, violation in self.violations.items()
            if violation.rule == rule and rule in self.vectors[name]["rules"] and not readings_of(self.vectors[name])
        ]


def readings_of(vector: Mapping[str, Any]) -> list[str]:
    """Return the readings that a vector asks for."""
    return [step["args"]["reading"] for step in vector["steps"] if step["op"] == "dlpack.reading"]


@pytest.fixture(scope="module")
def shown() -> Shown:
    """Run all vectors of the suite on the model."""
    files = sorted(vectors_of("dlpack").glob("*.json"))
    vectors = {vector["id"]: vector for file in files for vector in json.loads(file.read_text("utf-8"))["vectors"]}
    runs = {name: run({"format": 1, **vector}, PROFILE, rules=True) for name, vector in vectors.items()}
    violations = {name: seen.diagnosis for name, seen in runs.items() if isinstance(seen.diagnosis, Violation)}
    return Shown(vectors, runs, violations)


@pytest.fixture(scope="module")
def rules() -> dict[str, Rule]:
    """Read the rules of the chapters."""
    return {rule.id: rule for rule in read_rules(CHAPTERS)}


def text_of(chapter: str) -> str:
    """Return the text of a chapter."""
    return (CHAPTERS / f"{chapter}.md").read_text("utf-8")


@pytest.mark.parametrize(("number", "rule"), [(number, rule) for number in RULES for rule in RULES[number]])
def test_each_rule_is_kept_and_broken(number: int, rule: str, shown: Shown) -> None:
    """A vector lists the rule and comes to a good end, and another ends in the violation of that very rule."""
    assert shown.keeping(rule), f"no vector keeps rule {number}, {rule}"
    assert shown.breaking(rule), f"no vector breaks rule {number}, {rule}"


@pytest.mark.parametrize(("number", "rule"), [(number, rule) for number in ALLOWED for rule in ALLOWED[number]])
def test_each_allowance_is_used(number: int, rule: str, shown: Shown) -> None:
    """A vector does what the rule allows, or says, and comes to a good end."""
    assert shown.keeping(rule), f"no vector shows rule {number}, {rule}"


def test_the_overview_numbers_the_rules() -> None:
    """Its table links, in the row of each number, to all rules of that number and to no other."""
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", text_of("overview"), re.MULTILINE)
    linked = {int(number): set(re.findall(r"\]\(\S+\.md#(\S+?)\)", row)) for number, row in rows}
    assert linked == {number: {anchor(rule) for rule in (*RULES[number], *ALLOWED.get(number, ()))} for number in RULES}


def anchor(heading: str) -> str:
    """Return the anchor that a heading has where Markdown is shown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_violation_names_a_rule(shown: Shown, rules: Mapping[str, Rule]) -> None:
    """What a vector of the suite is diagnosed for stands in a chapter, and the vector lists it."""
    named = {name: violation.rule for name, violation in shown.violations.items()}
    assert {name: rule for name, rule in named.items() if rule not in rules} == {}
    assert {name: rule for name, rule in named.items() if rule not in shown.vectors[name]["rules"]} == {}


def test_rules_that_bind_say_how_a_breach_is_diagnosed(shown: Shown, rules: Mapping[str, Rule]) -> None:
    """The section of a rule that vectors break names each kind of diagnosis that they end in."""
    kinds = {(violation.rule, str(violation.kind)) for violation in shown.violations.values()}
    assert {(rule, kind) for rule, kind in kinds if f"`{kind}`" not in section_of(rules[rule])} == set()


def section_of(rule: Rule) -> str:
    """Return the text under the heading of a rule; for UNDEFINED ones also what stands at the head of the chapter."""
    text = rule.file.read_text("utf-8")
    head = text.partition("\n##")[0] if rule.level == "UNDEFINED" else ""
    lines = text.split("\n")
    return head + "\n".join(lines[rule.line :]).partition("\n##")[0]


def test_the_overview_has_every_kind() -> None:
    """Its table names each kind of diagnosis once, the harmful ones first."""
    listed = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| [^|]+ \|$", text_of("overview"), re.MULTILINE)
    assert Counter(listed) == Counter(str(kind) for kind in Broken)
    assert set(listed) == set(map(str, CONSEQUENCE))


def test_the_levels_are_those_of_the_texts(rules: Mapping[str, Rule]) -> None:
    """What the texts recommend is SHOULD, what they allow is MAY, and no rule of either kind is anything else."""
    levels = {level: {rule.id for rule in rules.values() if rule.level == level} for level in ("SHOULD", "MAY")}
    assert {
        "DLTensor/data-of-nothing",
        "DLManagedTensorVersioned/flags-default-zero",
        "from_dlpack/unsupported-device",
        "from_dlpack/read-only-ignored",
        "from_dlpack/type-error-retry",
    } <= levels["SHOULD"]
    assert {"DLManagedTensor/deleter-may-be-null", "__dlpack__/may-return-another-version"} <= levels["MAY"]


def test_contradictions_and_readings_agree() -> None:
    """Each reading of the model is a section of the chapter, and each section but the last is a reading."""
    headings = re.findall(r"^## (.+)$", text_of("contradictions"), re.MULTILINE)
    assert headings.pop() == "Without a reading"
    assert sorted(headings) == sorted(READINGS)


@pytest.mark.parametrize("reading", READINGS)
def test_each_side_of_a_contradiction_is_shown(reading: str, shown: Shown) -> None:
    """The section names vectors that run without the reading, and others that ask for it and for no other."""
    section = text_of("contradictions").partition(f"\n## {reading}\n")[2].partition("\n## ")[0]
    ordinary, _, other = section.partition("- **Vectors:**")[2].partition("**Other reading:**")
    taken, turned = (re.findall(r"`(dlpack\.[a-z0-9.-]+)`", text) for text in (ordinary, other))
    assert taken
    assert turned
    assert [readings_of(shown.vectors[name]) for name in taken] == [[]] * len(taken)
    assert [readings_of(shown.vectors[name]) for name in turned] == [[reading]] * len(turned)


def test_vectors_ask_for_readings_that_exist(shown: Shown) -> None:
    """Every reading that a vector asks for is one of the model's, and every one of those is asked for."""
    asked = {reading for vector in shown.vectors.values() for reading in readings_of(vector)}
    assert asked == set(READINGS)


@pytest.mark.parametrize("reading", sorted(READINGS.keys() - {"pointer-returned"}))
def test_the_other_reading_changes_a_run(reading: str, shown: Shown) -> None:
    """A vector that asks for the reading comes out otherwise without it; an int and a pointer look alike."""
    assert any(
        changed(vector, shown.runs[name]) for name, vector in shown.vectors.items() if reading in readings_of(vector)
    )


def changed(vector: Mapping[str, Any], seen: Run) -> bool:
    """Tell whether a vector shows something else where its steps that ask for a reading are left out."""
    steps = [step for step in vector["steps"] if step["op"] != "dlpack.reading"]
    other = run({"format": 1, **vector, "steps": steps}, PROFILE)
    kept = [shown for shown, step in zip(seen.steps, vector["steps"], strict=False) if step["op"] != "dlpack.reading"]
    return (kept, how_it_ended(seen)) != (other.steps, how_it_ended(other))


def how_it_ended(seen: Run) -> tuple[str | None, str | None]:
    """Return kind and rule of the diagnosis in which a run ended."""
    return getattr(seen.diagnosis, "kind", None), getattr(seen.diagnosis, "rule", None)


def test_vectors_named_in_the_chapters_exist(shown: Shown) -> None:
    """Every id of a vector in the text of a chapter is the id of a vector; operations are named likewise."""
    known = shown.vectors.keys() | operations().keys()
    for file in sorted(CHAPTERS.glob("*.md")):
        named = re.findall(r"`(dlpack\.[a-z][a-z0-9._-]*)`", file.read_text("utf-8"))
        assert [name for name in named if name not in known and name != "dlpack.h"] == [], file.name


def test_links_between_chapters_lead_somewhere() -> None:
    """Every link of a chapter to a heading, in this folder or that of the capsule, leads to one."""
    for file in sorted(CHAPTERS.glob("*.md")):
        for target, wanted in re.findall(r"\]\(([^)#\s]*\.md)?(?:#([^)\s]+))?\)", file.read_text("utf-8")):
            there = (file.parent / target) if target else file
            assert there.is_file(), f"{file.name}: {target}"
            headings = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.MULTILINE)
            assert not wanted or wanted in map(anchor, headings), f"{file.name}: {target}#{wanted}"
