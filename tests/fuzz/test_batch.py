"""The batch: no difference in bulk, each thing that is compared compared, and nothing left behind."""

from __future__ import annotations

import gc
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capsule_model import capsule, errors, imports, runtime
from capsule_model.fuzz.batch import Batch, Weights, case, open_batch
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.trace.execute import run
from capsule_model.undefined import NotModelled

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def batch() -> Iterator[Batch]:
    """Return a batch on this interpreter."""
    try:
        opened = open_batch()
    except ValueError as reason:
        pytest.skip(str(reason))
    yield opened
    opened.close()


def _differences(batch: Batch, cases: int = 12) -> Iterator[Divergence]:
    """Yield what some cases end with."""
    found = (batch.case(f"fault {number}").divergence for number in range(cases))
    return (divergence for divergence in found if divergence is not None)


def test_a_hundred_thousand_steps_are_alike(batch: Batch) -> None:
    """Model and interpreter agree on 100,000 steps, and a thousand states and more are reached on the way."""
    reached: set[str] = set()
    steps = 0
    while steps < 100_000:
        done = batch.case(f"alike {steps}")
        assert done.divergence is None, str(done.divergence)
        assert sum(done.reached.values()) >= done.steps
        steps += done.steps
        reached |= done.reached.keys()
    assert len(reached) > 1000


# What is broken: a function of the model, the piece of its source that is replaced, and the key that shows it.
FAULTS: dict[str, tuple[Any, str, str, str]] = {
    "an int returned": (capsule.PyCapsule_SetName, "return -1", "return 0", "return"),
    "an address returned": (capsule.PyCapsule_GetContext, "return struct.context", "return struct.pointer", "return"),
    "whether there is an error": (capsule.PyCapsule_GetPointer, "not _name", "name and not _name", "error"),
    "an error's type": (capsule.PyCapsule_New, '"ValueError"', '"TypeError"', "error"),
    "an error's text": (capsule._is_legal_capsule, "with invalid", "with an invalid", "error"),
    "that an error stays the same": (
        capsule.PyCapsule_SetName,
        "struct.name = name",
        "struct.name = name\n    if py.error: PyErr_SetString(py, py.error.type, py.error.text)",
        "indicator",
    ),
    "the reference count": (
        capsule.PyCapsule_SetContext,
        "struct.context",
        "struct.ob_refcnt += 1\n    struct.context",
        "ob_refcnt",
    ),
    "the type": (capsule.PyCapsule_New, "ob_type = PyCapsule_Type", "ob_type = 0x2000", "ob_type"),
    "the pointer": (capsule.PyCapsule_SetPointer, "struct.pointer = pointer", "pass", "pointer"),
    "the name": (capsule.PyCapsule_SetName, "struct.name = name", "pass", "name"),
    "the context": (capsule.PyCapsule_SetContext, "struct.context = context", "pass", "context"),
    "the destructor": (capsule.PyCapsule_SetDestructor, "struct.destructor = destructor", "pass", "destructor"),
    "traverse_func": (capsule.PyCapsule_New, "traverse_func = NULL", "traverse_func = 1", "traverse_func"),
    "clear_func": (capsule.PyCapsule_New, "clear_func = NULL", "clear_func = 1", "clear_func"),
    "that a destructor is called": (runtime.capsule_dealloc, "capsule.destructor != NULL", "False", "events"),
    "which capsule it gets": (runtime.destroy, ".call(op)", ".call(py.structs[-1].address or op)", "events"),
    "what it leaves": (errors.PyErr_NoMemory, 'PyErr("MemoryError", "")', "py.error", "error"),
    "an import's reference": (imports.PyCapsule_Import, "Py_DECREF(py, object)\n    return", "return", "return"),
    "what lies behind the API": (capsule.PyCapsule_IsValid, "struct.pointer == NULL", "False", "return"),
    "whether a capsule died": (runtime.Py_DECREF, "if count == 0:", "if count == 0 and False:", "return"),
    "leaks": (runtime.PyObject_Free, "py.structs[op >> SHIFT] = NOTHING", "pass", "leaks"),
}


