"""Profiles: what a version of CPython, a build, a word size and a byte order change.

Every difference is one named behaviour, declared here once with its source. The model asks for the behaviour
and never for a version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

__all__ = ["BEHAVIOURS", "PROFILES", "Behaviour", "Build", "Profile", "differences", "profile_named"]


@dataclass(frozen=True, slots=True)
class Build:
    """Say which interpreter a profile is about: version, word size in bytes, byte order, and how it was built."""

    version: tuple[int, int]
    debug: bool = False
    free_threaded: bool = False
    word: int = 8
    order: Literal["little", "big"] = "little"

    @property
    def name(self) -> str:
        """Return the profile's name, such as ``cpython-3.13-free-threaded-debug``."""
        parts = [f"cpython-{self.version[0]}.{self.version[1]}"]
        parts += ["free-threaded"] * self.free_threaded + ["debug"] * self.debug
        parts += ["32"] * (self.word == 4) + ["be"] * (self.order == "big")
        return "-".join(parts)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Name one way in which builds differ: what a build that has it does, where that is written, and which have it."""

    name: str
    sentence: str
    source: str
    holds: Callable[[Build], bool]


def _since(minor: int) -> Callable[[Build], bool]:
    return lambda build: build.version >= (3, minor)


def _until(minor: int) -> Callable[[Build], bool]:
    return lambda build: build.version <= (3, minor)


BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.name: behaviour
    for behaviour in (
        Behaviour(
            "gc-capsule",
            "Capsules have traverse and clear functions, can be tracked by the garbage collector, and "
            "_PyCapsule_SetTraverse exists.",
            "Objects/capsule.c:204 (3.13.5); absent in 3.12",
            _since(13),
        ),
        Behaviour(
            "types-capsuletype",
            "types.CapsuleType is the type of capsules.",
            "Lib/types.py (3.13.5); absent in 3.12",
            _since(13),
        ),
        Behaviour(
            "setpointer-checks-capsule-first",
            "PyCapsule_SetPointer looks at the capsule before it looks at the new pointer.",
            "Objects/capsule.c:147 (3.13.5), the other way round in Objects/capsule.c:134 (3.9.2)",
            _since(13),
        ),
        Behaviour(
            "import-no-block-keeps-error",
            "PyCapsule_Import with no_block not 0 leaves the exception of the failed import as it is.",
            "Objects/capsule.c:217 (3.9.2); gone in Objects/capsule.c:217 (3.11.2)",
            _until(10),
        ),
        Behaviour(
            "attribute-error-context",
            "An AttributeError of a failed lookup has the attributes name and obj.",
            "Objects/object.c, set_attribute_error_context (3.10); absent in 3.9",
            _since(10),
        ),
        Behaviour(
            "set-error-clears-first",
            "Setting an exception releases the pending one before the new one is there.",
            "Python/errors.c:180, _PyErr_SetObject (3.13.5); the new one is set first in Python/errors.c:182 (3.11.2)",
            _since(12),
        ),
        Behaviour(
            "set-error-context",
            "An AttributeError of setting an attribute has the attributes name and obj filled in.",
            "observed: 3.13.0; both are None in 3.12.1",
            _since(13),
        ),
        Behaviour(
            "no-dict-hint",
            "Setting an unknown attribute names the missing __dict__ in the message.",
            "Objects/object.c, _PyObject_GenericSetAttrWithDict (3.13.5)",
            _since(13),
        ),
        Behaviour(
            "immutable-type-message",
            "Setting an attribute of PyCapsule_Type speaks of an immutable type.",
            "Objects/typeobject.c, type_setattro (3.10); another text in 3.9",
            _since(10),
        ),
        Behaviour(
            "spec-errors-end-import",
            "An entry of sys.modules whose __spec__ cannot be looked up, for another reason than AttributeError, "
            "is not imported.",
            "Python/import.c, import_ensure_initialized (3.13.5); the error is cleared in 3.12.1",
            _since(13),
        ),
        Behaviour(
            "object-getstate",
            "Every object has a method __getstate__.",
            "Objects/typeobject.c, object___getstate__ (3.11.2)",
            _since(11),
        ),
        Behaviour(
            "isinstance-names-union",
            "The message of isinstance with a class that is none speaks of unions.",
            "Objects/abstract.c, object_isinstance (3.10)",
            _since(10),
        ),
        Behaviour(
            "dealloc-checks-error-type",
            "A destructor that leaves an exception of another type pending than it found, or none, ends the process.",
            "Objects/object.c, _Py_Dealloc under Py_DEBUG (3.11.2)",
            lambda build: build.debug and build.version == (3, 11),
        ),
        Behaviour(
            "dealloc-checks-error",
            "A destructor that leaves another exception pending than it found, or none, ends the process.",
            "Objects/object.c:2941, _Py_Dealloc under Py_DEBUG (3.13.5)",
            lambda build: build.debug and build.version >= (3, 12),
        ),
        Behaviour(
            "refcount-checked",
            "A reference count below zero ends the process.",
            "Include/object.h, Py_DECREF under Py_REF_DEBUG (3.9.2)",
            lambda build: build.debug,
        ),
        Behaviour(
            "four-byte-words",
            "A pointer, and with it every word of a struct, is 4 bytes wide, not 8.",
            "SIZEOF_VOID_P in pyconfig.h; observed: 3.13.5 on i386, and on WebAssembly",
            lambda build: build.word == 4,
        ),
        Behaviour(
            "big-endian",
            "The first byte of a word in memory is its highest.",
            "WORDS_BIGENDIAN in pyconfig.h; observed: 3.13.5 on s390x",
            lambda build: build.order == "big",
        ),
        Behaviour(
            "free-threaded-header",
            "The object header has a thread id, flags, and a reference count in two parts.",
            "Include/object.h, struct _object under Py_GIL_DISABLED (3.13.5)",
            lambda build: build.free_threaded,
        ),
        Behaviour(
            "biased-reference-counts",
            "The thread that made an object owns it and counts its own references apart from those of other threads.",
            "Objects/object.c:366, _Py_DecRefSharedIsDead (3.13.5)",
            lambda build: build.free_threaded,
        ),
        Behaviour(
            "last-reference-waits-for-owner",
            "A last reference that a thread gives back to an object of another one waits until that one runs.",
            "Python/brc.c:54, _Py_brc_queue_object (3.13.5); an idle owner is not waited for from "
            "Include/internal/pycore_pystate.h:155 (3.14.10) on",
            lambda build: build.free_threaded and build.version == (3, 13),
        ),
        Behaviour(
            "collector-holds-garbage",
            "A collection holds everything unreachable until it has cleared it, and clears it in no order to rely on.",
            "Python/gc_free_threading.c:561, 819 (3.13.5)",
            lambda build: build.free_threaded,
        ),
        Behaviour(
            "modules-wait-for-collector",
            "A module that nothing refers to any more stays until the next collection.",
            "Objects/moduleobject.c:101, track_module (3.13.5)",
            lambda build: build.free_threaded,
        ),
        Behaviour(
            "threads-make-modules-immortal",
            "From the start of a second thread on, no module is ever destroyed.",
            "Python/pystate.c:1594 (3.13.5); Include/internal/pycore_gc.h (3.14.10) has nothing like it",
            lambda build: build.free_threaded and build.version == (3, 13),
        ),
    )
}

REFCNT_HEADER = ("ob_refcnt", "ob_type")
# Four words on 64-bit machines: the second holds flags, a mutex, GC bits and the owner's count.
FREE_THREADED_HEADER = ("ob_tid", "ob_flags", "ob_ref_shared", "ob_type")
CAPSULE_FIELDS = ("pointer", "name", "context", "destructor")
GC_FIELDS = ("traverse_func", "clear_func")


@dataclass(frozen=True, slots=True)
class Profile:
    """Describe one interpreter to the model: its behaviours and the layout of its capsules.

    ``fields`` names the words of the struct from offset 0; ``gc_header`` is the size in bytes of what the
    collector keeps in front of it.
    """

    name: str
    behaviours: frozenset[str]
    word: int
    order: Literal["little", "big"]
    fields: tuple[str, ...]
    gc_header: int

    @property
    def basicsize(self) -> int:
        """Return the size of the capsule struct in bytes."""
        return len(self.fields) * self.word

    def flipped(self, behaviour: str) -> Profile:
        """Return a profile that differs in one behaviour alone."""
        return _profile(f"{self.name} with {behaviour} flipped", self.behaviours ^ {behaviour})


def _profile(name: str, behaviours: frozenset[str]) -> Profile:
    word = 4 if "four-byte-words" in behaviours else 8
    order: Literal["little", "big"] = "big" if "big-endian" in behaviours else "little"
    free_threaded = "free-threaded-header" in behaviours
    collected = "gc-capsule" in behaviours
    header = FREE_THREADED_HEADER if free_threaded else REFCNT_HEADER
    fields = header + CAPSULE_FIELDS + (GC_FIELDS if collected else ())
    return Profile(name, behaviours, word, order, fields, 2 * word if collected and not free_threaded else 0)


def _declared(build: Build) -> Profile:
    behaviours = frozenset(name for name, behaviour in BEHAVIOURS.items() if behaviour.holds(build))
    return _profile(build.name, behaviours)


def _builds() -> list[Build]:
    versions = [(3, minor) for minor in range(9, 16)]
    builds = [Build(version) for version in versions]
    builds += [Build(version, debug=True) for version in versions]
    free = [version for version in versions if version >= (3, 13)]
    builds += [Build(version, free_threaded=True, debug=debug) for version in free for debug in (False, True)]
    builds += [Build(version, word=4) for version in versions]
    builds += [Build(version, order="big") for version in versions]
    return builds


PROFILES: dict[str, Profile] = {build.name: _declared(build) for build in _builds()}


@cache
def profile_named(name: str) -> Profile:
    """Return the profile of a name; raise ``ValueError`` with a sentence that lists the known ones."""
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(sorted(PROFILES))
        raise ValueError(f"unknown profile {name!r}: expected one of {known}") from None


def differences(left: Profile, right: Profile) -> list[Behaviour]:
    """Return the behaviours that one of two profiles has and the other has not, in order of declaration."""
    return [behaviour for name, behaviour in BEHAVIOURS.items() if name in left.behaviours ^ right.behaviours]
