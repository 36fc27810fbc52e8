"""What is declared of an implementation: programs leave it out, or go on past it, and the rest is still compared."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from capsule_model.cli import main
from capsule_model.conform.answers import Started
from capsule_model.fuzz.campaign.declared import Declared, declared_for, load_declared
from capsule_model.fuzz.campaign.engine import Open, Vectors
from capsule_model.fuzz.campaign.implementations import BehindAdapter
from capsule_model.fuzz.campaign.lacking import Needs, adapted
from capsule_model.fuzz.campaign.learnt import Learnt
from capsule_model.fuzz.campaign.patterns import alike, fits, without
from capsule_model.fuzz.campaign.states import words_of
from capsule_model.fuzz.campaign.written import Written, write
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.fuzz.programs import Seeded, world
from capsule_model.locate import specs
from capsule_model.profiles import profile_named
from capsule_model.trace.contract import operations
from capsule_model.trace.execute import Machine
from capsule_model.trace.expectation import Difference
from capsule_model.trace.needs import FEATURES, operations_used

PROFILE = "cpython-3.11"
SETTERS = ["PyCapsule_SetPointer", "PyCapsule_SetName", "PyCapsule_SetDestructor", "PyCapsule_SetContext"]
SETTERS_SET = set(SETTERS)
SHIPPED = specs() / "expectations" / "fuzz" / "pypy.toml"

# The model behind the protocol, with a word more in each struct, that dies of a setter's NULL; a test may add to it.
LYING = """
import os, sys
from capsule_model.conform import controls, local
from capsule_model.conform.answers import Unsupported
from capsule_model.trace.needs import needs
right, about = local.ModelAdapter.run, controls._all
lacking = set(sys.argv[2:])
def run(self, vector):
    if needs(vector, None) & lacking - {"compiled-destructors"}:
        return Unsupported("what it lacks")
    for step in vector["steps"]:
        if step["op"].startswith("PyCapsule_Set") and step["args"]["capsule"] is None and EXTRA:
            os.abort()
    seen = right(self, vector)
    for step, observed in zip(vector["steps"], seen.steps):
        if step["op"] == "layout" and EXTRA:
            observed["return"]["words"].insert(1, {"header": "extra"})
        twist(step, observed)
    return seen
def started(implementation, profile):
    told = about(implementation, profile)
    told["features"] = [name for name in told["features"] if name not in lacking]
    return told | {"defers": DEFERS}
def twist(step, observed):
    pass
EXTRA, DEFERS = True, False
"""

HEAD = 'format = 1\nimplementation = "capsule-model"\n'
ABOUT = 'class = "differs"\nversions = ["*"]\nlink = "https://example.org/"\n'
AVOID = f'[[avoid]]\n{ABOUT}reason = "It dies of NULL."\nop = {json.dumps(SETTERS)}\nargs = {{ capsule = ["NULL"] }}\n'
EXPLAINED = f'[[explained]]\n{ABOUT}reason = "A further word."\nop = ["layout"]\nkey = ["return"]\n'
IGNORING = 'ignoring = ["words.header"]\n'
Lie = Callable[..., str]


@pytest.fixture
def lie(tmp_path: Path) -> Lie:
    """Return a function that makes the command of a lying adapter, from code that is added to it and what it lacks."""

    def made(code: str = "", *lacking: str) -> str:
        file = tmp_path / "lying.py"
        end = "local.ModelAdapter.run, controls._all = run, started\n"
        end += f"controls.ModelAdapter = local.ModelAdapter\ncontrols.main(['model', {PROFILE!r}])\n"
        file.write_text(LYING + code + "\n" + end, encoding="utf-8")
        return " ".join([sys.executable, str(file), "-", *lacking])

    return made


@pytest.fixture
def declare(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a file of expectations, with its head."""

    def written(text: str) -> Path:
        file = tmp_path / "declared.toml"
        file.write_text(HEAD + text, encoding="utf-8")
        return file

    return written


