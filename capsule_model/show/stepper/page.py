"""Write runs as one HTML page that needs nothing else: data, style and script are in it, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

__all__ = ["MOST", "page"]

# The most that a page may take, in bytes.
MOST = 16 * 1024 * 1024
# What could end a script element, or start something in it, is written as JSON writes it.
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(runs: Sequence[Mapping[str, Any]], rules: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page of some runs, as `run_facts` describes them, with the rules that they carried out.

    Raises `ValueError` where it would be larger than `MOST`.
    """
    reached = {rule for run in runs for moment in run["moments"] for rule in moment.get("rules", ())}
    data = {"format": 1, "vectors": runs, "rules": {rule: rules[rule] for rule in sorted(reached) if rule in rules}}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPED.items():
        text = text.replace(character, escape)
    if len(text.encode()) > MOST:
        raise ValueError(f"a page of {len(text.encode())} bytes: expected at most {MOST}, take fewer vectors")
    style, script = _own("stepper.css"), _own("stepper.js")
    return _template().render(
        title=runs[0]["id"] if len(runs) == 1 else f"{len(runs)} vectors",
        data=Markup(text),
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _own(name: str) -> str:
    return files("capsule_model.show.stepper").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """Return what allows that text, and nothing else, in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("capsule_model.show.stepper", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("stepper.html.jinja")
