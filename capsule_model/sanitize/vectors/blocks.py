"""Blocks of memory: freed twice, freed where none begins, read and written past their ends, read before written."""

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
from capsule_model.undefined import Kind

__all__ = ["double_free", "freed", "invalid_free", "leaks", "out_of_bounds", "read_only", "unwritten", "wild"]


def get(bind: str, what: str, capsule: Argument) -> Step:
    """Return the step that gets the pointer, the name, the context or the destructor of a capsule."""
    named = {"name": cstr("a")} if what == "Pointer" else {}
    return call(f"PyCapsule_Get{what}", bind, capsule=capsule, **named)


def filled(bind: str, size: int) -> list[Step]:
    """Return the steps that allocate a block and write all of it."""
    return [malloc(bind, size), write(ref(bind), bytes(range(size % 251)) + bytes(size - size % 251))]


def freed() -> Iterator[Pair]:
    """Yield blocks that are read and written after they were freed."""
    kind = Kind.USE_AFTER_FREE
    for word, says, step in (
        ("read", "A read of a block", read(ref("m"), 1)),
        ("read-last", "A read of the last byte of a block", read(ref("m", 7), 1)),
        ("write", "A write to a block", write(ref("m"), b"a")),
        ("write-last", "A write to the last byte of a block", write(ref("m", 7), b"a")),
    ):
        begun = filled("m", 8)
        undefined = Program(f"{says} that was freed", [*begun, free(ref("m")), step])
        defined = undefined.but(f"{says} that is freed afterwards", steps=[*begun, step, free(ref("m"))])
        yield Pair(kind, word, undefined, defined, "m")
    functions = {"d": destructor(get("x", "Pointer", ARG), free(ref("x")))}
    begun = [*filled("m", 8), new(pointer=ref("m"), end=function("d"))]
    for word, step in (("read", read(ref("m"), 8)), ("write", write(ref("m"), b"a"))):
        undefined = Program(f"A {word} of what a destructor has freed", [*begun, decref(), step], functions)
        defined = undefined.but(f"A {word} of what a destructor will free", steps=[*begun, step, decref()])
        # The name that the address got last.
        yield Pair(kind, f"{word}-after-destructor", undefined, defined, "x")
    begun = [*filled("m", 8), new(), call("PyCapsule_SetContext", capsule=ref("c"), context=ref("m"))]
    through = [get("x", "Context", ref("c")), read(ref("x"), 8)]
    undefined = Program("A read through a context that was freed", [*begun, free(ref("m")), *through])
    defined = undefined.but("A read through a context that is freed afterwards")
    defined = defined.but(defined.title, steps=[*begun, *through, free(ref("m")), decref()])
    yield Pair(kind, "read-context", undefined, defined, "x")
    begun = [*filled("m", 8), new("b", pointer=ref("m"), end=function("first")), new(end=function("second"))]
    functions = {"first": destructor(free(ref("m"))), "second": destructor(read(ref("m"), 8))}
    undefined = Program("A destructor reads what another one has freed", [*begun, decref("b"), decref()], functions)
    title = "A destructor reads what another one will free"
    yield Pair(kind, "read-in-destructor", undefined, undefined.but(title, steps=[*begun, decref(), decref("b")]), "m")