def cases(engine: Vectors, count: int, steps: int = 60) -> Iterator[dict[str, Any]]:
    """Perform programs and give the records of their cases, each with the program's steps under ``made``."""
    made: list[Written] = []
    inner = engine.implementation.perform

    def noted(written: Written) -> Divergence | None:
        made.append(written)
        return inner(written)

    engine.implementation.perform = noted  # type: ignore[method-assign]
    try:
        for number in range(count):
            yield {**engine.case(number, f"expectations.{number}", steps, Learnt()), "made": made[-1]}
    finally:
        engine.close()


def opened(command: str, *files: Path) -> Vectors:
    """Open an adapter with what files declare of it."""
    engine = Open(command, expectations=files)()
    assert isinstance(engine, Vectors)
    return engine


def started(implementation: str = "pypy", version: str = "8.0.1 (Python 3.11.17)", **more: Any) -> Started:
    """Return what an adapter says of itself that has everything."""
    return Started(implementation, version, PROFILE, frozenset(operations()), frozenset(FEATURES), **more)


def test_what_is_declared_is_no_finding_and_is_counted(lie: Lie, declare: Callable[[str], Path]) -> None:
    """With both entries nothing is found in programs that are findings without, and each says how often it was met."""
    command, file = lie(), declare(AVOID + EXPLAINED + IGNORING)
    raw = [case for case in cases(opened(command), 3) if "finding" in case]
    told = list(cases(opened(command, file), 3))
    assert len(raw) == 3
    assert not [case["finding"] for case in told if "finding" in case]
    assert sum(case["explained"]["A further word."] for case in told) == sum(
        step["op"] == "layout" for case in told for step in case["made"].vector["steps"]
    )
    assert sum(case.get("avoided", {}).get("It dies of NULL.", 0) for case in told) > 0


def test_what_is_left_out_is_in_no_program(lie: Lie, declare: Callable[[str], Path]) -> None:
    """No setter is given NULL, while other operations are, and setters are given capsules."""
    given = [
        (step["op"] in SETTERS, step["args"].get("capsule", "no such argument"))
        for case in cases(opened(lie("EXTRA = False"), declare(AVOID)), 4)
        for step in case["made"].vector["steps"]
    ]
    assert (True, None) not in given
    assert (False, None) in given
    assert any(setter and capsule is not None for setter, capsule in given)


def test_an_explained_difference_hides_no_other(lie: Lie, declare: Callable[[str], Path]) -> None:
    """Beside the word that is declared, a field that is wrong is found; without `ignoring` it is explained away."""
    wrong = (
        "def twist(step, observed):\n    if step['op'] == 'layout':\n        observed['return']['words'][3] = None\n"
    )
    command = lie(wrong)
    narrow = list(cases(opened(command, declare(AVOID + EXPLAINED + IGNORING)), 2))
    assert all("layout" in case["finding"]["vector"]["steps"][-1]["op"] for case in narrow)
    wide = list(cases(opened(command, declare(AVOID + EXPLAINED)), 2))
    assert not [case for case in wide if "finding" in case]


def test_the_program_goes_on_after_an_explained_difference(lie: Lie, declare: Callable[[str], Path]) -> None:
    """What is wrong only after the first difference that is explained is found as well."""
    late = (
        "def twist(step, observed):\n"
        "    global looked\n"
        "    looked = looked or step['op'] == 'layout'\n"
        "    if looked and step['op'] == 'PyCapsule_IsValid':\n"
        "        observed['return'] = 7\n"
        "looked = False\n"
    )
    found = [case["finding"] for case in cases(opened(lie(late), declare(AVOID + EXPLAINED + IGNORING)), 3)]
    steps = [[step["op"] for step in finding["vector"]["steps"]] for finding in found]
    assert all(ops[-1] == "PyCapsule_IsValid" for ops in steps)
    assert any("layout" in ops for ops in steps)


