"""Running a vector on the model: tokens, the error indicator between steps, threads, events, and bad vectors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from capsule_model import Kind, python_view
from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.trace.execute import BadVector, Run, run
from capsule_model.trace.files import load

Step = dict[str, Any]
KEY = {"type": "KeyError", "text": "k"}
C = {"capsule": {"ref": "c"}}
OP = {"op": {"ref": "c"}}

# The capsule of a module whose body fails dies before the first step.
HELD = {"capsule": {"pointer": {"ptr": "p"}, "name": None, "destructor": {"function": "d"}}}
FAILING = {"m": {"loaded": True, "attrs": {"c": HELD}, "raises": {"type": "ValueError"}}}


def call(op: str, bind: str | None = None, /, **arguments: Any) -> Step:
    """Return a step."""
    step: Step = {"op": op, "args": arguments}
    return step if bind is None else step | {"bind": bind}


def new(bind: str | None = "c", name: Any = None, destructor: str | None = None, pointer: str = "p") -> Step:
    """Return the step that makes a capsule."""
    function = None if destructor is None else {"function": destructor}
    return call("PyCapsule_New", bind, pointer={"ptr": pointer}, name=name, destructor=function)


def drop(token: str = "c") -> Step:
    """Return the step that gives a reference back."""
    return call("Py_DECREF", op={"ref": token})


def ran(*steps: Step, profile: str = "cpython-3.13", **parts: Any) -> Run:
    """Run a vector of these steps."""
    return run({"steps": list(steps), **parts}, PROFILES[profile])


def returned(result: Run) -> list[Any]:
    """Return what each step showed as its return, `...` where it has none."""
    return [step.get("return", ...) for step in result.steps]


def destructor(*steps: Step, **keys: Any) -> dict[str, Any]:
    """Return a vector's functions: one destructor `d`."""
    return {"d": {"kind": "destructor", "steps": list(steps), **keys}}


def test_a_bound_name_is_the_token() -> None:
    """What a step binds is shown by that name from then on, and its fields by theirs."""
    result = ran(new(), call("PyCapsule_GetPointer", **C, name=None), call("layout", **OP), drop())
    assert returned(result)[:2] == [{"ref": "c"}, {"ref": "p"}]
    words = result.steps[2]["return"]["words"]
    assert words == [{"refcnt": 1}, {"type": "PyCapsule"}, {"ref": "p"}, None, None, None, None, None]
    assert result.leaks == []


def test_a_name_bound_again_has_a_generation() -> None:
    """`x` is the newest, `x#2` what it was the second time; older ones keep their tokens."""
    result = ran(new(), call("PyCapsule_SetContext", **C, context={"ref": "c"}), new(), new(), drop())
    assert returned(result) == [{"ref": "c"}, 0, {"ref": "c#2"}, {"ref": "c#3"}, ...]
    assert result.leaks == ["c", "c#2"]
    older = ran(new(), new(), call("PyCapsule_SetContext", **C, context={"ref": "c"}), call("layout", **OP))
    assert older.steps[3]["return"]["words"][4] == {"ref": "c#2"}


def test_storage_has_the_path_of_its_argument() -> None:
    """A string made by an argument is `#PATH.ARG`, an object without `bind` `#PATH`; inside functions too."""
    name = {"cstr": "a"}
    rename = call("PyCapsule_SetName", capsule={"arg": 0}, name=name)
    look = call("PyCapsule_GetName", capsule={"arg": 0})
    result = ran(
        new(None, name),
        new("c", name, "d"),
        call("PyCapsule_GetName", **C),
        drop(),
        new("c", name, "d"),
        drop(),
        functions=destructor(rename, look),
    )
    assert result.steps[0]["return"] == {"ref": "#0"}
    assert result.steps[2]["return"] == {"ref": "#1.name", "cstr": "a"}
    inner = [result.steps[index]["events"][0]["steps"][1]["return"]["ref"] for index in (3, 5)]
    assert inner == ["#3/d.1/0.name", "#5/d.2/0.name"]
    assert result.leaks == ["#0"]


