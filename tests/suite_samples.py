"""A stand-in for the model of the suite `dlpack`: a few of its operations, with rules, a diagnosis and a state."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

from capsule_model.conform.controls import main
from capsule_model.objects import TYPE_NAMED, PyObject
from capsule_model.trace.execute import Machine
from capsule_model.trace.extensions import Extension
from capsule_model.trace.operations import NOTHING, show_object, words_of
from capsule_model.undefined import CONSEQUENCE, UndefinedBehavior, diagnose

Args = Mapping[str, Any]


class Kind(StrEnum):
    """Name what only this suite leaves undefined."""

    NO_THREAD_STATE = "no-thread-state"


class Undefined(UndefinedBehavior):
    """Report undefined behaviour of this suite."""

    consequences: ClassVar[dict[str, str]] = {**CONSEQUENCE, Kind.NO_THREAD_STATE: "the process dies"}
    named = UndefinedBehavior.named | {"look_again"}


class Ledger:
    """Keep the arrays of one machine."""

    def __init__(self) -> None:
        self.values: dict[int, list[Any]] = {}

    def add(self, address: int, values: list[Any] | None) -> None:
        """Note an array, with as many values as were given."""
        if values is None:
            # rule: dlpack.array/empty
            values = []
        self.values[address] = values


def _ledger(machine: Machine) -> Ledger:
    ledger: Ledger = machine.extra.setdefault("dlpack", Ledger())
    return ledger


def _array(machine: Machine, args: Args, bind: str | None) -> Any:
    address = machine.py.objects.place(PyObject(1, TYPE_NAMED["object"], machine.py.memory.tick()))
    # rule: dlpack.array/returns-object
    _ledger(machine).add(address, args.get("values"))
    return show_object(machine, address, bind)


def _values(machine: Machine, args: Args, bind: str | None) -> Any:
    (array,) = words_of(machine, args, ("array",))
    return {"values": _ledger(machine).values[array]}


def _device(machine: Machine, args: Args, bind: str | None) -> Any:
    (array,) = words_of(machine, args, ("self",))
    machine.event({"dlpack": "__dlpack_device__", "of": machine.tokens.of_address[array], "keywords": []})
    return {"device": [1, 0]}


def _fields(machine: Machine, args: Args, bind: str | None) -> Any:
    (array,) = words_of(machine, args, ("capsule",))
    return {"fields": {"data": machine.tokens.seen(array), "ndim": 1, "shape": [2], "strides": None}}


def _save_thread(machine: Machine, args: Args, bind: str | None) -> Any:
    machine.extra["released"] = machine.path
    return NOTHING


def look_again(machine: Machine) -> None:
    """Diagnose a thread state that was given away in an earlier step, and an array of the value 13 with the core's."""
    if machine.extra.get("released", machine.path) != machine.path:
        raise diagnose(Kind.NO_THREAD_STATE, "nobody holds the thread state", [], made=Undefined)
    for address, values in _ledger(machine).values.items():
        if 13 in values:
            # rule: dlpack.array/thirteen
            raise diagnose("double-free", "thirteen", [], address, Undefined)


def _state(machine: Machine) -> dict[str, Any]:
    named = machine.tokens.of_address
    return {named[address]: {"values": values} for address, values in _ledger(machine).values.items()}


EXTENSION = Extension(
    suite="dlpack",
    operations={
        "dlpack.array": _array,
        "dlpack.values": _values,
        "__dlpack_device__": _device,
        "dlpack.fields": _fields,
        "PyEval_SaveThread": _save_thread,
    },
    modules=(sys.modules[__name__],),
    kinds=frozenset(Kind),
    adapter=(__file__,),
    state=_state,
    after_step=look_again,
)

ARRAY: dict[str, Any] = {
    "op": "dlpack.array",
    "args": {"dtype": "int32", "shape": [2], "values": [7, 8]},
    "bind": "a",
    "expect": {"return": {"ref": "a"}},
}
DEVICE: dict[str, Any] = {
    "op": "__dlpack_device__",
    "args": {"self": {"ref": "a"}},
    "expect": {"return": {"device": [1, 0]}, "events": [{"dlpack": "__dlpack_device__", "of": "a"}]},
}
VALUES: dict[str, Any] = {
    "op": "dlpack.values",
    "args": {"array": {"ref": "a"}},
    "expect": {"return": {"values": [7, 8]}},
}
FIELDS: dict[str, Any] = {
    "op": "dlpack.fields",
    "args": {"capsule": {"ref": "a"}},
    "expect": {"return": {"fields": {"data": {"ref": "a"}, "strides": None}}},
}
SAVE: dict[str, Any] = {"op": "PyEval_SaveThread", "args": {}}
SETTLE: dict[str, Any] = {"op": "settle", "args": {}}


def vector(*steps: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a vector of the suite that makes an array, then does `steps`, and leaks the array."""
    start = {"id": "dlpack.sample.array", "title": "an array is made", "rules": ["dlpack.array/returns-object"]}
    return {**start, "steps": [ARRAY, *steps], "leaks": ["a"], **changes}


if __name__ == "__main__":
    sys.modules["dlpack_model.vectors"] = sys.modules[__name__]
    sys.exit(main(["model", "cpython-3.13"]))
