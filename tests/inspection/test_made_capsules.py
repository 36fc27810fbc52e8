"""Capsules and modules that were made for it: every verdict, and modules that crash, hang, print or leave."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import inspection_samples as samples
import pytest

from capsule_model.cli import run
from capsule_model.inspection.processes import Python
from capsule_model.inspection.record import Capsule, Inspection
from capsule_model.inspection.scan import Limits, merged, scan
from capsule_model.locate import specs
from capsule_model.trace.schema import Validator

# What processes found, one after the other.
PARTS = (["a.x"], ["b.x"], ["c"], ["a.x", "b.x"], ["c", "d"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two distributions."""
    where = tmp_path_factory.mktemp("site")
    samples.install(where, "cm-good", samples.CAPSULES)
    samples.install(where, "cm-bad", samples.HOSTILE)
    return where


@pytest.fixture(scope="module")
def good(folder: Path) -> Inspection:
    """Return the capsules of the one that is well-behaved."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        return scan(Python(sys.executable), ["cm-good"])


def at(inspection: Inspection, path: str) -> Capsule:
    """Return the capsule at a path."""
    return next(one for one in inspection.capsules if path in one.paths)


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("cm_first.api", "accepted"),
        ("cm_good.plain.late", "needs-import"),
        ("cm_good.plain.Holder.inner", "needs-import"),
        ("cm_good.plain.nameless", "null-name"),
        ("cm_good.plain.__pyx_capi__[f]", "not-a-path"),
        ("cm_good.plain.coloured", "not-a-path"),
        ("cm_good.plain.bytes_", "not-a-path"),
        ("cm_good.plain.empty", "not-a-path"),
        ("cm_good.plain.nowhere", "no-module"),
        ("cm_good.plain.absent", "no-attribute"),
        ("cm_good.plain.Holder.table[x]", "no-attribute"),
        ("cm_lazy.of_module", "no-attribute"),
        ("cm_lazy.of_class", "no-attribute"),
        ("cm_lazy.of_instance", "no-attribute"),
        ("cm_lazy.of_type", "no-attribute"),
        ("cm_lazy.of_number", "no-attribute"),
        ("cm_good.plain.wrong", "no-capsule"),
        ("cm_good.plain.elsewhere", "other-name"),
        ("cm_good.plain.foreign", "other-capsule"),
    ],
)
def test_verdict(good: Inspection, path: str, verdict: str) -> None:
    """What PyCapsule_Import makes of the capsule's name, and the model as well."""
    found = at(good, path)
    assert found.verdict == verdict
    assert found.disagreements == ()
    assert all(asked.model is not None for asked in found.asked)


def test_error_of_a_lookup_is_told(good: Inspection) -> None:
    """An exception that is no AttributeError goes through PyCapsule_Import as it is."""
    assert at(good, "cm_lazy.of_class").why.endswith("KeyError: 'nothing'")
    assert at(good, "cm_lazy.of_instance").why.endswith("OSError: own nothing")


def test_paths_of_several_processes() -> None:
    """What shares a path is one capsule, also where a later process shows that two are the same."""
    told = [{"paths": paths, "more": 0, "asked": [], "name": None} for paths in PARTS]
    assert [one["paths"] for one in merged(told)] == [["a.x", "b.x"], ["c", "d"]]


def test_paths(good: Inspection) -> None:
    """A capsule is told once with all its paths, its name first; keys are written so that they can be asked for."""
    assert at(good, "cm_good.plain.again").paths == ("cm_good.plain.late", "cm_good.plain.again")
    assert at(good, "cm_good.plain.__pyx_capi__[7]").name == b"seven"
    assert at(good, 'cm_good.plain.__pyx_capi__["a]b"]').name == b"odd"
    assert len({path for one in good.capsules for path in one.paths}) == sum(len(one.paths) for one in good.capsules)


def test_capsule_without_a_pointer(good: Inspection) -> None:
    """One that is not valid any more is told like any other; PyCapsule_Import refuses it, and so does the model."""
    found = at(good, "cm_broken.invalid")
    assert found.pointer is None
    assert [(asked.accepted, asked.agrees) for asked in found.asked] == [(False, True), (False, True)]


def test_capsules_without_a_path(good: Inspection) -> None:
    """What only an instance holds is counted."""
    assert ("held", 1) in [(one.name, one.count) for one in good.unreached]


def test_a_number_that_is_no_pointer(good: Inspection) -> None:
    """Where the platform tells the map of memory, a small number leads nowhere."""
    pointer = at(good, "cm_first.api").pointer
    assert pointer is not None
    assert pointer.region == ("unmapped" if Path("/proc/self/maps").exists() else "unknown")


