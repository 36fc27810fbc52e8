"""Measure each operation on the model and through ctypes, in one run.

On the ctypes side stand prototypes made once and integer arguments; a call that fails raises there, and is
caught. Rounds alternate between the two, and the median round counts, so that a busy machine slows both alike.
"""

from __future__ import annotations

import ctypes
import math
import random
import statistics
import sys
import timeit
import types
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from capsule_model.conform.commands import progress
from capsule_model.conform.report import write_json
from capsule_model.interpreter import Interpreter
from capsule_model.memory import NULL
from capsule_model.profiles import PROFILES

__all__ = ["Measured", "geometric_mean", "main", "measure", "measure_scale", "report"]

ROUNDS = 41
COUNT = 35
CALLS = 1500
WORD = ctypes.c_void_p
INT = ctypes.c_int
MODULE = "capsule_model_bench"
PATH = f"{MODULE}.capsule".encode()

PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "PyCapsule_New": (WORD, WORD, WORD, WORD),
    "PyCapsule_IsValid": (INT, WORD, WORD),
    "PyCapsule_GetPointer": (WORD, WORD, WORD),
    "PyCapsule_GetName": (WORD, WORD),
    "PyCapsule_GetDestructor": (WORD, WORD),
    "PyCapsule_GetContext": (WORD, WORD),
    "PyCapsule_SetPointer": (INT, WORD, WORD),
    "PyCapsule_SetName": (INT, WORD, WORD),
    "PyCapsule_SetDestructor": (INT, WORD, WORD),
    "PyCapsule_SetContext": (INT, WORD, WORD),
    "PyCapsule_Import": (WORD, WORD, INT),
    "Py_IncRef": (None, WORD),
    "Py_DecRef": (None, WORD),
}


@dataclass(frozen=True)
class Measured:
    """One operation: nanoseconds a call on either side, and the model's time as a multiple of ctypes' time."""

    name: str
    outcome: str
    model_ns: float
    ctypes_ns: float
    ratio: float


@dataclass(frozen=True)
class _Side:
    """One of the two sides: the functions by name, and the addresses that the operations use."""

    functions: dict[str, Callable[..., Any]]
    capsule: int
    name: int
    same: int
    other: int
    path: int
    missing: int
    no_attribute: int
    not_capsule: int
    function: int


def _operations(side: _Side) -> dict[tuple[str, str], tuple[str, tuple[int, ...]]]:
    """Return what is measured: (title, outcome) -> (function, arguments). A ``*`` takes the call before it back."""
    cap, name = side.capsule, side.name
    operations: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {
        ("PyCapsule_New and Py_DecRef", "success"): ("*new", (0x1000, name, NULL)),
        ("PyCapsule_IsValid", "success"): ("PyCapsule_IsValid", (cap, side.same)),
        ("PyCapsule_IsValid, another name", "success"): ("PyCapsule_IsValid", (cap, side.other)),
        ("PyCapsule_IsValid, NULL", "success"): ("PyCapsule_IsValid", (NULL, side.same)),
        ("PyCapsule_GetPointer", "success"): ("PyCapsule_GetPointer", (cap, side.same)),
        ("PyCapsule_GetName", "success"): ("PyCapsule_GetName", (cap,)),
        ("PyCapsule_GetDestructor", "success"): ("PyCapsule_GetDestructor", (cap,)),
        ("PyCapsule_GetContext", "success"): ("PyCapsule_GetContext", (cap,)),
        ("PyCapsule_SetPointer", "success"): ("PyCapsule_SetPointer", (cap, 0x1000)),
        ("PyCapsule_SetName", "success"): ("PyCapsule_SetName", (cap, name)),
        ("PyCapsule_SetDestructor", "success"): ("PyCapsule_SetDestructor", (cap, NULL)),
        ("PyCapsule_SetContext", "success"): ("PyCapsule_SetContext", (cap, 0x2000)),
        ("PyCapsule_Import", "success"): ("PyCapsule_Import", (side.path, 0)),
        ("Py_IncRef and Py_DecRef", "success"): ("*references", (cap,)),
        ("PyCapsule_New, NULL pointer", "error"): ("PyCapsule_New", (NULL, name, NULL)),
        ("PyCapsule_GetPointer, another name", "error"): ("PyCapsule_GetPointer", (cap, side.other)),
        ("PyCapsule_SetPointer, NULL pointer", "error"): ("PyCapsule_SetPointer", (cap, NULL)),
        ("PyCapsule_Import, no such module", "error"): ("PyCapsule_Import", (side.missing, 0)),
        ("PyCapsule_Import, no such attribute", "error"): ("PyCapsule_Import", (side.no_attribute, 0)),
    }
    for function, (_, *arguments) in PROTOTYPES.items():
        if function.startswith(("PyCapsule_Get", "PyCapsule_Set")):
            rest = (name,) if len(arguments) == 2 else ()
            operations[f"{function}, NULL capsule", "error"] = (function, (NULL, *rest))
            operations[f"{function}, not a capsule", "error"] = (function, (side.not_capsule, *rest))
    return operations


