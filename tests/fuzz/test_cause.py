"""Causes: what makes two findings one, and what keeps two apart."""

from __future__ import annotations

import re
from typing import Any

import pytest

from capsule_model.fuzz.cause import Cause, cause_of
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.trace.expectation import Difference
from capsule_model.trace.returns import MISSING


def new(bind: str, name: Any = None) -> dict[str, Any]:
    """Return a step that makes a capsule."""
    return {"op": "PyCapsule_New", "args": {"pointer": {"ptr": "p1"}, "name": name, "destructor": None}, "bind": bind}


def cause(key: str, expected: Any, seen: Any, op: str = "PyCapsule_GetPointer", path: str = "2") -> Cause:
    """Return the cause of one difference in the last of three steps."""
    functions = {
        "d1": {"kind": "destructor", "steps": [{"op": "PyErr_Clear", "args": {}}]},
        "c1": {"kind": "clear", "steps": [{"op": "PyErr_Clear", "args": {}}]},
        "d2": {"native": "PyErr_Clear"},
    }
    text = {"op": "string", "args": {"bytes": {"cstr": "n"}}, "bind": "n1"}
    last = {
        "op": op,
        "args": {"capsule": {"ref": "c9"}, "pointer": {"ptr": "p2"}},
        "pending": {"type": "KeyError", "text": "mine"},
    }
    vector = {"functions": functions, "modules": {"m": {}}, "steps": [new("c9"), text, last]}
    return cause_of(Divergence([Difference(path, key, expected, seen)], vector))


def error(text: str, kind: str = "ValueError", **attributes: Any) -> dict[str, Any]:
    """Return an exception as observations show it."""
    return {"type": kind, "bases": ["Exception"], "text": text, "attributes": attributes}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("return", {"ref": "p1"}, None), ("return", {"ref": "p2"}, None)),
        (("return", None, {"ref": "n1"}), ("return", None, {"ref": "#2.name"})),
        (("error", error("no 'a.b' in m"), error("no 'c'")), ("error", error("no 'x' in m"), error("no 'y'"))),
        (
            ("error", None, error("<object at 0x7f12ab34cd>")),
            ("error", None, error("<object at 0x55aa>")),
        ),
        (("error", error("mine", "KeyError"), None), ("error", error("mine", "KeyError"), None)),
        (("events", ["d1", "d1"], ["d1"]), ("events", ["d2"], [])),
        (("events.0.refcnt", 0, 1), ("events.3.refcnt", 4, 5)),
        (("leaks", ["c9"], []), ("leaks", ["c9", "n1"], ["n1"])),
        (("return", 5, 77), ("return", 123, 9)),
        (("return", {"words": [{"refcnt": 1}, None]}, {"words": [{"refcnt": 2}, None]}),) * 2,
        (("crashed", "an answer", "died of SIGSEGV"), ("crashed", "an answer", "died of SIGSEGV in the middle of x")),
    ],
)
def test_names_addresses_and_numbers_do_not_matter(one: Any, other: Any) -> None:
    """What another program of the same fault shows has the same key and the same id."""
    assert cause(*one) == cause(*other)
    assert cause(*one).id == cause(*other).id


