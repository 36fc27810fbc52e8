"""Bad vector files: one line each that says where, what was found and what was expected."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from capsule_model.trace.files import MAX_FILE, Loaded, load, too_deep
from capsule_model.trace.meaning import Known

KNOWN = Known({"A/known", "A/other"}, {"gc-capsule"}, {"double-free"})
NEW = {"op": "PyCapsule_New", "args": {"pointer": {"ptr": "p1"}, "name": None, "destructor": None}, "bind": "c"}


def vector(**changes: Any) -> dict[str, Any]:
    """Return a sound vector with `changes`."""
    return {"id": "test.sound", "title": "sound", "rules": ["A/known"], "steps": [NEW], **changes}


def loaded(tmp_path: Path, text: str | bytes) -> Loaded:
    """Load a file with `text`."""
    file = tmp_path / "v.json"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(file, KNOWN)


def complaints(tmp_path: Path, *vectors: Any) -> list[str]:
    """Return the problems of a file of `vectors`, without the file's name."""
    found = loaded(tmp_path, json.dumps({"format": 1, "vectors": list(vectors)}))
    assert all("\n" not in str(problem) for problem in found.problems)
    return [str(problem).removeprefix(f"{tmp_path / 'v.json'}: ") for problem in found.problems]


def test_one_vector_or_many(tmp_path: Path) -> None:
    """A file is one vector with a format, or a list of them."""
    assert loaded(tmp_path, json.dumps({"format": 1, **vector()})).vectors == [{"format": 1, **vector()}]
    two = [vector(), vector(id="test.second")]
    found = loaded(tmp_path, json.dumps({"format": 1, "vectors": two}))
    assert (found.vectors, found.problems) == (two, [])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON: line 1 column 1: Expecting value; expected a JSON document"),
        ('{"a": \n', "not JSON: line 2 column 1: Expecting value; expected a JSON document"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8; expected UTF-8 throughout"),
        ("[1]", "found a list; expected a vector or an object with format and vectors"),
        ("null", "found null; expected a vector or an object with format and vectors"),
        ('{"format": 2}', "format is 2; expected 1"),
        ('{"format": true, "vectors": []}', "format is true; expected 1"),
        ('{"format": 1, "vectors": {}}', "vectors is an object; expected a list of vectors"),
        ('{"format": 1, "vectors": [], "x": 1}', 'unknown key "x"; expected only format and vectors'),
        ("[" * 10_000 + "]" * 10_000, "line 1: nested deeper than 64; expected at most 64 levels"),
        ('{"a":' * 10_000, "line 1: nested deeper than 64; expected at most 64 levels"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    """Each kind of broken file has its one line."""
    (problem,) = loaded(tmp_path, text).problems
    assert str(problem) == f"{tmp_path / 'v.json'}: {complaint}"


def test_an_enormous_file_is_not_read(tmp_path: Path) -> None:
    """A file beyond 8 MiB is refused, whatever is in it."""
    (problem,) = loaded(tmp_path, b" " * (MAX_FILE + 1)).problems
    assert problem.text == "larger than 8388608 bytes; expected at most that"


def test_an_enormous_vector_costs_only_itself(tmp_path: Path) -> None:
    """A vector beyond 1 MiB is refused, the one beside it is used."""
    step = {"op": "string", "args": {"bytes": {"cstr": "x" * 60_000}}}
    found = loaded(tmp_path, json.dumps({"format": 1, "vectors": [vector(id="test.big", steps=[step] * 20), vector()]}))
    assert [problem.text for problem in found.problems] == ["larger than 1048576 bytes; expected at most that"]
    assert [v["id"] for v in found.vectors] == ["test.sound"]


def timed(text: str) -> float:
    """Return the seconds of processor time that the depth scan takes."""
    begun = time.process_time()
    too_deep(text)
    return time.process_time() - begun


@pytest.mark.parametrize("hostile", ['"' + '\\"' * 500_000, '["' * 500_000, "[]" * 1_000_000, '"' * 1_000_001])
def test_the_depth_scan_is_linear(hostile: str) -> None:
    """Text made to trip a backtracking scan takes eight times as long where it is eight times as long, not more."""
    short, whole = (min(timed(hostile[:size]) for _ in range(3)) for size in (len(hostile) // 8, len(hostile)))
    assert whole < 3 * 8 * max(short, 1e-4)


def test_brackets_in_strings_do_not_nest() -> None:
    """Depth counts brackets outside strings, with escaped quotes understood."""
    assert too_deep(json.dumps(["[" * 100, '\\"' + "[" * 100])) is None
    assert too_deep("[[[", 2) == 2
    assert too_deep("[[][]]", 2) is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"steps": [{"op": 5}]}, "step 0: op: found 5; expected a string"),
        ({"steps": [{}]}, 'step 0: found {}; expected the key "op"'),
        (
            {"steps": [{**NEW, "expect": {"retrun": 0}}]},
            'step 0: expect: unknown key "retrun"; expected only return, error, indicator, events',
        ),
        (
            {"steps": [{**NEW, "args": {"pointer": {"cstr": 5}}}]},
            "step 0: args.pointer.cstr: found 5; expected a string",
        ),
        ({"id": "Not an id"}, 'vector Not an id: id: found "Not an id"; expected text that matches'),
        ({"functions": {"d": {"kind": "x"}}}, 'functions.d.kind: found "x"; expected one of "destructor"'),
        ({"steps": [{"op": "settle", "expect": {"return": 1.5}}]}, "the number 1.5; expected an integer"),
        (
            {"functions": {"d": {"kind": "destructor", "steps": [{"op": "PyErr_Cler"}]}}},
            'step d/0: unknown operation "PyErr_Cler"; expected PyErr_Clear',
        ),
        ({"steps": [NEW, {"op": "settle", "args": {"x": 1}}]}, 'step 1: settle has no argument "x"; expected settle()'),
        (
            {"steps": [{"op": "Py_INCREF"}]},
            "step 0: Py_INCREF lacks the argument op; expected Py_INCREF(op)",
        ),
        (
            {"steps": [{"op": "malloc", "args": {"size": {"ptr": "p"}}}]},
            'step 0: argument size is {"ptr": "p"}; expected an integer',
        ),
        (
            {"steps": [{"op": "Py_INCREF", "args": {"op": 5}}]},
            "step 0: argument op is 5; expected null or {",
        ),
        (
            {"steps": [{"op": "PyObject_RichCompare", "args": {"o1": None, "o2": None, "opid": "<>"}}]},
            'step 0: argument opid is "<>"; expected one of < <= == != > >=',
        ),
        ({"steps": [{**NEW, "bind": "c"}, {"op": "settle", "bind": "x"}]}, "settle returns nothing, which cannot be"),
        ({"steps": [{"op": "Py_INCREF", "args": {"op": {"ref": "cc"}}}]}, 'step 0: "cc" is bound nowhere; expected'),
        (
            {"steps": [{"op": "PyCapsule_GetContext", "args": {"capsule": None}, "expect": {"return": {"ref": "cc"}}}]},
            'step 0: expected return "cc" is bound nowhere; expected',
        ),
        (
            {"steps": [{"op": "Py_INCREF", "args": {"op": {"ref": "c"}}}, NEW]},
            'step 0: "c" is bound only later; expected a name that an earlier step binds',
        ),
        (
            {"steps": [{**NEW, "args": {**NEW["args"], "destructor": {"function": "d"}}}]},  # type: ignore[dict-item]
            'step 0: function "d" is not declared; expected none at all',
        ),
        (
            {"steps": [{"op": "Py_INCREF", "args": {"op": {"arg": 0}}}]},
            'step 0: argument {"arg": 0} outside a function; expected it only in the steps of one',
        ),
        (
            {"functions": {"p1": {"kind": "destructor"}}},
            '"p1" is a ptr token and a function; expected one meaning for each name',
        ),
        ({"steps": [{**NEW, "bind": "int"}]}, '"int" is a bound name and an object kind; expected one meaning'),
        ({"requires": ["!gc-capsul"]}, 'unknown behaviour "gc-capsul"; expected gc-capsule'),
        (
            {"steps": [{**NEW, "variants": [{"when": "gc", "expect": {}}]}]},
            'step 0: unknown behaviour "gc"; expected',
        ),
        ({"rules": ["A/knwon"]}, 'unknown rule "A/knwon"; expected A/known'),
        (
            {"steps": [{**NEW, "expect": {"any_of": [{}, {"return": 0}], "rule": "B/x"}}]},
            'step 0: unknown rule "B/x"',
        ),
        (
            {"steps": [{**NEW, "expect": {"error": {"type": "ValueError", "code": "New/nul"}}}]},
            'step 0: unknown error code "New/nul"; expected New/null-pointer',
        ),
        (
            {"steps": [{**NEW, "expect": {"error": {"type": "KeyError", "code": "New/null-pointer"}}}]},
            'step 0: error code New/null-pointer goes with ValueError; found "KeyError"',
        ),
        (
            {"steps": [{**NEW, "pending": {"type": "KeyEror"}}]},
            'step 0: pending "KeyEror" is no built-in exception; expected one by its name',
        ),
        ({"steps": [{**NEW, "expect": {"events": [{"call": "d"}]}}]}, 'step 0: event calls "d"; expected none at all'),
        (
            {"steps": [{**NEW, "expect": {"undefined": "double-fre"}}]},
            'step 0: unknown kind of undefined behaviour "double-fre"; expected double-free',
        ),
        (
            {"steps": [{**NEW, "expect": {"undefined": "double-free"}}, NEW]},
            "step 0: a step that ends the process is not the last; expected it at the end",
        ),
        (
            {"modules": {"m": {"attrs": {"a": {"ref": "q"}}}}},
            'module "m": "q" is bound nowhere; expected',
        ),
        (
            {"modules": {"m": {"raises": {"type": "exec"}}}},
            'raises "exec" is no built-in exception; expected one by its name',
        ),
        (
            {"functions": {"d": {"kind": "destructor", "steps": [{"op": "settle"}] * 10_000}}},
            "10001 steps; expected at most 10000, those inside functions included",
        ),
    ],
)
def test_a_bad_vector_is_named_and_the_other_is_used(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    """Vector and step are named, found and expected stand in one line; the sound vector beside it survives."""
    bad = vector(**{"id": "test.bad", **changes})
    sound = vector()
    found = loaded(tmp_path, json.dumps({"format": 1, "vectors": [bad, sound]}))
    assert found.vectors == [sound]
    (line,) = (str(problem) for problem in found.problems)
    assert complaint in line
    assert line.startswith(f"{tmp_path / 'v.json'}: vector {bad['id']}: ")


ARRAY = {"dtype": "int32", "shape": [2, -1, None, "x" * 64]}


def array(**args: Any) -> dict[str, Any]:
    """Return a vector that makes an array with these arguments besides what it must have."""
    return vector(steps=[{"op": "dlpack.array", "args": ARRAY | args}])


@pytest.mark.parametrize(
    "sound",
    [
        array(),
        array(shape=None),
        array(
            values=[-(1 << 63), (1 << 64) - 1] * 512, strides=[], offset=8, device=[1, 0], producer="word", size=None
        ),
        vector(steps=[NEW, {"op": "__dlpack__", "args": {"self": {"ref": "c"}, "copy": 1, "max_version": [1, 3]}}]),
        vector(steps=[NEW, {"op": "dlpack.set", "args": {"array": {"ref": "c"}, "index": [0], "value": 5}}]),
        vector(steps=[NEW, {"op": "__dlpack__", "args": {"self": {"ref": "c"}}, "bind": "d"}, {"op": "Py_FinalizeEx"}]),
    ],
)
def test_arguments_of_the_suite_dlpack(tmp_path: Path, sound: dict[str, Any]) -> None:
    """Lists of integers, words and null up to the limits, words and integers are taken; what is optional may be out."""
    assert complaints(tmp_path, sound) == []


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (array(values=[0] * 1025), "args.values: found [0"),
        (array(values=["x" * 65]), 'args.values.0: found "xx'),
        (array(values=[1 << 64]), "args.values.0: found 18446744073709551616; expected maximum 1844674407370955161"),
        (array(values=[[1]]), "args.values.0: found [1]; expected null or an integer or a string"),
        (array(values=[True]), "args.values.0: found true; expected"),
        (array(shape=5), "argument shape is 5; expected a list or null"),
        (array(dtype=[1]), "argument dtype is [1]; expected a word"),
        (array(read_only="yes"), 'argument read_only is "yes"; expected an integer or null'),
        (array(order="C"), 'dlpack.array has no argument "order"; expected dlpack.array(dtype, shape, [values], '),
        (
            vector(steps=[{"op": "dlpack.array", "args": {"dtype": "int32"}}]),
            "dlpack.array lacks the argument shape; expected dlpack.array(dtype, shape, [values]",
        ),
        (
            vector(steps=[NEW, {"op": "__dlpack__", "args": {"self": {"ref": "c"}, "copy": 2}}]),
            "argument copy is 2; expected one of null 0 1",
        ),
        (
            vector(steps=[NEW, {"op": "dlpack.values", "args": {"array": [1]}}]),
            "argument array is [1]; expected null or {",
        ),
        (
            vector(steps=[{"op": "dlpack.values", "args": {"array": None}, "bind": "v"}]),
            "returns values, which cannot be",
        ),
        (
            vector(steps=[NEW | {"args": {"pointer": [1], "name": None, "destructor": None}}]),
            "argument pointer is [1]; ",
        ),
        (vector(steps=[{"op": "malloc", "args": {"size": [8]}}]), "argument size is [8]; expected an integer"),
        (
            vector(functions={"t": {"kind": "traverse", "visit": [[1]]}}),
            "argument visit is [1]; expected null or {",
        ),
        (
            vector(modules={"m": {"attrs": {"a": {"capsule": {"pointer": [1], "name": None}}}}}),
            'module "m": argument pointer is [1]; expected null or {',
        ),
    ],
)
def test_arguments_that_are_no_good(tmp_path: Path, bad: dict[str, Any], complaint: str) -> None:
    """Lists have limits, the operations that took none take none, and what an operation needs must be there."""
    (line, *_) = complaints(tmp_path, bad)
    assert complaint in line


