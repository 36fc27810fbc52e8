"""Fuzz a producer or a consumer of capsules: real objects of this interpreter, and the rules of a capsule's life.

A producer is a callable that returns a capsule. A consumer is a callable that takes one and is to use it by the
rules. After each call the counts, the fields and the error are what the rules say, or the call is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from capsule_model.fuzz import machine
from capsule_model.fuzz.broken import RuleBroken, Wrong
from capsule_model.fuzz.machine import with_settings
from capsule_model.fuzz.on_real import running_profile
from capsule_model.fuzz.real import Boxed, api, is_supported, object_at, refcount

__all__ = ["SETTINGS", "ConsumerMachine", "ProducerMachine", "consumer_machine", "producer_machine"]

# What such a machine does is no program that a failure could make shorter itself.
SETTINGS = settings(machine.SETTINGS, phases=[*machine.SETTINGS.phases, Phase.shrink])

Step = dict[str, Any]
FOREIGN: tuple[Any, ...] = (None, 1, "capsule", b"capsule", [], object())
_OWN = 4
KINDS = ("None", "int", "str", "bytes", "list", "object")
# How often a thing is done before what is kept counts as kept: a cache may keep the first.
AGAIN = 3


class _Party(RuleBasedStateMachine):
    """What both machines share: the steps that were made, and telling them."""

    party: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []

    def fail(self, wrong: Wrong) -> None:
        """Raise a broken rule with the steps that were made."""
        program = {"steps": list(self.steps)}
        found = RuleBroken(self.party, wrong.rule, wrong.seen, program, running_profile())
        found.how = "run the machine again; the steps below are what it did, and what the model says of them"
        raise found from None


class ProducerMachine(_Party):
    """Capsules of one producer; each is what it promises, independent of the others, and goes when it is dropped."""

    party = "the producer"
    produce: ClassVar[Callable[[], Any]]
    name: ClassVar[bytes | None]
    live: ClassVar[Callable[[], int] | None]

    @initialize()
    def begin(self) -> None:
        """Let what the producer makes once be made, and count what lives."""
        type(self).produce()
        self.before = self._living()

    @rule(times=st.integers(1, AGAIN), rename=st.booleans())
    def make(self, times: int, rename: bool) -> None:
        """Have capsules made, look at each, rename some, and drop them."""
        self.steps = []
        try:
            made = [self._one(number) for number in range(times)]
            if rename:
                self._rename(made[0])
            while made:
                held = made.pop()
                self.steps.append({"op": "Py_DECREF", "args": {"op": {"ref": f"c{len(made) + 1}"}}})
                del held
            more = self._living() - self.before
            if more > 0:
                raise Wrong("what a capsule owns goes with it", f"{more} more live than before")
        except Wrong as wrong:
            self.fail(wrong)

    def _living(self) -> int:
        live = type(self).live
        return live() if live is not None else 0

    def _one(self, number: int) -> Any:
        made = type(self).produce()
        if isinstance(made, int):
            if not made:
                raise Wrong("a producer sets an exception when it fails", "it returned NULL without one")
            address = made
            made = object_at(address)
            api("Py_DecRef")(address)
        if type(made).__name__ != "PyCapsule":
            raise Wrong("a producer returns a capsule or raises", f"it returned an object of {type(made).__name__}")
        args = {"pointer": {"ptr": "p1"}, "name": _written(self.name), "destructor": None}
        self.steps.append({"op": "PyCapsule_New", "args": args, "bind": f"c{number + 1}"})
        keep = Boxed.make(1, self.name)
        names = api("PyCapsule_GetName")(keep.address) or 0
        if not api("PyCapsule_IsValid")(id(made), names):
            raise Wrong(f"its capsules are valid and have the name {self.name!r}", "PyCapsule_IsValid returns 0")
        count = refcount(id(made))
        if count > 1:
            raise Wrong("a producer gives away the only reference", f"the count of the new capsule is {count}")
        return made

    def _rename(self, made: Any) -> None:
        used = Boxed.make(1, b"used")
        api("PyCapsule_SetName")(id(made), api("PyCapsule_GetName")(used.address))
        args = {"capsule": {"ref": "c1"}, "name": {"cstr": "used"}}
        self.steps.append({"op": "PyCapsule_SetName", "args": args})
        # What is dropped later must not find the name of what is gone.
        self._kept = used


class ConsumerMachine(_Party):
    """Capsules of all kinds for one consumer: what fits is taken, all else refused with an exception."""

    party = "the consumer"
    consume: ClassVar[Callable[[Any], Any]]
    make: ClassVar[Callable[[], Any]]
    name: ClassVar[bytes | None]
    keeps: ClassVar[int]

    @rule(times=st.integers(1, AGAIN))
    def good(self, times: int) -> None:
        """Hand over a capsule that fits, again and again: it is taken the first time, and then as declared."""
        capsule = type(self).make()
        self._say(self.name, None)
        for number in range(times):
            taken = self._hand_over(capsule)
            if number == 0 and not taken:
                self.fail(Wrong("a consumer takes a capsule that fits", "it raised an exception"))

    @rule(
        name=st.sampled_from((None, b"", b"other", b"used", "prefix", "longer", "upper")),
        context=st.integers(0, 3),
    )
    def wrong_name(self, name: bytes | str | None, context: int) -> None:
        """Hand over a capsule with another name, whose pointer leads nowhere."""
        own = self.name or b""
        near = {"prefix": own[:-1], "longer": own + b"x", "upper": own.swapcase()}
        other = near[name] if isinstance(name, str) else name
        if other == self.name:
            return
        self._say(other, None)
        boxed = Boxed.make(0x10, other, 0x1000 * context)
        before = self._fields(boxed.object)
        self._refused(boxed.object, f"a capsule of the name {other!r}")
        if self._fields(boxed.object) != before:
            self.fail(Wrong("a consumer leaves alone what it refuses", "the capsule's fields changed"))

    @rule(which=st.integers(0, len(FOREIGN) - 1))
    def foreign(self, which: int) -> None:
        """Hand over what is no capsule."""
        args = {"capsule": {"object": KINDS[which]}, "name": None}
        self.steps = [{"op": "PyCapsule_GetPointer", "args": args, "note": "handed to the consumer"}]
        # The count of what the whole process uses says nothing.
        self._refused(FOREIGN[which], f"an object of type {type(FOREIGN[which]).__name__}", counted=which >= _OWN)

    @rule()
    def renamed(self) -> None:
        """Hand over a capsule that fitted, but was renamed since: somebody else has taken it."""
        capsule, used = type(self).make(), Boxed.make(1, b"used")
        own = api("PyCapsule_GetName")(id(capsule)) or 0
        self._say(self.name, b"used")
        api("PyCapsule_SetName")(id(capsule), api("PyCapsule_GetName")(used.address))
        try:
            self._refused(capsule, "a capsule that was renamed")
        finally:
            api("PyCapsule_SetName")(id(capsule), own)

    def _say(self, name: bytes | None, renamed: bytes | None) -> None:
        """Note how the capsule that is handed over is made."""
        written = _written(name)
        args = {"pointer": {"ptr": "p1"}, "name": written, "destructor": None}
        self.steps = [{"op": "PyCapsule_New", "args": args, "bind": "c1"}]
        if renamed is not None:
            given = {"capsule": {"ref": "c1"}, "name": {"cstr": renamed.decode()}}
            self.steps.append({"op": "PyCapsule_SetName", "args": given})
        asked = {"capsule": {"ref": "c1"}, "name": _written(self.name)}
        self.steps.append({"op": "PyCapsule_GetPointer", "args": asked, "note": "handed to the consumer"})

    def _hand_over(self, capsule: Any, *, counted: bool = True) -> bool:
        """Hand a capsule over; say whether it was taken, and look at what it cost."""
        before = refcount(id(capsule))
        try:
            given = type(self).consume(capsule)
        except SystemError as confused:
            self.fail(Wrong("an exception is set exactly when failure is returned", str(confused)))
        except Exception:
            given, taken = None, False
        else:
            taken = True
        kept = refcount(id(capsule)) - before if counted else 0
        allowed = self.keeps if taken else 0
        if kept < 0:
            self.fail(Wrong("a consumer gives back only what it took", f"it gave back {-kept} references too many"))
        if kept > allowed:
            self.fail(Wrong("a consumer keeps no reference but those declared", f"it keeps {kept}, declared {allowed}"))
        del given
        return taken

    def _refused(self, offered: Any, what: str, *, counted: bool = True) -> None:
        if self._hand_over(offered, counted=counted):
            self.fail(Wrong("a consumer checks that it has a capsule of its name before it uses it", f"it took {what}"))

    def _fields(self, capsule: Any) -> list[int | None]:
        return [api(f"PyCapsule_{get}")(id(capsule)) for get in ("GetName", "GetContext", "GetDestructor")]


def _written(name: bytes | None) -> Any:
    """Return a name as an argument of the vector language."""
    if name is None:
        return None
    try:
        return {"cstr": name.decode()}
    except UnicodeDecodeError:
        return {"hex": name.hex()}


def producer_machine(
    producer: Callable[[], Any], name: bytes | None, live: Callable[[], int] | None = None
) -> type[ProducerMachine]:
    """Return a state machine that has a producer make capsules, and holds them to what a producer promises.

    ``producer`` returns a capsule, or the address of a new reference to one; ``name`` is that of its capsules, and
    ``live`` says how many things that they own are not given back. Raises ``ValueError`` with one line where real
    capsules cannot be driven.
    """
    _supported()
    space = {"produce": staticmethod(producer), "name": name, "live": live and staticmethod(live)}
    return with_settings(
        type("ProducerHere", (ProducerMachine,), {**space, "__doc__": ProducerMachine.__doc__}), SETTINGS
    )


def consumer_machine(
    consumer: Callable[[Any], Any], name: bytes | None, make: Callable[[], Any] | None = None, keeps: int = 0
) -> type[ConsumerMachine]:
    """Return a state machine that hands capsules to a consumer: such that fit, and all that it must refuse.

    ``consumer`` takes an object and raises where it refuses it. ``name`` is that of the capsules it takes, ``make``
    makes one that fits (default: one whose pointer leads nowhere), ``keeps`` is how many references to a capsule it
    may keep. Raises ``ValueError`` with one line where real capsules cannot be driven.
    """
    _supported()
    boxes: list[Boxed] = []

    def plain() -> Any:
        boxes.append(Boxed.make(0x1000, name))
        return boxes[-1].object

    space = {"consume": staticmethod(consumer), "make": staticmethod(make or plain), "name": name, "keeps": keeps}
    return with_settings(
        type("ConsumerHere", (ConsumerMachine,), {**space, "__doc__": ConsumerMachine.__doc__}), SETTINGS
    )


def _supported() -> None:
    reason = is_supported()
    if reason is not None:
        raise ValueError(reason)