DISTINCT: list[tuple[Any, ...]] = [
    ("return", {"ref": "p1"}, None),
    ("return", None, {"ref": "p1"}),
    ("return", {"ref": "p1"}, None, "PyCapsule_GetContext"),
    ("return", {"ref": "p1"}, {"ref": "?1"}),
    ("return", {"ref": "p1"}, {"ref": "c9"}),
    ("return", {"ref": "p1"}, {"ref": "n1"}),
    ("return", {"ref": "p1"}, {"ref": "p1", "offset": 8}),
    ("return", {"ref": "p1"}, {"ref": "d1"}),
    ("return", {"ref": "p1"}, {"ref": "m"}),
    ("return", 0, 1),
    ("return", 0, -1),
    ("return", 0, MISSING),
    ("return", {"text": "a"}, {"text": "b"}),
    ("return", {"object": "int"}, {"object": "str"}),
    ("error", None, error("x")),
    ("error", error("x"), None),
    ("error", error("x"), error("x", "KeyError")),
    ("error", error("x"), error("y")),
    ("error", error("x"), error("x", name="a")),
    ("error", error("x", name=None), error("x", name="a")),
    ("error", error("x"), {**error("x"), "bases": []}),
    ("error", None, error("PyCapsule_SetName called with invalid PyCapsule object")),
    ("indicator", "set", "clear"),
    ("events", ["d1"], []),
    ("events", [], ["d1"]),
    ("events", [], ["unraisable"]),
    ("events", ["d1", "d2"], ["d2", "d1"]),
    ("events.0.refcnt", 0, 1),
    ("events.0.refcnt", 1, 0),
    ("events.0.after", None, error("x")),
    ("events.0.before", None, error("x")),
    ("return", 1, 2, "Py_REFCNT"),
    ("return", 1, 9, "Py_REFCNT"),
    ("return", 2, 1, "Py_REFCNT"),
    ("return", {"words": [{"refcnt": 1}, None]}, {"words": [{"refcnt": 2}, None]}, "layout"),
    ("return", {"words": [{"refcnt": 1}, None]}, {"words": [{"refcnt": 1}, {"ref": "p1"}]}, "layout"),
    ("return", {"words": [None]}, {"words": [None, None]}, "layout"),
    ("leaks", ["c9"], []),
    ("leaks", [], ["c9"]),
    ("leaks", [], ["n1"]),
    ("crashed", "an answer", "died of SIGSEGV"),
    ("crashed", "an answer", "died of SIGABRT"),
    ("crashed", "an answer", "ended with exit code 3"),
    ("crashed", "an answer", "died of SIGSEGV", "PyCapsule_New", "end"),
    ("timed-out", "an answer", "gave no answer within 10 seconds"),
    ("errored", "an answer", "wrote noise"),
    ("the model", "a step that it can take", "use-after-free: more\n  where: x"),
    ("the model", "a step that it can take", "double-free: more"),
    ("return", 0, 1, "Py_DECREF", "2/d1.1/0"),
    ("return", 0, 1, "Py_DECREF", "2/c1.1/0"),
]


def test_different_faults_have_different_causes() -> None:
    """Operation, key, classes of both sides, and the kind of function around tell findings apart."""
    causes = [cause(*one) for one in DISTINCT]
    by_key = {one.key: one for one in causes}
    assert len(by_key) == len({one.id for one in causes}) == len(DISTINCT)


@pytest.mark.parametrize("one", DISTINCT)
def test_an_id_names_a_file_and_a_title_is_one_line(one: Any) -> None:
    """Ids are lower-case hex; a title fits a vector's and says what both sides do."""
    found = cause(*one)
    assert re.fullmatch(r"[0-9a-f]{12}", found.id)
    assert 10 < len(found.title) <= 290
    assert found.title.isprintable()
    assert "\n" not in found.key


def test_titles_read_as_sentences() -> None:
    """A reader learns from the title where, what is seen, and what the model says."""
    told = cause("return", {"ref": "p1"}, None).title
    assert told == "PyCapsule_GetPointer returns NULL where the model returns a pointer"
    assert cause("return", 0, 1, path="2/d1.1/0").title.startswith("PyErr_Clear inside a destructor function returns 1")


def test_the_id_is_the_same_in_every_run() -> None:
    """An id that was committed keeps its meaning."""
    assert cause("return", {"ref": "p1"}, None).id == "42af657fd00a"


def test_hostile_texts_are_cleaned() -> None:
    """Nothing that an implementation writes gets into a key raw or at full length."""
    found = cause("error", None, error("\x1b[31m\n" * 1000))
    assert found.key.isprintable()
    assert len(found.key) < 400
