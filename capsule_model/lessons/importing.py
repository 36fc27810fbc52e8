"""Exercises of the notebook "Importing a C API"."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from capsule_model.imports import Module
from capsule_model.interpreter import Interpreter
from capsule_model.layers.cobject import PyCObject_FromVoidPtr, PyCObject_Import
from capsule_model.layers.function_table import CHECKS, call_slot, import_table, new_table, publish, table_size
from capsule_model.layers.functions import BINARY, WITH_DATA
from capsule_model.lessons.exercise import Judge
from capsule_model.lessons.judging import leaves_nothing, predicted
from capsule_model.lessons.verdict import NotYet
from capsule_model.memory import NULL
from capsule_model.undefined import UndefinedBehavior

__all__ = ["EXERCISES", "IMPORTS", "put_at"]

ABI, API, SLOTS = 2, 3, 2
_PATH = "shop.api"
PLAIN = "int (*)(int)"


def put_at(py: Interpreter, path: str, op: int) -> None:
    """Have an object found at a path such as ``shop.api``, once the module is imported; takes the reference."""
    name, _, attribute = path.partition(".")

    def body(module: int) -> int:
        py.objects[module].attrs[attribute] = op
        return 0

    py.finder[name] = Module(body)


def _table(py: Interpreter, slots: int, abi: int = ABI, api: int = API, *, size: int = 0) -> int:
    """Return a table whose functions add, multiply, and subtract."""
    bodies: Sequence[Callable[[int, int], int]] = (lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b)
    functions = [
        py.function(body, BINARY, name) for body, name in zip(bodies, ("add", "multiply", "subtract"), strict=True)
    ]
    return new_table(py, functions[:slots], abi, api, size)


def _imported(py: Interpreter, table: int, name: str = _PATH, checks: Collection[str] = CHECKS) -> int:
    """Publish a table at the path, and import it there."""
    put_at(py, _PATH, publish(py, py.cstring(name), table))
    return import_table(py, py.cstring(_PATH), ABI, API, SLOTS, checks)


def cobject(py: Interpreter) -> int:
    """Import what a CObject holds."""
    put_at(py, _PATH, PyCObject_FromVoidPtr(py, _table(py, 1, 1, 1), NULL))
    return PyCObject_Import(py, py.cstring("shop"), py.cstring("api"))


IMPORTS: dict[str, Callable[[Interpreter], int]] = {
    "CObject, another table": cobject,
    "capsule, another name": lambda py: _imported(py, _table(py, 1, 1, 1), "bank.api"),
    "forged": lambda py: _imported(py, _table(py, 2)),
    "newer table": lambda py: _imported(py, _table(py, 3, ABI, 7)),
    "older table, unchecked": lambda py: _imported(py, _table(py, 1, ABI, 1), checks=()),
    "older table, checked": lambda py: _imported(py, _table(py, 1, ABI, 1)),
}


def refused_or_not(given: Any) -> str:
    """Judge what comes of six imports, each with a call of the second function."""
    seen: dict[str, str] = {}
    for name, imported in IMPORTS.items():
        py = Interpreter()
        table = imported(py)
        try:
            seen[name] = "refused" if table == NULL else f"answer {call_slot(py, table, 1, BINARY, 2, 3)}".split()[0]
        except UndefinedBehavior:
            seen[name] = "undefined"
    hint = "what is compared in each case: nothing, the name, or the numbers, too? And is there a second function?"
    predicted(given, seen, "what comes of it", hint)
    return "a forged table is the only one that is wrong and looks right"


# What lies at the path: title, name of the capsule (None: no module), abi, api, size, and whether that is accepted.
EDITIONS: tuple[tuple[str, str | None, int, int, int, bool], ...] = (
    ("the table that you know", _PATH, 2, 3, 32, True),
    ("a newer table", _PATH, 2, 9, 40, True),
    ("an older table", _PATH, 2, 2, 32, False),
    ("a table of another abi", _PATH, 3, 3, 32, False),
    ("a table that is too small", _PATH, 2, 3, 24, False),
    ("a capsule of another name", "bank.api", 2, 3, 32, False),
    ("no such module", None, 2, 3, 32, False),
)


def import_a_table(given: Any) -> str:
    """Judge an import function that meets tables of several editions."""
    for title, name, abi, api, size, fine in EDITIONS:
        py = Interpreter()
        table = _table(py, 3 if size > table_size(py, SLOTS) else 2, abi, api, size=size)
        if name is not None:
            put_at(py, _PATH, publish(py, py.cstring(name), table))
        result = given(py)
        if fine and result == NULL:
            raise NotYet(f"{title}: your function refuses it, {py.error!r}", "functions are added at the end")
        if fine and result != table:
            raise NotYet(f"{title}: what comes back is not its address", "PyCapsule_Import returns it")
        if fine and py.error is not None:
            raise NotYet(f"{title}: {py.error!r} is pending after a success", "set an exception where you refuse")
        if not fine:
            hint = "abi must be equal, api and size must not be smaller than what you were compiled for"
            _is_refused(py, title, result, NULL, hint)
    return "whose it is, whether it means the same, and whether all of it is there: then a call is safe"


def _is_refused(py: Interpreter, title: str, result: Any, failed: int, hint: str) -> None:
    if result != failed:
        raise NotYet(f"{title}: your function does not return {'NULL' if failed == NULL else failed}", hint)
    if py.PyErr_Occurred() is None:
        hint = 'py.PyErr_SetString("RuntimeError", "…") says why'
        raise NotYet(f"{title}: it is refused, and no exception is pending", hint)


def close_it(given: Any) -> str:
    """Judge a function that closes a handle early: once, for good, and no handle of another kind."""
    py = Interpreter()
    freed = py.function(lambda op: py.free(py.PyCapsule_GetPointer(op, py.PyCapsule_GetName(op))), name="free_account")
    name, block = py.cstring("bank.account"), py.malloc(8)
    handle = py.PyCapsule_New(block, name, freed)
    result = given(py, handle)
    if py.error is not None:
        hint = "the handle is open: ask for its pointer by its name; PyCapsule_SetPointer takes no NULL"
        raise NotYet(f"an open handle: {py.error!r} is pending", hint)
    if result != 0:
        raise NotYet("an open handle: your function does not return 0", "return 0 says that all went well")
    if _alive(py, block):
        raise NotYet("an open handle: its block is not freed", "py.free(pointer)")
    if py.PyCapsule_IsValid(handle, name):
        raise NotYet("a closed handle: it can still be had by its name", "the name is what opens it: give it another")
    hint = "PyCapsule_GetPointer fails by itself once the name is another"
    _is_refused(py, "a closed handle", given(py, handle), -1, hint)
    py.PyErr_Clear()
    try:
        py.Py_DECREF(handle)
    except UndefinedBehavior as diagnosis:
        hint = "the capsule dies later, and its destructor frees the pointer once more"
        raise NotYet(f"a closed handle ends: {diagnosis.kind}, {diagnosis.fact}", hint) from None
    leaves_nothing(py, "what was opened is closed once")
    other = py.PyCapsule_New(py.malloc(8), py.cstring("bank.safe"), freed)
    _is_refused(py, "a handle of another kind", given(py, other), -1, "ask for the pointer with the name of your kind")
    py.Py_DECREF(other)
    leaves_nothing(py, "a handle that you refuse keeps its destructor")
    return "closed is a name that nobody asks for, and no destructor"


def _alive(py: Interpreter, block: int) -> bool:
    try:
        py.write(block, bytes(8))
    except UndefinedBehavior:
        return False
    return True


def call_it_back(given: Any) -> str:
    """Judge a function that calls what a capsule holds, by the signature in its name."""
    py = Interpreter()
    data = py.malloc(1)
    py.write(data, b"\x0a")
    double = py.function(lambda number: 2 * number, PLAIN, "double")
    scale = py.function(lambda number, at: number * py.read(at, 1)[0], WITH_DATA, "scale")
    for signature, function, wanted in (
        ("int (int)", double, 8),
        ("int (int, void *)", scale, 40),
        ("int (int, int)", py.function(lambda a, b: a + b, BINARY, "add"), None),
        ("double (double)", double, None),
        (None, double, None),
    ):
        title = f"the signature {signature!r}" if signature is not None else "no signature"
        capsule = py.PyCapsule_New(function, NULL if signature is None else py.cstring(signature), NULL)
        py.PyCapsule_SetContext(capsule, data if function == scale else NULL)
        try:
            result = given(py, capsule, 4)
        except UndefinedBehavior as diagnosis:
            hint = "PyCapsule_IsValid tells which signature it is; the type that you call it as has to be that one"
            raise NotYet(f"{title}: {diagnosis.kind}, {diagnosis.fact}", hint) from None
        if wanted is None:
            _is_refused(py, title, result, -1, "only two signatures are yours to call")
        elif result != wanted:
            raise NotYet(f"{title}: {result!r} comes back, not {wanted}", "the data is the context of the capsule")
        elif py.error is not None:
            hint = "PyCapsule_IsValid asks without an exception"
            raise NotYet(f"{title}: {py.error!r} is pending after a success", hint)
        py.PyErr_Clear()
    return "the name decides what the pointer is called as, and nothing else checks it"


def forge_a_table(given: Any) -> str:
    """Judge a capsule that passes all the checks of an importer, and holds another function."""
    py = Interpreter()
    capsule = given(py)
    if py.capsule_at(capsule) is None:
        raise NotYet("what your program returns is no capsule that is alive", "function_table.publish returns one")
    put_at(py, _PATH, capsule)
    table = import_table(py, py.cstring(_PATH), ABI, API, SLOTS)
    if table == NULL:
        raise NotYet(
            f"the importer refuses it: {py.error!r}", "the name, abi, api and the size: which one gives it away?"
        )
    result = call_slot(py, table, 0, BINARY, 2, 3)
    if result != 6:
        raise NotYet(f"the first function says {result}", "put another function first, of the same type")
    return "every check passes, and 2 and 3 are 6: what can be read can be forged"


EXERCISES: dict[str, Judge] = {
    "refused-or-not": refused_or_not,
    "import-a-table": import_a_table,
    "close-it": close_it,
    "call-it-back": call_it_back,
    "forge-a-table": forge_a_table,
}
