"""How far an exploration goes: the depth, and how many of each thing there are to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from capsule_model.explore.scripts import DROP, LEAVE, RECORD, RENAME, SCRIPTS
from capsule_model.profiles import Profile, profile_named

__all__ = ["THREADED_PROFILE", "Bound", "checked", "threads_bound"]

MOST = {"depth": 64, "capsules": 3, "names": 8, "pointers": 4, "contexts": 3, "threads": 3}
LONGEST_NAME = 100
THREADED_PROFILE = "cpython-3.13-free-threaded"


@dataclass(frozen=True, slots=True)
class Bound:
    """Say what is explored: sequences of at most ``depth`` operations, under a profile.

    ``capsules`` may be alive at once; those that died and are still somebody's context do not count. ``names`` are
    the names (None is NULL; one that stands twice has two buffers), ``pointers`` and ``contexts`` numbers of
    opaque addresses, ``destructors`` names of scripts. NULL is a destructor and a context in any case, and so is every
    capsule a context. With ``threads``, not 0, that many threads share everything.
    """

    profile: str = "cpython-3.13"
    depth: int = 5
    capsules: int = 2
    names: tuple[str | None, ...] = (None, "", "mod.attr")
    pointers: int = 2
    contexts: int = 1
    destructors: tuple[str, ...] = (RECORD, RENAME, LEAVE, DROP)
    threads: int = 0

    @property
    def described(self) -> Profile:
        """Return the profile itself."""
        return profile_named(self.profile)

    def as_json(self) -> dict[str, Any]:
        """Return the bound as the report has it."""
        return {
            "depth": self.depth,
            "capsules": self.capsules,
            "names": list(self.names),
            "pointers": self.pointers,
            "contexts": self.contexts,
            "destructors": list(self.destructors),
            "threads": self.threads,
        }


def checked(bound: Bound) -> Bound:
    """Return the bound; raise ``ValueError`` with one line where something in it makes no sense."""
    behaviours = bound.described.behaviours
    for key, most in MOST.items():
        found = len(bound.names) if key == "names" else getattr(bound, key)
        least = 1 if key in ("capsules", "names", "pointers") else 0
        if not least <= found <= most:
            raise ValueError(f"--{key}: {found}, expected {least} to {most}")
    for name in bound.names:
        if name is not None and not _is_name(name):
            raise ValueError(f"the name {name[:20]!a} is no C string in UTF-8 of at most {LONGEST_NAME} characters")
    for script in bound.destructors:
        if script not in SCRIPTS:
            raise ValueError(f"unknown destructor {script!r}: expected one of {', '.join(SCRIPTS)}")
    if len(set(bound.destructors)) != len(bound.destructors):
        raise ValueError(f"a destructor stands twice in {', '.join(bound.destructors)}")
    if bound.threads and "biased-reference-counts" not in behaviours:
        raise ValueError(f"threads under {bound.profile}: expected a free-threaded profile, as {THREADED_PROFILE}")
    return bound


def _is_name(name: str) -> bool:
    """Tell whether a text can be a C string that a vector shows as it is."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name and len(name) <= LONGEST_NAME


def threads_bound(threads: int, depth: int, profile: str = THREADED_PROFILE) -> Bound:
    """Return the bound for interleavings: small programs of each thread about two capsules that all share."""
    return Bound(profile, depth, 2, (None,), 1, 0, (RECORD, DROP), threads)
