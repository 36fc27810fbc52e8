"""Mistakes of the functions that read a capsule's fields and of those that write them."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

LEAVES = "error-indicator/success-leaves-it"
MISMATCH = 'PyErr_SetString(py, "ValueError", "PyCapsule_GetPointer called with incorrect name")'
NO_NAME = ("PyCapsule_GetPointer/name-mismatch",)
NULL_SET = 'PyErr_SetString(py, "ValueError", "PyCapsule_SetPointer called with null pointer")'
LAST = f"# rule: PyCapsule_SetPointer/null-pointer\n        {NULL_SET}"
FIRST = 'pointer == NULL and "setpointer-checks-capsule-first" not in py.behaviours'


def _field(function: str) -> str:
    return function[len("PyCapsule_Get") :].lower()


def _null_is_error(function: str) -> Mutant:
    """Return a mutant that takes a stored NULL for a failure."""
    field = _field(function)
    rule = {"name": "stored-address"}.get(field, field)
    return Mutant(
        f"{function.removeprefix('PyCapsule_')}/null-is-error",
        f"{function.removeprefix('PyCapsule_')} raises ValueError where the {field} is NULL.",
        (f"{function}/returns-{rule}",),
        (
            Edit(
                "capsule",
                function,
                f"return struct.{field}",
                f"if struct.{field} == NULL:\n"
                f'        PyErr_SetString(py, "ValueError", "the capsule has no {field}")\n'
                f"    return struct.{field}",
            ),
        ),
    )


def _clears(function: str) -> Mutant:
    """Return a mutant whose success clears what was pending."""
    field = _field(function)
    last = "struct.{0} = {0}" if "_Set" in function else "return struct.{0}"
    short = function.removeprefix("PyCapsule_")
    return Mutant(
        f"{short}/clears-pending",
        f"{short} that succeeds clears an exception that was pending.",
        (LEAVES,),
        (Edit("capsule", function, last.format(field), f"py.error = None\n    {last.format(field)}"),),
    )


def _returning(function: str, returned: str, when: str, value: int) -> Mutant:
    """Return a mutant of a setter whose return value is another one."""
    rule = "stores" if returned == "0" else "invalid"
    short = function.removeprefix("PyCapsule_")
    body = f"struct.{_field(function)} = {_field(function)}\n    return 0"
    failure = f"# rule: {function}/invalid\n        return -1"
    old = body if returned == "0" else failure
    return Mutant(
        f"{short}/{when}-with-{('zero', 'one')[value]}",
        f"{short} that {when} returns {value}.",
        (f"{function}/{rule}",),
        (Edit("capsule", function, old, old.replace(f"return {returned}", f"return {value}")),),
    )


def _storing(id: str, title: str, function: str, new: str) -> Mutant:
    """Return a mutant of a setter that stores in another way."""
    stored = _field(function)
    edit = Edit("capsule", function, f"struct.{stored} = {stored}", new)
    return Mutant(id, title, (f"{function}/stores",), (edit,))


POINTER, NAME = "PyCapsule_SetPointer", "PyCapsule_SetName"
DESTRUCTOR, CONTEXT = "PyCapsule_SetDestructor", "PyCapsule_SetContext"

READING = (
    Mutant(
        "GetPointer/mismatch-gives-pointer",
        "GetPointer with another name raises and returns the pointer all the same.",
        NO_NAME,
        (Edit("capsule", "PyCapsule_GetPointer", f"{MISMATCH}\n        return NULL", MISMATCH),),
    ),
    Mutant(
        "GetPointer/mismatch-without-error",
        "GetPointer with another name returns NULL without an error.",
        NO_NAME,
        (Edit("capsule", "PyCapsule_GetPointer", MISMATCH, "pass"),),
    ),
    Mutant(
        "GetPointer/mismatch-is-type-error",
        "GetPointer with another name raises TypeError.",
        NO_NAME,
        (Edit("capsule", "PyCapsule_GetPointer", MISMATCH, MISMATCH.replace("ValueError", "TypeError")),),
    ),
    Mutant(
        "GetPointer/mismatch-has-another-text",
        "The error of GetPointer with another name has a text of its own.",
        NO_NAME,
        (Edit("capsule", "PyCapsule_GetPointer", MISMATCH, MISMATCH.replace("incorrect", "the wrong")),),
    ),
    Mutant(
        "GetPointer/mismatch-keeps-pending",
        "GetPointer with another name raises nothing where an exception is pending already.",
        (*NO_NAME, "error-indicator/replaced-not-chained"),
        (Edit("capsule", "PyCapsule_GetPointer", MISMATCH, f"if py.error is None:\n            {MISMATCH}"),),
    ),
    _clears("PyCapsule_GetPointer"),
    _clears("PyCapsule_GetName"),
    _clears("PyCapsule_GetContext"),
    _null_is_error("PyCapsule_GetName"),
    _null_is_error("PyCapsule_GetDestructor"),
    _null_is_error("PyCapsule_GetContext"),
    Mutant(
        "GetContext/null-is-pointer",
        "GetContext returns the pointer where there is no context.",
        ("PyCapsule_GetContext/returns-context",),
        (Edit("capsule", "PyCapsule_GetContext", "return struct.context", "return struct.context or struct.pointer"),),
    ),
    Mutant(
        "GetDestructor/hidden-while-destroyed",
        "GetDestructor returns NULL inside the destructor.",
        ("PyCapsule_GetDestructor/returns-destructor",),
        (
            Edit(
                "capsule",
                "PyCapsule_GetDestructor",
                "return struct.destructor",
                "return struct.destructor if struct.ob_refcnt else NULL",
            ),
        ),
    ),
)

WRITING = (
    Mutant(
        "SetPointer/accepts-null",
        "SetPointer stores NULL.",
        ("PyCapsule_SetPointer/null-pointer",),
        (Edit("capsule", POINTER, f"if pointer == NULL:\n        {LAST}\n        return -1", "pass"),),
    ),
    Mutant(
        "SetPointer/null-without-error",
        "SetPointer refuses NULL without an error.",
        ("PyCapsule_SetPointer/null-pointer",),
        (Edit("capsule", POINTER, LAST, "pass"),),
    ),
    Mutant(
        "SetPointer/null-has-another-text",
        "The error of SetPointer with NULL has a text of its own.",
        ("PyCapsule_SetPointer/null-pointer",),
        (Edit("capsule", POINTER, LAST, NULL_SET.replace("null pointer", "NULL")),),
    ),
    Mutant(
        "SetPointer/null-before-capsule",
        "SetPointer looks at the pointer before it looks at the capsule, as it did until 3.12.",
        ("PyCapsule_SetPointer/null-pointer-first",),
        (Edit("capsule", POINTER, FIRST, "pointer == NULL"),),
    ),
    _storing("SetPointer/stores-nothing", "SetPointer changes nothing.", POINTER, "pass"),
    _storing(
        "SetPointer/forgets-name",
        "SetPointer takes the capsule's name away.",
        POINTER,
        "struct.pointer, struct.name = pointer, NULL",
    ),
    _storing("SetContext/stores-nothing", "SetContext changes nothing.", CONTEXT, "pass"),
    _storing(
        "SetContext/takes-reference",
        "SetContext takes a reference to a context that is an object.",
        CONTEXT,
        "if context in py.objects:\n        py.objects[context].ob_refcnt += 1\n    struct.context = context",
    ),
    _storing(
        "SetContext/null-keeps-old",
        "SetContext with NULL leaves the old context.",
        CONTEXT,
        "struct.context = context or struct.context",
    ),
    _storing(
        "SetContext/shared",
        "SetContext sets the context of every capsule.",
        CONTEXT,
        "for other in py.objects.alive():\n"
        "        if other.ob_type == PyCapsule_Type:\n"
        "            other.context = context",
    ),
    _storing(
        "SetName/clears-context",
        "SetName takes the capsule's context away.",
        NAME,
        "struct.name, struct.context = name, NULL",
    ),
    _storing(
        "SetName/clears-destructor",
        "SetName takes the capsule's destructor away.",
        NAME,
        "struct.name, struct.destructor = name, NULL",
    ),
    _storing(
        "SetDestructor/calls-old-one",
        "SetDestructor calls the destructor that it replaces.",
        DESTRUCTOR,
        "if struct.destructor != NULL:\n"
        '        py.functions.typed(struct.destructor, "destructor").call(capsule)\n'
        "    struct.destructor = destructor",
    ),
    _storing(
        "SetDestructor/null-keeps-old",
        "SetDestructor with NULL leaves the old destructor.",
        DESTRUCTOR,
        "struct.destructor = destructor or struct.destructor",
    ),
    _storing(
        "SetDestructor/first-one-stays",
        "SetDestructor changes nothing where there is a destructor.",
        DESTRUCTOR,
        "struct.destructor = struct.destructor or destructor",
    ),
    _storing(
        "SetDestructor/refuses-dying",
        "SetDestructor changes nothing inside the destructor.",
        DESTRUCTOR,
        "if struct.ob_refcnt > 0:\n        struct.destructor = destructor",
    ),
    _returning(POINTER, "0", "succeeds", 1),
    _returning(NAME, "-1", "fails", 0),
    _returning(DESTRUCTOR, "-1", "fails", 0),
    _returning(CONTEXT, "-1", "fails", 1),
    _returning(CONTEXT, "0", "succeeds", 1),
    _clears(POINTER),
    _clears(NAME),
    _clears(DESTRUCTOR),
    _clears(CONTEXT),
)

MISTAKES = (*READING, *WRITING)
