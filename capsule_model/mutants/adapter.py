"""A mutant behind the adapter protocol: ``python -m capsule_model.mutants.adapter ID [--profile NAME]``.

Commands that hold an implementation to the specification can be pointed at it. Where the mutant's process would die,
this one does.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

from capsule_model.conform.answers import MAX_LINE, Misbehaviour, parse_line
from capsule_model.mutants.mutant import Mutant
from capsule_model.mutants.registry import mutant_named
from capsule_model.mutants.session import MutantSession, loaded
from capsule_model.profiles import profile_named
from capsule_model.trace.contract import operations
from capsule_model.trace.needs import FEATURES

__all__ = ["Adapter", "Died", "main"]


class Died(Exception):
    """Say that the mutant's process would have died, and whether it would have ended by itself."""

    def __init__(self, text: str, aborted: bool) -> None:
        super().__init__(text)
        self.aborted = aborted


class Adapter:
    """Answer the requests of the protocol for one mutant under a profile."""

    def __init__(self, mutant: Mutant, profile: str) -> None:
        self.mutant = mutant
        self.profile = profile
        self.twin = loaded(mutant)

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, without its number; raise ``Died`` where the mutant does."""
        match request:
            case {"cmd": "start", "protocol": 1}:
                return self.start()
            case {"cmd": "run", "vector": dict(vector)}:
                return self.run(vector)
            case {"cmd": "stop"}:
                return {"stopped": True}
        return {"error": f"unknown request {str(request.get('cmd'))[:40]!r}; expected start, run or stop"}

    def start(self) -> dict[str, Any]:
        """Return what the mutant says of itself."""
        return {
            "protocol": 1,
            "implementation": "capsule-model-mutant",
            "version": self.mutant.id,
            "profile": self.profile,
            "ops": sorted(name for name, row in operations().items() if row.suite == "capsule"),
            "features": [feature for feature in FEATURES if feature != "dlpack"],
            "absent": {},
        }

    def run(self, vector: Mapping[str, Any]) -> dict[str, Any]:
        """Perform a vector and return what was seen; raise ``Died`` where the mutant does."""
        steps = vector.get("steps")
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
            return {"error": "the vector has no list of steps"}
        session = MutantSession(self.twin, vector, self.profile)
        seen = []
        for index, step in enumerate(steps):
            seen.append(session.step(step, str(index)))
            if session.died is not None:
                break
        leaks = session.close()
        if session.refused is not None:
            return {"error": session.refused}
        if session.died is not None:
            raise Died(session.died, session.aborted)
        return {"steps": seen, "leaks": leaks}


def main(arguments: Sequence[str] | None = None) -> int:
    """Speak the protocol on standard input and output; return 0, or 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="capsule_model.mutants.adapter", description=main.__doc__)
    parser.add_argument("id", metavar="ID", help="the mutant")
    parser.add_argument("--profile", default="cpython-3.13", help="the interpreter that it is (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        adapter = Adapter(mutant_named(options.id), profile_named(options.profile).name)
    except ValueError as error:
        print(f"adapter: {error}", file=sys.stderr)
        return 2
    try:
        _serve(adapter, sys.stdin.buffer, sys.stdout)
    except Died as death:
        print(f"adapter: {adapter.mutant.id}: {death}", file=sys.stderr, flush=True)
        _die(signal.SIGABRT if death.aborted else signal.SIGSEGV)
    return 0


def _serve(adapter: Adapter, requests: IO[bytes], answers: IO[str]) -> None:
    while line := requests.readline(MAX_LINE + 1):
        seq = None
        try:
            request = parse_line(line)
            seq = request.get("seq")
            answer = adapter.answer(request)
        except Misbehaviour as fault:
            request, answer = {}, {"error": f"the request {fault}"}
        print(json.dumps({"seq": seq, **answer}), file=answers, flush=True)
        if request.get("cmd") == "stop":
            return


def _die(number: int) -> None:
    """End this process by a signal, without leaving its memory behind."""
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


if __name__ == "__main__":
    sys.exit(main())