def test_an_address_that_nobody_named() -> None:
    """It is `?1`, `?2`, … in the order of appearance, and the same address is the same token."""
    steps = [call("PyCapsule_SetPointer", **C, pointer=number) for number in (4096, 8192, 4096)]
    look = call("PyCapsule_GetPointer", **C, name=None)
    result = ran(new(), steps[0], look, steps[1], look, steps[2], look)
    assert [result.steps[index]["return"] for index in (2, 4, 6)] == [{"ref": "?1"}, {"ref": "?2"}, {"ref": "?1"}]


def test_an_address_inside_of_storage_has_an_offset() -> None:
    """Inside a string, a block or an opaque address; the byte behind it belongs to nobody."""
    look = call("PyCapsule_GetPointer", **C, name=None)

    def shown(token: str, offset: int) -> Any:
        store = call("PyCapsule_SetPointer", **C, pointer={"ref": token, "offset": offset})
        make = [call("malloc", "m", size=8), call("string", "s", bytes={"cstr": "abc"}), new()]
        return ran(*make, store, look).steps[4]["return"]

    assert shown("m", 0) == {"ref": "m"}
    assert shown("m", 7) == {"ref": "m", "offset": 7}
    assert shown("m", 8) == {"ref": "?1"}
    assert shown("s", 3) == {"ref": "s", "offset": 3}
    assert shown("p", 15) == {"ref": "p", "offset": 15}


def test_a_name_bound_to_null_means_null() -> None:
    """A call that fails binds NULL, and a later reference passes it on."""
    failing = call("PyCapsule_New", "x", pointer=None, name=None, destructor=None)
    result = ran(failing, call("Py_IncRef", o={"ref": "x"}), call("PyCapsule_IsValid", capsule={"ref": "x"}, name=None))
    assert returned(result) == [None, ..., 0]
    getter = call("PyCapsule_GetContext", "k", **C)
    assert ran(new(), getter, call("Py_DecRef", o={"ref": "k"}), drop()).diagnosis is None


def test_strings_are_shown_with_their_bytes() -> None:
    """As text where they are UTF-8, else as hex, and without where a program could not read them."""
    look = call("PyCapsule_GetName", **C)
    assert ran(new("c", {"hex": "c3a9"}), look).steps[1]["return"] == {"ref": "#0.name", "cstr": "é"}
    assert ran(new("c", {"hex": "ff00"}), look).steps[1]["return"] == {"ref": "#0.name", "hex": "ff"}
    unwritten = ran(call("malloc", "m", size=4), new("c", {"ref": "m"}), look)
    assert unwritten.steps[2]["return"] == {"ref": "m"}


