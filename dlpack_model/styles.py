"""What consumers do: every way in which they differ is a field, and those with a name stand here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from dlpack_model.abi import IS_SUBBYTE_TYPE_PADDED, READ_ONLY
from dlpack_model.streams import STREAMED

if TYPE_CHECKING:
    from dlpack_model.abi import DLTensor
    from dlpack_model.tensor import Layout

__all__ = ["CONSUMERS", "CONSUMER_QUIRKS", "Consumer", "consumer_named"]


@dataclass(frozen=True, slots=True, eq=False)
class Consumer:
    """Say what a library does when it imports a tensor.

    ``structs`` are the structs that it knows (True: versioned), ``max_version`` what it asks for (None: it does not
    ask). ``rename`` says when the capsule gets its new name, ``owner`` who calls the deleter later: the array itself,
    a capsule inside it, or the capsule that was consumed. ``on_error`` leaves an unusable tensor to the capsule's
    destructor, or renames the capsule and calls the deleter. ``checks`` tells whether tensors are looked at before or
    after they are taken over. ``errors`` are the exceptions by reason. The other fields are the ways in which
    consumers differ, or go wrong; those behind ``takes`` are what real libraries were seen to do.

    ``takes`` are the keywords of its own ``from_dlpack``, ``sends_device`` and ``sends_copy`` pass the two on, and
    ``streamed`` are the device types for which it sends its stream. ``unpacks_device`` wants two values of
    ``__dlpack_device__``, ``platforms`` are the device types that it then goes on with (None: it does not look), of
    which it has no runtime for those that are ``absent`` and ``device_numbers`` devices of each (None: any number).
    ``retries_plain`` tries again only where neither device nor copy was asked for, ``retries_unchanged`` also where
    nothing was left out, ``retries_none`` also where None was returned. ``lets_go`` says how the capsule is given
    back on failure: with the exception put aside, with the exception pending, or by a Python frame that the exception
    keeps alive. ``accepts_older`` takes structs of an older major version. ``lanes_of`` are element types whose
    number of lanes is another than one. ``fails_late`` are device types that fail when the array exists already: True
    where the capsule has its new name by then. ``offset_without_strides`` takes a byte offset where strides are NULL,
    ``compact_only`` takes no other layouts than transposed compact ones. ``copy_may_share`` makes no copy of elements
    that lie as it would lay them itself, ``converts`` are element types that it copies into others,
    ``own_memory_for_null`` gives a tensor of no data memory of its own, which is never read-only. ``lays`` gets the
    tensor and where its elements lie, and returns where the consumer believes that they do; ``used_names`` are the
    names that it gives capsules (True: of versioned structs) instead of those that it should. ``drops`` says when it
    gives back its reference to a capsule that it has consumed, and ``deletes_twice`` calls the deleter once more.
    """

    name: str = "consumer"
    structs: frozenset[bool] = frozenset({True, False})
    max_version: tuple[int, int] | None = (1, 3)
    stream: int | None = 1
    sends_stream: bool = True
    sends_always: tuple[str, ...] = ()
    asks_device: bool = True
    retries: tuple[frozenset[str], ...] = (frozenset({"max_version", "copy", "dl_device"}),)
    takes_capsules: bool = False
    rename: Literal["last", "first", "never"] = "last"
    clears_destructor: bool = False
    owner: Literal["array", "internal-capsule", "capsule"] = "array"
    on_error: Literal["leave", "delete"] = "leave"
    checks: Literal["before", "after"] = "before"
    checks_version: bool = True
    copies: Literal["producer", "consumer", "nobody", "always"] = "producer"
    copies_if_misaligned: int = 0
    devices: frozenset[int] = frozenset({1, 2, 3, 10, 11, 13})
    dtypes: frozenset[tuple[int, int]] | None = None
    lanes: bool = True
    most_ndim: int = 64
    negative_strides: bool = True
    null_strides: bool = True
    read_only: Literal["honours", "ignores", "refuses", "always", "legacy-too"] = "honours"
    errors: Mapping[str, str] = field(default_factory=dict, hash=False)
    ignores_names: bool = False
    parses_as_legacy: bool = False
    parses_as_versioned: bool = False
    reads_past_flags: bool = False
    ignores_byte_offset: bool = False
    ignores_strides: bool = False
    forgets_deleter: bool = False
    deletes_early: bool = False
    calls_null_deleter: bool = False
    swallows_errors: bool = False
    leaves_error: bool = False
    loses_read_only: bool = False
    fails_after_claim: bool = False
    calls_python: bool = False
    trusts_dtype: bool = False
    forgets_device: bool = False
    takes: frozenset[str] = frozenset({"copy", "device"})
    sends_device: bool = True
    sends_copy: bool = True
    streamed: frozenset[int] = STREAMED
    unpacks_device: bool = False
    platforms: frozenset[int] | None = None
    absent: frozenset[int] = frozenset()
    device_numbers: int | None = None
    retries_plain: bool = False
    retries_unchanged: bool = False
    retries_none: bool = False
    lets_go: Literal["aside", "pending", "frame"] = "aside"
    accepts_older: bool = False
    lanes_of: Mapping[tuple[int, int], int] = field(default_factory=dict, hash=False)
    fails_late: Mapping[int, bool] = field(default_factory=dict, hash=False)
    offset_without_strides: bool = True
    compact_only: bool = False
    copy_may_share: bool = False
    converts: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict, hash=False)
    own_memory_for_null: bool = False
    lays: Callable[[DLTensor, Layout], Layout] | None = None
    used_names: Mapping[bool, bytes] | None = field(default=None, hash=False)
    drops: Literal["last", "first", "never", "twice"] = "last"
    deletes_twice: bool = False

    # What follows from the fields above, for what is asked of every import; ``plain`` are the keywords of the plainest.
    any_device: bool = field(init=False, default=True)
    may_fail_late: bool = field(init=False, default=False)
    copies_unasked: bool = field(init=False, default=False)
    opens_by_name: bool = field(init=False, default=True)
    keeps: int = field(init=False, default=0)
    adds: int = field(init=False, default=0)
    tries: tuple[bool, ...] = field(init=False, default=())
    plain: Mapping[str, Any] = field(init=False, default_factory=dict, hash=False)
    running: tuple[str, str] = field(init=False, default=("", ""))
    array: str = field(init=False, default="")
    view: str = field(init=False, default="")

    def __post_init__(self) -> None:
        picky = self.unpacks_device or self.platforms is not None or self.absent or self.device_numbers is not None
        object.__setattr__(self, "any_device", not picky)
        late = self.fails_after_claim or self.checks == "after" or self.fails_late
        object.__setattr__(self, "may_fail_late", bool(late))
        object.__setattr__(self, "opens_by_name", not self.ignores_names and not self.leaves_error)
        loses = self.read_only == "ignores" or self.loses_read_only
        object.__setattr__(self, "keeps", IS_SUBBYTE_TYPE_PADDED | (0 if loses else READ_ONLY))
        object.__setattr__(self, "adds", READ_ONLY if self.read_only == "always" and not loses else 0)
        object.__setattr__(self, "running", ("from_dlpack", self.name))
        object.__setattr__(self, "array", f"{self.name}'s array")
        object.__setattr__(self, "view", f"{self.name}'s view")
        unasked = self.copies == "always" or self.copies_if_misaligned or self.converts
        object.__setattr__(self, "copies_unasked", bool(unasked))
        plain = dict.fromkeys(self.sends_always) if self.sends_always else {}
        if self.max_version is not None:
            plain["max_version"] = self.max_version
        object.__setattr__(self, "plain", plain)
        object.__setattr__(self, "tries", tuple(one for one in (True, False) if one in self.structs))

    def error_for(self, reason: str) -> str:
        """Return the type of the exception for a reason, such as ``device 4``, or for its first word."""
        return self.errors.get(reason) or self.errors.get(reason.partition(" ")[0], "BufferError")


# Deviations by name; each changes one thing of a well-behaved consumer.
CONSUMER_QUIRKS: dict[str, dict[str, Any]] = {
    "late-rename": {"checks": "after"},
    "rename-first": {"rename": "first"},
    "rename-first-forgets": {"rename": "first", "on_error": "leave"},
    "never-renames": {"rename": "never"},
    "clears-destructor": {"clears_destructor": True},
    "keeps-capsule": {"owner": "capsule", "rename": "never"},
    "internal-capsule": {"owner": "internal-capsule"},
    "delete-on-error": {"on_error": "delete"},
    "no-version-check": {"checks_version": False},
    "reads-past-flags": {"reads_past_flags": True},
    "ignores-names": {"ignores_names": True},
    "parses-as-legacy": {"parses_as_legacy": True},
    "parses-as-versioned": {"parses_as_versioned": True},
    "legacy-only": {"structs": frozenset({False}), "max_version": None, "retries": ()},
    "takes-capsules": {"takes_capsules": True},
    "ignores-byte-offset": {"ignores_byte_offset": True},
    "ignores-strides": {"ignores_strides": True},
    "forgets-deleter": {"forgets_deleter": True},
    "deletes-early": {"deletes_early": True},
    "calls-null-deleter": {"calls_null_deleter": True},
    "swallows-errors": {"swallows_errors": True},
    "leaves-error": {"leaves_error": True},
    "loses-read-only": {"loses_read_only": True},
    "refuses-read-only": {"read_only": "refuses"},
    "fails-after-claim": {"fails_after_claim": True},
    "calls-python": {"calls_python": True},
    "copies-itself": {"copies": "consumer"},
    "forgets-copy": {"copies": "nobody"},
    "always-copies": {"copies": "always"},
    "ignores-read-only": {"read_only": "ignores"},
    "no-retry": {"retries": ()},
    "no-stream": {"sends_stream": False},
    "stream-7": {"stream": 7},
    "no-synchronisation": {"stream": -1},
    "cpu-only": {"devices": frozenset({1})},
    "device-type-error": {"devices": frozenset({1}), "errors": {"device": "RuntimeError"}},
    "no-negative-strides": {"negative_strides": False},
    "needs-strides": {"null_strides": False},
    "trusts-dtype": {"trusts_dtype": True},
    "forgets-device": {"forgets_device": True},
    "drops-with-error": {"lets_go": "pending"},
    "copies-misaligned": {"copies_if_misaligned": 16},
    "trusts-device": {"devices": frozenset(range(-1, 256))},
    "one-dimension": {"most_ndim": 1},
    "no-lanes": {"lanes": False},
    "floats-alone": {"dtypes": frozenset({(2, 32), (2, 64)})},
    "never-writes": {"read_only": "always"},
    "asks-for-1-0": {"max_version": (1, 0)},
}

CONSUMERS: dict[str, Consumer] = {
    one.name: one
    for one in (
        Consumer("rename-only"),
        Consumer("clears-destructor", clears_destructor=True),
        Consumer("keeps-capsule", owner="capsule", rename="never"),
        Consumer("internal-capsule", owner="internal-capsule"),
        Consumer("rename-first", rename="first", on_error="delete"),
        Consumer("version-after-rename", rename="first", on_error="delete", checks="after"),
        Consumer("never-renames", rename="never"),
        Consumer("raw-capsule", structs=frozenset({False}), max_version=None, takes_capsules=True, retries=()),
        Consumer("legacy-parser", parses_as_legacy=True),
        # One published document puts the versioned struct under the legacy name, reads it so, and renames nothing.
        Consumer(
            "versioned-under-legacy-name",
            structs=frozenset({False}),
            max_version=None,
            takes_capsules=True,
            retries=(),
            rename="never",
            parses_as_versioned=True,
        ),
    )
}


@lru_cache(1024)
def consumer_named(name: str, quirks: tuple[str, ...] = ()) -> Consumer:
    """Return a consumer by name, with deviations; ``ValueError`` for what is not known."""
    if name not in CONSUMERS:
        raise ValueError(f"no consumer {name[:40]!r}: expected one of {', '.join(CONSUMERS)}")
    consumer = CONSUMERS[name]
    for quirk in quirks:
        if quirk not in CONSUMER_QUIRKS:
            raise ValueError(f"no quirk {quirk[:40]!r} of a consumer: expected one of {', '.join(CONSUMER_QUIRKS)}")
        consumer = replace(consumer, **CONSUMER_QUIRKS[quirk])
    return consumer
