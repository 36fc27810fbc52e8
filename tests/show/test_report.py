"""The command `report`: what it prints and writes, its exit codes, and its refusals."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from result_samples import declared, failed, hostile, lacking, passed, result, written

from capsule_model.cli import run
from capsule_model.show import results as reading

GOOD = result(passed("capsule.one.a"), passed("capsule.two.a"))


def said(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> tuple[int, str, str]:
    """Run the command and return its exit code, what it printed, and its errors."""
    code = run(["report", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_table_in_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file to write, a line tells of each implementation, and chapters that have more to say are named."""
    other = result(passed("capsule.one.a"), declared("capsule.two.a", "by-design"), about={"version": "7.3"})
    code, out, err = said(capsys, *written(tmp_path, {"cp313": GOOD, "pypy39": other}))
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert ["cp313", "sample", "1.0", "3/4", "75", "2/2"] in lines
    assert ["pypy39", "sample", "7.3", "3/4", "75", "1/2", "≈1"] in lines
    assert ["pypy39:", "two", "≈1"] in lines
    assert ["≈", "by", "design"] in lines


def test_findings_make_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody has declared, and what failed everywhere, is told, also where files are written."""
    bad = result(passed("capsule.one.a"), failed("capsule.two.a"))
    files = written(tmp_path, {"a": bad, "b": bad})
    page = tmp_path / "page.html"
    for arguments in (files, [*files, "--html", page]):
        code, out, _ = said(capsys, *arguments)
        assert code == 1
        assert "a: 1 unexpected divergence" in out
        assert "suspect: capsule.two.a" in out
    assert page.is_file()


def test_files_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both files are written in one call, and nothing is printed where all is well."""
    files = written(tmp_path, {"cp313": GOOD})
    page, text = tmp_path / "page.html", tmp_path / "README.md"
    assert said(capsys, *files, "--html", page, "--markdown", text) == (0, "", "")
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert text.read_text("utf-8").startswith("# Results\n")


def test_old_reports_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A report that says nothing of specification and expectations is of format 1, too."""
    old = {key: value for key, value in GOOD.items() if key != "specification"}
    text = tmp_path / "r.md"
    assert said(capsys, *written(tmp_path, {"old": old}), "--markdown", text) == (0, "", "")
    assert "| [old](#old) | sample 1.0 | cpython-3.13 | 3 of 4 (75 %) | 2 of 2 |" in text.read_text("utf-8")


def changed(**keys: Any) -> dict[str, Any]:
    """Return the good result with other `keys`."""
    return {**GOOD, **keys}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("", "not JSON: line 1 column 1"),
        ("[1, 2", "not JSON: line 1 column 6"),
        ("[]", "the report: found []; expected an object"),
        (changed(format=2), "format: found 2; expected 1"),
        (changed(extra=1), 'unknown key "extra"'),
        (changed(vectors=[{**passed("a.b"), "outcome": "fine"}]), 'vectors.0.outcome: found "fine"; expected one of'),
        (changed(vectors=GOOD["vectors"][:1]), "summary.passed: found 2; expected 1, as the vectors have it"),
        (result(passed("a.b"), passed("a.b")), "vectors.1.id: a.b occurs again"),
        (result(passed("<b>.x")), 'vectors.0.id: found "<b>.x"'),
        (result(passed("a.b" * 100)), "vectors.0.id: found"),
        (
            changed(summary={**GOOD["summary"], "rules": {"reached": 5, "total": 4, "percent": 75}}),
            "summary.rules: 5 of 4 reached",
        ),
        (
            changed(summary={**GOOD["summary"], "rules": {"reached": 5, "total": 10**400, "percent": 75}}),
            "summary.rules: 5 of 1000",
        ),
        (result(failed("a.b", seen=json.loads("[" * 71 + "]" * 71))), "nested deeper than 72"),
        (result(failed("a.b", float("nan"))), "found NaN; expected a JSON value"),
        (result(failed("a.b", 10**1001)), "a number of 1002 digits; expected at most 1000"),
        ('{"format": 1, "format": 1}', 'an object has the key "format" twice'),
        ('{"x": "\\q"}', "not JSON"),
        (result(declared("a.b", "maybe")), 'vectors.0.expected.class: found "maybe"; expected one of'),
    ],
)
def test_bad_results(tmp_path: Path, capsys: pytest.CaptureFixture[str], document: Any, told: str) -> None:
    """A bad file is one line that names the file and the place, exit code 2, and nothing is written."""
    files = written(tmp_path, {"good": GOOD, "bad": document})
    text = tmp_path / "r.md"
    code, out, err = said(capsys, *files, "--markdown", text)
    assert (code, out) == (2, "")
    assert err.startswith(f"capsule-model: {files[1]}: ")
    assert told in err
    assert err.count("\n") == 1
    assert not text.exists()


def test_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no file, not UTF-8, too large or without a usable name is refused in one line."""
    (good,) = written(tmp_path, {"good": GOOD})
    latin = tmp_path / "latin.json"
    latin.write_bytes(b'{"\xe9": 1}')
    (other,) = written(tmp_path, {"a b": GOOD})
    text = tmp_path / "good.txt"
    text.write_text("{}")
    for file, told in (
        (tmp_path / "no.json", "no such file"),
        (latin, "byte 2 is not UTF-8"),
        (other, "no name for a column"),
        (text, "no name for a column"),
    ):
        code, _, err = said(capsys, good, file)
        assert code == 2
        assert err.startswith(f"capsule-model: {file}: {told}")
        assert err.count("\n") == 1
    monkeypatch.setattr(reading, "MAX_RESULT", 100)
    assert "larger than 100 bytes" in said(capsys, good)[2]


