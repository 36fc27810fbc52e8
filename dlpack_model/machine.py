"""The exchange as a Hypothesis state machine: arrays, capsules and owners by chance, under the rules.

``exchange_machine`` makes the machine of one's own producers and consumers. This module needs Hypothesis, the extra
``fuzz``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from capsule_model import NULL, Abort, Interpreter, UndefinedBehavior
from dlpack_model.arrays import Array, new_array, set_value, values_of
from dlpack_model.behaved import CONSUMERS_THAT_BEHAVE, PRODUCERS_THAT_BEHAVE
from dlpack_model.consumer import Consumer, from_dlpack
from dlpack_model.contract import alike
from dlpack_model.deleters import call_deleter
from dlpack_model.dtypes import NAMED, DType, Value, dtype_named
from dlpack_model.exchange import Exchange, Record
from dlpack_model.producer import Producer, __dlpack__
from dlpack_model.tensor import compact_strides

__all__ = ["ExchangeMachine", "exchange_machine"]

MOST = 6
SHAPES: tuple[tuple[int, ...], ...] = ((3,), (2, 3), (), (1,), (0,), (2, 2, 2), (5, 0), (1, 4))
LAYOUTS = ("rows", "columns", "reversed", "gaps")
DEVICES = ((1, 0), (2, 0), (2, 1), (10, 0), (13, 0))
NOTHING_SPECIAL = 0
Step = TypeVar("Step", bound=Callable[..., None])


@dataclass(slots=True)
class Held:
    """A reference to an array that the program owns.

    ``values`` are its elements, kept apart from the model; arrays that share memory share the list. ``read_only``
    is what its makers said, heard by its library or not. One that is ``native`` can be let go of without the GIL.
    """

    array: Array
    values: list[Value]
    read_only: bool
    native: bool = False


@dataclass(slots=True)
class Capsule:
    """A reference to a capsule that the program owns; ``refused`` counts those who did not take it."""

    address: int
    values: list[Value]
    read_only: bool
    consumed: bool = False
    refused: int = 0


def _counted(step: Step) -> Step:
    """Count a step, check the exchange after it, and note the first that ends in a diagnosis."""

    @wraps(step)
    def counting(self: ExchangeMachine, **drawn: Any) -> None:
        cls = type(self)
        cls.steps += 1
        try:
            step(self, **drawn)
            self.settle()
        except (UndefinedBehavior, Abort, AssertionError) as found:
            self.broken = True
            if cls.found is None:
                cls.found = cls.steps, found
            raise

    return counting  # type: ignore[return-value]


_number = st.integers(0, (1 << 16) - 1)
_rarely = st.integers(0, 3).map(lambda number: number == 3)


class ExchangeMachine(RuleBasedStateMachine):
    """Arrays, capsules and their owners by chance; whatever breaks a rule, or reads a wrong value, fails.

    ``steps`` counts the steps of all programs, ``found`` is the number of the first that failed and with what,
    ``told`` how often imports and exports came to what.
    """

    producers: ClassVar[tuple[Producer, ...]]
    consumers: ClassVar[tuple[Consumer, ...]]
    profile: ClassVar[str]
    header: ClassVar[tuple[int, int]]
    steps: ClassVar[int]
    found: ClassVar[tuple[int, BaseException] | None]
    told: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.py = Interpreter(self.profile)
        self.ex = Exchange(self.py, header=self.header)
        self.held: list[Held] = []
        self.capsules: list[Capsule] = []
        self.taken: list[tuple[Record, int]] = []
        self.finalises = False
        self.broken = False

    def settle(self) -> None:
        """Check what holds between two steps: every tensor has its owners, and no exception is left."""
        self.ex.check()
        assert self.py.error is None, f"{self.py.error!r} is left pending"
        assert not self.py.unraised, f"{self.py.unraised[0][0]!r} had nobody to receive it"

    @initialize(finalises=_rarely)
    def begin(self, finalises: bool) -> None:
        """Say whether the interpreter ends before what it exported is given back."""
        self.finalises = finalises

    @precondition(lambda self: len(self.held) < MOST)
    @rule(
        producer=_number,
        dtype=st.sampled_from(sorted(NAMED)),
        shape=st.sampled_from(SHAPES),
        layout=st.sampled_from(LAYOUTS),
        start=_number,
        offset=st.sampled_from((0, 8, 3)),
        read_only=st.sampled_from((False, False, True)),
        special=st.integers(NOTHING_SPECIAL, 11),
    )
    @_counted
    def new(
        self,
        producer: int,
        dtype: str,
        shape: tuple[int, ...],
        layout: str,
        start: int,
        offset: int,
        read_only: bool,
        special: int,
    ) -> None:
        """Make an array; one in four is on a device, few are padded or in a foreign byte order."""
        made = self.producers[producer % len(self.producers)]
        kind = dtype_named(dtype)
        device = DEVICES[special % len(DEVICES)] if special > 8 else DEVICES[0]
        values = _values(kind, shape, start)
        address = new_array(
            self.ex,
            made,
            kind,
            shape,
            values,
            # NULL strides stand for rows; a producer that leaves them out has nothing else.
            strides=_strides(shape, "rows" if made.null_strides else layout),
            offset=offset,
            device=device,
            read_only=read_only,
            padded=special == 7,
            swapped=special == 8 and kind.bits > 8,
        )
        array = self.ex.arrays[address]
        if device[0] in (2, 13):
            array.made_on = 5
        self.held.append(Held(array, values, read_only))

    @precondition(lambda self: self.held and len(self.held) < MOST)
    @rule(
        which=_number,
        consumer=_number,
        device=st.sampled_from((None, None, None, *DEVICES[:2])),
        copy=st.sampled_from((None, None, 0, 1)),
    )
    @_counted
    def take_in(self, which: int, consumer: int, device: tuple[int, int] | None, copy: int | None) -> None:
        """Import an array, or a view of one, as another library does."""
        source = self.held[which % len(self.held)]
        party = self.consumers[consumer % len(self.consumers)]
        if "dl_device" not in source.array.producer.keywords:
            # Who does not know the keyword cannot be asked.
            device = None
        result = from_dlpack(self.ex, party, source.array.address, device=device, copy=copy)
        self._taken_in("import", party, result, source)

    def _taken_in(self, what: str, party: Consumer, result: int, source: Held | Capsule) -> None:
        self.told[f"{what}, {'refused' if result == NULL else 'done'}"] += 1
        if result == NULL:
            self.py.PyErr_Clear()
            return
        array = self.ex.arrays[result]
        copied = array.block != NULL or array.copied
        values = list(source.values) if copied else source.values
        read_only = array.read_only or (source.read_only and not copied)
        self.held.append(Held(array, values, read_only, native=party.owner == "array"))
        self._compare(self.held[-1])

    @precondition(lambda self: self.held and len(self.capsules) < MOST)
    @rule(
        which=_number,
        max_version=st.sampled_from((None, (1, 3), (1, 0), (0, 8), (2, 0))),
        copy=st.sampled_from((None, None, 0, 1)),
    )
    @_counted
    def export(self, which: int, max_version: tuple[int, int] | None, copy: int | None) -> None:
        """Call ``__dlpack__`` oneself and keep the capsule."""
        source = self.held[which % len(self.held)]
        asked = {"max_version": max_version, "copy": copy}
        keywords = {key: value for key, value in asked.items() if value is not None}
        capsule = __dlpack__(self.ex, source.array, keywords)
        self.told[f"export, {'refused' if capsule == NULL else 'done'}"] += 1
        if capsule == NULL:
            self.py.PyErr_Clear()
            return
        copied = self.ex.by_capsule[capsule].copied
        values = list(source.values) if copied else source.values
        self.capsules.append(Capsule(capsule, values, source.read_only and not copied))

    @precondition(lambda self: self._on_offer() and len(self.held) < MOST)
    @rule(which=_number, consumer=_number)
    @_counted
    def consume(self, which: int, consumer: int) -> None:
        """Hand a capsule to a consumer; one that was consumed must be refused."""
        on_offer = self._on_offer()
        capsule = on_offer[which % len(on_offer)]
        party = replace(self.consumers[consumer % len(self.consumers)], takes_capsules=True)
        result = from_dlpack(self.ex, party, capsule.address)
        assert result == NULL or not capsule.consumed, f"{party.name} takes a capsule that was consumed"
        what = "consumed capsule" if capsule.consumed else "capsule"
        capsule.refused += result == NULL
        # Whoever renames first has consumed the capsule, also where it then fails.
        capsule.consumed = capsule.consumed or not self._is_unconsumed(capsule)
        self._taken_in(what, party, result, capsule)

    def _on_offer(self) -> list[Capsule]:
        """Return the capsules that are worth a try: two that refused one have shown what there is to see."""
        return [capsule for capsule in self.capsules if capsule.refused < 2]

    def _is_unconsumed(self, capsule: Capsule) -> bool:
        record = self.ex.by_capsule[capsule.address]
        return self.ex.name_of(capsule.address) == record.names.unused

    @precondition(lambda self: any(not capsule.consumed for capsule in self.capsules))
    @rule(which=_number)
    @_counted
    def take_over(self, which: int) -> None:
        """Rename a capsule oneself, as the protocol allows, and keep the managed tensor."""
        fresh = [capsule for capsule in self.capsules if not capsule.consumed]
        capsule = fresh[which % len(fresh)]
        record = self.ex.by_capsule[capsule.address]
        managed = self.py.PyCapsule_GetPointer(capsule.address, self.ex.cstring(record.names.unused))
        self.py.PyCapsule_SetName(capsule.address, self.ex.cstring(record.names.used))
        owner = -1 - len(self.ex.records) - len(record.history)
        self.ex.claim(record, "the program", owner, capsule.address)
        capsule.consumed = True
        assert managed == record.address
        self.taken.append((record, owner))

    @precondition(lambda self: self.taken)
    @rule(which=_number, pending=_rarely, without_gil=_rarely)
    @_counted
    def give_back(self, which: int, pending: bool, without_gil: bool) -> None:
        """Call the deleter of a managed tensor that the program took over."""
        self._with(pending, without_gil, lambda: self._delete(self.taken.pop(which % len(self.taken))))

    def _delete(self, taken: tuple[Record, int]) -> None:
        record, owner = taken
        self.ex.unclaim(record, owner)
        call_deleter(self.ex, record.address, versioned=record.versioned)

    @precondition(lambda self: self.capsules)
    @rule(which=_number, pending=_rarely)
    @_counted
    def drop_capsule(self, which: int, pending: bool) -> None:
        """Drop a capsule, consumed or not."""
        capsule = self.capsules.pop(which % len(self.capsules))
        self._with(pending, False, lambda: self.py.Py_DECREF(capsule.address))

    @precondition(lambda self: self.held)
    @rule(which=_number, pending=_rarely, without_gil=_rarely)
    @_counted
    def drop(self, which: int, pending: bool, without_gil: bool) -> None:
        """Drop an array, which others may still view."""
        held = self.held.pop(which % len(self.held))
        self._with(pending, without_gil and held.native, lambda: self.py.Py_DECREF(held.array.address))

    def _with(self, pending: bool, without_gil: bool, dying: Callable[[], None]) -> None:
        """Let something die, with an exception on its way to somebody, or without the GIL."""
        if pending:
            self.ex.set_error("KeyError", "k")
        before = self.py.error
        self.ex.gil = not without_gil
        dying()
        self.ex.gil = True
        assert self.py.error is before, f"{self.py.error!r} stands where {before!r} was pending"
        self.py.PyErr_Clear()

    @precondition(lambda self: self.held)
    @rule(which=_number)
    @_counted
    def read(self, which: int) -> None:
        """Read an array, through whatever views it."""
        self._compare(self.held[which % len(self.held)])

    def _compare(self, held: Held) -> None:
        seen, values = values_of(self.ex, held.array), held.values
        assert len(seen) == len(values), f"{held.array.name} has {len(seen)} elements, expected {len(values)}"
        assert all(map(alike, seen, values)), f"{held.array.name} reads {seen}, expected {values}"

    @precondition(lambda self: any(self._writable(held) for held in self.held))
    @rule(which=_number, index=_number, value=_number)
    @_counted
    def write(self, which: int, index: int, value: int) -> None:
        """Write an element through one of the arrays that share the memory."""
        open_to_all = [held for held in self.held if self._writable(held)]
        held = open_to_all[which % len(open_to_all)]
        shape, kind = held.array.layout.shape, held.array.layout.dtype
        number = index % len(held.values)
        held.values[number] = _value(kind, value)
        set_value(self.ex, held.array, _index(shape, number), held.values[number])

    def _writable(self, held: Held) -> bool:
        return not held.read_only and bool(held.values)

    def teardown(self) -> None:
        """Read and drop everything; nothing may be left."""
        if self.broken:
            return
        try:
            self._end()
        except (UndefinedBehavior, Abort, AssertionError) as found:
            if type(self).found is None:
                type(self).found = self.steps, found
            raise

    def _end(self) -> None:
        for held in self.held:
            self._compare(held)
        if self.finalises:
            self._finalise()
            return
        while self.taken:
            self._delete(self.taken.pop())
        for reference in [held.array.address for held in self.held] + [one.address for one in self.capsules]:
            self.py.Py_DECREF(reference)
        self.settle()
        for record in self.ex.records.values():
            if not record.has_deleter:
                # What nobody deletes is the producer's, who takes it back at the end.
                for _ in range(1 if self._shared(record) else record.exports):
                    self.py.Py_DECREF(record.array.address)
                self.py.free(record.address)
        assert not self.ex.leaks(), f"the deleter of export {self.ex.leaks()[0].number} was never called"
        assert not self.py.leaks(), str(self.py.leaks()[0])

    def _shared(self, record: Record) -> bool:
        return record.array.producer.shares

    def _finalise(self) -> None:
        """End the interpreter; then what is native gives back what it has, and nobody may use Python for it."""
        self.ex.finalised = True
        for held in self.held:
            if held.native:
                self.py.Py_DECREF(held.array.address)
        while self.taken:
            self._delete(self.taken.pop())
        self.settle()


def _strides(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Return the strides of a layout, in elements."""
    if layout == "columns":
        return compact_strides(shape[::-1])[::-1]
    factor = {"rows": 1, "reversed": -1, "gaps": 2}[layout]
    return tuple(factor * stride for stride in compact_strides(shape))


