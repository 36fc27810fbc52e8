"""Run proofs on the interpreter that runs this: `prove.py FILE.FUNCTION...`, a line of JSON for each.

A proof is a function without arguments that returns whether its claim holds here, and what it saw. It raises
`capi.Skip` where it cannot look. It needs Python 3.9 or newer and nothing else.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import capi


def main() -> None:
    """Run the functions that the command line names."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a proof prints is no answer
    for name in sys.argv[1:]:
        file, _, function = name.partition(".")
        answer: dict[str, object] = {"name": name}
        try:
            holds, saw = getattr(importlib.import_module(file), function)()
            answer.update(holds=bool(holds), saw=saw)
        except capi.Skip as reason:
            answer.update(holds=None, saw=str(reason))
        except Exception as error:
            answer.update(holds=None, saw=f"{type(error).__name__}: {error}", broken=True)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    answers.flush()
    os._exit(0)  # a proof may leave what the end of the interpreter would trip over


if __name__ == "__main__":
    main()
