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

__all__ = ["KINDS", "Choices", "Programs", "Seeded", "Step", "kinds_by_weight", "world"]

NAMES = ("mod.attr", "mod.attr2", "mod", "", "cm_fuzz.cap", "cm_fuzz.sub.cap", "é.ü", "Mod.attr")
RAW_NAMES = ("6d6f64ff", "6d6f642e61747472006578747261", "6d6f64fe")
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
    "cm_fuzz.thing.shared",
    "cm_fuzz.short",
    "cm_fuzz.absent",
    "cm_fuzz.cap.x",
    "cm_fuzz.lazy.x",
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
# Capsules that modules hold to the end, once the modules were imported.
HELD_BY_MODULES = (
    "cm_fuzz.cap",
    "cm_fuzz.other",
    "cm_fuzz.unnamed",
    "cm_fuzz.short",
    "cm_fuzz.holder.cap",
    "cm_fuzz.thing.shared",
    "cm_fuzz.sub.cap",
    "cm_capsule",
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
        self.destructors = ("d1", "d2", "d3", "d4", "d_no_memory", "d_clear", "d_context", "d_looks")
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

    def _some_capsule(self, machine: Machine | None = None) -> Any:
        """Return a capsule of the program's own; given the machine, at times one that a module holds; or none."""
        if self.capsules and not self.choices.often(0.12):
            return {"ref": self.choices.pick(self.capsules)}
        if self.choices.often(0.5):
            return None
        held = [] if machine is None else [token for token in HELD_BY_MODULES if token in machine.tokens.address]
        if held and self.choices.often(0.5):
            return {"ref": self.choices.pick(held)}
        return {"object": self.choices.pick(NOT_CAPSULES)}

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
        pointer = inner if self.choices.often(0.3) else {"ptr": "p2"}
        self.waiting += [
            {"op": "PyCapsule_SetContext", "args": {"capsule": {"ref": outer}, "context": inner}},
            {"op": "PyCapsule_GetContext", "args": {"capsule": {"ref": outer}}},
            {"op": "layout", "args": {"op": {"ref": outer}}},
            {"op": "Py_REFCNT", "args": {"ob": inner}},
            {"op": "Py_INCREF", "args": {"op": inner}},
            {"op": "Py_DECREF", "args": {"op": {"ref": outer}}},
        ]
        args = {"pointer": pointer, "name": self._some_name(), "destructor": {"function": "d_drops"}}
        return {"op": "PyCapsule_New", "args": args, "bind": outer}

    def _check(self, machine: Machine) -> Step:
        capsule = self._some_capsule() or {"object": self.choices.pick(("None", "PyCapsule_Type"))}
        return {"op": "PyCapsule_CheckExact", "args": {"op": capsule}}

    def _is_valid(self, machine: Machine) -> Step:
        return {"op": "PyCapsule_IsValid", "args": {"capsule": self._some_capsule(machine), "name": self._some_name()}}

    def _get_pointer(self, machine: Machine) -> Step:
        return {
            "op": "PyCapsule_GetPointer",
            "args": {"capsule": self._some_capsule(machine), "name": self._some_name()},
        }

    def _read(self, machine: Machine) -> Step:
        return {"op": self.choices.pick(READERS), "args": {"capsule": self._some_capsule(machine)}}

    def _set_pointer(self, machine: Machine) -> Step:
        return self._then_look("PyCapsule_SetPointer", "pointer", self._some_word(), machine)

    def _set_name(self, machine: Machine) -> Step:
        return self._then_look("PyCapsule_SetName", "name", self._some_name(), machine)

    def _set_context(self, machine: Machine) -> Step:
        return self._then_look("PyCapsule_SetContext", "context", self._some_word(), machine)

    def _set_destructor(self, machine: Machine) -> Step:
        # What a module holds may be destroyed outside of any step, where nobody can take an error.
        return self._then_look("PyCapsule_SetDestructor", "destructor", self._some_destructor(), None)

    def _then_look(self, op: str, name: str, value: Any, machine: Machine | None) -> Step:
        capsule = self._some_capsule(machine)
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
        path = self.choices.pick(PATHS)
        step: Step = {
            "op": "PyCapsule_Import",
            "args": {"name": {"cstr": path}, "no_block": self.choices.pick((0, 1))},
        }
        if path in HELD_BY_MODULES and path in machine.tokens.address and self.choices.often(0.2):
            changed = {"capsule": {"ref": path}, "pointer": {"ptr": self.choices.pick(POINTERS)}}
            self.waiting += [{"op": "PyCapsule_SetPointer", "args": changed}, step]
        return step

    def _load(self, machine: Machine) -> Step:
        return {"op": "import", "args": {"module": {"cstr": self.choices.pick(("cm_fuzz", "cm_fuzz.sub", "cm_gone"))}}}

    def _python(self, machine: Machine) -> Step:
        if not self.capsules:
            return self._new(machine)
        one = {"ref": self.choices.pick(self.capsules)}
        steps: tuple[Step, ...] = (
            {"op": "PyObject_Hash", "args": {"o": one}},
            {"op": "PyObject_Size", "args": {"o": one}},
            {"op": "PyObject_Call", "args": {"callable": self.choices.pick((one, {"object": "PyCapsule_Type"}))}},
            {"op": "PyObject_IsInstance", "args": {"inst": one, "cls": {"object": "PyCapsule_Type"}}},
            {"op": "PyObject_GetAttrString", "args": {"o": one, "attr_name": {"cstr": "x"}}},
            {"op": "PyObject_GetAttrString", "args": {"o": one, "attr_name": {"cstr": "__class__"}}},
            {"op": "PyObject_SetAttrString", "args": {"o": one, "attr_name": {"cstr": "x"}, "v": one}},
            {"op": self.choices.pick(("copy.copy", "copy.deepcopy")), "args": {"x": one}},
            {"op": "pickle.dumps", "args": {"obj": one, "protocol": self.choices.pick((0, 2, 5))}},
            {"op": "weakref.ref", "args": {"ob": one}},
            {"op": "sys.getsizeof", "args": {"object": one}},
            {"op": "types.CapsuleType", "args": {}},
            {"op": "subclass", "args": {"base": {"object": "PyCapsule_Type"}}},
        )
        return self.choices.pick(steps)

    def _show(self, machine: Machine) -> Step:
        if not self.capsules:
            return self._new(machine)
        one = {"ref": self.choices.pick(self.capsules)}
        return {"op": self.choices.pick(("PyObject_Repr", "PyObject_Str", "PyObject_IsTrue")), "args": {"o": one}}

    def _compare(self, machine: Machine) -> Step:
        if not self.capsules:
            return self._new(machine)
        one, other = ({"ref": self.choices.pick(self.capsules)} for _ in range(2))
        opid = self.choices.pick(("==", "!=", "<", ">="))
        return {"op": "PyObject_RichCompare", "args": {"o1": one, "o2": other, "opid": opid}}

    def _forget(self, machine: Machine) -> Step:
        return {"op": "PyErr_Clear", "args": {}, "leave": True}

    def _indicator(self, machine: Machine) -> Step:
        """Ask what is pending, replace it, or report it."""
        steps: list[Step] = [
            {"op": "PyErr_Occurred", "args": {}},
            {"op": "PyErr_NoMemory", "args": {}},
            self._raising(),
        ]
        if machine.py.error is not None:
            steps.append({"op": "PyErr_WriteUnraisable", "args": {"obj": self._some_capsule()}})
        step = self.choices.pick(steps)
        if self.choices.often(0.5):
            step["leave"] = True
        return step

    def _raising(self) -> Step:
        message = {"type": {"cstr": self.choices.pick(EXCEPTIONS)}, "message": {"cstr": "set"}}
        return {"op": "PyErr_SetString", "args": message}

    def _no_reference(self, machine: Machine) -> Step:
        return {"op": self.choices.pick(("Py_IncRef", "Py_DecRef")), "args": {"o": None}}

    def _kept_by_error(self, machine: Machine) -> Step:
        """Have a capsule kept by the exception that is about it alone, until that is replaced or cleared."""
        if "attribute-error-context" not in self.profile.behaviours:
            return self._new(machine)
        capsule = {"ref": self._fresh("e")}
        ends: tuple[Step, ...] = (
            {"op": "PyErr_Clear", "args": {}},
            {"op": "PyErr_NoMemory", "args": {}},
            self._raising(),
        )
        self.waiting += [
            {"op": "PyObject_GetAttrString", "args": {"o": capsule, "attr_name": {"cstr": "x"}}, "leave": True},
            {"op": "Py_DECREF", "args": {"op": capsule}, "leave": True},
            {**self.choices.pick(ends), "leave": True},
            self._forget(machine),
        ]
        destructor = {"function": self.choices.pick(("d_looks", "d_context"))}
        args = {"pointer": {"ptr": "p1"}, "name": self._some_name(), "destructor": destructor}
        return {"op": "PyCapsule_New", "args": args, "bind": capsule["ref"]}

    def _poked(self, machine: Machine) -> Step:
        """Put a NULL pointer into a capsule, ask everything of it, and put a pointer back."""
        if not self.capsules:
            return self._new(machine)
        capsule = {"ref": self.choices.pick(self.capsules)}
        self.waiting += [
            {"op": "PyCapsule_CheckExact", "args": {"op": capsule}},
            {"op": "PyCapsule_IsValid", "args": {"capsule": capsule, "name": self._some_name()}},
            {"op": "PyCapsule_GetPointer", "args": {"capsule": capsule, "name": self._some_name()}},
            {"op": self.choices.pick(READERS), "args": {"capsule": capsule}},
            {"op": "PyCapsule_SetPointer", "args": {"capsule": capsule, "pointer": {"ptr": "p1"}}},
            {"op": "poke", "args": {"op": capsule, "field": "pointer", "value": {"ptr": "p2"}}},
        ]
        return {"op": "poke", "args": {"op": capsule, "field": "pointer", "value": None}}

    def _set_traverse(self, machine: Machine) -> Step:
        """Give a capsule functions that visit nothing and clear nothing, or lack one of them."""
        if "gc-capsule" not in self.profile.behaviours:
            return self._new(machine)
        op = self._some_capsule(machine)
        functions = {
            "traverse_func": None if self.choices.often(0.2) else {"function": "t_none"},
            "clear_func": None if self.choices.often(0.2) else {"function": "c_none"},
        }
        if op is not None and "ref" in op:
            self.waiting += [
                {"op": "gc.is_tracked", "args": {"obj": op}},
                {"op": "layout", "args": {"op": op}},
                {"op": "gc.get_referents", "args": {"obj": op}},
            ]
        return {"op": "_PyCapsule_SetTraverse", "args": {"op": op, **functions}}

    def _collect(self) -> Step:
        step: Step = {"op": "gc.collect", "args": {}}
        if self.choices.often(0.3):
            step["pending"] = {"type": self.choices.pick(EXCEPTIONS), "text": "pending"}
        return step

    def _cycle(self, machine: Machine) -> Step:
        """Make a capsule that only itself keeps alive, and let the collector find it."""
        if "gc-capsule" not in self.profile.behaviours:
            return self._new(machine)
        token = self._fresh("g")
        capsule = {"ref": token}
        clear = {"function": self.choices.pick(("c_self", "c_fails"))}
        functions = {"traverse_func": {"function": "t_self"}, "clear_func": clear}
        before: list[Step] = []
        if self.choices.often(0.3):
            none = {"traverse_func": {"function": "t_none"}, "clear_func": {"function": "c_none"}}
            before.append({"op": "_PyCapsule_SetTraverse", "args": {"op": capsule, **none}})
        self.waiting += [
            {"op": "Py_INCREF", "args": {"op": capsule}},
            {"op": "gc.is_tracked", "args": {"obj": capsule}},
            *before,
            {"op": "_PyCapsule_SetTraverse", "args": {"op": capsule, **functions}},
            {"op": "gc.is_tracked", "args": {"obj": capsule}},
            {"op": "layout", "args": {"op": capsule}},
            {"op": "gc.get_referents", "args": {"obj": capsule}},
            {"op": "Py_DECREF", "args": {"op": capsule}},
            self._collect(),
        ]
        args = {"pointer": {"ptr": "p1"}, "name": self._some_name(), "destructor": self._some_destructor()}
        return {"op": "PyCapsule_New", "args": args, "bind": token}

    def _pair(self, machine: Machine) -> Step:
        """Make two capsules that only each other keep alive; clearing the first brings the other one to its end."""
        if "gc-capsule" not in self.profile.behaviours or "collector-holds-garbage" in self.profile.behaviours:
            return self._new(machine)
        args = {"pointer": {"ptr": "p1"}, "name": self._some_name(), "destructor": {"function": "d_looks"}}
        held = {"pointer": {"ptr": "p2"}, "name": self._some_name(), "destructor": {"function": "d_right"}}
        left, right = {"ref": "left"}, {"ref": "right"}
        of_left = {"traverse_func": {"function": "t_left"}, "clear_func": {"function": "c_left"}}
        of_right = {"traverse_func": {"function": "t_right"}, "clear_func": {"function": "c_none"}}
        self.waiting += [
            {"op": "PyCapsule_New", "args": held, "bind": "right"},
            {"op": "_PyCapsule_SetTraverse", "args": {"op": left, **of_left}},
            {"op": "_PyCapsule_SetTraverse", "args": {"op": right, **of_right}},
            {"op": "gc.get_referents", "args": {"obj": left}},
            self._collect(),
        ]
        return {"op": "PyCapsule_New", "args": args, "bind": "left"}


_KINDS = (
    ["new"] * 6
    + ["holder", "string", "string", "rename", "check", "look", "take", "take"]
    + ["drop"] * 5
    + ["is_valid", "get_pointer", "read"] * 4
    + ["set_pointer", "set_name", "set_context", "set_destructor"] * 2
    + ["import"] * 4
    + ["forget"] * 3
    + ["load", "python", "python", "poked", "cycle", "pair", "set_traverse"]
    + ["show", "compare", "indicator", "no_reference", "kept_by_error"]
)
# What is undefined, or is not known to be defined, while an exception is pending.
_NEEDS_CLEAR = {"import", "load", "python", "show", "compare", "cycle", "pair", "set_traverse", "holder", "poked"} | {
    "kept_by_error"
}
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
