"""Adapters for comparison, spoken over standard input and output: the model, and two that must fail.

    python -m capsule_model.conform.controls {model,null,echo} [PROFILE]

`null` supports nothing; `echo` says yes to everything and answers with what it was given.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from capsule_model.conform.answers import MAX_LINE, Misbehaviour, Ran, Refused
from capsule_model.conform.local import ModelAdapter
from capsule_model.profiles import PROFILES, profile_named
from capsule_model.trace.contract import operations
from capsule_model.trace.needs import FEATURES

__all__ = ["main"]

Answer = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Serve requests until `stop` or the end of the input; return the exit code."""
    makers: dict[str, Callable[[str], tuple[Answer, Callable[[Mapping[str, Any]], Answer]]]] = {
        "model": _model,
        "null": _null,
        "echo": _echo,
    }
    if not arguments or arguments[0] not in makers or len(arguments) > 2:
        print(f"expected one of {', '.join(makers)}, then a profile's name at most", file=sys.stderr)
        return 2
    profile = arguments[1] if len(arguments) == 2 else next(iter(PROFILES))
    try:
        about, run = makers[arguments[0]](profile_named(profile).name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for line in iter(lambda: sys.stdin.buffer.readline(MAX_LINE + 1), b""):
        answer = _answer(line, about, run)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        if "stopped" in answer:
            break
    return 0


def _answer(line: bytes, about: Answer, run: Callable[[Mapping[str, Any]], Answer]) -> Answer:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {"seq": 0, "error": "not JSON; expected one request a line"}
    if not isinstance(request, dict):
        return {"seq": 0, "error": "not an object; expected a request"}
    seq = {"seq": request.get("seq", 0)}
    match request.get("cmd"):
        case "start":
            return seq | {"protocol": 1} | about
        case "run":
            return seq | run(request.get("vector", {}))
        case "stop":
            return seq | {"stopped": True}
        case other:
            return seq | {"error": f"unknown cmd {other!r}; expected start, run or stop"}


def _model(profile: str) -> tuple[Answer, Callable[[Mapping[str, Any]], Answer]]:
    adapter = ModelAdapter(profile_named(profile))

    def run(vector: Mapping[str, Any]) -> Answer:
        try:
            seen = adapter.run(vector)
        except Misbehaviour as error:
            print(error, file=sys.stderr, flush=True)
            os.abort()
        if isinstance(seen, Ran):
            return {"steps": seen.steps, "leaks": seen.leaks}
        return (
            {"error": seen.text, "step": seen.step or ""} if isinstance(seen, Refused) else {"unsupported": seen.what}
        )

    return _all("capsule-model", profile), run


def _null(profile: str) -> tuple[Answer, Callable[[Mapping[str, Any]], Answer]]:
    about = _all("null", profile) | {"ops": [], "features": [], "absent": {}}
    return about, lambda vector: {"unsupported": "everything"}


def _echo(profile: str) -> tuple[Answer, Callable[[Mapping[str, Any]], Answer]]:
    def run(vector: Mapping[str, Any]) -> Answer:
        return {"steps": [_echoed(step) for step in vector["steps"]], "leaks": []}

    return _all("echo", profile), run


def _echoed(step: Mapping[str, Any]) -> Answer:
    """Return the observation that `step` suggests: its first address or 0, and no error."""
    given = [argument for argument in step.get("args", {}).values() if isinstance(argument, dict | int)]
    value: Any = {"ref": step["bind"]} if "bind" in step else (given or [0])[0]
    returns = operations()[step["op"]].returns
    seen: Answer = {"error": None, "indicator": "clear", "events": []}
    return seen if returns == "nothing" else {"return": 0 if returns == "int" else value} | seen


def _all(implementation: str, profile: str) -> Answer:
    return {
        "implementation": implementation,
        "version": "control",
        "profile": profile,
        "ops": sorted(operations()),
        "features": list(FEATURES),
        "absent": {},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
