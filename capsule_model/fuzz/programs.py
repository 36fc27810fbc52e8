"""Make programs of steps that are defined in every state they are run in.

One generator serves both a seeded random source and Hypothesis: it asks a ``Choices`` for everything it decides.
It looks at the model to know what is alive, and never writes a step whose behaviour is undefined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from capsule_model.fuzz.worlds import EXCEPTIONS, READERS, Choices, Seeded, Step, world
from capsule_model.profiles import Profile
from capsule_model.trace.execute import Machine

__all__ = ["KINDS", "Choices", "Programs", "Seeded", "kinds_by_weight", "world"]

NAMES = ("mod.attr", "mod.attr2", "mod", "", "cm_fuzz.cap", "cm_fuzz.sub.cap", "é.ü")
RAW_NAMES = ("6d6f64ff", "6d6f642e61747472006578747261")
POINTERS = ("p1", "p2", "p3")
NOT_CAPSULES = ("None", "int", "str", "bytes", "list", "dict", "tuple", "function", "object", "class", "PyCapsule_Type")
PATHS = (
    "cm_fuzz.cap",
    "cm_fuzz.other",
    "cm_fuzz.sub.cap",
    "cm_fuzz.unnamed",
    "cm_fuzz.holder.cap",
    "cm_fuzz.lazy",
    "cm_fuzz.lazy_other",
    "cm_fuzz.thing.cap",
    "cm_fuzz.thing.bad",
    "cm_fuzz.absent",
    "cm_fuzz.cap.x",
    "cm_fuzz..cap",
    "cm_fuzz.",
    "cm_fuzz",
    "cm_gone.cap",
    "cm_raises.cap",
    "cm_nowhere.cap",
    "cm_capsule",
    "",
    ".",
    ".cap",
)


class Programs:
    """Write one program, a step at a time, next to the machine that has run the steps before.

    ``kinds`` are the kinds of steps to pick from, each as often as it stands there (default: as nobody steers).
    ``kind`` is that of the latest step. What ``written`` gives is enough to go on with a program from where it was.
    """

    def __init__(
        self, choices: Choices, profile: Profile, kinds: Sequence[str] = (), written: Mapping[str, Any] | None = None
    ) -> None:
        self.choices = choices
        self.profile = profile
        self.destructors = ("d1", "d2", "d3", "d4", "d_no_memory", "d_clear", "d_context")
        self.bound: int = written["bound"] if written else 0
        self.capsules: list[str] = list(written["capsules"]) if written else []
        self.names: list[str] = list(written["names"]) if written else []
        self.waiting: list[Step] = []
        self.kind = ""
        self.kinds = kinds or _KINDS
        self.kinds_while_pending = [kind for kind in self.kinds if kind not in _NEEDS_CLEAR]

    def written(self) -> dict[str, Any]:
        """Return what the writer knows of its program; only where no step waits."""
        return {"bound": self.bound, "capsules": list(self.capsules), "names": list(self.names)}

    def next_step(self, machine: Machine) -> Step:
        """Return a step that is defined in the machine's present state."""
        if self.waiting:
            return self.waiting.pop(0)
        self.capsules = [token for token in self.capsules if machine.owned.get(self._address(machine, token), 0) > 0]
        clear = machine.py.error is None
        self.kind = kind = self.choices.pick(self.kinds if clear else self.kinds_while_pending)
        step: Step = getattr(self, f"_{kind}")(machine)
        if kind in _MAY_HAVE_PENDING:
            self._decorate(step)
        return step

    def closing_steps(self, machine: Machine) -> list[Step]:
        """Return steps that give back what the program still owns."""
        steps: list[Step] = [{"op": "PyErr_Clear", "args": {}, "leave": True}]
        for token in self.capsules:
            address = self._address(machine, token)
            steps += [{"op": "Py_DECREF", "args": {"op": {"ref": token}}}] * machine.owned.get(address, 0)
        return steps

    def _address(self, machine: Machine, token: str) -> int:
        return machine.tokens.address.get(token, 0)

    def _decorate(self, step: Step) -> None:
        """Let some steps begin with an exception pending, or leave what they end with."""
        if self.choices.often(0.15):
            step["pending"] = {"type": self.choices.pick(EXCEPTIONS), "text": "pending"}
        if self.choices.often(0.1):
            step["leave"] = True

    def _fresh(self, prefix: str) -> str:
        self.bound += 1
        return f"{prefix}{self.bound}"

    def _some_name(self) -> Any:
        if self.names and self.choices.often(0.6):
            return {"ref": self.choices.pick(self.names)}
        if self.choices.often(0.2):
            return None
        if self.choices.often(0.15):
            return {"hex": self.choices.pick(RAW_NAMES)}
        return {"cstr": self.choices.pick(NAMES)}

    def _some_capsule(self) -> Any:
        if self.capsules and not self.choices.often(0.12):
            return {"ref": self.choices.pick(self.capsules)}
        return None if self.choices.often(0.5) else {"object": self.choices.pick(NOT_CAPSULES)}

    def _some_word(self) -> Any:
        return None if self.choices.often(0.25) else {"ptr": self.choices.pick(POINTERS)}

    def _some_destructor(self) -> Any:
        return None if self.choices.often(0.4) else {"function": self.choices.pick(self.destructors)}

    def _string(self, machine: Machine) -> Step:
        token = self._fresh("n")
        self.names.append(token)
        value = {"hex": self.choices.pick(RAW_NAMES)} if self.choices.often(0.2) else None
        return {"op": "string", "args": {"bytes": value or {"cstr": self.choices.pick(NAMES)}}, "bind": token}

    def _rename(self, machine: Machine) -> Step:
        """Write through a name's buffer: the name of every capsule that stores it changes."""
        long = [token for token in self.names if machine.tokens.sizes.get(self._address(machine, token), 0) > 3]
        if not long:
            return self._string(machine)
        written = self.choices.pick(("58", "5900", "6d6f64"))
        return {"op": "write", "args": {"ptr": {"ref": self.choices.pick(long)}, "bytes": {"hex": written}}}

    def _new(self, machine: Machine) -> Step:
        token = self._fresh("c")
        pointer = None if self.choices.often(0.05) else {"ptr": self.choices.pick(POINTERS)}
        if pointer is not None and len(self.capsules) < 12:
            self.capsules.append(token)
        args = {"pointer": pointer, "name": self._some_name(), "destructor": self._some_destructor()}
        step: Step = {"op": "PyCapsule_New", "args": args, "bind": token}
        if token not in self.capsules and pointer is not None:
            self.capsules.append(token)
            self.waiting.append({"op": "Py_DECREF", "args": {"op": {"ref": token}}})
        return step

    def _holder(self, machine: Machine) -> Step:
        """Make a capsule whose context is a reference to another, given back by its destructor."""
        live = [token for token in self.capsules if machine.owned.get(self._address(machine, token), 0) > 0]
        if not live:
            return self._new(machine)
        inner, outer = {"ref": self.choices.pick(live)}, self._fresh("h")
        self.waiting += [
            {"op": "PyCapsule_SetContext", "args": {"capsule": {"ref": outer}, "context": inner}},
            {"op": "PyCapsule_GetContext", "args": {"capsule": {"ref": outer}}},
            {"op": "layout", "args": {"op": {"ref": outer}}},
            {"op": "Py_INCREF", "args": {"op": inner}},
            {"op": "Py_DECREF", "args": {"op": {"ref": outer}}},
        ]
        args = {"pointer": {"ptr": "p2"}, "name": self._some_name(), "destructor": {"function": "d_drops"}}
        return {"op": "PyCapsule_New", "args": args, "bind": outer}

    def _check(self, machine: Machine) -> Step:
        capsule = self._some_capsule() or {"object": "None"}
        return {"op": "PyCapsule_CheckExact", "args": {"op": capsule}}

    def _is_valid(self, machine: Machine) -> Step:
        return {"op": "PyCapsule_IsValid", "args": {"capsule": self._some_capsule(), "name": self._some_name()}}

    def _get_pointer(self, machine: Machine) -> Step:
        return {"op": "PyCapsule_GetPointer", "args": {"capsule": self._some_capsule(), "name": self._some_name()}}

    def _read(self, machine: Machine) -> Step:
        return {"op": self.choices.pick(READERS), "args": {"capsule": self._some_capsule()}}

    def _set_pointer(self, machine: Machine) -> Step:
        return self._then_look("PyCapsule_SetPointer", "pointer", self._some_word())

    def _set_name(self, machine: Machine) -> Step:
        return self._then_look("PyCapsule_SetName", "name", self._some_name())

    def _set_context(self, machine: Machine) -> Step:
        return self._then_look("PyCapsule_SetContext", "context", self._some_word())

    def _set_destructor(self, machine: Machine) -> Step:
        return self._then_look("PyCapsule_SetDestructor", "destructor", self._some_destructor())

    def _then_look(self, op: str, name: str, value: Any) -> Step:
        capsule = self._some_capsule()
        if capsule is not None and "ref" in capsule:
            self.waiting.append({"op": "layout", "args": {"op": capsule}})
        return {"op": op, "args": {"capsule": capsule, name: value}}

    def _take(self, machine: Machine) -> Step:
        if not self.capsules:
            return self._new(machine)
        token = {"ref": self.choices.pick(self.capsules)}
        self.waiting.append({"op": "Py_REFCNT", "args": {"ob": token}})
        return {"op": "Py_INCREF", "args": {"op": token}}

    def _drop(self, machine: Machine) -> Step:
        if not self.capsules:
            return self._new(machine)
        return {"op": "Py_DECREF", "args": {"op": {"ref": self.choices.pick(self.capsules)}}}

    def _look(self, machine: Machine) -> Step:
        if not self.capsules:
            return self._new(machine)
        return {"op": "layout", "args": {"op": {"ref": self.choices.pick(self.capsules)}}}

    def _import(self, machine: Machine) -> Step:
        args = {"name": {"cstr": self.choices.pick(PATHS)}, "no_block": self.choices.pick((0, 1))}
        return {"op": "PyCapsule_Import", "args": args}

    def _load(self, machine: Machine) -> Step:
        return {"op": "import", "args": {"module": {"cstr": self.choices.pick(("cm_fuzz", "cm_fuzz.sub", "cm_gone"))}}}

    def _python(self, machine: Machine) -> Step:
        if not self.capsules:
            return self._new(machine)
        one = {"ref": self.choices.pick(self.capsules)}
        other = {"ref": self.choices.pick(self.capsules)}
        steps: tuple[Step, ...] = (
            {"op": "PyObject_Repr", "args": {"o": one}},
            {"op": "PyObject_Hash", "args": {"o": one}},
            {
                "op": "PyObject_RichCompare",
                "args": {"o1": one, "o2": other, "opid": self.choices.pick(("==", "!=", "<", ">="))},
            },
            {"op": "PyObject_IsTrue", "args": {"o": one}},
            {"op": "PyObject_GetAttrString", "args": {"o": one, "attr_name": {"cstr": "x"}}},
            {"op": "PyObject_SetAttrString", "args": {"o": one, "attr_name": {"cstr": "x"}, "v": other}},
            {"op": "copy.copy", "args": {"x": one}},
            {"op": "pickle.dumps", "args": {"obj": one, "protocol": self.choices.pick((0, 2, 5))}},
            {"op": "weakref.ref", "args": {"ob": one}},
            {"op": "sys.getsizeof", "args": {"object": one}},
        )
        return self.choices.pick(steps)

    def _poked(self, machine: Machine) -> Step:
        """Put a NULL pointer into a capsule, ask everything of it, and put a pointer back."""
        if not self.capsules:
            return self._new(machine)
        capsule = {"ref": self.choices.pick(self.capsules)}
        self.waiting += [
            {"op": "PyCapsule_IsValid", "args": {"capsule": capsule, "name": self._some_name()}},
            {"op": "PyCapsule_GetPointer", "args": {"capsule": capsule, "name": self._some_name()}},
            {"op": self.choices.pick(READERS), "args": {"capsule": capsule}},
            {"op": "PyCapsule_SetPointer", "args": {"capsule": capsule, "pointer": {"ptr": "p1"}}},
            {"op": "poke", "args": {"op": capsule, "field": "pointer", "value": {"ptr": "p2"}}},
        ]
        return {"op": "poke", "args": {"op": capsule, "field": "pointer", "value": None}}

    def _cycle(self, machine: Machine) -> Step:
        """Make a capsule that only itself keeps alive, and let the collector find it."""
        if "gc-capsule" not in self.profile.behaviours:
            return self._new(machine)
        token = self._fresh("g")
        capsule = {"ref": token}
        functions = {"traverse_func": {"function": "t_self"}, "clear_func": {"function": "c_self"}}
        self.waiting += [
            {"op": "Py_INCREF", "args": {"op": capsule}},
            {"op": "gc.is_tracked", "args": {"obj": capsule}},
            {"op": "_PyCapsule_SetTraverse", "args": {"op": capsule, **functions}},
            {"op": "gc.is_tracked", "args": {"obj": capsule}},
            {"op": "layout", "args": {"op": capsule}},
            {"op": "gc.get_referents", "args": {"obj": capsule}},
            {"op": "Py_DECREF", "args": {"op": capsule}},
            {"op": "gc.collect", "args": {}},
        ]
        args = {"pointer": {"ptr": "p1"}, "name": self._some_name(), "destructor": self._quiet_destructor()}
        return {"op": "PyCapsule_New", "args": args, "bind": token}

    def _quiet_destructor(self) -> Any:
        """Return a destructor that leaves no error: the collector would print it."""
        return self.choices.pick((None, {"function": "d_context"}))


_KINDS = (
    ["new"] * 6
    + ["holder", "string", "string", "rename", "check", "look", "take", "take"]
    + ["drop"] * 5
    + ["is_valid", "get_pointer", "read"] * 4
    + ["set_pointer", "set_name", "set_context", "set_destructor"] * 2
    + ["import"] * 4
    + ["load", "python", "python", "poked", "cycle"]
)
# What is undefined, or is not known to be defined, while an exception is pending.
_NEEDS_CLEAR = {"import", "load", "python", "cycle", "holder", "poked"}
_MAY_HAVE_PENDING = {"is_valid", "get_pointer", "read", "set_pointer", "set_name", "set_context", "set_destructor"} | {
    "new",
    "check",
    "take",
    "drop",
}

# How often each kind of step is made where nobody steers.
KINDS: Mapping[str, int] = Counter(_KINDS)


def kinds_by_weight(weights: Mapping[str, float], size: int = 400) -> list[str]:
    """Return about ``size`` kinds to pick from, each about as often as its weight says, and at least once."""
    whole = sum(weights.values())
    return [kind for kind, weight in weights.items() for _ in range(max(1, round(size * weight / whole)))]
