"""All pairs as vectors, and the files that they are in: ``python -m capsule_model.sanitize.vectors.generate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from capsule_model.profiles import PROFILES
from capsule_model.sanitize.vectors import blocks, functions, names, objects
from capsule_model.sanitize.vectors.build import Pair, Program
from capsule_model.suites import undefined_vectors
from capsule_model.trace.execute import run
from capsule_model.trace.write import dump_vectors
from capsule_model.undefined import Kind
from capsule_model.whole import write_whole

__all__ = ["all_pairs", "texts", "vectors_of_pair", "write_all"]

# Each has what the pairs require, and says which rules they reach.
PROFILE = PROFILES["cpython-3.13"]
SOURCES: tuple[Callable[[], Iterator[Pair]], ...] = (
    objects.null,
    objects.no_function_but_object,
    names.no_strings,
    blocks.wild,
    functions.no_functions,
    objects.gone,
    names.freed,
    blocks.freed,
    blocks.double_free,
    blocks.invalid_free,
    blocks.out_of_bounds,
    names.unterminated,
    objects.misaligned,
    blocks.unwritten,
    names.unwritten,
    blocks.read_only,
    objects.inside,
    objects.not_objects,
    functions.wrong_types,
    functions.negative,
    functions.reentered,
    functions.pending,
    functions.no_exception,
    blocks.leaks,
)


@cache
def all_pairs() -> tuple[Pair, ...]:
    """Return all pairs, by kind."""
    pairs = [pair for source in SOURCES for pair in source()]
    return tuple(sorted(pairs, key=lambda pair: list(Kind).index(pair.kind)))


def vectors_of_pair(pair: Pair) -> list[dict[str, Any]]:
    """Return the two vectors of a pair, each with the rule that decides it."""
    ends = {"leaks": [pair.of]} if pair.kind == Kind.LEAK else {}
    at_issue = str(pair.undefined.steps[-1]["op"])
    bad = _vector(f"undefined.{pair.kind}.{pair.what}", pair.undefined, at_issue) | ends
    if pair.kind != Kind.LEAK:
        expect = {"undefined": str(pair.kind)} | ({} if pair.of is None else {"of": pair.of})
        bad["steps"] = [*bad["steps"][:-1], bad["steps"][-1] | {"expect": expect}]
    return [bad, _vector(f"defined.{pair.kind}.{pair.what}", pair.defined, at_issue)]


@cache
def texts() -> dict[str, str]:
    """Return the files by name: one of each kind, its pairs one after the other."""
    made: dict[str, list[dict[str, Any]]] = {}
    for pair in all_pairs():
        made.setdefault(f"{pair.kind}.json", []).extend(vectors_of_pair(pair))
    return {name: dump_vectors(vectors) for name, vectors in made.items()}


def write_all(folder: Path) -> None:
    """Write all files into a folder, and remove those that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    made = texts()
    for name, text in made.items():
        write_whole(text, folder / name)
    for file in folder.glob("*.json"):
        if file.name not in made:
            file.unlink()


def _vector(name: str, program: Program, at_issue: str) -> dict[str, Any]:
    made: dict[str, Any] = {"id": name, "title": program.title, "rules": []}
    if program.requires:
        made["requires"] = list(program.requires)
    if program.functions:
        made["functions"] = dict(program.functions)
    if program.modules:
        made["modules"] = dict(program.modules)
    made["steps"] = list(program.steps)
    seen = run(made, PROFILE, rules=True)
    made["rules"] = [_deciding(made, seen.reached, at_issue)]
    made["steps"] = [_expecting(*pair) for pair in zip_longest(program.steps, seen.steps)]
    inside = {call["call"]: call["steps"] for step in reversed(seen.steps) for call in _calls(step)}
    for called, function in program.functions.items():
        if called in inside:
            steps = [_expecting(*pair) for pair in zip_longest(function["steps"], inside[called])]
            made["functions"][called] = {**function, "steps": steps}
    return made


def _calls(seen: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the calls of functions in an observation, the inner ones of each first."""
    for event in seen["events"]:
        for step in event.get("steps", ()):
            yield from _calls(step)
        if "call" in event and not event.get("beyond"):
            yield event


def _expecting(step: Mapping[str, Any], seen: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a step with what would be a surprise if nothing was said of it: an exception, or a destructor's call."""
    expect: dict[str, Any] = {}
    if seen is not None and seen["indicator"] in ("set", "replaced", "cleared"):
        expect["error"] = seen["error"] and {"type": seen["error"]["type"]}
    if seen is not None and seen["events"]:
        expect["events"] = [_event(event) for event in seen["events"]]
    return dict(step) | ({"expect": expect} if expect else {})


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    return {"call": event["call"]} if "call" in event else {"unraisable": event["unraisable"]}


def _deciding(vector: Mapping[str, Any], reached: Sequence[tuple[str, str]], at_issue: str) -> str:
    """Return the last rule that the last step of the operation at issue reached, or else the whole vector."""
    numbers = [str(number) for number, step in enumerate(vector["steps"]) if step["op"] == at_issue]
    there = [rule for path, rule in reached if path.partition("/")[0] in numbers[-1:]]
    return (there or [rule for _, rule in reached])[-1]


if __name__ == "__main__":
    write_all(undefined_vectors())
