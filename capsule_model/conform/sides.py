"""Tell a result that diverges: what the vector expects, what the model predicts, what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsule_model.conform.runner import Divergence, Result
from capsule_model.conform.words import call_text, in_words, of_exception, step_at
from capsule_model.trace.returns import MISSING
from capsule_model.trace.wording import clean, shown

__all__ = ["result_lines", "sides_in_words"]


def result_lines(result: Result) -> list[str]:
    """Return a result in words: its vector with the rules, the detail, and each divergence with its sides."""
    lines = [f"{result.outcome}: {result.id}: {clean(result.vector['title'], 300)}"]
    lines.append(f"  rules: {', '.join(clean(rule) for rule in result.vector['rules'])}")
    if result.detail is not None:
        lines += [f"  {clean(line, 500)}" for line in result.detail.splitlines()[:20]]
    for divergence in result.divergences:
        lines += [f"  {line}" for line in _divergence_lines(result, divergence)]
    return lines


def _divergence_lines(result: Result, divergence: Divergence) -> list[str]:
    step = step_at(result.vector, divergence.path)
    call = f": {call_text(step)}" if step is not None else ""
    where = f"step {divergence.path}" if divergence.path != "end" else "at the end"
    sides = {"expected": divergence.expected, "model": divergence.model, "seen": divergence.seen}
    texts = sides_in_words(divergence.key, {label: value for label, value in sides.items() if value is not MISSING})
    asked = not any(other.key in ("undefined", "abort") for other in result.divergences)
    if divergence.key == "return" and "model" in texts and "seen" not in texts and asked:
        texts["seen"] = "nothing: the observation has no return"
    return [f"{where}{call}: {divergence.key}", *(f"  {label:<9}{text}" for label, text in texts.items())]


def sides_in_words(key: str, sides: Mapping[str, Any]) -> dict[str, str]:
    """Return what each side says of the `key` of an observation, on one line; sides that differ read differently."""
    plain = {label: in_words(key, value) for label, value in sides.items()}
    texts = dict(plain)
    for label, value in sides.items() if of_exception(key) else ():
        alike = [other for name, other in sides.items() if plain[name] == plain[label] and other != value]
        if isinstance(value, Mapping):
            apart = {name for other in alike if isinstance(other, Mapping) for name in _differing(value, other)}
            more = {name: value[name] for name in sorted(apart) if name in value}
            texts[label] += f" with {shown(more, 300)}" if more else ""
    return texts


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name, MISSING) != other.get(name, MISSING)}
