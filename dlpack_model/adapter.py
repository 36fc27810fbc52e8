"""Perform the vectors of the suite ``dlpack`` on the interpreter that runs this: real capsules around real memory.

``python -m dlpack_model.adapter`` speaks the adapter protocol. The operations, producers, consumers, destructors and
deleters are those of the model; the process that they act on is this one. All else is the capsule API's own adapter.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

from capsule_model.trace.contract import operations
from capsule_model.trace.operations import NOTHING, BadVector
from capsule_model.undefined import UndefinedBehavior
from dlpack_model.exchange import Exchange
from dlpack_model.real.capsules import CAPSULES
from dlpack_model.real.process import CALLS, Raised, RealProcess
from dlpack_model.vectors import EXTENSION, exchange_of

__all__ = ["ArrayAdapter", "ArraySession", "main"]

Json = dict[str, Any]
LIST_LIMIT = 1024
# What would end the process that performs the vectors.
NOT_HERE = {"Py_FinalizeEx": "the interpreter that performs the vector cannot end before it"}
CARRIED_OUT = {name: operation for name, operation in EXTENSION.operations.items() if name not in NOT_HERE}
CAPSULES.OPERATIONS.update((name, ("", "nothing", "")) for name in CARRIED_OUT)
CAPSULES.HANDLERS.update(CARRIED_OUT)


class ArrayAdapter(CAPSULES.Adapter):  # type: ignore[misc]
    """The interpreter that runs this, as an implementation of the exchange."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.behind = {
            name: self.caller(self.prototype(name, ctypes.c_size_t if returns else None, count))
            for name, (count, returns) in CALLS.items()
        }

    def start(self) -> Json:
        """Describe the implementation: the answer to the request of this name."""
        answer: Json = super().start()
        answer["features"].append("dlpack")
        return answer

    def check(self, vector: Json) -> None:
        """Raise Unsupported or Malformed for a vector that should not be begun."""
        steps = vector.get("steps")
        for step in steps if isinstance(steps, list) else ():
            if isinstance(step, dict) and step.get("op") in NOT_HERE:
                raise CAPSULES.Unsupported(f"operation {step['op']}: {NOT_HERE[step['op']]}")
        super().check(vector)


