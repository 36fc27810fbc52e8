"""Execute notebooks from a clean kernel, and hold their outputs against those that are committed.

This module alone needs Jupyter, the extra ``notebooks``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from capsule_model.whole import write_whole

__all__ = ["as_committed", "differences", "executed", "write"]

TIME_LIMIT = 120
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_SVG, _HTML = "image/svg+xml", "text/html"


def executed(file: Path) -> dict[str, Any]:
    """Return a notebook with the outputs of a run from a clean kernel, as it would be committed.

    Raises what nbclient raises where a cell fails or takes longer than ``TIME_LIMIT`` seconds, and
    ``ModuleNotFoundError`` without the extra ``notebooks``.
    """
    nbformat, nbclient = import_module("nbformat"), import_module("nbclient")
    notebook = nbformat.read(file, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=TIME_LIMIT,
        kernel_name="python3",
        resources={"metadata": {"path": str(file.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute()
    return as_committed(json.loads(nbformat.writes(notebook)))


def as_committed(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notebook without what differs from run to run: counts, times, the version of Python.

    Where there is a picture as SVG, the HTML around the same picture is left out: once is enough.
    """
    return {
        "cells": [_cell(cell) for cell in notebook["cells"]],
        "metadata": _METADATA,
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def differences(file: Path, run: Mapping[str, Any]) -> Iterator[str]:
    """Return a line for each cell whose committed text or outputs are not those of a run."""
    committed = json.loads(file.read_text(encoding="utf-8"))
    for number, (one, other) in enumerate(zip(committed["cells"], run["cells"], strict=True), 1):
        if one != other:
            first = "".join(one["source"]).partition("\n")[0]
            yield f"{file.name}: cell {number} ({first[:60]}): its output is not what is committed"
    if committed["metadata"] != run["metadata"]:
        yield f"{file.name}: its metadata are not those that are committed; --write puts them right"


def write(file: Path, run: Mapping[str, Any]) -> None:
    """Write a notebook with its outputs."""
    write_whole(json.dumps(run, indent=1, ensure_ascii=False, sort_keys=True) + "\n", file)


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    tags = cell["metadata"].get("tags")
    kept: dict[str, Any] = {
        "cell_type": cell["cell_type"],
        "id": cell["id"],
        "metadata": {"tags": tags} if tags else {},
        "source": _lines(cell["source"]),
    }
    if cell["cell_type"] == "code":
        kept |= {"execution_count": None, "outputs": _outputs(cell["outputs"])}
    return kept


def _outputs(outputs: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return outputs without counts; what was printed in several pieces is one."""
    found: list[dict[str, Any]] = []
    for output in outputs:
        if output["output_type"] == "stream":
            text = "".join(output["text"])
            if found and found[-1].get("name") == output["name"]:
                text = "".join(found.pop()["text"]) + text
            found.append({"name": output["name"], "output_type": "stream", "text": _lines(text)})
        else:
            data = {kind: _lines(value) for kind, value in output["data"].items()}
            if _SVG in data:
                data.pop(_HTML, None)
            kept: dict[str, Any] = {"data": data, "metadata": {}, "output_type": output["output_type"]}
            if output["output_type"] == "execute_result":
                kept["execution_count"] = None
            found.append(kept)
    return found


def _lines(text: Any) -> list[str]:
    return "".join(text).splitlines(keepends=True)
