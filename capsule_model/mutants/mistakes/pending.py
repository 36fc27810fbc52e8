"""Mistakes about the error indicator: what replaces what, and what an exception keeps alive."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

REPLACED = ("error-indicator/replaced-not-chained",)

MISTAKES = (
    Mutant(
        "errors/first-one-stays",
        "An exception that is pending is not replaced by a later one.",
        REPLACED,
        (Edit("errors", "PyErr_SetString", "PyErr_SetObject(py, error)", "pass"),),
    ),
    Mutant(
        "errors/chained",
        "An exception that replaces another has it as its context.",
        REPLACED,
        (
            Edit(
                "errors",
                "PyErr_SetString",
                "PyErr_SetObject(py, error)",
                'context = {"type": py.error.type, "text": str(py.error)}\n'
                '        error.attributes = (error.attributes or {}) | {"__context__": context}\n'
                "        PyErr_SetObject(py, error)",
            ),
        ),
    ),
    Mutant(
        "errors/replaced-before-released",
        "The exception that is replaced is released after the new one is there, as it was until 3.11.",
        ("error-indicator/set-clears-first",),
        (Edit("errors", "PyErr_SetObject", 'if "set-error-clears-first" in py.behaviours:', "if False:"),),
    ),
    Mutant(
        "errors/object-never-released",
        "An exception that is gone keeps the object that it was about.",
        ("error-indicator/releases-object",),
        (Edit("errors", "release", "if error.holders == 0:", "if False:"),),
    ),
    Mutant(
        "errors/object-borrowed",
        "An AttributeError has no reference of its own to the object that it is about.",
        ("PyObject_GetAttrString/error-keeps-object",),
        (Edit("attributes", "_add_context", "Py_INCREF(py, o)", "pass"),),
    ),
    Mutant(
        "errors/object-not-named",
        "An AttributeError does not say which object was asked.",
        ("PyObject_GetAttrString/error-keeps-object",),
        (Edit("attributes", "_add_context", "Py_INCREF(py, o)", "return"),),
    ),
    Mutant(
        "Clear/keeps-object",
        "PyErr_Clear forgets the exception and keeps what it held.",
        ("PyErr_Clear/forgets", "error-indicator/releases-object"),
        (Edit("errors", "PyErr_Clear", "release(py, old)", "pass"),),
    ),
    Mutant(
        "Clear/releases-first",
        "PyErr_Clear lets go of what the exception held while it is still pending.",
        ("PyErr_Clear/forgets",),
        (
            Edit("errors", "PyErr_Clear", "# rule: PyErr_Clear/forgets\n    py.error = None\n    if", "if"),
            Edit("errors", "PyErr_Clear", "release(py, old)", "release(py, old)\n    py.error = None"),
        ),
    ),
    Mutant(
        "NoMemory/keeps-pending",
        "PyErr_NoMemory sets nothing where an exception is pending.",
        ("PyErr_NoMemory/sets-and-returns-null", *REPLACED),
        (
            Edit(
                "errors",
                "PyErr_NoMemory",
                'PyErr_Restore(py, PyErr("MemoryError", ""))',
                'PyErr_Restore(py, py.error or PyErr("MemoryError", ""))',
            ),
        ),
    ),
)
