"""Declared divergences in `conform`: what is shown, what is a fault, drafts, and what a report has of them."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from expectation_samples import ENTRY, HASH, HEAD

from capsule_model.cli import run
from capsule_model.conform import expectations
from capsule_model.conform.expectations import (
    shipped_ids,
)
from capsule_model.conform.report import vectors_digest
from capsule_model.locate import specs

ROOT = Path(__file__).resolve().parents[2]
MISBEHAVING = f"{sys.executable} {Path(__file__).with_name('adapters') / 'misbehaving.py'}"
CONTROLS = f"{sys.executable} -m capsule_model.conform.controls"
KNOWN = frozenset({"a.one", "a.two", "a.three"})
OTHER = "fedcba9876543210"


@pytest.fixture(autouse=True)
def _import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


class Bench:
    """A folder with three vectors, of which one is wrong, and the ways to run them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        new = {"op": "PyCapsule_New", "args": {"pointer": {"ptr": "p"}, "name": {"cstr": "a"}, "destructor": None}}
        get = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "a"}}}
        vectors = [
            {
                "id": f"test.sample.{name}",
                "title": f"{name} is shown",
                "rules": ["PyCapsule_New/returns-capsule"],
                "steps": [{**new, "bind": "c"}, {**get, "expect": {"return": expected}}],
                "leaks": ["c"],
            }
            for name, expected in (("right", {"ptr": "p"}), ("wrong", None), ("wronger", 7))
        ]
        self.vectors = folder / "vectors.json"
        self.vectors.write_text(json.dumps({"format": 1, "vectors": vectors}))

    def conform(self, *options: str) -> tuple[int, list[str], str]:
        """Run the command; return the exit code, the lines of output, and the errors."""
        adapter = () if "--adapter" in options else ("--adapter", f"{CONTROLS} model cpython-3.13")
        code = run(["conform", "--vectors", str(self.vectors), *adapter, *options])
        captured = self._capsys.readouterr()
        return code, [line.strip() for line in captured.out.splitlines()], captured.err

    def drafted(self, *options: str, reason: str = "So it is.") -> Path:
        """Return a file of expectations that explains what a run shows now."""
        draft = self.folder / "draft.toml"
        draft.unlink(missing_ok=True)
        self.conform("--draft", str(draft), *options)
        text = draft.read_text().replace('reason = ""', f'reason = "{reason}"')
        file = self.folder / f"expectations{len(list(self.folder.iterdir()))}.toml"
        file.write_text(text.replace('link = ""', 'link = "https://example.org/why"'))
        return file

    def report(self, *options: str) -> dict[str, Any]:
        """Return the report of a run."""
        file = self.folder / "report.json"
        self.conform("--json", str(file), *options)
        found: dict[str, Any] = json.loads(file.read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Return vectors to run, two of which are wrong."""
    return Bench(tmp_path, capsys)


def test_a_draft_explains_all_once_it_is_filled_in(bench: Bench) -> None:
    """Divergences, hash by hash, become one block: count, reason, link, ids; the implementation conforms."""
    code, lines, _ = bench.conform()
    assert code == 1
    shown = [line.removeprefix("observation ") for line in lines if line.startswith("observation ")]
    file = bench.drafted()
    (entry,) = tomllib.loads(file.read_text())["divergence"]
    assert list(entry["vectors"].values()) == shown
    code, lines, _ = bench.conform("--expectations", str(file))
    assert code == 0
    begin = lines.index("differs: 2 vectors: So it is.")
    assert lines[begin + 1 :] == [
        "https://example.org/why",
        "test.sample.wrong, test.sample.wronger",
        "conformant but for 2 declared divergences (3 vectors)",
    ]


def test_what_is_not_declared_is_shown_in_full(bench: Bench) -> None:
    """Of two divergences the one without an entry is told, with a hash that can be declared."""
    file = bench.drafted()
    text = file.read_text()
    kept = [line for line in text.splitlines() if "test.sample.wronger" not in line]
    file.write_text("\n".join(kept))
    code, lines, _ = bench.conform("--expectations", str(file))
    assert code == 1
    assert "differs: 1 vector: So it is." in lines
    begin = lines.index("failed: test.sample.wronger: wronger is shown")
    told = next(line for line in lines[begin:] if line.startswith("observation "))
    assert told.removeprefix("observation ") in text
    assert not any(line.startswith("failed: test.sample.wrong:") for line in lines)
    assert lines[-1] == "not conformant: 1 failed (3 vectors)"
    draft = bench.folder / "more.toml"
    bench.conform("--expectations", str(file), "--draft", str(draft))
    (entry,) = tomllib.loads(draft.read_text())["divergence"]
    assert entry["vectors"].keys() == {"test.sample.wronger"}


def test_faults_are_told_and_end_with_1(bench: Bench) -> None:
    """A divergence that has gone and another observation are a line each; the report has them."""
    file = bench.drafted()
    text = file.read_text().replace('"test.sample.wrong"', '"test.sample.right"')
    words = text.split('"test.sample.wronger" = "')
    file.write_text(f'{words[0]}"test.sample.wronger" = "{HASH}"\n')
    code, lines, _ = bench.conform("--expectations", str(file))
    assert code == 1
    told = [line for line in lines if line.startswith("expectations: ")]
    place = f"expectations: {file.name}: divergence 1 (test.sample.right): "
    assert told[0] == f"{place}test.sample.right: the divergence has gone: passed; expected no entry for this version"
    assert told[1].startswith(f"{place}test.sample.wronger: another observation: ")
    assert lines[-1] == "not conformant: 2 failed, 2 faults of expectations (3 vectors)"
    report = bench.report("--expectations", str(file))
    assert [f"expectations: {fault}" for fault in report["expectations"]["faults"]] == told
    assert report["summary"]["unexpected"] == 2


def test_a_fault_alone_ends_with_1(bench: Bench) -> None:
    """Where every divergence is explained, one that has gone still is not conformant."""
    file = bench.drafted()
    file.write_text(file.read_text() + f'"test.sample.right" = "{HASH}"\n')
    code, lines, _ = bench.conform("--expectations", str(file))
    assert (code, lines[-1]) == (1, "not conformant: 1 fault of expectations (3 vectors)")


def test_of_two_files_the_later_holds(bench: Bench) -> None:
    """Given twice, a vector has the reason of the last file."""
    first, second = bench.drafted(reason="First."), bench.drafted(reason="Second.")
    second.write_text("\n".join(line for line in second.read_text().splitlines() if 'sample.wrong"' not in line))
    report = bench.report("--expectations", str(first), "--expectations", str(second))
    assert [vector.get("expected", {}).get("reason") for vector in report["vectors"]] == [None, "First.", "Second."]
    assert report["expectations"]["files"] == [first.name, second.name]


def test_the_report_has_all_of_it(bench: Bench) -> None:
    """The JSON has the specification, the expectations, the counts, and a vector a line with its observation."""
    file = bench.drafted()
    raw = bench.report()
    report = bench.report("--expectations", str(file))
    vectors = json.loads(bench.vectors.read_text())["vectors"]
    assert report["specification"]["vectors"] == vectors_digest(vectors)
    assert report["expectations"]["files"] == [file.name]
    assert report["expectations"]["digest"] != raw["expectations"]["digest"]
    assert report["summary"]["expected"] == {"by-design": 0, "differs": 2, "crash": 0, "unsupported": 0}
    assert (raw["summary"]["unexpected"], report["summary"]["unexpected"]) == (2, 0)
    assert raw["summary"]["failed"] == report["summary"]["failed"] == 2
    right, wrong, _ = report["vectors"]
    assert "observation" not in right
    assert wrong["expected"] == {"class": "differs", "reason": "So it is.", "link": "https://example.org/why"}
    assert wrong["observation"] == raw["vectors"][1]["observation"]
    lines = (bench.folder / "report.json").read_text().splitlines()
    assert [json.loads(line.strip().rstrip(",")) for line in lines if line.startswith("  {")] == report["vectors"]


def test_no_expectations_shows_the_raw_picture(bench: Bench) -> None:
    """The option is not to be had together with files, and leaves nothing declared."""
    file = bench.drafted()
    code, _, error = bench.conform("--expectations", str(file), "--no-expectations")
    assert code == 2
    assert error == ("capsule-model: --expectations and --no-expectations exclude each other; expected one of them\n")
    assert bench.conform("--no-expectations")[0] == 1


def test_shipped_expectations_apply_by_themselves(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the implementation's name is applied, unless it is held to another profile or nothing is wanted."""
    (bench.folder / "expectations").mkdir()
    shipped = bench.drafted(reason="Shipped.").rename(bench.folder / "expectations" / "capsule-model.toml")
    real = specs()
    for name in ("formats", "vectors"):
        (bench.folder / name).symlink_to(real / name)
    monkeypatch.setattr(expectations, "specs", lambda: bench.folder)
    assert bench.conform()[0] == 0
    assert bench.report()["expectations"]["files"] == [shipped.name]
    assert bench.conform("--no-expectations")[0] == 1
    code, lines, _ = bench.conform("--profile", "cpython-3.9")
    assert code == 1
    assert lines[0].endswith("profile cpython-3.9 (not its own, so that no shipped expectation applies)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + ENTRY, "e.toml: divergence 1 (a.one): no vector a.one; expected "),
        (HEAD, 'e.toml: implementation is "demo"; expected "capsule-model", as the adapter says'),
        ("format =", "e.toml: not TOML: "),
        (HEAD + ENTRY.replace("It does so.", ""), 'reason: found ""; expected a sentence or two that say why'),
        (
            HEAD + ENTRY.replace("a.one", "capsule.new.nul-name"),
            "no vector capsule.new.nul-name; expected capsule.new.",
        ),
    ],
)
def test_bad_expectations_are_bad_input(text: str, message: str, bench: Bench) -> None:
    """Before anything is run, one line says what is wrong, and the exit code is 2."""
    file = bench.folder / "e.toml"
    file.write_text(text)
    code, lines, error = bench.conform("--expectations", str(file))
    assert (code, lines) == (2, [])
    assert message in error
    assert error.count("\n") == 1


