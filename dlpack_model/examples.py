"""The pictures that the texts show, made by running the model: ``python -m dlpack_model.examples FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from capsule_model import Interpreter, UndefinedBehavior
from capsule_model.show import Picture
from capsule_model.whole import write_whole
from dlpack_model.arrays import new_array
from dlpack_model.consumer import consumer_named, from_dlpack
from dlpack_model.exchange import Exchange
from dlpack_model.producer import Producer

__all__ = ["examples", "main"]


def examples() -> dict[str, Picture]:
    """Return the pictures by the names of their files, without ``.svg``."""
    return {"use-after-free": _use_after_free(), "exchange": _exchange()}


def _use_after_free() -> Picture:
    """Return the memory of a capsule whose name was freed, at the moment at which somebody reads it."""
    py = Interpreter("cpython-3.13")
    box = py.malloc(16)
    name = py.malloc(9)
    py.write(name, b"mod.attr\0")
    cap = py.PyCapsule_New(box, name, py.function(lambda op: py.free(box), name="destroy_box"))
    py.free(name)
    try:
        py.PyCapsule_GetPointer(cap, py.cstring("mod.attr"))
    except UndefinedBehavior as diagnosis:
        return py.memory_picture(diagnosis, names={cap: "cap", box: "box", name: "name"})
    raise AssertionError("the name of the capsule is read, although it was freed")


def _exchange() -> Picture:
    """Return the sequence of an exchange that keeps all rules, from the request to the call of the deleter."""
    dl = Exchange(Interpreter("cpython-3.13"))
    x = new_array(dl, Producer("producer"), "int32", (2, 3), name="x")
    y = from_dlpack(dl, replace(consumer_named("rename-only"), name="consumer"), x)
    dl.py.Py_DECREF(x)
    dl.py.Py_DECREF(y)
    return dl.sequence_picture()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures into a folder; return 0, or 2 for bad usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) != 1 or not Path(given[0]).is_dir():
        print("usage: python -m dlpack_model.examples FOLDER, a folder that exists", file=sys.stderr)
        return 2
    for name, picture in examples().items():
        write_whole(picture.svg + "\n", Path(given[0]) / f"{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
