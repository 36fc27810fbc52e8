"""Write a comparison as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from capsule_model.show.comparison import KINDS, LEGEND, LOUD, NOTHING, Comparison, Group, groups, noted
from capsule_model.show.results import Column
from capsule_model.show.texts import (
    MOST_EXPLAINED,
    about,
    differences,
    lacks,
    made_of,
    notices,
    number,
    spans,
    web_address,
    web_label,
)
from capsule_model.trace.wording import clean

__all__ = ["html"]


def html(comparison: Comparison) -> str:
    """Return the whole page."""
    return _template().render(
        chapters=comparison.chapters,
        columns=[_column(column, comparison) for column in comparison.columns],
        findings=comparison.findings,
        kinds=KINDS,
        legend=LEGEND,
        loud=LOUD,
        nothing=NOTHING,
        notices=notices(comparison),
        suspects=comparison.suspects,
        suspect_chapters={entry.chapter for entries in comparison.suspects.values() for entry in entries.values()},
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("capsule_model.show", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["number"] = number
    return environment.get_template("report.html.jinja")


def _column(column: Column, comparison: Comparison) -> dict[str, Any]:
    implementation, version, profile = about(column)
    kinds = column.kinds
    return {
        "name": column.name,
        "implementation": implementation,
        "version": version,
        "profile": profile,
        "reached": column.reached,
        "total": column.total,
        "percent": f"{column.percent:g}",
        "passed": kinds["passed"],
        "settled": column.settled,
        "asked": len(column.entries) - kinds["quiet"],
        "kinds": kinds,
        "other": column.name in comparison.others,
        "facts": made_of(column),
        "cells": {chapter: comparison.cells.get((column.name, chapter)) for chapter in comparison.chapters},
        "all": comparison.totals[column.name],
        "notes": {
            chapter: [_group(group, comparison) for group in groups(entries, column.absent)]
            for chapter, entries in noted(column)
        },
    }


def _group(group: Group, comparison: Comparison) -> dict[str, Any]:
    explained = group.entries[:MOST_EXPLAINED] if group.kind == "unexpected" else ()
    address = web_address(group.link)
    return {
        "kind": group.kind,
        "count": len(group.entries),
        "reason": [] if group.reason is None else spans(clean(group.reason, 1000)),
        "address": address,
        "label": web_label(address) if address is not None else clean(group.link or "", 200),
        "lacks": lacks(group),
        "explained": [
            {
                "id": entry.id,
                "outcome": entry.outcome,
                "detail": None if entry.detail is None else clean(entry.detail, 500),
                "differences": differences(entry),
            }
            for entry in explained
        ],
        "ids": [entry.id for entry in group.entries[len(explained) :]],
    }
