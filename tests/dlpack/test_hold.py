"""The command that holds libraries: figures, exit codes, and one line for what is wrong with the usage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dlpack_model.cli import run
from dlpack_model.real import report
from dlpack_model.real.compare import Compared, Probe
from dlpack_model.real.report import hold_command
from dlpack_model.real.scenarios import scenario_named


class Pretended:
    """A probe on a library that is not there."""

    version = "9.9"

    def __init__(self, module: str, python: str) -> None:
        self.module = module

    def __enter__(self) -> Pretended:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def held(compared: Sequence[Compared], json_file: Path | None = None) -> tuple[int, str]:
    """Run the command on what was compared; return the exit code and what is printed."""

    def hold(probe: Probe) -> Iterator[Compared]:
        yield from compared

    console = Console(width=200, record=True, file=StringIO())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "Probe", Pretended)
        patch.setattr(report, "hold", hold)
        code = hold_command(["torch"], json_file, "python", console)
    return code, console.export_text()


AGREES = Compared(scenario_named("twice"), False, (), ())
BREAKS = Compared(scenario_named("device-4"), False, (), ("DLManagedTensor/deleter-once",))
DIFFERS = Compared(scenario_named("copy-true"), True, ('died: model null, seen "SIGABRT"',), ())


def test_agreement_is_a_success() -> None:
    """Where all scenarios agree the exit code is 0, also where the library breaks a rule as the model says."""
    code, text = held([AGREES, BREAKS])
    assert code == 0
    assert "finding: torch breaks DLManagedTensor/deleter-once: device-4" in text


def test_difference_is_a_failure() -> None:
    """Where one differs the exit code is 1, and the difference is told."""
    code, text = held([AGREES, DIFFERS])
    assert code == 1
    assert "differs: torch copy-true (watched): a copy is wanted" in text
    assert 'died: model null, seen "SIGABRT"' in text


def test_report_has_the_figures(tmp_path: Path) -> None:
    """The report counts scenarios and those that agree, and holds every difference."""
    held([AGREES, BREAKS, DIFFERS], tmp_path / "held.json")
    found: list[dict[str, Any]] = json.loads((tmp_path / "held.json").read_text())
    assert [(one["library"], one["version"], one["scenarios"], one["agree"]) for one in found] == [
        ("torch", "9.9", 3, 2)
    ]
    assert found[0]["findings"] == {"DLManagedTensor/deleter-once": ["device-4"]}
    assert [one["scenario"] for one in found[0]["differences"]] == ["copy-true"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["hold", "nump"], "no library 'nump': expected one of numpy, torch, jax"),
        (["hold"], "Missing argument"),
        (["hold", "numpy", "--json", "no/such/folder/x"], "no such folder"),
        (["hold", "numpy", "--python", "/no/such/python"], "No such file or directory"),
        (["held"], "No such command 'held'"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong with the usage is one line on standard error, and the exit code is 2."""
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("dlpack-model: ")
    assert told in error
    assert error.count("\n") == 1
