"""The command `report`: read results, compare them, write what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from capsule_model.command_line import input_error
from capsule_model.show.comparison import Comparison, compare
from capsule_model.show.html import html
from capsule_model.show.markdown import markdown
from capsule_model.show.results import read_results
from capsule_model.show.terminal import print_comparison, print_findings
from capsule_model.trace.wording import clean
from capsule_model.whole import write_whole

__all__ = ["report"]


def report(results: Sequence[Path], html_file: Path | None, markdown_file: Path | None, console: Console) -> int:
    """Run the command and return its exit code; raises `ValueError` with one line for bad usage or input."""
    wanted: list[tuple[str, Path, Callable[[Comparison], str]]] = []
    if html_file is not None:
        wanted.append(("--html", html_file, html))
    if markdown_file is not None:
        wanted.append(("--markdown", markdown_file, markdown))
    taken = {file.resolve(): f"the result {clean(str(file), 300)}" for file in results}
    for option, file, _ in wanted:
        name = f"{option} {clean(str(file), 300)}"
        if file.resolve() in taken:
            raise ValueError(f"{name}: is {taken[file.resolve()]}, too; expected another file")
        if not file.absolute().parent.is_dir():
            raise ValueError(f"{name}: no such folder; expected a file in one that exists")
        taken[file.resolve()] = option
    comparison = compare(read_results(results))
    texts = [(option, file, render(comparison)) for option, file, render in wanted]
    for option, file, text in texts:
        try:
            write_whole(text, file)
        except OSError as error:
            raise ValueError(f"{option} {clean(str(file), 300)}: {input_error(error)}") from None
    (print_findings if wanted else print_comparison)(comparison, console)
    return 1 if comparison.findings else 0
