"""Perform the vectors of the suite ``layers`` on the interpreter that runs this: real capsules around real memory.

``python -m capsule_model.layers.adapter`` speaks the adapter protocol. What the layers do is the model's; the process
that they do it to is this one. All else is the capsule API's own adapter. No interpreter of today has CObject.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from capsule_model.layers.real import CALLS, CAPSULES, Raised, RealProcess
from capsule_model.layers.steps import OPERATIONS
from capsule_model.trace.contract import operations
from capsule_model.trace.operations import NOTHING, BadVector
from capsule_model.undefined import UndefinedBehavior

__all__ = ["LayerAdapter", "LayerSession", "main"]

Json = dict[str, Any]
NOT_HERE = "PyCObject_"
CARRIED_OUT = {name: operation for name, operation in OPERATIONS.items() if not name.startswith(NOT_HERE)}
CAPSULES.OPERATIONS.update((name, (" ".join(operations()[name].args), "nothing", "")) for name in CARRIED_OUT)
CAPSULES.HANDLERS.update(CARRIED_OUT)


class LayerAdapter(CAPSULES.Adapter):  # type: ignore[misc]
    """The interpreter that runs this, as one that layers are built on."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.behind = {
            name: self.caller(self.prototype(name, None if returns == "nothing" else ctypes.c_size_t, count))
            for name, (count, returns) in CALLS.items()
        }

    def check(self, vector: Json) -> None:
        """Raise Unsupported or Malformed for a vector that should not be begun."""
        steps = vector.get("steps")
        for step in steps if isinstance(steps, list) else ():
            if isinstance(step, dict) and str(step.get("op")).startswith(NOT_HERE):
                raise CAPSULES.Unsupported("cobject: CPython has had none since 3.2")
        super().check(vector)


