"""The page to step through, without a browser: what it says of a run, how it is written, what it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from capsule_model.cli import run as run_command
from capsule_model.conform.commands import known_names
from capsule_model.conform.explain import profile_for
from capsule_model.conform.words import value_text
from capsule_model.profiles import PROFILES
from capsule_model.show.stepper import cards
from capsule_model.show.stepper.moments import Moment, moments
from capsule_model.suites import vectors_of
from capsule_model.trace.execute import BadVector, run
from capsule_model.trace.files import Vector, load
from dlpack_model.cli import run as run_dlpack

NEW: dict[str, Any] = {
    "op": "PyCapsule_New",
    "args": {"pointer": {"ptr": "p1"}, "name": {"cstr": "mod.attr"}, "destructor": {"function": "d"}},
    "bind": "c",
}
DECREF: dict[str, Any] = {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}, "expect": {"events": [{"call": "d"}]}}
INSIDE: dict[str, Any] = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"arg": 0}, "name": None}}
VECTOR: dict[str, Any] = {
    "id": "test.stepped",
    "title": "a capsule dies",
    "rules": ["PyCapsule_New/returns-capsule"],
    "functions": {"d": {"kind": "destructor", "steps": [INSIDE]}},
    "steps": [NEW, DECREF],
}


@cache
def vectors() -> list[Vector]:
    """Return the vectors of both suites."""
    return [vector for suite in ("capsule", "dlpack") for vector in load(vectors_of(suite), known_names()).vectors]


def stepped(vector: dict[str, Any], profile: str = "cpython-3.13") -> list[Moment]:
    """Return the moments of a vector."""
    return moments(vector, PROFILES[profile])[0]


def written(file: Path) -> dict[str, Any]:
    """Return the data of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', file.read_text("utf-8"), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_moments_of_a_run() -> None:
    """A destructor's steps lie inside the call that runs it, each with the state at that time."""
    seen = stepped(VECTOR)
    assert [(moment.at, moment.depth) for moment in seen] == [
        ("start", 0),
        ("0", 0),
        ("1/begin", 0),
        ("1/d.1", 1),
        ("1/d.1/0", 2),
        ("1/d.1/end", 1),
        ("1", 0),
        ("end", 0),
    ]
    new, entered, inside, died = seen[1], seen[3], seen[4], seen[6]
    (card,) = (card for card in new.changes.new.values() if card.section == "Capsules")
    assert (card.label, card.fields["ob_refcnt"], card.fields["name"]) == ("c", "1", '#0.name "mod.attr"')
    assert {"ob_refcnt": "0", "program owns": None} in entered.changes.changed.values()
    assert "dealloc/calls-destructor" in entered.rules
    assert inside.error == 'ValueError "PyCapsule_GetPointer called with incorrect name"'
    assert inside.back == "no error"
    assert list(died.changes.gone.values()) == ["step 1"]
    assert seen[-1].told == ["still owned: nothing"]


def test_a_death_is_the_last_moment() -> None:
    """Undefined behaviour inside a destructor ends the moments there, with the whole diagnosis."""
    inner = {"op": "free", "args": {"ptr": {"ref": "b"}}}
    steps = [{"op": "malloc", "args": {"size": 8}, "bind": "b"}, inner, NEW, DECREF]
    last = stepped(VECTOR | {"functions": {"d": {"kind": "destructor", "steps": [inner]}}, "steps": steps})[-1]
    assert (last.at, last.kind, last.text) == ("3/d.1/0/death", "death", "free(b)")
    assert last.told[0].startswith("double-free: ")
    assert "  history: freed at step 1" in last.told
    assert last.rules[-1] == "memory/double-free"


def test_what_a_pointer_points_to_goes() -> None:
    """A capsule's field says so when the block that it points to is freed, although no word of it changed."""
    block = {"op": "malloc", "args": {"size": 8}, "bind": "b"}
    new = NEW | {"args": NEW["args"] | {"pointer": {"ref": "b"}}}
    seen = stepped(VECTOR | {"steps": [block, new, {"op": "free", "args": {"ptr": {"ref": "b"}}}]})
    assert seen[3].changes.changed == {"o512": {"pointer": "b, freed"}}


