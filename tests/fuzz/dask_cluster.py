"""A Dask cluster of two processes: prints its address and their numbers, and ends with its standard input."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Serve until nobody asks any more."""
    distributed: Any = import_module("distributed")
    import_module("dask").config.set({"distributed.scheduler.allowed-failures": 5})
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        processes = [worker.pid for worker in cluster.workers.values()]
        print(json.dumps({"address": cluster.scheduler_address, "processes": processes}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
