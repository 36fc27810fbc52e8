"""The model behind the protocol, and a mark in a file for every vector that it is asked to perform.

python counting_adapter.py FILE
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from capsule_model.conform import controls


def main() -> int:
    """Serve requests until the end."""
    file = sys.argv[1]
    serve = controls._model

    def counting(profile: str) -> Any:
        about, run = serve(profile)

        def counted(vector: Mapping[str, Any]) -> dict[str, Any]:
            with open(file, "ab") as marks:
                marks.write(b".")
            return run(vector)

        return about, counted

    controls._model = counting
    return controls.main(["model", "cpython-3.13"])


if __name__ == "__main__":
    sys.exit(main())
