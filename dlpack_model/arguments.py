"""The arguments of the operations of the suite ``dlpack``, read from a step, and elements as observations show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capsule_model.trace.operations import BadVector

if TYPE_CHECKING:
    from capsule_model.trace.execute import Machine

__all__ = ["bad", "integers", "number", "pair", "quirks_of", "shown", "word"]

Args = Mapping[str, Any]


def bad(machine: Machine, error: Exception) -> BadVector:
    """Return the complaint about the step that is running."""
    return BadVector(str(error), machine.path)


def word(args: Args, name: str, default: str) -> str:
    """Return an argument that is a word, or the default where it is left out."""
    return str(args.get(name, default))


def quirks_of(args: Args) -> tuple[str, ...]:
    """Return the deviations that a step names."""
    return tuple(map(str, args.get("quirks") or ()))


def pair(machine: Machine, args: Args, name: str) -> tuple[int, int] | None:
    """Return a pair of integers, such as a version or a device; None where it is left out or NULL."""
    value = args.get(name)
    if value is None:
        return None
    if len(value) != 2 or not all(isinstance(part, int) for part in value):
        raise BadVector(f"{name} is {value!r}: expected two integers", machine.path)
    return value[0], value[1]


def integers(machine: Machine, args: Args, name: str) -> tuple[int, ...] | None:
    """Return a list of integers; None where it is left out or NULL."""
    value = args.get(name)
    if value is None:
        return None
    if not all(isinstance(part, int) for part in value):
        raise BadVector(f"{name} is {value!r}: expected integers", machine.path)
    return tuple(value)


def number(machine: Machine, item: Any) -> Any:
    """Return an element that a vector writes: an integer, or a word such as 0.5, nan, 1+2j or a comma list of lanes."""
    if isinstance(item, int):
        return item
    try:
        if "," in str(item):
            return tuple(number(machine, lane) for lane in str(item).split(","))
        value = complex(str(item))
    except ValueError:
        raise BadVector(f"{item!r} is no element: expected a number", machine.path) from None
    return value if value.imag else value.real


def shown(value: Any) -> int | str:
    """Return an element as observations show it: an integer where it is one, else a text."""
    if isinstance(value, tuple):
        return ",".join(str(shown(lane)) for lane in value)
    if isinstance(value, complex):
        return str(value).strip("()") if value.imag else shown(value.real)
    if isinstance(value, float):
        return int(value) if value.is_integer() and str(value) != "-0.0" else repr(value)
    return int(value)
