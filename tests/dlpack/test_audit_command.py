"""The commands that audit: exit codes, files that can be read again, and one line for what is wrong with the usage."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from audit_samples import LINK

from capsule_model.locate import specs
from capsule_model.trace.schema import Validator
from dlpack_model.audit.outcome import Report
from dlpack_model.cli import run

OWN = '''"""Libraries of somebody's own."""

from dataclasses import replace

from broken_described import described

clean = described()
wrong = described("__dlpack_device__/tuple")
newer = replace(wrong, version="'2.0'")
absent = replace(clean, name="absent", setup="import no_such_module")
number = 7

'''
TAKING = '''"""A consumer of somebody's own."""


class Taken:
    """What is taken, on a device that is no tuple."""

    def __init__(self, other):
        self.__dlpack__ = other.__dlpack__

    def __dlpack_device__(self):
        return [1, 0]


class Inner:
    """A place for a function."""

    from_dlpack = Taken
'''
QUICK = ("--probe", "device-tuple", "--probe", "capsule-name", "--probe", "values")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where the command runs, with a module ``own`` that has libraries."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "taking.py").write_text(TAKING)
    (tmp_path / "raising.py").write_text("raise RuntimeError('no driver\\nat all')\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit\n")
    (tmp_path / "unreadable.py").write_text("def (\n")
    (tmp_path / "none.json").write_text("{}\n")
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    (tmp_path / "none.toml").write_text("format = 2\n")
    monkeypatch.chdir(tmp_path)
    for name in ("own", "taking"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def audit(place: str, *options: str) -> int:
    """Audit a library of the module quickly, and return the exit code."""
    where = place if ":" in place else f"own:{place}"
    return run(["audit", "--library", where, *QUICK, *options])


def read(file: Path) -> Report:
    """Return the report in a file; it is as the schema has it, and reads back as it is."""
    text = file.read_text("utf-8")
    schema = json.loads((specs() / "formats" / "audit.schema.json").read_text("utf-8"))
    assert list(Validator(schema).faults(json.loads(text), 9)) == []
    report = Report.from_json(text)
    assert report.as_json() == text
    return report


OWN_CLEAN = ["audit", "--library", "own:clean"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["audit", "nump"], "no library 'nump': expected numpy, torch, jax"),
        (["audit", "no-such.module"], "no library 'no-such.module'"),
        (["audit"], "no library: expected the names of libraries, such as numpy, or --library module:attribute"),
        (["audit", "--library", "own"], "--library 'own': expected module:attribute"),
        (["audit", "--library", "own:"], "--library 'own:': expected module:attribute"),
        (["audit", "--library", "no_such_module:x"], "No module named 'no_such_module'"),
        (["audit", "--library", "own:nothing"], "has no attribute 'nothing'"),
        (["audit", "--library", "own:number"], "an object of type int; expected a Library or a function"),
        (["audit", "--library", "raising:x"], "--library raising:x: no driver at all; expected a module"),
        (["audit", "--library", "leaving:x"], "--library leaving:x"),
        (["audit", "--library", "unreadable:x"], "invalid syntax"),
        (["audit", "--library", "own:absent"], "absent: ModuleNotFoundError: No module named 'no_such_module'"),
        ([*OWN_CLEAN, "--fail-on", "harmless"], "--fail-on 'harmless': expected one of style, contract, leak"),
        ([*OWN_CLEAN, "--probe", "nothing"], "no probe 'nothing': expected one of blocked-copy, "),
        ([*OWN_CLEAN, "--limit", "0"], "Invalid value for '--limit'"),
        ([*OWN_CLEAN, "--python", "/no/such/python"], "/no/such/python: No such file or directory"),
        ([*OWN_CLEAN, "--python", "/bin/true"], "the process ends while importing"),
        ([*OWN_CLEAN, "--json", "no/such/folder"], "no/such/folder: no such folder"),
        ([*OWN_CLEAN, "--html", "no/such/folder"], "no/such/folder: no such folder"),
        ([*OWN_CLEAN, "--markdown", "no/such/folder"], "no/such/folder: no such folder"),
        ([*OWN_CLEAN, "--draft", "no/such/folder"], "no/such/folder: no such folder"),
        ([*OWN_CLEAN, "--findings", "no-such-folder"], "no-such-folder: no such folder"),
        ([*OWN_CLEAN, "--json", "."], ".: a folder; expected a file"),
        ([*OWN_CLEAN, "--expectations", "absent.toml"], "absent.toml: no such file"),
        ([*OWN_CLEAN, "--expectations", "none.toml"], "none.toml: "),
        (["report", "absent.json"], "absent.json: No such file or directory"),
        (["report", "none.json"], "none.json: no report of an audit; expected what `audit --json` writes"),
        (["report", "bytes.json"], "bytes.json: "),
        (["report", "own.py"], "own.py: no report of an audit"),
        (["report", "none.json", "--fail-on", "harmless"], "--fail-on 'harmless'"),
        (["report"], "Missing argument"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with the usage is one line on standard error, and the exit code is 2."""
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("dlpack-model: ")
    assert told in error
    assert error.count("\n") == 1


def test_nothing_found_is_a_success(folder: Path) -> None:
    """A library that keeps the rules ends the audit with 0, and its report has a result of each probe and case."""
    assert audit("clean", "--json", "report.json") == 0
    [found] = read(folder / "report.json").audits
    assert (found.library, found.version, found.findings) == ("broken", "1.0", ())
    assert {one.verdict for one in found.results} == {"kept"}
    assert sorted(one.name for one in found.results) == [
        "capsule-name[max version 1 0]",
        "capsule-name[plain]",
        "device-tuple",
        "values[old]",
        "values[versioned]",
    ]


def test_finding_is_a_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A library that breaks a rule ends the audit with 1; rule, severity and what was seen are shown and written."""
    assert audit("wrong", "--json", "report.json") == 1
    [finding] = read(folder / "report.json").findings()
    assert (finding.id, finding.rule, finding.severity) == (
        "broken-device-tuple",
        "__dlpack_device__/tuple",
        "contract",
    )
    assert finding.shown == f"contract: {finding.seen}"
    shown = capsys.readouterr().out
    assert "1 finding" in shown
    assert finding.seen in shown


@pytest.mark.parametrize(("severity", "code"), [("style", 1), ("contract", 1), ("leak", 0), ("crash", 0)])
def test_severity_decides(severity: str, code: int, folder: Path) -> None:
    """A finding that is less bad than what --fail-on says ends with 0."""
    assert audit("wrong", "--fail-on", severity) == code


def test_expected_finding_is_a_success(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A draft with its reason filled in explains the finding, and says so when the finding has gone."""
    assert audit("wrong", "--draft", "draft.toml") == 1
    text = (folder / "draft.toml").read_text()
    assert text.count('reason = ""') == text.count('link = ""') == 1
    filled = text.replace('reason = ""', 'reason = "It is meant."').replace('link = ""', f'link = "{LINK}"')
    (folder / "filled.toml").write_text(filled)
    assert audit("wrong", "--expectations", "draft.toml") == 2
    assert audit("wrong", "--expectations", "filled.toml") == 0
    capsys.readouterr()
    assert audit("clean", "--expectations", "filled.toml") == 1
    assert "not as expected: filled.toml: " in capsys.readouterr().out
    assert run(["audit", "--library", "own:clean", "--probe", "values", "--expectations", "filled.toml"]) == 0


def test_pages_and_scripts_are_written(folder: Path) -> None:
    """Every kind of report has the finding, and its script is a file that can be run."""
    (folder / "found").mkdir()
    assert audit("wrong", "--markdown", "a.md", "--html", "a.html", "--findings", "found", "--json", "a.json") == 1
    assert "broken-device-tuple" in (folder / "a.md").read_text("utf-8")
    assert (folder / "a.html").read_text("utf-8").startswith("<!doctype html>")
    assert "broken-device-tuple" in (folder / "a.html").read_text("utf-8")
    [finding] = read(folder / "a.json").findings()
    names = [f"dlpack-{finding.id}{ending}" for ending in (".md", ".py")]
    assert sorted(file.name for file in (folder / "found").iterdir()) == names
    assert finding.script in (folder / "found" / f"dlpack-{finding.id}.py").read_text("utf-8")


def test_nothing_is_written_where_the_usage_is_bad(folder: Path) -> None:
    """Where one file cannot be written, none is."""
    assert audit("clean", "--json", "a.json", "--html", "no/such/folder") == 2
    assert not (folder / "a.json").exists()


def test_reports_are_put_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two reports of versions make one, which ends as an audit of both would."""
    assert audit("clean", "--json", "old.json") == 0
    assert audit("newer", "--json", "new.json") == 1
    capsys.readouterr()
    assert run(["report", "old.json", "new.json", "--json", "both.json"]) == 1
    both = read(folder / "both.json")
    assert both == read(folder / "old.json").joined([read(folder / "new.json")])
    assert [(one.version, len(one.findings)) for one in both.audits] == [("1.0", 0), ("2.0", 1)]
    assert "1 finding" in capsys.readouterr().out
    assert run(["report", "old.json"]) == 0
    assert run(["report", "new.json", "--fail-on", "leak"]) == 0


@pytest.mark.parametrize("name", ["taking:Taken", "taking:Inner.from_dlpack"])
def test_function_alone_is_a_library(name: str, folder: Path) -> None:
    """A function that imports, in a module of the folder, is audited as a consumer, and its arrays as a producer's."""
    assert audit(name, "--json", "a.json") == 1
    [found] = read(folder / "a.json").audits
    assert (found.library, found.version, found.roles) == (name, "?", ("producer", "consumer"))
    verdicts: dict[str, Any] = {one.name: one.verdict for one in found.results}
    assert verdicts.pop("device-tuple") == "broken"
    assert set(verdicts.values()) == {"kept"}
    assert found.findings[0].seen == "__dlpack_device__() returns [1, 0]"


def test_python_may_be_a_relative_path(folder: Path) -> None:
    """The Python of ``--python`` is found from everywhere that scripts run, also where its path is relative."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    assert audit("wrong", "--python", "bin/python", "--json", "r.json") == 1
    assert [finding.shown for finding in read(folder / "r.json").findings()] != []


def test_module_without_arrays_is_not_clean(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A library that could not be asked anything is no library that keeps the rules."""
    assert run(["audit", "json"]) == 2
    assert "json: nothing could be asked" in capsys.readouterr().err


def test_unknown_module_is_asked_by_the_names_of_the_standard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that nothing is known of makes arrays, and imports them, as the array API standard has it."""
    names = "arange, from_dlpack\n", "int32 = 'int32'\n", "def reshape(array, shape): return array.reshape(*shape)\n"
    (folder / "standing.py").write_text("from broken import " + "".join(names))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(Path(__file__).parent))))
    monkeypatch.syspath_prepend(folder)
    assert run(["audit", "standing", *QUICK, "--json", "r.json"]) == 0
    (audited,) = read(folder / "r.json").audits
    assert audited.roles == ("producer", "consumer")
    assert audited.count()["kept"] >= 4
