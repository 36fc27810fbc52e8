"""The adapter of the suite `dlpack`: model, vectors and this interpreter held against each other."""

from __future__ import annotations

import ctypes
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from capsule_model.cli import run as command
from capsule_model.conform.answers import Ran, Refused, Started, Unsupported, ran, started
from capsule_model.conform.held import adapter_process
from capsule_model.conform.runner import Result, choose_profile, run_vectors
from capsule_model.conform.session import Session
from capsule_model.profiles import BEHAVIOURS
from capsule_model.suites import chapters_of, vectors_of
from capsule_model.trace.execute import run
from capsule_model.trace.expectation import compare
from capsule_model.trace.extensions import Kinds
from capsule_model.trace.files import load
from capsule_model.trace.meaning import Known
from dlpack_model.adapter import ArrayAdapter, ArraySession
from dlpack_model.real.capsules import CAPSULES
from dlpack_model.real.memory import MOST_BYTES, RealMemory
from dlpack_model.real.process import MOST_NESTED, RealProcess

Json = dict[str, Any]
PENDING = {"pending": {"type": "KeyError", "text": "k"}}


def step(op: str, bind: str | None = None, /, **args: Any) -> Json:
    """Return a step."""
    return {"op": op, "args": args} | ({} if bind is None else {"bind": bind})


ARRAY = step("dlpack.array", "x", dtype="int32", shape=[2])
EXPORT = step("__dlpack__", "c", self={"ref": "x"}, max_version=[1, 3])
IMPORT = step("from_dlpack", "y", x={"ref": "x"}, consumer="rename-only")


def drop(name: str) -> Json:
    """Return the step that gives a reference back."""
    return step("Py_DECREF", op={"ref": name})


def vectors() -> Sequence[Mapping[str, Any]]:
    """Return the vectors of the suite, whether or not the chapters have their rules."""
    loaded = load(vectors_of("dlpack"), Known(None, BEHAVIOURS.keys(), Kinds()))
    assert loaded.problems == []
    return loaded.vectors


class Here:
    """The adapter in this process, so that what it is made of can be broken."""

    def __init__(self, adapter: ArrayAdapter) -> None:
        self.adapter = adapter

    def start(self) -> Started:
        """Return what the adapter says of itself."""
        return started(json.loads(json.dumps(self.adapter.start())))

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Perform one vector."""
        return ran(json.loads(json.dumps(self.adapter.run(vector))))

    def stop(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def adapter() -> ArrayAdapter:
    """Return an adapter with the driver, where a compiler is found."""
    return ArrayAdapter()


def outcomes(adapter: ArrayAdapter, chosen: Callable[[str], bool]) -> dict[str, Result]:
    """Hold the adapter to the vectors whose ids are chosen; none of them ends the process."""
    session = Session(Here(adapter))
    about = session.start()
    picked = [vector for vector in vectors() if chosen(vector["id"]) and not vector["id"].endswith("null-deleter")]
    results, bad = run_vectors(picked, session, about, choose_profile(about, None)[0])
    assert bad == []
    return {result.id: result for result in results}


def answer(adapter: ArrayAdapter, *steps: Json, **keys: Any) -> Json:
    """Return what the adapter answers to a vector."""
    found: Json = adapter.run({"format": 1, "id": "x.y", "steps": list(steps)} | keys)
    return found


def agree(adapter: ArrayAdapter, *steps: Json, **keys: Any) -> None:
    """Hold the adapter's observations of a vector against the model's, and hold what they leak."""
    vector = {"format": 1, "id": "x.y", "steps": list(steps)} | keys
    model = run(vector, choose_profile(Here(adapter).start(), None)[0])
    assert model.diagnosis is None
    seen = adapter.run(vector)
    assert "steps" in seen, seen
    for index, (ours, theirs) in enumerate(zip(model.steps, seen["steps"], strict=True)):
        assert compare(ours, theirs, str(index)) == []
    assert seen["leaks"] == model.leaks


def test_this_interpreter_conforms() -> None:
    """Each vector is passed, or cannot be performed for a reason that is known, or is never sent."""
    session = Session(adapter_process(None, 30, "dlpack"))
    try:
        about = session.start()
        results, bad = run_vectors(vectors(), session, about, choose_profile(about, None)[0])
    finally:
        session.stop()
    assert bad == []
    allowed = {"needs Py_FinalizeEx", *(f"needs {feature}" for feature in about.absent)}
    seen = [(r.id, r.outcome, r.detail) for r in results if r.outcome not in ("passed", "undefined", "not-applicable")]
    assert [one for one in seen if one[1] != "unsupported" or one[2] not in allowed] == []
    assert Counter(result.outcome for result in results)["passed"] >= 100


@pytest.mark.skipif(not chapters_of("dlpack").is_dir(), reason="the chapters have the rules")
def test_the_command_conforms(capsys: pytest.CaptureFixture[str]) -> None:
    """`conform --suite dlpack` takes this adapter by itself, and finds nothing."""
    assert command(["conform", "--suite", "dlpack"]) == 0
    assert "conformant" in capsys.readouterr().out


def _renames_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RealProcess, "PyCapsule_SetName", lambda self, capsule, name: 0)


def _deletes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    once = RealProcess.call

    def twice(self: RealProcess, address: int, type: str, *arguments: int) -> int | None:
        if type == "deleter":
            once(self, address, type, *arguments)
        return once(self, address, type, *arguments)

    monkeypatch.setattr(RealProcess, "call", twice)


def _hides_destructors(monkeypatch: pytest.MonkeyPatch) -> None:
    event = ArraySession.event

    def some(self: ArraySession, seen: Json) -> None:
        if seen["dlpack"] != "destructor":
            event(self, seen)

    monkeypatch.setattr(ArraySession, "event", some)


def _keeps_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RealProcess, "Py_DECREF", lambda self, op: None)


def _says_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    said = RealProcess.PyErr_SetString
    monkeypatch.setattr(RealProcess, "PyErr_SetString", lambda self, type, text: said(self, type, text + "!"))


def _loses_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    write = RealMemory.write
    monkeypatch.setattr(
        RealMemory, "write", lambda self, address, value: len(value) < 16 or write(self, address, value)
    )


@pytest.mark.parametrize(
    "broken",
    [_renames_nothing, _deletes_twice, _hides_destructors, _keeps_references, _says_something_else, _loses_elements],
)
def test_what_is_broken_is_noticed(
    adapter: ArrayAdapter, monkeypatch: pytest.MonkeyPatch, broken: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Vectors that pass do not pass any more when the process does not do what it should."""
    chosen = (".consumer.", ".deleter.", ".capsule-destructor.", ".dtype.")
    before = outcomes(adapter, lambda id: any(part in id for part in chosen))
    broken(monkeypatch)
    after = outcomes(adapter, lambda id: any(part in id for part in chosen))
    passing = [id for id, result in before.items() if result.outcome == "passed"]
    assert [id for id in passing if after[id].outcome in ("failed", "errored")]


