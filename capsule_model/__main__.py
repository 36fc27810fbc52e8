"""Run the command line: `python -m capsule_model`, and the console command `capsule-model`."""

from __future__ import annotations

import sys

from capsule_model.start import start


def main() -> int:
    """Run the command line and return its exit code."""
    return start("capsule_model.cli", "capsule-model")


if __name__ == "__main__":
    sys.exit(main())
