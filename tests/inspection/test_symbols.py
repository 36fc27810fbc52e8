"""Symbols of ELF files: static ones, none where they were stripped, and files that are broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capsule_model.inspection.symbols import Symbols, symbols_of

SOURCE = """
static long hidden_table[4] = {1, 2, 3, 4};
__attribute__((noinline)) static void hidden_destructor(void *op) { hidden_table[0] += (long)op; }
void *pointers[2] = {(void *)hidden_table, (void *)hidden_destructor};
void *given(void) { return pointers; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a shared library with static symbols."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler that makes ELF files")
    folder = tmp_path_factory.mktemp("elf")
    (folder / "a.c").write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O0", "-o", folder / "a.so", folder / "a.c"], check=True)
    return folder / "a.so"


def place_of(library: Path, name: str) -> int:
    """Return the address of a symbol by the platform's own tool."""
    if shutil.which("nm") is None:
        pytest.skip("no nm")
    listed = subprocess.run(["nm", library], check=True, capture_output=True, text=True).stdout
    return next(int(line.split()[0], 16) for line in listed.splitlines() if line.endswith(f" {name}"))


def test_static_symbols_are_found(library: Path) -> None:
    """A function and a datum that the loader does not know, at their beginning and inside."""
    symbols = symbols_of(library)
    table, destructor = place_of(library, "hidden_table"), place_of(library, "hidden_destructor")
    assert symbols.at(table - symbols.first) == ("hidden_table", 0)
    assert symbols.at(table - symbols.first + 24) == ("hidden_table", 24)
    assert symbols.at(destructor - symbols.first) == ("hidden_destructor", 0)


def test_stripped_file_names_nothing_wrong(library: Path, tmp_path: Path) -> None:
    """Without the static symbols the address has no name, not that of a neighbour."""
    if shutil.which("strip") is None:
        pytest.skip("no strip")
    place = place_of(library, "hidden_destructor")
    stripped = tmp_path / "b.so"
    subprocess.run(["strip", "-o", stripped, library], check=True)
    symbols = symbols_of(stripped)
    assert symbols.at(place - symbols.first) is None
    assert symbols.at(place_of(library, "pointers") - symbols.first) == ("pointers", 0)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_broken_files_have_no_symbols(
    library: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever bytes are changed or cut off, reading ends well."""
    raw = bytearray(library.read_bytes())
    for place in data.draw(st.lists(st.integers(0, 63) | st.integers(0, len(raw) - 1), max_size=8)):
        raw[place] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("broken") / "a.so"
    file.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    assert isinstance(symbols_of(file), Symbols)


def test_symbols_cover_their_size_alone() -> None:
    """What lies between two symbols belongs to neither; one without a size has its own address."""
    symbols = Symbols(0x1000, (0x1010, 0x1040), ((8, "first"), (0, "second")))
    found = {offset: symbols.at(offset) for offset in (0, 0x10, 0x17, 0x18, 0x40, 0x41)}
    assert found == {0: None, 0x10: ("first", 0), 0x17: ("first", 7), 0x18: None, 0x40: ("second", 0), 0x41: None}


def test_what_is_no_elf_file(tmp_path: Path) -> None:
    """A text, an empty file, a folder and nothing at all have no symbols."""
    (tmp_path / "text").write_text("no library")
    (tmp_path / "empty").touch()
    for name in ("text", "empty", "", "absent"):
        assert symbols_of(tmp_path / name).at(0) is None
