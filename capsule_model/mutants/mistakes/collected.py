"""Mistakes about the garbage collector: what is tracked, traversed and cleared, and where errors go."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

SET = "_PyCapsule_SetTraverse"
NULL_CALLBACK = (f"{SET}/null-callback",)
CHECK = "if traverse_func == NULL or clear_func == NULL:"
RAISE = 'PyErr_SetString(py, "ValueError", "_PyCapsule_SetTraverse() called with NULL callback")'
STORE = "struct.traverse_func = traverse_func\n    struct.clear_func = clear_func"
TRACK = "if not struct.is_tracked:"
CLEARS = ("gc/clears-unreachable",)


def _set(id: str, title: str, rules: tuple[str, ...], old: str, new: str) -> Mutant:
    """Return a mutant of _PyCapsule_SetTraverse."""
    return Mutant(f"SetTraverse/{id}", title, rules, (Edit("capsule", SET, old, new),))


def _collecting(id: str, title: str, rule: str, function: str, old: str, new: str) -> Mutant:
    """Return a mutant of what the collector does to capsules."""
    return Mutant(f"gc/{id}", title, (f"gc/{rule}",), (Edit("collector", function, old, new),))


MISTAKES = (
    _set("accepts-null", "SetTraverse accepts NULL functions.", NULL_CALLBACK, CHECK, "if False:"),
    _set(
        "accepts-null-clear",
        "SetTraverse accepts a NULL clear function.",
        NULL_CALLBACK,
        CHECK,
        "if traverse_func == NULL:",
    ),
    _set(
        "accepts-null-traverse",
        "SetTraverse accepts a NULL traverse function.",
        NULL_CALLBACK,
        CHECK,
        "if clear_func == NULL:",
    ),
    _set("null-without-error", "SetTraverse refuses NULL functions without an error.", NULL_CALLBACK, RAISE, "pass"),
    _set(
        "null-has-another-text",
        "The error of SetTraverse with NULL names it without its parentheses.",
        NULL_CALLBACK,
        RAISE,
        RAISE.replace("()", ""),
    ),
    _set(
        "speaks-without-underscore",
        "The error of SetTraverse with an object that cannot be used leaves out the underscore.",
        (f"{SET}/invalid",),
        f'_is_legal_capsule(py, op, "{SET}")',
        '_is_legal_capsule(py, op, "PyCapsule_SetTraverse")',
    ),
    _set("tracks-nothing", "SetTraverse does not have the capsule tracked.", (f"{SET}/tracks",), TRACK, "if False:"),
    _set(
        "tracks-before-checks",
        "SetTraverse has the capsule tracked although it then refuses the functions.",
        (f"{SET}/tracks", *NULL_CALLBACK),
        CHECK,
        f"if not struct.is_tracked:\n        struct.is_tracked, py.tracked[op] = True, None\n    {CHECK}",
    ),
    _set("stores-nothing", "SetTraverse does not store the functions.", (f"{SET}/stores",), STORE, "pass"),
    _set(
        "swaps-functions",
        "SetTraverse stores each function in the place of the other.",
        (f"{SET}/stores",),
        STORE,
        "struct.clear_func, struct.traverse_func = traverse_func, clear_func",
    ),
    _set(
        "first-ones-stay",
        "SetTraverse stores nothing the second time.",
        (f"{SET}/stores",),
        STORE,
        "struct.traverse_func = struct.traverse_func or traverse_func\n"
        "    struct.clear_func = struct.clear_func or clear_func",
    ),
    _set(
        "second-call-untracks",
        "SetTraverse has a capsule that is tracked untracked.",
        (f"{SET}/tracks",),
        TRACK,
        "if struct.is_tracked:\n        struct.is_tracked = False\n        del py.tracked[op]\n    else:",
    ),
    _collecting(
        "traverse-not-called",
        "The collector does not call traverse functions.",
        "traverse-is-called",
        "capsule_traverse",
        "if capsule.traverse_func == NULL:",
        "if True:",
    ),
    _collecting(
        "clear-not-called",
        "The collector does not call clear functions.",
        "clears-unreachable",
        "_clear",
        'py.functions.typed(py.objects[op].clear_func, "clear").call(op)',
        "pass",
    ),
    _collecting(
        "clears-what-is-reachable",
        "The collector clears every capsule that it tracks.",
        "reachable-stays",
        "_unreachable",
        "if count[op] > 0",
        "if False",
    ),
    _collecting(
        "keeps-garbage-reference",
        "The collector keeps a reference to what it cleared.",
        "clears-unreachable",
        "_clear",
        "Py_DECREF(py, op)",
        "pass",
    ),
    _collecting(
        "clear-error-lost",
        "What a clear function leaves is lost.",
        "clear-error-is-unraisable",
        "_clear",
        "PyErr_WriteUnraisable(py, NULL)",
        "py.error = None",
    ),
    _collecting(
        "clear-error-told-late",
        "What a clear function leaves is pending when the destructor runs.",
        "clear-error-is-unraisable",
        "_clear",
        "if py.error is not None:",
        "if False:",
    ),
    _collecting(
        "collection-error-lost",
        "What a destructor leaves in a collection is lost.",
        "collection-error-is-unraisable",
        "gc_collect",
        "PyErr_WriteUnraisable(py, NULL)",
        "pass",
    ),
    _collecting(
        "pending-error-lost",
        "A collection clears an exception that was pending.",
        "pending-error-stays",
        "gc_collect",
        "py.error = aside",
        "py.error = None",
    ),
    _collecting(
        "pending-error-seen",
        "Functions that a collection calls see what was pending.",
        "pending-error-stays",
        "gc_collect",
        "aside, py.error = py.error, None",
        "aside = py.error",
    ),
)
