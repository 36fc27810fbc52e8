"""Run the command line: `python -m dlpack_model`, and the console command `dlpack-model`."""

from __future__ import annotations

import sys

from capsule_model.start import start


def main() -> int:
    """Run the command line and return its exit code."""
    return start("dlpack_model.cli", "dlpack-model")


if __name__ == "__main__":
    sys.exit(main())