def test_addresses_mean_one_thing(adapter: ArrayAdapter) -> None:
    """A capsule made where another died is not taken for it, in events neither."""
    agree(adapter, ARRAY, EXPORT, drop("c"), IMPORT, drop("y"), EXPORT, drop("c"), drop("x"))


def test_references_are_real(adapter: ArrayAdapter) -> None:
    """The counts of arrays and capsules are those of the model at each step."""
    counts = [step("Py_REFCNT", ob={"ref": name}) for name in "xc"]
    taken = step("Py_INCREF", op={"ref": "c"})
    agree(adapter, ARRAY, counts[0], EXPORT, *counts, taken, *counts, drop("c"), drop("c"), counts[0], drop("x"))


def test_capsules_mix_with_the_capsule_api(adapter: ArrayAdapter) -> None:
    """A vector's own function as destructor, its pointer, its layout and its memory are those of the capsule API."""
    name = {"cstr": "dltensor_versioned"}
    pointer = step("PyCapsule_GetPointer", "p", capsule={"ref": "c"}, name=name)
    inside = step("dlpack.call_deleter", tensor={"arg": 0})
    agree(
        adapter,
        ARRAY,
        EXPORT,
        pointer,
        step("read", ptr={"ref": "p"}, size=8),
        step("layout", op={"ref": "c"}),
        step("PyCapsule_SetDestructor", capsule={"ref": "c"}, destructor={"function": "d"}),
        drop("c"),
        drop("x"),
        functions={"d": {"kind": "destructor", "steps": [inside]}},
    )


@pytest.mark.parametrize("destructor", ["specification-example", "save-error", "write-unraisable-null"])
def test_destructors_meet_what_is_pending(adapter: ArrayAdapter, destructor: str) -> None:
    """A destructor that runs with an exception pending leaves it as it was, down to the array's death."""
    if adapter.library is None:
        pytest.skip("no C compiler was found")
    array = step("dlpack.array", "x", dtype="int8", shape=[], destructor=destructor)
    agree(adapter, array, EXPORT, drop("x"), drop("c") | PENDING)
    agree(adapter, array, step("__dlpack__", self={"ref": "x"}, stream=3) | PENDING, drop("x"))


