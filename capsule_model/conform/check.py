"""The command `check`: tie rules, code and vectors together, and name what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from capsule_model.conform.commands import known_names, progress
from capsule_model.conform.profile_diff import outcome
from capsule_model.conform.runner import expected_differences
from capsule_model.conform.specification import LEVELS, RULE_ID, Rule, read_rules, with_vectors
from capsule_model.conform.words import value_text
from capsule_model.profiles import BEHAVIOURS, PROFILES, Profile
from capsule_model.rules import code_rules
from capsule_model.suites import SUITES, chapters_of, suites_there, undefined_vectors
from capsule_model.trace.execute import BadVector, run
from capsule_model.trace.expectation import holds
from capsule_model.trace.extensions import extension
from capsule_model.trace.files import Loaded, Problem, Vector, load
from capsule_model.trace.meaning import Known
from capsule_model.whole import write_whole

__all__ = [
    "check",
    "findings_of_rules",
    "findings_of_scope",
    "findings_of_suites",
    "findings_of_vectors",
    "unseen_behaviours",
]


def check(folder: Path, *, fix: bool, console: Console) -> int:
    """Check the specification in `folder`, print one line a finding, and return the exit code.

    With `fix`, the generated **Vectors:** lines are rewritten first.
    """
    known = known_names()
    # An unknown rule is a finding here, not bad input: the rest is still worth knowing.
    loaded = load(folder / "vectors", Known(None, known.behaviours, known.undefined))
    # The pairs show no rules; their claims have a test of their own.
    pairs = undefined_vectors(folder)
    loaded.vectors = [vector for vector in loaded.vectors if not loaded.files[vector["id"]].is_relative_to(pairs)]
    vectors = _by_suite(folder, loaded)
    if fix:
        _rewrite(folder, vectors)
    rules = {suite: read_rules(chapters_of(suite, folder)) for suite in vectors}
    every = [rule for of_suite in rules.values() for rule in of_suite]
    added = [module for found in map(extension, vectors) if found is not None for module in found.modules]
    findings = list(findings_of_rules(every, code_rules(added), loaded.vectors))
    findings += findings_of_suites(rules, vectors)
    findings += _out_of_date(folder, vectors)
    representative = _representative()
    with progress(len(loaded.vectors) + len(BEHAVIOURS) + len(representative), "checks") as advance:
        findings += findings_of_vectors(loaded.vectors, advance)
        for profile in representative.values():
            for suite, of_suite in rules.items():
                findings += findings_of_scope(of_suite, vectors[suite], profile)
            advance()
        findings += unseen_behaviours(loaded.vectors, advance)
    for line in (*map(str, loaded.problems), *findings):
        console.print(Text(line), soft_wrap=True)
    count = len(loaded.problems) + len(findings)
    verdict = "clean" if not count else f"{count} findings"
    console.print(Text(f"{verdict}: {len(every)} rules, {len(loaded.vectors)} vectors, {len(BEHAVIOURS)} behaviours"))
    return 2 if loaded.problems else 1 if findings else 0


def findings_of_rules(
    rules: Sequence[Rule], code: Mapping[str, Sequence[str]], vectors: Sequence[Vector]
) -> Iterator[str]:
    """Yield what the rules lack, and what code and vectors name that is no rule."""
    counted = Counter(rule.id for rule in rules)
    listed = {rule for vector in vectors for rule in vector["rules"]}
    for rule in rules:
        if counted[rule.id] > 1:
            yield f"{rule.place}: rule {rule.id} stands {counted[rule.id]} times; expected once"
        if not RULE_ID.fullmatch(rule.id):
            yield f"{rule.place}: {rule.id} is no id of a rule; expected words as in PyCapsule_New/null-pointer"
        if rule.level not in LEVELS:
            yield f"{rule.place}: rule {rule.id} has the level {rule.level!r}; expected one of {', '.join(LEVELS)}"
        for what, text in (("source", rule.source), ("sentence", rule.sentence)):
            if not text:
                yield f"{rule.place}: rule {rule.id} has no {what}"
        if rule.id not in code:
            yield f"{rule.place}: rule {rule.id} is named nowhere in the code"
        if rule.id not in listed:
            yield f"{rule.place}: rule {rule.id} is shown by no vector"
    for name in sorted(code.keys() - counted.keys()):
        yield f"{', '.join(code[name])}: the code names {name}, which is no rule"
    for vector in vectors:
        for name in vector["rules"]:
            if name not in counted:
                yield f"vector {vector['id']}: names {name}, which is no rule"


def findings_of_suites(rules: Mapping[str, Sequence[Rule]], vectors: Mapping[str, Sequence[Vector]]) -> Iterator[str]:
    """Yield, of rules and vectors by suite, the vectors that list a rule of another suite than their own."""
    suite_of = {rule.id: suite for suite, of_suite in rules.items() for rule in of_suite}
    for suite, of_suite in vectors.items():
        for vector in of_suite:
            for name in vector["rules"]:
                other = suite_of.get(name, suite)
                if other != suite:
                    yield f"vector {vector['id']}: lists {name}, a rule of the suite {other}; expected rules of {suite}"


def findings_of_vectors(vectors: Sequence[Vector], advance: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Yield what vectors claim that no run of the model bears out, under each profile that they apply to."""
    for vector in vectors:
        yield from _findings_of(vector)
        advance()


