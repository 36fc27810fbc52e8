"""Broken rules of the exchange: their kinds, and how a diagnosis is worded."""

from __future__ import annotations

from enum import StrEnum

from capsule_model import UndefinedBehavior

__all__ = ["HARM", "Broken", "Violation"]


class Broken(StrEnum):
    """Name what can go wrong in an exchange; the value is the stable word that vectors use."""

    DELETER_TWICE = "deleter-called-twice"
    NO_OWNER = "no-owner"
    TWO_OWNERS = "two-owners"
    USE_AFTER_DELETER = "use-after-deleter"
    CONSUMED_TWICE = "consumed-twice"
    NULL_DELETER = "null-deleter-called"
    WRONG_STRUCT = "wrong-struct"
    PAST_FLAGS = "read-past-flags"
    MALFORMED = "malformed-tensor"
    WRONG_VALUES = "wrong-values"
    WRITE_TO_READ_ONLY = "write-to-read-only"
    DATA_RACE = "data-race"
    GIL_NOT_HELD = "gil-not-held"
    AFTER_FINALISATION = "after-finalisation"
    ERROR_LOST = "error-lost"
    ERROR_LEFT = "error-left"
    NO_ERROR = "fails-without-error"
    CONTRACT = "contract"


CONSEQUENCE = {
    Broken.DELETER_TWICE: "the memory of the tensor is freed twice: the allocator's lists are corrupted",
    Broken.NO_OWNER: "nobody is left who will call the deleter: the tensor and its memory leak",
    Broken.TWO_OWNERS: "each of them will call the deleter: a double free",
    Broken.USE_AFTER_DELETER: "the memory may already belong to another object: wrong values or a crash",
    Broken.CONSUMED_TWICE: "two objects believe that they own one export: a double free when the second dies",
    Broken.NULL_DELETER: "the process jumps to address 0 and dies",
    Broken.WRONG_STRUCT: "version and flags are read as pointers to data and shape, and what is no function is called "
    "as the deleter: the process jumps to whatever stands there",
    Broken.PAST_FLAGS: "another major version may lay these fields out otherwise: anything can be read there",
    Broken.MALFORMED: "the consumer reads memory that does not belong to the tensor",
    Broken.WRONG_VALUES: "the consumer computes with other numbers than the producer stored",
    Broken.WRITE_TO_READ_ONLY: "memory that others rely on is changed, or the process dies",
    Broken.DATA_RACE: "the data are read before the work that makes them is done",
    Broken.GIL_NOT_HELD: "reference counts and allocator are changed while another thread uses them",
    Broken.AFTER_FINALISATION: "the interpreter's state is gone: the process dies at exit",
    Broken.ERROR_LOST: "an exception that somebody raised is never seen",
    Broken.ERROR_LEFT: "the next call of somebody else seems to fail",
    Broken.NO_ERROR: "the caller reports SystemError, or goes on with NULL",
    Broken.CONTRACT: "the other side relies on this, and has no way to notice",
}

# What a process does not survive unharmed; the other kinds are promises broken before that.
HARM = frozenset(
    {
        Broken.DELETER_TWICE,
        Broken.USE_AFTER_DELETER,
        Broken.NULL_DELETER,
        Broken.WRONG_STRUCT,
        Broken.PAST_FLAGS,
        Broken.MALFORMED,
        Broken.WRONG_VALUES,
        Broken.WRITE_TO_READ_ONLY,
        Broken.DATA_RACE,
        Broken.GIL_NOT_HELD,
        Broken.AFTER_FINALISATION,
        Broken.ERROR_LOST,
        Broken.ERROR_LEFT,
        Broken.NO_ERROR,
    }
)


class Violation(UndefinedBehavior):
    """Report a broken rule: kind, fact, consequence, where, history, and the ``rule`` that is broken.

    ``address`` is the capsule, array or struct concerned (0 where there is none).
    """

    def __init__(self, kind: Broken, fact: str, rule: str, where: str, history: list[str], address: int = 0) -> None:
        Exception.__init__(self, kind, fact)
        self.kind: Broken = kind
        self.fact = fact
        self.rule = rule
        self.consequence = CONSEQUENCE[kind]
        self.where = where
        self.history = history
        self.address = address

    def __str__(self) -> str:
        """Return the diagnosis, one line an item."""
        head, *rest = super().__str__().split("\n")
        return "\n".join([head, f"  rule: {self.rule}", *rest])