def test_every_thread_has_an_indicator() -> None:
    """While another thread runs, what is pending on the first one is told as pending there."""
    say = {"type": {"cstr": "KeyError"}, "message": {"cstr": "k"}}
    steps = [{"op": "PyErr_SetString", "args": say, "leave": True}, {"op": "PyErr_Occurred", "thread": "t1"}]
    other = stepped(VECTOR | {"steps": steps})[2]
    assert (other.thread, other.error) == ("t1", None)
    assert other.elsewhere == ["the first thread: KeyError \"'k'\""]


def test_bytes_that_were_never_written_are_dots() -> None:
    """A block shows its bytes in rows, those without a value as dots, and the row that a write changed."""
    write = {"op": "write", "args": {"ptr": {"ref": "b", "offset": 18}, "bytes": {"hex": "61ff"}}}
    seen = stepped(VECTOR | {"steps": [{"op": "malloc", "args": {"size": 20}, "bind": "b"}, write]})
    assert seen[1].changes.new["b0"].fields["+16"] == "·· ·· ·· ··"
    assert seen[2].changes.changed == {"b0": {"+16": "·· ·· 61 ff"}}


def test_an_array_and_its_export() -> None:
    """Of an exchange are shown elements as memory has them, who took the tensor over, and the struct's fields."""
    (vector,) = (vector for vector in vectors() if vector["id"] == "dlpack.deleter.two-exports")
    seen = stepped(vector)
    new = [card for moment in seen for card in moment.changes.new.values()]
    array = next(card for card in new if card.section == "Arrays")
    assert array.fields["elements"].startswith("0, 1")
    export = next(card for card in new if card.label == "export 1")
    assert {"of", "struct", "taken over by", "deleter calls", "shape", "dtype"} <= export.fields.keys()


def test_looking_on_changes_nothing() -> None:
    """A run that is looked at shows what it shows unwatched: observations, leaks, rules, diagnosis, in every vector."""
    asked = 0
    for vector in vectors():
        profile = profile_for(vector, None)
        plain = run(vector, profile, rules=True)
        seen, watched = moments(vector, profile)
        assert (watched.steps, watched.leaks) == (plain.steps, plain.leaks), vector["id"]
        if plain.diagnosis is not None and plain.diagnosis.kind == "dealloc-reentered":
            # A destructor without end runs until the stack ends, which is a little earlier for who is looked at.
            assert {rule for _, rule in watched.reached} == {rule for _, rule in plain.reached}, vector["id"]
            assert watched.diagnosis is not None
            assert watched.diagnosis.kind == plain.diagnosis.kind, vector["id"]
        else:
            assert watched.reached == plain.reached, vector["id"]
            assert str(watched.diagnosis) == str(plain.diagnosis), vector["id"]
        assert len({moment.at for moment in seen}) == len(seen), vector["id"]
        asked += 1
    assert asked > 1000


def test_differences_add_up_to_the_states() -> None:
    """Applied one after the other, the changes of the moments give the capsules that the model says are there."""
    compared = 0
    for vector in vectors()[::5]:
        profile = profile_for(vector, None)
        states = run(vector, profile, states=True).states
        alive: dict[str, tuple[str, dict[str, str]]] = {}
        for moment in moments(vector, profile)[0]:
            changes = moment.changes
            alive |= {name: (card.label, dict(card.fields)) for name, card in changes.new.items()}
            for name, fields in changes.changed.items():
                label, kept = alive[name]
                label = fields.get("#label") or label
                kept |= {key: value for key, value in fields.items() if value is not None and key != "#label"}
                alive[name] = label, {key: value for key, value in kept.items() if fields.get(key, "") is not None}
            for name in changes.gone:
                del alive[name]
            if moment.at.isdigit():
                shown = dict(alive.values())
                for token, expected in states[int(moment.at)].items():
                    compared += _compare(shown[token], expected)
    assert compared > 500


def _compare(shown: dict[str, str], expected: dict[str, Any]) -> int:
    """Hold a card against a capsule's state; what has no token, or is gone, is called otherwise on the card."""
    if "refcnt" not in expected:
        return 0
    assert shown["ob_refcnt"] == str(expected["refcnt"])
    for field in ("pointer", "name", "context", "destructor"):
        wanted = value_text(expected[field])
        if "?" not in wanted and "…" not in wanted:
            assert shown[field].startswith(wanted)
    return 1