def findings_of_scope(rules: Sequence[Rule], vectors: Sequence[Vector], profile: Profile) -> Iterator[str]:
    """Yield the rules that a profile reaches against their **When:** line, or does not reach although it holds.

    The latter is asked of release builds alone: what a debug or a free-threaded build does is not all in vectors.
    """
    reached = _reached(vectors, profile)
    release = not profile.behaviours & {"refcount-checked", "free-threaded-header"}
    for rule in rules:
        unknown = [name for name in rule.when if name.removeprefix("!") not in BEHAVIOURS]
        if unknown:
            yield f"{rule.place}: rule {rule.id} names no behaviour by {', '.join(unknown)}"
        elif rule.id in reached and not rule.applies(profile):
            yield f"{rule.place}: rule {rule.id} is reached under {profile.name} against its **When:** line"
        elif release and rule.level != "UNDEFINED" and rule.applies(profile) and rule.id not in reached:
            wanted = "expected a **When:** line or a vector"
            yield f"{rule.place}: rule {rule.id} is not reached under {profile.name}; {wanted}"


def _reached(vectors: Sequence[Vector], profile: Profile) -> set[str]:
    found: set[str] = set()
    for vector in vectors:
        if all(holds(c, profile.behaviours.__contains__) for c in vector.get("requires", ())):
            with suppress(BadVector):
                found |= {rule for _, rule in run(vector, profile, rules=True).reached}
    return found