@pytest.fixture(scope="module")
def bad(folder: Path) -> Inspection:
    """Return what becomes of the modules that nobody should import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        return scan(Python(sys.executable), ["cm-bad"], Limits(step=3, jobs=2))


def test_modules_that_end_the_process(bad: Inspection) -> None:
    """Each is named with the reason, and the capsules of the others are there."""
    why = dict(bad.failed)
    assert "SIGSEGV" in why.pop("cm_bad.crash") or sys.platform == "win32"
    assert why.pop("cm_bad.exits") == "the process ends with exit code 3"
    assert why.pop("cm_bad.hangs") == "took longer than 3 s"
    assert why.pop("cm_bad.patches") == "the process answers with what is no answer"
    assert why.pop("cm_bad.quits") == "SystemExit: \\x1b[31m no"
    assert why.pop("cm_bad.raises") == "ValueError: in cm.py"
    assert why == {}
    assert at(bad, "cm_bad.a_capsule.c").verdict == "needs-import"


def test_what_is_left_out(bad: Inspection) -> None:
    """Tests and programs are not imported, nor counted."""
    assert bad.groups == {"cm-bad": len(samples.HOSTILE) - 2}


def test_no_time_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not begun in time is told as such, and nothing is found."""
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr("capsule_model.inspection.scan.time.monotonic", iter([0.0, 100.0, 100.0]).__next__)
    found = scan(Python(sys.executable), ["cm-good"], Limits(whole=60.0))
    assert found.capsules == ()
    assert {why for _, why in found.failed} == {"there was no time left for it"}
    assert len(found.failed) == found.groups["cm-good"]


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return exit code, output and errors of the command."""
    code = run(["inspect", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json_and_page(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written keeps to the schema, does not depend on the number of jobs, and shows no control characters."""
    monkeypatch.setenv("PYTHONPATH", str(folder))
    texts = []
    for jobs in ("1", "3"):
        file, page = tmp_path / f"{jobs}.json", tmp_path / f"{jobs}.md"
        options = ["--all", "--only", "cm-good", "--jobs", jobs, "--json", str(file), "--markdown", str(page)]
        code, out, _ = command(capsys, *options)
        assert code == 0
        assert "\x1b" not in out + page.read_text("utf-8")
        texts.append((file.read_text("utf-8"), page.read_text("utf-8")))
    assert texts[0] == texts[1]
    document: dict[str, Any] = json.loads(texts[0][0])
    schema = json.loads((specs() / "formats" / "inspect.schema.json").read_text("utf-8"))
    validator = Validator(schema)
    assert list(validator.faults(document, 5)) == []
    assert list(validator.faults(document | {"format": 2}, 5)) != []
    capsule = document["interpreters"][0]["capsules"][0]
    for key in list(capsule):
        other = {**document["interpreters"][0], "capsules": [{k + "_" * (k == key): v for k, v in capsule.items()}]}
        assert list(validator.faults(document | {"interpreters": [other]}, 5)) != [], key


def test_names_in_the_current_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attributes of instances, items, and submodules that nobody has imported yet."""
    monkeypatch.chdir(folder)
    names = ["cm_good.plain.instance.held", 'cm_good.plain.__pyx_capi__["a]b"]', "cm_good.plain.coloured"]
    code, out, err = command(capsys, *names)
    assert (code, err) == (0, "")
    assert '"held"' in out
    assert "\\u001b[31mred\\nline" in out
    assert out.count("not-a-path") == 3


def test_fresh_process_is_fresh(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That a submodule must be imported first is said with the exception that an extension meets."""
    monkeypatch.chdir(folder)
    code, out, _ = command(capsys, "cm_good.plain.late")
    assert code == 0
    assert "needs-import" in out
    assert "AttributeError: module 'cm_good' has no attribute 'plain'" in out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cm_none", "no module cm_none; expected one that can be imported"),
        ("cm_first.none", "no attribute and no module none of cm_first; expected one that is there"),
        ("cm_first._kept[0]", "no attribute and no module _kept of cm_first; expected one that is there"),
        ("cm_good.making._kept[99]", "no item 99 in cm_good.making._kept; expected one that is there"),
        ("cm_good.making", "an object of type module; expected a capsule"),
        ("cm_good.plain.Holder", "an object of type type; expected a capsule"),
        ("cm_bad.crash.x", "the process dies of SIGSEGV; expected a module that can be imported"),
        ("cm_bad.quits.x", "cm_bad.quits raises SystemExit: \\x1b[31m no"),
        ("cm first", "'cm first': ' first' is neither .attribute nor [key]; expected one of these"),
    ],
)
def test_wrong_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    """One line that says what is wrong; a name that is right is told all the same."""
    monkeypatch.chdir(folder)
    code, out, err = command(capsys, name, "cm_first.api")
    assert code == 2
    assert err.splitlines() == [f"capsule-model: {told}" if " first" in name else f"capsule-model: {name}: {told}"]
    assert out.startswith("cm_first.api\n")


def test_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, and nothing is inspected."""
    script = tmp_path / "python"
    script.write_text(
        '#!/bin/sh\nread line\necho \'{"capsules": false, "implementation": "pypy", "python": "3.11"}\'\n'
    )
    script.chmod(0o755)
    for arguments, told in (
        ([], "expected either names"),
        (["a.b", "--all"], "expected either names"),
        (["a.b", "--only", "stdlib"], "--only is for --all"),
        (["a.b", "--json", str(tmp_path / "none" / "x.json")], "no such folder"),
        (["a.b", "--json", str(tmp_path)], "a folder; expected a file"),
        (["--all", "--only", "cm-no-such-distribution"], "no such distribution; expected one of"),
        (["--all", "--python", str(tmp_path / "none")], "expected the path of a Python"),
        (["--all", "--python", str(script)], "pypy 3.11 has no C API that ctypes reaches (ctypes.pythonapi)"),
        (["a.b", "--python", str(script)], "pypy 3.11 has no C API that ctypes reaches (ctypes.pythonapi)"),
        (["--all", "--time", "soon"], "soon"),
    ):
        code, out, err = command(capsys, *arguments)
        assert (code, out) == (2, ""), arguments
        assert told in err, arguments
        assert len(err.splitlines()) == 1
