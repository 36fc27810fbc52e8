"""Make a program step by step, next to the model that performs it, so that each step is defined where it stands."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from capsule_model.fuzz.batch import code
from capsule_model.fuzz.batch.perform import Places, Side, calls
from capsule_model.fuzz.batch.weights import OWN, TWIN, Weights, flags_of, place_of, table
from capsule_model.memory import NULL
from capsule_model.profiles import Profile

__all__ = ["Choices", "choices", "make_program"]

_NEW, _DECREF, _IMPORT, _RENAME, _HOLD, _CLEAR, _REFCNT, _LEND = map(
    code.operation,
    ("PyCapsule_New", "Py_DECREF", "PyCapsule_Import", "rename", "hold", "PyErr_Clear", "Py_REFCNT", "lend"),
)
_FIRST_HOLDER = code.SLOTS - code.HOLDERS
_NESTED = 12
_SAME, _TWIN = -1, -2
# Stands in the stream of operations for a step with something pending, or whose error stays.
_DECORATED = len(code.OPERATIONS)


@dataclass(frozen=True)
class Choices:
    """What a byte made by chance means: the operation, the register, and each argument.

    Of a step with something pending, or whose error stays, ``operations`` say no more than that it is one; what it is
    then, ``decorated`` says, and what is pending, ``flags``.
    ``arguments`` has, for each operation, the 256 words of its first argument; the others belong to what is written
    as more than one call.
    """

    operations: bytes
    targets: bytes
    decorated: bytes
    flags: bytes
    arguments: list[list[int]]
    names: list[int]
    destructors: list[int]
    paths: list[int]
    twins: dict[int, int]


def choices(weights: Weights, profile: Profile, places: Places) -> Choices:
    """Lay out the tables of weights under a profile."""
    names = [NULL if place < 0 else places.name(place) for place in range(-1, len(code.NAMES))]
    wanted = [*names, _SAME, _TWIN]
    pointers = [NULL, *code.POINTERS]
    functions = [NULL, *(places.destructors[place] for place in code.destructors_of(profile))]
    keys = ["none", *([*code.DESTRUCTORS, *code.NATIVE][place] for place in code.destructors_of(profile))]
    stored = table({key: weights.names[key] for key in weights.names if key not in (OWN, TWIN)})
    asked, pointed = table(weights.names), table(weights.pointers)
    contexts = table(weights.contexts)
    destroyed = table({key: weights.destructors[key] for key in keys})
    # Where a capsule lies already, making one means to give that one back.
    numbers = [_DECREF if name == "PyCapsule_New" else code.operation(name) for name in weights.operations]
    operations = weights.operations
    errors = {name: weight for name, weight in weights.errors.items() if name != "none"}
    decorated = sum(errors.values()) / (weights.errors["none"] or 1e-9)
    share = sum(operations.values())
    # The interpreter's own destructor fails without a pointer; where that ends the process, there is always one.
    poked = code.POINTERS if code.is_quiet(profile) else [NULL, *code.POINTERS, NULL]
    first = {
        "PyCapsule_IsValid": [wanted[byte] for byte in asked],
        "PyCapsule_GetPointer": [wanted[byte] for byte in asked],
        "PyCapsule_SetName": [names[byte] for byte in stored],
        "poke": [poked[byte % len(poked)] for byte in range(256)],
        "PyCapsule_SetPointer": [pointers[byte] for byte in pointed],
        "PyCapsule_New": [pointers[byte] for byte in pointed],
        "PyCapsule_SetContext": [pointers[byte] for byte in contexts],
        "PyCapsule_SetDestructor": [functions[byte] for byte in destroyed],
    }
    return Choices(
        table(operations | {"": share * decorated}, [*numbers, _DECORATED]),
        table(weights.targets, [place_of(name) for name in weights.targets]),
        table(operations, numbers),
        table(errors, [flags_of(name) for name in errors]) if decorated else bytes(256),
        [first.get(name, [NULL] * 256) for name in code.OPERATIONS],
        first["PyCapsule_SetName"],
        first["PyCapsule_SetDestructor"],
        list(table(weights.paths)),
        {places.name(one): places.name(other) for one, other in code.TWINS.items()},
    )


def _redirected() -> list[list[tuple[int, int]]]:
    """Return, for each register from the first holder on, which operation on which register an operation becomes.

    A holder's context and destructor stay, and it stays valid; and where a call needs an object, or one that can be
    counted, it gets one, or becomes a call that does not.
    """
    rows = []
    for place in range(_FIRST_HOLDER, code.REGISTERS):
        row = [(number, place) for number in range(_DECORATED + 1)]
        if place < code.SLOTS:
            for name in ("PyCapsule_SetContext", "PyCapsule_SetDestructor", "poke"):
                row[code.operation(name)] = code.operation(name), place - _FIRST_HOLDER
        else:
            for name, other in (("Py_INCREF", "Py_IncRef"), ("Py_DECREF", "Py_DecRef")):
                row[code.operation(name)] = row[code.operation(other)] = code.operation(other), code.NULL_SLOT
            row[_REFCNT] = code.operation("PyCapsule_CheckExact"), max(place, code.OBJECTS)
            row[_NEW] = row[_REFCNT]
            row[code.operation("poke")] = code.operation("PyCapsule_SetPointer"), place
            row[code.operation("PyCapsule_CheckExact")] = row[_REFCNT]
        rows.append(row)
    return rows


_REDIRECTED = _redirected()


def make_program(side: Side, made: Choices, chance: random.Random, length: int) -> list[int]:
    """Make a program of about so many steps, which ends with all that it owns given back, and return its words."""
    out = side.begin()
    py, owned, held, registers, known = side.py, side.owned, side.held, side.registers, side.errors
    table, depth, arguments = py.objects.table, side.depth, made.arguments
    pointers, names, destructors = arguments[_NEW], made.names, made.destructors
    twins, functions = made.twins, calls()
    new, references, without, others = functions[_NEW], code.REFERENCES, code.WITHOUT, code.OTHERS
    first_holder, redirected, decorated = _FIRST_HOLDER, _REDIRECTED, _DECORATED
    bytes_of = chance.randbytes
    operations = bytes_of(length).translate(made.operations)
    targets = bytes_of(length).translate(made.targets)
    stream = zip(operations, targets, bytes_of(length), bytes_of(length), bytes_of(length), strict=True)
    pending = False
    a = 0
    try:
        # One loop, and what each step needs spelled out in it: nearly all steps pass here.
        for operation, place, first, second, third in stream:
            if place >= first_holder:
                operation, place = redirected[place - first_holder][operation]
            if pending or operation == decorated:
                _decorated(side, made, operation, place, first, second, third)
                pending = py.error is not None
                continue
            if not owned[place]:
                a, name, destructor = pointers[first], names[second], destructors[third]
                result = registers[place] = new(py, a, name, destructor)
                if result:
                    c = held[place] = table[-1]
                    owned[place], depth[place] = 1, 0
                else:
                    c = None
                out += (_NEW, place, a, name, destructor)
            elif operation < references:
                c = held[place]
                if operation < without:
                    a = arguments[operation][first]
                    if a < 0:
                        # As _own_name does, spelled out.
                        a = NULL if c is None else c.name if a == _SAME else twins.get(c.name, c.name)
                    result = functions[operation](py, registers[place], a)
                else:
                    a = 0
                    result = functions[operation](py, registers[place])
                if c is not None and py.error is None:
                    # As below, in one piece.
                    out += (
                        operation,
                        place,
                        a,
                        0,
                        result,
                        c.ob_refcnt,
                        c.ob_type,
                        c.pointer,
                        c.name,
                        c.context,
                        c.destructor,
                        c.traverse_func,
                        c.clear_func,
                    )
                    continue
                out += (operation, place, a)
            elif operation < _NEW:
                c = held[place]
                owned[place] += c is not None
                functions[operation](py, registers[place])
                result = 0
                out += (operation, place, 0)
            elif operation < others:
                out += (operation, place)
                c, op, result = held[place], registers[place], 0
                if c is not None:
                    left = owned[place] = owned[place] - 1
                    if not left:
                        registers[place], held[place] = NULL, None
                functions[operation](py, op)
                if c is not None and not c.address:
                    c, result = None, 1
            else:
                _others(side, made, operation, second, third)
                continue
            error = py.error
            if error is None:
                number = 0
            else:
                number = known[error.type, error.text]
                py.error = None
            if c is None:
                out += (number, result, -1)
            else:
                out += (
                    number,
                    result,
                    c.ob_refcnt,
                    c.ob_type,
                    c.pointer,
                    c.name,
                    c.context,
                    c.destructor,
                    c.traverse_func,
                    c.clear_func,
                )
    except Exception:
        # These write their head when they have returned; the step that failed is part of the program all the same.
        if not pending and not owned[place]:
            out += (_NEW, place, pointers[first], names[second], destructors[third])
        elif not pending and operation < _NEW:
            out += (operation, place, a if operation < references else 0)
        raise
    side.close()
    return out


def _own_name(struct: Any, wish: int, made: Choices) -> int:
    """Return the name that a capsule stores, or one with equal bytes at another address."""
    if struct is None:
        return NULL
    name: int = struct.name
    return name if wish == _SAME else made.twins.get(name, name)


def _others(side: Side, made: Choices, operation: int, second: int, third: int) -> None:
    """Write what is not one call on one register, where nothing is pending."""
    if operation == _CLEAR:
        side.perform(_CLEAR, code.NULL_SLOT)
    elif operation == _IMPORT:
        path = made.paths[second]
        side.perform(_IMPORT, code.NULL_SLOT, side.places.path(path), third & 1)
        if path < len(code.HELD):
            side.perform(_REFCNT, code.MODULES + path)
    elif operation == _RENAME:
        side.perform(_RENAME, code.NULL_SLOT, side.places.name(code.WRITABLE[second & 1]), third % len(code.WRITINGS))
    else:
        _hold(side, made, second, third)


def _hold(side: Side, made: Choices, second: int, third: int) -> None:
    """Make a capsule whose context is a reference to another, or to nothing where no other is there."""
    outer = _FIRST_HOLDER + second % code.HOLDERS
    inner = third % code.SLOTS
    if side.owned[outer]:
        side.perform(_DECREF, outer)
        return
    drops = side.places.destructors[code.DROPS]
    side.perform(_NEW, outer, code.POINTERS[1], made.names[third], drops)
    if side.owned[inner] and inner != outer and side.depth[inner] < _NESTED:
        side.depth[outer] = side.depth[inner] + 1
        side.perform(_LEND, inner)
        side.perform(_HOLD, outer, inner)


def _decorated(side: Side, made: Choices, operation: int, place: int, first: int, second: int, third: int) -> None:
    """Write a step with something pending before it, or one whose error stays."""
    flags, pending = 0, side.py.error is not None
    if operation == _DECORATED:
        # The byte that would have been the argument decides what is pending, and another one what is done.
        flags = made.flags[first]
        operation = made.decorated[second]
        if place >= _FIRST_HOLDER:
            operation, place = _REDIRECTED[place - _FIRST_HOLDER][operation]
    if pending and (operation >= code.OTHERS or third < 128):
        side.decorated(1, _CLEAR, code.NULL_SLOT)
    elif operation >= code.OTHERS:
        _others(side, made, operation, second, third)
    elif not side.owned[place]:
        side.decorated(flags, _NEW, place, made.arguments[_NEW][first], made.names[second], made.destructors[third])
    elif operation < code.WITHOUT:
        a = made.arguments[operation][first]
        side.decorated(flags, operation, place, a if a >= 0 else _own_name(side.held[place], a, made))
    else:
        side.decorated(flags, operation, place)