def _timer(side: _Side, function: str, arguments: tuple[int, ...], *, raises: bool) -> timeit.Timer:
    given = ", ".join(map(str, arguments))
    space: dict[str, Any] = {"new": side.functions["PyCapsule_New"], "drop": side.functions["Py_DecRef"]}
    if function == "*new":
        return timeit.Timer(f"drop(new({given}))", globals=space)
    if function == "*references":
        space["take"] = side.functions["Py_IncRef"]
        return timeit.Timer(f"take({given}); drop({given})", globals=space)
    space["call"] = side.functions[function]
    if raises and "PyErr_Clear" in side.functions:
        space["clear"] = side.functions["PyErr_Clear"]
        return timeit.Timer(f"call({given}); clear()", globals=space)
    if raises:
        return timeit.Timer(f"try: call({given})\nexcept Exception: pass", globals=space)
    return timeit.Timer(f"call({given})", globals=space)


class _Kept:
    """Hold what the real side lends to C: buffers, objects and the module that Import finds."""

    def __init__(self) -> None:
        self.buffers: list[Any] = []
        self.object = object()

    def cstring(self, value: bytes) -> int:
        buffer = ctypes.create_string_buffer(value)
        self.buffers.append(buffer)
        return ctypes.addressof(buffer)


def _real_side(kept: _Kept) -> _Side:
    library = ctypes.pythonapi
    functions: dict[str, Callable[..., Any]] = {
        name: ctypes.PYFUNCTYPE(*shape)((name, library)) for name, shape in PROTOTYPES.items()
    }
    name, path = kept.cstring(b"mod.attr"), kept.cstring(PATH)
    capsule = functions["PyCapsule_New"](0x1000, name, NULL)
    module = types.ModuleType(MODULE)
    imported = functions["PyCapsule_New"](0x1000, path, NULL)
    module.capsule = ctypes.cast(imported, ctypes.py_object).value  # type: ignore[attr-defined]
    sys.modules[MODULE] = module
    return _Side(
        functions,
        capsule,
        name,
        kept.cstring(b"mod.attr"),
        kept.cstring(b"mod.attx"),
        path,
        kept.cstring(b"capsule_model_absent.capsule"),
        kept.cstring(MODULE.encode() + b".absent"),
        id(kept.object),
        NULL,
    )


def _model_side(py: Interpreter) -> _Side:
    from capsule_model.imports import Module, import_module
    from capsule_model.objects import NONE

    functions: dict[str, Callable[..., Any]] = {name: getattr(py, name) for name in (*PROTOTYPES, "PyErr_Clear")}
    name, path = py.cstring("mod.attr"), py.cstring(PATH)
    capsule = py.PyCapsule_New(0x1000, name, NULL)

    def body(module: int) -> int:
        py.objects[module].attrs["capsule"] = py.PyCapsule_New(0x1000, path, NULL)
        return 0

    py.finder[MODULE] = Module(body)
    import_module(py, MODULE)
    return _Side(
        functions,
        capsule,
        name,
        py.cstring("mod.attr"),
        py.cstring("mod.attx"),
        path,
        py.cstring("capsule_model_absent.capsule"),
        py.cstring(MODULE + ".absent"),
        NONE,
        NULL,
    )


def _profile_here() -> str:
    name = f"cpython-{sys.version_info[0]}.{sys.version_info[1]}"
    return name if name in PROFILES else "cpython-3.13"


def measure(progress: Callable[[str], None] = lambda name: None) -> list[Measured]:
    """Measure every operation and return the results; ``progress`` is told each operation's name."""
    kept, py = _Kept(), Interpreter(_profile_here())
    model, real = _operations(model_side := _model_side(py)), _operations(real_side := _real_side(kept))
    results: list[Measured] = []
    try:
        for (title, outcome), (function, arguments) in model.items():
            progress(title)
            failing = outcome == "error"
            ours = _timer(model_side, function, arguments, raises=failing)
            theirs = _timer(real_side, function, real[title, outcome][1], raises=failing)
            ours_ns, theirs_ns = _medians(ours, theirs)
            results.append(Measured(title, outcome, ours_ns, theirs_ns, ours_ns / theirs_ns))
    finally:
        sys.modules.pop(MODULE, None)
    return results


