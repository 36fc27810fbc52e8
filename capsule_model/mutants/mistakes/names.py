"""Mistakes about names: what they are compared by, and whose storage they lie in."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

NULL_ALONE = "PyCapsule/null-name-matches-null-alone"
STRCMP = "PyCapsule/names-compare-by-strcmp"
MISMATCH = "PyCapsule_GetPointer/name-mismatch"


def _compared(id: str, title: str, how: str) -> Mutant:
    """Return a mutant that compares two names, ``a`` and ``b``, neither of them NULL, in another way."""
    # What cannot be read to its end is compared as the model does.
    read = (
        "a, b = py.memory.peek_string(name1), py.memory.peek_string(name2)\n"
        f"    if a is not None and b is not None:\n        return {how}\n"
        "    strings = py.strings"
    )
    edit = Edit("capsule", "_name_matches", "strings = py.strings", read)
    return Mutant(id, title, (STRCMP,), (edit,))


def _nulls(id: str, title: str, how: str) -> Mutant:
    """Return a mutant that answers in another way where a name is NULL."""
    return Mutant(id, title, (NULL_ALONE,), (Edit("capsule", "_name_matches", "return name1 == name2", how),))


def _asked(id: str, title: str, function: str, old: str, new: str) -> Mutant:
    """Return a mutant of which one function alone looks at names in another way."""
    rule = MISMATCH if function == "PyCapsule_GetPointer" else "PyCapsule_IsValid/compares-name"
    return Mutant(id, title, (rule,), (Edit("capsule", function, old, new),))


POINTER, VALID = "PyCapsule_GetPointer", "PyCapsule_IsValid"
OF_POINTER, OF_VALID = "if not _name_matches(py, name, struct.name):", "_name_matches(py, struct.name, name)"
STORE = "struct.name = name"

MISTAKES = (
    _nulls("names/null-matches-anything", "A NULL on either side matches every name.", "return True"),
    _nulls("names/null-matches-nothing", "A NULL matches nothing, not even NULL.", "return False"),
    _nulls(
        "names/null-equals-empty",
        "NULL and the empty string are the same name.",
        'return all(one == NULL or py.memory.c_string(one) == b"" for one in (name1, name2))',
    ),
    _compared("names/by-address", "Names are the same where they are the same pointer.", "name1 == name2"),
    _compared("names/case-folded", "Names that differ in case alone are the same.", "a.lower() == b.lower()"),
    _compared("names/by-prefix", "A name matches every name that it begins with.", "a.startswith(b)"),
    _compared("names/by-beginning", "A name matches every name that begins with it.", "b.startswith(a)"),
    _compared("names/eight-bytes", "The first eight bytes of names are compared.", "a[:8] == b[:8]"),
    _compared("names/by-length", "Names of the same length are the same.", "len(a) == len(b)"),
    _compared(
        "names/last-part-alone",
        "What stands behind the last dot is compared.",
        'a.rpartition(b".")[2] == b.rpartition(b".")[2]',
    ),
    _compared(
        "names/first-part-alone",
        "What stands before the first dot is compared.",
        'a.partition(b".")[0] == b.partition(b".")[0]',
    ),
    _compared(
        "names/undecodable-dropped",
        "Names are compared as text, without the bytes that are no UTF-8.",
        'a.decode(errors="ignore") == b.decode(errors="ignore")',
    ),
    _compared(
        "names/undecodable-replaced",
        "Names are compared as text, in which bytes that are no UTF-8 are all one character.",
        'a.decode(errors="replace") == b.decode(errors="replace")',
    ),
    _compared(
        "names/undecodable-never-matches",
        "A name that is no UTF-8 matches nothing, not even itself.",
        'a == b and a.decode(errors="ignore").encode() == a',
    ),
    _compared("names/empty-never-matches", 'The empty name matches nothing, not even "".', 'a == b != b""'),
    Mutant(
        "names/remembered",
        "A name is compared as it was when it was first read, although its storage has changed.",
        (STRCMP,),
        (Edit("memory", "Memory.write", "if block.strings:", "if False:"),),
    ),
    _asked(
        "GetPointer/null-asks-for-anything",
        "GetPointer with a NULL name gives the pointer, whatever the capsule is called.",
        POINTER,
        OF_POINTER,
        "if name != NULL and not _name_matches(py, name, struct.name):",
    ),
    _asked(
        "GetPointer/unnamed-matches-anything",
        "GetPointer gives the pointer of a capsule without a name under every name.",
        POINTER,
        OF_POINTER,
        "if struct.name != NULL and not _name_matches(py, name, struct.name):",
    ),
    _asked("GetPointer/ignores-name", "GetPointer does not look at the name.", POINTER, OF_POINTER, "if False:"),
    _asked(
        "IsValid/null-asks-for-anything",
        "IsValid with a NULL name is true of every capsule.",
        VALID,
        OF_VALID,
        "name == NULL or _name_matches(py, struct.name, name)",
    ),
    _asked(
        "IsValid/unnamed-matches-anything",
        "IsValid is true of a capsule without a name under every name.",
        VALID,
        OF_VALID,
        "struct.name == NULL or _name_matches(py, struct.name, name)",
    ),
    _asked("IsValid/ignores-name", "IsValid does not look at the name.", VALID, OF_VALID, "True"),
    Mutant(
        "New/copies-name",
        "New keeps a copy of the name instead of the pointer.",
        ("PyCapsule_New/name-is-not-copied", "PyCapsule_GetName/returns-stored-address"),
        (
            Edit(
                "capsule",
                "PyCapsule_New",
                "capsule.name = name",
                "capsule.name = name and py.cstring(py.memory.c_string(name))",
            ),
        ),
    ),
    Mutant(
        "New/empty-name-is-null",
        "New makes a capsule without a name where the name is empty.",
        ("PyCapsule_New/name-is-not-copied",),
        (
            Edit(
                "capsule",
                "PyCapsule_New",
                "capsule.name = name",
                'capsule.name = name if name and py.memory.c_string(name) != b"" else NULL',
            ),
        ),
    ),
    Mutant(
        "New/null-name-is-empty",
        "New gives a capsule that is to have no name the empty one.",
        ("PyCapsule_New/name-is-not-copied",),
        (Edit("capsule", "PyCapsule_New", "capsule.name = name", 'capsule.name = name or py.cstring("")'),),
    ),
    Mutant(
        "New/shares-equal-names",
        "New stores the address of a name of the same text that another capsule brought.",
        ("PyCapsule_New/name-is-not-copied",),
        (
            Edit(
                "capsule",
                "PyCapsule_New",
                "capsule.name = name",
                'known = py.__dict__.setdefault("shared_names", {})\n'
                "    capsule.name = name and known.setdefault(py.memory.c_string(name), name)",
            ),
        ),
    ),
    Mutant(
        "SetName/copies-name",
        "SetName keeps a copy of the name instead of the pointer.",
        ("PyCapsule_SetName/stores",),
        (Edit("capsule", "PyCapsule_SetName", STORE, "struct.name = name and py.cstring(py.memory.c_string(name))"),),
    ),
    Mutant(
        "SetName/null-keeps-old",
        "SetName with NULL leaves the old name.",
        ("PyCapsule_SetName/stores",),
        (Edit("capsule", "PyCapsule_SetName", STORE, "struct.name = name or struct.name"),),
    ),
    Mutant(
        "SetName/equal-name-ignored",
        "SetName does not store the address of a name that has the text of the old one.",
        ("PyCapsule_SetName/stores",),
        (
            Edit(
                "capsule",
                "PyCapsule_SetName",
                STORE,
                "if not _name_matches(py, struct.name, name):\n        struct.name = name",
            ),
        ),
    ),
    Mutant(
        "SetName/frees-old-name",
        "SetName frees the name that was stored.",
        ("PyCapsule_SetName/stores",),
        (Edit("capsule", "PyCapsule_SetName", STORE, "py.free(struct.name)\n    struct.name = name"),),
    ),
    Mutant(
        "SetName/refuses-null",
        "SetName refuses NULL with ValueError.",
        ("PyCapsule_SetName/stores",),
        (
            Edit(
                "capsule",
                "PyCapsule_SetName",
                STORE,
                "if name == NULL:\n"
                '        PyErr_SetString(py, "ValueError", "PyCapsule_SetName called with null name")\n'
                "        return -1\n"
                "    struct.name = name",
            ),
        ),
    ),
    Mutant(
        "GetName/returns-copy",
        "GetName returns a copy of the name.",
        ("PyCapsule_GetName/returns-stored-address",),
        (
            Edit(
                "capsule",
                "PyCapsule_GetName",
                "return struct.name",
                "return struct.name and py.cstring(py.memory.c_string(struct.name))",
            ),
        ),
    ),
    Mutant(
        "GetName/null-is-empty",
        "GetName returns the empty string for a capsule without a name.",
        ("PyCapsule_GetName/returns-stored-address",),
        (Edit("capsule", "PyCapsule_GetName", "return struct.name", 'return struct.name or py.cstring("")'),),
    ),
    Mutant(
        "dealloc/frees-name",
        "The end of a capsule frees its name.",
        ("PyCapsule_New/name-is-not-copied", "dealloc/frees-in-any-case"),
        (
            Edit(
                "runtime",
                "capsule_dealloc",
                "PyObject_Free(py, op, capsule)",
                "py.free(capsule.name)\n    PyObject_Free(py, op, capsule)",
            ),
        ),
    ),
    Mutant(
        "names/same-address-first",
        "Two names at one address are the same before they are read.",
        (STRCMP,),
        (
            Edit(
                "capsule",
                "_name_matches",
                "strings = py.strings",
                "if name1 == name2:\n        return True\n    strings = py.strings",
            ),
        ),
        "A string equals itself; only one that cannot be read, which is undefined, would tell.",
    ),
)