class LayerSession(CAPSULES.Session):  # type: ignore[misc]
    """One run of one vector, with what an operation of the model asks of its machine.

    ``py`` is the process, ``extra`` what operations keep, ``tokens`` what shows addresses as tokens.
    """

    events: list[Json]
    path: str
    parked: tuple[int, int, int]

    def __init__(self, adapter: Any, vector: Json) -> None:
        self.extra: Json = {}
        self.tokens = self
        self.py: RealProcess | None = None
        super().__init__(adapter, vector)

    # What a machine is to operations

    def seen(self, address: int) -> Json | None:
        """Return an address as observations show it."""
        shown: Json | None = self.show(address)
        return shown

    def give(self, address: int, token: str) -> None:
        """Name an address."""
        self._bind(token, address)

    def bind(self, address: int, name: str | None) -> None:
        """Give a name to an address that was returned; a name for NULL means NULL."""
        if name is not None:
            self._bind(name, address)

    def own(self, address: int, bind: str | None) -> None:
        """Note that the vector owns a new reference, and name it."""
        kind = CAPSULES.read_word(address + CAPSULES.TYPE_OFFSET)
        self.owned[address] = self.owned.get(address, 0) + 1
        self._bind(bind, address, kind) if bind is not None else self._name(f"#{self.path}", address, "ref", kind)

    # What a session is to the process

    def arrived(self, address: int) -> None:
        """Note a new object; what the address was called before belonged to one that is gone."""
        self._forget(address)
        self.shown.pop(address, None)
        self.types.pop(address, None)
        self.dead.discard(address)

    def check_failure(self) -> None:
        """Raise what a function that C code called could not."""
        if self.failure is not None:
            raise self.failure

    def destructor(self, call: Callable[[int], object]) -> int:
        """Give a body the address of a capsule destructor."""
        number = len(self.entries)
        if number == CAPSULES.FUNCTION_LIMIT:
            raise CAPSULES.Malformed(f"more than {CAPSULES.FUNCTION_LIMIT} functions")
        self.entries.append(("", {}))
        assert self.py is not None
        self.py.destructors[number] = call
        return int(self.adapter.function("destructor", number))

    def called(self, number: int, subject: int, error: Any) -> int:
        """Run the body of a destructor, or the steps of one that the vector declares."""
        process = self.py
        body = None if process is None else process.destructors.get(number)
        if process is None or body is None:
            return int(super().called(number, subject, error))
        if self.closed or self.failure is not None:
            return 0
        self.dead.add(subject)
        self.dying.append(subject)
        outer = process.error
        process.error = None if error is None else process.taken((error[0], error[1], error[2]))
        try:
            process.nested(body, subject)
        finally:
            self.dying.pop()
            if error is not None:
                error[0], error[1], error[2] = process.held(process.error)
            left, process.error = process.error, outer
        if error is None and left is not None:
            raise CAPSULES.Unsupported("compiled-destructors: one leaves an exception")
        return 0

    # Steps

    def _perform(self, step: Json, path: str) -> Json:
        operation = CARRIED_OUT.get(step["op"])
        if operation is None:
            observation: Json = super()._perform(step, path)
            return observation
        if self.py is None:
            self.py = RealProcess(self)
        process, outer_events, outer_path = self.py, self.events, self.path
        self.events, self.path = outer_events if self.subject is None else [], path
        outer = process.error
        try:
            before = process.error = self._pending(step)
            # Operations take a machine, and this stands in for one.
            machine: Any = self
            seen = operation(machine, _arguments(step), step.get("bind"))
            self.check_failure()
            return self._observed(step, seen, before, process.error)
        except (CAPSULES.Malformed, BadVector, UndefinedBehavior) as error:
            raise _malformed(error, path) from None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise _malformed(f"{type(error).__name__}: {error}", path) from error
        finally:
            process.error = outer
            self.events, self.path = [] if self.subject is None else outer_events, outer_path

    def _pending(self, step: Json) -> Raised | None:
        """Return the exception that is pending when a step begins."""
        if self.adapter.library is None and ("pending" in step or step.get("leave")):
            raise CAPSULES.Unsupported(f"error-indicator: {self.adapter.absent['error-indicator']}")
        if step.get("pending") is not None:
            return Raised(CAPSULES.make_exception(step["pending"]))
        return Raised(CAPSULES.object_at(self.parked[1])) if self.parked[0] else None

    def _observed(self, step: Json, seen: Any, before: Raised | None, after: Raised | None) -> Json:
        observation: Json = {"indicator": _indicator(before, after), "error": None, "events": self.events}
        if seen is not NOTHING:
            observation["return"] = seen
        if after is not None:
            observation["error"] = self.describe((id(type(after.exception)), id(after.exception), 0))
        if step.get("leave"):
            assert self.py is not None
            words, self.parked = self.parked, self.py.held(after)
            self._release(*words)
        return observation


# The names by which the module makes what it runs.
CAPSULES.Adapter, CAPSULES.Session = LayerAdapter, LayerSession


def _indicator(before: Raised | None, after: Raised | None) -> str:
    if after is before:
        return "clear" if after is None else "unchanged"
    return "cleared" if after is None else "set" if before is None else "replaced"


def _arguments(step: Json) -> Json:
    """Return the arguments of a step after a look at their names."""
    row, args = operations()[step["op"]], step.get("args", {})
    if not isinstance(args, dict) or set(row.args) != args.keys():
        raise CAPSULES.Malformed(f"{row.name} takes {', '.join(row.args) or 'nothing'}")
    return args


def _malformed(error: Exception | str, path: str) -> Exception:
    """Return what is wrong with a vector, in one line and with the step."""
    told = error.message if isinstance(error, BadVector) else str(error).partition("\n")[0]
    made: Any = CAPSULES.Malformed(told)
    made.path = getattr(error, "path", None) or path
    return made  # type: ignore[no-any-return]


def main() -> None:
    """Speak the adapter protocol on standard input and output."""
    CAPSULES.main()


if __name__ == "__main__":
    main()
