"""Renaming: what changes and what stays, and that every vector has a sound copy."""

from __future__ import annotations

import builtins
import json
import keyword
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rename_samples import Step, get, new, string, vector

from capsule_model.conform.rename import renamed, renaming_of
from capsule_model.conform.runner import expected_differences
from capsule_model.profiles import PROFILES
from capsule_model.suites import SUITES, vectors_of
from capsule_model.trace.contract import vector_schema
from capsule_model.trace.execute import run
from capsule_model.trace.expectation import holds
from capsule_model.trace.files import load
from capsule_model.trace.meaning import Known, faults
from capsule_model.trace.schema import Validator

ROOT = Path(__file__).resolve().parents[2]
VECTORS = [vector for suite in SUITES for vector in load(vectors_of(suite)).vectors]
PROFILE = PROFILES["cpython-3.13"]

WORDS = st.text("abyzABYZ_09é", max_size=6)
TOKENS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)


def shared(left: str, right: str) -> int:
    """Return how many bytes two names have in common at their beginning."""
    pairs = zip(left.encode(), right.encode(), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


@given(st.lists(WORDS, min_size=1, max_size=6), st.text(max_size=5))
def test_names_keep_their_lengths_and_relations(names: list[str], seed: str) -> None:
    """Beginnings, ends, parts and relations but for case are those of the originals; what is no letter stays."""
    one = vector(*(string(name, f"s{index}") for index, name in enumerate(names)))
    name = renaming_of(one, seed).name
    for left in names:
        assert len(name(left).encode()) == len(left.encode())
        assert [c for c in name(left) if not (c.isascii() and c.isalpha())] == [
            c for c in left if not (c.isascii() and c.isalpha())
        ]
        assert [c.isupper() for c in name(left)] == [c.isupper() for c in left]
        for right in names:
            assert shared(name(left), name(right)) == shared(left, right)
            assert shared(name(left)[::-1], name(right)[::-1]) == shared(left[::-1], right[::-1])
            assert shared(name(left).lower(), name(right).lower()) == shared(left.lower(), right.lower())
            assert (name(left) in name(right)) == (left in right)
            assert name(f"{left}.{right}") == f"{name(left)}.{name(right)}"


@given(st.lists(TOKENS, min_size=1, max_size=6, unique=True), st.text(max_size=5))
def test_tokens_keep_their_lengths_and_relations(tokens: list[str], seed: str) -> None:
    """Tokens are replaced alike, and none becomes the kind of an object or a keyword."""
    one = vector(*(string("a", token) for token in tokens if token not in ("None", "int", "str")))
    token = renaming_of(one, seed).token
    for left in (step["bind"] for step in one["steps"]):
        assert len(token(left)) == len(left)
        assert token(left) not in ("None", "int", "str", "if", "print", "os")
        assert token(f"{left}#2") == f"{token(left)}#2"
        for right in (step["bind"] for step in one["steps"]):
            assert shared(token(left), token(right)) == shared(left, right)


@given(st.text("abcxyz", min_size=1, max_size=6), st.integers(0, 5), st.sampled_from("abcxyz"))
def test_a_byte_written_into_a_name_gives_the_copy_of_what_came_of_it(name: str, place: int, byte: str) -> None:
    """A name changed in memory is the copy of the changed name."""
    place %= len(name)
    write: Step = {
        "op": "write",
        "args": {"ptr": {"ref": "s", "offset": place}, "bytes": {"hex": byte.encode().hex()}},
    }
    one = vector(string(name, "s"), write)
    changed = renaming_of(one)
    old, new_byte = changed.name(name), bytes.fromhex(changed.raw(byte.encode().hex())).decode()
    assert new_byte != byte
    assert changed.name(name[:place] + byte + name[place + 1 :]) == old[:place] + new_byte + old[place + 1 :]


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("", True),
        (".", True),
        ("..", True),
        ("__class__", True),
        ("cm_m.__dict__", False),
        ("mro", True),
        ("_initializing", True),
        ("sys", True),
        ("os.cm_x", False),
        ("cm_m", False),
        ("a", False),
        ("NULL", False),
        ("int (*)(double) noexcept", False),
    ],
)
def test_what_means_something_by_itself_stays(name: str, stays: bool) -> None:
    """Nothing but an own name changes, and words that an implementation knows keep every letter."""
    step: Step = {"op": "PyCapsule_Import", "args": {"name": {"cstr": name}, "no_block": 0}}
    copy = renamed(vector(step))["steps"][0]["args"]["name"]["cstr"]
    assert (copy == name) is stays
    for word in ("__dict__", "os"):
        assert (word in copy.split(".")) == (word in name.split("."))


