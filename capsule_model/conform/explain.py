"""Tell a vector's run on the model in words: what each step calls, what it changes, which rule decides."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping, MutableMapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from capsule_model.conform.commands import known_names
from capsule_model.conform.runner import expected_differences, nearest_profile
from capsule_model.conform.specification import read_rules
from capsule_model.conform.words import call_text, error_text, event_text, indicator_text, step_at, value_text
from capsule_model.profiles import PROFILES, Profile, profile_named
from capsule_model.suites import chapters_of, suites_there, vectors_of
from capsule_model.trace.execute import BadVector, Run, run
from capsule_model.trace.expectation import holds
from capsule_model.trace.files import Vector, load
from capsule_model.trace.returns import MISSING
from capsule_model.trace.wording import clean

__all__ = ["chosen", "explain", "explained", "profile_for", "this_profile"]

_FIELDS = ("refcnt", "pointer", "name", "context", "destructor")
# Of a new object this is told only when it changes.
_LATER = "tracked"

Line = tuple[int, str, str]


def explain(what: str, profile: str | None, console: Console) -> int:
    """Explain the vector of that id, or those of that file; return the exit code.

    Raises `ValueError` with one line for an unknown id, profile or a vector that does not apply.
    """
    if profile is not None:
        profile_named(profile)
    vectors, problems = chosen(what)
    rules = (rule for suite in suites_there() for rule in read_rules(chapters_of(suite)))
    sentences = {rule.id: _first_sentence(rule.sentence) for rule in rules}
    for vector in vectors:
        try:
            lines = list(explained(vector, profile_for(vector, profile), sentences))
        except BadVector as error:
            raise ValueError(f"{vector['id']}: step {error.path}: {error.message}") from None
        for indent, text, style in lines:
            console.print(Text("  " * indent + text, style=style), soft_wrap=True)
    for problem in problems:
        console.print(Text(f"bad input: {problem}", style="red"), soft_wrap=True)
    return 2 if problems else 0


def explained(vector: Vector, profile: Profile, sentences: MutableMapping[str, str]) -> Iterator[Line]:
    """Yield the explanation: indentation, text and style of each line."""
    seen = run(vector, profile, rules=True, states=True)
    reached: dict[str, list[str]] = {}
    for path, rule in seen.reached:
        if rule not in reached.setdefault(path, []):
            reached[path].append(rule)
    yield 0, f"{vector['id']}: {clean(vector['title'], 300)}", "bold"
    yield 0, f"under {profile.name}", "dim"
    if "modules" in reached:
        yield 0, "", ""
        yield 0, "before step 0, the modules are made", "bold"
        yield from _rules(reached["modules"], 1, sentences)
    before: Mapping[str, Any] = {}
    for index, observation in enumerate(seen.steps):
        after = seen.states[index] if index < len(seen.states) else before
        yield 0, "", ""
        yield from _step(vector, str(index), observation, 0, reached, sentences)
        yield from ((1, text, "cyan") for text in _changes(before, after))
        before = after
    yield from _ending(vector, seen, reached, sentences)
    for difference in expected_differences(vector, profile, seen):
        sides = f"expected {value_text(difference.expected)}, the model has {value_text(difference.seen)}"
        yield 0, f"not as the vector expects: step {difference.path}: {difference.key}: {sides}", "bold red"


def this_profile() -> Profile:
    """Return the profile of the running interpreter, or the nearest one."""
    name = f"cpython-{sys.version_info[0]}.{sys.version_info[1]}"
    name += "-free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    name += "-debug" if hasattr(sys, "gettotalrefcount") else ""
    return nearest_profile(name)[0]


def _step(
    vector: Vector,
    path: str,
    seen: Mapping[str, Any],
    indent: int,
    reached: Mapping[str, list[str]],
    sentences: MutableMapping[str, str],
) -> Iterator[Line]:
    yield indent, _called(vector, path), "bold"
    yield from _events(vector, path, seen.get("events", []), indent + 1, reached, sentences)
    if "return" in seen:
        yield indent + 1, f"returns {value_text(seen['return'])}", ""
    indicator = indicator_text(seen)
    if indicator:
        yield indent + 1, indicator, "yellow"
    yield from _rules(reached.get(path, []), indent + 1, sentences)


def _called(vector: Vector, path: str) -> str:
    step = step_at(vector, path)
    if step is None:
        return f"step {path}"
    thread = f" on thread {step['thread']}" if "thread" in step else ""
    pending = f" with {error_text(step['pending'])} pending" if "pending" in step else ""
    return f"step {path}{thread}: {call_text(step)}{pending}"


def _events(
    vector: Vector,
    path: str,
    events: list[Mapping[str, Any]],
    indent: int,
    reached: Mapping[str, list[str]],
    sentences: MutableMapping[str, str],
) -> Iterator[Line]:
    calls: dict[str, int] = {}
    for event in events:
        entered = f", entered with {error_text(event['before'])}" if event.get("before") is not None else ""
        yield indent, f"{event_text(event)}{entered}", "magenta"
        if "call" not in event:
            continue
        name = event["call"]
        calls[name] = calls.get(name, 0) + 1
        for index, step in enumerate(event.get("steps", [])):
            yield from _step(vector, f"{path}/{name}.{calls[name]}/{index}", step, indent + 1, reached, sentences)
        if event.get("after") is not None:
            yield indent + 1, f"{name} leaves {error_text(event['after'])}", "yellow"


def _rules(rules: list[str], indent: int, sentences: MutableMapping[str, str]) -> Iterator[Line]:
    """Name the rules; say what each says where it is met for the first time."""
    for rule in rules:
        sentence = sentences.pop(rule, None)
        yield indent, f"rule {rule}" + (f": {sentence}" if sentence else ""), "green"


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a step changed in the objects: fields before and after, those that came and those that went."""
    for token in sorted(after.keys() - before.keys()):
        shown = [name for name in _ordered(after[token]) if name != _LATER]
        yield f"{token} is new: " + ", ".join(f"{name} {value_text(after[token][name])}" for name in shown)
    for token in sorted(after.keys() & before.keys()):
        old, new = before[token], after[token]
        for name in _ordered({**new, **old}):
            if old.get(name) != new.get(name):
                values = (value_text(side.get(name, MISSING)) for side in (old, new))
                yield f"{token}.{name}: " + " → ".join(values)
    for token in sorted(before.keys() - after.keys()):
        yield f"{token} is gone"


