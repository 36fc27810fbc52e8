"""What PyO3 asks of capsules: by a path, by a smart pointer, and without the name that a caller should know."""

from __future__ import annotations

from capsule_model.capsule import (
    PyCapsule_CheckExact,
    PyCapsule_GetContext,
    PyCapsule_GetName,
    PyCapsule_GetPointer,
    PyCapsule_IsValid,
    PyCapsule_SetContext,
)
from capsule_model.errors import PyErr, PyErr_Clear, forbid_pending
from capsule_model.imports import PyCapsule_Import
from capsule_model.layers.pyo3.crate import Crate, DoesNotCompile, Err, Ok, PyResult, fetch, take
from capsule_model.memory import NULL
from capsule_model.objects import type_name
from capsule_model.undefined import Kind, diagnose

__all__ = [
    "as_cstr",
    "cast",
    "context",
    "import_",
    "import_pointer",
    "is_valid",
    "is_valid_checked",
    "name",
    "pointer",
    "pointer_checked",
    "reference",
    "set_context",
]


def cast(rust: Crate, op: int) -> PyResult:
    """Return the object as a capsule, or the TypeError that a failing cast becomes.

    What is no capsule never gets a capsule's methods. The text is that of 0.29. Source: the check function in
    src/types/capsule.rs:87 and src/err/cast_error.rs:129 (0.29.2).
    """
    if PyCapsule_CheckExact(rust.py, op):
        # rule: PyO3.cast/capsules-alone
        return Ok(op)
    kind = type_name(rust.py.objects, op)
    text = f"'{kind}' object is not an instance of 'PyCapsule'"
    if kind == "NoneType":
        text = "'None' is not an instance of 'PyCapsule'"
    # rule: PyO3.cast/capsules-alone
    return Err(PyErr("TypeError", text))


def import_(rust: Crate, path: int, align: int = 1) -> PyResult:
    """Return a reference to what the capsule at a path points to, a type of alignment ``align``.

    Source: import in src/types/capsule.rs:392 (0.29.2).
    """
    found = _import(rust, path)
    if isinstance(found, Ok) and found.value is not None and found.value % align:
        if rust.has("import-checks-alignment"):
            path_text = rust.py.memory.c_string(path).decode(errors="replace")
            text = f"The pointer from the `{path_text}` capsule is not aligned to rust type T"
            # rule: PyO3.import/refuses-misaligned
            return Err(PyErr("SystemError", text))
        fact = f"{rust.py.memory.now()} makes a reference of {found.value:#x}, which is not aligned to {align}"
        # rule: PyO3.import/made-misaligned-references
        raise diagnose(Kind.MISALIGNED, fact, [], found.value)
    # rule: PyO3.import/keeps-nothing-alive
    return found


def import_pointer(rust: Crate, path: int) -> PyResult:
    """Return the pointer of the capsule at a path. Source: src/types/capsule.rs:416 (0.29.2)."""
    rust.needs("imports-pointers", "import_pointer")
    # rule: PyO3.import_pointer/any-alignment
    return _import(rust, path)


def _import(rust: Crate, path: int) -> PyResult:
    if rust.py.error is not None:
        # rule: PyO3.import/pending-error
        forbid_pending(rust.py, "PyCapsule_Import")
    found = PyCapsule_Import(rust.py, path, 0)
    if found == NULL:
        # rule: PyO3.import/failure
        return fetch(rust)
    # rule: PyO3.import/by-its-path
    return Ok(found)


def set_context(rust: Crate, capsule: int, context: int) -> PyResult:
    """Set the capsule's context. Source: src/types/capsule.rs:524 (0.29.2)."""
    result = PyCapsule_SetContext(rust.py, capsule, context)
    # rule: PyO3.set_context/stores-it
    return fetch(rust) if result else Ok(None)


def context(rust: Crate, capsule: int) -> PyResult:
    """Return the capsule's context; NULL is one, unless an exception is pending, which is then taken to be the reason.

    Source: src/types/capsule.rs:537 (0.29.2), get_context in src/types/capsule.rs:181 (0.16.0).
    """
    found = PyCapsule_GetContext(rust.py, capsule)
    if found == NULL and (rust.has("context-ignores-name") or is_valid(rust, capsule)):
        error = take(rust)
        if error is not None:
            # rule: PyO3.context/stale-error
            return Err(error)
    # rule: PyO3.context/what-is-stored
    return Ok(found)