def _medians(ours: timeit.Timer, theirs: timeit.Timer) -> tuple[float, float]:
    """Return the median nanoseconds of a call on either side.

    The two sides of a round are measured one right after the other, so that what slows the machine down for a
    while slows both.
    """
    empty = timeit.Timer("pass")
    loop = min(empty.timeit(CALLS) for _ in range(5))
    rounds = [(ours.timeit(CALLS) - loop, theirs.timeit(CALLS) - loop) for _ in range(ROUNDS)]
    model, real = (statistics.median(column) for column in zip(*rounds, strict=True))
    return model / CALLS * 1e9, real / CALLS * 1e9


def geometric_mean(results: list[Measured], outcome: str) -> float:
    """Return the geometric mean of the ratios of one outcome."""
    return math.exp(statistics.fmean(math.log(one.ratio) for one in results if one.outcome == outcome))


def measure_scale(live: int = 1_000_000, few: int = 1_000, reads: int = 100_000) -> dict[str, float]:
    """Measure what many live capsules cost: bytes each, and random access among many against among few.

    ``access`` is the model's quotient (a GetPointer among ``live`` to one among ``few``), ``access_ctypes`` the
    real API's, and ``access_ratio`` the one over the other.
    """
    import tracemalloc

    py = Interpreter(_profile_here())
    name = py.cstring("mod.attr")
    new = py.PyCapsule_New
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    capsules = [new(0x10_0000 + 16 * index, name, NULL) for index in range(live)]
    used = tracemalloc.get_traced_memory()[0] - before - sys.getsizeof(capsules)
    tracemalloc.stop()
    kept = _Kept()
    real = _real_side(kept)
    sys.modules.pop(MODULE, None)
    real_new = real.functions["PyCapsule_New"]
    real_capsules = [real_new(0x10_0000 + 16 * index, real.name, NULL) for index in range(live)]
    rounds = [
        (
            _access(py.PyCapsule_GetPointer, capsules, name, few, reads),
            _access(real.functions["PyCapsule_GetPointer"], real_capsules, real.name, few, reads),
        )
        for _ in range(15)
    ]
    access, access_ctypes = (statistics.median(column) for column in zip(*rounds, strict=True))
    for address in real_capsules:
        real.functions["Py_DecRef"](address)
    return {
        "live": live,
        "bytes_per_capsule": used / live,
        "access": access,
        "access_ctypes": access_ctypes,
        "access_ratio": access / access_ctypes,
    }


def _access(call: Callable[[int, int], Any], capsules: list[int], name: int, few: int, reads: int) -> float:
    """Return the time that random reads take among all capsules, as a multiple of that among the first few."""
    picks = random.Random(7)
    space = {
        "call": call,
        "name": name,
        "many": picks.choices(capsules, k=reads),
        "some": picks.choices(capsules[:few], k=reads),
    }
    everywhere = timeit.timeit("for op in many: call(op, name)", globals=space, number=1)
    return everywhere / timeit.timeit("for op in some: call(op, name)", globals=space, number=1)


def report(results: list[Measured], scale: dict[str, float]) -> dict[str, Any]:
    """Return the results as the JSON report has them."""
    return {
        "format": 1,
        "python": sys.version.split()[0],
        "operations": [asdict(one) for one in results],
        "geomean_success": geometric_mean(results, "success"),
        "geomean_error": geometric_mean(results, "error"),
        "scale": scale,
    }


def print_table(results: list[Measured], scale: dict[str, float]) -> None:
    """Print the results as a table."""
    table = Table(box=None, pad_edge=False)
    for column in ("operation", "outcome", "model ns", "ctypes ns", "ratio"):
        table.add_column(column, justify="left" if column in ("operation", "outcome") else "right")
    for one in results:
        table.add_row(one.name, one.outcome, f"{one.model_ns:.0f}", f"{one.ctypes_ns:.0f}", f"{one.ratio:.2f}")
    console = Console(highlight=False)
    console.print(table)
    for outcome in ("success", "error"):
        console.print(f"geometric mean of the ratios, {outcome}: {geometric_mean(results, outcome):.2f}")
    console.print(
        f"{scale['live']:,.0f} live capsules: {scale['bytes_per_capsule']:.0f} bytes each; random access among them "
        f"to one among a thousand: {scale['access']:.2f}, through ctypes {scale['access_ctypes']:.2f}, "
        f"quotient {scale['access_ratio']:.2f}"
    )


def main(json_file: str | None) -> int:
    """Measure, print a table, and write the figures to a file where one is named; return the exit code."""
    target = None if json_file is None else Path(json_file)
    if target is not None and (target.is_dir() or not target.absolute().parent.is_dir()):
        print(f"capsule-model: --json {json_file}: expected a file in a folder that exists", file=sys.stderr)
        return 2
    with progress(COUNT + 1, "operations") as advance:
        results = measure(lambda name: advance())
        scale = measure_scale()
        advance()
    print_table(results, scale)
    if target is not None:
        write_json(report(results, scale), target)
    return 0