def test_a_crash_is_explained_by_nothing(lie: Lie, declare: Callable[[str], Path]) -> None:
    """An entry that explains everything does not explain the end of the process."""
    everything = f'[[explained]]\n{ABOUT}reason = "Whatever."\nkey = ["*"]\n'
    found = [case.get("finding") for case in cases(opened(lie(), declare(everything)), 3)]
    assert any(finding is not None and "SIGABRT" in str(finding["differences"]) for finding in found)


@pytest.mark.parametrize("lacking", [("error-indicator", "compiled-destructors"), ("poke", "layout"), ("modules",)])
def test_programs_need_nothing_that_the_adapter_lacks(lie: Lie, lacking: tuple[str, ...]) -> None:
    """Nothing is found, and nothing is unsupported, where an adapter lacks features and says so."""
    assert not [case["finding"] for case in cases(opened(lie("EXTRA = False", *lacking)), 4) if "finding" in case]


def test_functions_are_seen_where_destructors_wait() -> None:
    """Where destructors wait no function is native, for its calls are no events, and the scripts do what it did."""
    profile = profile_named(PROFILE)
    shared = world(Seeded(1), profile)
    scripts = adapted(shared, started(defers=True), lambda step: True)["functions"]
    assert [name for name, function in shared["functions"].items() if "native" in function]
    assert not [name for name, function in scripts.items() if "native" in function]
    assert scripts["d_no_memory"]["steps"] == [{"op": "PyErr_NoMemory", "args": {}, "leave": True}]
    assert adapted(shared, started(), lambda step: True)["functions"] == shared["functions"]


def test_modules_destroy_nothing_while_an_exception_is_pending_that_nobody_sees() -> None:
    """Without `compiled-destructors` no module's capsule has a destructor, and no step meets or leaves an exception."""
    profile = profile_named(PROFILE)
    about = replace(started(), features=frozenset(FEATURES) - {"compiled-destructors"})
    shared = [world(Seeded(seed), profile) for seed in range(4)]
    assert '"destructor": {' in json.dumps([one["modules"] for one in shared])
    without_any = [adapted(one, about, Needs(about)) for one in shared]
    assert '"destructor": {' not in json.dumps([one["modules"] for one in without_any])
    assert '"leave"' not in json.dumps([one["functions"] for one in without_any])
    assert not Needs(about)({"op": "Py_DECREF", "args": {}, "pending": {"type": "KeyError"}})


def test_no_function_leaves_an_exception_to_one_that_cannot_meet_it() -> None:
    """A collection clears capsules one after another: what a dying one leaves, a callback through ctypes would lose."""
    about = replace(started(), features=frozenset(FEATURES) - {"compiled-destructors"})
    functions = adapted(world(Seeded(1), profile_named(PROFILE)), about, Needs(about))["functions"]
    assert functions["d_no_memory"]["steps"] == []
    assert {"PyErr_Clear"} <= {function.get("native") for function in functions.values()}


def test_an_entry_for_steps_inside_takes_them_out_of_functions(lie: Lie, declare: Callable[[str], Path]) -> None:
    """What an implementation dies of in a destructor is in no destructor of a program, and in the program itself."""
    file = declare(AVOID.replace('args = { capsule = ["NULL"] }', "inside = true"))
    made = [case["made"].vector for case in cases(opened(lie("EXTRA = False"), file), 4)]
    plain = [case["made"].vector for case in cases(opened(lie("EXTRA = False")), 4)]
    assert not SETTERS_SET & {op for vector in made for op in operations_used({**vector, "steps": []})}
    assert SETTERS_SET & {op for vector in plain for op in operations_used({**vector, "steps": []})}
    assert SETTERS_SET & {step["op"] for vector in made for step in vector["steps"]}