def _values(kind: DType, shape: tuple[int, ...], start: int) -> list[Value]:
    count = 1
    for length in shape:
        count *= length
    return [_value(kind, start + 7 * index) for index in range(count)]


def _value(kind: DType, number: int) -> Value:
    """Return the element that the bits of a number stand for, the number spread over the whole element."""
    spread = number * 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835 & (1 << 8 * kind.itemsize) - 1
    return kind.read(spread.to_bytes(kind.itemsize, "little"), "little")


def _index(shape: tuple[int, ...], number: int) -> tuple[int, ...]:
    index: list[int] = []
    for length in reversed(shape):
        number, place = divmod(number, length)
        index.append(place)
    return tuple(reversed(index))


def exchange_machine(
    producers: Sequence[Producer] | None = None,
    consumers: Sequence[Consumer] | None = None,
    *,
    profile: str = "cpython-3.13",
    header: tuple[int, int] = (1, 3),
) -> type[ExchangeMachine]:
    """Return a state machine of these producers and consumers, by default of all kinds that keep the rules.

    Run it with ``hypothesis.stateful.run_state_machine_as_test``, or take its ``TestCase``. What is broken raises a
    ``Violation`` or another ``UndefinedBehavior``, a wrong value or a leak ``AssertionError``; Hypothesis shows the
    shortest program. ``ValueError`` where there is no producer or no consumer.
    """
    makers = PRODUCERS_THAT_BEHAVE if producers is None else tuple(producers)
    takers = CONSUMERS_THAT_BEHAVE if consumers is None else tuple(consumers)
    if not makers or not takers:
        raise ValueError("an exchange takes two: expected at least one producer and one consumer")
    space: dict[str, Any] = {"producers": makers, "consumers": takers, "profile": profile, "header": header}
    space |= {"steps": 0, "found": None, "told": Counter(), "__doc__": ExchangeMachine.__doc__}
    return type("Exchanges", (ExchangeMachine,), space)
