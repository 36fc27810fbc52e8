"""Let pytest make every vector a test item: `pytest --pyargs capsule_model.conform --capsule-adapter CMD`.

Pytest loads this file in every run where the package is installed; all else is imported when the vectors are collected.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

__all__ = ["pytest_addoption", "pytest_collect_file", "pytest_configure", "pytest_xdist_setupnodes"]

_VECTORS = Path(__file__).with_name("test_vectors.py")
_NAMES = ("capsule_model", "capsule_model.conform", "capsule_model.conform.test_vectors")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, as `capsule-model conform` has them."""
    group = parser.getgroup("capsule-model", "vectors as tests: pytest --pyargs capsule_model.conform")
    group.addoption("--capsule-adapter", metavar="CMD", help="run this adapter (default: ctypes, on this interpreter)")
    group.addoption(
        "--capsule-expectations",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="declared divergences beyond the shipped ones (may be repeated)",
    )
    group.addoption(
        "--capsule-profile", metavar="NAME", help="hold it to this profile (default: what the adapter suggests)"
    )
    group.addoption(
        "--capsule-vectors",
        metavar="PATH",
        type=Path,
        help="a file or a folder of vectors (default: those of the suite capsule)",
    )
    group.addoption(
        "--capsule-time-limit",
        metavar="SECONDS",
        type=_seconds,
        default=10.0,
        help="how long one vector may take (default: 10)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "capsule_rule(id): a rule of the specification that a vector shows")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Collect vectors, and nothing else, where pytest comes to the file that stands for them."""
    collected = yield
    if file_path != _VECTORS:
        return collected
    return [_vectors(pytest.Collector.CollectError).vectors_beneath(parent)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Refuse bad usage here, before there are workers: they could not end the run for it."""
    if any(argument.partition("::")[0] in _NAMES for argument in config.args) and not config.option.collectonly:
        _vectors(pytest.UsageError).check_usage(config)


def _vectors(failure: type[Exception]) -> ModuleType:
    """Import what collects and runs vectors; raise `failure` with one line where a library is missing."""
    try:
        return import_module("capsule_model.conform.test_vectors")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("capsule_model"):
            raise
        raise failure(f"{error.name} is missing; pip install 'capsule-model[pytest]'") from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.01 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no time limit; expected seconds from 0.01 to 86400")
    return value