def double_free() -> Iterator[Pair]:
    """Yield blocks that are freed twice, by many owners."""
    kind = Kind.DOUBLE_FREE
    for word, says, begun in (
        ("block", "A block", [malloc("m", 8)]),
        ("written-block", "A block that was written", filled("m", 8)),
        ("byte", "A block of one byte", [malloc("m", 1)]),
        ("page", "A block of a page", [malloc("m", 4096)]),
        ("string", "A string", [string("m", "a")]),
    ):
        undefined = Program(f"{says} is freed twice", [*begun, free(ref("m")), free(ref("m"))])
        title = f"{says} is freed once, and NULL after it"
        yield Pair(kind, word, undefined, undefined.but(title, steps=[*begun, free(ref("m")), free(None)]), "m")
    begun = [malloc("m", 8), free(ref("m")), malloc("k", 8)]
    undefined = Program("A block is freed again after another one was allocated", [*begun, free(ref("m"))])
    title = "A block is freed, and then another one that was allocated"
    yield Pair(kind, "after-malloc", undefined, undefined.but(title, steps=[*begun, free(ref("k"))]), "m")
    frees = {"d": destructor(get("x", "Pointer", ARG), free(ref("x")))}
    undefined = Program("The owner frees what its capsule's destructor has freed",
                        [malloc("m", 8), new(pointer=ref("m"), end=function("d")), decref(), free(ref("m"))],
                        frees)  # fmt: skip
    title = "The owner frees what no destructor has freed"
    steps = [malloc("m", 8), new(pointer=ref("m")), decref(), free(ref("m"))]
    yield Pair(kind, "by-destructor-and-owner", undefined, undefined.but(title, steps=steps), "x")
    undefined = Program("A destructor frees what the owner has freed",
                        [malloc("m", 8), new(pointer=ref("m"), end=function("d")), free(ref("m")), decref()],
                        frees)  # fmt: skip
    title = "A destructor that was taken away does not free what the owner has freed"
    off = call("PyCapsule_SetDestructor", capsule=ref("c"), destructor=None)
    steps = [malloc("m", 8), new(pointer=ref("m"), end=function("d")), free(ref("m")), off, decref()]
    yield Pair(kind, "by-owner-and-destructor", undefined, undefined.but(title, steps=steps), "x")
    made = [new("b", pointer=ref("m"), end=function("d")), new(pointer=ref("m"), end=function("d"))]
    undefined = Program("Two capsules own one block", [malloc("m", 8), *made, decref("b"), decref()], frees)
    apart = [new("b", pointer=ref("m"), end=function("d")), new(pointer=ref("k"), end=function("d"))]
    title = "Two capsules own a block each"
    steps = [malloc("m", 8), malloc("k", 8), *apart, decref("b"), decref()]
    yield Pair(kind, "two-owners", undefined, undefined.but(title, steps=steps), "x#2")
    yield from _twice_in_destructors(kind)


