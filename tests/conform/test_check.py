"""The command `check`: each kind of loose end is found, and named in one line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from capsule_model.conform import check as module
from capsule_model.conform.check import (
    check,
    findings_of_rules,
    findings_of_scope,
    findings_of_vectors,
    unseen_behaviours,
)
from capsule_model.conform.specification import Rule
from capsule_model.profiles import BEHAVIOURS, PROFILES

NEW: dict[str, Any] = {
    "op": "PyCapsule_New",
    "args": {"pointer": {"ptr": "p1"}, "name": {"cstr": "a"}, "destructor": None},
    "bind": "c",
}
RULE = "PyCapsule_New/returns-capsule"


def rule(
    identifier: str = "A/a", level: str = "MUST", source: str = "s", sentence: str = "x", when: tuple[str, ...] = ()
) -> Rule:
    """Return a rule."""
    return Rule(identifier, Path("a.md"), 3, level, when, source, sentence, ())


def vector(**changes: Any) -> dict[str, Any]:
    """Return a vector that shows how a capsule is made."""
    return {"id": "test.check", "title": "t", "rules": [RULE], "steps": [NEW], "leaks": ["c"], **changes}


@pytest.mark.parametrize(
    ("rules", "code", "listed", "finding"),
    [
        ([rule(), rule()], {"A/a"}, ["A/a"], "a.md:3: rule A/a stands 2 times; expected once"),
        ([rule(level="OUGHT")], {"A/a"}, ["A/a"], "a.md:3: rule A/a has the level 'OUGHT'; expected one of MUST"),
        ([rule(source="")], {"A/a"}, ["A/a"], "a.md:3: rule A/a has no source"),
        ([rule(sentence="")], {"A/a"}, ["A/a"], "a.md:3: rule A/a has no sentence"),
        ([rule()], set(), ["A/a"], "a.md:3: rule A/a is named nowhere in the code"),
        ([rule()], {"A/a"}, [], "a.md:3: rule A/a is shown by no vector"),
        ([rule("A/a!")], {"A/a!"}, ["A/a!"], "a.md:3: A/a! is no id of a rule"),
        ([], {"A/a"}, [], "m.py:1: the code names A/a, which is no rule"),
        ([], set(), ["A/a"], "vector test.check: names A/a, which is no rule"),
    ],
)
def test_loose_ends_of_rules(rules: list[Rule], code: set[str], listed: list[str], finding: str) -> None:
    """Each loose end between rules, code and vectors is one finding."""
    found = list(findings_of_rules(rules, {name: ["m.py:1"] for name in code}, [vector(rules=listed)]))
    assert found
    assert all(line.startswith(finding) for line in found)
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("when", "profile", "finding"),
    [
        ((), "cpython-3.11", None),
        (
            ("gc-capsule",),
            "cpython-3.11",
            f"a.md:3: rule {RULE} is reached under cpython-3.11 against its **When:** line",
        ),
        (("gc-capsule",), "cpython-3.13", None),
        (("!gc-capsule",), "cpython-3.11", None),
        (("gc",), "cpython-3.11", f"a.md:3: rule {RULE} names no behaviour by gc"),
    ],
)
def test_the_scope_of_a_rule(when: tuple[str, ...], profile: str, finding: str | None) -> None:
    """A rule that is reached where its When line says it does not apply is a finding, and so is an unknown name."""
    found = list(findings_of_scope([rule(RULE, when=when)], [vector()], PROFILES[profile]))
    assert found == ([] if finding is None else [finding])


def test_a_rule_that_no_release_build_reaches() -> None:
    """A binding rule that applies and is not reached is a finding for a release build, not for a debug build."""
    lonely = rule("A/never")
    (line,) = findings_of_scope([lonely], [vector()], PROFILES["cpython-3.11"])
    assert line.startswith("a.md:3: rule A/never is not reached under cpython-3.11; expected")
    assert list(findings_of_scope([lonely], [vector()], PROFILES["cpython-3.11-debug"])) == []
    assert list(findings_of_scope([rule("A/never", "UNDEFINED")], [vector()], PROFILES["cpython-3.11"])) == []


@pytest.mark.parametrize("level", ["MUST", "SHOULD", "MAY", "UNDEFINED"])
def test_nothing_is_found_where_all_is_tied(level: str) -> None:
    """A rule with one of the levels, source, sentence, code and vector is no finding, nor is a sound vector."""
    assert list(findings_of_rules([rule(level=level)], {"A/a": ["m.py:1"]}, [vector(rules=["A/a"])])) == []
    assert list(findings_of_vectors([vector()])) == []


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"rules": [RULE, "PyCapsule_New/null-pointer"]}, "lists PyCapsule_New/null-pointer but never reaches it"),
        ({"leaks": []}, 'step end: leaks: expected [], the model has ["c"] (under cpython-3.9)'),
        (
            {"steps": [NEW | {"expect": {"return": None}}]},
            "step 0: return: expected NULL, the model has c (under cpython-3.9)",
        ),
        ({"requires": ["gc-capsule", "!gc-capsule"]}, "no profile has what it requires"),
        (
            {
                "requires": ["gc-capsule"],
                "steps": [NEW | {"variants": [{"when": "!gc-capsule", "expect": {}}]}],
            },
            "step 0: no profile selects the variant !gc-capsule",
        ),
        (
            {
                "steps": [
                    NEW,
                    {
                        "op": "types.CapsuleType",
                        "args": {},
                        "expect": {"return": {"absent": True}},
                    },
                ]
            },
            "step 1: return: expected no such operation, the model has",
        ),
        ({"steps": [{"op": "Py_INCREF", "args": {"op": {"ref": "?9"}}}]}, "step 0: "),
    ],
)
def test_what_a_vector_claims_and_no_run_bears_out(changes: dict[str, Any], finding: str) -> None:
    """Rules, expectations, leaks, variants and requirements are tried under every profile."""
    found = list(findings_of_vectors([vector(**changes)]))
    assert any(line.startswith(f"vector test.check: {finding}") for line in found), found


def test_a_rule_may_be_reached_under_another_profile() -> None:
    """A rule that only some versions carry out is reached if one of them does."""
    step = {
        "op": "PyCapsule_SetPointer",
        "args": {"capsule": None, "pointer": None},
        "expect": {"return": -1, "error": {"type": "ValueError"}},
    }
    rules = ["PyCapsule_SetPointer/null-pointer-first", "PyCapsule_SetPointer/invalid"]
    assert list(findings_of_vectors([vector(rules=rules, steps=[step], leaks=[])])) == []


def test_a_behaviour_that_no_vector_shows() -> None:
    """Flipping a behaviour must change a run; without vectors no behaviour is shown."""
    assert len(list(unseen_behaviours([]))) == len(BEHAVIOURS)
    shown = vector(steps=[NEW, {"op": "types.CapsuleType", "args": {}}])
    unseen = "\n".join(unseen_behaviours([shown]))
    assert "behaviour types-capsuletype:" not in unseen
    assert "behaviour setpointer-checks-capsule-first:" in unseen


def _specification(folder: Path, *vectors: Any) -> Path:
    (folder / "capsule").mkdir()
    (folder / "vectors" / "capsule").mkdir(parents=True)
    text = f"### {RULE}\n\n- **Level:** MUST\n- **Source:** s\n\nA capsule is returned.\n\n- **Vectors:** none\n"
    (folder / "capsule" / "new.md").write_text(text)
    (folder / "vectors" / "capsule" / "new.json").write_text(json.dumps({"format": 1, "vectors": vectors}))
    return folder


def _checked(folder: Path, *, fix: bool = False) -> tuple[int, list[str]]:
    stream = io.StringIO()
    code = check(folder, fix=fix, console=Console(file=stream, highlight=False))
    return code, stream.getvalue().splitlines()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out-of-date lines are a finding, `--fix` repairs them, then all is clean; bad input is 2."""
    monkeypatch.setattr(module, "code_rules", lambda more: {RULE: ["capsule.py:1"]})
    monkeypatch.setattr(module, "BEHAVIOURS", {})
    folder = _specification(tmp_path, vector())
    code, lines = _checked(folder)
    assert (code, lines) == (
        1,
        [
            "new.md: its Vectors lines are out of date; expected what check --fix writes",
            "1 findings: 1 rules, 1 vectors, 0 behaviours",
        ],
    )
    assert _checked(folder, fix=True) == (0, ["clean: 1 rules, 1 vectors, 0 behaviours"])
    assert "- **Vectors:** `test.check`\n" in (folder / "capsule" / "new.md").read_text()
    (folder / "vectors" / "bad.json").write_text("{")
    code, lines = _checked(folder)
    assert code == 2
    assert lines[0].startswith(f"{folder / 'vectors' / 'bad.json'}: not JSON")


def test_every_profile_runs_the_flips() -> None:
    """The profiles left out of the search for unseen behaviours differ by word size or byte order alone."""
    machine = {"four-byte-words", "big-endian"}
    kept = {profile.behaviours for profile in module._representative().values()}
    assert {profile.behaviours - machine for profile in PROFILES.values()} <= kept