def _break(monkeypatch: pytest.MonkeyPatch, function: Any, right: str, wrong: str) -> None:
    """Put a function with a fault in the place of the model's."""
    source = inspect.getsource(function)
    assert right in source
    space = dict(function.__globals__)
    exec(source.replace(right, wrong), space)
    monkeypatch.setattr(function, "__code__", space[function.__name__].__code__)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_model_is_noticed(fault: str, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in one thing that is compared ends a case in just that, and the batch goes on once it is mended."""
    function, right, wrong, key = FAULTS[fault]
    with monkeypatch.context() as patch:
        _break(patch, function, right, wrong)
        found = next(found for found in _differences(batch) if found.differences[0].key == key)
    (difference,) = found.differences
    assert difference.path.partition("/")[0] in ("end", str(len(found.vector["steps"]) - 1))
    assert batch.case(fault).divergence is None


def test_the_vector_of_a_difference_shows_it(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that is reported shows the fault as a vector: broken and mended, the model sees different things."""
    function, right, wrong, _ = FAULTS["an error's text"]
    with monkeypatch.context() as patch:
        _break(patch, function, right, wrong)
        found = next(_differences(batch))
        broken = run(found.vector, batch.profile).steps[-1]["error"]
    mended = run(found.vector, batch.profile).steps[-1]["error"]
    (difference,) = found.differences
    assert difference.expected == {key: broken[key] for key in ("type", "text")}
    assert difference.seen == {key: mended[key] for key in ("type", "text")}


@pytest.mark.parametrize("wrong", ["raise py.objects.complain(0)", "raise NotModelled('names')", "return 1 // 0"])
def test_a_model_that_cannot_go_on_is_a_difference(wrong: str, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the model stops in a defined program, the program up to there is reported, and the batch goes on."""
    with monkeypatch.context() as patch:
        patch.setitem(capsule.PyCapsule_GetName.__globals__, "NotModelled", NotModelled)
        _break(patch, capsule.PyCapsule_GetName, "return struct.name", wrong)
        found = next(_differences(batch))
    (difference,) = found.differences
    assert (difference.key, difference.expected) == ("the model", "a step that it can take")
    assert found.vector["steps"][-1]["op"] == "PyCapsule_GetName"
    assert batch.case("goes on").divergence is None


def test_the_same_seed_gives_the_same_case(batch: Batch) -> None:
    """Seed, weights and steps decide what is reached, whatever ran before; each of them matters."""
    weights = Weights(operations={"PyCapsule_GetName": 1, "PyCapsule_New": 1})
    first = batch.case("one", weights, 1000)
    batch.case("something else")
    assert batch.case("one", weights, 1000) == first
    assert len({str(batch.case(*given)) for given in (("one", weights, 1000), ("two", weights, 1000), ("one",))}) == 3
    assert {state.partition(",")[0] for state in first.reached} <= {
        "PyCapsule_GetName",
        "PyCapsule_New",
        "PyErr_Clear",
        "Py_DECREF",
        "Py_DecRef",
        "destructor",
    }


def test_steering_reaches_more(batch: Batch) -> None:
    """Weights made from what was reached reach states that the plain ones do not in as many steps."""
    plain: dict[str, int] = {}
    for number in range(10):
        for state, count in batch.case(f"plain {number}").reached.items():
            plain[state] = plain.get(state, 0) + count
    steered = Weights.from_counts(plain)
    fresh = [
        len({state for number in range(10) for state in batch.case(f"more {number}", given).reached} - plain.keys())
        for given in (None, steered)
    ]
    assert fresh[1] > fresh[0]


def test_everything_is_given_back(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases leave no memory behind, neither those that end well nor those that end with a difference."""

    def cases() -> int:
        before = sys.getallocatedblocks()
        for number in range(8):
            batch.case(f"given back {number}")
        # What is known of states and errors is there from the first round on.
        gc.collect()
        return sys.getallocatedblocks() - before

    # The model remembers every death as long as its process lives, and so gets a new one for each program.
    monkeypatch.setattr(case, "STEPS_A_SIDE", 1)
    function, right, wrong, _ = FAULTS["the destructor"]
    with monkeypatch.context() as patch:
        _break(patch, function, right, wrong)
        rounds = [cases(), cases()]
    rounds += [cases(), cases()]
    assert rounds[1] < 200
    assert rounds[3] < 200


def _python(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    space = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", text], env=space, capture_output=True, text=True, check=False)


def test_a_batch_comes_and_goes() -> None:
    """A second one in a process is refused in one line, and closing takes everything out of sys.modules."""
    done = _python(
        "import sys\n"
        "from capsule_model.fuzz.batch import open_batch\n"
        "batch = open_batch()\n"
        "try: open_batch()\n"
        "except ValueError as error: print(error)\n"
        "batch.close(); batch.close()\n"
        "print([name for name in sys.modules if name.startswith('cm_batch')], 'hypothesis' in sys.modules)\n"
    )
    assert done.stdout.splitlines() == [
        "batch: there is a module cm_batch already: expected a name that nobody uses",
        "[] False",
    ]


def test_a_batch_needs_a_compiler() -> None:
    """Without one, the reason is one line."""
    text = (
        "from capsule_model.fuzz.batch import open_batch\ntry: open_batch()\nexcept ValueError as error: print(error)\n"
    )
    done = _python(text, CC="no-such-compiler", PATH="")
    assert done.stdout == "batch: no C compiler was found\n"
