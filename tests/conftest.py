"""What tests of several folders share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import suite_samples

from capsule_model.trace.extensions import extension

NAME = "dlpack_model.vectors"


@pytest.fixture
def dlpack(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a stand-in for the model of the suite `dlpack`."""
    monkeypatch.setitem(sys.modules, NAME, suite_samples)
    extension.cache_clear()
    yield
    extension.cache_clear()


@pytest.fixture
def no_dlpack(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have no model of the suite `dlpack`."""
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    monkeypatch.setitem(sys.modules, NAME.partition(".")[0], None)
    extension.cache_clear()
    yield
    extension.cache_clear()
