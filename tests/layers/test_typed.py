"""What the checker of capsule names says, held against what happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capsule_model.layers.typed import Judgement, Knowledge, Verdict, judge
from capsule_model.profiles import profile_named
from capsule_model.suites import vectors_of
from capsule_model.trace.execute import run
from capsule_model.trace.files import load
from capsule_model.trace.meaning import Known

PROFILE = profile_named("cpython-3.13")
NAMES = ("dltensor", "used_dltensor", "a", "")


def wrong(vector: Mapping[str, Any]) -> list[Judgement]:
    """Return what the checker calls known or refuted, and a run shows otherwise."""
    seen = run(vector, PROFILE).steps
    found = []
    for said in judge(vector):
        if said.verdict != Verdict.UNKNOWN and said.step < len(seen):
            gave = seen[said.step]["return"] not in (None, 0)
            found += [said] if gave != (said.verdict == Verdict.KNOWN) else []
    return found


def test_vectors_bear_it_out() -> None:
    """In no vector of the suite capsule is anything known that is not so, and many things are known."""
    loaded = load(vectors_of("capsule"), Known(None, PROFILE.behaviours, frozenset()))
    vectors = [vector for vector in loaded.vectors if not set(vector.get("requires", ())) - PROFILE.behaviours]
    assert [vector["id"] for vector in vectors if wrong(vector)] == []
    verdicts = Counter(said.verdict for vector in vectors for said in judge(vector))
    assert verdicts[Verdict.KNOWN] > 50
    assert verdicts[Verdict.REFUTED] > 20


def _name(text: str | None) -> Any:
    return None if text is None else {"cstr": text}


VARIABLES = st.sampled_from(["c", "d"])
NAME = st.sampled_from([*NAMES, None]).map(_name)
STORED = st.one_of(NAME, st.just({"ref": "s"}))
STEPS = st.one_of(
    st.builds(
        lambda variable, name: {
            "op": "PyCapsule_New",
            "args": {"pointer": {"ptr": "p"}, "name": name, "destructor": {"function": "hidden"}},
            "bind": variable,
        },
        VARIABLES,
        STORED,
    ),
    st.builds(
        lambda op, variable, name: {"op": op, "args": {"capsule": {"ref": variable}, "name": name}},
        st.sampled_from(["PyCapsule_GetPointer", "PyCapsule_IsValid", "PyCapsule_SetName"]),
        VARIABLES,
        STORED,
    ),
    st.builds(lambda byte: {"op": "write", "args": {"ptr": {"ref": "s"}, "bytes": {"hex": byte}}}, st.just("00")),
    st.builds(
        lambda variable: {"op": "poke", "args": {"op": {"ref": variable}, "field": "name", "value": None}}, VARIABLES
    ),
    st.just({"op": "PyObject_GetAttrString", "args": {"o": {"ref": "c"}, "attr_name": {"cstr": "x"}}, "bind": "d"}),
    st.just({"op": "Py_DECREF", "args": {"op": {"ref": "e"}}}),
)
HIDDEN = st.sampled_from(
    [[], [{"op": "PyCapsule_SetName", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "hidden"}}}]]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=12), HIDDEN)
def test_programs_bear_it_out(steps: list[dict[str, Any]], hidden: list[dict[str, Any]]) -> None:
    """Whatever a program does, what is known or refuted is so when it runs."""
    made = {"pointer": {"ptr": "p"}, "name": {"cstr": "a"}, "destructor": {"function": "hidden"}}
    first = [{"op": "string", "args": {"bytes": {"cstr": "dltensor"}}, "bind": "s"}]
    first += [{"op": "PyCapsule_New", "args": made, "bind": name} for name in ("c", "d", "e")]
    dies = [index for index, step in enumerate(steps) if step["op"] == "Py_DECREF"]
    kept = [step for index, step in enumerate(steps) if index not in dies[1:]]
    vector = {"format": 1, "functions": {"hidden": {"kind": "destructor", "steps": hidden}}, "steps": first + kept}
    assert wrong(vector) == []


@pytest.mark.parametrize(
    ("step", "because"),
    [
        ({"op": "poke", "args": {"op": {"ref": "c"}, "field": "name", "value": None}}, "memory was written to"),
        ({"op": "write", "args": {"ptr": {"ref": "s"}, "bytes": {"hex": "58"}}}, "memory was written to"),
        (
            {"op": "PyCapsule_SetName", "args": {"capsule": {"ref": "from_elsewhere"}, "name": None}},
            "an alias was renamed",
        ),
    ],
)
def test_says_why_it_cannot_tell(step: dict[str, Any], because: str) -> None:
    """Where a name may have been changed out of sight, the checker is silent and says why."""
    made = {"pointer": {"ptr": "p"}, "name": {"cstr": "a"}, "destructor": None}
    use = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "a"}}}
    vector = {"format": 1, "steps": [{"op": "PyCapsule_New", "args": made, "bind": "c"}, use, step, use]}
    before, after = judge(vector)
    assert (before.verdict, after.verdict, after.because) == (Verdict.KNOWN, Verdict.UNKNOWN, because)


def test_rename_out_of_sight() -> None:
    """A destructor of another capsule that renames this one is out of sight: nothing is known from the start."""
    rename = {"op": "PyCapsule_SetName", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "b"}}}
    made = {"pointer": {"ptr": "p"}, "name": {"cstr": "a"}, "destructor": {"function": "hidden"}}
    new = [{"op": "PyCapsule_New", "args": made, "bind": name} for name in ("c", "other")]
    use = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "a"}}}
    steps = [*new, {"op": "Py_DECREF", "args": {"op": {"ref": "other"}}}, use]
    vector = {"format": 1, "functions": {"hidden": {"kind": "destructor", "steps": [rename]}}, "steps": steps}
    assert run(vector, PROFILE).steps[-1]["return"] is None
    assert [said.because for said in judge(vector)] == ["renamed or written out of sight"]


def test_rename_of_dlpack_is_a_typestate() -> None:
    """A tensor's capsule has one transition, after which the first name is refuted and nothing leads back."""
    book = Knowledge()
    book.made("c", b"dltensor")
    assert book.renamed("c", b"used_dltensor") == "transition"
    assert book.ask("c", b"dltensor") == Verdict.REFUTED
    assert book.renamed("c", b"dltensor") == "no-transition"
    book.made("d", b"dltensor")
    assert book.renamed("d", b"used_dltensor_versioned") == "no-transition"