def test_entries_for_shipped_vectors_that_were_not_run(bench: Bench) -> None:
    """With other vectors an entry for a shipped one is left alone."""
    file = bench.drafted()
    shipped = sorted(shipped_ids())[0]
    file.write_text(file.read_text() + f'"{shipped}" = "{HASH}"\n')
    assert bench.conform("--expectations", str(file))[0] == 0


def test_a_draft_that_cannot_be_written(bench: Bench) -> None:
    """A folder that does not exist is told before anything is run."""
    code, lines, error = bench.conform("--draft", "/no/such/folder/x.toml")
    assert (code, lines) == (2, [])
    assert error == (
        "capsule-model: --draft /no/such/folder/x.toml: no such folder; expected a file in one that exists\n"
    )


def test_crashes_and_lacks(bench: Bench) -> None:
    """A process that dies is a crash whatever it says; unsupported vectors need no entry, but may have a reason."""
    target = "test.sample.wrong"
    dying = ("--adapter", f"{MISBEHAVING} signal {target}")
    file = bench.drafted(*dying)
    entries = tomllib.loads(file.read_text())["divergence"]
    assert [(entry["class"], entry["outcome"]) for entry in entries] == [("differs", "failed"), ("crash", "crashed")]
    assert bench.conform(*dying, "--expectations", str(file))[0] == 0
    code, lines, _ = bench.conform("--adapter", f"{MISBEHAVING} exit {target}", "--expectations", str(file))
    assert code == 1
    assert any("another observation: " in line for line in lines)

    null = ("--adapter", f"{CONTROLS} null")
    lacking = bench.drafted(*null)
    code, lines, _ = bench.conform(*null, "--expectations", str(lacking))
    assert (code, lines[-1]) == (1, "not conformant: nothing passed (3 vectors)")
    assert "unsupported: 3 vectors: So it is." in lines
    assert bench.report(*null)["summary"]["unexpected"] == 0