def test_no_new_name_means_something_already() -> None:
    """Under no seed does a copy meet a keyword, a module, a built-in name, or one of its own modules as a token."""
    taken = {*keyword.kwlist, *dir(builtins), *sys.stdlib_module_names, *dir(str), "mro"}
    two = vector(string("xy", "qq"), string("zyx", "qqq"))
    one = vector(new("c"), modules={"q": {}})
    for seed in map(str, range(300)):
        changed = renaming_of(two, seed)
        assert taken.isdisjoint([changed.name("xy"), changed.name("zyx"), changed.token("qq"), changed.token("qqq")])
        changed = renaming_of(one, seed)
        assert len({changed.name("q"), changed.token("c"), changed.token("p1")}) == 3


def test_bytes_change_as_names_do() -> None:
    """Hexadecimal names change where they are letters, past a NUL too, and elsewhere stay."""
    by_hex = {**new("a"), "args": {"pointer": {"ptr": "p1"}, "name": {"hex": "61ff00e26141"}, "destructor": None}}
    one = vector(by_hex, get("a"))
    steps = renamed(one)["steps"]
    letter = steps[1]["args"]["name"]["cstr"].encode().hex()
    capital = steps[1]["args"]["name"]["cstr"].upper().encode().hex()
    assert letter != "61"
    assert steps[0]["args"]["name"]["hex"] == f"{letter}ff00e2{letter}{capital}"


def test_numbers_in_a_struct_stay() -> None:
    """What is written to a capsule's struct is no name, and the letters that it looks like are left alone."""
    write: Step = {"op": "write", "args": {"ptr": {"ref": "c"}, "bytes": {"hex": "6100"}}}
    count: Step = {"op": "Py_REFCNT", "args": {"ob": {"ref": "c"}}}
    one = vector(new("ab"), write, count)
    copy = renamed(one)
    assert copy["steps"][1]["args"]["bytes"] == {"hex": "6100"}
    assert copy["steps"][0]["args"]["name"]["cstr"][0] == "a" != copy["steps"][0]["args"]["name"]["cstr"][1]
    assert run(copy, PROFILE).steps[2]["return"] == run(one, PROFILE).steps[2]["return"] == 97


def test_words_of_the_format_stay() -> None:
    """Exceptions, texts, kinds, fields and operators are no names of the vector."""
    steps: list[Step] = [
        {"op": "PyErr_SetString", "args": {"type": {"cstr": "KeyError"}, "message": {"cstr": "c"}}},
        {"op": "poke", "args": {"op": {"ref": "c"}, "field": "name", "value": {"ref": "c"}}},
        {
            "op": "PyObject_RichCompare",
            "args": {"o1": {"object": "int"}, "o2": {"object": "PyCapsule_Type"}, "opid": "<"},
        },
        {"op": "settle", "pending": {"type": "ValueError", "text": "c"}},
    ]
    copy = renamed(vector(new("c"), *steps))
    token = copy["steps"][0]["bind"]
    assert token != "c"
    assert copy["steps"][1:] == [
        steps[0],
        {"op": "poke", "args": {"op": {"ref": token}, "field": "name", "value": {"ref": token}}},
        *steps[2:],
    ]


MODULES: dict[str, Any] = {
    "cm_m": {
        "attrs": {
            "a": {"capsule": {"pointer": {"ptr": "p1"}, "name": {"cstr": "cm_m.a"}}},
            "K": {"class": {"attrs": {"int": {"class": {}}}}},
        }
    }
}


def copied(expect: Mapping[str, Any], **keys: Any) -> tuple[dict[str, Any], Any]:
    """Return the copy of an expectation in a vector with modules, and how its names change."""
    one = vector({**new("cm_m.a"), "expect": expect}, **{"modules": MODULES, **keys})
    copy: dict[str, Any] = renamed(one)["steps"][0]["expect"]
    return copy, renaming_of(one)


