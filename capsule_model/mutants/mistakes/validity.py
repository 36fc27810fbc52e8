"""Mistakes about which objects are capsules that can be used, and how the others are refused."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

LEGAL, VALID, CHECK = "_is_legal_capsule", "PyCapsule_IsValid", "PyCapsule_CheckExact"
CHECKS = ("PyCapsule/invalid-null", "PyCapsule/invalid-type", "PyCapsule/invalid-pointer")
RAISE = 'PyErr_SetString(py, "ValueError", f"{function} called with invalid PyCapsule object")'
EXACT = "return 1 if py.objects[op].ob_type == PyCapsule_Type else 0"
TYPE_ALONE = ("PyCapsule_CheckExact/type-alone",)
LEAVES = ("error-indicator/success-leaves-it",)


def _refusing(id: str, title: str, how: str) -> Mutant:
    """Return a mutant that refuses what cannot be used in another way, wherever that is."""
    edits = [Edit("capsule", LEGAL, f"# rule: {rule}\n        {RAISE}", how) for rule in CHECKS]
    return Mutant(id, title, CHECKS, tuple(edits))


def _unchecked(id: str, title: str, function: str, check: str, rule: str) -> Mutant:
    """Return a mutant that leaves out one check."""
    return Mutant(id, title, (rule,), (Edit("capsule", function, f"if {check}:", "if False:"),))


def _misnamed(function: str, other: str) -> Mutant:
    """Return a mutant whose error text was copied from another function."""
    short = function.removeprefix("PyCapsule_")
    call = f'_is_legal_capsule(py, capsule, "{function}")'
    return Mutant(
        f"{short}/speaks-of-{other}",
        f"The error of {short} with an object that cannot be used names {other}.",
        (f"{function}/invalid",),
        (Edit("capsule", function, call, call.replace(function, f"PyCapsule_{other}")),),
    )


MISTAKES = (
    _unchecked(
        "capsule/null-not-refused",
        "The functions read a NULL capsule instead of refusing it.",
        LEGAL,
        "capsule == NULL",
        CHECKS[0],
    ),
    _unchecked(
        "capsule/type-not-refused",
        "The functions read any object as if it were a capsule.",
        LEGAL,
        "struct.ob_type != PyCapsule_Type",
        CHECKS[1],
    ),
    _unchecked(
        "capsule/stored-null-not-refused",
        "The functions accept a capsule that stores a NULL pointer.",
        LEGAL,
        "struct.pointer == NULL",
        CHECKS[2],
    ),
    Mutant(
        "capsule/dying-refused",
        "The functions refuse a capsule that is being destroyed.",
        ("dealloc/refcount-is-zero-in-destructor", "PyCapsule_GetPointer/returns-pointer"),
        (Edit("capsule", LEGAL, "if struct.pointer == NULL:", "if struct.pointer == NULL or struct.ob_refcnt == 0:"),),
    ),
    _refusing("capsule/refused-without-error", "What cannot be used is refused without an error.", "pass"),
    _refusing(
        "capsule/refused-by-type-error",
        "What cannot be used raises TypeError.",
        RAISE.replace("ValueError", "TypeError"),
    ),
    _refusing(
        "capsule/refused-by-system-error",
        "What cannot be used raises SystemError, as a bad internal call.",
        'PyErr_SetString(py, "SystemError", "bad argument to internal function")',
    ),
    _refusing(
        "capsule/refused-with-another-text",
        "The error about what cannot be used has a text of its own.",
        RAISE.replace("PyCapsule object", "capsule"),
    ),
    _refusing(
        "capsule/refused-keeping-pending",
        "What cannot be used raises nothing where an exception is pending already.",
        f"if py.error is None:\n            {RAISE}",
    ),
    _misnamed("PyCapsule_GetPointer", "GetName"),
    _misnamed("PyCapsule_GetName", "GetPointer"),
    _misnamed("PyCapsule_GetDestructor", "GetPointer"),
    _misnamed("PyCapsule_GetContext", "GetDestructor"),
    _misnamed("PyCapsule_SetPointer", "GetPointer"),
    _misnamed("PyCapsule_SetName", "SetPointer"),
    _misnamed("PyCapsule_SetDestructor", "SetName"),
    _misnamed("PyCapsule_SetContext", "SetDestructor"),
    _unchecked(
        "IsValid/null-not-refused", "IsValid reads a NULL capsule.", VALID, "capsule == NULL", "PyCapsule_IsValid/null"
    ),
    _unchecked(
        "IsValid/type-not-looked-at",
        "IsValid reads any object as if it were a capsule.",
        VALID,
        "struct.ob_type != PyCapsule_Type",
        "PyCapsule_IsValid/wrong-type",
    ),
    _unchecked(
        "IsValid/stored-null-is-valid",
        "IsValid is true of a capsule that stores a NULL pointer.",
        VALID,
        "struct.pointer == NULL",
        "PyCapsule_IsValid/null-pointer",
    ),
    Mutant(
        "IsValid/sets-error",
        "IsValid sets ValueError where the object is no capsule.",
        ("PyCapsule_IsValid/wrong-type", *LEAVES),
        (
            Edit(
                "capsule",
                VALID,
                "if struct.ob_type != PyCapsule_Type:",
                "if struct.ob_type != PyCapsule_Type:\n"
                '        PyErr_SetString(py, "ValueError", "PyCapsule_IsValid called with invalid PyCapsule object")',
            ),
        ),
    ),
    Mutant(
        "IsValid/mismatch-sets-error",
        "IsValid sets ValueError where the name is another one.",
        ("PyCapsule_IsValid/compares-name", *LEAVES),
        (
            Edit(
                "capsule",
                VALID,
                "return 1 if _name_matches(py, struct.name, name) else 0",
                "if _name_matches(py, struct.name, name):\n"
                "        return 1\n"
                '    PyErr_SetString(py, "ValueError", "PyCapsule_IsValid called with incorrect name")\n'
                "    return 0",
            ),
        ),
    ),
    Mutant(
        "IsValid/fails-with-minus-one",
        "IsValid returns -1 where the object is no capsule.",
        ("PyCapsule_IsValid/wrong-type",),
        (
            Edit(
                "capsule",
                VALID,
                "if struct.ob_type != PyCapsule_Type:",
                "if struct.ob_type != PyCapsule_Type:\n        return -1",
            ),
        ),
    ),
    Mutant(
        "IsValid/clears-pending",
        "IsValid that is true clears an exception that was pending.",
        LEAVES,
        (
            Edit(
                "capsule",
                VALID,
                "return 1 if _name_matches(py, struct.name, name) else 0",
                "if not _name_matches(py, struct.name, name):\n        return 0\n    py.error = None\n    return 1",
            ),
        ),
    ),
    Mutant(
        "IsValid/false-while-pending",
        "IsValid is false where an exception is pending.",
        ("PyCapsule_IsValid/compares-name",),
        (Edit("capsule", VALID, "if capsule == NULL:", "if capsule == NULL or py.error is not None:"),),
    ),
    Mutant(
        "CheckExact/accepts-the-type",
        "CheckExact is true of the type of capsules, too.",
        TYPE_ALONE,
        (Edit("capsule", CHECK, EXACT, EXACT.replace("1 if", "1 if op == PyCapsule_Type or")),),
    ),
    Mutant(
        "CheckExact/null-is-none",
        "CheckExact is false of NULL.",
        TYPE_ALONE,
        (Edit("capsule", CHECK, EXACT, EXACT.replace("1 if", "1 if op != NULL and")),),
        "CheckExact of NULL is undefined, so that no defined program calls it.",
    ),
    Mutant(
        "CheckExact/wants-a-pointer",
        "CheckExact is false of a capsule that stores a NULL pointer.",
        TYPE_ALONE,
        (Edit("capsule", CHECK, EXACT, EXACT.replace("Type else", "Type and py.objects[op].pointer else")),),
    ),
    Mutant(
        "CheckExact/sets-error",
        "CheckExact sets TypeError where the object is no capsule.",
        (*TYPE_ALONE, *LEAVES),
        (
            Edit(
                "capsule",
                CHECK,
                EXACT,
                "if py.objects[op].ob_type != PyCapsule_Type:\n"
                '        PyErr_SetString(py, "TypeError", "a PyCapsule is needed")\n'
                f"    {EXACT}",
            ),
        ),
    ),
)
