"""Programs of the exchange from a seed: they keep the rules, find who does not, and tell it in small."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from capsule_model import NULL
from capsule_model.conform.commands import known_names
from capsule_model.conform.explain import explain
from capsule_model.conform.runner import expected_differences
from capsule_model.fuzz.programs import Seeded
from capsule_model.profiles import PROFILES
from capsule_model.trace.execute import run
from capsule_model.trace.files import load
from capsule_model.trace.write import dump_vectors
from dlpack_model.consumer import receive
from dlpack_model.contract import Call
from dlpack_model.exchange import Exchange
from dlpack_model.fuzz.campaign import campaign, program
from dlpack_model.fuzz.findings import Finding, finding, vector_of
from dlpack_model.fuzz.play import Played, adapter, play
from dlpack_model.fuzz.programs import Step
from dlpack_model.fuzz.shrink import closed, shrunk
from dlpack_model.parties import Parties
from dlpack_model.producer import export
from dlpack_model.styles import Consumer

FORGETFUL = Parties("forgetful", producer=lambda described: replace(described, marks_copies=False))


def late(described: Consumer) -> Consumer:
    """Rename after the tensor was looked at."""
    return replace(described, checks="after")


def found_by(parties: Parties, steps: int = 5_000, seed: int = 1) -> Finding:
    """Return what a campaign finds."""
    found = campaign(steps, seed, parties).finding
    assert found is not None
    return found


def test_programs_keep_the_rules_and_reach_all_there_is() -> None:
    """Many programs come to a good end, with every operation of theirs done, and with what can fail failing."""
    ends: Counter[tuple[str, bool]] = Counter()
    for number in range(60):
        steps, seen = program(Seeded(f"ends.{number}"))
        assert (seen.harm, len(steps)) == (None, len(seen.steps))
        ends.update(
            (step["op"], observed["error"] is not None) for step, observed in zip(steps, seen.steps, strict=True)
        )
    for op in ("__dlpack__", "from_dlpack", "Py_DECREF", "dlpack.call_deleter"):
        assert ends[op, True], op
        assert ends[op, False], op
    for op in (
        "dlpack.set",
        "dlpack.fields",
        "dlpack.work_on",
        "Py_FinalizeEx",
        "PyEval_SaveThread",
        "PyCapsule_SetName",
    ):
        assert ends[op, False], op
    assert ends["managed_tensor_to_py_object_no_sync", False]


def test_programs_own_nothing_at_their_end() -> None:
    """Only who ended the interpreter keeps something."""
    for number in range(20):
        steps, seen = program(Seeded(f"owns.{number}"))
        assert seen.leaks == [] or any(step["op"] == "Py_FinalizeEx" for step in steps)


def test_the_same_seed_makes_the_same_programs() -> None:
    """Steps, and the step that differs, are those of the seed; another seed has others."""
    assert program(Seeded("1.1"))[0] == program(Seeded("1.1"))[0] != program(Seeded("1.2"))[0]
    first, second, other = (campaign(5_000, seed, FORGETFUL, shrink=False) for seed in (3, 3, 4))
    assert first.steps == second.steps != other.steps
    assert first.finding is not None
    assert second.finding is not None
    assert first.finding.program == second.finding.program


def test_who_keeps_the_rules_is_not_found() -> None:
    """The model against itself differs nowhere, and as many steps are made as were asked for."""
    told: list[int] = []
    result = campaign(1_000, 2, progress=told.append)
    assert (result.finding, result.skipped) == (None, 0)
    assert result.steps == told[-1] >= 1_000
    assert len(told) == result.programs


def test_a_finding_names_the_rule_and_is_small() -> None:
    """What is left of a program are the steps that matter, in words: an array, a copy of it, the rule."""
    small = found_by(FORGETFUL)
    assert small.rule == "DLManagedTensorVersioned/is-copied"
    assert small.step <= 1
    lines = small.lines()
    assert len(lines) <= 10
    assert "dlpack.array(" in lines[0]
    assert any(line == "  rule: DLManagedTensorVersioned/is-copied" for line in lines)


def test_a_finding_is_a_vector_that_can_be_kept(tmp_path: Path) -> None:
    """The file loads, is met by the model, names the rule, and explain tells it."""
    file = tmp_path / "found.json"
    text = str(found_by(FORGETFUL))
    file.write_text(text[text.index('{"format": 1, "vectors"') :], "utf-8")
    loaded = load(file, known_names())
    assert loaded.problems == []
    (vector,) = loaded.vectors
    assert vector["rules"][0] == "DLManagedTensorVersioned/is-copied"
    profile = PROFILES["cpython-3.13"]
    assert expected_differences(vector, profile, run(vector, profile)) == []
    told = io.StringIO()
    assert explain(str(file), None, Console(file=told)) == 0
    assert "DLManagedTensorVersioned/is-copied" in told.getvalue()


@pytest.mark.parametrize("number", range(6))
def test_any_program_is_a_vector(number: int, tmp_path: Path) -> None:
    """Whatever happens in a program, the vector of it is in the format, and the model does what it expects."""
    file = tmp_path / "any.json"
    file.write_text(dump_vectors([vector_of(program(Seeded(f"vector.{number}"))[0])]), "utf-8")
    loaded = load(file, known_names())
    assert loaded.problems == []
    profile = PROFILES["cpython-3.13"]
    seen = run(loaded.vectors[0], profile, rules=True)
    assert expected_differences(loaded.vectors[0], profile, seen) == []
    assert set(loaded.vectors[0]["rules"]) <= {rule for _, rule in seen.reached}


def test_code_of_ones_own_exports() -> None:
    """An export that gives the array away to nobody is found by what it breaks."""

    def exports(ex: Exchange, array: object, keywords: object) -> int:
        capsule = export(ex, array, keywords)  # type: ignore[arg-type]
        if capsule != NULL:
            ex.py.PyCapsule_SetDestructor(capsule, NULL)
        return capsule

    assert found_by(Parties("mine", exports=exports)).rule == "__dlpack__/capsule-destructor"


def test_code_of_ones_own_that_raises_is_a_finding() -> None:
    """An exception of Python in a party is told, and no traceback."""

    def imports(ex: Exchange, consumer: Consumer, x: int, device: object, call: Call) -> int:
        raise ZeroDivisionError("in a party")

    found = found_by(Parties("mine", imports=imports))
    assert found.harm == "ZeroDivisionError: in a party"
    assert found.program[found.step]["op"] == "from_dlpack"


def test_what_is_never_freed_is_found_at_the_end() -> None:
    """A block that a consumer forgets shows in no observation, and in what the process has left."""

    def imports(ex: Exchange, consumer: Consumer, x: int, device: tuple[int, int] | None, call: Call) -> int:
        ex.py.malloc(8)
        return receive(ex, consumer, x, device, call)

    found = found_by(Parties("mine", imports=imports))
    assert [difference.key for difference in found.differences] == ["blocks and objects never freed"]
    assert found.lines()[-1].startswith("at the end, ")


def test_types_of_exceptions_count_and_texts_do_not() -> None:
    """What an exception says is each party's own affair; which one it is is not."""

    def saying(type: str, text: str) -> Parties:
        def exports(ex: Exchange, array: object, keywords: object) -> int:
            capsule = export(ex, array, keywords)  # type: ignore[arg-type]
            if capsule == NULL and ex.py.error is not None and ex.py.error.type == "BufferError":
                ex.py.PyErr_SetString(type, text)
            return capsule

        return Parties("mine", exports=exports)

    assert campaign(2_000, 1, saying("BufferError", "in other words")).finding is None
    assert campaign(2_000, 1, saying("ValueError", "in other words")).finding is not None


