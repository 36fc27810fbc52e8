"""The tutorial for writers of adapters: its Go is built, its commands are run, their output is compared."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from capsule_model.conform.runner import sent

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "specs" / "ADAPTERS.md"
ADAPTER = ROOT / "specs" / "adapters" / "adapter.go"
STEPS_TO_FIRST_PASS = 8

_FENCE = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TAKE = re.compile(r"^Take from \[`adapter\.go`\]\(adapters/adapter\.go\) (.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
_DECLARED = re.compile(r"(?:func (?:\(\w+ \*?(\w+)\) )?|type |var |const )(\w+)|import")


@dataclass(frozen=True)
class Part:
    """A piece of the tutorial that a reader acts on: a fenced block, or a list of declarations to take."""

    step: str
    kind: str
    name: str
    text: str


def parts() -> list[Part]:
    """Return the parts of the tutorial in the order of the text."""
    text = TUTORIAL.read_text(encoding="utf-8")
    found = [(m.start(), m[1], m[2] or "", m[3]) for m in _FENCE.finditer(text)]
    found += [(m.start(), "take", "", m[1]) for m in _TAKE.finditer(text)]
    headings = [(m.start(), m[1]) for m in re.finditer(r"^### (\d+)\. ", text, re.MULTILINE)]
    return [
        Part(max([(0, "0"), *(heading for heading in headings if heading[0] < start)])[1], kind, name, body)
        for start, kind, name, body in sorted(found)
    ]


def sessions() -> list[tuple[str, str, str]]:
    """Return the commands whose output the text shows: (step, commands, output)."""
    return [
        (one.step, one.text, after.text)
        for one, after in itertools.pairwise(parts())
        if one.kind == "console" and after.kind == "text"
    ]


def declarations(source: str) -> dict[str, str]:
    """Split gofmt's output into its top-level declarations by name, each with the comment above it."""
    found: dict[str, str] = {}
    for match in re.finditer(
        r"^(?://[^\n]*\n)*(?:func|type|var|const|import)\b[^\n]*(?:\n(?=[\t})\n])[^\n]*)*", source, re.MULTILINE
    ):
        chunk = match[0].rstrip()
        code = next(line for line in chunk.splitlines() if not line.startswith("//"))
        named = _DECLARED.match(code)
        assert named is not None, code
        key = ".".join(word for word in named.groups() if word) or "import"
        assert key not in found, key
        found[key] = chunk
    return found


def assemble(file: dict[str, str], part: Part) -> None:
    """Do with a reader's file what the text says: new declarations replace those of their name, or are added."""
    if part.kind == "take":
        source = declarations(ADAPTER.read_text(encoding="utf-8"))
        file.update((name, source[name]) for name in re.findall(r"`([^`]+)`", part.text))
    else:
        file.update(declarations(part.text))


def written(file: dict[str, str]) -> str:
    """Return the source of a file of declarations."""
    return "package main\n\n" + "\n\n".join(file.values()) + "\n"


def pattern(line: str) -> re.Pattern[str]:
    """Return what a line of shown output stands for: `…` is any text, and the columns of a table may be wider."""
    words = re.split(r"( {2,}|…)", line.rstrip())
    return re.compile("".join(".*" if w == "…" else " {2,}" if w[:2] == "  " else re.escape(w) for w in words) + r"\s*")


def unlike(shown: str, seen: str) -> str | None:
    """Return the first line shown that the output does not have in its place; a line `…` stands for any lines."""
    lines, skipping = seen.splitlines(), False
    for line in shown.splitlines():
        if line == "…":
            skipping = True
            continue
        wanted = pattern(line)
        while skipping and lines and not wanted.fullmatch(lines[0]):
            lines.pop(0)
        if not lines or not wanted.fullmatch(lines[0]):
            return line
        lines.pop(0)
        skipping = False
    return None if skipping or not any(map(str.strip, lines)) else f"and no more, where there is {lines[0]!r}"


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Follow the tutorial from an empty folder; return what each of `sessions()` printed."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    folder = tmp_path_factory.mktemp("my-adapter")
    commands = folder / ".venv" / "bin"
    commands.mkdir(parents=True)
    program = commands / "capsule-model"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m capsule_model "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = os.environ | {"PROJECT": str(ROOT), "PYTHONPATH": str(ROOT), "GO111MODULE": "off", "PYTHONUTF8": "1"}
    file: dict[str, str] = {}
    printed: list[str] = []
    for part, after in itertools.pairwise([*parts(), Part("", "", "", "")]):
        if part.kind in ("go", "take"):
            assemble(file, part)
            (folder / "adapter.go").write_text(written(file), encoding="utf-8")
        elif part.kind == "json":
            (folder / part.name).write_text(part.text, encoding="utf-8")
        elif part.kind == "console" and part.step != "1":
            done = subprocess.run(
                ["sh", "-c", part.text], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
            )
            assert after.kind == "text", part.text
            printed.append(done.stdout + done.stderr)
    return printed


