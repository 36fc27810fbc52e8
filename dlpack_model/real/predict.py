"""What the model says that a scenario shows, for a library's declared style."""

from __future__ import annotations

from typing import Any

from capsule_model import NULL, Interpreter
from dlpack_model.consumer import from_dlpack
from dlpack_model.exchange import Exchange, Record
from dlpack_model.libraries import Library
from dlpack_model.producer import __dlpack__
from dlpack_model.real.instrument import plain_keywords
from dlpack_model.real.observed import Observed, told_value
from dlpack_model.real.scenarios import Scenario, make_array, overwrite
from dlpack_model.tensor import read_values
from dlpack_model.violations import Broken, Violation

__all__ = ["predict"]

# The deleter of the instrument frees nothing.
INSTRUMENT = "DLManagedTensor/deleter-deletes-self"
PRODUCER = ("__dlpack__/", "__dlpack_device__/", "capsule-destructor/")
CONSUMER = ("from_dlpack/", "DLManagedTensor/deleter-")


class Watched(Exchange):
    """An exchange whose events are told as the instrument tells them, and whose capsules can be kept."""

    def __init__(self, scenario: Scenario, *, watched: bool) -> None:
        super().__init__(Interpreter(), watch=frozenset(), readings=frozenset({"null-strides"}))
        self.scenario = scenario
        self.watched = watched
        self.log: list[dict[str, Any]] = []
        self.held: list[int] = []
        self.event = self.tell

    def tell(self, event: dict[str, Any]) -> None:
        """Log what happened, as the instrument can see it."""
        kind = event["dlpack"]
        if kind == "destructor":
            pending = self.py.PyErr_Occurred()
            self.log.append({"event": kind, "name": event["name"], "pending": pending})
        elif kind == "__dlpack__":
            self.log.append({"event": kind, "keywords": plain_keywords(event["values"])})
        elif kind in ("deleter", "__dlpack_device__"):
            self.log.append({"event": kind})

    def give(self, record: Record, capsule: int) -> None:
        """Make the struct as the scenario wants it, and keep a reference to a capsule where capsules are watched."""
        super().give(record, capsule)
        overwrite(self, self.scenario, record)
        if self.watched:
            self.py.Py_INCREF(capsule)
            self.held.append(capsule)

    def take_log(self) -> list[dict[str, Any]]:
        """Return what was logged since the last time."""
        log, self.log = self.log, []
        return log


def predict(scenario: Scenario, library: Library, *, watched: bool = False) -> tuple[Observed, list[Violation]]:
    """Run a scenario in the model; return what is to be seen, and which rules the library breaks by it."""
    ex = Watched(scenario, watched=watched)
    py, seen = ex.py, Observed()
    array = make_array(ex, scenario)
    source = _source(ex, scenario, array)
    ex.take_log()
    results = []
    for _ in range(scenario.calls):
        result = from_dlpack(ex, library.consumer, source, device=scenario.device, copy=_number(scenario.copy))
        seen.outcomes.append(_outcome(ex, library, result))
        error, py.error = py.error, None
        results.append((result, error))
    seen.during = ex.take_log()
    for capsule in ex.held:
        struct = py.capsule_at(capsule)
        assert struct is not None
        name = ex.name_of(capsule)
        seen.capsules.append({"name": None if name is None else name.decode(), "destructor": struct.destructor != NULL})
    for capsule in reversed(ex.held):
        py.Py_DECREF(capsule)
    seen.released = ex.take_log()
    for result, error in results:
        if result != NULL:
            py.Py_DECREF(result)
        py.error = error
        py.PyErr_Clear()
    seen.dropped = ex.take_log()
    if source != array:
        py.Py_DECREF(source)
    if ex.arrays[array].producer.repeats:
        py.Py_DECREF(next(iter(ex.by_capsule)))
    seen.ended = ex.take_log()
    if any(found.kind == Broken.NULL_DELETER for found in ex.unwatched):
        seen = Observed(died="jumps to NULL")
    return seen, _broken_by_consumer(ex)


def _broken_by_consumer(ex: Watched) -> list[Violation]:
    """Return the rules that the consumer breaks, where the producer keeps its own."""
    found = [one for one in ex.unwatched if one.rule != INSTRUMENT]
    if ex.scenario.device is not None or ex.scenario.copy is not None:
        # Whether a second try may leave out what was asked for is where texts differ: requests-are-not-dropped.
        found = [one for one in found if one.rule != "from_dlpack/type-error-retry"]
    if any(one.rule.startswith(PRODUCER) for one in found):
        return []
    return [one for one in found if one.rule.startswith(CONSUMER)]


def _number(copy: bool | None) -> int | None:
    return None if copy is None else int(copy)


def _source(ex: Watched, scenario: Scenario, array: int) -> int:
    if scenario.source == "object":
        return ex.py.new_object("object")
    if scenario.source == "capsule":
        return __dlpack__(ex, ex.arrays[array], {"max_version": (1, 3)})
    return array


def _outcome(ex: Watched, library: Library, result: int) -> dict[str, Any]:
    if result == NULL:
        return {"raised": ex.py.PyErr_Occurred()}
    if ex.py.error is not None:
        # The interpreter's own exception, for a function that returns a result with another one set.
        return {"raised": "SystemError"}
    made = ex.arrays[result]
    told: dict[str, Any] = {"shape": list(made.layout.shape)}
    shown = library.shows(made.layout)
    told["values"] = [told_value(value) for value in read_values(ex, made.layout)] if shown else None
    if library.shows_writeable:
        told["writeable"] = not made.read_only
    if told["values"]:
        told["shares"] = any(
            block.address <= made.layout.address < block.address + block.size for block in _exported(ex)
        )
    return told


def _exported(ex: Watched) -> list[Any]:
    """Return the blocks with the elements of what was exported, dead ones included."""
    found = [ex.memory.nearest(record.array.data) for record in ex.records.values()]
    return [block for block in found if block is not None]