def test_what_cannot_be_played_is_counted() -> None:
    """An implementation without an operation that a program needs is not at fault, and not praised either."""
    result = campaign(200, 1, lambda steps: Played(skipped="no arrays"))
    assert result.finding is None
    assert result.skipped == result.programs > 0


def test_an_early_end_is_found() -> None:
    """Who performs fewer steps than there are, and does not say why, is found at the first that is missing."""

    def lazy(steps: Sequence[Step]) -> Played:
        seen = play(steps)
        return Played(seen.steps[:3], leaks=seen.leaks)

    found = campaign(100, 1, lazy).finding
    assert found is not None
    assert "steps were performed" in str(found.harm)


def test_operations_that_an_implementation_lacks_are_not_used() -> None:
    """Without the C exchange API and without threads, programs do without them."""
    plain = {"dlpack.array", "__dlpack__", "from_dlpack", "dlpack.values", "__dlpack_device__", "Py_DECREF"}
    used = {step["op"] for number in range(20) for step in program(Seeded(f"ops.{number}"), ops=plain)[0]}
    assert used <= plain | {"PyCapsule_GetName", "PyCapsule_IsValid", "PyCapsule_SetName", "Py_REFCNT"}


def test_a_program_that_breaks_a_rule_itself_is_refused() -> None:
    """Nobody is held to a program that comes to no good end in the model, and none is made small to it."""
    array = {"op": "dlpack.array", "args": {"dtype": "int32", "shape": [1]}, "bind": "x"}
    drop = {"op": "Py_DECREF", "args": {"op": {"ref": "x"}}}
    assert closed([array, drop, drop]) is None
    with pytest.raises(ValueError, match="the program breaks a rule itself"):
        finding([array, drop, drop], play)


