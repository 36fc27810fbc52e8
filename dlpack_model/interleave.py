"""All interleavings of two consumers of one capsule, in builds with the GIL and without.

``dlpack-model interleave`` explores the declared styles and prints the shortest schedule that does harm.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from capsule_model import NULL
from dlpack_model.arrays import new_array
from dlpack_model.consumer import CONSUMERS, Consumer, from_dlpack
from dlpack_model.deleters import call_deleter
from dlpack_model.exchange import Exchange
from dlpack_model.producer import Producer, __dlpack__
from dlpack_model.schedule import Schedule, Task, Watched, exclusive, point
from dlpack_model.violations import HARM

__all__ = ["STYLES", "Explored", "Shortest", "Style", "explore", "importing", "main", "splitter"]

LEAK = "leak"
PRODUCER = Producer("producer", destructor="save-error")


@dataclass(frozen=True)
class Style:
    """One way to consume a capsule that another thread may consume as well: its name, what it does, and the task."""

    name: str
    about: str
    task: Task


@dataclass(frozen=True)
class Shortest:
    """The shortest schedule that breaks a rule: its calls, and how often the thread changes in them."""

    lines: tuple[str, ...]
    switches: int


@dataclass
class Explored:
    """What came of all schedules: how many there were, how many broke which rule, and the shortest for each."""

    schedules: int = 0
    safe: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    shortest: dict[str, Shortest] = field(default_factory=dict)

    @property
    def harm(self) -> list[str]:
        """Return the kinds that a process does not survive unharmed, or that leave something behind."""
        return [kind for kind in self.broken if kind not in PROMISES]


# Broken before any harm is done; what they lead to is counted as well.
PROMISES = ("contract", "consumed-twice", "two-owners", "no-owner")


def importing(consumer: Consumer, *, guarded: bool = False) -> Task:
    """Return the task of a consumer: import the capsule, and drop what came of it.

    One that is ``guarded`` imports in a critical section of the capsule.
    """
    taking = replace(consumer, takes_capsules=True)

    def task(ex: Exchange, capsule: int) -> None:
        with exclusive(ex) if guarded else nullcontext():
            result = from_dlpack(ex, taking, capsule)
        if result == NULL:
            ex.py.PyErr_Clear()
        else:
            ex.py.Py_DECREF(result)

    return task


def splitter(ex: Exchange, capsule: int) -> None:
    """Claim through the context: write oneself there, close the door by the name, and look whether one still stands.

    This is Lamport's splitter: of all who come at most one gets through, and in a race perhaps nobody. Nothing better
    can be made of reads and writes alone, and the capsule functions are no more than these: none of them compares
    and exchanges, or tells what it replaced.
    """
    py = ex.py
    record = ex.by_capsule[capsule]
    unused, used = ex.cstring(record.names.unused), ex.cstring(record.names.used)
    me = ex.memory.tick()
    py.PyCapsule_SetContext(capsule, me)
    if not py.PyCapsule_IsValid(capsule, unused):
        return
    py.PyCapsule_SetName(capsule, used)
    if py.PyCapsule_GetContext(capsule) != me:
        return
    managed = py.PyCapsule_GetPointer(capsule, used)
    ex.touch(record, "the splitter", "imports")
    ex.claim(record, "the splitter", -me, capsule)
    ex.unclaim(record, -me)
    call_deleter(ex, managed, versioned=record.versioned)


def releases_gil(ex: Exchange, capsule: int) -> None:
    """Look at the tensor without the GIL before the capsule is renamed, as to copy it."""
    py = ex.py
    record = ex.by_capsule[capsule]
    unused, used = ex.cstring(record.names.unused), ex.cstring(record.names.used)
    if not py.PyCapsule_IsValid(capsule, unused):
        return
    managed = py.PyCapsule_GetPointer(capsule, unused)
    point(ex, "lets go of the GIL")
    ex.touch(record, "the copy", "reads")
    ex.claim(record, "the copy", -ex.memory.tick(), capsule)
    py.PyCapsule_SetName(capsule, used)
    ex.unclaim(record, record.claims[-1][1])
    call_deleter(ex, managed, versioned=record.versioned)


def _declared(name: str, about: str) -> Style:
    return Style(name, about, importing(CONSUMERS[name]))


PLAIN = CONSUMERS["rename-only"]
STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        _declared("rename-only", "look at the name, take the pointer, rename"),
        _declared("rename-first", "look at the name, take the pointer, rename before the tensor is read"),
        _declared("clears-destructor", "rename, and set the destructor to NULL"),
        _declared("internal-capsule", "put the tensor into a capsule of one's own"),
        _declared("keeps-capsule", "leave the name, and keep the capsule as the owner"),
        Style(
            "rename-last, calls Python",
            "run Python code between the pointer and the new name",
            importing(replace(PLAIN, name="calls-python", calls_python=True)),
        ),
        Style(
            "rename-first, calls Python",
            "run Python code behind the new name",
            importing(replace(CONSUMERS["rename-first"], name="calls-python", calls_python=True)),
        ),
        Style("releases the GIL", "let go of the GIL between the pointer and the new name", releases_gil),
        Style("splitter", "claim through the context of the capsule", splitter),
        Style("critical section", "rename-only, in a critical section of the capsule", importing(PLAIN, guarded=True)),
    )
}


def explore(task: Task, other: Task | None = None, *, gil: bool, most_switches: int | None = None) -> Explored:
    """Run two tasks on one capsule in all schedules, depth first, each in a fresh process; return what came of them.

    ``most_switches`` leaves out schedules in which a thread that could go on is interrupted more often. ``Stuck``
    where a thread does not end.
    """
    tasks = (task, other or task)
    explored = Explored()
    prefix: list[int] | None = []
    while prefix is not None:
        schedule = _run(tasks, gil, prefix)
        _count(explored, schedule)
        prefix = _next(schedule, most_switches)
    return explored


def _run(tasks: Sequence[Task], gil: bool, prefix: Sequence[int]) -> Schedule:
    """Run one schedule from a fresh process to its end, and drop what the main thread holds."""
    ex = Exchange(Watched("cpython-3.13" if gil else "cpython-3.13-free-threaded"), watch=HARM)
    py = ex.py
    x = new_array(ex, PRODUCER, "int8", (2,))
    capsule = __dlpack__(ex, ex.arrays[x], {"max_version": (1, 3)})
    schedule = Schedule(ex, gil, prefix)
    schedule.run(tasks, capsule)
    if schedule.harm is None:
        ex.check()
        py.handle_pending()
        py.Py_DECREF(capsule)
        py.Py_DECREF(x)
        ex.check()
        if py.leaks():
            schedule.noted.setdefault(LEAK, len(schedule.lines))
        for found in ex.unwatched:
            schedule.noted.setdefault(found.kind.value, len(schedule.lines))
    return schedule


def _count(explored: Explored, schedule: Schedule) -> None:
    explored.schedules += 1
    explored.safe += not schedule.noted
    for kind, steps in schedule.noted.items():
        explored.broken[kind] += 1
        lines, switches = tuple(schedule.lines[:steps]), schedule.switches(steps)
        known = explored.shortest.get(kind)
        if known is None or (len(lines), switches) < (len(known.lines), known.switches):
            explored.shortest[kind] = Shortest(lines, switches)


def _next(schedule: Schedule, most_switches: int | None) -> list[int] | None:
    """Return the first decisions of the next schedule: the last one that can be taken otherwise is."""
    decisions = schedule.decisions
    for last in reversed(range(len(decisions))):
        decision = decisions[last]
        if decision.place + 1 == len(decision.options):
            continue
        before = sum(one.preempts and one.place > 0 for one in decisions[:last])
        if most_switches is None or not decision.preempts or before < most_switches:
            return [*(one.place for one in decisions[:last]), decision.place + 1]
    return None


def _show(name: str, gil: bool, explored: Explored) -> str:
    build = "with the GIL" if gil else "free-threaded"
    broken = ", ".join(f"{kind} {count}" for kind, count in sorted(explored.broken.items())) or "nothing broken"
    return f"{name}, {build}: {explored.schedules} schedules, {explored.safe} without fault; {broken}"


def _shortest(explored: Explored) -> list[str]:
    """Return the lines of the shortest schedule that deletes twice, or of the shortest that does another harm."""
    harm = explored.harm
    if not harm:
        return []
    kind = next((one for one in ("deleter-called-twice",) if one in harm), harm[0])
    found = explored.shortest[kind]
    return [
        f"  {kind} in {len(found.lines)} steps with {found.switches} switches:",
        *(f"    {line}" for line in found.lines),
    ]


def run_all(styles: Mapping[str, Style], builds: Sequence[bool], most_switches: int | None) -> bool:
    """Explore the styles and print what came of each; return whether any did harm."""
    harmed = False
    for style in styles.values():
        for gil in builds:
            explored = explore(style.task, gil=gil, most_switches=most_switches)
            print("\n".join([_show(style.name, gil, explored), *_shortest(explored)]), flush=True)
            harmed = harmed or bool(explored.harm)
    return harmed


def main(arguments: Sequence[str] | None = None) -> int:
    """Explore all schedules of two consumers of one capsule; return 0, 1 where one does harm, 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="dlpack-model interleave", description=main.__doc__)
    parser.add_argument("styles", nargs="*", metavar="STYLE", help=f"of {', '.join(STYLES)} (default: all)")
    parser.add_argument("--build", choices=("gil", "free-threaded", "both"), default="both", help="default: both")
    parser.add_argument("--most-switches", type=int, metavar="N", help="leave out schedules with more interruptions")
    options = parser.parse_args(arguments)
    for name in options.styles:
        if name not in STYLES:
            parser.error(f"no style {name[:40]!r}: expected one of {', '.join(STYLES)}")
    if options.most_switches is not None and options.most_switches < 0:
        parser.error(f"argument --most-switches: {options.most_switches} is not a number from 0 on")
    chosen = {name: STYLES[name] for name in options.styles or STYLES}
    builds = {"gil": (True,), "free-threaded": (False,), "both": (True, False)}[options.build]
    return 1 if run_all(chosen, builds, options.most_switches) else 0


if __name__ == "__main__":
    sys.exit(main())
