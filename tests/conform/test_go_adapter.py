"""The adapter for a runtime in pure Go: what it claims it does right, and whatever it is asked, it answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from capsule_model.conform.adapter import AdapterProcess
from capsule_model.conform.commands import known_names
from capsule_model.conform.runner import Result, choose_profile, run_vectors
from capsule_model.conform.session import Session
from capsule_model.locate import specs
from capsule_model.trace.files import load

SOURCE = specs() / "adapters" / "adapter.go"
LEAST_PASSED = 490
LINE_LIMIT = 1 << 20

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")

Json = dict[str, Any]


def build(source: str, folder: Path) -> Path:
    """Compile an adapter and return the program."""
    (folder / "adapter.go").write_text(source, encoding="utf-8")
    environment = os.environ | {"GO111MODULE": "off", "GOFLAGS": "", "GOPROXY": "off"}
    environment.setdefault("GOCACHE", str(folder / "cache"))
    done = subprocess.run(
        ["go", "build", "adapter.go"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "adapter"


def conform(program: Path) -> list[Result]:
    """Run every vector of the project on the adapter."""
    loaded = load(specs() / "vectors" / "capsule", known_names())
    session = Session(AdapterProcess([str(program)]))
    try:
        about = session.start()
        results, bad = run_vectors(loaded.vectors, session, about, choose_profile(about, None)[0])
    finally:
        session.stop()
    assert not bad
    return results


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the adapter, compiled."""
    return build(SOURCE.read_text(encoding="utf-8"), tmp_path_factory.mktemp("go"))


def ask(program: Path, *lines: bytes | Json) -> list[Json]:
    """Return the answers to requests, with `stop` added; the program must end well."""
    requests = [*lines, {"seq": 99, "cmd": "stop"}]
    data = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in requests)
    done = subprocess.run([str(program)], input=data, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[Json] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(requests)
    assert answers[-1] == {"seq": 99, "stopped": True}
    return answers[:-1]


def run(*steps: Json, **vector: Any) -> Json:
    """Return a request to perform a vector."""
    return {"seq": 7, "cmd": "run", "vector": {"id": "test.go", "steps": list(steps), **vector}}


def step(name: str, bind: str = "", /, **args: Any) -> Json:
    """Return a step."""
    return {"op": name, "args": args} | ({"bind": bind} if bind else {})


NEW = step("PyCapsule_New", "c", pointer={"ptr": "p"}, name={"cstr": "a"}, destructor={"function": "d"})
PLAIN = step("PyCapsule_New", "c", pointer={"ptr": "p"}, name={"cstr": "a"}, destructor=None)
DECREF = step("Py_DECREF", op={"ref": "c"})
BLOCK = step("malloc", "m", size=8)


def test_what_it_claims_it_does_right(program: Path) -> None:
    """No vector fails, and more than half of those that could be sent pass."""
    results = conform(program)
    counts = Counter(result.outcome for result in results)
    assert counts["passed"] >= LEAST_PASSED
    wrong = {r.id: r.outcome for r in results if r.outcome in ("failed", "errored", "crashed", "timed-out")}
    assert wrong == {}


def test_it_is_partial_and_says_so(program: Path) -> None:
    """It names a reason for each feature that it lacks, and none for one that it has."""
    session = Session(AdapterProcess([str(program)]))
    try:
        about = session.start()
    finally:
        session.stop()
    assert not about.absent.keys() & about.features
    assert about.absent.keys() == {"gc", "layout", "modules", "python", "threads"}
    assert "PyCapsule_Import" not in about.ops


def test_source_is_as_go_programmers_write_it(program: Path) -> None:
    """Go's own tools have nothing to say: `gofmt -l`, `go vet`."""
    if shutil.which("gofmt") is not None:
        formatted = subprocess.run(["gofmt", "-l", str(SOURCE)], capture_output=True, text=True, check=True)
        assert formatted.stdout == ""
    environment = os.environ | {"GO111MODULE": "off", "GOFLAGS": ""}
    environment.setdefault("GOCACHE", str(program.parent / "cache"))
    vetted = subprocess.run(
        ["go", "vet", "adapter.go"], cwd=SOURCE.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert vetted.returncode == 0, vetted.stderr


@pytest.mark.parametrize(
    ("line", "seq"),
    [
        (b"", 0),
        (b"nonsense", 0),
        (b"\xff\xfe", 0),
        (b"[]", 0),
        (b"null", 0),
        (b"x" * (3 * LINE_LIMIT), 0),
        (b"[" * 200_000, 0),
        (b'{"seq": "1", "cmd": "start"}', 0),
        (b'{"seq": 1, "cmd": 5}', 1),
        (b'{"seq": 1, "cmd": "fly"}', 1),
        (b'{"seq": 1, "cmd": "run"}', 1),
        (b'{"seq": 1, "cmd": "run", "vector": {}}', 1),
        (b'{"seq": 1, "cmd": "run", "vector": {"steps": 5}}', 1),
        (b'{"seq": 1, "cmd": "run", "vector": {"steps": [5]}}', 1),
    ],
)
def test_bad_request_is_answered(program: Path, line: bytes, seq: int) -> None:
    """What is no request gets an `error` of one line, and the program is there for the next."""
    bad, good = ask(program, line, run(PLAIN, DECREF))
    assert bad.keys() == {"seq", "error"}
    assert bad["seq"] == seq
    assert "\n" not in bad["error"]
    assert len(good["steps"]) == 2


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (run(step("PyCapsule_New")), "0"),
        (run(step("Py_DECREF", op={"ref": "nobody"})), "0"),
        (run(step("Py_DECREF", op={"ptr": "p"})), "0"),
        (run(step("Py_DECREF", op={"arg": 0})), "0"),
        (run(step("PyCapsule_CheckExact", op=None)), "0"),
        (run(step("poke", op={"object": "int"}, field="nothing", value=None)), "0"),
        (run(step("string", bytes={"hex": "zz"})), "0"),
        (run(step("malloc", size="x")), "0"),
        (run(step("malloc", size=-1)), "0"),
        (run(step("malloc", size=1 << 40)), "0"),
        (run(BLOCK, step("read", ptr={"ref": "m"}, size=9)), "1"),
        (run(BLOCK, step("read", ptr={"ref": "m", "offset": -1}, size=1)), "1"),
        (run(BLOCK, step("write", ptr={"ref": "m", "offset": 8}, bytes={"hex": "00"})), "1"),
    ],
)
def test_bad_vector_is_answered(program: Path, request_: Json, where: str) -> None:
    """A vector that makes no sense is refused at its step, and spoils nothing for the next one."""
    bad, good = ask(program, request_, run(PLAIN, DECREF))
    assert bad["error"]
    assert bad["step"] == where
    assert len(good["steps"]) == 2


