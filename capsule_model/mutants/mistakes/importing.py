"""Mistakes of PyCapsule_Import: how it walks, what it accepts at the end, and what it does about errors."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

IMPORT = "PyCapsule_Import"
SPLIT = 'first, *rest = path.split(b".")'
FIRST = "object = PyImport_ImportModule(py, first)"
NOT_VALID = "PyErr_Format(py, new_attribute_error(py, f'PyCapsule_Import \"{shown}\" is not valid'))"
VALID = "if PyCapsule_IsValid(py, object, name):"
FOUND = "pointer = py.objects[object].pointer"
GIVEN_BACK = "Py_DECREF(py, object)\n    return pointer"
NO_BLOCK = 'if no_block != 0 and "import-no-block-keeps-error" in py.behaviours:'
STAYS = "# rule: PyCapsule_Import/attribute-error-stays\n"


def _import(id: str, title: str, rule: str, *edits: tuple[str, str]) -> Mutant:
    """Return a mutant of PyCapsule_Import."""
    return Mutant(
        f"Import/{id}", title, (f"PyCapsule_Import/{rule}",), tuple(Edit("imports", IMPORT, *edit) for edit in edits)
    )


WALKING = (
    _import(
        "first-dot-only",
        "What stands behind the first dot is one attribute.",
        "splits-at-dots",
        (SPLIT, 'first, *rest = path.split(b".", 1)'),
    ),
    _import(
        "last-dot-only",
        "What stands before the last dot is imported as one module.",
        "splits-at-dots",
        (SPLIT, 'first, *rest = path.rsplit(b".", 1)'),
    ),
    _import(
        "imports-submodules",
        "Each part of the path is imported, if it is a module, before it is looked up.",
        "splits-at-dots",
        ("for component in rest:", "walked = first\n    for component in rest:"),
        (
            "attribute = get_attribute(py, object, component)",
            'walked += b"." + component\n'
            "        module = PyImport_ImportModule(py, walked)\n"
            "        py.error = None\n"
            "        Py_DecRef(py, module)\n"
            "        attribute = get_attribute(py, object, component)",
        ),
    ),
    _import(
        "skips-empty-parts",
        "Two dots in a row count as one, and one at the end as none.",
        "splits-at-dots",
        (SPLIT, 'first, *rest = [part for part in path.split(b".") if part] or [b""]'),
    ),
    _import(
        "two-parts-at-most",
        "Nothing is looked up behind the second part of the path.",
        "splits-at-dots",
        ("for component in rest:", "for component in rest[:1]:"),
    ),
    _import(
        "no-block-does-not-import",
        "With no_block, only a module that was imported before is found.",
        "splits-at-dots",
        (FIRST, f"{FIRST} if no_block == 0 or first.decode() in py.sys_modules else NULL"),
    ),
    _import(
        "remembers-pointers",
        "A path that was imported once gives the same pointer again without a look.",
        "returns-pointer",
        (
            SPLIT,
            f'known = py.__dict__.setdefault("imported", {{}})\n    if path in known:\n'
            f"        return known[path]\n    {SPLIT}",
        ),
        (FOUND, f"{FOUND}\n        known[path] = pointer"),
    ),
    _import(
        "keeps-module",
        "The references to the modules and objects on the way are kept.",
        "keeps-no-reference",
        ("Py_DECREF(py, object)\n        object = attribute", "object = attribute"),
    ),
    _import(
        "keeps-capsule",
        "The reference to the capsule is kept.",
        "keeps-no-reference",
        (GIVEN_BACK, "return pointer"),
    ),
    _import(
        "keeps-what-is-not-valid",
        "The reference to what is no valid capsule is kept.",
        "keeps-no-reference",
        (GIVEN_BACK, "if pointer != NULL:\n        Py_DECREF(py, object)\n    return pointer"),
    ),
    _import(
        "gives-back-twice",
        "The reference to the capsule is given back twice.",
        "keeps-no-reference",
        (GIVEN_BACK, "Py_DECREF(py, object)\n    Py_DECREF(py, object)\n    return pointer"),
    ),
    Mutant(
        "Import/getattr-not-asked",
        "The __getattr__ of a module is not asked.",
        ("PyObject_GetAttrString/calls-getattr",),
        (
            Edit(
                "attributes",
                "_lookup",
                "if isinstance(struct, PyObject) and struct.getattr is not None:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "Import/class-not-asked",
        "The attributes of an object's class are not looked up.",
        ("PyObject_GetAttrString/returns-attribute",),
        (Edit("attributes", "_lookup", "for place in (struct, holder):", "for place in (struct,):"),),
    ),
)

ACCEPTING = (
    _import(
        "any-name",
        "A capsule of any name is accepted.",
        "not-valid",
        (VALID, "if PyCapsule_IsValid(py, object, getattr(py.objects[object], 'name', NULL)):"),
    ),
    _import(
        "last-part-is-the-name",
        "The capsule's name is compared to the last part of the path.",
        "not-valid",
        (VALID, 'if PyCapsule_IsValid(py, object, name + path.rfind(b".") + 1):'),
    ),
    _import(
        "last-part-is-enough",
        "A capsule is accepted that is called like the whole path or like its last part.",
        "not-valid",
        (
            VALID,
            'if PyCapsule_IsValid(py, object, name) or PyCapsule_IsValid(py, object, name + path.rfind(b".") + 1):',
        ),
    ),
    _import(
        "unnamed-is-accepted",
        "A capsule without a name is accepted.",
        "not-valid",
        (VALID, "if PyCapsule_IsValid(py, object, name) or PyCapsule_IsValid(py, object, NULL):"),
    ),
    _import(
        "returns-the-capsule",
        "The address of the capsule is returned, not its pointer.",
        "returns-pointer",
        (FOUND, "pointer = object"),
    ),
    _import(
        "returns-the-context",
        "The context is returned where there is one.",
        "returns-pointer",
        (FOUND, "pointer = py.objects[object].context or py.objects[object].pointer"),
    ),
)

FAILING = (
    _import(
        "module-error-stays",
        "The exception of the import is not replaced by ImportError.",
        "module-not-imported",
        (NO_BLOCK, "if True:"),
    ),
    _import(
        "no-block-keeps-error",
        "With no_block, the exception of the import is not replaced, as it was until 3.10.",
        "module-not-imported",
        (NO_BLOCK, "if no_block != 0:"),
    ),
    _import(
        "module-error-lost",
        "A failed import returns NULL without an error.",
        "module-not-imported",
        (NO_BLOCK, "if True:\n            py.error = None"),
    ),
    _import(
        "names-whole-path",
        "The error of a failed import names the whole path.",
        "module-not-imported",
        ('shown = first.decode(errors="replace")', 'shown = path.decode(errors="replace")'),
    ),
    _import(
        "raises-module-not-found",
        "A failed import raises ModuleNotFoundError.",
        "module-not-imported",
        ('new_exception(py, "ImportError", text)', 'new_exception(py, "ModuleNotFoundError", text)'),
    ),
    _import(
        "attribute-error-lost",
        "A failed lookup returns NULL without an error.",
        "attribute-error-stays",
        (STAYS, "py.error = None\n"),
    ),
    _import(
        "attribute-error-replaced",
        "A failed lookup raises the error of a capsule that is not valid.",
        "attribute-error-stays",
        (
            STAYS,
            "PyErr_Format(py, new_attribute_error(py, f'PyCapsule_Import \"{path.decode()}\" is not valid'))\n",
        ),
    ),
    _import(
        "attribute-error-is-import-error",
        "A failed lookup raises ImportError.",
        "attribute-error-stays",
        (STAYS, 'PyErr_Format(py, new_exception(py, "ImportError", str(py.error)))\n'),
    ),
    _import(
        "not-valid-without-error", "What is not valid is refused without an error.", "not-valid", (NOT_VALID, "pass")
    ),
    _import(
        "not-valid-is-import-error",
        "What is not valid raises ImportError.",
        "not-valid",
        (NOT_VALID, NOT_VALID.replace("new_attribute_error(py,", 'new_exception(py, "ImportError",')),
    ),
    _import(
        "not-valid-is-mismatch",
        "What is not valid raises the error of GetPointer.",
        "not-valid",
        (NOT_VALID, 'PyErr_SetString(py, "ValueError", "PyCapsule_GetPointer called with incorrect name")'),
    ),
    _import(
        "not-valid-names-last-part",
        "The error about what is not valid names the last part of the path.",
        "not-valid",
        ('shown = path.decode(errors="replace")', 'shown = path.decode(errors="replace").rpartition(".")[2]'),
    ),
    _import(
        "success-leaves-error",
        "An import that finds its capsule leaves an error.",
        "returns-pointer",
        (FOUND, f'{FOUND}\n        PyErr_SetString(py, "ImportError", "not found at the first place")'),
    ),
)

MISTAKES = (*WALKING, *ACCEPTING, *FAILING)