def _twice_in_destructors(kind: Kind) -> Iterator[Pair]:
    both = [get("x", "Pointer", ARG), get("y", "Context", ARG), free(ref("x")), free(ref("y"))]
    functions = {"d": destructor(*both)}
    stored = call("PyCapsule_SetContext", capsule=ref("c"), context=ref("m"))
    undefined = Program("A destructor frees pointer and context, which are one block",
                        [malloc("m", 8), new(pointer=ref("m"), end=function("d")), stored, decref()],
                        functions)  # fmt: skip
    other = call("PyCapsule_SetContext", capsule=ref("c"), context=ref("k"))
    steps = [malloc("m", 8), malloc("k", 8), new(pointer=ref("m"), end=function("d")), other, decref()]
    title = "A destructor frees pointer and context, which are two blocks"
    yield Pair(kind, "pointer-is-context", undefined, undefined.but(title, steps=steps), "y")
    functions = {"d": destructor(get("x", "Name", ARG), free(ref("x")), free(ref("n")))}
    begun = [string("n", "a"), new(name=ref("n"), end=function("d")), decref()]
    undefined = Program("A destructor frees the name, and the string that it is", begun, functions)
    once = {"d": destructor(get("x", "Name", ARG), free(ref("n")))}
    title = "A destructor frees the string that is the name"
    yield Pair(kind, "name-is-string", undefined, undefined.but(title, functions=once), "x")
    # The new name is the old one: who frees the old one frees both.
    functions = {"d": destructor(get("x", "Name", ARG), free(ref("x")))}
    begun = [string("n", "a"), string("m", "a"), new(name=ref("n"), end=function("d")), free(ref("n"))]
    for_same = call("PyCapsule_SetName", capsule=ref("c"), name=ref("n"))
    for_new = call("PyCapsule_SetName", capsule=ref("c"), name=ref("m"))
    undefined = Program("A capsule keeps a name that was freed, and its destructor frees it",
                        [*begun, for_same, decref()], functions)  # fmt: skip
    title = "A capsule gets a new name when the old one was freed, and its destructor frees that"
    yield Pair(kind, "renamed-to-freed", undefined, undefined.but(title, steps=[*begun, for_new, decref()]), "x")
    inner, outer = destructor(free(ref("m"))), destructor(decref("b"), free(ref("m")))
    begun = [malloc("m", 8), new("b", end=function("inner")), new(end=function("outer")), decref()]
    undefined = Program("A destructor frees what a destructor inside it has freed", begun,
                        {"inner": inner, "outer": outer})  # fmt: skip
    title = "A destructor does not free what a destructor inside it has freed"
    functions = {"inner": inner, "outer": destructor(decref("b"))}
    yield Pair(kind, "nested", undefined, undefined.but(title, functions=functions), "m")
    modules: dict[str, Any] = {"box": {"attrs": {"a": {"capsule": {"pointer": ref("m"), "name": cstr("box.a")}}}}}
    imported = call("PyCapsule_Import", "x", name=cstr("box.a"), no_block=0)
    undefined = Program("What PyCapsule_Import returned is freed, and again by its owner",
                        [malloc("m", 8), imported, free(ref("x")), free(ref("m"))], {}, modules)  # fmt: skip
    title = "What PyCapsule_Import returned is freed by its owner alone"
    yield Pair(kind, "imported", undefined, undefined.but(title, steps=[malloc("m", 8), imported, free(ref("m"))]), "x")
    functions = {
        "look": {"kind": "traverse", "visit": [ref("c")]},
        "let_go": {"kind": "clear", "steps": [free(ref("m")), call("Py_DECREF", op=ARG)]},
        "d": destructor(free(ref("m"))),
    }
    tracked = call("_PyCapsule_SetTraverse", op=ref("c"), traverse_func=function("look"), clear_func=function("let_go"))
    begun = [malloc("m", 8), new(end=function("d")), tracked, call("gc.collect")]
    undefined = Program("Clear function and destructor free the same block", begun, functions, {}, ["gc-capsule"])
    quiet = functions | {"let_go": {"kind": "clear", "steps": [call("Py_DECREF", op=ARG)]}}
    title = "The destructor alone frees the block, not the clear function"
    yield Pair(kind, "clear-and-destructor", undefined, undefined.but(title, functions=quiet), "m")


def invalid_free() -> Iterator[Pair]:
    """Yield addresses that `malloc` never returned, beside those that it did."""
    kind = Kind.INVALID_FREE
    for word, says, by in (
        ("second-byte", "the second byte", 1), ("second-word", "the second word", 8), ("middle", "the middle", 16),
        ("end", "the end", 32), ("before", "the word before the beginning", -8), ("far", "what lies 48 bytes from", 48),
    ):  # fmt: skip
        undefined = Program(f"free with {says} of a block", [malloc("m", 32), free(ref("m", by))])
        defined = undefined.but("free with the beginning of a block", steps=[malloc("m", 32), free(ref("m"))])
        yield Pair(kind, word, undefined, defined, "m")
    undefined = Program("free with a literal", [free(cstr("a"))])
    steps = [string("n", "a"), free(ref("n"))]
    yield Pair(kind, "literal", undefined, undefined.but("free with a string", steps=steps), "#0.ptr")
    undefined = Program("free with an opaque address", [free(ptr())])
    yield Pair(kind, "opaque", undefined, undefined.but("free with NULL", steps=[free(None)]), "p")
    undefined = Program("free with a function", [free(function("d"))], {"d": destructor()})
    yield Pair(kind, "function", undefined, undefined.but("free with no function, but NULL", steps=[free(None)]), "d")
    block = [malloc("m", 32), new(pointer=ref("m"))]
    for word, says, wrong, token in (
        ("capsule", "with a capsule", ref("c"), "c"),
        ("capsule-inside", "with the second word of a capsule", ref("c", 8), None),
        ("capsule-third-word", "with the third word of a capsule", ref("c", 16), None),
    ):
        undefined = Program(f"free {says}", [*block, free(wrong)])
        defined = undefined.but("free with what a capsule points to", steps=[*block, free(ref("m")), decref()])
        yield Pair(kind, word, undefined, defined, token)
    for word, kinds in (("int", "int"), ("none", "None"), ("list", "list"), ("type", "PyCapsule_Type")):
        undefined = Program(f"free with a Python object: {kinds}", [malloc("m", 8), free(obj(kinds))])
        defined = undefined.but(f"free with a block, and no use of a Python object: {kinds}")
        yield Pair(kind, word, undefined, defined.but(defined.title, steps=[malloc("m", 8), free(ref("m"))]), kinds)
    undefined = Program("free with a module", [malloc("m", 8), free({"module": "box"})], {}, module_with(cstr("a")))
    steps = [malloc("m", 8), free(ref("m"))]
    yield Pair(kind, "module", undefined, undefined.but("free with a block, not with a module", steps=steps), "box")
    yield from _wrongly_freed_in_destructors(kind)


