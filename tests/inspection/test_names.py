"""The language of NAMEs: what it says, and that every path that is told can be asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_model.inspection.inside import shown_path
from capsule_model.inspection.names import steps_of

WORDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
KEYS = st.text(max_size=12) | st.integers(-(10**17), 10**17)


def test_steps() -> None:
    """A module, attributes, and items by bare, quoted and whole-number keys."""
    assert steps_of('a.b[c d].e[0]["0"]["x]\\u0000"]') == [
        ("module", "a"),
        ("attribute", "b"),
        ("item", "c d"),
        ("attribute", "e"),
        ("item", 0),
        ("item", "0"),
        ("item", "x]\0"),
    ]


@given(WORDS, st.lists(st.tuples(st.just("attribute"), WORDS) | st.tuples(st.just("item"), KEYS), max_size=5))
def test_a_path_that_is_told_can_be_asked_for(module: str, steps: list[tuple[str, Any]]) -> None:
    """Whatever the keys are made of, the way back leads to the same steps."""
    path = module
    for step in steps:
        path = shown_path(path, step)
    assert steps_of(path) == [("module", module), *steps]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "does not begin with a module"),
        (".a", "does not begin with a module"),
        ("a b", "neither .attribute nor [key]"),
        ("a.", "neither .attribute nor [key]"),
        ("a..b", "neither .attribute nor [key]"),
        ("a[]", "neither .attribute nor [key]"),
        ("a[b", "neither .attribute nor [key]"),
        ('a["\\q"]', "no string of JSON"),
        ("a" * 3000, "3000 characters"),
        ("a\x1b[31m", "neither .attribute nor [key]"),
    ],
)
def test_what_is_no_name(name: str, told: str) -> None:
    """One line says what is wrong and what would be right."""
    with pytest.raises(ValueError, match="expected") as caught:
        steps_of(name)
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
