"""The suites of the specification: each has chapters, and vectors that show their rules."""

from __future__ import annotations

from pathlib import Path

from capsule_model.locate import specs

__all__ = ["CAPSULE", "SUITES", "chapters_of", "suites_there", "undefined_vectors", "vectors_of"]

CAPSULE = "capsule"
SUITES = (CAPSULE, "dlpack", "layers")


def chapters_of(suite: str, root: Path | None = None) -> Path:
    """Return the folder of a suite's chapters, in the specification `root` (default: the one that travels along)."""
    return (specs() if root is None else root) / suite


def vectors_of(suite: str = CAPSULE, root: Path | None = None) -> Path:
    """Return the folder of a suite's vectors."""
    return (specs() if root is None else root) / "vectors" / suite


def undefined_vectors(root: Path | None = None) -> Path:
    """Return the folder of the pairs of which one is undefined; they are no suite, and show no rules of their own."""
    return (specs() if root is None else root) / "vectors" / "undefined"


def suites_there(root: Path | None = None) -> tuple[str, ...]:
    """Return the suites that the specification has."""
    return tuple(s for s in SUITES if s == CAPSULE or chapters_of(s, root).is_dir() or vectors_of(s, root).is_dir())