def _wrongly_freed_in_destructors(kind: Kind) -> Iterator[Pair]:
    for what, token in (("Pointer", "x"), ("Context", "x"), ("Name", "x")):
        functions = {"d": destructor(get("x", what, ARG), free(ref("x")))}
        stored = call("PyCapsule_SetContext", capsule=ref("c"), context=ptr("q"))
        kept = call("PyCapsule_SetContext", capsule=ref("c"), context=ref("m"))
        begun = [string("m", "a"), new(end=function("d"))]
        good = [string("m", "a"), new(name=ref("m"), pointer=ref("m"), end=function("d"))]
        context = what == "Context"
        word = what.lower()
        undefined = Program(f"A destructor frees a {word} that is not a block's",
                            [*begun, *([stored] if context else []), decref()], functions)  # fmt: skip
        defined = undefined.but(f"A destructor frees a {word} that is a block's")
        steps = [*good, *([kept] if context else []), decref()]
        yield Pair(kind, f"{word}-in-destructor", undefined, defined.but(defined.title, steps=steps), token)
    undefined = Program("A destructor frees the capsule itself",
                        [malloc("m", 8), new(pointer=ref("m"), end=function("d")), decref()],
                        {"d": destructor(free(ARG))})  # fmt: skip
    title = "A destructor frees what the capsule points to"
    yield Pair(
        kind, "arg-in-destructor", undefined, undefined.but(title, functions={"d": destructor(free(ref("m")))}), "c"
    )


def out_of_bounds() -> Iterator[Pair]:
    """Yield reads and writes that begin or end outside of a block, beside those one byte shorter or further in."""
    kind = Kind.OUT_OF_BOUNDS
    for size in (1, 7, 8, 16, 24, 100, 4096):
        begun = filled("m", size)
        blocks = f"a block of {size}" if size > 1 else "a block of one byte"
        for word, says, wrong, right in (
            ("read-past", "A read", read(ref("m"), size + 1), read(ref("m"), size)),
            ("write-past", "A write", write(ref("m"), bytes(size + 1)), write(ref("m"), bytes(size))),
        ):
            undefined = Program(f"{says} ends one byte behind {blocks}", [*begun, wrong])
            title = f"{says} ends with {blocks}"
            defined = undefined.but(title, steps=[*begun, right, free(ref("m"))])
            yield Pair(kind, f"{word}-{_worded(size)}", undefined, defined, "m")
    for word, says, wrong, right in (
        ("read-end", "A read behind the end", read(ref("m", 8), 1), read(ref("m", 7), 1)),
        ("read-before", "A read before the beginning", read(ref("m", -1), 1), read(ref("m"), 1)),
        ("read-across", "A read across the beginning", read(ref("m", -4), 8), read(ref("m"), 8)),
        ("read-over", "A read across the end", read(ref("m", 4), 8), read(ref("m", 4), 4)),
        ("read-far", "A read far behind the end", read(ref("m", 20), 1), read(ref("m", 2), 1)),
        ("write-end", "A write behind the end", write(ref("m", 8), b"a"), write(ref("m", 7), b"a")),
        ("write-before", "A write before the beginning", write(ref("m", -1), b"a"), write(ref("m"), b"a")),
        ("write-across", "A write across the beginning", write(ref("m", -4), bytes(8)), write(ref("m"), bytes(8))),
        ("write-over", "A write across the end", write(ref("m", 4), bytes(8)), write(ref("m", 4), bytes(4))),
    ):  # fmt: skip
        begun = filled("m", 8)
        undefined = Program(f"{says} of a block", [*begun, wrong])
        title = f"{says} of a block stays inside after all"
        yield Pair(kind, word, undefined, undefined.but(title, steps=[*begun, right, free(ref("m"))]), "m")
    yield from _past_capsules(kind)
    yield from _past_in_destructors(kind)