def pointer_checked(rust: Crate, capsule: int, name: int) -> PyResult:
    """Return the capsule's pointer, if it has that name; NULL stands for no name.

    Source: src/types/capsule.rs:548 (0.29.2).
    """
    rust.needs("checked-methods", "pointer_checked")
    found = PyCapsule_GetPointer(rust.py, capsule, name)
    if found == NULL:
        # rule: PyO3.pointer_checked/wrong-name
        return fetch(rust)
    # rule: PyO3.pointer_checked/same-name-is-all
    return Ok(found)


def is_valid_checked(rust: Crate, capsule: int, name: int) -> int:
    """Return 1 if the capsule has that name, else 0; NULL stands for no name.

    Source: src/types/capsule.rs:557 (0.29.2).
    """
    rust.needs("checked-methods", "is_valid_checked")
    # rule: PyO3.is_valid_checked/name-decides
    return PyCapsule_IsValid(rust.py, capsule, name)


def name(rust: Crate, capsule: int) -> PyResult:
    """Return the address of the capsule's name, None where it has none, unless an exception is pending then.

    Before 0.17 the name is read at once, whatever it is. Source: src/types/capsule.rs:566 (0.29.2).
    """
    found = PyCapsule_GetName(rust.py, capsule)
    if not rust.has("name-is-optional"):
        _read_name(rust, found)
    elif found == NULL:
        error = take(rust)
        if error is not None:
            # rule: PyO3.name/stale-error
            return Err(error)
        # rule: PyO3.name/none
        return Ok(None)
    # rule: PyO3.name/address-of-the-name
    return Ok(found)


def as_cstr(rust: Crate, name: int, *, unsafe: bool = True) -> int:
    """Read a name that ``name`` returned, and return its address; the capsule is asked no more.

    Up to 0.26 that is what safe code does with the ``&CStr`` that it has. Source: src/types/capsule.rs:611 (0.29.2).
    """
    if not unsafe and rust.has("name-is-a-pointer"):
        # rule: PyO3.name/read-by-unsafe-code
        raise DoesNotCompile("unsafe", "as_cstr is unsafe: nothing keeps the name alive")
    # rule: PyO3.name/outlived-by-nobody
    rust.py.memory.c_string(name)
    return name


def pointer(rust: Crate, capsule: int) -> int:
    """Return the capsule's pointer, whatever its name is. Source: src/types/capsule.rs:426 (0.28.3)."""
    rust.needs("unchecked-methods", "pointer")
    found = PyCapsule_GetPointer(rust.py, capsule, _own_name(rust, capsule))
    if found == NULL and rust.has("unchecked-methods-clear-error"):
        PyErr_Clear(rust.py)
    # rule: PyO3.pointer/any-name
    return found


def reference(rust: Crate, capsule: int, size: int) -> bytes:
    """Return the bytes that a reference to a type of ``size`` bytes shows, whatever is there.

    Source: src/types/capsule.rs:419 (0.28.3).
    """
    rust.needs("unchecked-methods", "reference")
    # rule: PyO3.reference/any-name-and-type
    return rust.py.memory.read(pointer(rust, capsule), size)


def is_valid(rust: Crate, capsule: int) -> int:
    """Return 1: a capsule has the name that it has. Source: src/types/capsule.rs:446 (0.28.3)."""
    rust.needs("unchecked-methods", "is_valid")
    # rule: PyO3.is_valid/always
    return PyCapsule_IsValid(rust.py, capsule, _own_name(rust, capsule))


def _own_name(rust: Crate, capsule: int) -> int:
    found = PyCapsule_GetName(rust.py, capsule)
    if not rust.has("name-is-optional"):
        _read_name(rust, found)
    elif found == NULL and rust.has("unchecked-methods-clear-error"):
        # rule: PyO3.unchecked/clears-the-error
        PyErr_Clear(rust.py)
    return found


def _read_name(rust: Crate, name: int) -> None:
    """Read a name as C string, as 0.16 does with any."""
    if name == NULL:
        # rule: PyO3.name/null-was-read
        rust.py.memory.c_string(name)
    rust.py.memory.c_string(name)
