"""A ``FILE *`` in a capsule: a resource that is closed, whose closing can fail, and that must be closed once.

A file is a struct of two 64-bit integers, the descriptor and the number of bytes that cannot be written any more when
it is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.layers.functions import shared
from capsule_model.memory import NULL

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter

__all__ = ["DESTRUCTORS", "close_file", "descriptor", "fclose", "fopen", "new_file"]

NAME = "FILE *"
DESTRUCTORS = ("closes", "reports", "none")
EOF = -1


def fopen(py: Interpreter, fd: int, unwritten: int = 0) -> int:
    """Open a file and return it; ``unwritten`` bytes in its buffer will find the disk full."""
    file = py.malloc(16)
    py.memory.store(file, fd, 8, True)
    py.memory.store(file + 8, unwritten, 8, True)
    return file


def fclose(py: Interpreter, file: int) -> int:
    """Close a file and return 0, or ``EOF`` where what was buffered could not be written; it is closed in any case."""
    # rule: file-handle/closed-twice
    unwritten = py.memory.load(file + 8, 8, True)
    py.free(file)
    return EOF if unwritten else 0


def new_file(py: Interpreter, file: int, destructor: str = "closes") -> int:
    """Put a file into a capsule and return a new reference.

    The destructor closes it; or also reports a failure; or is none, and nobody closes the file.
    """
    bodies = {"closes": _close, "reports": _close_and_report}
    # rule: file-handle/forgotten
    address = shared(py, bodies[destructor]) if destructor in bodies else NULL
    return py.PyCapsule_New(file, py.cstring(NAME), address)


def _close(py: Interpreter, op: int) -> None:
    # rule: file-handle/destructor-closes
    # rule: file-handle/destructor-loses-the-failure
    fclose(py, py.PyCapsule_GetPointer(op, py.cstring(NAME)))


def _close_and_report(py: Interpreter, op: int) -> None:
    """Close the file; a failure goes to the hook for unraisable errors, with what was pending put aside."""
    pending, py.error = py.error, None
    if fclose(py, py.PyCapsule_GetPointer(op, py.cstring(NAME))) == EOF:
        py.PyErr_SetString("OSError", "no space left on device")
        # rule: file-handle/destructor-reports
        py.PyErr_WriteUnraisable(NULL)
    # rule: file-handle/destructor-keeps-the-pending-error
    py.error = pending


def descriptor(py: Interpreter, capsule: int) -> int | None:
    """Return the descriptor of an open file, None with ``ValueError`` set for one that was closed."""
    file = py.PyCapsule_GetPointer(capsule, py.cstring(NAME))
    if file == NULL:
        # rule: file-handle/closed-is-refused
        return None
    # rule: file-handle/reads-open-file
    return py.memory.load(file, 8, True)


def close_file(py: Interpreter, capsule: int, *, disarms: bool = True) -> int:
    """Close a file before its capsule dies: 0, or -1 with ``OSError`` or, where it is closed, ``ValueError``.

    ``disarms`` tells whether the capsule is renamed and loses its destructor; it has to be before ``fclose``, which
    may run other code.
    """
    file = py.PyCapsule_GetPointer(capsule, py.cstring(NAME))
    if file == NULL:
        return -1
    if disarms:
        # rule: file-handle/closing-disarms-first
        py.PyCapsule_SetName(capsule, py.cstring("closed FILE *"))
        py.PyCapsule_SetDestructor(capsule, NULL)
    if fclose(py, file) == EOF:
        # rule: file-handle/closing-raises
        py.PyErr_SetString("OSError", "no space left on device")
        return -1
    return 0
