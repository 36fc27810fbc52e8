"""A probe: a function that puts one rule to a library, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PROBES", "Case", "Probe", "cases_of", "probe"]

Told = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One call of a probe: what distinguishes it, and its arguments as Python expressions.

    ``make``, ``values``, ``consume``, ``cpu`` and ``writable`` come from the library's description unless a case has
    its own; any other argument is written into the script as it is here. ``dies`` is the rule of a death in this case,
    where it is not that of the probe.
    """

    label: str
    arguments: Mapping[str, str]
    dies: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to a library.

    ``run`` returns a verdict and what was seen, and the rule where it is not ``rule``. The verdict is ``kept``,
    ``choice``, ``unsupported``, or the severity of what is broken. ``undefined`` marks what no rule protects a library
    from: whatever happens is a choice, also the end of the process. ``ends`` marks what shows when Python ends.
    ``dies`` is the rule of a death where it is not ``rule``, ``means`` what a death tells. ``look`` runs in place of
    ``run`` where the model judges, and returns facts; ``run`` then shows what it found. ``standard`` marks what
    needs the keywords of the array API's ``from_dlpack``.
    """

    id: str
    side: str
    rule: str
    run: Callable[..., Told]
    cases: tuple[Case, ...]
    undefined: bool = False
    ends: bool = False
    look: Callable[..., Told] | None = None
    dies: str = ""
    means: str = ""
    standard: bool = False


PROBES: dict[str, Probe] = {}


def cases_of(**labelled: Mapping[str, Any]) -> tuple[Case, ...]:
    """Make cases of labels, underscores for blanks, and arguments as Python values."""
    return tuple(
        Case(label.replace("_", " ").strip(), {name: repr(value) for name, value in arguments.items()})
        for label, arguments in labelled.items()
    )


def probe(
    id: str,
    side: str,
    rule: str,
    cases: tuple[Case, ...] = (Case("", {}),),
    *,
    undefined: bool = False,
    ends: bool = False,
    look: Callable[..., Told] | None = None,
    dies: str = "",
    means: str = "",
    standard: bool = False,
) -> Callable[[Callable[..., Told]], Callable[..., Told]]:
    """Register a function as a probe of a rule."""

    def register(run: Callable[..., Told]) -> Callable[..., Told]:
        assert id not in PROBES, f"two probes are called {id}"
        PROBES[id] = Probe(id, side, rule, run, cases, undefined, ends, look, dies, means, standard)
        return run

    return register
