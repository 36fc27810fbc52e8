"""What becomes of callbacks at the exit: C code may call them when there is no interpreter any more."""

from __future__ import annotations

import ctypes
from typing import Any

from .capi import native

__all__ = ["DIES_WITHOUT_GIL", "HARMLESS", "replace_callback"]

HARMLESS = native("Py_IsInitialized")
DIES_WITHOUT_GIL = native("PyErr_CheckSignals")

# The object behind a callback begins as others of variable size do; then come the closure, its code, and its types.
CLOSURE, TYPES = 24, 40
MOST_WORDS = 16


def replace_callback(callback: Any, address: int) -> bool:
    """Have a callback, whoever kept its address, call a native function instead; tell whether that was possible.

    libffi's closure holds, one behind the other, the types, the function that it calls, and that function's own data,
    which for ctypes is the object that is looked at here.
    """
    thunk = id(callback._objects["0"])
    words = (ctypes.c_size_t * MOST_WORDS).from_address(ctypes.c_size_t.from_address(thunk + CLOSURE).value)
    for i in range(MOST_WORDS - 2):
        if words[i] == thunk + TYPES and words[i + 2] == thunk:
            words[i + 1] = address
            return True
    return False
