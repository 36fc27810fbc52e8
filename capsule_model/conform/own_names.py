"""Collect what the program of a vector calls by names of its own, and find other letters for them."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from string import ascii_lowercase
from types import FunctionType, ModuleType
from typing import Any

from capsule_model.trace.contract import OBJECT_KINDS, operations
from capsule_model.trace.needs import operations_used

__all__ = ["DUNDER", "GENERATION", "TABLES", "TYPES", "WORD", "OwnNames", "is_exception", "substitutions"]

Vector = Mapping[str, Any]
Table = dict[int, int]

TABLES = ("attrs", "class_attrs", "getattr", "raises")
DUNDER = re.compile(r"__.+__", re.DOTALL)
GENERATION = re.compile(r"(?<=.)#[1-9][0-9]*$")
WORD = re.compile(r"[A-Za-z0-9_]+")
_ATTEMPTS = 64
# What returns the address of a string, or of a block in which a vector may write one.
_STORAGE = frozenset({"string", "malloc", "PyCapsule_GetName"})
# A module of the standard library in some version from 3.8 on that this interpreter need not have.
_FORMER_MODULES = frozenset("asynchat asyncore binhex distutils formatter imp macpath parser smtpd symbol".split())
_OF_TYPES = frozenset[str]().union(
    *map(dir, (object, type, type(None), int, str, bytes, list, dict, tuple, FunctionType, ModuleType))
)
_OBJECTS = frozenset(OBJECT_KINDS) | frozenset(
    "PyCapsule NoneType module function method builtin_function_or_method method-wrapper method_descriptor "
    "wrapper_descriptor NotImplementedType NotImplemented ModuleSpec".split()
)
# What the import system asks of a `__spec__`.
_OF_SPECS = frozenset({"_initializing", "_uninitialized_submodules"})
_MODULES = sys.stdlib_module_names | _FORMER_MODULES | {"__main__"}
# What strings mean something to the operations of a suite.
_MEANT_IN = {
    "dlpack": frozenset(
        "dltensor used_dltensor dltensor_versioned used_dltensor_versioned dlpack_exchange_api".split()
    ),
    "layers": frozenset("dltensor used_dltensor dltensor_versioned used_dltensor_versioned".split()),
}
# What an observation may call the type of an object that the vector did not make.
TYPES = _OBJECTS | {name for name in dir(builtins) if isinstance(getattr(builtins, name), type)}
_TAKEN = _MODULES | _OF_TYPES | _OF_SPECS | _OBJECTS | frozenset(keyword.kwlist) | frozenset(dir(builtins))


class OwnNames:
    """What a vector's program calls by name; its expectations are not looked at.

    ``names`` are the parts of dotted names, ``classes`` the names of classes among them, and ``texts`` those of the
    exceptions that the vector raises itself, as it writes them and as a KeyError shows them. ``meant`` are words that
    mean something to the operations of its suite, whether the program names them or not.
    """

    def __init__(self, vector: Vector) -> None:
        self.tokens: set[str] = set(vector.get("functions", ()))
        self.names: set[str] = set()
        self.classes: set[str] = set()
        self.texts: set[str] = set()
        rows = operations()
        suites = {rows[name].suite for name in operations_used(vector) if name in rows}
        self.meant = frozenset[str]().union(*(_MEANT_IN.get(suite, ()) for suite in suites))
        self._first: set[str] = set()
        self._bound_by: dict[str, set[str]] = {}
        self._moved: list[tuple[str, str]] = []
        self._imports = bool(vector.get("modules"))
        for step in vector["steps"]:
            self._of_step(step)
        for function in vector.get("functions", {}).values():
            for argument in function.get("visit", ()):
                self._of_argument(argument)
            for step in function.get("steps", ()):
                self._of_step(step)
        for name, module in vector.get("modules", {}).items():
            self._add(name)
            if module is not None:
                self._of_holder(name, module)

    @property
    def runs(self) -> set[str]:
        """Return the runs of letters, digits and underscores in all names."""
        return {run for name in self.names for run in WORD.findall(name)}

    @property
    def fixed(self) -> set[str]:
        """Return the small letters that must stay: of names that mean something, of bytes that may be no name."""
        meant = {word for word in self.names if word in _OF_TYPES or word in _OF_SPECS or DUNDER.fullmatch(word)}
        if self._imports:
            meant |= self._first & _MODULES
        return {letter for word in (*meant, *self.meant, *self._numbers()) for letter in word.lower()}

    def _numbers(self) -> Iterator[str]:
        """Yield bytes, as characters, that are written to or read from what is not known to be a string."""
        for token, digits in self._moved:
            base = GENERATION.sub("", token)
            of_argument = base.startswith("#") and "." in base
            if not of_argument and (base not in self._bound_by or self._bound_by[base] - _STORAGE):
                yield bytes.fromhex(digits).decode("latin-1")

    def _add(self, name: str) -> None:
        parts = name.split(".")
        self.names.update(parts)
        self._first.add(parts[0])

    def _of_step(self, step: Vector) -> None:
        self.tokens.update(step[key] for key in ("bind", "thread") if key in step)
        if "bind" in step:
            self._bound_by.setdefault(step["bind"], set()).add(step["op"])
        self._imports = self._imports or step["op"] in ("PyCapsule_Import", "import")
        if step["op"] == "PyErr_SetString":
            self._raises(_text_of(step.get("args", {}).get("message")))
        else:
            for argument in step.get("args", {}).values():
                self._of_argument(argument)
        if step["op"] in ("read", "write"):
            self._of_bytes(step)
        if "pending" in step:
            self._raises(step["pending"].get("text", ""))

    def _of_bytes(self, step: Vector) -> None:
        """Note what a step writes, or is meant to read, and where."""
        args = step.get("args", {})
        target = args.get("ptr")
        token = target.get("ref", "") if isinstance(target, Mapping) else ""
        expected = [step.get("expect", {}), *(variant["expect"] for variant in step.get("variants", ()))]
        expected += [choice for expect in expected for choice in expect.get("any_of", ())]
        for moved in (args.get("bytes"), *(expect.get("return") for expect in expected)):
            if isinstance(moved, Mapping) and "hex" in moved:
                self._moved.append((token, moved["hex"]))

    def _of_argument(self, argument: Any) -> None:
        if not isinstance(argument, Mapping):
            return
        if "ptr" in argument:
            self.tokens.add(argument["ptr"])
        elif "cstr" in argument or "hex" in argument:
            self._add(_text_of(argument))

    def _raises(self, text: str) -> None:
        self.texts.update((text, repr(text)))

    def _of_holder(self, name: str, holder: Vector) -> None:
        """Take in a module, or what is inside a class or an instance; ``name`` is what its own class is called."""
        for imported in holder.get("imports", ()):
            self._add(imported)
        values = [(name, holder[key]) for key in ("entry", "becomes") if key in holder]
        for table in TABLES:
            held = holder.get(table, {})
            if table != "raises":
                values += held.items()
            elif is_exception(held):
                self._raises(held.get("text", ""))
                continue
            else:
                for raised in held.values():
                    self._raises(raised.get("text", ""))
            for attribute in held:
                self._add(attribute)
        for attribute, value in values:
            if "bind" in value:
                self.tokens.add(value["bind"])
            for argument in (value, *value.get("capsule", {}).values()):
                self._of_argument(argument)
            for kind in ("class", "instance"):
                if kind in value:
                    self.classes.add(attribute.rpartition(".")[2])
                    self._of_holder(attribute, value[kind])


def _text_of(argument: Any) -> str:
    """Return what an argument's bytes are to C, up to the NUL; nothing where it has none."""
    if not isinstance(argument, Mapping) or not ("cstr" in argument or "hex" in argument):
        return ""
    raw = argument["cstr"].encode() if "cstr" in argument else bytes.fromhex(argument["hex"])
    return raw.partition(b"\0")[0].decode(errors="replace")


