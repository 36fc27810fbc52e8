"""All capsules of an interpreter: modules are imported in processes that are thrown away, and namespaces read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capsule_model.inspection.judge import capsule_of, own_path
from capsule_model.inspection.look import fresh_import
from capsule_model.inspection.processes import Dead, Python, Unfit, converse
from capsule_model.inspection.record import Capsule, Inspection, Unreached
from capsule_model.trace.wording import clean

__all__ = ["STDLIB", "Limits", "merged", "scan"]

# What reading an answer raises that is none.
NONSENSE = (AttributeError, KeyError, TypeError, ValueError)
# What the standard library is called among the distributions.
STDLIB = "stdlib"
# So many modules are imported in one process.
PORTION = 150
LISTING = Path(__file__).with_name("listing.py")
# How often a process is started again without the module that it died of.
MOST_DEATHS = 20
_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s'\"()/\\]+[/\\])+")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many seconds one import may take, how many all may, and how many processes there are at once."""

    step: float = 20.0
    whole: float = 1200.0
    jobs: int = 2


@dataclass(slots=True)
class Portion:
    """Modules that are imported in one process, and what became of it."""

    modules: list[str]
    capsules: list[dict[str, Any]] = field(default_factory=list)
    unreached: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def scan(
    python: Python,
    only: Sequence[str] = (),
    limits: Limits = Limits(),
    step: Callable[[int, int], None] = lambda done, of: None,
) -> Inspection:
    """Return all capsules of a Python: of its standard library, and of what is installed, or ``only`` of some of that.

    ``step`` is told how many portions are done, of how many. Each capsule is there once, with all its paths. Raises
    ``ValueError`` with one line for a distribution that is not there, or a Python that cannot be inspected.
    """
    until = time.monotonic() + limits.whole
    everything = set(only) != {STDLIB}
    try:
        hello, listed = converse(
            python, {"do": "modules", "everything": everything, "file": str(LISTING)}, limits.whole
        )
        groups = {title or STDLIB: list(map(str, names)) for title, names in listed["groups"].items()}
        version, profile = str(hello["python"]), str(hello["profile"])
    except (Dead, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{python.program}: its modules cannot be listed ({clean(str(error))})") from None
    for name in only:
        if name not in groups:
            raise ValueError(f"{clean(name)}: no such distribution; expected one of {_some(groups)}")
    chosen = {name: modules for name, modules in groups.items() if not only or name in only}
    portions = [
        Portion(modules[start : start + PORTION])
        for modules in chosen.values()
        for start in range(0, len(modules), PORTION)
    ]
    done = 0
    with ThreadPoolExecutor(limits.jobs) as pool:
        for _ in pool.map(lambda portion: _run(portion, python, limits, until), portions):
            done += 1
            step(done, len(portions))
        joined = merged(one for portion in portions for one in portion.capsules)
        paths = sorted({path for facts in joined if (path := own_path(facts)) is not None})
        fresh = dict(zip(paths, pool.map(lambda path: fresh_import(path, python, limits.step), paths), strict=True))
    capsules = [capsule_of(facts, profile, fresh.get(own_path(facts) or "")) for facts in joined]
    failed = sorted((name, why) for portion in portions for name, why in portion.failed.items())
    counts = {name: len(modules) for name, modules in sorted(chosen.items())}
    unreached = _unreached(one for portion in portions for one in portion.unreached)
    return Inspection(version, profile, tuple(sorted(capsules, key=_order)), counts, tuple(failed), unreached)


def _order(capsule: Capsule) -> tuple[str, ...]:
    return capsule.paths


def _some(groups: Mapping[str, object]) -> str:
    names = sorted(groups)
    return ", ".join(map(clean, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _run(portion: Portion, python: Python, limits: Limits, until: float) -> None:
    """Import the modules of a portion and take what is there then; begin again without one that ends the process."""
    for _ in range(MOST_DEATHS):
        left = until - time.monotonic()
        names = [name for name in portion.modules if name not in portion.failed]
        if not names:
            return
        if left <= 0:
            portion.failed |= dict.fromkeys(names, "there was no time left for it")
            return
        importing = ""
        capsules: list[dict[str, Any]] = []
        failed: dict[str, str] = {}
        try:
            for said in converse(python, {"do": "scan", "modules": names}, min(limits.step, left)):
                if "importing" in said:
                    importing = str(said["importing"])
                elif "failed" in said:
                    failed[str(said["failed"])] = _reason(said["why"])
                elif "capsule" in said:
                    # What cannot be read now could not be read later.
                    capsule_of(said["capsule"], "", None)
                    capsules.append(said["capsule"])
                elif "done" in said:
                    portion.capsules, portion.unreached = capsules, said["unreached"]
                    portion.failed |= failed
                    return
            why = "the process ends before it has told everything"
        except Dead as dead:
            why = str(dead)
        except Unfit:
            raise
        except NONSENSE:
            why = "the process answers with what is no answer"
        if importing not in names:
            # Which of them it was is not known where all were imported.
            portion.failed |= failed | {
                name: f"with all others imported, {why}" for name in names if name not in failed
            }
            return
        portion.failed[importing] = why
    left_over = [name for name in portion.modules if name not in portion.failed]
    portion.failed |= dict.fromkeys(left_over, f"{MOST_DEATHS} others of its distribution ended the process")


def _reason(raised: Mapping[str, Any]) -> str:
    """Say why an import failed; folders of this machine are of no interest."""
    return clean(f"{raised['type']}: {_FOLDERS.sub('', str(raised['text']))}", 300)


def merged(capsules: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join what several processes tell of one capsule: whatever shares a path is the same one.

    Fields are those of the first process; paths, and what was asked, are those of all.
    """
    kept: list[dict[str, Any] | None] = []
    at: dict[str, int] = {}
    for facts in capsules:
        known = sorted({at[path] for path in facts["paths"] if path in at})
        if not known:
            known = [len(kept)]
            kept.append(facts)
        else:
            first = known[0]
            for number in known[1:]:
                kept[first] = _joined(kept[first], kept[number])
                kept[number] = None
            kept[first] = _joined(kept[first], facts)
        entry = kept[known[0]]
        assert entry is not None
        at.update(dict.fromkeys(entry["paths"], known[0]))
    return [facts for facts in kept if facts is not None]


def _joined(left: dict[str, Any] | None, right: dict[str, Any] | None) -> dict[str, Any]:
    assert left is not None
    assert right is not None
    asked = {one["name"]: one for one in (*right["asked"], *left["asked"])}
    paths = sorted({*left["paths"], *right["paths"]}, key=lambda path: (len(path), path))
    return {
        **left,
        "paths": paths,
        "more": max(left["more"], right["more"]),
        "asked": [asked[name] for name in sorted(asked)],
    }


def _unreached(counted: Iterable[Mapping[str, Any]]) -> tuple[Unreached, ...]:
    """Join the counts of several processes: of each kind, the most that one process had."""
    most: dict[tuple[str, str], int] = {}
    for one in counted:
        key = clean(str(one["holder"])), clean(str(one["name"]))
        most[key] = max(most.get(key, 0), int(one["count"]))
    return tuple(Unreached(holder, name, count) for (holder, name), count in sorted(most.items()))
