"""The examples of specs/FUZZING.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from capsule_model.fuzz.real import is_supported

TEXT = (Path(__file__).resolve().parents[2] / "specs" / "FUZZING.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^## (.*?)\n\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_an_example_runs(title: str, code: str) -> None:
    """What a reader copies does what the text says, and finds nothing in what is right."""
    if title in ("A producer", "A consumer") and is_supported() is not None:
        pytest.skip(str(is_supported()))
    space: dict[str, Any] = {}
    exec(compile(code, f"specs/FUZZING.md, {title}", "exec"), space)
    if hasattr(space.get("machine"), "behind"):
        space["machine"].behind.close()


def test_there_is_an_example_of_each_machine() -> None:
    """The four extension points each have one, and the text keeps a place for campaigns."""
    assert [title for title, _ in EXAMPLES] == [
        "An implementation behind an adapter",
        "A destructor",
        "A producer",
        "A consumer",
    ]
    assert "\n## Campaigns\n" in TEXT