def _worded(size: int) -> str:
    words = {1: "one", 7: "seven", 8: "eight", 16: "sixteen", 24: "two-dozen", 100: "hundred", 4096: "page"}
    return words[size]


def _past_capsules(kind: Kind) -> Iterator[Pair]:
    # The struct has eight words where the collector may see through a capsule.
    for word, says, wrong, right in (
        ("struct-read", "A read behind the struct of a capsule", read(ref("c", 64), 1), read(ref("c", 56), 1)),
        ("struct-read-over", "A read across the end of the struct of a capsule",
         read(ref("c", 60), 8), read(ref("c", 56), 8)),
        ("struct-write", "A write behind the struct of a capsule",
         write(ref("c", 64), b"a"), write(ref("c", 32), b"a")),
    ):  # fmt: skip
        undefined = Program(says, [new(), wrong], {}, {}, ["gc-capsule"])
        defined = undefined.but(f"{says} stays inside after all", steps=[new(), right, decref()])
        yield Pair(kind, word, undefined, defined, "c")


def _past_in_destructors(kind: Kind) -> Iterator[Pair]:
    begun = [*filled("m", 8), new(pointer=ref("m"), end=function("d")), decref()]
    for word, says, wrong, right in (
        ("read", "reads", read(ref("x"), 9), read(ref("x"), 8)),
        ("write", "writes", write(ref("x"), bytes(9)), write(ref("x"), bytes(8))),
    ):
        functions = {"d": destructor(get("x", "Pointer", ARG), wrong, free(ref("x")))}
        undefined = Program(f"A destructor {says} one byte more than its block has", begun, functions)
        functions = {"d": destructor(get("x", "Pointer", ARG), right, free(ref("x")))}
        title = f"A destructor {says} as many bytes as its block has"
        yield Pair(kind, f"{word}-in-destructor", undefined, undefined.but(title, functions=functions), "x")
    begun = [*filled("m", 8), new(), call("PyCapsule_SetContext", capsule=ref("c"), context=ref("m", 4))]
    got = get("x", "Context", ref("c"))
    end = [decref(), free(ref("m"))]
    undefined = Program("A read through a context in the middle of a block goes past its end",
                        [*begun, got, read(ref("x"), 5)])  # fmt: skip
    title = "A read through a context in the middle of a block goes to its end"
    yield Pair(kind, "read-context", undefined, undefined.but(title, steps=[*begun, got, read(ref("x"), 4), *end]), "m")
    undefined = Program("A literal is read past its NUL", [read(cstr("abc"), 5)])
    title = "A literal is read to its NUL"
    yield Pair(kind, "read-literal", undefined, undefined.but(title, steps=[read(cstr("abc"), 4)]), "#0.ptr")
    undefined = Program("A literal is written to past its NUL", [write(cstr("abc"), b"abcde")])
    title = "A literal is written to, its NUL included"
    yield Pair(kind, "write-literal", undefined, undefined.but(title, steps=[write(cstr("abc"), b"abcd")]), "#0.ptr")
    undefined = Program("An opaque place is written to behind its end", [write(ptr(), bytes(17))])
    steps = [malloc("m", 17), write(ref("m"), bytes(17)), free(ref("m"))]
    title = "A block is written to, not an opaque place"
    yield Pair(kind, "write-opaque", undefined, undefined.but(title, steps=steps), "p")