def test_bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """More results or vectors than can be shown are refused."""
    files = written(tmp_path, {"one": GOOD, "two": GOOD})
    monkeypatch.setattr(reading, "MAX_VECTORS", 1)
    assert "vectors: 2 of them; expected at most 1" in said(capsys, *files)[2]
    monkeypatch.setattr(reading, "MAX_RESULTS", 1)
    assert "2 results; expected at most 1" in said(capsys, *files)[2]


def test_two_files_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two columns of one name are refused, and both files named."""
    (tmp_path / "x").mkdir()
    first, second = *written(tmp_path, {"a": GOOD}), *written(tmp_path / "x", {"a": GOOD})
    code, _, err = said(capsys, first, second)
    assert code == 2
    assert f"{first} and {second} are both a; expected files of different names" in err


def test_outputs_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A result is never written over, nor one output by the other; a folder that is missing is named."""
    (file,) = written(tmp_path, {"a": GOOD})
    before = file.read_text()
    page = tmp_path / "page"
    for arguments, told in (
        ((file, "--markdown", file), f"--markdown {file}: is the result {file}, too"),
        ((file, "--html", page, "--markdown", page), f"--markdown {page}: is --html, too"),
        ((file, "--html", tmp_path / "no" / "x"), "no such folder"),
        ((), "Missing argument 'RESULT.json…'"),
    ):
        code, out, err = said(capsys, *arguments)
        assert (code, out) == (2, "")
        assert told in err
        assert err.count("\n") == 1
    assert file.read_text() == before
    assert not page.exists()


def test_written_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writing fails, the file that was there stays as it was, and nothing is left beside it."""
    (file,) = written(tmp_path, {"a": GOOD})
    page = tmp_path / "page.html"
    page.write_text("before")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    code, _, err = said(capsys, file, "--html", page)
    assert code == 2
    assert err == f"capsule-model: --html {page}: No space left on device\n"
    assert page.read_text() == "before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.json", "page.html"]


def test_hostile_texts_in_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that an adapter printed reaches the terminal as it was: no markup, no control characters."""
    strange = hostile()
    strange["implementation"]["name"] = "[bold]x[/bold]\x1b[2J\u202e"
    code, out, _ = said(capsys, *written(tmp_path, {"strange": strange}))
    assert code == 1
    assert "[bold]x[/bold]\\x1b[2J" in out
    assert all(character.isprintable() or character == "\n" for character in out)


ADAPTER = """
import json, sys
nasty = sys.argv[1] * 2000
for line in sys.stdin:
    request = json.loads(line)
    seq = {"seq": request["seq"]}
    if request["cmd"] == "start":
        answer = {"protocol": 1, "implementation": nasty[:100], "version": nasty[:200], "profile": nasty[:100],
                  "ops": ["PyCapsule_New", "PyCapsule_GetPointer"], "features": [], "absent": {"layout": nasty}}
    elif request["cmd"] == "run":
        step = {"return": nasty, "error": {"type": nasty, "bases": [], "text": nasty, "attributes": {nasty: nasty}}}
        answer = {"steps": [step for _ in request["vector"]["steps"]], "leaks": [nasty]}
        if request["vector"]["id"].endswith("refused"):
            answer = {"error": nasty}
        if request["vector"]["id"].endswith("lacking"):
            answer = {"unsupported": nasty}
    else:
        answer = {"stopped": True}
    print(json.dumps(seq | answer), flush=True)
    if request["cmd"] == "stop":
        break
"""


def test_from_a_hostile_adapter_to_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What conform writes of an adapter that prints hostile texts everywhere is read, and shown harmless."""
    nasty = "<script>x</script>'\"|`\n"
    step = {
        "op": "PyCapsule_New",
        "args": {"pointer": {"ptr": "p1"}, "name": {"cstr": "a"}, "destructor": None},
        "bind": "c",
        "expect": {"error": None},
    }
    rules = ["PyCapsule_New/returns-capsule"]
    vectors = [
        {"id": f"test.sample.{name}", "title": name, "rules": rules, "steps": [step], "leaks": ["c"]}
        for name in ("answered", "refused", "lacking")
    ]
    (tmp_path / "vectors.json").write_text(json.dumps({"format": 1, "vectors": vectors}))
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER)
    file, page, text = tmp_path / "nasty.json", tmp_path / "page.html", tmp_path / "r.md"
    command = f"'{sys.executable}' '{adapter}' '{nasty.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'"
    assert run(["conform", "--adapter", command, "--vectors", str(tmp_path / "vectors.json"), "--json", str(file)]) == 1
    capsys.readouterr()
    code, out, _ = said(capsys, file, "--html", page, "--markdown", text)
    assert code == 1
    assert "nasty: 2 unexpected divergences, nothing passed" in out
    for written_file in (page, text):
        shown = written_file.read_text("utf-8")
        assert "test.sample.refused" in shown
        assert len(shown) < 60_000
    assert "<script" not in page.read_text("utf-8")


def test_lacking_is_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an adapter lacks costs coverage, and is shown, but is no finding."""
    partial = result(passed("capsule.one.a"), lacking("capsule.two.a", "gc"))
    code, out, _ = said(capsys, *written(tmp_path, {"partial": partial}))
    assert code == 0
    assert "○1" in out