def test_one_of_several_steps_is_kept() -> None:
    """`one_in` keeps about one step in so many, and always the same ones."""
    entry = AVOID.replace("args", "one_in = 4\nargs").replace('["NULL"]', '["capsule"]')
    kept = []
    for _ in range(2):
        declared = Declared(_loaded(entry).avoid)
        machine = Machine({"steps": []}, profile_named(PROFILE))
        machine.step({"op": "PyCapsule_New", "args": NEW, "bind": "c"}, "0")
        steps = [{"op": SETTERS[3], "args": {"capsule": {"ref": "c"}, "context": {"ptr": f"p{n}"}}} for n in range(400)]
        kept.append([index for index, step in enumerate(steps) if declared.avoids(step, machine) is None])
    assert kept[0] == kept[1]
    assert 60 < len(kept[0]) < 150


NEW: dict[str, Any] = {"pointer": {"ptr": "p"}, "name": {"hex": "ff"}, "destructor": None}


def test_an_entry_can_ask_for_a_pending_exception() -> None:
    """With `pending = true` steps are left out that an exception is pending in, from an earlier step as well."""
    declared = _loaded(AVOID.replace('args = { capsule = ["NULL"] }', "pending = true"))
    machine = Machine({"steps": []}, profile_named(PROFILE))
    step = {"op": SETTERS[0], "args": {"capsule": None, "pointer": None}}
    assert declared.avoids(step, machine) is None
    assert declared.avoids({**step, "pending": {"type": "KeyError"}}, machine) is not None
    machine.step({"op": "PyErr_NoMemory", "args": {}, "leave": True}, "0")
    assert declared.avoids(step, machine) is not None


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (None, {"NULL"}),
        (0, {"number"}),
        ({"ptr": "p"}, {"pointer"}),
        ({"function": "d"}, {"function"}),
        ({"object": "int"}, {"no capsule"}),
        ({"cstr": "a"}, {"text"}),
        ({"hex": "ff"}, {"text", "not UTF-8"}),
        ({"ref": "n"}, {"text", "not UTF-8"}),
        ({"ref": "c"}, {"capsule", "with destructor", "named not UTF-8"}),
        ({"ref": "bare"}, {"capsule", "without name", "without pointer"}),
    ],
)
def test_words_say_what_an_argument_is(argument: Any, words: set[str]) -> None:
    """Each word of the format is told of the arguments that it is about."""
    machine = Machine({"functions": {"d": {"kind": "destructor", "steps": []}}}, profile_named(PROFILE))
    given = [{**NEW, "destructor": {"function": "d"}}, {**NEW, "name": None}]
    for index, (token, args) in enumerate(zip(("c", "bare"), given, strict=True)):
        machine.step({"op": "PyCapsule_New", "args": args, "bind": token}, str(index))
    machine.step({"op": "poke", "args": {"op": {"ref": "bare"}, "field": "pointer", "value": None}}, "2")
    machine.step({"op": "string", "args": {"bytes": {"hex": "61ff"}}, "bind": "n"}, "3")
    assert words_of(machine, argument) == words


@pytest.mark.parametrize(
    ("pattern", "value", "good"),
    [
        ("NULL", None, True),
        ("*", None, False),
        ("*", {"ref": "c"}, True),
        ("cannot *", "cannot pickle", True),
        ("cannot *", "can", False),
        ({"type": "TypeError"}, {"type": "TypeError", "text": "x"}, True),
        ({"type": "TypeError"}, {"text": "x"}, False),
        ({"type": "NULL"}, {}, False),
        ([1, "*"], [1, "a"], True),
        ([1], [1, 2], False),
        (1, True, False),
        (-1, -1, True),
    ],
)
def test_patterns_fit_what_they_describe(pattern: Any, value: Any, good: bool) -> None:
    """A pattern fits a value, or does not."""
    assert fits(pattern, value) is good


