"""A compact program as a vector of the format that everything else reads, and a difference as it names one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capsule_model.fuzz.batch import code
from capsule_model.fuzz.batch.perform import Errors, Places
from capsule_model.fuzz.batch.reading import Step, steps_of

__all__ = ["Translation"]

# What a step calls the object that it is about; capsule where nothing is said.
_SUBJECTS = {
    "PyCapsule_CheckExact": "op",
    "Py_INCREF": "op",
    "Py_DECREF": "op",
    "Py_IncRef": "o",
    "Py_DecRef": "o",
    "Py_REFCNT": "ob",
    "drop": "o",
}
_ARGUMENTS = {
    "PyCapsule_IsValid": "name",
    "PyCapsule_GetPointer": "name",
    "PyCapsule_SetName": "name",
    "PyCapsule_SetPointer": "pointer",
    "PyCapsule_SetContext": "context",
    "PyCapsule_SetDestructor": "destructor",
}
_MOST_CALLS = 1000
_FUNCTIONS = [f"d_{name}" for name in (*code.DESTRUCTORS, *code.NATIVE)]


def bytes_argument(value: bytes) -> dict[str, str]:
    """Return bytes as the argument that makes storage of them."""
    try:
        return {"cstr": value.decode()}
    except UnicodeDecodeError:
        return {"hex": value.hex()}


class Translation:
    """A program, or its beginning, as a vector.

    ``paths`` has the index of each compact step among the vector's, which begin with the strings; with ``looks``,
    a ``layout`` follows each step on a capsule, and ``looked`` has its index, None where there is none.
    """

    def __init__(self, program: Sequence[int], places: Places, errors: Errors, *, looks: bool = False) -> None:
        self.places = places
        self.errors = errors
        self.compact = list(steps_of(program))
        self.paths: list[int] = []
        self.looked: list[int | None] = []
        self.tokens: dict[int, str] = {}
        self._owned = [0] * code.SLOTS
        self._times = [0] * code.SLOTS
        self._steps: list[dict[str, Any]] = []
        self._functions = sorted(self._destructors())
        self._strings()
        for step in self.compact:
            self._add(step, looks)

    def vector(self) -> dict[str, Any]:
        """Return the vector; it is found by chance, and so is called."""
        vector: dict[str, Any] = {
            "format": 1,
            "id": "fuzz.found",
            "title": "Found by chance",
            "rules": ["PyCapsule_New/returns-capsule"],
        }
        if self._functions:
            vector["functions"] = {_FUNCTIONS[number]: function(number) for number in self._functions}
        if any(step.operation == "PyCapsule_Import" for step in self.compact):
            vector["modules"] = code.DECLARED
        return vector | {"steps": self._steps}

    def upto(self, step: int) -> dict[str, Any]:
        """Return the vector that ends with a compact step."""
        vector = self.vector()
        vector["steps"] = self._steps[: self.paths[step] + 1]
        return vector

    def shown(self, word: int) -> Any:
        """Return a word as observations show it: an address by its token, None for NULL, else the number."""
        if word == 0:
            return None
        token = self.tokens.get(word)
        return word if token is None else {"ref": token}

    def error(self, number: int) -> Any:
        """Return the exception of a number as far as it was compared."""
        if number < 2:
            return None
        type, text = self.errors.known[number - 2]
        return {"type": type, "text": repr(text) if type == "KeyError" else text}

    def _destructors(self) -> set[int]:
        of_address = {address: number for number, address in enumerate(self.places.destructors)}
        given = {"PyCapsule_New": 2, "PyCapsule_SetDestructor": 0}
        words = (step.arguments[given[step.operation]] for step in self.compact if step.operation in given)
        return {of_address[word] for word in words if word}

    def _strings(self) -> None:
        """Make the strings that steps and destructors name, and know all addresses that the pools have."""
        used = {word for step in self.compact for word in step.arguments}
        scripts = (action for number in self._functions if number < len(code.DESTRUCTORS) for action in _script(number))
        used |= {
            self.places.name(action.argument) for action in scripts if _names(action) and action.argument is not None
        }
        for place, name in enumerate(code.NAMES):
            address = self.places.name(place)
            self.tokens[address] = f"n{place}"
            if address in used:
                value = (
                    {"hex": name.ljust(code.STORAGE - 1, b"\0").hex()}
                    if place in code.WRITABLE
                    else bytes_argument(name)
                )
                self._steps.append({"op": "string", "args": {"bytes": value}, "bind": f"n{place}"})
        self.tokens |= {word: f"p{number}" for number, word in enumerate(code.POINTERS, 1)}
        self.tokens |= dict(zip(self.places.destructors, _FUNCTIONS, strict=True))

    def _add(self, step: Step, looks: bool) -> None:
        about = self._about(step.place)
        written: dict[str, Any] = {"op": step.operation, "args": self._arguments(step, about)}
        if step.operation in ("rename", "lend", "hold"):
            written["op"] = {"rename": "write", "lend": "Py_INCREF", "hold": "PyCapsule_SetContext"}[step.operation]
        if step.operation == "PyCapsule_New" and step.place < code.SLOTS:
            written["bind"] = f"c{step.place}"
            if step.result:
                self._owned[step.place] = 1
                times = self._times[step.place] = self._times[step.place] + 1
                self.tokens[step.result] = f"c{step.place}" if times == 1 else f"c{step.place}#{times}"
            about = {"ref": f"c{step.place}"}
        elif about is not None and step.place < code.SLOTS:
            self._owned[step.place] += {"Py_INC": 1, "Py_Inc": 1, "Py_DEC": -1, "Py_Dec": -1}.get(step.operation[:6], 0)
        if step.pending is not None:
            written["pending"] = {"type": step.pending, "text": code.PENDING}
        if step.leave:
            written["leave"] = True
        self.paths.append(len(self._steps))
        self._steps.append(written)
        self.looked.append(None)
        if looks and step.words is not None:
            self.looked[-1] = len(self._steps)
            self._steps.append({"op": "layout", "args": {"op": about}})

    def _about(self, place: int) -> dict[str, str] | None:
        """Return the argument that a register stands for."""
        if place < code.SLOTS:
            return {"ref": f"c{place}"} if self._owned[place] else None
        if place == code.NULL_SLOT:
            return None
        if place < code.MODULES:
            return {"object": code.KINDS[place - code.OBJECTS]}
        return {"ref": code.HELD[place - code.MODULES]}

    def _arguments(self, step: Step, about: Any) -> dict[str, Any]:
        name, words = step.operation, step.arguments
        if name == "PyCapsule_New":
            return dict(zip(("pointer", "name", "destructor"), map(self._word, words), strict=True))
        if name == "PyCapsule_Import":
            path = code.PATHS[(words[0] - self.places.path(0)) // code.STRIDE]
            return {"name": bytes_argument(path), "no_block": words[1]}
        if name == "rename":
            written = code.WRITINGS[words[1]].ljust(code.STORAGE, b"\0")
            return {"ptr": self.shown(words[0]), "bytes": {"hex": written.hex()}}
        if name == "PyErr_Clear":
            return {}
        if name == "poke":
            return {"op": about, "field": "pointer", "value": self._word(words[0])}
        if name == "lend":
            return {"op": about}
        if name == "hold":
            return {"capsule": about, "context": self._about(words[0])}
        given = {_SUBJECTS.get(name, "capsule"): about}
        if name in _ARGUMENTS:
            given[_ARGUMENTS[name]] = self._word(words[0])
        return given

    def _word(self, word: int) -> Any:
        """Return the argument that a word of a pool stands for."""
        shown = self.shown(word)
        if word in code.POINTERS:
            return {"ptr": shown["ref"]}
        return {"function": shown["ref"]} if word in self.places.destructors else shown


def function(number: int) -> dict[str, Any]:
    """Return what a vector declares for a destructor."""
    if number >= len(code.DESTRUCTORS):
        return {"native": code.NATIVE[number - len(code.DESTRUCTORS)]}
    steps = [_inner(action, number == code.DROPS) for action in _script(number)]
    return {"kind": "destructor", "max_calls": _MOST_CALLS, "steps": steps}


def _script(number: int) -> tuple[code.Action, ...]:
    return list(code.DESTRUCTORS.values())[number]


def _names(action: code.Action) -> bool:
    return _ARGUMENTS.get(action.operation) == "name"


def _inner(action: code.Action, drops: bool) -> dict[str, Any]:
    """Return one step inside a destructor."""
    name, place = action.operation, action.argument
    args: dict[str, Any] = {_SUBJECTS.get(name, "capsule"): {"arg": 0}}
    if name == "drop":
        args = {"o": {"ref": "held"}}
    elif name == "PyErr_Clear":
        args = {}
    elif name == "PyErr_SetString":
        args = {"type": {"cstr": code.EXCEPTIONS[place or 0]}, "message": {"cstr": code.RAISED}}
    elif name in _ARGUMENTS:
        word: Any = None if place is None else {"ref": f"n{place}"} if _names(action) else {"ptr": f"p{place + 1}"}
        args[_ARGUMENTS[name]] = word
    step: dict[str, Any] = {"op": "Py_DecRef" if name == "drop" else name, "args": args}
    if drops and name == "PyCapsule_GetContext":
        step["bind"] = "held"
    return step | ({"leave": True} if action.leave else {})
