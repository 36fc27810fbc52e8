"""What the model and whoever is held to it do differently: as differences, as a vector, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from capsule_model.conform.specification import read_rules
from capsule_model.conform.words import call_text, error_text, event_text, value_text
from capsule_model.profiles import Profile
from capsule_model.suites import chapters_of
from capsule_model.trace.execute import run
from capsule_model.trace.expectation import Difference, compare
from capsule_model.trace.returns import MISSING
from capsule_model.trace.write import dump_vectors
from dlpack_model.fuzz.play import DEFAULT, Implementation, Played, play
from dlpack_model.fuzz.programs import Step

__all__ = ["Finding", "finding", "judged", "vector_of"]

END = "end"


@dataclass(frozen=True)
class Finding:
    """One difference: the program that shows it, and at which step (the number of steps: at the end).

    ``differences`` are those of that step, ``harm`` the diagnosis in which it ended and ``rule`` the rule that is
    broken, where it is known. ``told`` is what led there, in words.
    """

    program: tuple[Step, ...]
    step: int
    differences: tuple[Difference, ...]
    harm: str | None
    rule: str | None
    profile: Profile

    @property
    def cause(self) -> tuple[str, str]:
        """Return what findings with the same cause have in common: the operation, and the rule or what differs."""
        op = self.program[self.step]["op"] if self.step < len(self.program) else END
        return op, self.rule or ", ".join(difference.key for difference in self.differences)

    @cached_property
    def vector(self) -> dict[str, Any]:
        """Return the program as a vector that expects what the model does."""
        about = self.rule or f"{', '.join(one.key for one in self.differences)} of {self.cause[0]}"
        return vector_of(self.program, self.profile, self.step, self.rule, f"Found by chance: {about}.")

    def lines(self) -> list[str]:
        """Return the program in words, a step a line, and what differs where it does."""
        model = play(self.program, profile=self.profile)
        lines = []
        for number, step in enumerate(self.program[: self.step + 1]):
            lines.append(f"{number}: {_told(step, model.steps[number])}")
        where = "at the end" if self.step >= len(self.program) else f"at step {self.step}"
        lines += [
            f"{where}, {difference.key}: expected {_shown(difference.expected)}, seen {_shown(difference.seen)}"
            for difference in self.differences
        ]
        if self.harm is not None:
            first, *rest = self.harm.splitlines()
            lines.append(f"{where}: {first}")
            lines += [line for line in rest if line.startswith(("  rule:", "  consequence:"))]
        return lines

    def __str__(self) -> str:
        """Return the program in words, and as the file of a vector."""
        return "\n".join([*self.lines(), dump_vectors([self.vector])])


def _told(step: Step, seen: Mapping[str, Any]) -> str:
    """Return a step, what it returned, and what happened in it, in one line."""
    words = [call_text(step)]
    if "pending" in step:
        words.append(f"with {error_text(step['pending'])} pending")
    if seen.get("return", MISSING) is not MISSING and ("bind" not in step or seen["return"] is None):
        words.append(f"returns {value_text(seen['return'], 60)}")
    if seen.get("indicator") == "set":
        words.append(f"sets {error_text({'type': seen['error']['type']})}")
    deaths = [event_text(event) for event in seen["events"] if event.get("dlpack") in ("destructor", "deleter")]
    return "; ".join([" ".join(words), *deaths])


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and "type" in value:
        return str(value["type"])
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "no error" if value is None else value_text(value, 80)


def finding(
    program: Sequence[Step],
    implementation: Implementation,
    profile: Profile = DEFAULT,
    model: Played | None = None,
) -> Finding | None:
    """Play a program by an implementation and hold it to the model; return where they differ first, else None.

    ``model`` is what the program showed in the model, played now where it is not given. ``ValueError`` for a program
    that comes to no good end there.
    """
    expected = play(program, profile=profile) if model is None else model
    if expected.harm is not None:
        raise ValueError(f"the program breaks a rule itself: {expected.harm.splitlines()[0]}")
    return judged(program, expected, implementation(program), profile)


def judged(program: Sequence[Step], expected: Played, seen: Played, profile: Profile = DEFAULT) -> Finding | None:
    """Return where what was seen of a program differs first from what the model did, None where it does not.

    A program that was not played at all differs nowhere.
    """
    if seen.skipped is not None:
        return None
    for number, (ours, theirs) in enumerate(zip(expected.steps, seen.steps, strict=False)):
        differences = () if ours == theirs else tuple(compare(_typed(ours), _typed(theirs), str(number)))
        if differences:
            return Finding(tuple(program), number, differences, None, None, profile)
    if seen.harm is not None or len(seen.steps) != len(expected.steps):
        harm = seen.harm or f"{len(seen.steps)} of {len(expected.steps)} steps were performed"
        return Finding(tuple(program), len(seen.steps), (), harm, seen.rule, profile)
    ends = []
    if sorted(expected.leaks) != sorted(seen.leaks):
        ends.append(Difference(END, "leaks", sorted(expected.leaks), sorted(seen.leaks)))
    if expected.left is not None and seen.left is not None and expected.left != seen.left:
        ends.append(Difference(END, "blocks and objects never freed", expected.left, seen.left))
    return Finding(tuple(program), len(program), tuple(ends), None, None, profile) if ends else None


def _typed(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return an observation with the types of exceptions alone: what they say is each party's own affair."""
    typed = dict(seen)
    if seen.get("error") is not None:
        typed["error"] = {"type": seen["error"]["type"]}
    if any("unraisable" in event for event in seen.get("events", ())):
        typed["events"] = [
            {**event, "unraisable": {"type": event["unraisable"]["type"]}} if "unraisable" in event else event
            for event in seen["events"]
        ]
    return typed


