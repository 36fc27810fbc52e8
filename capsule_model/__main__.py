"""Run the command line: `python -m capsule_model`, and the console command `capsule-model`."""

from __future__ import annotations

import sys

_EXTRA = ("click", "jinja2", "jsonschema_rs", "markdown_it", "markupsafe", "pygments", "rich")


def main() -> int:
    """Run the command line and return its exit code; name the extra where a library is missing."""
    try:
        from capsule_model.cli import run

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(f"capsule-model: {error.name} is missing; pip install 'capsule-model[cli]'", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
