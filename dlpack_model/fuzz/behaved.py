"""Producers and consumers that keep the rules, each in another way, in the words of the vectors."""

from __future__ import annotations

from typing import Any

__all__ = ["CONSUMERS_IN_WORDS", "PRODUCERS_IN_WORDS"]

# Arguments of dlpack.array; the plainest comes first.
PRODUCERS_IN_WORDS: tuple[dict[str, Any], ...] = (
    {},
    {"destructor": "save-error", "quirks": ["byte-offset"]},
    {"destructor": "return-early", "deleter": "native"},
    {"quirks": ["legacy-only"]},
    {"quirks": ["legacy-only", "no-keywords"]},
    {"quirks": ["legacy-only", "byte-offset"], "destructor": "return-early"},
    {"quirks": ["legacy-only", "null-strides"]},
    {"version": [1, 0], "destructor": "return-early"},
    {"version": [1, 1], "quirks": ["null-strides"], "destructor": "save-error"},
    {"version": [1, 9]},
    {"quirks": ["no-legacy"], "destructor": "write-unraisable-null"},
    {"quirks": ["version-2"]},
    {"quirks": ["shares-one-struct"], "destructor": "warn-and-leak"},
    {"quirks": ["legacy-only", "shares-one-struct"]},
    {"quirks": ["null-deleter"], "destructor": "return-early"},
    {"quirks": ["null-deleter"], "destructor": "save-error"},
    {"quirks": ["copies-to-the-host-alone", "byte-offset"]},
    {"quirks": ["raises-runtime-error"]},
)

# Arguments of from_dlpack; the plainest comes first. Each style stands for how a capsule is taken over.
CONSUMERS_IN_WORDS: tuple[dict[str, Any], ...] = (
    {"consumer": "rename-only"},
    {"consumer": "clears-destructor"},
    {"consumer": "internal-capsule"},
    {"consumer": "rename-first"},
    {"consumer": "version-after-rename", "quirks": ["one-dimension"]},
    {"consumer": "rename-only", "quirks": ["delete-on-error", "cpu-only"]},
    {"consumer": "rename-only", "quirks": ["cpu-only", "no-negative-strides"]},
    {"consumer": "rename-only", "quirks": ["legacy-only"]},
    {"consumer": "rename-only", "quirks": ["copies-itself", "stream-7"]},
    {"consumer": "clears-destructor", "quirks": ["copies-misaligned"]},
    {"consumer": "internal-capsule", "quirks": ["stream-7"]},
    {"consumer": "rename-only", "quirks": ["needs-strides", "no-lanes"]},
    {"consumer": "rename-only", "quirks": ["never-writes"]},
    {"consumer": "rename-only", "quirks": ["ignores-read-only"]},
    {"consumer": "rename-only", "quirks": ["asks-for-1-0", "calls-python"]},
    {"consumer": "rename-first", "quirks": ["floats-alone"]},
)