def is_exception(raises: Vector) -> bool:
    """Tell the `raises` of a module, an exception, from that of a class or an instance: properties by name."""
    return isinstance(raises.get("type"), str)


def substitutions(names: OwnNames, modules: Iterable[str], seed: str) -> tuple[Table, Table]:
    """Return what becomes of the letters in names, and of those in tokens, as tables for `str.translate`.

    They are tried in an order that `seed` decides until none of the new words means something already; where all of
    64 fail, nothing changes. `modules` are tokens that are names.
    """
    fixed = names.fixed
    free = [letter for letter in ascii_lowercase if letter not in fixed]
    of_names = _chosen(f"names/{seed}", free, names.names, frozenset())
    spoken = frozenset(module.translate(of_names) for module in modules)
    return of_names, _chosen(f"tokens/{seed}", list(ascii_lowercase), names.tokens, spoken)


def _chosen(seed: str, letters: list[str], words: Iterable[str], spoken: frozenset[str]) -> Table:
    """Return the first substitution under which no word becomes one that is taken already."""
    for attempt in range(_ATTEMPTS):
        table = _substitution(f"{attempt}/{seed}", letters)
        changed = ((word, word.translate(table)) for word in words)
        if not any((new in _TAKEN and new != old) or new in spoken for old, new in changed):
            return table
    return {}


def _substitution(seed: str, letters: list[str]) -> Table:
    """Return what each of `letters`, small and capital, becomes: the next one on a circle that `seed` orders."""
    number = int.from_bytes(sha256(seed.encode("utf-8", "surrogatepass")).digest(), "big")
    left, circle = list(letters), []
    while left:
        number, index = divmod(number, len(left))
        circle.append(left.pop(index))
    small, following = "".join(circle), "".join(circle[1:] + circle[:1])
    return str.maketrans(small + small.upper(), following + following.upper())
