"""Names that cannot be read: freed, never written, without an end, or no strings at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    new,
    obj,
    ptr,
    ref,
    string,
    write,
)
from capsule_model.undefined import Kind

__all__ = ["freed", "no_strings", "unterminated", "unwritten"]


@dataclass(frozen=True, slots=True)
class Reader:
    """A way to read a name: its word, how a title speaks of it, and the steps that read it, in a program of their own.

    `around` gives the steps before and behind the reading one for the address of the name.
    """

    word: str
    says: str
    before: Callable[[Argument], list[Step]]
    step: Callable[[Argument], Step]
    after: tuple[Step, ...] = ()
    box: bool = False

    def modules(self, name: Argument) -> dict[str, Any]:
        """Return the modules that it needs, where it reads the name of a capsule in one."""
        if not self.box:
            return {}
        return {"box": {"attrs": {"a": {"capsule": {"pointer": ptr(), "name": name}, "bind": "c"}}}}


def _is_valid(asked: Argument) -> Step:
    return call("PyCapsule_IsValid", capsule=ref("c"), name=asked)


def _get_pointer(asked: Argument) -> Step:
    return call("PyCapsule_GetPointer", capsule=ref("c"), name=asked)


LIKE = cstr("box.a")
READERS: tuple[Reader, ...] = (
    Reader("stored-is-valid", "PyCapsule_IsValid compares a stored name",
           lambda name: [new(name=name)], lambda name: _is_valid(LIKE), (decref(),)),
    Reader("stored-get-pointer", "PyCapsule_GetPointer compares a stored name",
           lambda name: [new(name=name)], lambda name: _get_pointer(LIKE), (decref(),)),
    Reader("stored-repr", "PyObject_Repr shows a stored name",
           lambda name: [new(name=name)], lambda name: call("PyObject_Repr", o=ref("c")), (decref(),)),
    Reader("stored-str", "PyObject_Str shows a stored name",
           lambda name: [new(name=name)], lambda name: call("PyObject_Str", o=ref("c")), (decref(),)),
    Reader("set-is-valid", "PyCapsule_IsValid compares a name set later",
           lambda name: [new(), call("PyCapsule_SetName", capsule=ref("c"), name=name)],
           lambda name: _is_valid(LIKE), (decref(),)),
    Reader("poked-get-pointer", "PyCapsule_GetPointer compares a poked name",
           lambda name: [new(), call("poke", op=ref("c"), field="name", value=name)],
           lambda name: _get_pointer(LIKE), (decref(),)),
    Reader("asked-is-valid", "PyCapsule_IsValid compares a given name",
           lambda name: [new(name=LIKE)], _is_valid, (decref(),)),
    Reader("asked-get-pointer", "PyCapsule_GetPointer compares a given name",
           lambda name: [new(name=LIKE)], _get_pointer, (decref(),)),
    Reader("import", "PyCapsule_Import splits a path",
           lambda name: [], lambda name: call("PyCapsule_Import", name=name, no_block=0)),
    Reader("imported", "PyCapsule_Import compares a found name",
           lambda name: [], lambda name: call("PyCapsule_Import", name=LIKE, no_block=0), box=True),
    Reader("get-attr", "PyObject_GetAttrString reads an attribute's name",
           lambda name: [new()], lambda name: call("PyObject_GetAttrString", o=ref("c"), attr_name=name), (decref(),)),
    Reader("set-attr", "PyObject_SetAttrString reads an attribute's name",
           lambda name: [new()],
           lambda name: call("PyObject_SetAttrString", o=ref("c"), attr_name=name, v=obj("int")), (decref(),)),
)  # fmt: skip


def freed() -> Iterator[Pair]:
    """Yield names that were freed when they are read, beside those that are freed afterwards."""
    kind = Kind.USE_AFTER_FREE
    for reader in READERS:
        name = ref("n")
        begun, step = [string("n", "box.a"), *reader.before(name)], reader.step(name)
        undefined = Program(f"{reader.says} that was freed", [*begun, free(name), step], {}, reader.modules(name))
        title = f"{reader.says} that is freed afterwards"
        yield Pair(
            kind, f"name-{reader.word}", undefined,
            undefined.but(title, steps=[*begun, step, free(name), *reader.after]), "n",
        )  # fmt: skip
    for reader in READERS[:2]:
        begun, step = [string("n", "no.box.a"), *reader.before(ref("n", 3))], reader.step(ref("n", 3))
        undefined = Program(f"{reader.says} in the middle of a string that was freed", [*begun, free(ref("n")), step])
        title = f"{reader.says} in the middle of a string that is freed afterwards"
        steps = [*begun, step, free(ref("n")), *reader.after]
        yield Pair(kind, f"middle-{reader.word}", undefined, undefined.but(title, steps=steps), "n")
    yield from _freed_in_destructors(kind)
    yield from _renamed(kind)


def _freed_in_destructors(kind: Kind) -> Iterator[Pair]:
    own = [string("n", "a"), new(name=ref("n"), end=function("d")), decref()]
    looks = {
        "is-valid": ("asks whether the capsule is valid", call("PyCapsule_IsValid", capsule=ARG, name=cstr("a"))),
        "get-pointer": ("gets the pointer", call("PyCapsule_GetPointer", capsule=ARG, name=cstr("a"))),
        "repr": ("shows the capsule", call("PyObject_Repr", o=ARG)),
    }
    for word, (says, look) in looks.items():
        undefined = Program(f"A destructor frees the name and {says}", own, {"d": destructor(free(ref("n")), look)})
        title = f"A destructor {says} and frees the name"
        defined = undefined.but(title, functions={"d": destructor(look, free(ref("n")))})
        yield Pair(kind, f"name-{word}-in-destructor", undefined, defined, "n")
    shared = [string("n", "a"), new("b", name=ref("n"), end=function("d")), new(name=ref("n"))]
    look = call("PyCapsule_IsValid", capsule=ref("c"), name=cstr("a"))
    frees = {"d": destructor(free(ref("n")))}
    undefined = Program(
        "A capsule has the name that another one's destructor freed", [*shared, decref("b"), look], frees
    )
    title = "A capsule has the name that another one's destructor will free"
    yield Pair(kind, "shared-name", undefined, undefined.but(title, steps=[*shared, look, decref("b"), decref()]), "n")


def _renamed(kind: Kind) -> Iterator[Pair]:
    begun = [string("n", "a"), new(name=ref("n")), string("m", "a")]
    look, end = call("PyCapsule_IsValid", capsule=ref("c"), name=cstr("a")), [decref(), free(ref("m"))]
    renamed = call("PyCapsule_SetName", capsule=ref("c"), name=ref("m"))
    undefined = Program("A capsule's name is freed, and asked for before another one is set",
                        [*begun, free(ref("n")), look])  # fmt: skip
    defined = undefined.but("A capsule's name is freed, and asked for after another one was set",
                            steps=[*begun, free(ref("n")), renamed, look, *end])  # fmt: skip
    yield Pair(kind, "renamed-late", undefined, defined, "n")
    undefined = Program("The new name of a capsule is freed instead of the old one",
                        [*begun, renamed, free(ref("m")), look])  # fmt: skip
    defined = undefined.but("The old name of a capsule is freed, not the new one",
                            steps=[*begun, renamed, free(ref("n")), look, *end])  # fmt: skip
    yield Pair(kind, "renamed-wrong", undefined, defined, "m")
    fetched = call("PyCapsule_GetName", "x", capsule=ref("c"))
    asked = call("PyCapsule_IsValid", capsule=ref("c"), name=ref("x"))
    begun = [string("n", "a"), new(name=ref("n")), fetched]
    undefined = Program(
        "A name that PyCapsule_GetName returned is freed, and asked for", [*begun, free(ref("n")), asked]
    )
    title = "A name that PyCapsule_GetName returned is asked for, and freed"
    yield Pair(
        kind, "fetched-name", undefined, undefined.but(title, steps=[*begun, asked, free(ref("x")), decref()]), "x"
    )


def unterminated() -> Iterator[Pair]:
    """Yield names without a NUL, beside those that have one in a block of one byte more."""
    kind = Kind.OUT_OF_BOUNDS
    for reader in READERS:
        name = ref("m")
        short = [malloc("m", 5), write(name, b"box.a"), *reader.before(name)]
        whole = [malloc("m", 6), write(name, b"box.a\0"), *reader.before(name)]
        step = reader.step(name)
        undefined = Program(f"{reader.says} that has no NUL", [*short, step], {}, reader.modules(name))
        title = f"{reader.says} that has a NUL"
        steps = [*whole, step, *reader.after, free(name)]
        yield Pair(kind, f"name-{reader.word}", undefined, undefined.but(title, steps=steps), "m")
    begun = [malloc("m", 1), write(ref("m"), b"b"), new(name=ref("m"))]
    for op, word in (("PyCapsule_IsValid", "is-valid"), ("PyCapsule_GetPointer", "get-pointer")):
        undefined = Program(f"{op} compares a name without a NUL with one that begins like it",
                            [*begun, call(op, capsule=ref("c"), name=cstr("bo"))])  # fmt: skip
        title = f"{op} compares a name without a NUL with one that differs from its first byte on"
        steps = [*begun, call(op, capsule=ref("c"), name=cstr("co")), decref(), free(ref("m"))]
        yield Pair(kind, f"begins-like-{word}", undefined, undefined.but(title, steps=steps), "m")


def unwritten() -> Iterator[Pair]:
    """Yield names that nobody has written to their end, beside those that somebody has."""
    kind = Kind.UNINITIALISED_READ
    for reader in READERS:
        name = ref("m")
        step = reader.step(name)
        raw = [malloc("m", 6), *reader.before(name)]
        written = [malloc("m", 6), write(name, b"box.a\0"), *reader.before(name)]
        undefined = Program(f"{reader.says} that nobody has written", [*raw, step], {}, reader.modules(name))
        title = f"{reader.says} that was written"
        steps = [*written, step, *reader.after, free(name)]
        yield Pair(kind, f"name-{reader.word}", undefined, undefined.but(title, steps=steps), "m")
    for reader in READERS[:1] + READERS[6:7]:
        step = reader.step(ref("m"))
        partly = [malloc("m", 6), write(ref("m"), b"box.a"), *reader.before(ref("m"))]
        whole = [malloc("m", 6), write(ref("m"), b"box.a\0"), *reader.before(ref("m"))]
        undefined = Program(f"{reader.says} of which the NUL was not written", [*partly, step])
        title = f"{reader.says} of which the NUL was written, too"
        steps = [*whole, step, *reader.after, free(ref("m"))]
        yield Pair(kind, f"no-nul-{reader.word}", undefined, undefined.but(title, steps=steps), "m")
    for reader in READERS[:1] + READERS[2:3] + READERS[6:7]:
        undefined = Program(
            f"{reader.says} that is an opaque address", [*reader.before(ptr("q")), reader.step(ptr("q"))]
        )
        title = f"{reader.says} that is a string"
        steps = [*reader.before(LIKE), reader.step(LIKE), *reader.after]
        yield Pair(kind, f"opaque-{reader.word}", undefined, undefined.but(title, steps=steps), "q")


def no_strings() -> Iterator[Pair]:
    """Yield functions and addresses out of nowhere in place of names."""
    kind = Kind.WILD_POINTER
    for reader in READERS:
        if reader.word not in ("import", "imported", "get-attr", "set-attr"):
            functions = {"d": destructor()}
            name = function("d")
            undefined = Program(
                f"{reader.says} that is a function", [*reader.before(name), reader.step(name)], functions
            )
            title = f"{reader.says} that is a string"
            steps = [*reader.before(LIKE), reader.step(LIKE), *reader.after]
            yield Pair(kind, f"name-{reader.word}", undefined, undefined.but(title, steps=steps, functions={}), "d")
    for reader in READERS[:1] + READERS[6:7] + READERS[10:11]:
        failed = [new("x", pointer=None)]
        name = ref("x", 1)
        undefined = Program(f"{reader.says} one byte behind NULL", [*failed, *reader.before(name), reader.step(name)])
        title = f"{reader.says} that is a literal"
        steps = [*failed, *reader.before(LIKE), reader.step(LIKE), *reader.after]
        yield Pair(kind, f"near-null-{reader.word}", undefined, undefined.but(title, steps=steps))
