"""A recording of what a program does with an interpreter: its calls, what they run, and who owns what meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from types import TracebackType
from typing import Any

from capsule_model.errors import PyErr
from capsule_model.interpreter import Interpreter
from capsule_model.process import CFunction
from capsule_model.show.pictures.moments import CLEARED, Call, Tape
from capsule_model.show.pictures.picture import Picture
from capsule_model.show.pictures.safe import safe
from capsule_model.show.pictures.timeline import tape_picture
from capsule_model.undefined import UndefinedBehavior

__all__ = ["Recording"]

# What is noted besides the functions of the C API.
OTHERS = ("malloc", "free", "write", "poke", "gc_collect", "end_thread", "handle_pending")


class Recording:
    """Record what is called on an interpreter while a ``with`` block runs; displayed, it is a time line.

    ``names`` are what the reader calls addresses; ``name`` adds one. Functions that are called through their pointers,
    such as destructors, are noted, too. Calls cost nothing when the block has ended.

        with Recording(py) as tape:
            cap = py.PyCapsule_New(box, name, destroy)
            py.Py_DECREF(cap)
        tape
    """

    def __init__(self, py: Interpreter, *, names: Mapping[int, str] | None = None) -> None:
        self.py = py
        self.tape = Tape(py, dict(names or {}))
        self._before: dict[int, CFunction] = {}

    def name(self, address: int, name: str) -> None:
        """Say what to call an address."""
        self.tape.names[address] = name

    def __enter__(self) -> Recording:
        """Begin to record; ``RuntimeError`` where a recording of this interpreter runs already."""
        py = self.py
        if "Py_DECREF" in vars(py):
            raise RuntimeError("this interpreter is being recorded already: expected one recording at a time")
        self.tape.start = self.tape.look()
        for name in (*(name for name in dir(type(py)) if name.startswith(("Py", "_Py"))), *OTHERS):
            setattr(py, name, self._noted(name, getattr(py, name)))
        setattr(py, "function", self._declared(py.function))  # noqa: B010 - it stands before the class's own
        for address, function in py.functions.items():
            self._before[address] = function
            py.functions[address] = self._called(function)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the recording; exceptions go on."""
        for name in [name for name, value in vars(self.py).items() if hasattr(value, "__recorded__")]:
            delattr(self.py, name)
        self.py.functions.update(self._before)

    def _noted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def noted(*arguments: Any, **keywords: Any) -> Any:
            return self._run(Call(name, (*arguments, *keywords.values())), call, *arguments, **keywords)

        noted.__recorded__ = True  # type: ignore[attr-defined]
        return noted

    def _declared(self, function: Callable[..., int]) -> Callable[..., int]:
        """Return what ``py.function`` is meanwhile: functions that are made now are noted, too."""

        def declared(*arguments: Any, **keywords: Any) -> int:
            address = function(*arguments, **keywords)
            self._before[address] = self.py.functions[address]
            self.py.functions[address] = self._called(self.py.functions[address])
            return address

        declared.__recorded__ = True  # type: ignore[attr-defined]
        return declared

    def _called(self, function: CFunction) -> CFunction:
        def called(*arguments: Any) -> Any:
            # What a traverse function gets besides the capsule is no address.
            shown = tuple(one for one in arguments if isinstance(one, int))
            return self._run(Call(safe(function.name, 60), shown), function.call, *arguments)

        return replace(function, call=called)

    def _run(self, what: Call, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        tape = self.tape
        begun = tape.begin(what)
        before = self.py.error
        try:
            outcome = call(*arguments, **keywords)
        except UndefinedBehavior as diagnosis:
            tape.undefined(begun, diagnosis)
            raise
        except BaseException as error:
            tape.end(begun, None, f"{type(error).__name__}: {error}")
            raise
        after = self.py.error
        tape.end(begun, outcome, _said(after) if after is not before else "")
        return outcome

    @property
    def picture(self) -> Picture:
        """Return the time line of what was recorded so far."""
        return tape_picture(self.tape)

    def _repr_html_(self) -> str:
        """Show the time line in a notebook."""
        return self.picture._repr_html_()

    def _repr_svg_(self) -> str:
        """Show the time line in a notebook."""
        return self.picture._repr_svg_()

    def __str__(self) -> str:
        """Show the time line in a terminal."""
        return str(self.picture)


def _said(error: PyErr | None) -> str:
    return CLEARED if error is None else f"{error.type}: {error}"
