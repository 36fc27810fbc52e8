"""Objects that are none: gone, NULL, inside another one, or memory of another sort."""

from __future__ import annotations

from collections.abc import Iterator

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
    free,
    function,
    malloc,
    module_with,
    new,
    obj,
    ptr,
    read,
    ref,
    string,
    write,
)
from capsule_model.sanitize.vectors.uses import BY_NAME, USES, Use
from capsule_model.undefined import Kind

__all__ = ["gone", "inside", "misaligned", "no_function_but_object", "not_objects", "null"]

# Sixteen bytes that are there to be read, so that nothing but what they mean is wrong.
ZEROS = bytes(64)
COUNTING = {"Py_INCREF": "op", "Py_IncRef": "o", "Py_DECREF": "op", "Py_DecRef": "o"}


def counting(op: str, address: Argument) -> Step:
    """Return a step that counts a reference."""
    return call(op, None, None, **{COUNTING[op]: address})


def gone() -> Iterator[Pair]:
    """Yield uses of capsules after their end, each beside the same use before it."""
    kind = Kind.USE_AFTER_FREE
    for use in USES:
        undefined = Program(
            f"{use.says} with a capsule whose last reference was given back",
            [new(), decref(), use.make(ref("c"))], use.functions, {}, use.requires,
        )  # fmt: skip
        title = f"{use.says} with a capsule whose last reference is given back after it"
        yield Pair(kind, use.word, undefined, undefined.but(title, steps=[new(), use.make(ref("c")), decref()]), "c")
    for op, word in (("Py_INCREF", "incref"), ("Py_IncRef", "inc-ref")):
        steps = [new(), decref(), counting(op, ref("c"))]
        undefined = Program(f"{op} comes after the last reference was given back", steps)
        title = f"{op} comes before the last reference is given back"
        steps = [new(), counting(op, ref("c")), decref(), decref()]
        yield Pair(kind, word, undefined, undefined.but(title, steps=steps), "c")
    for op, word in (("Py_DECREF", "decref"), ("Py_DecRef", "dec-ref")):
        undefined = Program(f"{op} gives back a reference once too often", [new(), decref(), counting(op, ref("c"))])
        taken = [new(), call("Py_INCREF", op=ref("c")), decref(), counting(op, ref("c"))]
        yield Pair(kind, word, undefined, undefined.but(f"{op} gives back a second reference", steps=taken), "c")
    yield from _gone_in_destructors()
    yield from _gone_unseen()


def _gone_in_destructors() -> Iterator[Pair]:
    kind = Kind.USE_AFTER_FREE
    for word in "is-valid get-pointer get-name set-context repr refcnt compare unraisable".split():
        use = BY_NAME[word]
        made = [new(), new("other", end=function("d"))]
        functions = {"d": destructor(use.make(ref("c")))}
        undefined = Program(
            f"{use.says} in a destructor, with another capsule that ended before",
            [*made, decref("c"), decref("other")], functions,
        )  # fmt: skip
        title = f"{use.says} in a destructor, with another capsule that ends after it"
        defined = undefined.but(title, steps=[*made, decref("other"), decref("c")])
        yield Pair(kind, f"{word}-in-destructor", undefined, defined, "c")
    for word in ("is-valid", "get-context", "set-name"):
        use = BY_NAME[word]
        made = [new(), new("other", end=function("d")), decref("other")]
        undefined = Program(
            f"{use.says} in a destructor, behind the end of the capsule that it owns",
            made, {"d": destructor(decref("c"), use.make(ref("c")))},
        )  # fmt: skip
        title = f"{use.says} in a destructor, before the end of the capsule that it owns"
        defined = undefined.but(title, functions={"d": destructor(use.make(ref("c")), decref("c"))})
        yield Pair(kind, f"{word}-of-owned", undefined, defined, "c")


