"""Mistakes about reference counts, about when and how a destructor is called, and what a deallocation leaves."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

CALLS = ("dealloc/calls-destructor",)
NOT_SAVED = ("dealloc/indicator-is-not-saved",)
WANTED = "if capsule.destructor != NULL:"
CALL = "destroy(py, capsule.destructor, op)"
FREE = "# rule: dealloc/frees-in-any-case\n    PyObject_Free(py, op, capsule)"


def _ending(id: str, title: str, rules: tuple[str, ...], old: str, new: str) -> Mutant:
    """Return a mutant that brings capsules to their end in another way."""
    return Mutant(id, title, rules, (Edit("runtime", "capsule_dealloc", old, new),))


def _skipping(id: str, title: str, when: str) -> Mutant:
    """Return a mutant that does not call every destructor."""
    return _ending(id, title, CALLS, WANTED, f"if capsule.destructor != NULL and not ({when}):")


def _around(id: str, title: str, before: str, after: str, *rules: str) -> Mutant:
    """Return a mutant that does more before a destructor is called and after it."""
    lines = [line for line in (before, CALL, after) if line]
    return _ending(id, title, rules or NOT_SAVED, CALL, "\n        ".join(lines))


COUNTS = (
    Mutant(
        "INCREF/counts-twice",
        "Py_INCREF adds two references.",
        ("Py_INCREF/adds-one",),
        (Edit("runtime", "Py_INCREF", "struct.ob_refcnt += 1", "struct.ob_refcnt += 2"),),
    ),
    Mutant(
        "INCREF/not-past-two",
        "Py_INCREF does not count beyond two: the count is kept in a flag.",
        ("Py_INCREF/adds-one",),
        (Edit("runtime", "Py_INCREF", "struct.ob_refcnt += 1", "struct.ob_refcnt = min(struct.ob_refcnt + 1, 2)"),),
    ),
    Mutant(
        "DECREF/ends-one-early",
        "Py_DECREF deallocates where one reference is left.",
        ("Py_DECREF/last-reference-deallocates",),
        (Edit("runtime", "Py_DECREF", "if count == 0:", "if count <= 1:"),),
    ),
    Mutant(
        "DECREF/never-ends",
        "Py_DECREF deallocates nothing: a collector will come.",
        ("Py_DECREF/last-reference-deallocates",),
        (Edit("runtime", "Py_DECREF", "if count == 0:", "if count == 0 and struct.ob_type != PyCapsule_Type:"),),
    ),
    Mutant(
        "REFCNT/leaves-caller-out",
        "Py_REFCNT does not count the caller's reference.",
        ("Py_REFCNT/returns-count",),
        (
            Edit(
                "runtime",
                "Py_REFCNT",
                "return int(py.objects[ob].ob_refcnt)",
                "return int(py.objects[ob].ob_refcnt) - 1",
            ),
        ),
    ),
    Mutant(
        "IncRef/null-not-ignored",
        "Py_IncRef reads NULL as an object.",
        ("Py_IncRef/not-null",),
        (Edit("runtime", "Py_IncRef", "if o != NULL:", "if True:"),),
    ),
    Mutant(
        "DecRef/null-not-ignored",
        "Py_DecRef reads NULL as an object.",
        ("Py_DecRef/not-null",),
        (Edit("runtime", "Py_DecRef", "if o != NULL:", "if True:"),),
    ),
)

NOT_TOLD = (
    Mutant(
        "INCREF/ignores-null",
        "Py_INCREF ignores NULL.",
        ("Py_INCREF/adds-one",),
        (
            Edit(
                "runtime",
                "Py_INCREF",
                "# As py.objects",
                "if op == NULL:\n        return\n    # As py.objects",
            ),
        ),
        "Py_INCREF of NULL is undefined, so that no defined program calls it.",
    ),
)

DESTRUCTORS = (
    _ending("dealloc/destructor-never-called", "No destructor is called.", CALLS, WANTED, "if False:"),
    _ending(
        "dealloc/destructor-called-twice",
        "The destructor is called twice.",
        CALLS,
        CALL,
        "twice = capsule.destructor\n        destroy(py, twice, op)\n        destroy(py, twice, op)",
    ),
    _ending(
        "dealloc/destructor-gets-a-copy",
        "The destructor is called with a copy of the capsule.",
        CALLS,
        CALL,
        "copied = Capsule()\n"
        "        for field in Capsule.__slots__:\n"
        "            setattr(copied, field, getattr(capsule, field))\n"
        "        destroy(py, capsule.destructor, py.objects.place(copied))",
    ),
    _ending(
        "dealloc/destructor-gets-pointer",
        "The destructor is called with the capsule's pointer.",
        CALLS,
        CALL,
        "destroy(py, capsule.destructor, capsule.pointer)",
    ),
    Mutant(
        "dealloc/destructor-after-free",
        "The destructor is called when the memory of the capsule is free again.",
        CALLS,
        (
            Edit("runtime", "capsule_dealloc", FREE, "return"),
            Edit("runtime", "capsule_dealloc", WANTED, f"PyObject_Free(py, op, capsule)\n    {WANTED}"),
        ),
    ),
    Mutant(
        "dealloc/first-destructor-called",
        "The destructor that New was given is called, whatever SetDestructor stored.",
        (*CALLS, "PyCapsule_SetDestructor/stores"),
        (
            Edit(
                "capsule",
                "PyCapsule_New",
                "return py.objects.place(capsule)",
                "op = py.objects.place(capsule)\n"
                '    py.__dict__.setdefault("first_destructors", {})[op] = destructor\n'
                "    return op",
            ),
            Edit("runtime", "capsule_dealloc", WANTED, f"first = py.first_destructors[op]\n    {WANTED}"),
            Edit("runtime", "capsule_dealloc", CALL, "destroy(py, first or capsule.destructor, op)"),
        ),
    ),
    Mutant(
        "dealloc/renamed-skips-destructor",
        "No destructor is called for a capsule that has another name than New gave it.",
        CALLS,
        (
            Edit(
                "capsule",
                "PyCapsule_New",
                "return py.objects.place(capsule)",
                "op = py.objects.place(capsule)\n"
                '    py.__dict__.setdefault("first_names", {})[op] = name\n'
                "    return op",
            ),
            Edit(
                "runtime",
                "capsule_dealloc",
                WANTED,
                "if capsule.destructor != NULL and py.first_names[op] == capsule.name:",
            ),
        ),
    ),
    _skipping(
        "dealloc/unnamed-skips-destructor",
        "No destructor is called for a capsule without a name.",
        "capsule.name == NULL",
    ),
    _skipping(
        "dealloc/pending-skips-destructor",
        "No destructor is called where an exception is pending.",
        "py.error is not None",
    ),
    _skipping(
        "dealloc/context-free-skips-destructor",
        "No destructor is called for a capsule without a context.",
        "capsule.context == NULL",
    ),
    _around(
        "dealloc/count-still-one-in-destructor",
        "The destructor is called before the count is 0.",
        "capsule.ob_refcnt = 1",
        "capsule.ob_refcnt = 0",
        "dealloc/refcount-is-zero-in-destructor",
    ),
    _ending(
        "dealloc/forgets-destructor-first",
        "The capsule has lost its destructor when that is called.",
        CALLS,
        CALL,
        "last, capsule.destructor = capsule.destructor, NULL\n        destroy(py, last, op)",
    ),
    _around(
        "dealloc/forgets-context-first",
        "The capsule has lost its context when the destructor is called.",
        "capsule.context = NULL",
        "",
        *CALLS,
    ),
    _around(
        "dealloc/forgets-name-first",
        "The capsule has lost its name when the destructor is called.",
        "capsule.name = NULL",
        "",
        *CALLS,
    ),
    _around(
        "dealloc/forgets-pointer-first",
        "The capsule has lost its pointer when the destructor is called.",
        "capsule.pointer = NULL",
        "",
        *CALLS,
    ),
)

INDICATOR = (
    _around(
        "dealloc/clears-indicator",
        "The end of a capsule with a destructor clears the indicator.",
        "",
        "py.error = None",
    ),
    _around(
        "dealloc/saves-indicator",
        "A destructor does not see what is pending, and what it leaves is lost.",
        "saved, py.error = py.error, None",
        "py.error = saved",
    ),
    _around(
        "dealloc/hides-pending",
        "A destructor does not see what is pending; it comes back where the destructor left nothing.",
        "saved, py.error = py.error, None",
        "py.error = py.error or saved",
    ),
    _around(
        "dealloc/loses-destructors-error",
        "What a destructor leaves is lost where nothing was pending.",
        "found = py.error",
        "py.error = found and py.error",
    ),
    _around(
        "dealloc/pending-cannot-be-replaced",
        "What was pending is pending again after a destructor that replaced it.",
        "found = py.error",
        "py.error = found if found and py.error else py.error",
    ),
    _around(
        "dealloc/error-is-unraisable",
        "What a destructor leaves goes to the hook for unraisable errors.",
        "found = py.error",
        "left = py.error\n"
        "        if left is not None and left is not found:\n"
        "            py.error = found\n"
        "            py.unraisable(left, op)",
    ),
    _around(
        "dealloc/adds-error",
        "A destructor that leaves nothing where something was pending makes SystemError.",
        "found = py.error",
        "if found is not None and py.error is None:\n"
        '            py.error = type(found)("SystemError", "a destructor cleared the exception")',
    ),
)

LEFT = (
    _ending(
        "dealloc/gives-context-back",
        "The end of a capsule gives back a reference to a context that is an object.",
        ("dealloc/frees-in-any-case",),
        FREE,
        f"if capsule.context in py.objects:\n        Py_DECREF(py, capsule.context)\n    {FREE}",
    ),
    _ending(
        "dealloc/untracks-last",
        "The collector still tracks a capsule whose destructor runs.",
        ("dealloc/untracks-first",),
        "if capsule.is_tracked:",
        "if False:",
    ),
    Mutant(
        "dealloc/never-untracks",
        "The collector goes on tracking a capsule that is gone.",
        ("dealloc/untracks-first",),
        (
            Edit("runtime", "capsule_dealloc", "if capsule.is_tracked:", "if False:"),
            Edit("runtime", "PyObject_Free", "if struct.is_tracked:", "if False:"),
        ),
    ),
    _ending(
        "dealloc/frees-nothing",
        "A capsule that is gone is still there: the collector clears it although another one's end freed it.",
        ("dealloc/frees-in-any-case", "gc/cleared-by-another"),
        FREE,
        "return",
    ),
)

MISTAKES = (*COUNTS, *NOT_TOLD, *DESTRUCTORS, *INDICATOR, *LEFT)