def test_a_hostile_adapter_cannot_spoil_a_draft(bench: Bench) -> None:
    """What an adapter calls itself and shows is quoted, so that the draft stays TOML and says nothing else."""
    hostile = 'x"\n[[divergence]]\x1b[31m\u2028\\'
    answer = {"implementation": hostile, "version": f"{hostile} 1", "profile": "cpython-3.13", "protocol": 1}
    script = bench.folder / "hostile.py"
    script.write_text(
        "import json, sys\n"
        "from capsule_model.trace.contract import operations\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        f"    answer = {answer!r} | {{'ops': sorted(operations()), 'features': []}}\n"
        "    if request['cmd'] == 'run':\n"
        f"        answer = {{'error': {hostile!r}}}\n"
        "    if request['cmd'] == 'stop':\n"
        "        answer = {'stopped': True}\n"
        "    print(json.dumps(answer | {'seq': request['seq']}), flush=True)\n"
    )
    draft = bench.folder / "draft.toml"
    assert bench.conform("--adapter", f"{sys.executable} {script}", "--draft", str(draft))[0] == 1
    document = tomllib.loads(draft.read_text())
    (entry,) = document["divergence"]
    assert entry["outcome"] == "errored"
    assert entry["versions"] == ["*"]
    assert "\x1b" not in draft.read_text()