def _gone_unseen() -> Iterator[Pair]:
    """Yield uses of capsules of which a reference was given back by somebody else."""
    kind = Kind.USE_AFTER_FREE
    asked = call("PyCapsule_Import", name=cstr("box.a"), no_block=0)
    value = {"a": {"capsule": {"pointer": ptr(), "name": cstr("box.a")}, "bind": "c"}}
    kept, anew = module_with(cstr("box.a")), {"box": {"loaded": True, "getattr": value}}
    for word in ("is-valid", "get-name", "set-pointer", "refcnt", "layout"):
        use = BY_NAME[word]
        undefined = Program(
            f"{use.says} with a capsule that was made for PyCapsule_Import alone", [asked, use.make(ref("c"))], {}, anew
        )
        defined = undefined.but(f"{use.says} with a capsule that a module keeps after PyCapsule_Import", modules=kept)
        yield Pair(kind, f"{word}-after-import", undefined, defined, "c")
    functions = {
        "look": {"kind": "traverse", "visit": [ref("c")]},
        "let_go": {"kind": "clear", "steps": [call("Py_DECREF", op=ARG)]},
    }
    tracked = call("_PyCapsule_SetTraverse", op=ref("c"), traverse_func=function("look"), clear_func=function("let_go"))
    for word in ("is-valid", "get-context", "is-tracked"):
        use = BY_NAME[word]
        undefined = Program(
            f"{use.says} with a capsule that a collection has ended",
            [new(), tracked, call("gc.collect"), use.make(ref("c"))], functions, {}, ["gc-capsule"],
        )  # fmt: skip
        title = f"{use.says} with a capsule that a collection ends after it"
        defined = undefined.but(title, steps=[new(), tracked, use.make(ref("c")), call("gc.collect")])
        yield Pair(kind, f"{word}-after-collection", undefined, defined, "c")
    steps = [malloc("m", 64), write(ref("m"), ZEROS), free(ref("m"))]
    for word in ("is-valid", "get-name", "check-exact"):
        use = BY_NAME[word]
        undefined = Program(f"{use.says} with a block that was freed", [*steps, use.make(ref("m"))])
        defined = undefined.but(f"{use.says} with an object, after a block was freed")
        defined = defined.but(defined.title, steps=[*steps, use.make(obj("int"))])
        yield Pair(kind, f"{word}-freed-block", undefined, defined, "m")


def null() -> Iterator[Pair]:
    """Yield uses of NULL where C looks into what it is given."""
    kind = Kind.NULL_DEREFERENCE
    for word in (
        "check-exact refcnt is-true call get-attr set-attr is-instance is-class getsizeof is-tracked referents "
        "copy deepcopy weakref layout poke"
    ).split():
        use = BY_NAME[word]
        undefined = Program(f"{use.says} with NULL", [new(), use.make(None)], use.functions, {}, use.requires)
        defined = undefined.but(f"{use.says} with a capsule", steps=[new(), use.make(ref("c")), decref()])
        yield Pair(kind, word, undefined, defined)
    for op, word in (("Py_INCREF", "incref"), ("Py_DECREF", "decref")):
        of_null = {"Py_INCREF": "Py_IncRef", "Py_DECREF": "Py_DecRef"}[op]
        undefined = Program(f"{op}, the macro, with NULL", [new(), counting(op, None)])
        steps = [new(), counting(of_null, None), decref()]
        yield Pair(kind, word, undefined, undefined.but(f"{of_null}, the function, with NULL", steps=steps))
    failed = new(pointer=None)
    undefined = Program("Py_DECREF with what a PyCapsule_New returned that failed", [failed, decref()])
    title = "Py_DECREF with what a PyCapsule_New returned that succeeded"
    yield Pair(kind, "failed-new", undefined, undefined.but(title, steps=[new(), decref()]))
    yield from _null_memory(kind)
    yield from _null_strings(kind)


