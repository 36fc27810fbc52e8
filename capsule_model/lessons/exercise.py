"""Exercises by name: an answer goes to the judge of its exercise, which asks the model."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import FunctionType
from typing import Any

from capsule_model.lessons.verdict import NotYet, Verdict
from capsule_model.locate import specs
from capsule_model.trace.wording import clean
from capsule_model.undefined import Abort, NotModelled, UndefinedBehavior

__all__ = ["CHAPTERS", "Judge", "answer", "answers", "check", "exercises"]

# Returns a sentence for who is right; raises NotYet.
Judge = Callable[[Any], str]

# A module of exercises for each notebook that has some, by its number.
CHAPTERS = {
    "01": "what_a_capsule_is",
    "02": "names",
    "03": "lifetime",
    "04": "importing",
    "05": "old_and_new",
    "06": "going_wrong",
    "07": "from_rust",
    "08": "own_implementation",
    "09": "own_destructor",
}
_MOST = 400


def check(name: str, given: Any) -> Verdict:
    """Judge an answer to the exercise of that name, and say what is off; an answer of ``...`` is none.

    A program is run on the model, a prediction is compared with what the model does. Raises ``ValueError`` with one
    line where there is no such exercise.
    """
    judges = exercises()
    if name not in judges:
        raise ValueError(f"no exercise {name!r}: expected one of {', '.join(judges)}")
    if _is_blank(given):
        return Verdict(None, f"put your answer in the place of the dots. Stuck? answer({name!r}) shows one")
    try:
        return Verdict(True, judges[name](given))
    except NotYet as verdict:
        return Verdict(False, verdict.off, verdict.hint)
    except UndefinedBehavior as diagnosis:
        return Verdict(False, f"your program is undefined: {diagnosis.kind}, {diagnosis.fact}", diagnosis.consequence)
    except Abort as death:
        return Verdict(False, f"the interpreter ends the process: {death}", "it does so on purpose, to be noticed")
    except NotModelled as question:
        return Verdict(False, f"the model does not know {question}", "try it with the functions of the text above")
    except RecursionError:
        return Verdict(False, "your program calls itself without end", "what does it call that leads back to it?")
    except Exception as error:
        told = clean(f"{type(error).__name__}: {error}", _MOST)
        return Verdict(False, f"your answer raises {told}", "C functions return what C returns; they never raise")


def answer(name: str) -> None:
    """Print an answer to the exercise of that name, one of many perhaps."""
    if name not in exercises():
        raise ValueError(f"no exercise {name!r}: expected one of {', '.join(exercises())}")
    print(answers()[name]["answer"].strip())


@cache
def exercises() -> Mapping[str, Judge]:
    """Return the judge of every exercise, in the order of the notebooks."""
    found: dict[str, Judge] = {}
    for module in CHAPTERS.values():
        found |= import_module(f"capsule_model.lessons.{module}").EXERCISES
    return found


@cache
def answers() -> Mapping[str, Any]:
    """Return an answer to each exercise, and wrong ones: what stands in ``specs/notebooks/answers.toml``."""
    return tomllib.loads((specs() / "notebooks" / "answers.toml").read_text(encoding="utf-8"))


def _is_blank(given: Any) -> bool:
    """Tell whether an answer is still as it was handed out: dots, dots inside, or a function of nothing but dots."""
    if given is ...:
        return True
    if _is_function_of_dots(given):
        return True
    if isinstance(given, Mapping):
        return any(value is ... for value in given.values())
    return isinstance(given, (list, tuple, set)) and any(value is ... or _is_function_of_dots(value) for value in given)


def _is_function_of_dots(given: Any) -> bool:
    if not isinstance(given, FunctionType):
        return False
    code = given.__code__
    return code.co_code in _DOTS and all(value in (None, given.__doc__) for value in code.co_consts)


def _blank() -> None: ...


def _told() -> None:
    """Say what it does, and leave the dots."""


_DOTS = (_blank.__code__.co_code, _told.__code__.co_code)