@pytest.mark.parametrize("number", range(len(sessions())))
def test_output_is_what_the_text_shows(number: int, walked: list[str]) -> None:
    """A reader who does what the text says sees what the text shows."""
    step, commands, shown = sessions()[number]
    missing = unlike(shown, walked[number])
    assert missing is None, f"step {step}, {commands}: no line {missing!r} in\n{walked[number]}"


def test_first_vector_passes_within_ten_steps(walked: list[str]) -> None:
    """The first conformant verdict is printed in the step that the introduction promises."""
    verdicts = [
        step
        for (step, _, _), seen in zip(sessions(), walked, strict=True)
        if re.search(r"^conformant\b", seen, re.MULTILINE)
    ]
    assert int(verdicts[0]) == STEPS_TO_FIRST_PASS <= 10
    assert f"After {('zero one two three four five six seven eight nine ten').split()[STEPS_TO_FIRST_PASS]} steps" in (
        TUTORIAL.read_text(encoding="utf-8")
    )


def test_answers_learnt_by_heart_fail_as_the_text_shows(tmp_path: Path) -> None:
    """An adapter that repeats the answers of step 8 fails the renamed copy, with the output that is shown."""
    answers = next(shown for step, commands, shown in sessions() if step == "8" and "talk.jsonl" in commands)
    named = {part.name: part.text for part in parts()}
    adapter, vector = tmp_path / "by_heart.py", tmp_path / "first.json"
    adapter.write_text(
        "import json, sys\n"
        f"answers = {[re.sub('{…}', '{}', line) for line in answers.splitlines()]!r}\n"
        "learnt = dict(zip(('start', 'run', 'stop'), map(json.loads, answers)))\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    print(json.dumps(learnt[asked['cmd']] | {'seq': asked['seq']}), flush=True)\n",
        encoding="utf-8",
    )
    vector.write_text(named["first.json"], encoding="utf-8")
    conform = [sys.executable, "-m", "capsule_model", "conform", "--vectors", str(vector)]
    conform += ["--adapter", shlex.join([sys.executable, str(adapter)])]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    copied, alone = (
        subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
        for command in (conform, [*conform, "--no-copies"])
    )
    assert unlike(named["by-heart"], copied.stdout) is None, copied.stdout + copied.stderr
    assert (copied.returncode, alone.returncode) == (1, 0), alone.stdout + alone.stderr


def test_both_lists_of_common_steps_agree() -> None:
    """The introduction and the last section name the same steps as independent of the language."""
    lists = re.findall(r"[Ss]teps ([\d, and]+) stand as they are", TUTORIAL.read_text(encoding="utf-8"))
    assert len(lists) == 2
    assert lists[0] == lists[1]


def test_end_is_the_adapter_of_the_project() -> None:
    """Whoever follows the text has every declaration of `adapter.go` in the end, and nothing else."""
    file: dict[str, str] = {}
    for part in parts():
        if part.kind in ("go", "take"):
            assemble(file, part)
    assert file == declarations(ADAPTER.read_text(encoding="utf-8"))


def test_requests_are_those_of_conform() -> None:
    """What the reader types in is what `conform` sends: `first.json` without what an adapter must not know."""
    named = {part.name: part.text for part in parts() if part.kind == "json"}
    requests = [json.loads(line) for line in named["talk.jsonl"].splitlines()]
    assert [request["cmd"] for request in requests] == ["start", "run", "stop"]
    assert requests[1]["vector"] == {"format": 1} | sent(json.loads(named["first.json"]))


@pytest.mark.parametrize(
    ("shown", "seen", "missing"),
    [
        ("a\nb\n", "a\nb\n", None),
        ("a\n…\nd\n", "a\nb\nc\nd\n", None),
        ("a … c\n", "a b c\n", None),
        ("x  1\n", "x      1\n", None),
        ("a\nb\n", "a\n", "b"),
        ("a\n", "a\nb\n", "and no more, where there is 'b'"),
        ("a\n…\nd\n", "a\nb\n", "d"),
        ("0 of … (0 %)\n", "1 of 126 (0 %)\n", "0 of … (0 %)"),
        ("x  1\n", "x 1\n", "x  1"),
    ],
)
def test_shown_output_is_compared(shown: str, seen: str, missing: str | None) -> None:
    """Only what the ellipsis stands for may differ."""
    assert unlike(shown, seen) == missing


def test_declarations_are_told_apart() -> None:
    """A declaration ends where gofmt ends it, and keeps the comment that belongs to it."""
    source = "// free\n\n// F does.\nfunc (s *T) F() {\n\n\tx()\n}\n\nvar a = 1\nvar b = []int{\n\t1,\n}\n"
    source += "\ntype c struct{ d int }\n"
    assert declarations(source) == {
        "T.F": "// F does.\nfunc (s *T) F() {\n\n\tx()\n}",
        "a": "var a = 1",
        "b": "var b = []int{\n\t1,\n}",
        "c": "type c struct{ d int }",
    }