def _null_memory(kind: Kind) -> Iterator[Pair]:
    for word, step in (("read", read(ref("x"), 1)), ("write", write(ref("x"), b"a"))):
        refused = call("PyCapsule_GetPointer", "x", capsule=ref("c"), name=cstr("b"))
        given = call("PyCapsule_GetPointer", "x", capsule=ref("c"), name=cstr("a"))
        made = [malloc("m", 1), write(ref("m"), b"b"), new(pointer=ref("m"))]
        undefined = Program(f"A {word} through the pointer that was refused for a wrong name", [*made, refused, step])
        end = [decref(), free(ref("m"))]
        title = f"A {word} through the pointer that was given for the right name"
        yield Pair(kind, f"{word}-refused", undefined, undefined.but(title, steps=[*made, given, step, *end]))
        asked = call("PyCapsule_GetContext", "x", capsule=ref("c"))
        stored = call("PyCapsule_SetContext", capsule=ref("c"), context=ref("m"))
        undefined = Program(f"A {word} through a context that nobody has stored", [*made, asked, step])
        title = f"A {word} through a context that was stored"
        yield Pair(kind, f"{word}-context", undefined, undefined.but(title, steps=[*made, stored, asked, step, *end]))
        asked = call("PyCapsule_Import", "x", name=cstr("box.b"), no_block=0)
        modules = {
            "box": {"loaded": True, "attrs": {"b": {"capsule": {"pointer": ref("m"), "name": cstr("box.a")}}}},
        }
        at_hand = {"box": {"attrs": modules["box"]["attrs"]}}
        named = {"box": {"attrs": {"b": {"capsule": {"pointer": ref("m"), "name": cstr("box.b")}}}}}
        begun = [malloc("m", 1), write(ref("m"), b"b"), asked, step]
        undefined = Program(f"A {word} through the pointer of an import that failed", begun, {}, at_hand)
        title = f"A {word} through the pointer of an import that succeeded"
        yield Pair(
            kind, f"{word}-import", undefined, undefined.but(title, modules=named, steps=[*begun, free(ref("m"))])
        )


def _null_strings(kind: Kind) -> Iterator[Pair]:
    nameless = [new(name=None), call("PyCapsule_GetName", "x", capsule=ref("c"))]
    named = [new(), call("PyCapsule_GetName", "x", capsule=ref("c"))]
    steps = {
        "read-name": ("Reading", read(ref("x"), 1)),
        "get-attr-name": ("An attribute by", call("PyObject_GetAttrString", o=ref("c"), attr_name=ref("x"))),
        "set-attr-name": ("Setting an attribute by",
                          call("PyObject_SetAttrString", o=ref("c"), attr_name=ref("x"), v=obj("int"))),
        "import-name": ("An import by", call("PyCapsule_Import", name=ref("x"), no_block=0)),
    }  # fmt: skip
    for word, (says, step) in steps.items():
        undefined = Program(f"{says} the name of a capsule that has none", [*nameless, step])
        title = f"{says} the name of a capsule that has one"
        yield Pair(kind, word, undefined, undefined.but(title, steps=[*named, step, decref()]))
    functions = {"d": destructor(call("PyCapsule_GetName", "x", capsule=ARG), read(ref("x"), 1))}
    undefined = Program(
        "A destructor that reads the name of a capsule without one", [new(name=None, end=function("d")), decref()],
        functions,
    )  # fmt: skip
    title = "A destructor that reads the name of a capsule with one"
    yield Pair(kind, "name-in-destructor", undefined, undefined.but(title, steps=[new(end=function("d")), decref()]))


def misaligned() -> Iterator[Pair]:
    """Yield addresses inside of an object that no object can have, beside the object's own."""
    for word, by in (
        ("is-valid", 1), ("get-pointer", 2), ("get-name", 3), ("get-context", 4), ("get-destructor", 5),
        ("check-exact", 6), ("refcnt", 7), ("set-pointer", 9), ("set-context", 12), ("repr", 1), ("is-true", 2),
        ("compare", 4), ("is-tracked", 1), ("size", 17), ("is-instance", 33),
    ):  # fmt: skip
        yield _displaced(Kind.MISALIGNED, BY_NAME[word], by)


def inside() -> Iterator[Pair]:
    """Yield addresses of words inside of an object, beside the object's own."""
    for word, by in (
        ("is-valid", 8), ("get-pointer", 16), ("get-name", 24), ("check-exact", 8), ("refcnt", 16), ("repr", 8),
        ("set-context", 8), ("get-context", 32), ("is-instance", 16),
    ):  # fmt: skip
        yield _displaced(Kind.NOT_AN_OBJECT, BY_NAME[word], by)


def _displaced(kind: Kind, use: Use, by: int) -> Pair:
    plural = "byte" if by == 1 else "bytes"
    undefined = Program(f"{use.says} with an address {by} {plural} into a capsule", [new(), use.make(ref("c", by))])
    defined = undefined.but(f"{use.says} with the address of a capsule", steps=[new(), use.make(ref("c")), decref()])
    word = f"{use.word}-inside" if kind == Kind.NOT_AN_OBJECT else use.word
    return Pair(kind, word, undefined, defined, "c")


