"""What makes two findings the same: where they differ and how, with names, addresses and numbers of steps taken out."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capsule_model.conform.words import step_at
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.trace.contract import OBJECT_KINDS
from capsule_model.trace.expectation import error_code
from capsule_model.trace.returns import MISSING, canonical, same
from capsule_model.trace.wording import clean

__all__ = ["ENDS", "Cause", "cause_of"]

# The keys of a difference that says that there is no answer to compare.
ENDS = ("crashed", "timed-out", "errored", "refused", "unsupported")
_COUNTED = ("Py_REFCNT", "sys.getsizeof")
_SMALL = 2
_STORAGE = ("string", "malloc")
_QUOTED = re.compile(r"""(?<!\w)'[^']*'(?!\w)|"[^"]*"|\{[^{}]*\}|0[xX][0-9a-fA-F]+|\d{4,}""")
_DEATH = re.compile(r"died of (SIG\w+|signal \d+)|ended with (exit code \d+)")


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong: the operation, the key of its observation, what the model says and what is seen, as classes.

    ``operation`` is empty where a program ends without a step that it can be put to; ``inside`` is the kind of
    function that the step is part of, empty at top level.
    """

    operation: str
    aspect: str
    expected: str
    seen: str
    inside: str = ""

    @property
    def key(self) -> str:
        """Return the cause as one line, the same in every run."""
        return " | ".join((self.operation or "the program", self.aspect, self.expected, self.seen, self.inside))

    @property
    def id(self) -> str:
        """Return twelve hex digits that stand for the key, for the name of a file."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:12]

    @property
    def title(self) -> str:
        """Return the cause as a sentence without its full stop."""
        where = self.operation or "the program"
        where += f" inside a {self.inside} function" if self.inside else ""
        match self.aspect.split("/"):
            case ["return"]:
                said = f"returns {self.seen} where the model returns {self.expected}"
            case ["error" | "events", *_, "attributes", name]:
                said = f"has an exception whose {name} is {self.seen} where the model has {self.expected}"
            case ["error", *_]:
                said = f"ends with {self.seen} where the model ends with {self.expected}"
            case ["indicator"]:
                said = f"leaves the error indicator {self.seen} where the model leaves it {self.expected}"
            case ["leaks"]:
                said = f"ends and still owns {self.seen} where the model has {self.expected}"
            case ["the model"]:
                said = f"cannot be taken by the model: {self.seen}"
            case [aspect] if aspect in ENDS:
                said = f"has no answer: {self.seen}"
            case ["events"]:
                said = f"brings about {self.seen} where the model has {self.expected}"
            case ["words"]:
                said = f"shows {self.seen} where the model shows {self.expected}"
            case [aspect] if aspect.startswith("words."):
                said = f"shows {self.seen} in word {aspect[6:]} where the model shows {self.expected}"
            case words:
                said = f"has {self.seen} as {' of '.join(reversed(words))} where the model has {self.expected}"
        return clean(f"{where} {said}", 290)


def cause_of(divergence: Divergence) -> Cause:
    """Return the cause of a divergence, by the first of its differences.

    The end of a process that no step can be blamed for has no operation: ``shrink`` finds the step.
    """
    first, vector = divergence.differences[0], divergence.vector
    step = step_at(vector, first.path)
    operation = str(step["op"]) if step is not None else ""
    inside = ""
    if "/" in first.path:
        outer = first.path.split("/")[-2] if step is not None else first.path.split("/")[-1]
        inside = str(vector.get("functions", {}).get(outer.rpartition(".")[0], {}).get("kind", "native"))
    classes = _Classes(vector)
    counted = operation in _COUNTED
    aspect, expected, seen = classes.of(first.key, first.expected, first.seen, counted=counted)
    return Cause(operation, aspect, expected, seen, inside)


