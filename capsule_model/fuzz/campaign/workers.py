"""Who performs the shards of a round: this process, processes of this machine, or a Dask cluster."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Protocol

from capsule_model.fuzz.campaign.journal import Case, take_case_in_hand
from capsule_model.fuzz.campaign.local import Call, Died, Processes
from capsule_model.fuzz.campaign.shard import Shard, close_engine, perform
from capsule_model.trace.wording import clean

__all__ = ["Inline", "Local", "OnDask", "Workers"]

# How often Dask does again what failed, as a call does whose implementation was killed with a worker.
RETRIES = 3
# How many processes may die in the same case of a shard before the case is what kills them.
DEATHS = 3
Done = tuple[int, list[Case]]


class Workers(Protocol):
    """Perform shards, side by side or one after another."""

    def perform(self, shards: Sequence[Shard]) -> Iterator[Done]:
        """Perform shards, and give the place and the cases of each as it is done, in any order."""
        ...

    def call(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """Call a function with each of the arguments; return the results in order, None where a process died."""
        ...

    def close(self) -> None:
        """End all processes."""
        ...


class Inline:
    """Perform shards one after another in this process."""

    def perform(self, shards: Sequence[Shard]) -> Iterator[Done]:
        """Perform shards in their order."""
        for place, shard in enumerate(shards):
            yield place, perform(shard)

    def call(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """Call a function with each of the arguments."""
        return [function(argument) for argument in arguments]

    def close(self) -> None:
        """Close the implementation that this process has open."""
        close_engine()


class Local:
    """Perform shards in ``jobs`` processes of this machine; one that dies is replaced, and its shard goes on."""

    def __init__(self, jobs: int) -> None:
        self._processes = Processes(jobs)

    def perform(self, shards: Sequence[Shard]) -> Iterator[Done]:
        """Perform shards; a case in which three processes died is handed to ``Engine.lost``."""
        parent = os.getpid()
        now = list(shards)
        deaths: Counter[tuple[int, int]] = Counter()

        def again(place: int, died: Died) -> Call:
            number = take_case_in_hand(now[place].file)
            if number is not None:
                deaths[place, number] += 1
                if deaths[place, number] == DEATHS:
                    now[place] = replace(now[place], lost=(*now[place].lost, (number, died.how)))
            return perform, (now[place], parent)

        for place, cases in self._processes.perform(((perform, (shard, parent)) for shard in shards), again):
            if isinstance(cases, Died):
                raise ValueError(f"processes end before they have done anything: the last one {cases.how}")
            yield place, cases

    def call(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """Call a function with each of the arguments, side by side."""
        results = dict(self._processes.perform((function, (argument,)) for argument in arguments))
        return [None if isinstance(results[place], Died) else results[place] for place in range(len(arguments))]

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self._processes.close()


class OnDask:
    """Perform shards on a Dask cluster; what a worker that dies was doing is done again by another."""

    def __init__(self, address: str, time_limit: float = 30.0) -> None:
        try:
            # Without annotations, and an extra.
            self._distributed: Any = import_module("distributed")
        except ImportError:
            raise ValueError("--dask needs the extra dask: pip install 'capsule-model[dask]'") from None
        try:
            self._client = self._distributed.Client(address, timeout=time_limit, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            told = clean(" ".join(str(error).split()), 160)
            expected = "expected the address of a scheduler that runs, such as tcp://HOST:8786"
            raise ValueError(f"--dask {clean(address, 100)}: {told}; {expected}") from None

    def perform(self, shards: Sequence[Shard]) -> Iterator[Done]:
        """Perform shards."""
        futures = {self._submit(perform, shard): place for place, shard in enumerate(shards)}
        for future in self._distributed.as_completed(futures, loop=self._client.loop):
            yield futures[future], future.result()

    def call(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """Call a function with each of the arguments."""
        return list(self._client.gather([self._submit(function, argument) for argument in arguments]))

    def close(self) -> None:
        """Leave the cluster; it goes on."""
        self._client.close()

    def _submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        # Dask takes calls with equal arguments for one.
        return self._client.submit(function, argument, pure=False, retries=RETRIES)
