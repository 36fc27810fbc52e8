"""Start a command line, or say which extra it lacks."""

from __future__ import annotations

import sys
from importlib import import_module

__all__ = ["start"]

# What is imported at the start: the module, and the extra that brings it.
_EXTRAS = {
    **dict.fromkeys(
        ("click", "jinja2", "jsonschema_rs", "markdown_it", "markupsafe", "pygments", "rich"),
        "cli",
    ),
    "hypothesis": "fuzz",
}


def start(module: str, program: str) -> int:
    """Run the command line in `module` and return its exit code; name the extra where a library is missing."""
    try:
        outcome: int = import_module(module).run()
        return outcome
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        print(f"{program}: {error.name} is missing; pip install 'capsule-model[{extra}]'", file=sys.stderr)
        return 2