def unwritten() -> Iterator[Pair]:
    """Yield reads of memory that nobody has written, beside those of what was written."""
    kind = Kind.UNINITIALISED_READ
    for size in (1, 8, 24, 4096):
        undefined = Program(f"A block of {size} is read before it was written", [malloc("m", size), read(ref("m"), 1)])
        title = f"A block of {size} is read after it was written"
        steps = [malloc("m", size), write(ref("m"), bytes(size)), read(ref("m"), 1), free(ref("m"))]
        yield Pair(kind, f"block-{_worded(size)}", undefined, undefined.but(title, steps=steps), "m")
    begun = [malloc("m", 8), write(ref("m"), bytes(4))]
    for word, says, wrong, right in (
        ("one-more", "One byte more than was written", read(ref("m"), 5), read(ref("m"), 4)),
        ("next", "The byte behind what was written", read(ref("m", 4), 1), read(ref("m", 3), 1)),
        ("last", "The last byte of a block that was half written", read(ref("m", 7), 1), read(ref("m"), 1)),
    ):
        undefined = Program(f"{says} is read", [*begun, wrong])
        defined = undefined.but(f"{says} is not read", steps=[*begun, right, free(ref("m"))])
        yield Pair(kind, word, undefined, defined, "m")
    begun = [malloc("m", 8), write(ref("m"), bytes(3)), write(ref("m", 4), bytes(4))]
    undefined = Program("A hole between two writes is read", [*begun, read(ref("m"), 8)])
    steps = [malloc("m", 8), write(ref("m"), bytes(4)), write(ref("m", 4), bytes(4)), read(ref("m"), 8), free(ref("m"))]
    yield Pair(kind, "hole", undefined, undefined.but("Two writes leave no hole, and all is read", steps=steps), "m")
    filler = [malloc("k", 8), write(ref("k"), bytes(8)), free(ref("k")), malloc("m", 8)]
    undefined = Program("A block is read of which an earlier owner had written its own", [*filler, read(ref("m"), 8)])
    steps = [*filler, write(ref("m"), bytes(8)), read(ref("m"), 8), free(ref("m"))]
    title = "A block is read that was written since the earlier owner freed its own"
    yield Pair(kind, "after-free", undefined, undefined.but(title, steps=steps), "m")
    functions = {"d": destructor(get("x", "Pointer", ARG), read(ref("x"), 8), free(ref("x")))}
    made = [malloc("m", 8), new(pointer=ref("m"), end=function("d"))]
    undefined = Program("A destructor reads a block that nobody wrote", [*made, decref()], functions)
    title = "A destructor reads a block that somebody wrote"
    steps = [*made, write(ref("m"), bytes(8)), decref()]
    yield Pair(kind, "in-destructor", undefined, undefined.but(title, steps=steps), "x")
    undefined = Program("An opaque place is read", [read(ptr(), 1)])
    title = "A block is read, no opaque place"
    steps = [malloc("m", 1), write(ref("m"), b"a"), read(ref("m"), 1), free(ref("m"))]
    yield Pair(kind, "opaque", undefined, undefined.but(title, steps=steps), "p")
    undefined = Program("What a capsule points to is read, and it is opaque",
                        [new(), get("x", "Pointer", ref("c")), read(ref("x"), 8)])  # fmt: skip
    steps = [*filled("m", 8), new(pointer=ref("m")), get("x", "Pointer", ref("c")), read(ref("x"), 8), decref(),
             free(ref("m"))]  # fmt: skip
    title = "What a capsule points to is read, and it was written"
    yield Pair(kind, "opaque-pointer", undefined, undefined.but(title, steps=steps), "x")


