"""The capsule functions, in the order of the specification's chapters.

A capsule is a box for one C pointer: it carries the pointer, a name that says what the pointer is, a context
for its owner, and a destructor. Every function returns what C returns and sets the error indicator as C does.
``# rule:`` names the rule that the next statement carries out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.errors import PyErr_SetString
from capsule_model.memory import NULL, strcmp
from capsule_model.objects import SHIFT, Capsule, PyCapsule_Type

if TYPE_CHECKING:
    from capsule_model.process import Process

__all__ = [
    "PyCapsule_CheckExact",
    "PyCapsule_GetContext",
    "PyCapsule_GetDestructor",
    "PyCapsule_GetName",
    "PyCapsule_GetPointer",
    "PyCapsule_IsValid",
    "PyCapsule_New",
    "PyCapsule_SetContext",
    "PyCapsule_SetDestructor",
    "PyCapsule_SetName",
    "PyCapsule_SetPointer",
    "_PyCapsule_SetTraverse",
]


def PyCapsule_New(py: Process, pointer: int, name: int, destructor: int) -> int:
    """Make a capsule around a pointer and return a new reference to it.

    The name is stored, not copied; the context starts as NULL. A NULL pointer gives NULL and ``ValueError``.
    Source: Objects/capsule.c:58 (3.13.5).
    """
    if pointer == NULL:
        # rule: PyCapsule_New/null-pointer
        PyErr_SetString(py, "ValueError", "PyCapsule_New called with null pointer")
        return NULL
    capsule = Capsule()
    capsule.ob_refcnt = 1
    capsule.ob_type = PyCapsule_Type
    capsule.pointer = pointer
    # rule: PyCapsule_New/name-is-not-copied
    capsule.name = name
    # rule: PyCapsule_New/context-starts-null
    capsule.context = NULL
    capsule.destructor = destructor
    capsule.traverse_func = NULL
    capsule.clear_func = NULL
    capsule.is_tracked = False
    memory = py.memory
    memory.count = capsule.born = memory.count + 1
    # rule: PyCapsule_New/returns-capsule
    # rule: error-indicator/success-leaves-it
    return py.objects.place(capsule)


def PyCapsule_CheckExact(py: Process, op: int) -> int:
    """Return 1 if the object is a capsule, 0 if not; the object must not be NULL. Never sets an error."""
    # rule: PyCapsule_CheckExact/type-alone
    # rule: error-indicator/success-leaves-it
    return 1 if py.objects[op].ob_type == PyCapsule_Type else 0


def _is_legal_capsule(py: Process, capsule: int, function: str) -> Capsule | None:
    """Return the struct of a capsule that can be used, or None with ``ValueError`` set.

    Not usable are NULL, an object of another type, and a capsule that stores a NULL pointer (which no function
    of the API can bring about). Source: Objects/capsule.c:24 (3.13.5).
    """
    if capsule == NULL:
        # rule: PyCapsule/invalid-null
        PyErr_SetString(py, "ValueError", f"{function} called with invalid PyCapsule object")
        return None
    # As py.objects[…] does, spelled out: every call of the API passes here.
    try:
        struct: Capsule = py.structs[capsule >> SHIFT]
    except IndexError:
        raise py.objects.complain(capsule) from None
    if struct.address != capsule:
        raise py.objects.complain(capsule)
    if struct.ob_type != PyCapsule_Type:
        # rule: PyCapsule/invalid-type
        PyErr_SetString(py, "ValueError", f"{function} called with invalid PyCapsule object")
        return None
    if struct.pointer == NULL:
        # rule: PyCapsule/invalid-pointer
        PyErr_SetString(py, "ValueError", f"{function} called with invalid PyCapsule object")
        return None
    return struct


def _name_matches(py: Process, name1: int, name2: int) -> bool:
    """Tell whether two names are the same: by ``strcmp``, and NULL is the same as NULL alone."""
    if name1 == NULL or name2 == NULL:
        # rule: PyCapsule/null-name-matches-null-alone
        return name1 == name2
    strings = py.strings
    try:
        # rule: PyCapsule/names-compare-by-strcmp
        return strings[name1] == strings[name2]
    except KeyError:
        # rule: PyCapsule/names-compare-by-strcmp
        return strcmp(py.memory, name1, name2) == 0


def PyCapsule_IsValid(py: Process, capsule: int, name: int) -> int:
    """Return 1 if the capsule can be used and has this name, else 0; anything may be passed but a bad pointer.

    The error indicator is never touched. Source: Objects/capsule.c:85 (3.13.5).
    """
    if capsule == NULL:
        # rule: PyCapsule_IsValid/null
        # rule: error-indicator/success-leaves-it
        return 0
    # As py.objects[…] does, spelled out: every call of the API passes here.
    try:
        struct = py.structs[capsule >> SHIFT]
    except IndexError:
        raise py.objects.complain(capsule) from None
    if struct.address != capsule:
        raise py.objects.complain(capsule)
    if struct.ob_type != PyCapsule_Type:
        # rule: PyCapsule_IsValid/wrong-type
        # rule: error-indicator/success-leaves-it
        return 0
    if struct.pointer == NULL:
        # rule: PyCapsule_IsValid/null-pointer
        # rule: error-indicator/success-leaves-it
        return 0
    # rule: PyCapsule_IsValid/compares-name
    # rule: error-indicator/success-leaves-it
    return 1 if _name_matches(py, struct.name, name) else 0


def PyCapsule_GetPointer(py: Process, capsule: int, name: int) -> int:
    """Return the stored pointer if the name matches, else NULL with ``ValueError``.

    Source: Objects/capsule.c:97 (3.13.5).
    """
    struct = _is_legal_capsule(py, capsule, "PyCapsule_GetPointer")
    if struct is None:
        # rule: PyCapsule_GetPointer/invalid
        return NULL
    if not _name_matches(py, name, struct.name):
        # rule: PyCapsule_GetPointer/name-mismatch
        PyErr_SetString(py, "ValueError", "PyCapsule_GetPointer called with incorrect name")
        return NULL
    # rule: PyCapsule_GetPointer/returns-pointer
    # rule: error-indicator/success-leaves-it
    return struct.pointer


def PyCapsule_GetName(py: Process, capsule: int) -> int:
    """Return the stored name, the same address that was given. NULL may be a name: only the error tells.

    Source: Objects/capsule.c:114 (3.13.5).
    """
    struct = _is_legal_capsule(py, capsule, "PyCapsule_GetName")
    if struct is None:
        # rule: PyCapsule_GetName/invalid
        return NULL
    # rule: PyCapsule_GetName/returns-stored-address
    # rule: error-indicator/success-leaves-it
    return struct.name


def PyCapsule_GetDestructor(py: Process, capsule: int) -> int:
    """Return the stored destructor. NULL may be one: only the error tells.

    Source: Objects/capsule.c:125 (3.13.5).
    """
    struct = _is_legal_capsule(py, capsule, "PyCapsule_GetDestructor")
    if struct is None:
        # rule: PyCapsule_GetDestructor/invalid
        return NULL
    # rule: PyCapsule_GetDestructor/returns-destructor
    # rule: error-indicator/success-leaves-it
    return struct.destructor


def PyCapsule_GetContext(py: Process, capsule: int) -> int:
    """Return the stored context. NULL may be one: only the error tells.

    Source: Objects/capsule.c:136 (3.13.5).
    """
    struct = _is_legal_capsule(py, capsule, "PyCapsule_GetContext")
    if struct is None:
        # rule: PyCapsule_GetContext/invalid
        return NULL
    # rule: PyCapsule_GetContext/returns-context
    # rule: error-indicator/success-leaves-it
    return struct.context


def PyCapsule_SetPointer(py: Process, capsule: int, pointer: int) -> int:
    """Store another pointer and return 0; NULL is refused with -1 and ``ValueError``, and the old one stays.

    Source: Objects/capsule.c:147 (3.13.5).
    """
    if pointer == NULL and "setpointer-checks-capsule-first" not in py.behaviours:
        # rule: PyCapsule_SetPointer/null-pointer-first
        PyErr_SetString(py, "ValueError", "PyCapsule_SetPointer called with null pointer")
        return -1
    struct = _is_legal_capsule(py, capsule, "PyCapsule_SetPointer")
    if struct is None:
        # rule: PyCapsule_SetPointer/invalid
        return -1
    if pointer == NULL:
        # rule: PyCapsule_SetPointer/null-pointer
        PyErr_SetString(py, "ValueError", "PyCapsule_SetPointer called with null pointer")
        return -1
    # rule: PyCapsule_SetPointer/stores
    # rule: error-indicator/success-leaves-it
    struct.pointer = pointer
    return 0


def PyCapsule_SetName(py: Process, capsule: int, name: int) -> int:
    """Store another name, NULL allowed, and return 0. The old one is neither freed nor compared.

    Source: Objects/capsule.c:165 (3.13.5).
    """
    struct = _is_legal_capsule(py, capsule, "PyCapsule_SetName")
    if struct is None:
        # rule: PyCapsule_SetName/invalid
        return -1
    # rule: PyCapsule_SetName/stores
    # rule: error-indicator/success-leaves-it
    struct.name = name
    return 0


def PyCapsule_SetDestructor(py: Process, capsule: int, destructor: int) -> int:
    """Store another destructor, NULL allowed, and return 0. The old one is not called.

    Source: Objects/capsule.c:178 (3.13.5).
    """
    struct = _is_legal_capsule(py, capsule, "PyCapsule_SetDestructor")
    if struct is None:
        # rule: PyCapsule_SetDestructor/invalid
        return -1
    # rule: PyCapsule_SetDestructor/stores
    # rule: error-indicator/success-leaves-it
    struct.destructor = destructor
    return 0


def PyCapsule_SetContext(py: Process, capsule: int, context: int) -> int:
    """Store another context, NULL allowed, and return 0.

    Source: Objects/capsule.c:191 (3.13.5).
    """
    struct = _is_legal_capsule(py, capsule, "PyCapsule_SetContext")
    if struct is None:
        # rule: PyCapsule_SetContext/invalid
        return -1
    # rule: PyCapsule_SetContext/stores
    # rule: error-indicator/success-leaves-it
    struct.context = context
    return 0


def _PyCapsule_SetTraverse(py: Process, op: int, traverse_func: int, clear_func: int) -> int:
    """Let the garbage collector see through the capsule, and return 0; may be called again.

    Both functions are needed: else -1 with ``ValueError``, and nothing changes. Internal but exported since
    3.13. Source: Objects/capsule.c:204 (3.13.5).
    """
    struct = _is_legal_capsule(py, op, "_PyCapsule_SetTraverse")
    if struct is None:
        # rule: _PyCapsule_SetTraverse/invalid
        return -1
    if traverse_func == NULL or clear_func == NULL:
        # rule: _PyCapsule_SetTraverse/null-callback
        PyErr_SetString(py, "ValueError", "_PyCapsule_SetTraverse() called with NULL callback")
        return -1
    if not struct.is_tracked:
        # rule: _PyCapsule_SetTraverse/tracks
        struct.is_tracked = True
        py.tracked[op] = None
    # rule: _PyCapsule_SetTraverse/stores
    # rule: error-indicator/success-leaves-it
    struct.traverse_func = traverse_func
    struct.clear_func = clear_func
    return 0
