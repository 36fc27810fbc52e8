"""The model as an adapter that misbehaves in one way, at one vector: `misbehaving.py WAY ID`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from capsule_model.conform.answers import Ran
from capsule_model.conform.local import ModelAdapter
from capsule_model.profiles import profile_named
from capsule_model.trace.contract import operations
from capsule_model.trace.needs import FEATURES


def write(text: str) -> None:
    """Write `text` to standard output at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def misbehave(way: str, answer: dict[str, Any]) -> None:
    """Do what `way` says instead of sending `answer`."""
    line = json.dumps(answer) + "\n"
    match way:
        case "signal":
            print("\x1b[31mlast words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            os._exit(3)
        case "hang":
            time.sleep(3600)
        case "noise":
            write("Hello \x1b[2J\n" + line)
        case "noise-after":
            write(line + "bye\n")
        case "order":
            write(json.dumps(answer | {"seq": answer["seq"] + 1}) + "\n")
        case "twice":
            write(line + line)
        case "close":
            os.close(1)
            time.sleep(3600)
        case "half":
            write(line[:20])
            os._exit(0)
        case "long":
            write("x" * 3_000_000)
            write("\n")
        case "deep":
            write("[" * 10_000 + "]" * 10_000 + "\n")
        case "binary":
            sys.stdout.buffer.write(b"\xff\xfe\n")
            sys.stdout.flush()
        case "shape":
            write(json.dumps({"seq": answer["seq"], "steps": [{"error": 5}], "leaks": []}) + "\n")
        case "flood":
            while True:
                write("y" * 65536)
        case _:
            raise ValueError(way)


def main(way: str, target: str = "") -> None:
    """Serve requests."""
    model = ModelAdapter(profile_named("cpython-3.13"))
    started = False
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {"seq": request["seq"]}
        if request["cmd"] == "start":
            about = {"implementation": "misbehaving", "version": "1", "profile": "cpython-3.13", "protocol": 1}
            answer |= about | {"ops": sorted(operations()), "features": list(FEATURES)}
            if way == "no-start":
                sys.exit("cannot find my feet")
            if way == "starts-once" and started:
                sys.exit(1)
            started = True
        elif request["cmd"] == "run":
            seen = model.run(request["vector"])
            assert isinstance(seen, Ran)
            answer |= {"steps": seen.steps, "leaks": seen.leaks}
            if request["vector"]["id"] == target:
                misbehave(way, answer)
                continue
        else:
            answer["stopped"] = True
        write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
