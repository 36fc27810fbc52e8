"""The words of a capsule, and what Python sees of its type."""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from ctypes import c_void_p

from capi import DESTRUCTOR, New, SetContext, capsule_type, told

WORD = ctypes.sizeof(c_void_p)
# How many words the struct has behind its header, by minor version.
FIELDS = {9: 4, 10: 4, 11: 4, 12: 4, 13: 6, 14: 6, 15: 6}


@DESTRUCTOR  # type: ignore[untyped-decorator]
def _nothing(dying: int) -> None:
    """Do nothing."""


def _order() -> list[str]:
    """Return the names of a capsule's fields in the order in which they lie in memory."""
    name = ctypes.create_string_buffer(b"claims.layout")
    stored = {4096: "pointer", ctypes.addressof(name): "name", 8192: "context"}
    stored[ctypes.cast(_nothing, c_void_p).value or 0] = "destructor"
    new = ctypes.PYFUNCTYPE(ctypes.py_object, c_void_p, c_void_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
    capsule = new(4096, ctypes.addressof(name), ctypes.cast(_nothing, c_void_p))
    SetContext(capsule, 8192)
    words = range(object.__basicsize__, capsule_type().__basicsize__, WORD)
    values = [c_void_p.from_address(id(capsule) + offset).value or 0 for offset in words]
    return [stored.get(value, "NULL") for value in values]


def context_before_destructor() -> tuple[bool, str]:
    """Tell whether behind the header lie pointer, name, context and destructor, in this order."""
    found = _order()
    return found[:4] == ["pointer", "name", "context", "destructor"], " ".join(found)


def four_fields_alone() -> tuple[bool, str]:
    """Tell whether these four are all that there is."""
    found = _order()
    return len(found) == 4, " ".join(found)


def destructor_before_context() -> tuple[bool, str]:
    """Tell whether behind the header lie pointer, name, destructor and context, in this order."""
    found = _order()
    return found[:4] == ["pointer", "name", "destructor", "context"], " ".join(found)


def collector_header() -> tuple[bool, str]:
    """Tell whether a capsule is allocated as an object that the garbage collector can track."""
    flag = bool(capsule_type().__flags__ & 1 << 14)
    return (
        flag,
        f"Py_TPFLAGS_HAVE_GC {'is' if flag else 'is not'} set; sys.getsizeof is {sys.getsizeof(New(1, None, None))}",
    )


def no_new_fields_in_3_14() -> tuple[bool, str]:
    """Tell whether 3.14 has the fields of 3.13, and no others; this interpreter has those of its version."""
    here = len(_order())
    known = FIELDS.get(sys.version_info[1], FIELDS[max(FIELDS)])
    return FIELDS[14] == FIELDS[13] and here == known, f"{here} words behind the header on 3.{sys.version_info[1]}"


def types_has_capsule_type() -> tuple[bool, str]:
    """Tell whether the module types names the type of capsules."""
    import types

    found = getattr(types, "CapsuleType", None)
    return found is capsule_type(), f"types.CapsuleType is {found}"


def type_names_itself() -> tuple[bool, str]:
    """Tell whether the type is called PyCapsule."""
    return capsule_type().__name__ == "PyCapsule", f"{capsule_type().__module__}.{capsule_type().__name__}"


def subclass_instances() -> tuple[bool, str]:
    """Tell whether a capsule may be an instance of a subclass."""
    said = told(type, "Sub", (capsule_type(),), {})
    return not said.startswith("TypeError"), said


def header_is_installed() -> tuple[bool, str]:
    """Tell whether the header of the capsule functions is called pycapsule.h."""
    import os

    from capi import Skip

    folder = sysconfig.get_paths()["include"]
    if not os.path.isfile(os.path.join(folder, "Python.h")):
        raise Skip("the headers of this Python are not installed")
    found = os.path.isfile(os.path.join(folder, "pycapsule.h"))
    return found, f"pycapsule.h {'is' if found else 'is not'} beside Python.h"


def critical_section_in_get_pointer() -> tuple[bool, str]:
    """Tell whether PyCapsule_GetPointer waits for whoever holds the mutex of the capsule."""
    from capi import Skip, dies

    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise Skip("this build has a GIL, and no mutex in objects")
    # The mutex is one byte of the header; the lowest bit says that it is held, here by nobody who would let go.
    end = dies(
        "import ctypes, capi\n"
        "capsule = capi.New(4096, b'claims.locked', None)\n"
        "mutex = ctypes.c_uint8.from_address(id(capsule) + 10)\n"
        "assert mutex.value == 0\n"
        "mutex.value = 1\n"
        "assert capi.GetPointer(capsule, b'claims.locked') == 4096\n"
        "mutex.value = 0\n",
        seconds=10,
    )
    return end is not None and end.startswith("no end"), end or "returns at once while the mutex of the capsule is held"
