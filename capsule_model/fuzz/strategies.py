"""Hypothesis strategies: names, programs of the vector language, and whole vectors."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from capsule_model.fuzz.found import complete
from capsule_model.fuzz.machine import WORLDS, Drawn, plain_or_seeded
from capsule_model.fuzz.programs import NAMES, RAW_NAMES, Programs, world
from capsule_model.fuzz.real import Boxed
from capsule_model.profiles import PROFILES, Profile
from capsule_model.trace.execute import Machine

__all__ = ["capsule_names", "capsules", "programs", "vectors"]

LATEST = PROFILES["cpython-3.13"]
MOST_STEPS = 40


def capsule_names() -> st.SearchStrategy[bytes | None]:
    """Return a strategy of names as C sees them: bytes without a NUL, or None for a NULL pointer.

    Among them are the empty name, names that begin or end alike, dotted ones, and bytes that are no UTF-8.
    """
    known = [name.encode() for name in NAMES] + [bytes.fromhex(name).partition(b"\0")[0] for name in RAW_NAMES]
    letters = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b""))
    return st.one_of(st.none(), st.sampled_from(known), letters)


def capsules(names: st.SearchStrategy[bytes | None] | None = None) -> st.SearchStrategy[Boxed]:
    """Return a strategy of real capsules of this interpreter: ``object`` and what is known of it.

    Pointer and context are addresses that must not be read through; the name is of ``names`` (default: any), and
    lives as long as what is drawn.
    """
    words = st.integers(1, 64).map(lambda number: 0x1000 * number)
    return st.builds(Boxed.make, words, names or capsule_names(), st.one_of(st.just(0), words))


@st.composite
def programs(draw: st.DrawFn, profile: Profile = LATEST, max_steps: int = MOST_STEPS) -> dict[str, Any]:
    """Draw a program: ``functions``, ``modules`` and ``steps`` that are defined under a profile, each in its state."""
    shared = world(plain_or_seeded(draw(st.integers(0, WORLDS))), profile)
    machine, written = Machine(shared, profile), Programs(Drawn(draw), profile)
    steps: list[dict[str, Any]] = []
    wanted = draw(st.integers(0, max_steps))
    while len(steps) < wanted or written.waiting:
        steps.append(written.next_step(machine))
        machine.step(steps[-1], str(len(steps) - 1))
    return {**shared, "steps": steps}


def vectors(profile: Profile = LATEST, max_steps: int = MOST_STEPS) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of vectors that are valid and defined, with what the model expects under a profile."""
    return programs(profile, max_steps).map(
        lambda program: complete(program, "fuzz.drawn", "A program made by chance", profile)
    )
