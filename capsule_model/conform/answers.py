"""Read what adapters answer: JSON lines of bounded length and depth, checked before anything looks inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from capsule_model.trace.files import MAX_DEPTH, too_deep
from capsule_model.trace.wording import shown

__all__ = ["MAX_LINE", "Misbehaviour", "Ran", "Refused", "Started", "Unsupported", "parse_line", "ran", "started"]

MAX_LINE = 1024 * 1024

_INDICATORS = ("clear", "set", "unchanged", "replaced", "cleared")


class Misbehaviour(Exception):
    """An adapter broke the protocol: `outcome` is `errored`, `crashed` or `timed-out`, the text one line.

    `signal` is the one that a crashed process died of, None if it ended by itself.
    """

    def __init__(self, outcome: str, text: str, signal: int | None = None) -> None:
        super().__init__(text)
        self.outcome = outcome
        self.signal = signal


@dataclass(frozen=True, slots=True)
class Started:
    """What an adapter says of itself."""

    implementation: str
    version: str
    profile: str | None
    ops: frozenset[str]
    features: frozenset[str]
    absent: Mapping[str, str] = field(default_factory=dict)
    behaviours: frozenset[str] | None = None
    defers: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """What an adapter saw of one vector."""

    steps: list[dict[str, Any]]
    leaks: list[str]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The adapter lacks what the vector needs."""

    what: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The adapter found the vector to be wrong."""

    text: str
    step: str | None


def parse_line(line: bytes) -> dict[str, Any]:
    """Return the object on `line`; raise `Misbehaviour` with what is there instead."""
    if len(line) > MAX_LINE:
        raise Misbehaviour("errored", f"answered a line longer than {MAX_LINE} bytes")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Misbehaviour("errored", f"answered noise that is not UTF-8: {_excerpt(line)}") from None
    if too_deep(text) is not None:
        raise Misbehaviour("errored", f"answered a line nested deeper than {MAX_DEPTH}")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise Misbehaviour(
            "errored", f"wrote {_excerpt(line)} to standard output; expected a JSON object on one line"
        ) from None
    if not isinstance(answer, dict):
        raise Misbehaviour("errored", f"wrote {_excerpt(line)} to standard output; expected a JSON object on one line")
    return answer


def started(answer: Mapping[str, Any]) -> Started:
    """Read the answer to `start`; raise `Misbehaviour` for a wrong one."""
    if "error" in answer:
        raise Misbehaviour("errored", f"refused to start: {shown(answer['error'])}")
    if answer.get("protocol") != 1 or type(answer["protocol"]) is not int:
        raise Misbehaviour("errored", f"speaks protocol {shown(answer.get('protocol'), 40)}; expected 1")
    profile, absent = answer.get("profile"), answer.get("absent", {})
    behaviours = answer.get("behaviours")
    for key, limit in (("implementation", 100), ("version", 200)):
        _expect(_is_text(answer.get(key), limit), key, answer.get(key), f"a string of at most {limit} characters")
    _expect(profile is None or _is_text(profile, 100), "profile", profile, "a string of at most 100 characters or null")
    _expect(isinstance(absent, dict) and all(isinstance(v, str) for v in absent.values()), "absent", absent, "reasons")
    for key in ("ops", "features"):
        _expect(_is_names(answer.get(key)), key, answer.get(key), "a list of strings")
    _expect(behaviours is None or _is_names(behaviours), "behaviours", behaviours, "a list of strings")
    _expect(isinstance(answer.get("defers", False), bool), "defers", answer.get("defers"), "true or false")
    return Started(
        answer["implementation"],
        answer["version"],
        profile,
        frozenset(answer["ops"]),
        frozenset(answer["features"]),
        absent,
        None if behaviours is None else frozenset(behaviours),
        answer.get("defers", False),
    )


def ran(answer: Mapping[str, Any]) -> Ran | Unsupported | Refused:
    """Read the answer to `run`; raise `Misbehaviour` for a wrong one."""
    if "unsupported" in answer:
        return Unsupported(str(answer["unsupported"]))
    if "error" in answer:
        step = answer.get("step")
        return Refused(str(answer["error"]), None if step is None else str(step))
    leaks = answer.get("leaks")
    _expect(_is_names(leaks), "leaks", leaks, "a list of tokens")
    _observations(answer.get("steps"), "steps")
    return Ran(answer["steps"], answer["leaks"])


def _observations(steps: Any, where: str) -> None:
    _expect(isinstance(steps, list), where, steps, "a list of observations")
    for index, step in enumerate(steps):
        here = f"{where}.{index}"
        _expect(isinstance(step, dict), here, step, "an observation")
        unknown = step.keys() - {"return", "error", "indicator", "events", "unseen"}
        _expect(not unknown, here, sorted(unknown), "only return, error, indicator, events, unseen")
        _expect("error" in step, here, step, "the key error")
        _expect(_is_error(step["error"]), f"{here}.error", step["error"], "null or an exception")
        unseen = step.get("unseen", [])
        failed = step["error"] is not None
        _expect(
            unseen == [] or (unseen == ["return"] and failed), f"{here}.unseen", unseen, "return, of a failing call"
        )
        indicator = step.get("indicator")
        _expect(indicator in _INDICATORS, f"{here}.indicator", indicator, f"one of {' '.join(_INDICATORS)}")
        _events(step.get("events"), f"{here}.events")


def _events(events: Any, where: str) -> None:
    _expect(isinstance(events, list), where, events, "a list of events")
    for index, event in enumerate(events):
        here = f"{where}.{index}"
        _expect(isinstance(event, dict), here, event, "an event")
        for key in ("before", "after", "unraisable"):
            _expect(_is_error(event.get(key)), f"{here}.{key}", event.get(key), "null or an exception")
        if "call" in event:
            _expect(isinstance(event["call"], str), f"{here}.call", event["call"], "a function's name")
            _observations(event.get("steps", []), f"{here}.steps")
        elif "dlpack" in event:
            _dlpack_event(event, here)
        else:
            _expect("unraisable" in event, here, event, "call, unraisable or dlpack")


def _dlpack_event(event: Mapping[str, Any], where: str) -> None:
    for key in ("dlpack", "of", "name"):
        _expect(isinstance(event.get(key, ""), str), f"{where}.{key}", event.get(key), "a string")
    keywords, stream = event.get("keywords", []), event.get("stream")
    _expect(_is_names(keywords), f"{where}.keywords", keywords, "a list of strings")
    _expect(stream is None or type(stream) is int, f"{where}.stream", stream, "null or an integer")


def _is_error(error: Any) -> bool:
    if error is None:
        return True
    return (
        isinstance(error, dict)
        and isinstance(error.get("type"), str)
        and isinstance(error.get("text", ""), str)
        and isinstance(error.get("attributes", {}), dict)
    )


def _is_text(value: Any, limit: int) -> bool:
    return isinstance(value, str) and len(value) <= limit


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _expect(truth: bool, where: str, found: Any, expected: str) -> None:
    if not truth:
        raise Misbehaviour("errored", f"answered {where} = {shown(found, 80)}; expected {expected}")


def _excerpt(line: bytes) -> str:
    return shown(line[:80].decode("utf-8", "backslashreplace"), 120)
