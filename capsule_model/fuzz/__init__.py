"""Fuzz what makes, takes, destroys or implements capsules, and be told the shortest program that breaks a rule.

Programs of steps are made by chance, each step defined where it stands, and the model says what must be seen. With
Hypothesis, which is the extra ``fuzz``:

- ``machine_for_adapter(command)`` holds an implementation behind an adapter against the model, ``machine.machine``
  one that is driven in this process;
- ``destructor_machine(destructor)``, ``producer_machine(producer)`` and ``consumer_machine(consumer)`` hold one's own
  functions to the rules of a capsule's life;
- ``strategies`` has names, real capsules, programs and vectors for tests of one's own.

Give a machine to ``hypothesis.stateful.run_state_machine_as_test``, or take its ``TestCase``. For findings there are
``shrink.shrink``, ``cause_of``, ``tell.tell`` and ``as_vector``, which need no Hypothesis. specs/FUZZING.md shows how.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capsule_model.fuzz.behind import machine_for_adapter
    from capsule_model.fuzz.cause import Cause, cause_of
    from capsule_model.fuzz.found import as_vector
    from capsule_model.fuzz.lockstep import Divergence, Lockstep, Session
    from capsule_model.fuzz.own_destructor import destructor_machine
    from capsule_model.fuzz.own_parties import consumer_machine, producer_machine

__all__ = [
    "Cause",
    "Divergence",
    "Lockstep",
    "Session",
    "as_vector",
    "cause_of",
    "consumer_machine",
    "destructor_machine",
    "machine_for_adapter",
    "producer_machine",
]

# Looked up when first asked for: some of it needs Hypothesis. What has the name of its module is asked of that.
_WHERE = {
    "Cause": "cause",
    "Divergence": "lockstep",
    "Lockstep": "lockstep",
    "Session": "lockstep",
    "as_vector": "found",
    "cause_of": "cause",
    "consumer_machine": "own_parties",
    "destructor_machine": "own_destructor",
    "machine_for_adapter": "behind",
    "producer_machine": "own_parties",
}


def __getattr__(name: str) -> Any:
    """Return what a public name means."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
