"""Write a finding as a vector that can be committed and run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from capsule_model.conform.runner import expected_differences
from capsule_model.fuzz.cause import cause_of
from capsule_model.fuzz.lockstep import Divergence
from capsule_model.profiles import BEHAVIOURS, Profile
from capsule_model.trace.execute import BadVector, Run, run
from capsule_model.trace.expectation import error_code
from capsule_model.trace.wording import clean

__all__ = ["as_vector", "complete", "last_step"]

_FALLBACK = "PyCapsule_New/returns-capsule"
_MOST_RULES = 64
_UNCHANGED = ("clear", "unchanged")


def as_vector(divergence: Divergence, id: str, profile: Profile) -> dict[str, Any]:
    """Return a complete vector of a divergence: ``id`` is the vector's, words joined by dots.

    It ends with the step that differs, lists the rules that this step reaches, and expects what the model says under
    ``profile``; ``requires`` has the behaviours of the profile on which that depends. ``capsule-model conform``
    fails an implementation that diverges so, and passes one that does not.

    Raises ``ValueError`` with one line where the model cannot say anything of the program.
    """
    last = last_step(divergence)
    program = {**divergence.vector, "steps": divergence.vector["steps"][: last + 1]}
    title = f"Found by chance: {cause_of(divergence).title}"
    return complete(program, id, title, profile, lambda observation: _differing(observation, divergence))


def complete(
    program: Mapping[str, Any],
    id: str,
    title: str,
    profile: Profile,
    at_last: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return a complete vector of a program: with the rules of its last step, and what the model says is seen.

    ``at_last`` says what is expected of an observation of the last step; left out, all that can be. Raises as
    ``as_vector`` does.
    """
    shared = {key: value for key, value in _needed(program).items() if value}
    steps = [dict(step) for step in program["steps"]]
    last = len(steps) - 1
    try:
        seen = run({**shared, "steps": steps}, profile, rules=True)
    except BadVector as error:
        raise ValueError(f"step {error.path}: {error.message}; expected a program that the model can run") from None
    for index, (step, observation) in enumerate(zip(steps, seen.steps, strict=False)):
        expect = (at_last or _full)(observation) if index == last else _brief(observation)
        if expect:
            step["expect"] = expect
    if seen.diagnosis is not None or seen.aborted is not None:
        del steps[len(seen.steps) + 1 :]
        steps[-1]["expect"] = _ending(seen)
    vector: dict[str, Any] = {
        "format": 1,
        "id": id,
        "title": clean(title, 300),
        "rules": _rules(seen, str(last)),
        **shared,
        "steps": steps,
    }
    if seen.leaks:
        vector["leaks"] = seen.leaks
    return _with_requirements(vector, profile)


def _needed(program: Mapping[str, Any]) -> dict[str, Any]:
    """Return the modules of a program, and those of its functions that something refers to."""
    functions, modules = program.get("functions", {}), program.get("modules", {})
    wanted: set[str] = set()
    waiting = list(_functions_in([program["steps"], modules]))
    while waiting:
        name = waiting.pop()
        if name not in wanted and name in functions:
            wanted.add(name)
            waiting += _functions_in(functions[name])
    return {"functions": {name: functions[name] for name in functions if name in wanted}, "modules": modules}


def _functions_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(name := value.get("function"), str):
            yield name
        for inner in value.values():
            yield from _functions_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _functions_in(inner)


def last_step(divergence: Divergence) -> int:
    """Return the index of the step that differs; the last one where that is the end."""
    first = divergence.differences[0].path.partition("/")[0]
    return int(first) if first.isdigit() else len(divergence.vector["steps"]) - 1


def _rules(seen: Run, last: str) -> list[str]:
    """Return the rules that the last step reached; those of the program where it reached none."""
    here = [rule for path, rule in seen.reached if path.partition("/")[0] == last]
    return list(dict.fromkeys(here or [rule for _, rule in seen.reached] or [_FALLBACK]))[:_MOST_RULES]


def _ending(seen: Run) -> dict[str, Any]:
    if seen.diagnosis is None:
        return {"abort": True}
    return {"undefined": str(seen.diagnosis.kind)} | ({"of": seen.of} if seen.of else {})


