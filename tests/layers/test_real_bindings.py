"""What pybind11 and nanobind really do, held against their layers; the modules are compiled for it.

``LAYERS_PYTHONS`` may name more Pythons, as a PATH does, that have the libraries where this one has not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from bindings.build import Missing, build

from capsule_model import NULL, Abort, Interpreter
from capsule_model.layers import nanobind, pybind11
from capsule_model.layers.functions import CLEANUP, PLAIN

PYTHONS = [sys.executable, *filter(None, os.environ.get("LAYERS_PYTHONS", "").split(os.pathsep))]
LOOK = Path(__file__).with_name("bindings") / "look.py"
LAYERS: dict[str, Any] = {"pybind11": pybind11, "nanobind": nanobind}
READ = "3.1."


@pytest.fixture(scope="session", params=LAYERS)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """Compile a library's module for the first Python that has it: library, Python, folder."""
    library, reasons = str(request.param), list[str]()
    folder = tmp_path_factory.mktemp(library)
    for python in PYTHONS:
        try:
            version = build(folder, library, python)
        except Missing as missing:
            reasons.append(str(missing))
            continue
        if not version.startswith(READ):
            pytest.skip(f"{library} is {version}; what is expected was read in {READ}")
        return library, python, folder
    pytest.skip("; ".join(reasons))


class Model:
    """The same capsules on the model, told in the same words."""

    def __init__(self, library: str) -> None:
        self.layer = LAYERS[library]
        self.py = py = Interpreter()
        self.box = py.malloc(8)
        self.calls: list[str] = []
        self.cleanup = py.function(self._cleanup, CLEANUP, "cleanup")
        self.fails = py.function(self._fails, CLEANUP, "fails")
        self.at_exit = py.function(lambda: self._note("at_exit"), PLAIN, "at_exit")

    def _note(self, what: str) -> None:
        self.calls.append(what + ("" if self.py.PyErr_Occurred() is None else " pending"))

    def _cleanup(self, pointer: int) -> None:
        self._note("cleanup box" if pointer == self.box else "cleanup other")

    def _fails(self, pointer: int) -> None:
        self._note("fails")
        self.py.PyErr_SetString("RuntimeError", "cleanup failed")

    def make(self, cleanup: int, pointer: int | None = None) -> int:
        """Make a capsule with a function that cleans up."""
        pointer, name = self.box if pointer is None else pointer, self.py.cstring("a.b")
        made = pybind11.capsule_with_cleanup if self.layer is pybind11 else nanobind.capsule
        return made(self.py, pointer, name, cleanup)

    def told(self, op: int) -> Any:
        """Tell what was made: the exception, None, or name, context and destructor of the capsule."""
        py = self.py
        if py.error is not None:
            text = f"{py.error.type}: {py.error}"
            py.PyErr_Clear()
            return text
        if py.capsule_at(op) is None:
            return None
        name = py.PyCapsule_GetName(op)
        shown = None if name == NULL else py.memory.c_string(name).decode()
        return [shown, py.PyCapsule_GetContext(op) != NULL, py.PyCapsule_GetDestructor(op) != NULL]

    def opened(self, op: int, name: str | None = None) -> Any:
        """Tell whether a capsule opens, by its own name or by another."""
        if name is None or self.layer is pybind11:
            pointer = self.layer.get_pointer(self.py, op) if self.layer is pybind11 else nanobind.data(self.py, op)
        else:
            pointer = nanobind.data_named(self.py, op, self.py.cstring(name))
        return self.told(NULL) if self.py.error is not None else pointer == self.box

    def dies(self, op: int, change: Callable[[int], object] = lambda op: None) -> list[str]:
        """Tell what is called when a capsule dies."""
        self.calls.clear()
        change(op)
        self.py.Py_DECREF(op)
        return list(self.calls)

    def drop(self, cleanup: int, pending: bool) -> list[Any]:
        """Tell what is pending after a capsule died, and what was called."""
        op = self.make(cleanup)
        if pending:
            self.py.PyErr_SetString("KeyError", "k")
        calls = self.dies(op)
        left = self.py.PyErr_Occurred() or "none"
        self.py.PyErr_Clear()
        return [left, calls]