class _Classes:
    """The classes of what is seen in runs of one vector."""

    def __init__(self, vector: Mapping[str, Any]) -> None:
        self.kinds = dict.fromkeys(vector.get("functions", {}), "a function")
        self.kinds |= dict.fromkeys(vector.get("modules", {}), "a module")
        self.kinds |= {kind: f"an object ({kind})" for kind in OBJECT_KINDS}
        self.texts: set[str] = set()
        functions = vector.get("functions", {}).values()
        for step in [*vector["steps"], *(step for one in functions for step in one.get("steps", ()))]:
            if "bind" in step:
                self.kinds[step["bind"]] = "storage" if step["op"] in _STORAGE else f"what {step['op']} gives"
        for part in _parts(vector):
            if isinstance(part.get("ptr"), str):
                self.kinds[part["ptr"]] = "a pointer"
            text = part.get("text")
            if isinstance(text, str):
                self.texts.add(text)
            if part.get("op") == "PyErr_SetString":
                self.texts.add(str(part.get("args", {}).get("message", {}).get("cstr")))

    def of(self, key: str, expected: Any, seen: Any, *, counted: bool) -> tuple[str, str, str]:
        """Return the aspect that differs, and the classes of its two values."""
        if key == "timed-out":
            return key, "an answer", "none in time"
        if key in ENDS:
            death = _DEATH.search(str(seen))
            return key, "an answer", (death[1] or death[2]) if death else self.text(str(seen))
        if key == "the model":
            return key, "a step", self.text(str(seen).partition(":")[0].partition("\n")[0])
        if key == "leaks":
            return key, *self._tokens(expected, seen)
        if key == "events":
            return key, *self._events(expected, seen)
        if key.startswith("events."):
            aspect = key.rpartition(".")[2]
            if aspect in ("before", "after", "unraisable"):
                which, one, other = self._errors(expected, seen)
                return f"events/{aspect}/{which}", one, other
            return f"events/{aspect}", *self._values(expected, seen, counted=aspect == "refcnt")
        if key == "error":
            which, one, other = self._errors(expected, seen)
            return f"error/{which}", one, other
        words = self._words(expected, seen)
        if words is not None:
            return words
        return key, *self._values(expected, seen, counted=counted)

    def text(self, text: str) -> str:
        """Return a text without names, addresses and long numbers; one of the vector's own as such."""
        if text in self.texts:
            return "a text of the program"
        return clean(_QUOTED.sub("…", text), 120)

    def _values(self, expected: Any, seen: Any, *, counted: bool = False) -> tuple[str, str]:
        if counted and isinstance(expected, int) and isinstance(seen, int):
            by = abs(seen - expected)
            return "a count", f"{by if by <= _SMALL else 'many'} {'more' if seen > expected else 'less'}"
        one, other = self._value(expected), self._value(seen)
        return (one, other) if one != other else (one, f"another: {other}")

    def _value(self, value: Any) -> str:
        if value is MISSING:
            return "nothing"
        match value:
            case None:
                return "NULL"
            case bool() | str():
                return self.text(str(value))
            case int():
                return str(value) if abs(value) <= _SMALL else "a number"
            case {"text": str(text)}:
                return f"the text {self.text(text)}"
            case {"absent": True}:
                return "no such operation"
            case {"hash_of": _}:
                return "the hash of an address"
            case {"object": kind}:
                return f"an object ({clean(str(kind), 40)})"
            case {"tokens": list(tokens)}:
                return ", ".join(sorted(map(self._token, map(str, tokens)))) or "no object"
            case {"refcnt": _} | {"type": _} | {"header": _}:
                return str(next(iter(value)))
            case {"ref": token} | {"ptr": token} | {"function": token}:
                return self._token(str(token)) + (" and an offset" if value.get("offset") else "")
            case list() | tuple():
                return ", ".join(sorted(set(map(self._value, value)))) or "none"
            case dict():
                return clean(", ".join(sorted(map(str, value))), 80)
        return type(value).__name__

    def _token(self, token: str) -> str:
        if token.startswith("?"):
            return "an unknown address"
        if token.startswith("#"):
            return "storage" if "." in token else "an object"
        base = token.partition("#")[0]
        return self.kinds.get(base, "a capsule of a module" if "." in base else "an address")

    def _errors(self, expected: Any, seen: Any) -> tuple[str, str, str]:
        if not isinstance(expected, Mapping) or not isinstance(seen, Mapping):
            return "type", self._error(expected), self._error(seen)
        if expected.get("type") != seen.get("type"):
            return "type", self._error(expected), self._error(seen)
        if expected.get("text") != seen.get("text"):
            one, other = self._coded(expected), self._coded(seen)
            return "text", one, other if one != other else f"{other}, with other names"
        for key in ("bases", "attributes"):
            if not same(canonical(expected.get(key)), canonical(seen.get(key))):
                return self._attributes(key, expected.get(key), seen.get(key))
        return "other", "one", "another"

    def _attributes(self, key: str, one: Any, other: Any) -> tuple[str, str, str]:
        if key == "bases" or not isinstance(one, Mapping) or not isinstance(other, Mapping):
            return key, "the built-in ones", "others"
        names = [name for name in {**one, **other} if one.get(name, MISSING) != other.get(name, MISSING)]
        name = min(names, default="")
        found = (side.get(name, MISSING) for side in (one, other))
        values = ["a name" if isinstance(value, str) else value for value in found]
        return f"attributes/{name}", *self._values(*values)

    def _error(self, error: Any) -> str:
        if error is None or error is MISSING:
            return "no error"
        if not isinstance(error, Mapping):
            return self.text(str(error))
        return f"{clean(str(error.get('type')), 40)} ({self._coded(error)})"

    def _coded(self, error: Mapping[str, Any]) -> str:
        code = error_code(error)
        return code if code != "unclassified" else self.text(str(error.get("text", "")))

    def _events(self, expected: Any, seen: Any) -> tuple[str, str]:
        one, other = Counter(self._subjects(expected)), Counter(self._subjects(seen))
        if one == other:
            return "these events", "others of the same kind, or in another order"
        lost, more = one - other, other - one
        return (
            ", ".join(sorted(lost)) or "nothing more",
            ", ".join(sorted(more)) or "nothing",
        )

    def _subjects(self, events: Any) -> Iterator[str]:
        for event in events if isinstance(events, Sequence) else ():
            name = str(event).partition(" ")[0]
            yield "a call" + str(event)[len(name) :] if name in self.kinds else str(event)

    def _tokens(self, expected: Any, seen: Any) -> tuple[str, str]:
        lost, more = set(expected) - set(seen), set(seen) - set(expected)
        sides = (sorted({self._token(str(token)) for token in side}) for side in (lost, more))
        one, other = (", ".join(side) for side in sides)
        return one or "nothing more", other or "nothing of that"

    def _words(self, expected: Any, seen: Any) -> tuple[str, str, str] | None:
        match expected, seen:
            case {"words": list(one)}, {"words": list(other)} if len(one) == len(other):
                for index, (left, right) in enumerate(zip(one, other, strict=True)):
                    if not same(canonical(left), canonical(right)):
                        if isinstance(left, Mapping) and isinstance(right, Mapping) and "refcnt" in left:
                            counts = (left["refcnt"], right.get("refcnt", MISSING))
                            return f"words.{index}", *self._values(*counts, counted=True)
                        return f"words.{index}", *self._values(left, right)
            case {"words": list()}, {"words": list()}:
                return "words", "the words of its profile", "another number of words"
        return None


def _parts(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object of a vector."""
    if isinstance(value, Mapping):
        yield value
        for inner in value.values():
            yield from _parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _parts(inner)