def test_texts_change_where_a_name_stands_and_nowhere_else() -> None:
    """A one-letter name changes between the quotes, and not inside the words around it."""
    text = "module 'cm_m' has no attribute 'a'"
    copy, changed = copied({"error": {"type": "AttributeError", "text": text, "attributes": {"name": "a"}}})
    assert copy["error"] == {
        "type": "AttributeError",
        "text": f"module '{changed.name('cm_m')}' has no attribute '{changed.name('a')}'",
        "attributes": {"name": changed.name("a")},
    }
    assert changed.name("a") != "a"
    text = "'PyCapsule' object has no attribute '__path__'"
    assert copied({"error": {"type": "AttributeError", "text": text}})[0]["error"]["text"] == text
    copy, changed = copied({"return": {"text": '<capsule object "cm_m.a" at {c}>'}})
    assert copy["return"]["text"] == f'<capsule object "{changed.name("cm_m.a")}" at {{{changed.token("c")}}}>'
    text = "cannot set '{}' attribute of immutable type 'PyCapsule'"
    copy, changed = copied({"error": {"type": "TypeError", "text": text.format("a")}})
    assert copy["error"]["text"] == text.format(changed.name("a"))
    assert copied({"return": {"text": "True"}})[0] == {"return": {"text": "True"}}
    assert copied({"return": {"object": "K", "text": "a b"}})[0] == {}
    copy, changed = copied({"return": {"object": "cm_m.K"}})
    assert copy["return"] == {"object": changed.name("cm_m.K")}
    copy, changed = copied({"return": {"object": "K"}})
    assert copy["return"] == {"object": changed.name("K")}


@pytest.mark.parametrize(
    ("type", "text"),
    [
        ("AttributeError", "module 'cm_m' has no attribute 'other'"),
        ("AttributeError", "a"),
        ("KeyError", "'cm_m'"),
        ("AttributeError", "type object 'int' has no attribute 'a'"),
        ("AttributeError", "module 'cm_m' has no attribute '" + "a' has no attribute '" * 200 + "'"),
    ],
)
def test_a_text_that_is_not_certain_is_not_expected(type: str, text: str) -> None:
    """Where a text may or may not speak of a name, the copy expects the exception alone."""
    copy, _ = copied({"error": {"type": type, "text": text}})
    assert copy["error"] == {"type": type}


def test_a_long_text_is_not_looked_into() -> None:
    """What would take long to take apart is not expected of the copy."""
    name = "x" * 2100
    errors = [{"type": "ModuleNotFoundError", "text": f"No module named '{name[:length]}'"} for length in (99, 2100)]
    steps: list[Step] = [
        {"op": "import", "args": {"module": {"cstr": name[:length]}}, "expect": {"error": error}}
        for length, error in zip((99, 2100), errors, strict=True)
    ]
    short, long = (step["expect"]["error"] for step in renamed(vector(*steps))["steps"])
    assert "text" in short
    assert "text" not in long


def test_a_text_that_the_vector_raises_itself_stays() -> None:
    """A text of its own is no name, not even where it looks like one; where it may be both, it is left out."""
    raising = {**MODULES, "cm_k": {"raises": {"type": "ValueError", "text": "from a"}}}
    copy, _ = copied({"error": {"type": "ValueError", "text": "from a"}}, modules=raising)
    assert copy["error"]["text"] == "from a"
    text = "module 'cm_m' has no attribute 'a'"
    raising["cm_k"]["raises"] = {"type": "AttributeError", "text": text}
    copy, _ = copied({"error": {"type": "AttributeError", "text": text}}, modules=raising)
    assert copy["error"] == {"type": "AttributeError"}


def test_tokens_change_wherever_they_are() -> None:
    """Bound names, storage, functions, modules and what derives from them follow."""
    functions = {"d": {"kind": "destructor", "steps": []}, "t": {"kind": "traverse", "visit": [{"ref": "c"}]}}
    one = vector(new("cm_m.a"), modules=MODULES, functions=functions)
    changed = renaming_of(one)
    c, d, t, m, a = changed.token("c"), changed.token("d"), changed.token("t"), changed.name("cm_m"), changed.name("a")
    assert len({c, d, t}) == 3
    assert {c, d, t}.isdisjoint("cdt")
    expected = {
        "c#2": f"{c}#2",
        "#0": "#0",
        "#0.name": "#0.name",
        "#3/d.1/0/d.2/1.name": f"#3/{d}.1/0/{d}.2/1.name",
        "#t": f"#{t}",
        "#cm_m.a.name": f"#{m}.{a}.name",
        "#cm_m.a.name#2": f"#{m}.{a}.name#2",
        "cm_m.a": f"{m}.{a}",
        "cm_m": m,
        "int": "int",
        "PyCapsule_Type": "PyCapsule_Type",
        "?1": "?1",
    }
    assert {token: changed.token(token) for token in expected} == expected
    copy, _ = copied({"return": {"tokens": ["c", "p1"]}, "events": [{"call": "d", "args": ["c"]}]}, functions=functions)
    assert copy == {
        "return": {"tokens": sorted([c, changed.token("p1")])},
        "events": [{"call": d, "args": [c]}],
    }


