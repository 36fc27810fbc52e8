"""A real destructor in this interpreter: real capsules, driven by the steps of a program."""

from __future__ import annotations

import builtins
import gc
import sys
from collections.abc import Callable, Mapping
from typing import Any

from capsule_model.conform.runner import nearest_profile
from capsule_model.fuzz.broken import GIVES_BACK, Wrong
from capsule_model.fuzz.real import (
    DESTRUCTOR,
    Keep,
    address_of,
    api,
    die_while_pending,
    is_supported,
    object_at,
    refcount,
    set_refcount,
)
from capsule_model.profiles import Profile

__all__ = ["OnReal", "Party", "running_profile"]

# So many references are held while a destructor runs that none that it gives back is the last.
_HELD = 64


def running_profile() -> Profile:
    """Return the profile of the interpreter that runs this, or the nearest one."""
    return nearest_profile(f"cpython-{sys.version_info[0]}.{sys.version_info[1]}")[0]


class Party:
    """A real destructor, what it works on, and how that is counted; raises ``ValueError`` where none can be driven."""

    def __init__(
        self,
        destructor: Any,
        make: Callable[[], tuple[int, int]] | None = None,
        live: Callable[[], int] | None = None,
    ) -> None:
        reason = is_supported()
        if reason is not None:
            raise ValueError(reason)
        # A ctypes function that wraps a Python function runs Python code, and ctypes loses what is pending there.
        self.compiled = isinstance(destructor, int)
        if self.compiled or hasattr(destructor, "argtypes"):
            self.address = address_of(destructor)
            self.call: Callable[[int], Any] = DESTRUCTOR(self.address)
        elif callable(destructor):
            self.call = destructor
            self.callback = DESTRUCTOR(destructor)
            self.address = address_of(self.callback)
        else:
            raise ValueError(f"{destructor!r} is no destructor; expected a function or the address of one")
        self.make = make or (lambda: (0x1000, 0))
        self.live = live


class OnReal:
    """Real capsules, and what is known of each call of the destructor."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.profile = running_profile()
        self.addresses: dict[str, int] = {}
        self.nested: dict[int, int] = {}
        self.keep = Keep()
        self.done: set[int] = set()
        self.wrong: Wrong | None = None
        self.before = party.live() if party.live else 0
        self.entered = DESTRUCTOR(self._entered)
        self.outer = DESTRUCTOR(self._outer)

    def perform(self, step: Mapping[str, Any]) -> None:
        """Perform a step on real capsules."""
        args = step["args"]
        match step["op"]:
            case "PyCapsule_New":
                self._new(step["bind"], args)
            case "PyCapsule_SetName":
                api("PyCapsule_SetName")(self._capsule(args["capsule"]), self._name(args["name"]))
            case "PyCapsule_SetContext":
                self._set_context(self._capsule(args["capsule"]), args["context"])
            case "Py_INCREF":
                api("Py_IncRef")(self._capsule(args["op"]))
            case "Py_DECREF":
                self._drop(self._capsule(args["op"]), step.get("pending"), collected="note" in step)
            case other:
                raise ValueError(
                    f"{other} is no step of a real destructor's program; expected one that the machine made"
                )
        if self.wrong is not None:
            raise self.wrong

    def end(self) -> None:
        """See that all that was made is given back."""
        if self.party.live is None:
            return
        left = self.party.live() - self.before
        if left:
            raise Wrong(GIVES_BACK, f"{left} more live than before")

    def _new(self, token: str, args: Mapping[str, Any]) -> None:
        mine = args["destructor"] == {"function": "mine"}
        pointer, context = self.party.make() if mine else (0x1000, 0)
        destructor = address_of(self.entered if mine else self.outer)
        address = api("PyCapsule_New")(pointer, self._name(args["name"]), destructor)
        if context:
            api("PyCapsule_SetContext")(address, context)
        self.addresses[token] = address
        self.done.discard(address)

    def _set_context(self, capsule: int, context: Any) -> None:
        if isinstance(context, Mapping) and "ref" in context:
            self.nested[capsule] = self.addresses[context["ref"]]
            return
        api("PyCapsule_SetContext")(capsule, context or 0)

    def _drop(self, capsule: int, pending: Mapping[str, Any] | None, *, collected: bool) -> None:
        if pending is not None:
            self._drop_pending(capsule, getattr(builtins, pending["type"])(pending.get("text", "")))
        elif collected:
            held: list[Any] = [object_at(capsule)]
            held.append(held)
            api("Py_DecRef")(capsule)
            del held
            # What was just made is young; a whole collection takes a hundred times as long.
            gc.collect(0)
        else:
            self._quiet(lambda: api("Py_DecRef")(capsule))

    def _drop_pending(self, capsule: int, pending: BaseException) -> None:
        if capsule not in self.nested:
            # Between the interpreter and the destructor nothing may stand that loses what is pending.
            api("PyCapsule_SetDestructor")(capsule, self.party.address)
        else:
            api("PyCapsule_SetDestructor")(self.nested[capsule], self.party.address)
            api("PyCapsule_SetDestructor")(capsule, 0)
            api("Py_DecRef")(capsule)
            capsule = self.nested.pop(capsule)
        held = [object_at(capsule)]
        api("Py_DecRef")(capsule)
        after = die_while_pending(held, pending)
        if after is not pending:
            lost = isinstance(after, SystemError)
            seen = f"{pending!r} was pending; afterwards {'nothing' if lost else repr(after)}"
            raise Wrong("a destructor leaves the error indicator as it found it", seen)

    def _quiet(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as left:
            raise Wrong("a destructor leaves the error indicator as it found it", f"it leaves {left!r}") from None

    def _entered(self, capsule: int) -> None:
        """Stand in for the destructor: call it, and look at what it did."""
        if capsule in self.done:
            self._note("a destructor runs once for a capsule", "it was called again")
            return
        self.done.add(capsule)
        count = refcount(capsule)
        set_refcount(capsule, count + _HELD)
        try:
            self.party.call(capsule)
        except BaseException as raised:
            self._note("a destructor leaves the error indicator as it found it", f"it raises {raised!r}")
        finally:
            change = refcount(capsule) - count - _HELD
            set_refcount(capsule, count)
        if change:
            does = f"takes {change}" if change > 0 else f"gives back {-change}"
            self._note("a destructor neither keeps its capsule nor gives it back", f"it {does} of its references")

    def _outer(self, capsule: int) -> None:
        inner = self.nested.pop(capsule, 0)
        if inner:
            try:
                api("Py_DecRef")(inner)
            except Exception as left:
                self._note("a destructor leaves the error indicator as it found it", f"it leaves {left!r}")

    def _note(self, rule: str, seen: str) -> None:
        self.wrong = self.wrong or Wrong(rule, seen)

    def _capsule(self, argument: Mapping[str, Any]) -> int:
        return self.addresses[argument["ref"]]

    def _name(self, argument: Mapping[str, Any] | None) -> int:
        return self.keep.string(None if argument is None else str(argument["cstr"]).encode())