def test_a_hash_is_shown_by_the_address_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is that of the object whose address gives the hash, and no token is made up for another number."""
    steps = (new(), new("other"), call("PyObject_Hash", o={"ref": "c"}), drop(), drop("other"))
    assert returned(ran(*steps))[2] == {"hash_of": "c"}
    right = python_view.PyObject_Hash
    monkeypatch.setattr(python_view, "PyObject_Hash", lambda py, o: right(py, o + 128))
    assert returned(ran(*steps))[2] == {"hash_of": "other"}
    monkeypatch.setattr(python_view, "PyObject_Hash", lambda py, o: o)
    assert returned(ran(*steps))[2] not in ({"hash_of": "c"}, {"hash_of": "other"})


def test_the_indicator_is_put_back() -> None:
    """A step is neutral to the indicator: what it was given or left is gone afterwards."""
    invalid = call("PyCapsule_GetName", capsule=None)
    result = ran(invalid, call("PyErr_Occurred"), new() | {"pending": KEY}, call("PyErr_Occurred"))
    assert [step["indicator"] for step in result.steps] == ["set", "clear", "unchanged", "clear"]
    assert result.steps[2]["error"]["type"] == "KeyError"
    assert result.steps[2]["error"]["text"] == "'k'"
    assert [result.steps[index]["return"] for index in (1, 3)] == [None, None]


def test_leave_keeps_the_indicator() -> None:
    """What a step with `leave` ends with is what the next one finds, until one leaves something else."""
    result = ran(
        call("PyErr_NoMemory") | {"leave": True},
        call("PyErr_Occurred"),
        call("PyErr_Clear"),
        call("PyErr_Occurred"),
        call("PyErr_Clear") | {"leave": True},
        call("PyErr_Occurred"),
    )
    assert returned(result) == [None, {"object": "MemoryError"}, ..., {"object": "MemoryError"}, ..., None]
    assert [step["indicator"] for step in result.steps] == [
        "set",
        "unchanged",
        "cleared",
        "unchanged",
        "cleared",
        "clear",
    ]


def test_pending_replaces_what_was_left_for_one_step() -> None:
    """A pending exception stands in for the one that was left, which is there again afterwards."""
    result = ran(
        call("PyErr_NoMemory") | {"leave": True},
        call("PyErr_Occurred") | {"pending": KEY},
        call("PyErr_Occurred"),
        call("PyCapsule_GetName", capsule=None) | {"pending": KEY},
        call("PyErr_Occurred") | {"pending": KEY, "leave": True},
        call("PyErr_Occurred"),
    )
    names = [step["return"]["object"] if step["return"] else None for step in result.steps[1:]]
    assert names == ["KeyError", "MemoryError", None, "KeyError", "KeyError"]
    assert result.steps[3]["indicator"] == "replaced"


def test_the_indicator_is_put_back_inside_a_destructor() -> None:
    """A destructor that is entered with an exception finds it before each step and leaves it, unless a step leaves."""
    failing = call("PyCapsule_GetName", capsule=None)
    for step, after in ((failing, "KeyError"), (failing | {"leave": True}, "ValueError")):
        functions = destructor(step, call("PyErr_Occurred"))
        result = ran(new(destructor="d"), drop() | {"pending": KEY}, functions=functions)
        (event,) = result.steps[1]["events"]
        assert (event["before"]["type"], event["after"]["type"]) == ("KeyError", after)
        assert event["steps"][1]["return"] == {"object": after}
        assert result.steps[1]["error"]["type"] == after


def test_threads_have_indicators_of_their_own() -> None:
    """A step of another thread neither sees nor changes what a thread was left with."""
    ask = call("PyErr_Occurred")
    result = ran(
        call("PyErr_NoMemory") | {"leave": True},
        ask | {"thread": "t"},
        call("PyCapsule_GetName", capsule=None) | {"thread": "t", "leave": True},
        ask,
        ask | {"thread": "t"},
        ask | {"thread": "u"},
    )
    names = [seen and seen["object"] for seen in returned(result)]
    assert names == [None, None, None, "MemoryError", "ValueError", None]


def test_a_destructor_runs_in_the_thread_that_ends_the_capsule() -> None:
    """Its steps see that thread's indicator, whatever `thread` they could name."""
    functions = destructor(call("PyErr_Occurred"))
    result = ran(
        call("PyErr_NoMemory") | {"leave": True, "thread": "t"},
        new(destructor="d"),
        drop() | {"thread": "t"},
        functions=functions,
    )
    assert result.steps[2]["events"][0]["steps"][0]["return"] == {"object": "MemoryError"}


def test_events_lie_inside_each_other() -> None:
    """A destructor that gives back another capsule has that one's destructor among its step's events."""
    functions = {
        "outer": {"kind": "destructor", "steps": [drop("inner")]},
        "d": {"kind": "destructor", "steps": [call("Py_REFCNT", ob={"arg": 0})]},
    }
    result = ran(new("inner", destructor="d"), new("c", destructor="outer"), drop(), functions=functions)
    (event,) = result.steps[2]["events"]
    assert (event["call"], event["args"], event["refcnt"]) == ("outer", ["c"], 0)
    (inner,) = event["steps"][0]["events"]
    assert (inner["call"], inner["args"], inner["steps"][0]["return"]) == ("d", ["inner"], 0)
    assert result.leaks == []