def test_what_is_left_out_of_values_is_gone_on_both_sides() -> None:
    """A path goes into the tables of lists, and a table that it empties is gone; everything else is compared."""
    words = {"words": [{"refcnt": 1}, {"header": "extra"}, {"ref": "c"}, None, {}]}
    assert without(words, ["words.header"]) == {"words": [{"refcnt": 1}, {"ref": "c"}, None, {}]}
    assert alike({"words": [{"refcnt": 1}]}, {"words": [{"refcnt": 1}, {"header": "x"}]}, ["words.header"])
    assert not alike({"words": [{"refcnt": 1}]}, {"words": [{"refcnt": 2}, {"header": "x"}]}, ["words.header"])
    assert alike({"a": {"b": 1}, "c": 2}, {"a": {}, "c": 2}, ["a.b", "x.y"])
    assert not alike({"a": 1}, {"a": True}, ["b"])


def test_entries_look_at_key_place_arguments_and_sides() -> None:
    """An explained difference has the key, the place, the arguments and both sides that its entry asks for."""
    entry = EXPLAINED.replace("layout", "PyCapsule_Import").replace('"return"', '"events.*.before"')
    entry += 'inside = false\nargs = { no_block = 1 }\nexpected = ["*"]\nseen = ["NULL"]\n'
    declared = _loaded(entry)
    step = {"op": "PyCapsule_Import", "args": {"name": {"cstr": "a"}, "no_block": 1}}
    good = Difference("3", "events.0.before", {"type": "ImportError"}, None)

    def explained(step: Mapping[str, Any] = step, **changed: Any) -> bool:
        fields = {"path": good.path, "key": good.key, "expected": good.expected, "seen": good.seen}
        return declared.explains(step, Difference(**{**fields, **changed})) is not None

    assert explained()
    assert not explained(key="events.0.after")
    assert not explained(path="3/d.1/0")
    assert not explained(expected=None)
    assert not explained(seen={"type": "ImportError"})
    assert not explained({**step, "args": {**step["args"], "no_block": 0}})  # type: ignore[dict-item]
    assert not explained({**step, "op": "import"})
    assert not explained({})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[avoid]]\n", "avoid 1: found {}; expected the key "),
        (AVOID.replace("args", "arg"), 'avoid 1: unknown key "arg"; expected only class, versions, reason, link, op, '),
        (AVOID.replace('"NULL"', '"nul"'), "avoid 1: args: capsule: "),
        (AVOID.replace("It dies of NULL.", " "), 'avoid 1: reason: found " "; expected a sentence or two that say why'),
        (AVOID.replace("https", "file"), "avoid 1: link: found "),
        (AVOID.replace("SetName", "SetNme"), "avoid 1: no operation PyCapsule_SetNme; expected one of formats/vector"),
        (AVOID + AVOID, "avoid 2: reason is that of avoid 1, too; expected every reason once"),
        (EXPLAINED + "pending = true\n", 'explained 1: unknown key "pending"'),
        (EXPLAINED + "inside = 1\n", "explained 1: inside: found 1; expected true for steps inside functions"),
        (
            EXPLAINED.replace('class = "differs"', 'class = "odd"'),
            'explained 1: class: found "odd"; expected by-design',
        ),
        ("x = ", "not TOML: "),
    ],
)
def test_a_bad_file_gets_one_line(declare: Callable[[str], Path], text: str, told: str) -> None:
    """What is wrong is said with its place and what would be right."""
    file = declare(text)
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        load_declared(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_file_about_another_implementation_is_refused(declare: Callable[[str], Path]) -> None:
    """The name in a file has to be the one that the adapter gives."""
    with pytest.raises(ValueError, match='implementation is "capsule-model"; expected "pypy", as the adapter says'):
        declared_for(started(), [declare(AVOID)])


def test_shipped_entries_apply_to_their_versions_alone() -> None:
    """What is shipped about PyPy is about the versions that it names, and about nobody else."""
    old, new = (declared_for(started(version=version), ()) for version in ("7.3.11 (Python 3.9.16)", "8.0.1"))
    assert old.avoid != new.avoid
    assert declared_for(started(version="9.0.0"), ()) == Declared()
    assert declared_for(started("cpython"), ()) == Declared()
    assert declared_for(started(), (), shipped=False) == Declared()


@pytest.mark.parametrize("name", ["pypy39", "pypy311", "pypy311v8"])
def test_every_shipped_entry_is_needed(name: str) -> None:
    """The committed results of each PyPy have no divergence, and met each entry that is about its version."""
    report = json.loads((specs() / "results" / "fuzz" / f"{name}.json").read_text(encoding="utf-8"))
    declared = declared_for(started(version=report["implementation"]["version"]), ()).reasons()
    assert report["divergences"] == []
    for sort, reasons in declared.items():
        assert report[sort].keys() == set(reasons)
        assert not [reason for reason, count in report[sort].items() if count == 0]


def test_what_is_declared_has_one_hash_in_every_process() -> None:
    """A campaign that goes on finds the same hash, whatever the order of sets is in its process."""
    code = "import sys; from pathlib import Path; from capsule_model.fuzz.campaign.declared import load_declared\n"
    code += "print(load_declared(Path(sys.argv[1]))[1].digest())"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code, str(SHIPPED)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(hashes) == 1


def test_what_opens_an_implementation_is_small_and_can_be_sent() -> None:
    """An engine's `Open` has the names of files, not what is in them."""
    sent = pickle.dumps(Open("adapter", expectations=(SHIPPED,)))
    assert pickle.loads(sent) == Open("adapter", expectations=(SHIPPED,))
    assert len(sent) < 1_000


def test_the_command_counts_what_was_met(
    lie: Lie, declare: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`fuzz` ends with 0, and its JSON has how often each entry was met, 0 for one that never was."""
    unmet = f'[[explained]]\n{ABOUT}reason = "Never met."\nop = ["free"]\nkey = ["return"]\n'
    command, file, results = lie(), declare(AVOID + EXPLAINED + IGNORING + unmet), tmp_path / "results.json"
    options = ["fuzz", "--adapter", command, "--steps", "400", "--jobs", "1", "--json", str(results)]
    assert main([*options, "--expectations", str(file)], standalone_mode=False) == 0
    report = json.loads(results.read_text(encoding="utf-8"))
    assert report["explained"].keys() == {"A further word.", "Never met."}
    assert report["explained"]["Never met."] == 0 < report["explained"]["A further word."]
    assert report["avoided"]["It dies of NULL."] > 0
    assert "accounted for, " in capsys.readouterr().out


def test_written_programs_leave_out_what_may_not_be_given() -> None:
    """A writer that is told to leave out an operation makes programs without it, which still give everything back."""
    profile = profile_named(PROFILE)
    written = write(Seeded(5), profile, 100, Learnt(), lambda step, machine: step["op"] != "layout")
    ops = {step["op"] for step in written.vector["steps"]}
    assert "layout" not in ops
    assert "PyCapsule_New" in ops
    assert written.leaks == []


def _loaded(text: str) -> Declared:
    """Return what the text of a file declares, its head aside."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "declared.toml"
        file.write_text(HEAD + text, encoding="utf-8")
        return load_declared(file)[1]


def test_nothing_is_declared_where_nothing_is_wanted() -> None:
    """What opens an implementation with None for files applies nothing that is shipped, or anything else."""
    adapter = f"{sys.executable} -m capsule_model.conform.controls model {PROFILE}"
    implementation = BehindAdapter(adapter, None, 10, None)
    implementation.close()
    assert implementation.declared == Declared()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--adapter", "x", "--no-expectations"), "--expectations and --no-expectations exclude each other"),
        ((), "--expectations is for --adapter; nothing is declared of this interpreter"),
    ],
)
def test_options_that_make_no_sense_are_bad_usage(
    declare: Callable[[str], Path], options: tuple[str, ...], told: str
) -> None:
    """Files beside `--no-expectations`, or without an adapter, end with one line."""
    with pytest.raises(click.UsageError, match=re.escape(told)):
        main(["fuzz", *options, "--expectations", str(declare(AVOID))], standalone_mode=False)
