"""Mistakes about what Python code sees of a capsule: its repr, its hash, what it equals, what it can do."""

from __future__ import annotations

from capsule_model.mutants.mutant import Edit, Mutant

__all__ = ["MISTAKES"]

REPR, HASH, COMPARE = "PyObject_Repr", "PyObject_Hash", "PyObject_RichCompare"
QUOTED, UNQUOTED = ("PyObject_Repr/quoted-name",), ("PyObject_Repr/null-name",)
IDENTITY, ORDER = ("PyObject_RichCompare/identity",), ("PyObject_RichCompare/no-order",)
WHOLE = 'return new_object(py, "str", f"<capsule object {shown} at {o:#x}>")'
SHOWN = 'shown = f\'"{py.memory.c_string(struct.name).decode(errors="replace")}"\''
SAME = 'return new_object(py, "bool", (o1 == o2) == (opid == "=="))'


def _seen(id: str, title: str, rules: tuple[str, ...], function: str, old: str, new: str) -> Mutant:
    """Return a mutant of which Python code sees something else."""
    return Mutant(id, title, rules, (Edit("python_view", function, old, new),))


def _equal(id: str, title: str, field: str) -> Mutant:
    """Return a mutant whose capsules are equal where a field is."""
    both = "isinstance(py.objects[o1], Capsule) and isinstance(py.objects[o2], Capsule)"
    new = f"alike = o1 == o2 or ({both} and py.objects[o1].{field} == py.objects[o2].{field})\n"
    return _seen(id, title, IDENTITY, COMPARE, SAME, new + "        " + SAME.replace("o1 == o2", "alike"))