class ArraySession(CAPSULES.Session):  # type: ignore[misc]
    """One run of one vector, with what an operation of the model asks of its machine.

    ``py`` is the process, ``extra`` what operations keep, ``tokens`` what shows addresses as tokens.
    """

    events: list[Json]
    path: str
    parked: tuple[int, int, int]

    def __init__(self, adapter: Any, vector: Json) -> None:
        self.py: RealProcess | None = None
        self.extra: Json = {}
        self.tokens = self
        super().__init__(adapter, vector)

    def exchange(self) -> Exchange:
        """Return the exchange of this process, made when it is first asked for. It judges nothing: the runner does."""
        if self.py is None:
            self.py = RealProcess(self, lambda: self.exchange().gil)
            most = ctypes.alignment(ctypes.c_uint64)
            exchange_of(self, watch=frozenset(), most=most)
        return exchange_of(self)

    # What a machine is to operations

    def seen(self, address: int) -> Json | None:
        """Return an address as observations show it."""
        shown: Json | None = self.show(address)
        return shown

    def event(self, event: Json) -> None:
        """Add an event to the step in progress."""
        self.events.append(event)

    def bind(self, address: int, name: str | None) -> None:
        """Give a name to an address that was returned; a name for NULL means NULL."""
        if name is not None:
            self._bind(name, address)

    def own(self, address: int, bind: str | None) -> None:
        """Note that the vector owns a new reference, and name it."""
        kind = CAPSULES.read_word(address + CAPSULES.TYPE_OFFSET)
        self.owned[address] = self.owned.get(address, 0) + 1
        if bind is not None:
            self._bind(bind, address, kind)
        elif address not in self.shown:
            self._name(f"#{self.path}", address, "ref", kind)

    # What a session is to the process

    def arrived(self, address: int) -> None:
        """Note a new object; what the address was called before belonged to one that is gone."""
        self._forget(address)
        self.shown.pop(address, None)
        self.types.pop(address, None)
        self.dead.discard(address)

    def string_elsewhere(self, address: int) -> bytes | None:
        """Return the C string in storage that a step has made, None where there is none."""
        start = self._buffer(address)
        if start not in self.ends:
            return None
        text: bytes = ctypes.string_at(address, self.ends[start] - address)
        return text.partition(b"\0")[0]

    def _block(self, address: int, size: int) -> int:
        if self.py is not None and self.py.memory.holds(address, size):
            return address
        return int(super()._block(address, size))

    def check_failure(self) -> None:
        """Raise what a function that C code called could not."""
        if self.failure is not None:
            raise self.failure

    def destructor(self, call: Callable[[int], object]) -> int:
        """Give a behaviour the address of a destructor."""
        number = len(self.entries)
        if number == CAPSULES.FUNCTION_LIMIT:
            raise CAPSULES.Malformed(f"more than {CAPSULES.FUNCTION_LIMIT} functions")
        self.entries.append(("", {}))
        assert self.py is not None
        self.py.destructors[number] = call
        return int(self.adapter.function("destructor", number))

    def called(self, number: int, subject: int, error: Any) -> int:
        """Run the behaviour of a destructor, or the steps of one that the vector declares."""
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
            if step["op"] in CAPSULES.REFERENCES:
                self._refuse_dead(step, path)
            observation: Json = super()._perform(step, path)
            return observation
        outer_events, outer_path = self.events, self.path
        self.events, self.path = outer_events if self.subject is None else [], path
        ex = self.exchange()
        process: RealProcess = ex.py  # type: ignore[assignment]
        outer = process.error
        process.memory.label(f"step {path}")
        try:
            before = process.error = self._pending(step)
            seen = operation(self, _arguments(step), step.get("bind"))
            self.check_failure()
            return self._observed(step, seen, before, process.error)
        except (CAPSULES.Malformed, BadVector, UndefinedBehavior) as error:
            raise _malformed(error, path) from None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise _malformed(f"{type(error).__name__}: {error}", path) from error
        finally:
            process.error = outer
            self.events, self.path = [] if self.subject is None else outer_events, outer_path

    def _refuse_dead(self, step: Json, path: str) -> None:
        """Refuse to count references to an array that is dead: the one that is left keeps its memory."""
        for argument in step.get("args", {}).values():
            address = self.names.get(argument.get("ref")) if isinstance(argument, dict) else None
            if self.py is not None and address in self.py.deallocators and address in self.dead:
                raise _malformed(f"{step['op']} of {argument['ref']}, which is dead: expected an object", path)

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

    def close(self) -> list[str]:
        """Name what the vector still owns, then put everything back."""
        leaks: list[str] = super().close()
        if self.py is not None:
            self.py.close()
        return leaks


# The names by which the module makes what it runs.
CAPSULES.Adapter, CAPSULES.Session = ArrayAdapter, ArraySession


def _indicator(before: Raised | None, after: Raised | None) -> str:
    if after is before:
        return "clear" if after is None else "unchanged"
    return "cleared" if after is None else "set" if before is None else "replaced"


def _arguments(step: Json) -> Mapping[str, Any]:
    """Return the arguments of a step after a look at their names and lengths."""
    row, args = operations()[step["op"]], step.get("args", {})
    if not isinstance(args, dict) or not set(row.args) - row.optional <= args.keys() <= set(row.args):
        raise CAPSULES.Malformed(f"{row.name} takes {', '.join(row.args) or 'nothing'}")
    for name, value in args.items():
        if isinstance(value, list | str) and len(value) > LIST_LIMIT:
            raise CAPSULES.Malformed(f"{name} has {len(value)} items: expected at most {LIST_LIMIT}")
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