def sees(returned: Any, *events: Any) -> dict[str, Any]:
    """Return a vector that expects a return and events."""
    step = {"op": "dlpack.fields", "args": {"capsule": {"ref": "c"}}, "expect": {"return": returned, "events": events}}
    return vector(steps=[NEW, step])


@pytest.mark.parametrize(
    "sound",
    [
        sees({"values": [1, -1, "0.5"]}, {"dlpack": "deleter"}, {"dlpack": "set_error"}),
        sees({"device": [2, 0]}, {"dlpack": "__dlpack__", "of": "c", "name": "dltensor", "keywords": ["copy"]}),
        sees({"fields": {"data": {"ref": "c"}, "shape": [1, 2], "ndim": 2, "strides": None}}),
        sees({"fields": {}}, {"dlpack": "synchronise", "stream": None}, {"dlpack": "synchronise", "stream": 2}),
    ],
)
def test_what_the_suite_dlpack_shows(tmp_path: Path, sound: dict[str, Any]) -> None:
    """Values, devices, fields and events of their own are expectations like others."""
    assert complaints(tmp_path, sound) == []


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (sees({"values": [None]}), "expect.return.values.0: found null"),
        (sees({"device": [1]}), "expect.return.device: found [1]; expected minItems 2"),
        (sees({"fields": {"data": {"ptr": "p"}}}), "expect.return.fields.data"),
        (sees({"fields": {"data": {"ref": "cc"}}}), 'expected return "cc" is bound nowhere; expected c'),
        (sees(None, {"dlpack": "dance"}), 'expect.events.0.dlpack: found "dance"; expected one of "__dlpack__"'),
        (sees(None, {"dlpack": "deleter", "refcnt": 1}), 'unknown key "refcnt"; expected only dlpack, of, name'),
        (sees(None, {"dlpack": "deleter", "of": "cc"}), 'event of "cc" is bound nowhere; expected c'),
        (sees(None, {"dlpack": "deleter", "stream": "1"}), "expect.events.0.stream"),
    ],
)
def test_what_it_cannot_show(tmp_path: Path, bad: dict[str, Any], complaint: str) -> None:
    """Other values, other keys and tokens that nothing has are refused."""
    (line, *_) = complaints(tmp_path, bad)
    assert complaint in line