def unseen_behaviours(vectors: Sequence[Vector], advance: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Yield the behaviours that can be flipped without any vector's run on the model showing it."""
    plain: dict[tuple[str, int], Any] = {}
    for behaviour in BEHAVIOURS:
        if not _shows(behaviour, vectors, plain):
            yield f"behaviour {behaviour}: flipping it changes no vector's run"
        advance()


def _shows(behaviour: str, vectors: Sequence[Vector], plain: dict[tuple[str, int], Any]) -> bool:
    for name, profile in reversed(_representative().items()):
        flipped = profile.flipped(behaviour)
        for number, vector in enumerate(vectors):
            if (name, number) not in plain:
                plain[name, number] = outcome(vector, profile)
            if outcome(vector, flipped) != plain[name, number]:
                return True
    return False


def _representative() -> dict[str, Profile]:
    """Return a profile of each set of behaviours on machines alike in word size and byte order."""
    first = next(iter(PROFILES.values()))
    alike = {p.behaviours: p for p in PROFILES.values() if (p.word, p.order) == (first.word, first.order)}
    return {profile.name: profile for profile in alike.values()}


def _findings_of(vector: Vector) -> Iterator[str]:
    applicable = list(_distinct(vector))
    if not applicable:
        yield f"vector {vector['id']}: no profile has what it requires"
        return
    missing = set(vector["rules"])
    for profile in applicable:
        try:
            seen = run(vector, profile, rules=bool(missing))
        except BadVector as error:
            yield f"vector {vector['id']}: step {error.path}: {error.message} (under {profile.name})"
            return
        missing -= {rule for _, rule in seen.reached}
        differences = expected_differences(vector, profile, seen)
        if differences:
            first = differences[0]
            sides = f"expected {value_text(first.expected)}, the model has {value_text(first.seen)}"
            yield f"vector {vector['id']}: step {first.path}: {first.key}: {sides} (under {profile.name})"
            break
    for rule in sorted(missing):
        yield f"vector {vector['id']}: lists {rule} but never reaches it"
    for path, condition in _idle_variants(vector, applicable):
        yield f"vector {vector['id']}: step {path}: no profile selects the variant {condition}"


def _distinct(vector: Vector) -> Iterator[Profile]:
    """Yield the profiles that `vector` applies to, one of each set of behaviours, word size and byte order."""
    seen = set()
    for profile in PROFILES.values():
        key = (profile.behaviours, profile.word, profile.order)
        if key not in seen and all(holds(c, profile.behaviours.__contains__) for c in vector.get("requires", ())):
            seen.add(key)
            yield profile


def _idle_variants(vector: Vector, profiles: Sequence[Profile]) -> Iterator[tuple[str, str]]:
    steps = [(str(index), step) for index, step in enumerate(vector["steps"])]
    for name, function in vector.get("functions", {}).items():
        steps += [(f"{name}/{index}", step) for index, step in enumerate(function.get("steps", ()))]
    for path, step in steps:
        conditions = [variant["when"] for variant in step.get("variants", ())]
        chosen = {
            next((n for n, c in enumerate(conditions) if holds(c, p.behaviours.__contains__)), None) for p in profiles
        }
        yield from ((path, condition) for number, condition in enumerate(conditions) if number not in chosen)


def _by_suite(folder: Path, loaded: Loaded) -> dict[str, list[Vector]]:
    """Return the vectors of each suite; one that lies in the folder of none is a problem."""
    vectors: dict[str, list[Vector]] = {suite: [] for suite in suites_there(folder)}
    for vector in loaded.vectors:
        file = loaded.files[vector["id"]]
        suite = file.relative_to(folder / "vectors").parts[0]
        if suite in vectors:
            vectors[suite].append(vector)
        else:
            text = f"in the folder of no suite; expected vectors/{' or vectors/'.join(SUITES)}"
            loaded.problems.append(Problem(file, text, vector["id"]))
    return vectors


def _showing(vectors: Sequence[Vector]) -> dict[str, list[str]]:
    showing: dict[str, list[str]] = {}
    for vector in vectors:
        for rule in vector["rules"]:
            showing.setdefault(rule, []).append(vector["id"])
    return showing


def _rewritten(folder: Path, vectors: Mapping[str, Sequence[Vector]]) -> Iterator[tuple[Path, str]]:
    """Yield each chapter of which the **Vectors:** lines are out of date, and the text that it should have."""
    for suite, of_suite in vectors.items():
        showing = _showing(of_suite)
        for file in sorted(chapters_of(suite, folder).glob("*.md")):
            text = with_vectors(file, showing)
            if text != file.read_text("utf-8"):
                yield file, text


def _out_of_date(folder: Path, vectors: Mapping[str, Sequence[Vector]]) -> Iterator[str]:
    for file, _ in _rewritten(folder, vectors):
        yield f"{file.name}: its Vectors lines are out of date; expected what check --fix writes"


def _rewrite(folder: Path, vectors: Mapping[str, Sequence[Vector]]) -> None:
    for file, text in _rewritten(folder, vectors):
        write_whole(text, file)
