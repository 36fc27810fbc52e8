"""Find what is wrong with a vector that its schema cannot see: operations, arguments, references, tokens."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from capsule_model.trace.contract import ADDRESS_FORMS, Operation, error_codes, form_of, operations
from capsule_model.trace.tokens import Names, names_of
from capsule_model.trace.wording import shown

__all__ = ["Known", "faults"]

Fault = tuple[str | None, str]
Vector = Mapping[str, Any]

MAX_STEPS = 10_000
_BINDABLE = frozenset({"address", "object", "string"})
_GENERATION = re.compile(r"#[1-9][0-9]*$")


@dataclass(frozen=True, slots=True)
class Known:
    """What vectors may refer to; None where it is not to be checked."""

    rules: Collection[str] | None = None
    behaviours: Collection[str] | None = None
    undefined: Collection[str] | None = None


def faults(vector: Vector, known: Known) -> Iterator[Fault]:
    """Yield what is wrong with a schema-valid `vector`: the step's path and a sentence for each fault."""
    names = names_of(vector)
    yield from ((None, text) for text in names.collisions)
    yield from _rules(vector, known)
    yield from _modules(vector, names)
    steps: list[Vector] = vector["steps"]
    count = len(steps)
    for index, step in enumerate(steps):
        yield from _step(step, _Place(str(index), None, names.bound_before(index), names), known)
        for expect in _expectations(step):
            if ("undefined" in expect or "abort" in expect) and index != len(steps) - 1:
                yield str(index), "a step that ends the process is not the last; expected it at the end"
    for name, function in vector.get("functions", {}).items():
        here = _Place(f"{name}", name, names.everything, names)
        for argument in function.get("visit", ()):
            yield from _argument(argument, "visit", here, None)
        for index, step in enumerate(function.get("steps", ())):
            count += 1
            yield from _step(step, _Place(f"{name}/{index}", name, names.everything, names), known)
    if count > MAX_STEPS:
        yield None, f"{count} steps; expected at most {MAX_STEPS}, those inside functions included"


@dataclass(frozen=True, slots=True)
class _Place:
    path: str
    function: str | None
    bound: Collection[str]
    names: Names


def _step(step: Vector, place: _Place, known: Known) -> Iterator[Fault]:
    yield from ((place.path, text) for text in _operation_faults(step))
    operation = operations().get(step["op"])
    for name, argument in step.get("args", {}).items():
        yield from _argument(argument, name, place, operation)
    yield from ((place.path, text) for text in _exception(step.get("pending"), "pending"))
    for behaviour in (variant["when"] for variant in step.get("variants", ())):
        yield from ((place.path, text) for text in _behaviour(behaviour, known))
    for expect in _expectations(step):
        yield from ((place.path, text) for text in _expectation(expect, place.names, known))


def _operation_faults(step: Vector) -> Iterator[str]:
    name = step["op"]
    operation = operations().get(name)
    if operation is None:
        yield f"unknown operation {shown(name)}; expected {_nearest(name, operations())}"
        return
    given = step.get("args", {})
    for missing in (arg for arg in operation.args if arg not in given and arg not in operation.optional):
        yield f"{name} lacks the argument {missing}; expected {_signature(operation)}"
    for unknown in (arg for arg in given if arg not in operation.args):
        yield f"{name} has no argument {shown(unknown)}; expected {_signature(operation)}"
    if "bind" in step and operation.returns not in _BINDABLE:
        yield f"{name} returns {operation.returns}, which cannot be bound; expected no bind"


def _argument(argument: Any, name: str, place: _Place, operation: Operation | None) -> Iterator[Fault]:
    form = form_of(argument)
    if operation is not None and name in operation.args:
        forms = operation.forms(name)
        if form not in forms:
            yield place.path, f"argument {name} is {shown(argument, 60)}; expected {_listed(forms)}"
            return
        choices = operation.choices(name)
        if choices is not None and argument not in choices:
            expected = " ".join("null" if choice is None else str(choice) for choice in choices)
            yield place.path, f"argument {name} is {shown(argument, 60)}; expected one of {expected}"
        if operation.name == "PyErr_SetString" and name == "type" and not _is_exception(argument["cstr"]):
            yield place.path, f"{shown(argument['cstr'], 60)} is no built-in exception; expected one by its name"
    elif operation is None and form == "list":
        yield place.path, f"argument {name} is {shown(argument, 60)}; expected {_listed(ADDRESS_FORMS)}"
    text = None
    if form == "ref":
        text = _reference(argument["ref"], place)
    elif form == "function":
        text = _undeclared("function", argument["function"], place.names.functions)
    elif form == "module":
        text = _undeclared("module", argument["module"], place.names.modules)
    elif form == "arg" and place.function is None:
        text = 'argument {"arg": 0} outside a function; expected it only in the steps of one'
    if text is not None:
        yield place.path, text


def _undeclared(kind: str, name: str, declared: Collection[str]) -> str | None:
    return None if name in declared else f"{kind} {shown(name)} is not declared; expected {_nearest(name, declared)}"


def _reference(token: str, place: _Place) -> str | None:
    base = _GENERATION.sub("", token)
    if token.startswith(("#", "?")) or "/" in token or base in place.bound:
        return None
    if base in place.names.everything:
        return f"{shown(token)} is bound only later; expected a name that an earlier step binds"
    return f"{shown(token)} is bound nowhere; expected {_nearest(base, place.bound)}"


