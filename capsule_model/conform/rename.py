"""Make the renamed copy of a vector: the same program with other names of its own, and the same outcome.

Names and tokens are each put through a substitution of letters. One substitution for every place of a name keeps
all that an implementation could see of it: lengths, which name is the beginning, the end or a part of which other,
which differ in case alone, and what a byte written into a name makes of it. What is no letter stays: dots, digits,
underscores, NUL, bytes that are not UTF-8. So do the letters of words that mean something to an implementation:
`__class__`, `sys`, the attributes of built-in types, `dltensor` where DLPack is spoken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from capsule_model.conform.own_names import (
    DUNDER,
    GENERATION,
    TABLES,
    TYPES,
    WORD,
    OwnNames,
    is_exception,
    substitutions,
)
from capsule_model.trace.contract import OBJECT_KINDS, error_codes

__all__ = ["Renaming", "renamed", "renaming_of"]

Vector = Mapping[str, Any]

_ERRORS = ("error", "before", "after", "unraisable")
_PATH = re.compile(r"[0-9]+(/[A-Za-z_][A-Za-z0-9_]*\.[0-9]+/[0-9]+)*(\.[a-z0-9_]+)?")
_CALL = re.compile(r"(?<=/)[A-Za-z_][A-Za-z0-9_]*(?=\.)")
_REPR = re.compile(r'<capsule object (?:"(.*)"|NULL) at \{(.*)\}>', re.DOTALL)
# The parts of error texts that are always a name; a class may be a built-in one, the others are no names.
_NAMES, _CLASSES = frozenset({"name", "module", "parent"}), frozenset({"class", "left", "right"})
# Patterns with several parts that vary take long on long texts.
_LONGEST = 2048


class _Uncertain(Exception):
    """What the copy of a part of an expectation says is not known for certain."""


def renamed(vector: Vector, seed: str = "") -> dict[str, Any]:
    """Return the renamed copy of `vector`, expectations included; always the same one for the same `seed`.

    What the copy expects where a text mixes names with other words, and it is not certain which is which, is left
    out of its expectations.
    """
    return renaming_of(vector, seed).vector()


def renaming_of(vector: Vector, seed: str = "") -> Renaming:
    """Return how the names and tokens of the schema-valid `vector` are replaced."""
    own = OwnNames(vector)
    return Renaming(vector, own, *substitutions(own, vector.get("modules", ()), f"{vector['id']}/{seed}"))


class Renaming:
    """The names and tokens of one vector, and what replaces them."""

    def __init__(self, vector: Vector, own: OwnNames, names: Mapping[int, int], tokens: Mapping[int, int]) -> None:
        self._original = vector
        self._own = own
        self._names = names
        self._tokens = tokens

    def name(self, text: str) -> str:
        """Return the copy of a name, dotted or not."""
        return text.translate(self._names)

    def raw(self, digits: str) -> str:
        """Return the copy of bytes, both as hexadecimal digits."""
        return bytes.fromhex(digits).decode("latin-1").translate(self._names).encode("latin-1").hex()

    def token(self, token: str) -> str:
        """Return the copy of a token: a bound name, a module, storage of an argument, with its generation."""
        found = GENERATION.search(token)
        base, generation = (token[: found.start()], found[0]) if found else (token, "")
        if base in OBJECT_KINDS or base.startswith("?"):
            return token
        if not base.startswith("#"):
            spoken = base.translate(self._tokens) if base in self._own.tokens else self.name(base)
            return spoken + generation
        made = base[1:]
        if _PATH.fullmatch(made):
            # Steps by number, functions by name, and the argument, which belongs to the operation.
            return "#" + _CALL.sub(lambda call: call[0].translate(self._tokens), made) + generation
        if made in self._own.tokens:
            return "#" + made.translate(self._tokens) + generation
        holder, dot, argument = made.rpartition(".")
        return f"#{self.name(holder)}{dot}{argument}{generation}"

    def vector(self) -> dict[str, Any]:
        """Return the copy of the whole vector; id, title and rules are those of the original."""
        vector = self._original
        copy = {**vector, "steps": [self._step(step) for step in vector["steps"]]}
        if "functions" in vector:
            copy["functions"] = {self.token(name): self._function(one) for name, one in vector["functions"].items()}
        if "modules" in vector:
            copy["modules"] = {
                self.name(name): None if module is None else self._module(module)
                for name, module in vector["modules"].items()
            }
        if "leaks" in vector:
            copy["leaks"] = [self.token(token) for token in vector["leaks"]]
        return copy

    def _step(self, step: Vector) -> dict[str, Any]:
        copy = dict(step)
        if "args" in step and step["op"] == "PyErr_SetString":
            # An exception's name, and a text of the vector's own.
            copy["args"] = {
                name: argument if name in ("type", "message") else self._argument(argument)
                for name, argument in step["args"].items()
            }
        elif "args" in step:
            copy["args"] = {name: self._argument(argument) for name, argument in step["args"].items()}
        for key in ("bind", "thread"):
            if key in step:
                copy[key] = self.token(step[key])
        if "expect" in step:
            copy["expect"] = self.expectation(step["expect"])
        if "variants" in step:
            copy["variants"] = [
                {**variant, "expect": self.expectation(variant["expect"])} for variant in step["variants"]
            ]
        return copy

    def _function(self, function: Vector) -> dict[str, Any]:
        copy = dict(function)
        if "visit" in function:
            copy["visit"] = [self._argument(argument) for argument in function["visit"]]
        if "steps" in function:
            copy["steps"] = [self._step(step) for step in function["steps"]]
        return copy

    def _argument(self, argument: Any) -> Any:
        """Return the copy of an argument, or of an address as expectations show it."""
        if not isinstance(argument, Mapping):
            return argument
        copy = dict(argument)
        for key in ("ref", "ptr", "function"):
            if key in copy:
                copy[key] = self.token(copy[key])
        for key in ("cstr", "module"):
            if key in copy:
                copy[key] = self.name(copy[key])
        if "hex" in copy:
            copy["hex"] = self.raw(copy["hex"])
        return copy

    def _module(self, module: Vector) -> dict[str, Any]:
        """Return the copy of a module, or of what is inside a class or an instance."""
        copy = dict(module)
        for table in TABLES:
            if table in module and not (table == "raises" and is_exception(module[table])):
                copy[table] = {
                    self.name(name): value if table == "raises" else self._value(value)
                    for name, value in module[table].items()
                }
        if "imports" in module:
            copy["imports"] = [self.name(name) for name in module["imports"]]
        for key in ("entry", "becomes"):
            if key in module:
                copy[key] = self._value(module[key])
        return copy

    def _value(self, value: Vector) -> dict[str, Any]:
        copy = self._argument(value)
        if "capsule" in value:
            copy["capsule"] = {name: self._argument(argument) for name, argument in value["capsule"].items()}
        if "bind" in value:
            copy["bind"] = self.token(value["bind"])
        for holder in ("class", "instance"):
            if holder in value:
                copy[holder] = self._module(value[holder])
        return dict(copy)

    def expectation(self, expect: Vector) -> dict[str, Any]:
        """Return the copy of an expectation or of an observation, as far as it is known for certain."""
        copy = dict(expect)
        if "any_of" in expect:
            copy["any_of"] = [self.expectation(choice) for choice in expect["any_of"]]
        if "of" in expect:
            copy["of"] = self.token(expect["of"])
        if "error" in expect:
            copy["error"] = self._error(expect["error"])
        if "events" in expect:
            copy["events"] = [self._event(event) for event in expect["events"]]
        if isinstance(expect.get("return"), Mapping):
            try:
                copy["return"] = self._returned(expect["return"])
            except _Uncertain:
                del copy["return"]
        return copy

    def _event(self, event: Vector) -> dict[str, Any]:
        copy = dict(event)
        if "call" in event:
            copy["call"] = self.token(event["call"])
        if "args" in event:
            copy["args"] = [self.token(token) for token in event["args"]]
        if "steps" in event:
            # The schema says nothing of these; what is malformed stays, and matches nothing.
            with suppress(TypeError, ValueError, KeyError, AttributeError):
                copy["steps"] = [self.expectation(expect) for expect in event["steps"]]
        for key in _ERRORS:
            if key in event:
                copy[key] = self._error(event[key])
        if "of" in event:
            copy["of"] = self.token(event["of"])
        if "name" in event:
            try:
                copy["name"] = self._known_name(event["name"])
            except _Uncertain:
                del copy["name"]
        if isinstance(event.get("object"), Mapping):
            try:
                copy["object"] = self._returned(event["object"])
            except _Uncertain:
                del copy["object"]
        return copy

    def _error(self, error: Any) -> Any:
        if not isinstance(error, Mapping):
            return error
        copy = dict(error)
        if "text" in error:
            try:
                copy["text"] = self._error_text(error["type"], error["text"])
            except _Uncertain:
                del copy["text"]
        if "attributes" in error:
            copy["attributes"] = dict(self._attributes(error["attributes"]))
        return copy

    def _attributes(self, attributes: Vector) -> Iterator[tuple[str, Any]]:
        """Yield the attributes of an exception of which the copy is known for certain."""
        for key, value in attributes.items():
            try:
                if value is None or value == {"absent": True}:
                    yield key, value
                elif key == "name":
                    yield key, self._known_name(value)
                elif key == "obj":
                    yield key, self._returned(value)
                elif key in ("__context__", "__cause__"):
                    yield key, {**value, "text": self._error_text(value["type"], value["text"])}
            except (_Uncertain, KeyError, TypeError, AttributeError):
                continue

    def _returned(self, value: Any) -> Any:
        """Return the copy of what a step returns, or of an object that an event shows."""
        if not isinstance(value, Mapping):
            return value
        if "text" in value and "object" not in value:
            return {"text": self._shown_text(value["text"])}
        if "object" in value:
            copy = {**value, "object": self._type_name(value["object"])}
            if "text" in value:
                copy["text"] = self._shown_text(value["text"])
            return copy
        if "same" in value or "content" in value:
            return {key: self._argument(inner) for key, inner in value.items()}
        if "hash_of" in value:
            return {"hash_of": self.token(value["hash_of"])}
        if "tokens" in value:
            return {"tokens": sorted(self.token(token) for token in value["tokens"])}
        if "words" in value:
            return {"words": [self._argument(word) for word in value["words"]]}
        if "fields" in value:
            return {"fields": {name: self._argument(field) for name, field in value["fields"].items()}}
        return self._argument(value)

    def _type_name(self, name: str) -> str:
        """Return the copy of a type's name, in whose place a token may stand; raise where it may be either."""
        if "." in name or "#" in name:
            return self.token(name)
        if name not in self._own.tokens and name not in self._original.get("modules", {}):
            return self._class_name(name)
        if name in self._own.classes or name in TYPES:
            raise _Uncertain
        return self.token(name)

    def _class_name(self, name: str) -> str:
        """Return the copy of a class's name, the same for a built-in one; raise where it may be either."""
        if name not in self._own.classes:
            return name
        if name in TYPES:
            raise _Uncertain
        return self.name(name)

    def _known_name(self, name: str) -> str:
        """Return the copy of a dotted name whose parts all occur in the vector; raise for another."""
        parts = name.split(".")
        known = self._own.names | self._own.meant
        if not all(part in known or DUNDER.fullmatch(part) or not part for part in parts):
            raise _Uncertain
        return ".".join(part if DUNDER.fullmatch(part) else self.name(part) for part in parts)

    def _error_text(self, type: str, text: str) -> str:
        """Return the copy of an exception's text: one of the table of codes, or one of the vector's own."""
        if len(text) > _LONGEST:
            raise _Uncertain
        copies = set()
        for template in _templates(type):
            found = template.fullmatch(text)
            if found is None:
                continue
            try:
                copies.add(self._filled(found))
            except _Uncertain:
                continue
        if text in self._own.texts:
            copies.add(text)
            if text in self._own.names:
                copies.add(self.name(text))
        if len(copies) != 1:
            raise _Uncertain
        return copies.pop()

    def _filled(self, found: re.Match[str]) -> str:
        """Return the text that a template matched with its names replaced."""
        pieces, position = [], 0
        for group, part in found.groupdict().items():
            kind = group.rstrip("0123456789")
            pieces.append(found.string[position : found.start(group)])
            if kind in _NAMES and part[:1] == part[-1:] == "'":
                part = f"'{self._known_name(part[1:-1])}'"
            elif kind in _NAMES:
                part = self._known_name(part)
            elif kind in _CLASSES:
                part = self._class_name(part)
            pieces.append(part)
            position = found.end(group)
        return "".join([*pieces, found.string[position:]])

    def _shown_text(self, text: str) -> str:
        """Return the copy of a Python string: the repr of a capsule, or one in which no name occurs."""
        if len(text) > _LONGEST:
            raise _Uncertain
        found = _REPR.fullmatch(text)
        if found is not None:
            name = "NULL" if found[1] is None else f'"{self._known_name(found[1])}"'
            return f"<capsule object {name} at {{{self.token(found[2])}}}>"
        if (self._own.runs - self._own.meant).intersection(WORD.findall(text)):
            raise _Uncertain
        return text


@cache
def _templates(type: str) -> tuple[re.Pattern[str], ...]:
    """Return the texts of the error codes that go with an exception's type, with a group for each part that varies."""
    patterns = []
    for row in error_codes().values():
        if row["type"] == type:
            pieces = re.split(r"\{([a-z_]+)\}", row["text"])
            pattern = "".join(
                f"(?P<{piece}{index}>.*?)" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)
            )
            patterns.append(re.compile(pattern, re.DOTALL))
    return tuple(patterns)
