"""The command `explain` with `--html`: run the vectors that are meant, and write their page."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from capsule_model.command_line import input_error
from capsule_model.conform.explain import chosen, profile_for
from capsule_model.conform.specification import read_rules
from capsule_model.profiles import profile_named
from capsule_model.show.stepper.cards import TooMuch
from capsule_model.show.stepper.facts import rule_facts, run_facts
from capsule_model.show.stepper.page import page
from capsule_model.show.texts import number
from capsule_model.suites import chapters_of, suites_there
from capsule_model.trace.execute import BadVector
from capsule_model.trace.wording import clean
from capsule_model.whole import write_whole

__all__ = ["MOST_VECTORS", "explain_page"]

MOST_VECTORS = 1000


def explain_page(what: str, profile: str | None, file: Path, console: Console) -> int:
    """Write the page of the vector of that id, or of those of that file, to `file`; return the exit code.

    Raises `ValueError` with one line for bad usage or bad input.
    """
    if profile is not None:
        profile_named(profile)
    name = f"--html {clean(str(file), 300)}"
    if Path(what).is_file() and file.resolve() == Path(what).resolve():
        raise ValueError(f"{name}: is the file of vectors, too; expected another file")
    if not file.absolute().parent.is_dir():
        raise ValueError(f"{name}: no such folder; expected a file in one that exists")
    if file.is_dir():
        raise ValueError(f"{name}: is a folder; expected a file")
    vectors, problems = chosen(what)
    if len(vectors) > MOST_VECTORS:
        raise ValueError(f"{clean(what)} has {len(vectors)} vectors; expected at most {MOST_VECTORS} for a page")
    for problem in problems:
        console.print(Text(f"bad input: {problem}", style="red"), soft_wrap=True)
    if not vectors:
        return 2
    runs = []
    for vector in vectors:
        try:
            runs.append(run_facts(vector, profile_for(vector, profile)))
        except BadVector as error:
            raise ValueError(f"{vector['id']}: step {error.path}: {error.message}") from None
        except TooMuch:
            raise ValueError(f"{vector['id']}: the run is too long for a page; expected a shorter one") from None
    rules = rule_facts(rule for suite in suites_there() for rule in read_rules(chapters_of(suite)))
    try:
        write_whole(page(runs, rules), file)
    except OSError as error:
        raise ValueError(f"{name}: {input_error(error)}") from None
    told = number(sum(len(run["moments"]) for run in runs), "moment")
    console.print(Text(f"{clean(str(file), 300)}: {number(len(runs), 'vector')}, {told}"), soft_wrap=True)
    return 2 if problems else 0