def test_a_function_beyond_its_calls_does_nothing() -> None:
    """From the call after `max_calls` on the event says so, and no step runs."""
    steps = [step for _ in range(3) for step in (new(destructor="d"), drop())]
    result = ran(*steps, functions=destructor(call("settle"), max_calls=2))
    events = [result.steps[index]["events"][0] for index in (1, 3, 5)]
    assert [len(event.get("steps", ())) for event in events] == [1, 1, 0]
    assert events[2] == {"call": "d", "beyond": True}
    nine = [step for _ in range(9) for step in (new(destructor="d"), drop())]
    last = ran(*nine, functions=destructor()).steps
    assert (last[15]["events"][0].get("beyond"), last[17]["events"][0].get("beyond")) == (None, True)


def test_native_functions_are_no_events() -> None:
    """What they do to the indicator is seen all the same."""
    result = ran(new(destructor="n"), drop(), functions={"n": {"native": "PyErr_NoMemory"}})
    assert result.steps[1]["events"] == []
    assert result.steps[1]["error"]["type"] == "MemoryError"


def test_unraisable_errors_are_events() -> None:
    """The hook's exception and object are shown, NULL as null."""
    result = ran(new(), *(call("PyErr_WriteUnraisable", obj=obj) | {"pending": KEY} for obj in ({"ref": "c"}, None)))
    event = {"type": "KeyError", "text": "'k'"}
    assert [step["events"] for step in result.steps[1:]] == [
        [{"unraisable": event, "object": {"ref": "c"}}],
        [{"unraisable": event, "object": None}],
    ]


def test_leaks() -> None:
    """References and blocks still owned, by token, sorted; a string is storage of the vector and none."""
    extra = call("Py_INCREF", **OP)
    made = [new(), new("b"), call("malloc", "m", size=1), call("string", "s", bytes={"cstr": ""})]
    assert ran(*made, extra, drop()).leaks == ["b", "c", "m"]
    assert ran(*made, extra, drop(), drop(), drop("b"), call("free", ptr={"ref": "m"})).leaks == []
    text = call("PyObject_Repr", o={"ref": "c"})
    kept = call("PyObject_GetAttrString", "doc", o={"ref": "c"}, attr_name={"cstr": "__doc__"})
    assert ran(new(), text, kept, drop()).leaks == ["doc"]


def test_undefined_behaviour_ends_the_run() -> None:
    """The diagnosis and the token that it is about; the steps before are there, those after are not run."""
    result = ran(new(), drop(), call("PyCapsule_GetName", **C), new("d"))
    assert (len(result.steps), result.of) == (2, "c")
    assert result.diagnosis is not None
    assert result.diagnosis.kind is Kind.USE_AFTER_FREE
    assert result.diagnosis.history == ["object created at step 0", "freed at step 1"]
    assert (result.leaks, result.aborted) == ([], None)


def test_an_abort_ends_the_run() -> None:
    """A debug build's checks end it with what the interpreter says, a release build goes on."""
    steps = (new(destructor="n"), drop(), call("settle"))
    functions = {"n": {"native": "PyErr_NoMemory"}}
    result = ran(*steps, functions=functions, profile="cpython-3.13-debug")
    assert (len(result.steps), result.diagnosis) == (1, None)
    assert result.aborted == "Deallocator of type 'PyCapsule' raised, cleared or overrode the current exception"
    assert ran(*steps, functions=functions).aborted is None


def test_states() -> None:
    """On request each step is followed by the capsules alive, with their fields."""
    vector = {"steps": [new(name={"cstr": "a"}), call("Py_INCREF", **OP), drop(), drop()]}
    result = run(vector, PROFILES["cpython-3.13"], states=True)
    state = {"tracked": False, "pointer": {"ref": "p"}, "name": {"ref": "#0.name"}, "context": None, "destructor": None}
    assert result.states == [{"c": state | {"refcnt": count}} for count in (1, 2, 1)] + [{}]
    assert run(vector, PROFILES["cpython-3.13"]).states == []