def _modules(vector: Vector, names: Names) -> Iterator[Fault]:
    nowhere = _Place("", None, names.everything, names)
    for module, declared in vector.get("modules", {}).items():
        first = module.partition(".")[0]
        if first in sys.stdlib_module_names or first == "__main__":
            yield None, f"module {shown(module)}: Python has a module {first}; expected a name that nobody else uses"
        if declared is None:
            continue
        for text in _exception(declared.get("raises"), f"module {module}: raises"):
            yield None, text
        for value in _values(declared):
            for key, argument in value.get("capsule", {}).items():
                for _, text in _argument(argument, key, nowhere, None):
                    yield None, f"module {shown(module)}: {text}"
            if "ref" in value and (fault := _reference(value["ref"], nowhere)) is not None:
                yield None, f"module {shown(module)}: {fault}"
            for holder in (value.get("class", {}), value.get("instance", {})):
                for raised in holder.get("raises", {}).values():
                    for text in _exception(raised, f"module {module}: raises"):
                        yield None, text


def _values(declared: Vector) -> Iterator[Vector]:
    """Yield every VALUE of a module, a class or an instance, those inside others included."""
    direct = [declared[key] for key in ("entry", "becomes") if key in declared]
    for table in ("attrs", "class_attrs", "getattr"):
        direct += declared.get(table, {}).values()
    for value in direct:
        yield value
        for holder in ("class", "instance"):
            if holder in value:
                yield from _values(value[holder])


def _expectation(expect: Vector, names: Names, known: Known) -> Iterator[str]:
    kind = expect.get("undefined")
    if kind is not None and known.undefined is not None and kind not in known.undefined:
        yield f"unknown kind of undefined behaviour {shown(kind)}; expected {_nearest(kind, known.undefined)}"
    if "rule" in expect and known.rules is not None and expect["rule"] not in known.rules:
        yield f"unknown rule {shown(expect['rule'])}; expected {_nearest(expect['rule'], known.rules)}"
    for error in _errors(expect):
        code = error.get("code") if error else None
        if code is None:
            continue
        row = error_codes().get(code)
        if row is None:
            yield f"unknown error code {shown(code)}; expected {_nearest(code, error_codes())}"
        elif row["type"] != error["type"]:
            yield f"error code {code} goes with {row['type']}; found {shown(error['type'])}"
    for what, token in _expected_tokens(expect):
        if (fault := _expected_token(what, token, names)) is not None:
            yield fault
    for event in expect.get("events", ()):
        if "call" in event and event["call"] not in names.functions:
            yield f"event calls {shown(event['call'])}; expected {_nearest(event['call'], names.functions)}"


def _expected_tokens(expect: Vector) -> Iterator[tuple[str, str]]:
    """Yield the tokens that an expectation names, each with what it is there."""
    returned = expect.get("return")
    if isinstance(returned, Mapping):
        for value in (returned.get("same", returned), *returned.get("fields", {}).values()):
            if isinstance(value, Mapping) and "ref" in value:
                yield "expected return", value["ref"]
    yield from (("event of", event["of"]) for event in expect.get("events", ()) if "of" in event)


def _expected_token(what: str, token: str, names: Names) -> str | None:
    base = _GENERATION.sub("", token)
    parents = {name[:end] for name in names.modules for end, letter in enumerate(name) if letter == "."}
    if token.startswith(("#", "?")) or "/" in token or base in names.everything or base in parents:
        return None
    return f"{what} {shown(token)} is bound nowhere; expected {_nearest(base, names.everything)}"


def _expectations(step: Vector) -> Iterator[Vector]:
    """Yield every expectation of a step: its own, its variants', and each alternative of an `any_of`."""
    for expect in [step.get("expect", {}), *(variant["expect"] for variant in step.get("variants", ()))]:
        yield expect
        yield from expect.get("any_of", ())


def _errors(expect: Vector) -> Iterator[Any]:
    yield expect.get("error")
    for event in expect.get("events", ()):
        yield from (event.get(key) for key in ("before", "after", "unraisable"))


def _rules(vector: Vector, known: Known) -> Iterator[Fault]:
    for rule in vector["rules"]:
        if known.rules is not None and rule not in known.rules:
            yield None, f"unknown rule {shown(rule)}; expected {_nearest(rule, known.rules)}"
    for behaviour in vector.get("requires", ()):
        yield from ((None, text) for text in _behaviour(behaviour, known))


def _behaviour(name: str, known: Known) -> Iterator[str]:
    plain = name.removeprefix("!")
    if known.behaviours is not None and plain not in known.behaviours:
        yield f"unknown behaviour {shown(plain)}; expected {_nearest(plain, known.behaviours)}"


def _exception(declared: Any, where: str) -> Iterator[str]:
    if declared is not None and not _is_exception(declared["type"]):
        yield f"{where} {shown(declared['type'])} is no built-in exception; expected one by its name"


def _is_exception(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, BaseException)


def _nearest(name: str, choices: Collection[str]) -> str:
    """Name the choices nearest to `name`, or some of them."""
    close = get_close_matches(name, choices, 3, 0.5)
    if close:
        return " or ".join(close)
    some = sorted(choices)
    if not some:
        return "none at all"
    return "one of " + ", ".join(some[:8]) + (", …" if len(some) > 8 else "")


def _signature(operation: Operation) -> str:
    args = (f"[{arg}]" if arg in operation.optional else arg for arg in operation.args)
    return f"{operation.name}({', '.join(args)})"


def _listed(forms: Collection[str]) -> str:
    plain = {"null": "null", "integer": "an integer", "word": "a word", "list": "a list"}
    return " or ".join(sorted(plain.get(form, f'{{"{form}": …}}') for form in forms))
