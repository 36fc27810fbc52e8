"""Functions that are none, or of another type, and destructors that destroy too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from capsule_model.sanitize.vectors.build import (
    ARG,
    Argument,
    Pair,
    Program,
    Step,
    call,
    cstr,
    decref,
    destructor,
    function,
    new,
    obj,
    ptr,
    ref,
    string,
)
from capsule_model.undefined import Kind

__all__ = ["negative", "no_exception", "no_functions", "pending", "reentered", "wrong_types"]

INT = obj("int")


def set_destructor(end: Argument, capsule: Argument = {"ref": "c"}) -> Step:  # noqa: B006
    """Return the step that sets another destructor."""
    return call("PyCapsule_SetDestructor", capsule=capsule, destructor=end)


def callbacks(look: str, clear: str) -> Step:
    """Return the step that lets the collector see through `c`."""
    return call("_PyCapsule_SetTraverse", op=ref("c"), traverse_func=function(look), clear_func=function(clear))


def no_functions() -> Iterator[Pair]:
    """Yield capsules whose destructor is no function, beside those that lose it in time."""
    kind = Kind.WILD_POINTER
    for word, says, begun, address, token in (
        ("opaque", "an opaque address", [], ptr("f"), "f"),
        ("literal", "a string", [], cstr("d"), "#0.destructor"),
        ("block", "a block", [string("m", "d")], ref("m"), "m"),
        ("object", "a Python function", [], obj("function"), "function"),
        ("list", "a list", [], obj("list"), "list"),
    ):
        undefined = Program(f"The destructor is {says}", [*begun, new(end=address), decref()])
        title = f"The destructor was {says}, and is taken away in time"
        defined = undefined.but(title, steps=[*begun, new(end=address), set_destructor(None), decref()])
        yield Pair(kind, f"destructor-{word}", undefined, defined, token)
        token = token.replace("#0", "#1")
        undefined = Program(f"The destructor becomes {says}", [*begun, new(), set_destructor(address), decref()])
        title = f"The destructor becomes {says}, while a reference is left"
        kept = [*begun, new(), call("Py_INCREF", op=ref("c")), set_destructor(address), decref(), set_destructor(None)]
        yield Pair(kind, f"set-{word}", undefined, undefined.but(title, steps=[*kept, decref()]), token)
    poked = call("poke", op=ref("c"), field="destructor", value=ptr("f"))
    undefined = Program("The destructor is overwritten in the struct", [new(), poked, decref()])
    title = "The destructor is overwritten in the struct, and set again"
    yield Pair(
        kind, "poked", undefined, undefined.but(title, steps=[new(), poked, set_destructor(None), decref()]), "f"
    )
    undefined = Program("The capsule is its own destructor", [new(), set_destructor(ref("c")), decref()])
    title = "The capsule was its own destructor, and is no more"
    steps = [new(), set_destructor(ref("c")), set_destructor(None), decref()]
    yield Pair(kind, "own-destructor", undefined, undefined.but(title, steps=steps), "c")
    undefined = Program("The destructor is one byte into a function",
                        [new(end=function("d")), call("PyCapsule_GetDestructor", "f", capsule=ref("c")),
                         set_destructor(ref("f", 1)), decref()], {"d": destructor()})  # fmt: skip
    title = "The destructor is a function from its beginning"
    steps = [new(end=function("d")), call("PyCapsule_GetDestructor", "f", capsule=ref("c")),
             set_destructor(ref("f")), decref()]  # fmt: skip
    yield Pair(kind, "inside-function", undefined, undefined.but(title, steps=steps))
    inner = {"d": destructor(decref("b"))}
    undefined = Program(
        "A destructor ends a capsule whose destructor is none",
        [new("b", end=ptr("f")), new(end=function("d")), decref()],
        inner,
    )
    title = "A destructor ends a capsule that has none"
    yield Pair(kind, "nested", undefined, undefined.but(title, steps=[new("b"), new(end=function("d")), decref()]), "f")
    collect = call("gc.collect")
    functions = {
        "look": {"kind": "traverse", "visit": [ref("c")]},
        "clear": {"kind": "clear", "steps": [call("Py_DECREF", op=ARG)]},
    }
    for word, says, traverse_func, clear_func in (
        ("traverse", "traverse function", ptr("f"), function("clear")),
        ("clear", "clear function", function("look"), ptr("f")),
    ):
        tracked = call("_PyCapsule_SetTraverse", op=ref("c"), traverse_func=traverse_func, clear_func=clear_func)
        undefined = Program(
            f"The {says} is an opaque address", [new(), tracked, collect], functions, {}, ["gc-capsule"]
        )
        title = f"The {says} was an opaque address, and is replaced before a collection"
        steps = [new(), tracked, callbacks("look", "clear"), collect]
        yield Pair(kind, f"{word}-opaque", undefined, undefined.but(title, steps=steps), "f")


TYPES: dict[str, Any] = {
    "end": destructor(),
    "look": {"kind": "traverse", "visit": []},
    "cyclic": {"kind": "traverse", "visit": [ref("c")]},
    "visits": {"kind": "traverse", "visit": [INT]},
    "clear": {"kind": "clear", "steps": []},
    "let_go": {"kind": "clear", "steps": [call("Py_DECREF", op=ARG)]},
}


def wrong_types() -> Iterator[Pair]:
    """Yield functions that are called as another type than their own, beside those that are called as theirs."""
    kind = Kind.WRONG_FUNCTION_TYPE
    for word, says in (("look", "traverse function"), ("visits", "traverse function that visits"),
                       ("clear", "clear function")):  # fmt: skip
        functions = {"end": TYPES["end"], word: TYPES[word]}
        undefined = Program(f"A {says} is the destructor", [new(end=function(word)), decref()], functions)
        title = f"A destructor is the destructor, not a {says}"
        yield Pair(
            kind, f"{word}-ends", undefined, undefined.but(title, steps=[new(end=function("end")), decref()]), word
        )
        undefined = Program(
            f"A {says} becomes the destructor", [new(), set_destructor(function(word)), decref()], functions
        )
        title = f"A destructor becomes the destructor, not a {says}"
        steps = [new(), set_destructor(function("end")), decref()]
        yield Pair(kind, f"{word}-set", undefined, undefined.but(title, steps=steps), word)
    functions = {"end": TYPES["end"], "clear": TYPES["clear"], "d": destructor(decref("b"))}
    undefined = Program("A destructor ends a capsule whose destructor is a clear function",
                        [new("b", end=function("clear")), new(end=function("d")), decref()], functions)  # fmt: skip
    title = "A destructor ends a capsule whose destructor is one"
    steps = [new("b", end=function("end")), new(end=function("d")), decref()]
    yield Pair(kind, "nested", undefined, undefined.but(title, steps=steps), "clear")
    for word, says, look, clear, trigger in (
        ("destructor-looks", "A destructor is the traverse function", "end", "clear", "gc.collect"),
        ("destructor-refers", "A destructor is the traverse function that is asked for referents",
         "end", "clear", "gc.get_referents"),
        ("clear-looks", "A clear function is the traverse function", "clear", "clear", "gc.collect"),
        ("clear-refers", "A clear function is the traverse function that is asked for referents",
         "clear", "clear", "gc.get_referents"),
        ("swapped", "Traverse and clear function are swapped", "clear", "look", "gc.collect"),
    ):  # fmt: skip
        functions = {name: TYPES[name] for name in dict.fromkeys(("look", look, clear))}
        step = call(trigger, obj=ref("c")) if trigger == "gc.get_referents" else call(trigger)
        undefined = Program(says, [new(), callbacks(look, clear), step], functions, {}, ["gc-capsule"])
        quiet = f"{says}, and set right before anybody looks"
        right = "clear" if clear == "look" else clear
        steps = [new(), callbacks(look, clear), callbacks("look", right), step, decref()]
        yield Pair(kind, word, undefined, undefined.but(quiet, steps=steps), look)
    for word, says, clear in (
        ("destructor-clears", "A destructor is the clear function", "end"),
        ("traverse-clears", "A traverse function is the clear function", "look"),
    ):
        functions = {name: TYPES[name] for name in ("cyclic", "let_go", clear)}
        begun = [new(), callbacks("cyclic", clear)]
        undefined = Program(says, [*begun, call("gc.collect")], functions, {}, ["gc-capsule"])
        title = f"{says}, and nothing is cleared while a reference is left"
        steps = [*begun, call("Py_INCREF", op=ref("c")), call("gc.collect"), decref(), decref()]
        yield Pair(kind, word, undefined, undefined.but(title, steps=steps), clear)


def negative() -> Iterator[Pair]:
    """Yield references that are given back and were nobody's, beside those that were somebody's."""
    kind = Kind.NEGATIVE_REFCOUNT
    for op, word in (("Py_DECREF", "decref"), ("Py_DecRef", "dec-ref")):
        name = "op" if op == "Py_DECREF" else "o"
        begun = [new("other"), new(end=function("d")), decref()]
        undefined = Program(
            f"A destructor gives its own capsule back with {op}",
            begun,
            {"d": destructor(call(op, None, None, **{name: ARG}))},
        )
        title = f"A destructor gives another capsule back with {op}"
        defined = undefined.but(title, functions={"d": destructor(call(op, None, None, **{name: ref("other")}))})
        yield Pair(kind, f"{word}-in-destructor", undefined, defined, "c")
        for what in ("int", "list", "str", "tuple"):
            given = call(op, None, None, **{name: obj(what)})
            taken = call("Py_INCREF", op=obj(what))
            undefined = Program(f"A borrowed reference is given back with {op}: {what}", [new(), given])
            title = f"A reference that was taken is given back with {op}: {what}"
            yield Pair(
                kind, f"{word}-{what}", undefined, undefined.but(title, steps=[new(), taken, given, decref()]), what
            )
    functions = {"d": destructor(call("Py_DECREF", op=ref("c")))}
    undefined = Program(
        "A destructor gives its own capsule back by its name",
        [new("other"), new(end=function("d")), decref()],
        functions,
    )
    title = "A destructor gives another capsule back by its name"
    defined = undefined.but(title, functions={"d": destructor(call("Py_DECREF", op=ref("other")))})
    yield Pair(kind, "named-in-destructor", undefined, defined, "c")
    chain = [new(end=function("first")), new("b", end=function("second")), decref()]
    functions = {"first": destructor(decref("b")), "second": destructor(decref("c"))}
    undefined = Program("A capsule further down a chain gives the first one back", chain, functions)
    title = "A capsule further down a chain gives back a third one"
    defined = undefined.but(title, steps=[new("x"), *chain], functions=functions | {"second": destructor(decref("x"))})
    yield Pair(kind, "chain", undefined, defined, "c")
    functions = {"d": destructor(call("Py_INCREF", op=ref("x")), decref("x"), decref("c"))}
    undefined = Program(
        "A destructor gives back what it took, and its own capsule, too",
        [new("x"), new(end=function("d")), decref()],
        functions,
    )
    title = "A destructor gives back what it took, and what it owned"
    defined = undefined.but(
        title, functions={"d": destructor(call("Py_INCREF", op=ref("x")), decref("x"), decref("x"))}
    )
    yield Pair(kind, "one-too-many", undefined, defined, "c")


def reentered() -> Iterator[Pair]:
    """Yield destructors that bring their capsule to its end again, beside those that do so to another one."""
    kind = Kind.DEALLOC_REENTERED
    begun, end = [new("other"), new(end=function("d"))], [decref("c"), decref("other")]
    plain = (call("Py_INCREF", op=ARG), call("Py_DECREF", op=ARG))
    by_function = (call("Py_IncRef", o=ARG), call("Py_DecRef", o=ARG))
    lost = {"pending": {"type": "ValueError", "text": "lost"}}
    for word, says, wrong in (
        ("counted", "takes a reference and gives it back", plain),
        ("counted-by-function", "takes a reference and gives it back by the functions", by_function),
        ("counted-twice", "takes two references and gives them back", (plain[0], *plain, plain[1])),
        ("renamed", "renames, takes a reference and gives it back",
         (call("PyCapsule_SetName", capsule=ARG, name=cstr("b")), *plain)),
        ("unraisable", "reports an error in it", (call("PyErr_WriteUnraisable", None, lost, obj=ARG),)),
    ):  # fmt: skip
        right = tuple({**step, "args": {**step["args"], next(iter(step["args"])): ref("other")}} for step in wrong)
        undefined = Program(f"A destructor {says}, of its own capsule", [*begun, *end], {"d": destructor(*wrong)})
        undefined = undefined.but(undefined.title, steps=[*begun, decref("c")])
        title = f"A destructor {says}, of another capsule"
        defined = undefined.but(title, functions={"d": destructor(*right)}, steps=[*begun, *end])
        yield Pair(kind, word, undefined, defined, "c")
        once = destructor(call("PyCapsule_SetDestructor", capsule=ARG, destructor=None), *wrong)
        undefined = Program(
            f"A destructor lets go of itself and {says}, of its own capsule", [*begun, decref("c")], {"d": once}
        )
        first = call("PyCapsule_SetDestructor", capsule=ARG, destructor=None)
        title = f"A destructor lets go of itself and {says}, of another capsule"
        defined = undefined.but(title, functions={"d": destructor(first, *right)}, steps=[*begun, *end])
        yield Pair(kind, f"{word}-once", undefined, defined, "c")
    look = call("PyObject_GetAttrString", o=ARG, attr_name=cstr("missing"))
    other = call("PyObject_GetAttrString", o=ref("other"), attr_name=cstr("missing"))
    undefined = Program("A destructor asks its own capsule for an attribute, and the exception keeps it",
                        [*begun, decref("c")], {"d": destructor(look)}, {}, ["attribute-error-context"])  # fmt: skip
    title = "A destructor asks another capsule for an attribute, and the exception keeps that"
    defined = undefined.but(title, functions={"d": destructor(other)}, steps=[*begun, *end])
    yield Pair(kind, "attribute-error", undefined, defined, "c")


def pending() -> Iterator[Pair]:
    """Yield calls that run code of their own while an exception is pending, beside those with none."""
    kind = Kind.PENDING_EXCEPTION
    box = {"box": {"attrs": {"a": {"capsule": {"pointer": ptr(), "name": cstr("box.a")}}}}}
    loaded = {"box": {**box["box"], "loaded": True}}
    calls: tuple[tuple[str, str, Step, dict[str, Any]], ...] = (
        ("import", "PyCapsule_Import", call("PyCapsule_Import", name=cstr("box.a"), no_block=0), loaded),
        ("import-no-block", "PyCapsule_Import that shall not block",
         call("PyCapsule_Import", name=cstr("box.a"), no_block=1), loaded),
        ("import-body", "PyCapsule_Import that runs a module",
         call("PyCapsule_Import", name=cstr("box.a"), no_block=0), box),
        ("import-missing", "PyCapsule_Import of a module that is not there",
         call("PyCapsule_Import", name=cstr("nobody.a"), no_block=0), {}),
        ("import-module", "An import", call("import", module=cstr("box")), loaded),
        ("import-module-body", "An import that runs a module", call("import", module=cstr("box")), box),
        ("repr", "PyObject_Repr", call("PyObject_Repr", o=ref("c")), {}),
        ("str", "PyObject_Str", call("PyObject_Str", o=ref("c")), {}),
        ("call", "PyObject_Call", call("PyObject_Call", callable=ref("c")), {}),
        ("is-instance", "PyObject_IsInstance",
         call("PyObject_IsInstance", inst=ref("c"), cls=obj("PyCapsule_Type")), {}),
        ("get-attr", "PyObject_GetAttrString", call("PyObject_GetAttrString", o=ref("c"), attr_name=cstr("x")), {}),
        ("set-attr", "PyObject_SetAttrString",
         call("PyObject_SetAttrString", o=ref("c"), attr_name=cstr("x"), v=INT), {}),
    )  # fmt: skip
    raised = {"pending": {"type": "ValueError", "text": "pending"}}
    for word, says, step, modules in calls:
        undefined = Program(f"{says} while an exception is pending", [new(), step | raised], {}, modules)
        title = f"{says} while no exception is pending"
        yield Pair(kind, word, undefined, undefined.but(title, steps=[new(), step, decref()]))
    left = call("PyErr_SetString", None, {"leave": True}, type=cstr("ValueError"), message=cstr("left"))
    cleared = call("PyErr_Clear", None, {"leave": True})
    look = call("PyObject_Repr", o=ref("c"))
    undefined = Program("PyObject_Repr after an exception was set", [new(), left, look])
    title = "PyObject_Repr after an exception was set and cleared"
    yield Pair(kind, "left", undefined, undefined.but(title, steps=[new(), left, cleared, look, decref()]))
    begun = [new("other"), new(end=function("d"))]
    for word, inner in (("repr-in-destructor", call("PyObject_Repr", o=ref("other"))),
                        ("call-in-destructor", call("PyObject_Call", callable=ref("other")))):  # fmt: skip
        functions = {"d": destructor(inner)}
        undefined = Program(
            f"{inner['op']} in a destructor that found an exception pending", [*begun, decref() | raised], functions
        )
        title = f"{inner['op']} in a destructor that found none"
        yield Pair(kind, word, undefined, undefined.but(title, steps=[*begun, decref(), decref("other")]))


def no_exception() -> Iterator[Pair]:
    """Yield reports of an exception where none is pending, beside those where one is."""
    kind = Kind.NO_EXCEPTION
    raised = {"pending": {"type": "ValueError", "text": "raised"}}
    for word, says, address, token in (
        ("capsule", "about a capsule", ref("c"), "c"), ("null", "about nothing", None, None),
        ("int", "about an int", INT, "int"), ("none", "about None", obj("None"), "None"),
        ("type", "about the type of capsules", obj("PyCapsule_Type"), "PyCapsule_Type"),
    ):  # fmt: skip
        step = call("PyErr_WriteUnraisable", obj=address)
        undefined = Program(f"PyErr_WriteUnraisable {says}, and nothing is pending", [new(), step])
        title = f"PyErr_WriteUnraisable {says}, and an exception is pending"
        yield Pair(kind, word, undefined, undefined.but(title, steps=[new(), step | raised, decref()]), token)
    report = call("PyErr_WriteUnraisable", obj=None)
    for word, says, between in (
        ("cleared", "cleared", call("PyErr_Clear", None, {"leave": True})),
        ("reported", "reported", call("PyErr_WriteUnraisable", None, {"leave": True}, obj=None)),
    ):
        left = call("PyErr_SetString", None, {"leave": True}, type=cstr("ValueError"), message=cstr("left"))
        undefined = Program(f"PyErr_WriteUnraisable after the exception was {says}", [left, between, report])
        title = f"PyErr_WriteUnraisable after the exception was {says} and another one set"
        last = {**report, "leave": True}
        yield Pair(kind, word, undefined, undefined.but(title, steps=[left, between, left, last]))
    begun = [new(end=function("d"))]
    functions = {"d": destructor(report)}
    undefined = Program("A destructor reports an exception, and none is pending", [*begun, decref()], functions)
    title = "A destructor reports the exception that is pending"
    yield Pair(kind, "in-destructor", undefined, undefined.but(title, steps=[*begun, decref() | raised]))