NESTED: list[Step] = [
    step
    for number in range(300)
    for step in (
        new(f"c{number}", destructor="d"),
        call(
            "PyCapsule_SetContext", capsule={"ref": f"c{number}"}, context={"ref": f"c{number - 1}"} if number else None
        ),
    )
]
GIVE_BACK = [call("PyCapsule_GetContext", "held", capsule={"arg": 0}), call("Py_DecRef", o={"ref": "held"})]


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ({"steps": [call("no_such")]}, "step 0: unknown operation 'no_such'"),
        ({"steps": [call("settle"), drop("x")]}, "step 1: nothing is bound as 'x'"),
        ({"steps": [call("Py_DECREF", op={"function": "f"})]}, "step 0: nothing is bound as 'f'"),
        ({"steps": [call("Py_DECREF")]}, "step 0: argument 'op' is missing"),
        ({"steps": [call("Py_DECREF", op={"arg": 0})]}, 'step 0: {"arg": 0} outside a function'),
        ({"steps": [call("Py_DECREF", op="c")]}, "step 0: "),
        ({"steps": [call("Py_DECREF", op={"object": "float"})]}, "step 0: no object of kind 'float'"),
        ({"steps": [call("Py_DECREF", op={"module": "m"})]}, "step 0: 'm' is not in sys.modules"),
        ({"steps": [call("malloc", size=0)]}, "step 0: size 0 is not a number from 1 to 65536"),
        ({"steps": [call("string", bytes=None)]}, 'step 0: bytes must be {"cstr": …} or {"hex": …}, not None'),
        ({"steps": [call("settle") | {"pending": {"type": "int"}}]}, "step 0: no built-in exception 'int'"),
        ({"steps": [call("settle") | {"pending": {"type": "nope"}}]}, "step 0: no built-in exception 'nope'"),
        (
            {"steps": [call("PyObject_Repr", o={"object": "list"})]},
            "step 0: the model does not know the repr of a list",
        ),
        (
            {"steps": [new(), call("PyObject_RichCompare", o1={"ref": "c"}, o2={"ref": "c"}, opid="is")]},
            "step 1: opid 'is' is none of < <= == != > >=",
        ),
        (
            {"steps": [new(destructor="d"), drop()], "functions": destructor(call("settle"), drop("x"))},
            "step 1/d.1/1: nothing is bound as 'x'",
        ),
        (
            {"steps": [], "functions": {"n": {"native": "PyErr_Print"}}},
            "step modules: no native function 'PyErr_Print'",
        ),
        (
            {"steps": [], "functions": destructor(call("free", ptr={"ptr": "p"})), "modules": FAILING},
            "step modules: invalid-free: step modules/d.1/0 frees ",
        ),
        (
            {"steps": [*NESTED, drop("c299")], "functions": destructor(*GIVE_BACK, max_calls=1000)},
            "step 600/d.1/1/d.2/1/",
        ),
    ],
)
def test_bad_vectors(vector: dict[str, Any], message: str) -> None:
    """Each is one line that names the step; none is a Python error of another kind."""
    with pytest.raises(BadVector) as error:
        run(vector, PROFILES["cpython-3.13"])
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert str(error.value) == f"step {error.value.path}: {error.value.message}"


def test_running_twice_shows_the_same() -> None:
    """Nothing of one run is left for the next: every vector's observations are the same JSON twice."""
    vectors = load(specs() / "vectors").vectors
    assert len(vectors) > 300
    for vector in vectors[::7]:
        for name in ("cpython-3.11", "cpython-3.13-free-threaded-debug"):
            texts = []
            for rules in (False, True):
                try:
                    result = run(vector, PROFILES[name], rules=rules, states=True)
                except BadVector as error:
                    texts.append(str(error))
                    continue
                seen = [result.steps, result.leaks, result.states, result.of, result.aborted, str(result.diagnosis)]
                texts.append(json.dumps(seen, allow_nan=False))
            assert texts[0] == texts[1], vector["id"]
