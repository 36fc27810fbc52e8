"""The folder of a campaign: what it has learnt, what it found, and the journals of the round in progress.

``campaign.json`` is written whole at the end of each round, and lasts. A journal is there from the first case of its
shard to the end of the round. ``findings/ID.json`` is a file of vectors, ``findings/ID.txt`` tells it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capsule_model.fuzz.campaign.journal import Case, read_cases
from capsule_model.fuzz.campaign.learnt import Learnt
from capsule_model.trace.wording import clean
from capsule_model.whole import write_whole

__all__ = ["Corpus", "State"]

FORMAT = 1


@dataclass
class State:
    """Where a campaign stands: ``round`` is the one in progress, the rest is the sum of those that are done.

    ``about`` says what is held to what. ``findings`` has what was found, by id: ``cause``, ``title``, ``count``,
    ``seed`` of the case that found it first, and ``differences``. ``explained`` and ``avoided`` count by reason.
    """

    seed: int
    about: dict[str, Any]
    round: int = 0
    steps: int = 0
    seconds: float = 0.0
    learnt: Learnt = field(default_factory=Learnt)
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)
    undefined: dict[str, Counter[str]] = field(default_factory=dict)
    explained: Counter[str] = field(default_factory=Counter)
    avoided: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case, seed: str) -> dict[str, Any] | None:
        """Count a case; return its finding where it is the first of its cause."""
        self.steps += case["steps"]
        self.learnt.add(case)
        for kind, ends in case.get("undefined", {}).items():
            self.undefined.setdefault(kind, Counter()).update(ends)
        self.explained.update(case.get("explained", {}))
        self.avoided.update(case.get("avoided", {}))
        found: dict[str, Any] | None = case.get("finding")
        if found is None:
            return None
        known = self.findings.get(found["id"])
        if known is not None:
            known["count"] += 1
            return None
        kept = {key: found[key] for key in ("cause", "title", "differences")}
        self.findings[found["id"]] = {**kept, "count": 1, "seed": seed}
        return found

    def as_json(self) -> dict[str, Any]:
        """Return all of it as a JSON object."""
        return {
            "format": FORMAT,
            "seed": self.seed,
            "about": self.about,
            "round": self.round,
            "steps": self.steps,
            "seconds": self.seconds,
            "learnt": self.learnt.as_json(),
            "findings": {key: self.findings[key] for key in sorted(self.findings)},
            "undefined": {kind: dict(sorted(self.undefined[kind].items())) for kind in sorted(self.undefined)},
            "explained": dict(sorted(self.explained.items())),
            "avoided": dict(sorted(self.avoided.items())),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> State:
        """Return what ``as_json`` wrote down; raise ``ValueError`` for anything else."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"not of format {FORMAT}")
        try:
            return cls(
                int(value["seed"]),
                dict(value["about"]),
                int(value["round"]),
                int(value["steps"]),
                float(value["seconds"]),
                Learnt.from_json(value["learnt"]),
                {key: dict(found) for key, found in value["findings"].items()},
                {kind: Counter(ends) for kind, ends in value["undefined"].items()},
                Counter(value.get("explained", {})),
                Counter(value.get("avoided", {})),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not what a campaign writes: {type(error).__name__} {error}") from None


class Corpus:
    """The folder of one campaign."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "campaign.json"

    def open(self, seed: int, about: dict[str, Any]) -> State:
        """Return where the campaign stands, at its beginning where the folder is new.

        Raises ``ValueError`` with one line for a folder of another campaign, or one that cannot be read or written.
        """
        shown = clean(str(self.folder))
        try:
            for inner in ("journal", "findings"):
                (self.folder / inner).mkdir(parents=True, exist_ok=True)
            if not self._file.exists():
                state = State(seed, about)
                self.keep(state)
                return state
            state = State.from_json(json.loads(self._file.read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(f"--corpus {shown}: {error.strerror or error}; expected a folder to write to") from None
        except ValueError as error:
            raise ValueError(f"--corpus {shown}: campaign.json is {error}; expected a folder of this command") from None
        for key, mine in (("seed", seed), *about.items()):
            theirs = state.seed if key == "seed" else state.about.get(key)
            if theirs != mine:
                told = f"{key} {clean(str(theirs), 80)}, not {clean(str(mine), 80)}"
                raise ValueError(
                    f"--corpus {shown}: belongs to a campaign with {told}; expected the same or another folder"
                )
        self._sweep(state)
        return state

    def journal(self, number: int, shard: int) -> Path:
        """Return where the journal of a shard of a round is."""
        return self.folder / "journal" / f"{number:06}-{shard:02}.jsonl"

    def unfinished(self, state: State, shards: int) -> list[list[Case]]:
        """Return the cases of the round in progress that are done, by shard."""
        return [read_cases(self.journal(state.round, shard)) for shard in range(shards)]

    def keep(self, state: State) -> None:
        """Write down where the campaign stands, and let go of the journals of rounds that are done."""
        text = json.dumps(state.as_json(), ensure_ascii=False, separators=(",", ":"))
        write_whole(text + "\n", self._file, durable=True)
        self._sweep(state)

    def keep_finding(self, name: str, vectors: str, told: str) -> None:
        """Write what was found: a file of vectors, and what there is to read."""
        write_whole(vectors, self.folder / "findings" / f"{name}.json", durable=True)
        write_whole(told + "\n", self.folder / "findings" / f"{name}.txt", durable=True)

    def finding(self, name: str) -> tuple[dict[str, Any] | None, str | None]:
        """Return the vector of a finding and what there is to read; None where it was not written down yet."""
        try:
            (vector,) = json.loads((self.folder / "findings" / f"{name}.json").read_text(encoding="utf-8"))["vectors"]
            return vector, (self.folder / "findings" / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")
        except FileNotFoundError:
            return None, None

    def _sweep(self, state: State) -> None:
        for file in (self.folder / "journal").glob("*.jsonl"):
            number = file.name.partition("-")[0]
            if number.isdigit() and int(number) < state.round:
                file.unlink(missing_ok=True)