def _brief(observation: Mapping[str, Any]) -> dict[str, Any]:
    """Return as little as must be expected of a step that does not differ: its error and its events, if any."""
    expect: dict[str, Any] = {}
    if observation["indicator"] not in _UNCHANGED:
        expect["error"] = _error(observation["error"])
    if observation["events"]:
        expect["events"] = [_event(event, brief=True) for event in observation["events"]]
    return expect


def _differing(observation: Mapping[str, Any], divergence: Divergence) -> dict[str, Any]:
    """Return all that a vector can expect of the step that differs."""
    keys = {difference.key.rpartition(".")[2] for difference in divergence.differences}
    expect = _full(observation)
    if "error" in keys and observation["error"] is not None:
        others: dict[str, Any] = {}
        for difference in divergence.differences:
            if difference.key == "error" and isinstance(difference.seen, Mapping):
                others |= difference.seen.get("attributes") or {}
        own = observation["error"].get("attributes") or {}
        absent = {name: {"absent": True} for name in others if name not in own}
        expect["error"] = {**expect["error"], "text": observation["error"]["text"]}
        if own or absent:
            expect["error"]["attributes"] = {**own, **absent}
    if "return" in keys:
        _look_at_bytes(expect, observation, divergence)
    return expect


def _look_at_bytes(expect: dict[str, Any], observation: Mapping[str, Any], divergence: Divergence) -> None:
    """Expect the bytes of a string instead of its address, where the address is right and the bytes are not."""
    # The difference may be that of a step inside a function, and the step itself return nothing.
    wanted = expect.get("return")
    same = wanted.get("same") if isinstance(wanted, Mapping) else None
    seen = next(difference.seen for difference in divergence.differences if difference.key == "return")
    if same is not None and isinstance(seen, Mapping) and seen.get("ref") == same["ref"]:
        expect["return"] = {"content": {key: observation["return"][key] for key in observation["return"].keys() - same}}


def _full(observation: Mapping[str, Any]) -> dict[str, Any]:
    expect: dict[str, Any] = {}
    if "return" in observation:
        expect["return"] = _returned(observation["return"])
    expect["error"] = _error(observation["error"])
    expect["indicator"] = observation["indicator"]
    if observation["events"]:
        expect["events"] = [_event(event, brief=False) for event in observation["events"]]
    return expect


def _returned(value: Any) -> Any:
    if isinstance(value, Mapping) and "ref" in value and value.keys() & {"cstr", "hex"}:
        return {"same": {key: inner for key, inner in value.items() if key in ("ref", "offset")}}
    return value


def _error(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    code = error_code(error)
    known = {"text": error["text"]} if code == "unclassified" else {"code": code}
    return {"type": error["type"], **known}


def _event(event: Mapping[str, Any], *, brief: bool) -> dict[str, Any]:
    if "unraisable" in event:
        shown = {"unraisable": _error(event["unraisable"])}
        return shown if brief else {**shown, "object": event["object"]}
    if "dlpack" in event:
        return dict(event)
    if event.get("beyond"):
        return {"call": event["call"], "beyond": True}
    expect: dict[str, Any] = {"call": event["call"]}
    if not brief:
        expect |= {"args": event["args"], "refcnt": event["refcnt"]}
        expect |= {key: _error(event[key]) for key in ("before", "after")}
    inner: Sequence[Any] = [_brief(step) if brief else _full(step) for step in event["steps"]]
    # Without them the steps of the function would have to change nothing.
    return {**expect, "steps": list(inner)} if any(inner) else expect


def _with_requirements(vector: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """Name the behaviours of the profile without which the model does not do what the vector expects."""
    needed = []
    for behaviour in BEHAVIOURS:
        other = profile.flipped(behaviour)
        try:
            differs = bool(expected_differences(vector, other, run(vector, other)))
        except Exception:
            # A model that flips what never goes alone may break in any way: then the two are not alike.
            differs = True
        if differs:
            needed.append(behaviour if behaviour in profile.behaviours else f"!{behaviour}")
    if not needed:
        return vector
    head = {key: vector[key] for key in ("format", "id", "title", "rules")}
    return {**head, "requires": needed, **{key: value for key, value in vector.items() if key not in head}}
