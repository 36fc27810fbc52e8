"""The page about fuzzing the exchange: its examples are run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from capsule_model.locate import specs

PAGE = specs() / "FUZZING-DLPACK.md"
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.M | re.S))


def test_there_is_an_example_for_everybody() -> None:
    """Producers, consumers, destructors with deleters, and adapters have one each."""
    assert [name.split(",")[0] for name in EXAMPLES] == [
        "Your producer",
        "Your consumer",
        "Your capsule destructor",
        "Your implementation behind an adapter",
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    """What a reader copies does what the page says: each example asserts it."""
    file = tmp_path / "example.py"
    file.write_text(EXAMPLES[name], "utf-8")
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, env={"PYTHONPATH": str(root)}, timeout=300
    )
    assert (ran.returncode, ran.stderr) == (0, "")