def test_what_a_program_owns_is_given_back() -> None:
    """The steps behind a program drop arrays, capsules and tensors, each as often as it is owned."""
    steps = [
        {"op": "dlpack.array", "args": {"dtype": "int32", "shape": [1]}, "bind": "x"},
        {"op": "Py_INCREF", "args": {"op": {"ref": "x"}}},
        {"op": "__dlpack__", "args": {"self": {"ref": "x"}}, "bind": "c"},
        {"op": "dlpack.api", "args": {"array": {"ref": "x"}}, "bind": "t"},
        {
            "op": "managed_tensor_from_py_object_no_sync",
            "args": {"api": {"ref": "t"}, "py_object": {"ref": "x"}},
            "bind": "p",
        },
    ]
    whole = closed(steps)
    assert whole is not None
    behind = Counter((step["op"], *(value["ref"] for value in step["args"].values())) for step in whole[len(steps) :])
    assert behind == {("Py_DECREF", "x"): 2, ("Py_DECREF", "c"): 1, ("dlpack.call_deleter", "p"): 1}


def test_shrinking_keeps_the_cause() -> None:
    """A small program ends in the same operation, by the same rule, as the long one that it came from."""
    parties = Parties("mine", consumer=late)
    long = campaign(5_000, 1, parties, shrink=False).finding
    assert long is not None
    small = shrunk(long, lambda steps: play(steps, parties))
    assert small.cause == long.cause
    assert len(small.program) < len(long.program)
    assert json.dumps(small.vector)


def test_this_interpreter_does_what_the_model_does() -> None:
    """Programs are played by real capsules on the interpreter that runs this, and none of them differs."""
    with adapter() as (implementation, ops):
        result = campaign(300, 5, implementation, ops=ops)
    assert result.finding is None
    assert result.skipped == 0 or "driver" in str(ops)


def test_an_adapter_that_does_other_things_is_found(tmp_path: Path) -> None:
    """An adapter whose destructors never delete is found from outside, by its answers alone."""
    file = tmp_path / "faulty.py"
    file.write_text(
        "from dlpack_model import adapter, destructors\n"
        "never = destructors.DESTRUCTORS['never-deletes']\n"
        "for name in list(destructors.DESTRUCTORS):\n"
        "    destructors.DESTRUCTORS[name] = never\n"
        "adapter.main()\n",
        "utf-8",
    )
    with adapter(f"{sys.executable} {file}") as (implementation, ops):
        found = campaign(500, 1, implementation, ops=ops, shrink=False).finding
    assert found is not None
    assert [difference.key for difference in found.differences] == ["events"]


def test_an_adapter_that_does_not_start_is_told_of() -> None:
    """A command that is no adapter is bad input, in one line."""
    with pytest.raises(ValueError, match=r"^adapter .*; expected one that starts$"), adapter("/nowhere/at-all"):
        pass