@cache
def _rules_of_suite() -> frozenset[str]:
    return frozenset(rule.id for rule in read_rules(chapters_of("dlpack")))


def vector_of(
    program: Sequence[Step],
    profile: Profile = DEFAULT,
    shows: int | None = None,
    first: str | None = None,
    title: str = "Found by chance.",
) -> dict[str, Any]:
    """Return a program as a vector of the suite ``dlpack``: each step expects what the model does.

    Its rules are those that the model carries out in the step that it ``shows`` (None: in any), at most four, the
    ``first`` before all others where it is one of them.
    """
    plain = {"format": 1, "id": "dlpack.found", "title": title, "rules": ["dlpack.h/layout"]}
    seen = run({**plain, "steps": list(program)}, profile, rules=True)
    ours = [(path, rule) for path, rule in seen.reached if rule in _rules_of_suite()]
    rules = list(dict.fromkeys(rule for path, rule in ours if path == str(shows)))
    rules = rules or list(dict.fromkeys(rule for _, rule in reversed(ours)))
    rules.sort(key=lambda rule: rule != first)
    steps = [{**step, "expect": _expected(observed)} for step, observed in zip(program, seen.steps, strict=True)]
    vector = {**plain, "rules": rules[:4] or plain["rules"], "steps": steps}
    return {**vector, "leaks": seen.leaks} if seen.leaks else vector


def _expected(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a vector expects of a step: what was seen, without addresses that have no name."""
    expect: dict[str, Any] = {}
    value = seen.get("return", MISSING)
    if isinstance(value, Mapping):
        if "cstr" in value:
            value = {"content": {"cstr": value["cstr"]}}
        elif str(value.get("ref", "")).startswith(("?", "#")):
            value = MISSING
    if value is not MISSING:
        expect["return"] = value
    if seen["indicator"] in ("set", "replaced"):
        expect["error"] = {"type": seen["error"]["type"]}
    if seen["events"]:
        expect["events"] = [_event(event) for event in seen["events"]]
    return expect


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    if "unraisable" in event:
        return {"unraisable": {"type": event["unraisable"]["type"]}, "object": event.get("object")}
    # What has no name yet is called by a number, which says nothing.
    return {key: value for key, value in event.items() if key != "of" or not str(value).startswith("?")}