def predicted(library: str) -> Mapping[str, Any]:
    """Return what the model says of everything that is looked at."""
    model = Model(library)
    py, both = model.py, {"named": (model.cleanup, None), "without": (NULL, None), "null": (model.cleanup, NULL)}
    found: dict[str, Any] = {name: model.told(model.make(*arguments)) for name, arguments in both.items()}
    if library == "pybind11":
        found["plain"] = model.told(pybind11.capsule(py, model.box, py.cstring("a.b")))
        found["function"] = model.told(pybind11.capsule_calling(py, model.at_exit))
    else:
        found["null_data"] = nanobind.data(py, nanobind.capsule(py, NULL)) == NULL
    op = model.make(model.cleanup)
    found["opens"] = model.opened(op)
    py.PyCapsule_SetName(op, py.cstring("used"))
    found["opens renamed"] = model.opened(op)
    found["opens by another name"] = model.opened(op, "a.b")
    found["dies"] = model.dies(model.make(model.cleanup))
    found["dies renamed"] = model.dies(
        model.make(model.cleanup), lambda op: py.PyCapsule_SetName(op, py.cstring("used"))
    )
    found["dies without"] = model.dies(model.make(NULL))
    found["dies with the context cleared"] = model.dies(
        model.make(model.cleanup), lambda op: py.PyCapsule_SetContext(op, NULL)
    )
    if library == "pybind11":
        found["dies as a function"] = model.dies(pybind11.capsule_calling(py, model.at_exit))
        found["dies with another pointer"] = model.dies(
            model.make(model.cleanup), lambda op: pybind11.set_pointer(py, op, model.box + 4)
        )
        pybind11.set_pointer(py, model.make(model.cleanup), NULL)
        found["set to NULL"] = model.told(NULL)
    found["pending"] = model.drop(model.cleanup, True)
    found["nothing pending"] = model.drop(model.cleanup, False)
    return found


def look(compiled: tuple[str, str, Path], *more: str) -> subprocess.CompletedProcess[str]:
    """Run the script that looks, in a process of its own."""
    library, python, folder = compiled
    command = [python, str(LOOK), str(folder), f"{library}_capsules", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_library_does_what_its_layer_says(compiled: tuple[str, str, Path]) -> None:
    """Constructors, opening, renaming, dying, and what is pending are in the real library as in the model."""
    done = look(compiled)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == predicted(compiled[0])


def test_poked_capsule(compiled: tuple[str, str, Path]) -> None:
    """A capsule that is no longer valid ends a process of pybind11, and leaves an exception with nanobind."""
    done, model = look(compiled, "poked"), Model(compiled[0])
    op = model.make(model.cleanup)
    model.py.poke(op, "pointer", NULL)
    if compiled[0] == "pybind11":
        assert done.returncode < 0
        assert "error_already_set" in done.stderr
        with pytest.raises(Abort, match="error_already_set"):
            model.py.Py_DECREF(op)
    else:
        model.py.Py_DECREF(op)
        assert str(model.py.error) == "PyCapsule_GetContext called with invalid PyCapsule object"
        assert done.returncode != 0 or str(model.py.error) in done.stderr


def test_failing_cleanup(compiled: tuple[str, str, Path]) -> None:
    """What the function leaves pending is lost with pybind11, and stays with nanobind."""
    library, python, folder = compiled
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import {library}_capsules as m; print(m.drop_failing())"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    model = Model(library)
    assert (
        done.stdout.split()
        == model.drop(model.fails, False)[:1]
        == ["none" if library == "pybind11" else "RuntimeError"]
    )