MISTAKES = (
    _seen(
        "repr/unnamed-is-empty",
        'The repr of a capsule without a name shows "".',
        UNQUOTED,
        REPR,
        'shown = "NULL"',
        "shown = '\"\"'",
    ),
    _seen(
        "repr/unnamed-is-none",
        "The repr of a capsule without a name shows None.",
        UNQUOTED,
        REPR,
        'shown = "NULL"',
        'shown = "None"',
    ),
    _seen(
        "repr/unnamed-is-quoted",
        'The repr of a capsule without a name shows "NULL" between quotes.',
        UNQUOTED,
        REPR,
        'shown = "NULL"',
        "shown = '\"NULL\"'",
    ),
    _seen(
        "repr/without-quotes",
        "The repr shows the name without quotes.",
        QUOTED,
        REPR,
        SHOWN,
        'shown = py.memory.c_string(struct.name).decode(errors="replace")',
    ),
    _seen(
        "repr/undecodable-dropped",
        "The repr leaves out bytes of the name that are no UTF-8.",
        QUOTED,
        REPR,
        SHOWN,
        SHOWN.replace("replace", "ignore"),
    ),
    _seen(
        "repr/undecodable-fails",
        "The repr of a capsule whose name is no UTF-8 fails.",
        QUOTED,
        REPR,
        SHOWN,
        "try:\n"
        "            py.memory.c_string(struct.name).decode()\n"
        "        except UnicodeDecodeError as error:\n"
        '            PyErr_SetString(py, "UnicodeDecodeError", str(error))\n'
        f"            return NULL\n        {SHOWN}",
    ),
    _seen(
        "repr/shows-pointer",
        "The repr shows where the capsule's pointer points.",
        QUOTED,
        REPR,
        WHOLE,
        WHOLE.replace("{o:#x}", "{struct.pointer:#x}"),
    ),
    _seen(
        "repr/named-PyCapsule",
        "The repr calls the capsule a PyCapsule object.",
        QUOTED,
        REPR,
        WHOLE,
        WHOLE.replace("capsule object", "PyCapsule object"),
    ),
    _seen(
        "hash/by-pointer",
        "The hash is that of the pointer in the capsule.",
        ("PyObject_Hash/rotated-address",),
        HASH,
        "bits = 8 * py.profile.word",
        "o = py.objects[o].pointer\n    bits = 8 * py.profile.word",
    ),
    _seen(
        "hash/by-name",
        "The hash is that of the name's address.",
        ("PyObject_Hash/rotated-address",),
        HASH,
        "bits = 8 * py.profile.word",
        "o = py.objects[o].name\n    bits = 8 * py.profile.word",
    ),
    _seen(
        "hash/not-rotated",
        "The hash is the address itself.",
        ("PyObject_Hash/rotated-address",),
        HASH,
        "rotated = (o >> 4) | ((o << (bits - 4)) & ((1 << bits) - 1))",
        "rotated = o",
    ),
    _seen(
        "hash/unhashable",
        "A capsule has no hash: -1 with TypeError.",
        ("PyObject_Hash/rotated-address",),
        HASH,
        "bits = 8 * py.profile.word",
        'PyErr_SetString(py, "TypeError", "unhashable type: \'PyCapsule\'")\n    return -1',
    ),
    _equal("compare/by-pointer", "Capsules of the same pointer are equal.", "pointer"),
    _equal("compare/by-name", "Capsules of the same name are equal.", "name"),
    _seen(
        "compare/unequal-not-negated",
        "The answer to != is that to ==.",
        IDENTITY,
        COMPARE,
        SAME,
        'return new_object(py, "bool", o1 == o2)',
    ),
    _seen(
        "compare/ordered-by-address",
        "Capsules have an order: that of their addresses.",
        ORDER,
        COMPARE,
        "# rule: PyObject_RichCompare/no-order\n",
        'if left == right == "PyCapsule":\n'
        '        return new_object(py, "bool", o1 < o2 if opid in ("<", "<=") else o1 > o2)\n',
    ),
    _seen(
        "bool/unnamed-is-false",
        "A capsule without a name is false.",
        ("PyObject_IsTrue/always",),
        "PyObject_IsTrue",
        "return 1",
        "return int(py.objects[o].name != NULL)",
    ),
    _seen(
        "bool/without-context-is-false",
        "A capsule without a context is false.",
        ("PyObject_IsTrue/always",),
        "PyObject_IsTrue",
        "return 1",
        "return int(py.objects[o].context != NULL)",
    ),
    _seen(
        "copy/gives-itself",
        "A copy of a capsule is the capsule itself.",
        ("PyCapsule_Type/no-pickle-no-copy",),
        "pickle_object",
        'PyErr_SetString(py, "TypeError", "cannot pickle \'PyCapsule\' object")\n    return NULL',
        "py.objects[obj].ob_refcnt += 1\n    return obj",
    ),
    _seen(
        "pickle/gives-bytes",
        "A capsule is copied and pickled as bytes.",
        ("PyCapsule_Type/no-pickle-no-copy",),
        "pickle_object",
        'PyErr_SetString(py, "TypeError", "cannot pickle \'PyCapsule\' object")\n    return NULL',
        'return new_object(py, "bytes")',
    ),
    _seen(
        "weakref/refused-by-another-text",
        "The error of a weak reference calls the type capsule.",
        ("PyCapsule_Type/no-weak-references",),
        "weakref_ref",
        "'PyCapsule' object",
        "'capsule' object",
    ),
    _seen(
        "call/type-makes-instances",
        "Calling the type of capsules makes something.",
        ("PyCapsule_Type/no-instances",),
        "PyObject_Call",
        'PyErr_SetString(py, "TypeError", "cannot create \'PyCapsule\' instances")\n        return NULL',
        'return new_object(py, "object")',
    ),
    _seen(
        "call/speaks-of-instances",
        "The error of calling a capsule is that of calling its type.",
        ("PyObject_Call/not-callable",),
        "PyObject_Call",
        "'PyCapsule' object is not callable",
        "cannot create 'PyCapsule' instances",
    ),
    _seen(
        "subclass/allowed",
        "A class can derive from the type of capsules.",
        ("PyCapsule_Type/no-subclasses",),
        "subclass",
        'PyErr_SetString(py, "TypeError", "type \'PyCapsule\' is not an acceptable base type")\n    return NULL',
        'return new_object(py, "object")',
    ),
    _seen(
        "len/is-zero",
        "A capsule has the length 0.",
        ("PyObject_Size/none",),
        "PyObject_Size",
        'PyErr_SetString(py, "TypeError", "object of type \'PyCapsule\' has no len()")\n    return -1',
        "return 0",
    ),
    Mutant(
        "setattr/allowed",
        "Attributes of a capsule can be set, and are forgotten.",
        ("PyCapsule_Type/no-attributes",),
        (Edit("attributes", "PyObject_SetAttrString", "_refuse(py, o, name, v)\n        return -1", "return 0"),),
    ),
    Mutant(
        "setattr/has-a-dict",
        "The error of setting an attribute does not speak of a missing __dict__.",
        ("PyCapsule_Type/no-attributes",),
        (Edit("attributes", "_refuse", 'if "no-dict-hint" in py.behaviours:', "if False:"),),
    ),
    _seen(
        "getsizeof/without-gc-header",
        "The size leaves out what the collector keeps in front of the struct.",
        ("sys.getsizeof/struct-and-gc-header",),
        "sys_getsizeof",
        "py.profile.basicsize + py.profile.gc_header",
        "py.profile.basicsize",
    ),
    _seen(
        "types/no-CapsuleType",
        "The module types does not name the type.",
        ("types.CapsuleType/is-PyCapsule_Type",),
        "types_CapsuleType",
        'if "types-capsuletype" not in py.behaviours:',
        "if True:",
    ),
)