def not_objects() -> Iterator[Pair]:
    """Yield memory that is no object where one is expected, beside an object that is no capsule."""
    kind = Kind.NOT_AN_OBJECT
    block = [malloc("m", 64), write(ref("m"), ZEROS)]
    fake = "is-valid get-pointer get-name get-destructor get-context set-pointer set-name check-exact refcnt".split()
    for word in fake:
        use = BY_NAME[word]
        undefined = Program(f"{use.says} with a block of zeros", [*block, use.make(ref("m"))])
        defined = undefined.but(f"{use.says} with an object that is no capsule")
        ends = use.make(obj("list") if word != "refcnt" else ref("c"))
        made = [new()] if word == "refcnt" else []
        last = [decref()] if word == "refcnt" else []
        steps = [*block, *made, ends, free(ref("m")), *last]
        yield Pair(kind, f"{word}-block", undefined, defined.but(defined.title, steps=steps), "m")
    for word in ("is-valid", "get-context", "check-exact", "repr", "is-true", "get-attr", "compare"):
        use = BY_NAME[word]
        undefined = Program(f"{use.says} with what a capsule points to", [new(), use.make(ptr())])
        defined = undefined.but(f"{use.says} with the capsule, not with what it points to")
        steps = [new(), use.make(ref("c")), decref()]
        yield Pair(kind, f"{word}-opaque", undefined, defined.but(defined.title, steps=steps), "p")
    for word in ("is-valid", "get-name", "set-context", "check-exact"):
        use = BY_NAME[word]
        undefined = Program(f"{use.says} with a C string", [string("n", "a"), new(name=ref("n")), use.make(ref("n"))])
        defined = undefined.but(f"{use.says} with the capsule that has the string for a name")
        steps = [string("n", "a"), new(name=ref("n")), use.make(ref("c")), decref()]
        yield Pair(kind, f"{word}-string", undefined, defined.but(defined.title, steps=steps), "n")
    for op, word in (("Py_INCREF", "incref"), ("Py_IncRef", "inc-ref")):
        undefined = Program(f"{op} with a block of zeros", [*block, new(), counting(op, ref("m"))])
        steps = [*block, new(), counting(op, ref("c")), decref(), decref(), free(ref("m"))]
        yield Pair(kind, f"{word}-block", undefined, undefined.but(f"{op} with a capsule", steps=steps), "m")


def no_function_but_object() -> Iterator[Pair]:
    """Yield functions that are taken for objects."""
    kind = Kind.WILD_POINTER
    for word in "is-valid get-pointer get-name set-context check-exact refcnt repr".split():
        use = BY_NAME[word]
        functions = {"d": destructor()}
        undefined = Program(
            f"{use.says} with the destructor in place of the capsule",
            [new(end=function("d")), use.make(function("d"))], functions,
        )  # fmt: skip
        defined = undefined.but(f"{use.says} with the capsule, not with its destructor")
        steps = [new(end=function("d")), use.make(ref("c")), decref()]
        yield Pair(kind, f"{word}-function", undefined, defined.but(defined.title, steps=steps), "d")
    undefined = Program(
        "Py_INCREF with the destructor in place of the capsule",
        [new(end=function("d")), counting("Py_INCREF", function("d"))], {"d": destructor()},
    )  # fmt: skip
    steps = [new(end=function("d")), counting("Py_INCREF", ref("c")), decref(), decref()]
    title = "Py_INCREF with the capsule, not with its destructor"
    yield Pair(kind, "incref-function", undefined, undefined.but(title, steps=steps), "d")
    for word in ("is-valid", "get-name", "check-exact", "refcnt"):
        use = BY_NAME[word]
        failed = new("x", pointer=None)
        undefined = Program(f"{use.says} with an address eight bytes behind NULL", [failed, use.make(ref("x", 8))])
        defined = undefined.but(f"{use.says} with a capsule, where NULL was not returned")
        steps = [new("x"), use.make(ref("x")), decref("x")]
        yield Pair(kind, f"{word}-near-null", undefined, defined.but(defined.title, steps=steps))
