"""What a party's own function did wrong, in about ten lines and as a vector of what was done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from capsule_model.fuzz.found import complete
from capsule_model.fuzz.shrink import is_defined, without_steps
from capsule_model.fuzz.tell import program_lines
from capsule_model.profiles import Profile
from capsule_model.trace.execute import run
from capsule_model.trace.wording import clean
from capsule_model.trace.write import dump_vectors

__all__ = ["GIVES_BACK", "RuleBroken", "Wrong"]

BUDGET = 200
GIVES_BACK = "a destructor gives back all that its capsule owned, once"
_WIDTH = 160


class Wrong(Exception):
    """Say what rule is broken and what was seen; whoever knows the program makes a ``RuleBroken`` of it."""

    def __init__(self, rule: str, seen: str) -> None:
        super().__init__(rule, seen)
        self.rule = rule
        self.seen = seen


class RuleBroken(AssertionError):
    """A rule of a capsule's life that a destructor, a producer or a consumer does not keep.

    ``rule`` says what ought to be, ``seen`` what was; ``program`` is what was done, as a vector's functions and steps.
    """

    def __init__(
        self,
        party: str,
        rule: str,
        seen: str,
        program: Mapping[str, Any],
        profile: Profile,
        again: Callable[[Mapping[str, Any]], RuleBroken | None] = lambda program: None,
    ) -> None:
        super().__init__(rule, seen)
        self.how = "give the vector below to replay() of the same machine"
        self._again = again
        self._text: str | None = None
        self.party = party
        self.rule = rule
        self.seen = seen
        self.program = program
        self.profile = profile

    def vector(self) -> dict[str, Any]:
        """Return what was done as a vector, with what the model says of it."""
        title = f"What was done when {self.party} broke a rule: {self.rule}"
        return complete(self.program, "fuzz.own", title, self.profile)

    def lines(self) -> list[str]:
        """Return about ten lines: the rule, what was done, and what was seen."""
        lines = [f"{self.party} breaks a rule: {self.rule}", *program_lines(self.program)]
        lines += [f"seen:  {self.seen}", f"again: {self.how}"]
        return [clean(line, _WIDTH) for line in lines]

    def shortest(self) -> RuleBroken:
        """Return the same with as few steps as show it; at most ``BUDGET`` programs are tried."""
        best, budget = self, BUDGET
        size = len(best.program["steps"]) // 2
        while size and budget:
            before, end = best, len(best.program["steps"])
            while end > 0 and budget:
                start = max(0, end - size)
                budget -= 1
                best = self._without(best, range(start, end)) or best
                end = min(start, len(best.program["steps"]))
            size = size if size == 1 and best is not before else size // 2
        while budget and (pair := _taken_and_given_back(best.program["steps"])):
            budget -= 1
            shorter = self._without(best, pair)
            if shorter is None:
                break
            best = shorter
        return best

    def _without(self, best: RuleBroken, left_out: Sequence[int] | range) -> RuleBroken | None:
        """Return how the program without some of its steps fails, None where it does not break the same rule."""
        candidate = without_steps(dict(best.program), left_out)
        found = self._again(candidate) if self._is_sound(candidate) else None
        return found if found is not None and found.rule == self.rule else None

    def _is_sound(self, program: Mapping[str, Any]) -> bool:
        """Tell whether a program is defined with an empty destructor, and where it matters leaves no capsule."""
        functions = dict(program.get("functions", {}))
        if "mine" in functions:
            functions["mine"] = {"kind": "destructor", "max_calls": 1000, "steps": []}
        plain = {**program, "functions": functions}
        if not is_defined(plain, self.profile):
            return False
        made = _bound(plain, "PyCapsule_New")
        return self.rule != GIVES_BACK or (made.isdisjoint(run(plain, self.profile).leaks) and _are_owned(plain))

    def __str__(self) -> str:
        """Return the lines of the shortest program, and below them the vector."""
        if self._text is None:
            best = self.shortest()
            try:
                vector = best.vector()
            except ValueError:
                vector = {"format": 1, "id": "fuzz.own", "title": "What was done", **best.program}
            self._text = "\n".join([*best.lines(), dump_vectors([vector])])
        return self._text


def _bound(program: Mapping[str, Any], operation: str) -> set[str]:
    """Return what the results of an operation are called."""
    return {step["bind"] for step in program["steps"] if step["op"] == operation and "bind" in step}


def _are_owned(program: Mapping[str, Any]) -> bool:
    """Tell whether each block became some capsule's context: one that nobody was given is nobody's to give back."""
    given = {step["args"]["context"]["ref"] for step in program["steps"] if _gives(step)}
    return _bound(program, "malloc") <= given


def _gives(step: Mapping[str, Any]) -> bool:
    context = step.get("args", {}).get("context") if step["op"] == "PyCapsule_SetContext" else None
    return isinstance(context, Mapping) and "ref" in context


def _taken_and_given_back(steps: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Return the places of a reference that is taken and the next that is given back; neither can go alone."""
    for place, step in enumerate(steps):
        if step["op"] == "Py_INCREF":
            for after, other in enumerate(steps[place + 1 :], place + 1):
                if other["op"] == "Py_DECREF" and other["args"] == step["args"]:
                    return place, after
    return None
