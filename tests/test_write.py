"""Writing vectors: one layout, which the committed files have and reading gives back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsule_model.locate import specs
from capsule_model.trace.write import dump_vectors

FILES = sorted((specs() / "vectors").rglob("*.json"))

VECTORS: list[dict[str, Any]] = [
    {
        "id": "test.one",
        "title": "É",
        "rules": ["A/a", "A/b"],
        "functions": {
            "d": {"kind": "destructor", "steps": [{"op": "settle", "args": {}}]},
            "n": {"native": "PyErr_Clear"},
        },
        "modules": {"m": None},
        "steps": [{"op": "settle", "args": {}}, {"op": "settle", "args": {}, "leave": True}],
        "leaks": [],
    },
    {"id": "test.two", "steps": []},
]

TEXT = """\
{"format": 1, "vectors": [
{"id": "test.one",
 "title": "É",
 "rules": ["A/a", "A/b"],
 "functions": {
  "d": {"kind": "destructor", "steps": [{"op": "settle", "args": {}}]},
  "n": {"native": "PyErr_Clear"}},
 "modules": {
  "m": null},
 "steps": [
  {"op": "settle", "args": {}},
  {"op": "settle", "args": {}, "leave": true}],
 "leaks": []},
{"id": "test.two",
 "steps": []}
]}
"""


def test_there_are_vectors() -> None:
    """The files below are those of the specification, and not an empty folder."""
    assert len(FILES) > 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_committed_files_are_canonical(file: Path) -> None:
    """Each file is what writing its vectors gives: a diff shows what changed, and nothing else."""
    text = file.read_text("utf-8")
    document = json.loads(text)
    assert document["format"] == 1
    assert dump_vectors(document["vectors"]) == text


def test_the_layout() -> None:
    """A key of a vector is a line, and so are a step, a function and a module."""
    assert dump_vectors(VECTORS) == TEXT
    assert json.loads(TEXT) == {"format": 1, "vectors": VECTORS}


def test_no_vectors() -> None:
    """An empty file is a file."""
    assert json.loads(dump_vectors([])) == {"format": 1, "vectors": []}


TEXTS = st.text('aé"\\\n\u2028\U0001f600{}', max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["id", "title", "rules", "functions", "modules", "steps", "leaks", "x"])


@st.composite
def _vectors(draw: st.DrawFn) -> dict[str, Any]:
    vector = draw(st.dictionaries(KEYS, VALUES, min_size=1))
    if "steps" in vector:
        vector["steps"] = draw(st.lists(VALUES, max_size=3))
    for key in ("functions", "modules"):
        if key in vector:
            vector[key] = draw(st.dictionaries(TEXTS, VALUES, max_size=3))
    return vector


@settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(vectors=st.lists(_vectors(), max_size=3))
def test_reading_gives_back_what_was_written(vectors: list[dict[str, Any]]) -> None:
    """Whatever is in it, the text is JSON of the same vectors, keys in the same order, and canonical."""
    text = dump_vectors(vectors)
    read = json.loads(text)["vectors"]
    assert read == vectors
    assert [list(vector) for vector in read] == [list(vector) for vector in vectors]
    assert dump_vectors(read) == text