def test_what_json_allows_and_the_format_does_not(tmp_path: Path) -> None:
    """Keys twice, endless numbers, NaN and half surrogates are refused, each in the vector where it stands."""
    text = json.dumps({"format": 1, "vectors": [vector(id="test.bad", title="TITLE"), vector()]})
    for title, complaint in [
        ('"a", "title": "b"', "an object has a key twice; expected each key once"),
        ("NaN", "title: NaN; expected a JSON value"),
        ("9" * 5000, "title: a number of 5000 digits; expected an integer of at most 64 bits"),
        (r'"\ud800"', "title: a string has half a surrogate pair; expected Unicode"),
    ]:
        found = loaded(tmp_path, text.replace('"TITLE"', title))
        assert [problem.text for problem in found.problems] == [complaint]
        assert [v["id"] for v in found.vectors] == ["test.sound"]


def test_an_id_occurs_once_over_all_files(tmp_path: Path) -> None:
    """The second of two equal ids is refused and the first file is named."""
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps({"format": 1, **vector()}))
    found = load(tmp_path, KNOWN)
    assert len(found.vectors) == 1
    (problem,) = found.problems
    assert str(problem) == (
        f"{tmp_path / 'b.json'}: vector test.sound: id occurs again, first in {tmp_path / 'a.json'}; "
        "expected every id once"
    )