def test_malformed_expectations_inside_events_do_no_harm() -> None:
    """What the schema lets through inside an event never ends the program."""
    for steps in ([5], [{"error": {"text": 5}}], [{"return": {"hex": "x"}}], ["a"]):
        copy, changed = copied({"events": [{"call": "c", "steps": steps}]})
        assert copy == {"events": [{"call": changed.token("c"), "steps": steps}]}


def test_copies_are_the_same_in_every_process() -> None:
    """No run, and no seed of hashes, gives another copy."""
    code = (
        "import hashlib, json\n"
        "from capsule_model.conform.rename import renamed\n"
        "from capsule_model.locate import specs\n"
        "from capsule_model.trace.files import load\n"
        "copies = [renamed(vector) for vector in load(specs() / 'vectors').vectors]\n"
        "print(hashlib.sha256(json.dumps(copies).encode()).hexdigest())\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] != ""


def test_another_seed_gives_other_names() -> None:
    """With a seed, a vector has as many copies as wanted."""
    assert len({json.dumps(renamed(vector(new("mod.attr")), str(seed))) for seed in range(9)}) == 9


def test_every_copy_is_legal() -> None:
    """Each shipped vector's copy passes all checks of input."""
    validator, known = Validator(vector_schema()), Known()
    assert len(VECTORS) > 1000
    for one in VECTORS:
        copy = renamed(one)
        assert [copy[key] for key in ("id", "title", "rules")] == [one[key] for key in ("id", "title", "rules")]
        assert [*validator.faults(copy, 9), *faults(copy, known)] == [], one["id"]


def identifiers(value: Any, key: str = "") -> Iterator[str]:
    """Yield what the steps of a program call by names, their expectations aside."""
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            if inner_key not in ("expect", "variants", "type", "message"):
                yield from identifiers(inner, inner_key)
    elif isinstance(value, list):
        for inner in value:
            yield from identifiers(inner, key)
    elif isinstance(value, str) and key in ("bind", "ref", "ptr", "function", "thread", "cstr"):
        yield value


def test_a_copy_differs_unless_there_is_nothing_to_rename() -> None:
    """A vector that is its own copy has neither a token nor a name, but those that Python itself knows."""
    same = [one for one in VECTORS if renamed(one) == one]
    kinds = {"None", "int", "str", "bytes", "list", "dict", "tuple", "function", "object", "class", "PyCapsule_Type"}
    for one in same:
        found = set(identifiers(one["steps"])) - kinds
        assert all(name == "" or name.startswith("__") for name in found), (one["id"], found)
        assert not {"modules", "functions"} & one.keys()
    assert len(same) < len(VECTORS) / 10


@pytest.mark.parametrize(
    "profile",
    [
        "cpython-3.9",
        "cpython-3.13",
        "cpython-3.15",
        "cpython-3.13-32",
        "cpython-3.9-be",
        "cpython-3.13-free-threaded",
        "cpython-3.13-debug",
    ],
)
def test_every_copy_does_on_the_model_what_its_original_does(profile: str) -> None:
    """Under each kind of profile the copy meets its expectations, and shows the copy of every observation."""
    held_to = PROFILES[profile]
    for one in VECTORS:
        if not all(holds(condition, held_to.behaviours.__contains__) for condition in one.get("requires", ())):
            continue
        changed = renaming_of(one)
        copy = changed.vector()
        ours, theirs = run(one, held_to), run(copy, held_to)
        assert expected_differences(copy, held_to, theirs) == [], one["id"]
        assert sorted(map(changed.token, ours.leaks)) == theirs.leaks, one["id"]
        assert (ours.aborted is None) == (theirs.aborted is None)
        assert (ours.diagnosis and ours.diagnosis.kind) == (theirs.diagnosis and theirs.diagnosis.kind)
        assert (ours.of and changed.token(ours.of)) == theirs.of
        assert len(ours.steps) == len(theirs.steps)
        for before, after in zip(ours.steps, theirs.steps, strict=True):
            assert_within(changed.expectation(before), after, one["id"])


def assert_within(part: Any, whole: Any, where: str) -> None:
    """Assert that all that `part` has is in `whole`."""
    if isinstance(part, dict):
        assert part.keys() <= whole.keys(), where
        for key, value in part.items():
            assert_within(value, whole[key], where)
    elif isinstance(part, list):
        assert len(part) == len(whole), where
        for one, other in zip(part, whole, strict=True):
            assert_within(one, other, where)
    else:
        assert part == whole, where
