"""The full cross of producers, capsule destructors, deleters, consumers and what becomes of the capsule.

Each combination is one run in a fresh process, with all kinds of broken rules looked for. Only what does harm ends a
run, so that it tells both which rule was broken first and what it came to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from capsule_model import NULL, Abort, Interpreter, UndefinedBehavior
from dlpack_model.arrays import new_array, values_of
from dlpack_model.consumer import CONSUMER_QUIRKS, CONSUMERS, Consumer, from_dlpack
from dlpack_model.deleters import DELETERS
from dlpack_model.destructors import DESTRUCTORS
from dlpack_model.exchange import Exchange
from dlpack_model.producer import Producer, __dlpack__, quirky
from dlpack_model.violations import HARM, Violation

__all__ = ["ALONE", "FATES", "PRODUCERS", "STYLES", "Combination", "Outcome", "combinations", "run", "run_all"]

SAFE = "safe"
REFUSED = "refused"
LEAK = "leak"
ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Combination:
    """One combination, a word for each axis; ``consumer`` is empty where nobody consumes the capsule."""

    producer: str
    destructor: str
    deleter: str
    fate: str
    consumer: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    ``first`` is the kind of what went wrong first (empty: nothing), ``rule`` the rule that was broken (empty where it
    was the memory that told). ``end`` is the kind of harm that ended the run, ``abort``, ``leak``, ``refused`` where
    nobody got the tensor, or ``safe``.
    """

    first: str
    rule: str
    end: str


PRODUCERS: dict[str, tuple[str, ...]] = {
    "0.8": ("legacy-only",),
    "1.0": (),
    "1.3": (),
    "1.3, always versioned": ("always-versioned",),
    "2.0": ("version-2",),
    "2.0, whatever is asked": ("ignores-max-version",),
}
VERSIONS = {"1.0": (1, 0)}

# The styles of the declared consumers, and faults that show only in some of the combinations.
FAULTS = ("no-version-check", "calls-null-deleter", "fails-after-claim")
STYLES: dict[str, Consumer] = {
    **CONSUMERS,
    **{fault: replace(CONSUMERS["rename-only"], name=fault, **CONSUMER_QUIRKS[fault]) for fault in FAULTS},
}


# Each takes capsules as well as arrays, so that a capsule can be held, and handed over more than once.
TAKING = {name: replace(style, takes_capsules=True) for name, style in STYLES.items()}


@cache
def _producer(name: str, destructor: str, deleter: str) -> Producer:
    made = quirky(Producer("producer"), PRODUCERS[name])
    return replace(made, version=VERSIONS.get(name, made.version), destructor=destructor, deleter=deleter)


class _Run:
    """One run: the exchange, the array that is exported, and the consumer, if any."""

    def __init__(self, combination: Combination) -> None:
        made = _producer(combination.producer, combination.destructor, combination.deleter)
        self.ex = Exchange(Interpreter("cpython-3.13"), watch=HARM)
        self.py = self.ex.py
        self.x = new_array(self.ex, made, "int8", (2,))
        self.style = TAKING.get(combination.consumer)
        self.refused = False

    @property
    def consumer(self) -> Consumer:
        """Return the consumer, where there is one."""
        assert self.style is not None
        return self.style

    def export(self) -> int:
        """Return a capsule, asked for as the consumer would; NULL where the producer refuses."""
        version = (1, 3) if self.style is None else self.style.max_version
        keywords = {} if version is None else {"max_version": version}
        return self._or_refused(__dlpack__(self.ex, self.ex.arrays[self.x], keywords))

    def consume(self, source: int) -> int:
        """Return the array that the consumer makes of an array or of a capsule; NULL where somebody refuses."""
        return self._or_refused(from_dlpack(self.ex, self.consumer, source))

    def _or_refused(self, result: int) -> int:
        if result == NULL:
            self.refused = True
            self.py.PyErr_Clear()
        self.ex.check()
        return result

    def read(self, array: int) -> None:
        """Read the elements of what was imported."""
        values_of(self.ex, self.ex.arrays[array])

    def drop(self, *owned: int) -> None:
        """Give references back, those that there are."""
        for reference in owned:
            self.py.Py_DecRef(reference)
            self.ex.check()


def _dropped(run: _Run) -> None:
    """Drop the capsule unconsumed."""
    run.drop(run.export())


