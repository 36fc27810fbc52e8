"""Tell a finding in about ten lines: what was done, what the model says and by which rule, what was seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from capsule_model.conform.specification import read_rules
from capsule_model.conform.words import (
    argument_text,
    call_text,
    error_text,
    event_text,
    in_words,
    indicator_text,
    value_text,
)
from capsule_model.fuzz.cause import ENDS, cause_of
from capsule_model.fuzz.found import as_vector, last_step
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.profiles import Profile
from capsule_model.suites import chapters_of, suites_there
from capsule_model.trace.execute import BadVector, Run, run
from capsule_model.trace.returns import MISSING
from capsule_model.trace.wording import clean

__all__ = ["as_vector", "program_lines", "tell"]

_WIDTH = 160
_MOST_STEPS = 6
_MOST_DECLARED = 3
_MOST_RULES = 2
_MOST_DIFFERENCES = 2
_AGAIN = "capsule-model conform --vectors FILE, FILE being this finding as a vector"


def tell(divergence: Divergence, profile: Profile, again: str = _AGAIN) -> list[str]:
    """Return a divergence in words, about ten lines of at most 160 characters each; ``again`` says how to repeat it.

    The program is written as C-like calls, the last of them the one that differs. Whatever an implementation or a
    program says is cleaned: no line holds anything that does not print.
    """
    last = last_step(divergence)
    vector = {**divergence.vector, "steps": divergence.vector["steps"][: last + 1]}
    cause = cause_of(divergence)
    lines = [cause.title, *program_lines(vector)]
    lines += _model(vector, profile, divergence.differences[0].path, cause.operation)
    lines += _seen(divergence)
    lines.append(f"again: {again} (cause {cause.id})")
    return [clean(line, _WIDTH) for line in lines]


def program_lines(vector: Mapping[str, Any]) -> list[str]:
    """Return a program as C-like calls, the last few of a long one, below the functions and modules it declares."""
    return [*_declared(vector), *_called(vector["steps"])]


def _declared(vector: Mapping[str, Any]) -> Iterator[str]:
    lines = [f"  {_function(name, function)}" for name, function in vector.get("functions", {}).items()]
    lines += [f"  {_module(name, module)}" for name, module in vector.get("modules", {}).items()]
    yield from lines[:_MOST_DECLARED]
    if len(lines) > _MOST_DECLARED:
        yield f"  … and {len(lines) - _MOST_DECLARED} more functions and modules"


def _function(name: str, function: Mapping[str, Any]) -> str:
    if "native" in function:
        return f"{name} is {function['native']}"
    if function["kind"] == "traverse":
        visits = ", ".join(map(argument_text, function.get("visit", ())))
        return f"{name}(self, visit, arg) visits {visits or 'nothing'}"
    body = "".join(f" {_call(step)};" for step in function.get("steps", ()))
    return f"{name}(self) {{{body} }}"


def _module(name: str, module: Mapping[str, Any] | None) -> str:
    if module is None:
        return f'sys.modules["{name}"] is None'
    parts = [f"{key} {_value(module[key])}" for key in ("entry", "becomes") if key in module]
    for table in ("attrs", "getattr"):
        parts += [f"{table} {attr} = {_value(value)}" for attr, value in module.get(table, {}).items()]
    if "raises" in module:
        parts.append(f"raises {error_text(module['raises'])}")
    return f"module {name}: {', '.join(parts) or 'empty'}"


def _value(value: Mapping[str, Any]) -> str:
    if "capsule" in value:
        inner = (f"{argument_text(argument)}" for argument in value["capsule"].values())
        return f"capsule({', '.join(inner)})"
    held = value.get("class") or value.get("instance")
    if held is not None:
        kind = "class" if "class" in value else "instance"
        return f"{kind} with {', '.join(held.get('attrs', {})) or 'nothing'}"
    return argument_text(value)


def _called(steps: list[Mapping[str, Any]]) -> Iterator[str]:
    if len(steps) > _MOST_STEPS:
        yield f"  … after {len(steps) - _MOST_STEPS} steps"
    for step in steps[-_MOST_STEPS:]:
        yield f"  {_call(step)}"


def _call(step: Mapping[str, Any]) -> str:
    thread = f"on {step['thread']}: " if "thread" in step else ""
    pending = f" with {error_text(step['pending'])} pending" if "pending" in step else ""
    leaves = ", its error stays" if step.get("leave") else ""
    return f"{thread}{call_text(step)}{pending}{leaves}"


def _model(vector: Mapping[str, Any], profile: Profile, path: str, operation: str) -> Iterator[str]:
    try:
        seen = run(vector, profile, rules=True)
    except BadVector as error:
        yield f"model: {profile.name} cannot say anything: {error.message}"
        return
    yield f"model: under {profile.name}: {_said(seen, at_the_end=path == 'end')}"
    for rule in _deciding(seen, path, operation, str(len(vector["steps"]) - 1)):
        yield f"  by {rule}: {_sentences().get(rule, 'the specification')}"


def _deciding(seen: Run, path: str, operation: str, last: str) -> list[str]:
    """Return the rules that say most of a step: those about its operation first, the latest of them before others."""
    here = [rule for place, rule in seen.reached if place == path]
    here = here or [rule for place, rule in seen.reached if place.partition("/")[0] == last]
    latest = list(dict.fromkeys(reversed(here)))
    return sorted(latest, key=lambda rule: not rule.startswith(f"{operation}/"))[:_MOST_RULES]


def _said(seen: Run, *, at_the_end: bool) -> str:
    if seen.diagnosis is not None or seen.aborted is not None:
        return str(seen.diagnosis or seen.aborted).partition("\n")[0]
    if at_the_end or not seen.steps:
        return f"the program ends and owns {', '.join(seen.leaks) or 'nothing'}"
    observation = seen.steps[-1]
    parts = [f"returns {value_text(observation['return'])}"] if "return" in observation else []
    parts += [indicator_text(observation)] if indicator_text(observation) else []
    parts += list(_happened(observation["events"]))
    return "; ".join(parts) or "nothing happens"


def _happened(events: list[Mapping[str, Any]]) -> Iterator[str]:
    for event in events:
        yield event_text(event)
        if event.get("after") is not None:
            yield f"{event['call']} leaves {error_text(event['after'])}"


def _seen(divergence: Divergence) -> Iterator[str]:
    found = divergence.differences
    for difference in found[:_MOST_DIFFERENCES]:
        if difference.key in ENDS:
            yield f"seen:  {difference.key}: {difference.seen}"
            continue
        inside = f" at {difference.path}" if "/" in difference.path else ""
        seen, expected = _without_what_agrees(difference.seen, difference.expected)
        yield f"seen:  {difference.key}{inside}: {_side(difference.key, seen)}"
        yield f"  not: {_side(difference.key, expected)}"
    if len(found) > _MOST_DIFFERENCES:
        yield f"  … and {len(found) - _MOST_DIFFERENCES} more differences of the same step"


def _side(key: str, value: Any) -> str:
    return "nothing" if value is MISSING else in_words(key, value)


def _without_what_agrees(seen: Any, expected: Any) -> tuple[Any, Any]:
    """Leave of words those that differ, by their number."""
    match seen, expected:
        case {"words": list(one)}, {"words": list(other)} if len(one) == len(other):
            numbers = [number for number in range(len(one)) if one[number] != other[number]]
            left, right = ({f"word {number}": words[number] for number in numbers} for words in (one, other))
            return left, right
    return seen, expected


@cache
def _sentences() -> Mapping[str, str]:
    """Return the first sentence of every rule."""
    rules = (rule for suite in suites_there() for rule in read_rules(chapters_of(suite)))
    return {rule.id: re.split(r"(?<=\.)\s", rule.sentence, maxsplit=1)[0] for rule in rules}