def test_a_page_is_closed(tmp_path: Path) -> None:
    """The policy allows the page's own script and style by their hashes alone; the data cannot leave its element."""
    file = tmp_path / "page.html"
    vector = VECTOR | {"title": "</script><script>alert(1)</script><!-- & \u2028"}
    source = tmp_path / "v.json"
    source.write_text(json.dumps({"format": 1, **vector}))
    assert run_command(["explain", str(source), "--profile", "cpython-3.13", "--html", str(file)]) == 0
    text = file.read_text("utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert (len(scripts), len(styles), text.count("</script>")) == (1, 1, 2)
    for whole in (*scripts, *styles):
        digest = base64.b64encode(hashlib.sha256(whole.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in text
    assert "unsafe" not in text
    assert "innerHTML" not in text
    assert "http" not in re.sub(r"http-equiv", "", text)
    data = written(file)
    assert data["format"] == 1
    assert data["vectors"][0]["title"].startswith("</script><script>alert(1)</script><!-- & ")
    assert data["rules"]["dealloc/calls-destructor"]["level"] == "MUST"
    assert data["rules"]["dealloc/calls-destructor"]["chapter"] == "capsule/lifetime.md"


def test_several_vectors_in_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The vectors of a file share a page; a bad one beside them is named, and makes the exit code 2."""
    source, file = tmp_path / "v.json", tmp_path / "page.html"
    source.write_text(json.dumps({"format": 1, "vectors": [VECTOR, VECTOR | {"id": "test.other"}, {}]}))
    assert run_command(["explain", str(source), "--html", str(file)]) == 2
    assert [vector["id"] for vector in written(file)["vectors"]] == ["test.stepped", "test.other"]
    assert "bad input: " in capsys.readouterr().out


def test_what_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder, a folder that is not there, the input itself, an unknown id: one line each, and nothing is written."""
    source = tmp_path / "v.json"
    source.write_text(json.dumps({"format": 1, **VECTOR}))
    before = source.read_bytes()
    for what, out, told in [
        (str(source), tmp_path, "is a folder; expected a file"),
        (str(source), tmp_path / "no" / "page.html", "no such folder"),
        (str(source), source, "is the file of vectors, too"),
        ("capsule.nothing", tmp_path / "page.html", "no vector capsule.nothing"),
        (str(tmp_path / "gone.json"), tmp_path / "page.html", None),
    ]:
        assert run_command(["explain", what, "--html", str(out)]) == 2
        seen = capsys.readouterr()
        assert told is None or told in seen.err
        assert len((seen.err + seen.out).splitlines()) == 1
    assert source.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.json"]


def test_a_page_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that is too much to look at, and a page that is too large, are refused in one line."""
    source, file = tmp_path / "v.json", tmp_path / "page.html"
    source.write_text(json.dumps({"format": 1, **VECTOR}))
    monkeypatch.setattr(cards, "MOST_LOOKS", 10)
    assert run_command(["explain", str(source), "--html", str(file)]) == 2
    assert "the run is too long for a page" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("capsule_model.show.stepper.page.MOST", 1000)
    assert run_command(["explain", str(source), "--html", str(file)]) == 2
    assert "expected at most 1000" in capsys.readouterr().err
    assert not file.exists()


def test_bad_steps_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A step that makes no sense when it runs is named, as without a page."""
    source, file = tmp_path / "v.json", tmp_path / "page.html"
    step = {"op": "PyCapsule_GetName", "args": {"capsule": {"module": "m"}}}
    source.write_text(json.dumps({"format": 1, **VECTOR, "modules": {"m": {}}, "steps": [step]}))
    with pytest.raises(BadVector):
        stepped(VECTOR | {"modules": {"m": {}}, "steps": [step]})
    assert run_command(["explain", str(source), "--html", str(file)]) == 2
    assert "step 0: 'm' is not in sys.modules" in capsys.readouterr().err


def test_dlpack_explains_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`dlpack-model explain` tells a run in words, under a profile, and writes its page."""
    what = ["explain", "dlpack.deleter.two-exports", "--profile", "cpython-3.13"]
    assert run_dlpack(what) == 0
    told = capsys.readouterr().out
    assert "under cpython-3.13" in told
    assert "deleter of" in told
    assert run_dlpack([*what, "--html", str(tmp_path / "page.html")]) == 0
    assert written(tmp_path / "page.html")["vectors"][0]["sections"][1:3] == ["Arrays", "Exchange"]
    assert run_dlpack(["explain", "dlpack.nothing"]) == 2
    assert "no vector dlpack.nothing" in capsys.readouterr().err