def test_without_a_driver_what_is_pending_is_unsupported() -> None:
    """What ctypes alone cannot do is said, with the reason, where it turns out, and not guessed."""
    alone = ArrayAdapter(None, False)
    assert "unsupported" in answer(alone, ARRAY, EXPORT, drop("c") | PENDING)
    refused = step("from_dlpack", x={"ref": "x"}, consumer="rename-only", quirks=["legacy-only", "drops-with-error"])
    always = step("dlpack.array", "x", dtype="int8", shape=[1], quirks=["always-versioned"])
    assert answer(alone, always, refused) == {"unsupported": "error-indicator: the driver is switched off"}
    agree(alone, ARRAY, IMPORT, drop("x"), drop("y"))


def test_the_interpreter_is_not_ended(adapter: ArrayAdapter) -> None:
    """`Py_FinalizeEx` is no operation of this adapter, and it says why."""
    assert "Py_FinalizeEx" not in adapter.start()["ops"]
    assert "cannot end" in answer(adapter, step("Py_FinalizeEx"))["unsupported"]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([step("dlpack.array", dtype="int32")], "dlpack.array takes dtype, shape"),
        ([step("dlpack.array", dtype="int32", shape=[1] * 1025)], "expected at most 1024"),
        ([step("dlpack.array", dtype="int32", shape=[1 << 40])], "expected at most 4096 elements"),
        ([step("dlpack.array", dtype="nothing", shape=[])], "no element type 'nothing'"),
        ([step("dlpack.array", dtype="int32", shape=7)], "TypeError"),
        ([step("from_dlpack", x={"ref": "gone"}, consumer="rename-only")], "nothing is bound as 'gone'"),
        ([ARRAY, step("from_dlpack", x={"ref": "x"}, consumer="nobody")], "no consumer 'nobody'"),
        ([ARRAY, EXPORT, step("dlpack.poke", capsule={"ref": "c"}, field="deleter", value=4096), drop("c")], "0x1000"),
        ([ARRAY, EXPORT, step("dlpack.poke", capsule={"ref": "c"}, field="shape", value=8), IMPORT, drop("x")], None),
        ([ARRAY, drop("x"), drop("x")], "which is dead"),
    ],
)
def test_bad_vectors_are_answered_in_one_line(adapter: ArrayAdapter, steps: list[Json], told: str | None) -> None:
    """What makes no sense is an error, with what is wrong; the adapter goes on to the next vector."""
    seen = answer(adapter, *steps)
    if told is not None:
        assert told in seen["error"]
        assert "\n" not in seen["error"]
    agree(adapter, ARRAY, IMPORT, drop("y"), drop("x"))


def test_malformed_requests_are_answered(adapter: ArrayAdapter) -> None:
    """Lines that are no request get an error each, in one line, and the next one is read."""
    lines = [b"{", b"[]", b'{"seq": 3, "cmd": "run"}', b'{"seq": 4, "cmd": "run", "vector": {"steps": [[]]}}']
    seen = list(CAPSULES.answers(adapter, io.BytesIO(b"\n".join([*lines, b'{"seq": 5, "cmd": "stop"}', b""]))))
    assert [one["seq"] for one in seen] == [0, 0, 3, 4, 5]
    assert all("error" in one and "\n" not in one["error"] for one in seen[:4])
    assert seen[4]["stopped"] is True


def test_memory_is_bounded() -> None:
    """The blocks of one vector take no more than a limit; what lies in none of them is not touched."""
    memory = RealMemory(lambda address: None)
    block = memory.malloc(MOST_BYTES // 2)
    with pytest.raises(ValueError, match="expected at most 67108864 for one vector"):
        memory.malloc(MOST_BYTES // 2)
    for access in (lambda: memory.read(block - 1, 1), lambda: memory.write(block + MOST_BYTES // 2, b"\0")):
        with pytest.raises(Exception, match="out-of-bounds"):
            access()


def test_freed_memory_is_kept() -> None:
    """A block that was freed reads as before, and nothing is ever put at its address."""
    memory = RealMemory(lambda address: None)
    first = memory.malloc(16)
    memory.write(first, b"still here")
    memory.free(first)
    memory.free(first)
    assert memory.read(first, 10) == ctypes.string_at(first, 10) == b"still here"
    assert first not in [memory.malloc(16) for _ in range(64)]
    assert memory.blocks[first].died is not None


def test_deaths_are_nested_to_a_limit(adapter: ArrayAdapter) -> None:
    """Arrays that keep each other alive die one inside the other, up to a depth; beyond it the vector is refused."""

    def chain(length: int) -> list[Json]:
        steps, last = [ARRAY], "x"
        for number in range(length):
            view = f"y{number}"
            steps += [step("from_dlpack", view, x={"ref": last}, consumer="internal-capsule"), drop(last)]
            last = view
        return [*steps, drop(last)]

    agree(adapter, *chain(10))
    assert f"deeper than {MOST_NESTED}" in answer(adapter, *chain(MOST_NESTED))["error"]
