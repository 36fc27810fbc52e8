"""Run the command line: `python -m dlpack_model`, and the console command `dlpack-model`."""

from __future__ import annotations

import sys

_EXTRA = ("click", "rich")


def main() -> int:
    """Run the command line and return its exit code; name the extra where a library is missing."""
    try:
        from dlpack_model.cli import run

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(f"dlpack-model: {error.name} is missing; pip install 'capsule-model[cli]'", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
