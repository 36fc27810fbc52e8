"""The journal of a shard: what is whole stays, what is broken goes, and one process writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsule_model.fuzz.campaign import journal as module
from capsule_model.fuzz.campaign.journal import Busy, journal, read_cases, take_case_in_hand


def test_cases_are_there_as_soon_as_they_are_added(tmp_path: Path) -> None:
    """Another reader sees a case before the journal is closed, so whoever is killed then has lost nothing."""
    file = tmp_path / "j"
    with journal(file) as book:
        book.add({"steps": 3})
        assert read_cases(file) == [{"steps": 3}]
    with journal(file) as book:
        assert book.cases == [{"steps": 3}]
        book.add({"steps": 4})
    assert read_cases(file) == [{"steps": 3}, {"steps": 4}]


@pytest.mark.parametrize("torn", [b'{"steps": 5', b'{"steps": 5}', b"\0\0\0\n", b"[]\n", b'{"steps": "5"}\n', b"{}\n"])
def test_a_broken_end_is_cut_off(torn: bytes, tmp_path: Path) -> None:
    """What a killed process or a power cut left of a line is no case, and the next case takes its place."""
    file = tmp_path / "j"
    file.write_bytes(b'{"steps": 3}\n' + torn)
    assert read_cases(file) == [{"steps": 3}]
    with journal(file) as book:
        book.add({"steps": 6})
    assert file.read_bytes() == b'{"steps": 3}\n{"steps":6}\n'


def test_a_case_in_hand_is_known(tmp_path: Path) -> None:
    """Who finds the process of a shard dead can tell a case that was begun from one that never was, once a death."""
    file = tmp_path / "j"
    assert take_case_in_hand(file) is None
    with journal(file) as book:
        book.begin()
    assert take_case_in_hand(file) == 0
    assert take_case_in_hand(file) is None
    with journal(file) as book:
        book.begin()
        book.add({"steps": 3})
    assert take_case_in_hand(file) is None
    with journal(file) as book:
        book.begin()
    assert take_case_in_hand(file) == 1
    assert file.read_bytes() == b'+\n{"steps":3}\n'


def test_no_journal_has_no_cases(tmp_path: Path) -> None:
    """A shard that nobody began has nothing done."""
    assert read_cases(tmp_path / "none") == []


def test_a_journal_is_written_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second writer waits for the first, and gives up in one line."""
    monkeypatch.setattr(module, "PATIENCE", 1)
    with journal(tmp_path / "j"), pytest.raises(Busy, match="expected one campaign"), journal(tmp_path / "j"):
        pass
