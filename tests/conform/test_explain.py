"""The command `explain`, and what `profiles` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capsule_model.cli import run
from capsule_model.conform.explain import explained
from capsule_model.conform.profile_diff import profile_diff
from capsule_model.conform.words import call_text, step_at, value_text
from capsule_model.profiles import PROFILES

NEW: dict[str, Any] = {
    "op": "PyCapsule_New",
    "args": {"pointer": {"ptr": "p1"}, "name": {"cstr": "mod.attr"}, "destructor": {"function": "d"}},
    "bind": "c",
}
DECREF = {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}, "expect": {"events": [{"call": "d"}]}}
INSIDE = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"arg": 0}, "name": None}}
VECTOR: dict[str, Any] = {
    "id": "test.explained",
    "title": "a capsule dies",
    "rules": ["PyCapsule_New/returns-capsule"],
    "functions": {"d": {"kind": "destructor", "steps": [INSIDE]}},
    "steps": [NEW, DECREF],
}


def lines(vector: dict[str, Any], profile: str = "cpython-3.13", **sentences: str) -> list[str]:
    """Return the explanation of `vector` with its indentation."""
    return ["  " * indent + text for indent, text, _ in explained(vector, PROFILES[profile], sentences)]


def test_a_run_in_words() -> None:
    """Calls stand as C, changes and destructor calls under the step that caused them, with the rule that decided."""
    told = lines(VECTOR, **{"dealloc/calls-destructor": "It is called."})
    new = told.index('step 0: c = PyCapsule_New(p1, "mod.attr", d)')
    assert told[new + 1] == "  returns c"
    assert "  c is new: refcnt 1, pointer p1, name #0.name, context NULL, destructor d" in told
    death = told.index("step 1: Py_DECREF(c)")
    assert told[death + 1 : death + 3] == [
        "  d(c) is called, reference count 0",
        "    step 1/d.1/0: PyCapsule_GetPointer(self, NULL)",
    ]
    assert '      sets ValueError "PyCapsule_GetPointer called with incorrect name"' in told
    assert "  rule dealloc/calls-destructor: It is called." in told[death:]
    assert "  c is gone" in told[death:]
    assert told[-2] == "at the end, still owned: nothing"


def test_fields_before_and_after() -> None:
    """A setter shows what the field was and what it is."""
    step = {"op": "PyCapsule_SetContext", "args": {"capsule": {"ref": "c"}, "context": {"ptr": "p2"}}}
    assert "  c.context: NULL → p2" in lines(VECTOR | {"steps": [NEW, step]})


def test_a_diagnosis_comes_with_its_history() -> None:
    """A vector that ends in undefined behaviour is told to its end: kind, fact, consequence."""
    steps = [NEW, DECREF, {"op": "PyCapsule_GetName", "args": {"capsule": {"ref": "c"}}}]
    told = lines(VECTOR | {"steps": steps})
    end = told.index("step 2: PyCapsule_GetName(c)")
    assert any(line.startswith("  use-after-free: ") for line in told[end:])
    assert any("consequence: " in line for line in told[end:])
    assert any("not as the vector expects: step 2: undefined" in line for line in told[end:])


def test_a_difference_from_the_vector_is_said() -> None:
    """An expectation that the model does not meet is the last line."""
    assert lines(VECTOR | {"leaks": ["c"]})[-1] == (
        'not as the vector expects: step end: leaks: expected ["c"], the model has []'
    )


def test_a_file_is_explained_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path instead of an id explains its vectors; a bad one beside them makes it exit 2."""
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"format": 1, **VECTOR}))
    assert run(["explain", str(file), "--profile", "cpython-3.9"]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[:2] == ["test.explained: a capsule dies", "under cpython-3.9"]
    file.write_text(json.dumps({"format": 1, "vectors": [VECTOR, {}]}))
    assert run(["explain", str(file)]) == 2
    assert "step 1: Py_DECREF(c)" in capsys.readouterr().out


def test_a_profile_that_a_vector_excludes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A vector that does not apply is not explained under that profile, and under another by default."""
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"format": 1, **VECTOR, "requires": ["dealloc-checks-error"]}))
    assert run(["explain", str(file), "--profile", "cpython-3.9"]) == 2
    assert "test.explained requires dealloc-checks-error" in capsys.readouterr().err
    assert run(["explain", str(file)]) == 0


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ({"op": "free", "args": {"ptr": {"ref": "b", "offset": -4}}}, "free(b - 4)"),
        ({"op": "PyCapsule_SetPointer", "args": {"pointer": None, "capsule": {"object": "int"}}}, "(<int>, NULL)"),
        ({"op": "string", "args": {"bytes": {"hex": "00ff"}}, "bind": "s"}, 's = string("\\x00\\xff")'),
        ({"op": "PyCapsule_GetName", "args": {"capsule": {"module": "m"}}}, 'PyCapsule_GetName(sys.modules["m"])'),
        ({"op": "import", "args": {"module": {"cstr": 'a"\n'}}}, 'import("a\\"\\n")'),
        ({"op": "settle"}, "settle()"),
    ],
)
def test_calls_as_c(step: dict[str, Any], text: str) -> None:
    """Arguments stand in C's order, written as C would have them."""
    assert call_text(step).endswith(text)


def test_steps_by_their_path() -> None:
    """A path leads into functions; one that leads nowhere gives nothing."""
    assert step_at(VECTOR, "1") is DECREF
    assert step_at(VECTOR, "1/d.1/0") is INSIDE
    assert [step_at(VECTOR, path) for path in ("2", "end", "1/d.1/7", "1/x.1/0")] == [None] * 4


def test_values_in_words() -> None:
    """NULL, tokens, strings and everything else have their words."""
    values = [None, 3, {"ref": "n", "cstr": "a"}, {"same": {"ref": "n"}}, {"content": {"hex": "ff"}}, {"text": "x"}]
    words = ["NULL", "3", 'n "a"', "the address n", "the bytes ff", '"x"']
    assert [value_text(value) for value in values] == words


def test_profiles_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """`list` names every profile, `show` the behaviours of one with sentence and source."""
    assert run(["profiles", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == list(PROFILES)
    assert run(["profiles", "show", "cpython-3.13"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == len(PROFILES["cpython-3.13"].behaviours)
    assert any(line.startswith("gc-capsule: ") and line.endswith("]") for line in shown)


def test_what_two_profiles_do_differently() -> None:
    """Behaviours with the side that has them, and the vectors that show it, those that only one may run too."""
    shown = VECTOR | {"id": "test.shown", "steps": [{"op": "types.CapsuleType", "args": {}}]}
    alone = VECTOR | {"id": "test.alone", "requires": ["gc-capsule"]}
    old, new = PROFILES["cpython-3.12"], PROFILES["cpython-3.13"]
    found = profile_diff(old, new, [VECTOR, shown, alone])
    assert found.vectors == ["test.shown"]
    assert found.one_sided == []
    assert profile_diff(new, old, [alone]).one_sided == [("test.alone", "runs", "not-applicable")]
    document = found.as_json()
    assert document["profiles"] == ["cpython-3.12", "cpython-3.13"]
    assert {"types-capsuletype", "gc-capsule"} <= {entry["name"] for entry in document["behaviours"]}
    assert {entry["has"] for entry in document["behaviours"] if entry["name"] == "gc-capsule"} == {"cpython-3.13"}
    assert profile_diff(new, new, [VECTOR, shown, alone]).lines(vectors=True) == ["0 behaviours, 0 vectors"]