def test_no_vectors_is_a_problem(tmp_path: Path) -> None:
    """An empty folder and a path to nowhere are bad input, not an empty success."""
    assert [p.text for p in load(tmp_path).problems] == ["no vector files here: expected at least one *.json"]
    assert [p.text for p in load(tmp_path / "x").problems] == ["no such file or folder; expected vectors"]


def test_control_characters_of_a_vector_are_escaped(tmp_path: Path) -> None:
    """A vector cannot write to the terminal through an error message."""
    (line,) = complaints(tmp_path, vector(id="\x1b[2J\nx"))
    assert "\x1b" not in line


def test_functions_may_use_what_later_steps_bind(tmp_path: Path) -> None:
    """A destructor runs later than it is declared: its references are looked up then."""
    step = {"op": "Py_INCREF", "args": {"op": {"ref": "c"}}}
    assert complaints(tmp_path, vector(functions={"d": {"kind": "destructor", "steps": [step]}})) == []


def test_450_vectors_load_in_well_under_a_second(tmp_path: Path) -> None:
    """Validation does not eat the time budget of a whole conformance run."""
    name = [chr(97 + i // 26) + chr(97 + i % 26) for i in range(450)]
    text = json.dumps({"format": 1, "vectors": [vector(id=f"test.{n}", steps=[NEW] * 5) for n in name]})
    loaded(tmp_path, text)
    begun = time.perf_counter()
    assert len(loaded(tmp_path, text).vectors) == 450
    assert time.perf_counter() - begun < 1