def _renamed(run: _Run) -> None:
    """Give the capsule a name that nobody knows, and drop it."""
    capsule = run.export()
    if capsule != NULL:
        run.py.PyCapsule_SetName(capsule, run.ex.cstring(b"foreign"))
        run.drop(capsule)


def _dropped_pending(run: _Run) -> None:
    """Drop the capsule unconsumed while an exception is pending."""
    capsule = run.export()
    run.ex.set_error("KeyError", "k")
    run.drop(capsule)
    run.py.PyErr_Clear()


def _consumed(run: _Run) -> None:
    """Import the array, read it, and drop it."""
    result = run.consume(run.x)
    if result != NULL:
        run.read(result)
        run.drop(result)


def _consumed_twice(run: _Run) -> None:
    """Hand one capsule to the consumer twice, read what comes of it, and drop everything."""
    capsule = run.export()
    if capsule != NULL:
        results = [result for result in (run.consume(capsule), run.consume(capsule)) if result != NULL]
        # The second time, a refusal is what is wanted.
        run.refused = not results
        for result in results:
            run.read(result)
        run.drop(*results, capsule)


def _consumed_pending(run: _Run) -> None:
    """Consume the capsule, then drop it and the array while an exception is pending."""
    capsule = run.export()
    if capsule != NULL:
        result = run.consume(capsule)
        run.ex.set_error("KeyError", "k")
        run.drop(capsule, result)
        run.py.PyErr_Clear()


def _without_gil(run: _Run) -> None:
    """Import the array and let go of it without the GIL, as far as the consumer holds no Python object itself."""
    result = run.consume(run.x)
    if result != NULL:
        run.ex.gil = run.consumer.owner != "array"
        run.drop(result)
        run.ex.gil = True


def _after_finalisation(run: _Run) -> None:
    """Import the array and let go of it after the interpreter has ended; one who holds a capsule leaves it alone."""
    result = run.consume(run.x)
    run.ex.finalised = True
    if result != NULL and run.consumer.owner == "array":
        run.drop(result)


# What becomes of a capsule that nobody consumes, and of one that somebody does, in words for the tables.
ALONE: dict[str, Callable[[_Run], None]] = {
    "dropped": _dropped,
    "renamed to a foreign name and dropped": _renamed,
    "dropped with an exception pending": _dropped_pending,
}
FATES: dict[str, Callable[[_Run], None]] = {
    "consumed": _consumed,
    "consumed twice": _consumed_twice,
    "consumed, dropped with an exception pending": _consumed_pending,
    "consumed, dropped without the GIL": _without_gil,
    "consumed, dropped after finalisation": _after_finalisation,
}


def combinations() -> Iterator[Combination]:
    """Return all combinations."""
    for producer in PRODUCERS:
        for destructor in DESTRUCTORS:
            for deleter in DELETERS:
                for fate in ALONE:
                    yield Combination(producer, destructor, deleter, fate)
                for fate in FATES:
                    for consumer in STYLES:
                        yield Combination(producer, destructor, deleter, fate, consumer)


def run(combination: Combination) -> Outcome:
    """Run one combination in a fresh process."""
    running = _Run(combination)
    end = ""
    try:
        (ALONE.get(combination.fate) or FATES[combination.fate])(running)
        running.ex.running.append(("the end",))
        if not running.ex.finalised:
            running.drop(running.x)
    except Violation as harm:
        running.ex.unwatched.append(harm)
        end = harm.kind.value
    except UndefinedBehavior as harm:
        return _outcome(running, str(harm.kind), str(harm.kind))
    except Abort:
        return _outcome(running, ABORT, ABORT)
    return _outcome(running, "", end or _quiet_end(running))


def _outcome(running: _Run, sudden: str, end: str) -> Outcome:
    """Return the outcome: what was noted first, and where nothing was, what came suddenly."""
    noted = running.ex.unwatched
    if noted:
        return Outcome(noted[0].kind.value, noted[0].rule, end)
    return Outcome(sudden, "", end)


def _quiet_end(running: _Run) -> str:
    """Return how a run ended that came to its end."""
    ex = running.ex
    # With the interpreter gone, or without a deleter, nothing can be given back, and nobody expects it.
    if not ex.finalised and all(record.has_deleter for record in ex.records.values()) and ex.py.leaks():
        return LEAK
    return REFUSED if running.refused else SAFE


def run_all(progress: Callable[[], None] = lambda: None) -> Mapping[Combination, Outcome]:
    """Run every combination."""
    found = {}
    for combination in combinations():
        found[combination] = run(combination)
        progress()
    return found