def _ordered(fields: Mapping[str, Any]) -> list[str]:
    """Return the names of an object's fields: those of a capsule first, in their order."""
    return sorted(fields, key=lambda name: _FIELDS.index(name) if name in _FIELDS else len(_FIELDS))


def _ending(
    vector: Vector, seen: Run, reached: Mapping[str, list[str]], sentences: MutableMapping[str, str]
) -> Iterator[Line]:
    yield 0, "", ""
    path = str(len(seen.steps))
    if seen.diagnosis is not None or seen.aborted is not None:
        yield 0, _called(vector, path), "bold"
        for place, rules in reached.items():
            if place == path or place.startswith(f"{path}/"):
                yield from _rules(rules, 1, sentences)
        for line in str(seen.diagnosis or seen.aborted).splitlines():
            yield 1, clean(line, 500), "red"
        return
    yield 0, f"at the end, still owned: {', '.join(seen.leaks) or 'nothing'}", ""


def profile_for(vector: Vector, name: str | None) -> Profile:
    """Return the profile of that name, by default one that fits: the running interpreter's, where it does.

    Raises `ValueError` with one line for an unknown name, or a profile under which the vector does not apply.
    """
    if name is None:
        return _fitting(vector)
    profile = profile_named(name)
    if not _applies(vector, profile):
        needed = ", ".join(vector["requires"])
        raise ValueError(f"{vector['id']} requires {needed}; {profile.name} differs, expected another --profile")
    return profile


def chosen(what: str) -> tuple[list[Vector], list[str]]:
    """Return the vector of that id, or those of that file, and what is wrong with the others, a line each.

    Raises `ValueError` with one line for an unknown id.
    """
    if what.endswith(".json") or Path(what).is_file():
        loaded = load(Path(what), known_names())
        return loaded.vectors, [str(problem) for problem in loaded.problems]
    known = known_names()
    names: list[str] = []
    for suite in suites_there():
        loaded = load(vectors_of(suite), known)
        found = [vector for vector in loaded.vectors if vector["id"] == what]
        if found:
            return found, []
        bad = next((problem for problem in loaded.problems if problem.vector == what), None)
        if bad is not None:
            raise ValueError(str(bad))
        names += [vector["id"] for vector in loaded.vectors]
    hint = " or ".join(get_close_matches(what, names, 3, 0.4)) or "the id of a vector or a file of vectors"
    raise ValueError(f"no vector {clean(what)}; expected {hint}")


def _fitting(vector: Vector) -> Profile:
    """Return the running interpreter's profile, or the first that has what the vector requires."""
    own = this_profile()
    return next((profile for profile in (own, *PROFILES.values()) if _applies(vector, profile)), own)


def _applies(vector: Vector, profile: Profile) -> bool:
    return all(holds(condition, profile.behaviours.__contains__) for condition in vector.get("requires", ()))


def _first_sentence(text: str) -> str:
    """Return a text up to its first full stop that ends a sentence."""
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]
