"""Hold an implementation in this process against vectors, and tell what differs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from capsule_model.conform.answers import Misbehaviour, Ran, Refused, Started, Unsupported, ran, started
from capsule_model.conform.runner import Result, run_vectors
from capsule_model.conform.session import Session
from capsule_model.conform.sides import result_lines
from capsule_model.profiles import profile_named
from capsule_model.suites import vectors_of

__all__ = ["Answering", "Outcome", "hold", "vectors"]

Vector = Mapping[str, Any]
_SHOWN = 3


def vectors(*names: str) -> list[dict[str, Any]]:
    """Return the vectors of the suite capsule whose file, or whose id, has that name, such as ``get-pointer``.

    Raises ``ValueError`` with one line where there is no such file and no such vector.
    """
    found: list[dict[str, Any]] = []
    files = {file.stem: file for file in sorted(vectors_of().glob("*.json"))}
    for name in names:
        file = files.get(name)
        if file is None:
            candidates = (one for path in files.values() for one in _read(path.read_text(encoding="utf-8")))
            chosen = [one for one in candidates if one["id"] == name]
        else:
            chosen = _read(file.read_text(encoding="utf-8"))
        if not chosen:
            raise ValueError(f"no vectors {name!r}: expected a vector's id, or one of {', '.join(files)}")
        found += chosen
    return found


def _read(text: str) -> list[dict[str, Any]]:
    document = json.loads(text)
    found: list[dict[str, Any]] = document.get("vectors", [document])
    return found


class Answering:
    """An adapter in this process: an object with ``ops`` and ``run(vector)``, behind the interface of the runner."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def start(self) -> Started:
        """Return what the adapter says of itself; what it does not say is filled in."""
        about: dict[str, Any] = {
            "implementation": type(self._adapter).__name__.lower(),
            "version": "1",
            "profile": "cpython-3.13",
        }
        about |= {"ops": sorted(self._adapter.ops), "features": sorted(getattr(self._adapter, "features", ()))}
        return started({"protocol": 1, **about})

    def run(self, vector: Vector) -> Ran | Unsupported | Refused:
        """Perform one vector; an exception of the adapter's is its outcome."""
        try:
            answer = self._adapter.run(vector)
            return ran(json.loads(json.dumps(answer)))
        except Misbehaviour:
            raise
        except Exception as error:
            raise Misbehaviour("errored", f"raised {type(error).__name__}: {error}") from None

    def stop(self) -> None:
        """Do nothing: the adapter ends with this process."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of vectors: a result for each."""

    results: list[Result]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many vectors there are of each outcome."""
        return dict(Counter(result.outcome for result in self.results))

    @property
    def failed(self) -> list[Result]:
        """Return the results that are neither passed nor left out."""
        return [one for one in self.results if one.outcome in ("failed", "errored", "crashed", "timed-out")]

    def __repr__(self) -> str:
        """Return the first divergences as ``capsule-model conform`` tells them, and the counts."""
        lines = [line for result in self.failed[:_SHOWN] for line in [*result_lines(result), ""]]
        more = len(self.failed) - _SHOWN
        lines += [f"and {more} more that fail", ""] if more > 0 else []
        return "\n".join([*lines, ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())])

    def _repr_html_(self) -> str:
        """Return the same, the outcome in bold."""
        *lines, counts = repr(self).split("\n")
        told = f"<pre>{escape(chr(10).join(lines))}</pre>" if lines else ""
        return f"{told}<strong>{escape(counts)}</strong>"


def hold(adapter: Any, held: Iterable[Vector], *, copies: bool = False, profile: str = "cpython-3.13") -> Outcome:
    """Hold an adapter in this process against vectors and against the model.

    ``adapter.ops`` names the operations that it has, ``adapter.features`` the features, and ``adapter.run(vector)``
    answers as the protocol says. With ``copies``, each vector is sent once more with other names.
    """
    session = Session(Answering(adapter))
    about = session.start()
    results, _ = run_vectors(held, session, about, profile_named(profile), copies=copies)
    return Outcome(results)