def read_only() -> Iterator[Pair]:
    """Yield writes to what may only be passed on, beside those to a block."""
    kind = Kind.READ_ONLY_WRITE
    block, gone = [malloc("m", 16)], [free(ref("m"))]
    for word, says, by, size in (
        ("byte", "one byte", 0, 1),
        ("all", "all bytes", 0, 16),
        ("last", "the last byte", 15, 1),
    ):
        direct = [write(ptr(), bytes(size))]
        through = [get("x", "Pointer", ref("c")), write(ref("x", by), bytes(size))]
        undefined = Program(f"A write to {says} of an opaque place", [new(), *(through if by else direct)])
        title = f"A write to {says} of a block"
        steps = [*block, new(pointer=ref("m")), write(ref("m", by), bytes(size)), decref(), *gone]
        yield Pair(kind, word, undefined, undefined.but(title, steps=steps), "x" if by else "p")
    for what in ("Pointer", "Context"):
        for word, by in (("", 0), ("-middle", 8)):
            stored = call("PyCapsule_SetContext", capsule=ref("c"), context=ptr())
            kept = call("PyCapsule_SetContext", capsule=ref("c"), context=ref("m"))
            step = write(ref("x", by), b"a")
            where = "to the middle of" if by else "to the beginning of"
            undefined = Program(f"A write through Get{what} {where} an opaque place",
                                [new(), stored, get("x", what, ref("c")), step])  # fmt: skip
            title = f"A write through Get{what} {where} a block"
            steps = [*block, new(pointer=ref("m")), kept, get("x", what, ref("c")), step, decref(), *gone]
            yield Pair(kind, f"{what.lower()}{word}", undefined, undefined.but(title, steps=steps), "x")
    functions = {"d": destructor(get("x", "Pointer", ARG), write(ref("x"), b"a"))}
    undefined = Program("A destructor writes to an opaque place", [new(end=function("d")), decref()], functions)
    steps = [*block, new(pointer=ref("m"), end=function("d")), decref(), *gone]
    yield Pair(kind, "in-destructor", undefined, undefined.but("A destructor writes to a block", steps=steps), "x")
    imported = call("PyCapsule_Import", "x", name=cstr("box.a"), no_block=0)
    undefined = Program("A write through what PyCapsule_Import returned, which is opaque",
                        [imported, write(ref("x"), b"a")], {}, module_with(cstr("box.a")))  # fmt: skip
    modules: dict[str, Any] = {"box": {"attrs": {"a": {"capsule": {"pointer": ref("m"), "name": cstr("box.a")}}}}}
    title = "A write through what PyCapsule_Import returned, which is a block"
    steps = [*block, imported, write(ref("x"), b"a"), *gone]
    yield Pair(kind, "imported", undefined, undefined.but(title, steps=steps, modules=modules), "x")
    changed = call("PyCapsule_SetPointer", capsule=ref("c"), pointer=ptr("q"))
    begun = [*block, new(pointer=ref("m"))]
    undefined = Program("A write through a pointer that was replaced by an opaque one",
                        [*begun, changed, get("x", "Pointer", ref("c")), write(ref("x"), b"a")])  # fmt: skip
    title = "A write through a pointer that was not replaced"
    steps = [*begun, get("x", "Pointer", ref("c")), write(ref("x"), b"a"), decref(), *gone]
    yield Pair(kind, "replaced", undefined, undefined.but(title, steps=steps), "x")


