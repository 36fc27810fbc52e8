"""A campaign on a Dask cluster finds what one process finds, also where a worker is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from campaign_samples import DIFFERENT, run, without_time

from capsule_model.cli import run as command
from capsule_model.fuzz.campaign.rounds import Progress
from capsule_model.fuzz.campaign.workers import Inline, OnDask

pytest.importorskip("distributed", reason="the extra dask is not installed")

CLUSTER = Path(__file__).with_name("dask_cluster.py")
STEPS = 800


@pytest.fixture
def cluster() -> Iterator[dict[str, Any]]:
    """Return the address and the processes of a cluster of two."""
    command = [sys.executable, str(CLUSTER)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kill", [False, True])
def test_a_cluster_finds_what_one_process_finds(cluster: dict[str, Any], kill: bool, tmp_path: Path) -> None:
    """Two workers, or the one that is left when the other is killed in the middle, find and learn the same."""
    killed: list[int] = []

    def told(progress: Progress) -> None:
        if kill and not killed and progress.shards == 3:
            killed.append(cluster["processes"][0])
            os.kill(killed[0], signal.SIGKILL)

    workers = OnDask(cluster["address"])
    try:
        _, state = run(tmp_path / "cluster", DIFFERENT, workers, STEPS, told=told)
    finally:
        workers.close()
    assert bool(killed) == kill
    alone = Inline()
    try:
        _, expected = run(tmp_path / "alone", DIFFERENT, alone, STEPS)
    finally:
        alone.close()
    assert expected.findings
    assert without_time(state) == without_time(expected)
    for file in (tmp_path / "alone" / "findings").iterdir():
        assert (tmp_path / "cluster" / "findings" / file.name).read_text() == file.read_text()


@pytest.mark.filterwarnings("default")
def test_no_scheduler_is_bad_usage(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody listens is one line and exit code 2."""
    monkeypatch.setattr(OnDask.__init__, "__defaults__", (0.5,))
    assert command(["fuzz", "--dask", "tcp://127.0.0.1:9", "--steps", "10"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("capsule-model: --dask tcp://127.0.0.1:9: ")
    assert "expected the address of a scheduler" in error
