"""Mistakes of PyCapsule_New: what it refuses, and what it puts into a new capsule."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

NULL_POINTER = ("PyCapsule_New/null-pointer",)
MADE = ("PyCapsule_New/returns-capsule",)
RAISE = 'PyErr_SetString(py, "ValueError", "PyCapsule_New called with null pointer")'
PLACE = "return py.objects.place(capsule)"


def _edit(old: str, new: str) -> Edit:
    return Edit("capsule", "PyCapsule_New", old, new)


MISTAKES = (
    Mutant(
        "New/accepts-null",
        "New makes a capsule around NULL.",
        NULL_POINTER,
        (_edit("if pointer == NULL:", "if False:"),),
    ),
    Mutant(
        "New/null-without-error", "New of NULL returns NULL without an error.", NULL_POINTER, (_edit(RAISE, "pass"),)
    ),
    Mutant(
        "New/null-is-type-error",
        "New of NULL raises TypeError.",
        NULL_POINTER,
        (_edit(RAISE, RAISE.replace("ValueError", "TypeError")),),
    ),
    Mutant(
        "New/null-has-another-text",
        "The error of New of NULL has a text of its own.",
        NULL_POINTER,
        (_edit(RAISE, RAISE.replace("null pointer", "a NULL pointer")),),
    ),
    Mutant(
        "New/refuses-null-name",
        "New refuses a NULL name with ValueError.",
        MADE,
        (_edit("if pointer == NULL:", "if pointer == NULL or name == NULL:"),),
    ),
    Mutant(
        "New/refuses-empty-name",
        "New refuses an empty name with ValueError.",
        MADE,
        (_edit("if pointer == NULL:", 'if pointer == NULL or (name and py.memory.c_string(name) == b""):'),),
    ),
    Mutant(
        "New/forgets-destructor",
        "New does not store the destructor.",
        ("PyCapsule_New/returns-capsule", "PyCapsule_GetDestructor/returns-destructor"),
        (_edit("capsule.destructor = destructor", "capsule.destructor = NULL"),),
    ),
    Mutant(
        "New/two-references",
        "A new capsule has two references.",
        MADE,
        (_edit("capsule.ob_refcnt = 1", "capsule.ob_refcnt = 2"),),
    ),
    Mutant(
        "New/clears-pending",
        "New that succeeds clears an exception that was pending.",
        ("error-indicator/success-leaves-it",),
        (_edit(PLACE, f"py.error = None\n    {PLACE}"),),
    ),
    Mutant(
        "New/fails-while-pending",
        "New returns NULL where an exception is pending.",
        MADE,
        (_edit("capsule = Capsule()", "if py.error is not None:\n        return NULL\n    capsule = Capsule()"),),
    ),
    Mutant(
        "New/context-is-pointer",
        "The context of a new capsule is its pointer.",
        ("PyCapsule_New/context-starts-null",),
        (_edit("capsule.context = NULL", "capsule.context = pointer"),),
    ),
    Mutant(
        "New/context-left-from-before",
        "A new capsule has the context that was set last: its memory is not cleared.",
        ("PyCapsule_New/context-starts-null",),
        (
            _edit("capsule.context = NULL", 'capsule.context = getattr(py, "last_context", NULL)'),
            Edit(
                "capsule",
                "PyCapsule_SetContext",
                "struct.context = context",
                "struct.context = py.last_context = context",
            ),
        ),
    ),
    Mutant(
        "New/equal-capsules-shared",
        "New returns another reference to a capsule that has the same pointer, name and destructor already.",
        MADE,
        (
            _edit(
                "capsule = Capsule()",
                "for known in py.objects.alive():\n"
                "        if known.ob_type == PyCapsule_Type and known.ob_refcnt > 0:\n"
                "            if (known.pointer, known.name, known.destructor) == (pointer, name, destructor):\n"
                "                known.ob_refcnt += 1\n"
                "                return known.address\n"
                "    capsule = Capsule()",
            ),
        ),
    ),
    Mutant(
        "New/tracked-from-birth",
        "The collector tracks a capsule from its beginning.",
        ("gc/tracked-after-SetTraverse-alone",),
        (
            _edit("capsule.is_tracked = False", "capsule.is_tracked = True"),
            _edit(PLACE, "op = py.objects.place(capsule)\n    py.tracked[op] = None\n    return op"),
        ),
    ),
    Mutant(
        "New/takes-reference-to-pointer",
        "New takes a reference to what the pointer points to where that is an object.",
        MADE,
        (
            _edit(
                PLACE,
                "if pointer in py.objects:\n        py.objects[pointer].ob_refcnt += 1\n    " + PLACE,
            ),
        ),
    ),
)