def wild() -> Iterator[Pair]:
    """Yield reads and writes at addresses that nobody gave out."""
    kind = Kind.WILD_POINTER
    failed = [new("x", pointer=None)]
    for word, says, wrong, right in (
        ("read-near-null", "A read 16 bytes behind NULL", read(ref("x", 16), 1), read(ref("m"), 1)),
        ("write-near-null", "A write 16 bytes behind NULL", write(ref("x", 16), b"a"), write(ref("m"), b"a")),
        ("read-before-null", "A read before NULL", read(ref("x", -8), 1), read(ref("m", 7), 1)),
    ):
        undefined = Program(says, [*failed, *filled("m", 8), wrong])
        title = f"{says} became one of a block"
        steps = [*failed, *filled("m", 8), right, free(ref("m"))]
        yield Pair(kind, word, undefined, undefined.but(title, steps=steps))
    for word, says, wrong in (("write-function", "A write to", write(function("d"), b"a")),):
        undefined = Program(f"{says} a function", [*filled("m", 8), wrong], {"d": destructor()})
        steps = [*filled("m", 8), write(ref("m"), b"a"), free(ref("m"))]
        yield Pair(kind, word, undefined, undefined.but(f"{says} a block, no function", steps=steps), "d")


def leaks() -> Iterator[Pair]:
    """Yield what is still owned when a program ends, beside what was given back."""
    kind = Kind.LEAK
    undefined = Program("A block is not freed", filled("m", 8))
    defined = undefined.but("A block is freed", steps=[*filled("m", 8), free(ref("m"))])
    yield Pair(kind, "block", undefined, defined, "m")
    undefined = Program("A capsule is not given back", [new()])
    yield Pair(kind, "capsule", undefined, undefined.but("A capsule is given back", steps=[new(), decref()]), "c")
    taken = [new(), call("Py_INCREF", op=ref("c")), decref()]
    undefined = Program("One of two references is given back", taken)
    title = "Both of two references are given back"
    yield Pair(kind, "reference", undefined, undefined.but(title, steps=[*taken, decref()]), "c")
    functions = {"d": destructor(get("x", "Pointer", ARG), free(ref("x")))}
    begun = [malloc("m", 8), new(pointer=ref("m"), end=function("d"))]
    off = call("PyCapsule_SetDestructor", capsule=ref("c"), destructor=None)
    undefined = Program("A destructor that would free a block is taken away", [*begun, off, decref()], functions)
    title = "A destructor that frees a block is left in place"
    yield Pair(kind, "no-destructor", undefined, undefined.but(title, steps=[*begun, decref()]), "m")
    moved = call("PyCapsule_SetPointer", capsule=ref("c"), pointer=ref("k"))
    undefined = Program("A pointer is replaced, and the block behind the old one is lost",
                        [*begun, malloc("k", 8), moved, decref()], functions)  # fmt: skip
    title = "A pointer is replaced, and the block behind the old one is freed"
    steps = [*begun, malloc("k", 8), moved, decref(), free(ref("m"))]
    yield Pair(kind, "replaced-pointer", undefined, undefined.but(title, steps=steps), "m")
    begun = [malloc("n", 2), write(ref("n"), b"a\0"), new(name=ref("n"))]
    renamed = call("PyCapsule_SetName", capsule=ref("c"), name=cstr("b"))
    undefined = Program("A name is replaced, and the old one is lost", [*begun, renamed, decref()])
    title = "A name is replaced, and the old one is freed"
    yield Pair(
        kind, "replaced-name", undefined, undefined.but(title, steps=[*begun, renamed, decref(), free(ref("n"))]), "n"
    )
    functions = {"d": destructor(call("PyCapsule_GetContext", "x", capsule=ARG))}
    freeing = {"d": destructor(call("PyCapsule_GetContext", "x", capsule=ARG), free(ref("x")))}
    stored = call("PyCapsule_SetContext", capsule=ref("c"), context=ref("m"))
    begun = [malloc("m", 8), new(end=function("d")), stored, decref()]
    undefined = Program("A destructor gets the context and does not free it", begun, functions)
    defined = undefined.but("A destructor gets the context and frees it", functions=freeing)
    yield Pair(kind, "context", undefined, defined, "x")
    holder = {"d": destructor()}
    begun = [new("b"), new(end=function("d")), decref()]
    undefined = Program("A destructor keeps the capsule that it owns", begun, holder)
    title = "A destructor gives back the capsule that it owns"
    yield Pair(kind, "owned", undefined, undefined.but(title, functions={"d": destructor(decref("b"))}), "b")