@pytest.mark.parametrize(
    "request_",
    [
        run(step("gc.collect")),
        run(PLAIN, modules={"m": {}}),
        run(PLAIN, functions={"d": {"kind": "traverse"}}),
        run(PLAIN, functions={"d": {"native": "PyErr_Print"}}),
        run(step("settle") | {"thread": "t"}),
        run(step("settle") | {"pending": {"type": "OSError", "text": "x"}}),
        run(
            PLAIN,
            step("PyCapsule_SetName", capsule={"ref": "c"}, name={"ref": "c"}),
            step("PyCapsule_GetName", capsule={"ref": "c"}),
        ),
    ],
)
def test_what_is_missing_is_unsupported(program: Path, request_: Json) -> None:
    """What it does not have is no error of the vector."""
    (answer,) = ask(program, request_)
    assert answer.keys() == {"seq", "unsupported"}


@pytest.mark.parametrize(
    "inner",
    [
        pytest.param([NEW, DECREF], id="a destructor that makes its like"),
        pytest.param([step("Py_INCREF", op={"arg": 0}), step("Py_DECREF", op={"arg": 0})], id="one that dies again"),
    ],
)
def test_endless_destructor_has_an_end(program: Path, inner: list[Json]) -> None:
    """A vector whose destructors would run for ever is given up before memory or stack are."""
    functions = {"d": {"kind": "destructor", "max_calls": 1_000_000_000, "steps": inner}}
    bad, good = ask(program, run(NEW, DECREF, functions=functions), run(PLAIN, DECREF))
    assert "room" in bad["error"]
    assert len(good["steps"]) == 2


def test_answer_stays_below_the_limit(program: Path) -> None:
    """An answer that would be longer than a line may be is not sent."""
    name = {"cstr": "y" * 900_000}
    named = step("PyCapsule_New", "c", pointer={"ptr": "p"}, name=name, destructor=None)
    (answer,) = ask(program, run(named, *[step("PyCapsule_GetName", capsule={"ref": "c"})] * 2))
    assert answer == {"seq": 7, "error": "the answer is too long"}


@pytest.mark.parametrize(
    ("right", "wrong", "noticed"),
    [
        ("return usable(op) && sameName(op.Name, name)", "return usable(op)", "capsule.is-valid.wrong-name"),
        ("ok && op.Refcnt == 0", "ok && op.Refcnt >= 0", "capsule.references."),
        ("\t\ts.Err = saved\n", "\t\ts.Err = before\n\t\t_ = saved\n", "capsule.error-indicator."),
        (
            "\ts.events, s.path = outerEvents, outerPath\n",
            "\t_, s.path = outerEvents, outerPath\n",
            "capsule.destructor.",
        ),
        ("op != nil && op.Type", "op.Type", "capsule.is-valid.null"),
    ],
)
def test_broken_capsule_is_noticed(right: str, wrong: str, noticed: str, tmp_path: Path) -> None:
    """A mistake in the runtime or in the adapter shows as a vector that no longer passes."""
    source = SOURCE.read_text(encoding="utf-8")
    assert source.count(right) == 1
    results = conform(build(source.replace(right, wrong), tmp_path))
    bad = [result.id for result in results if result.outcome in ("failed", "errored", "crashed")]
    assert any(identifier.startswith(noticed) for identifier in bad), bad
