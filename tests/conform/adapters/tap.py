"""An adapter that hands every line to another and back, and writes both down: `tap.py LOG PROGRAM ARGUMENT…`."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def main(log: str, *command: str) -> int:
    """Pass requests and answers on until either side ends; end as the other adapter does."""
    with (
        open(log, "a", encoding="utf-8") as record,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
    ):
        assert other.stdin is not None
        assert other.stdout is not None
        for request in sys.stdin.buffer:
            record.write(json.dumps({"to": "adapter", "line": request.decode()}) + "\n")
            other.stdin.write(request)
            other.stdin.flush()
            answer = other.stdout.readline()
            if not answer:
                break
            record.write(json.dumps({"to": "runner", "line": answer.decode()}) + "\n")
            record.flush()
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()
        other.stdin.close()
        code = other.wait()
    if code < 0:
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
