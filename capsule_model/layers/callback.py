"""A C function in a capsule, to be called back: the pointer is the function, the context its data.

The name is the signature, as in Cython's ``__pyx_capi__`` and SciPy's ``LowLevelCallable``: text that is compared,
and never checked against the function.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from capsule_model.layers.functions import WITH_DATA, call
from capsule_model.memory import NULL, strcmp

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter

__all__ = ["call_back", "new_callback", "prepare"]


def new_callback(py: Interpreter, function: int, signature: int, user_data: int = NULL) -> int:
    """Put a function and its data into a capsule and return a new reference, or NULL with an exception."""
    # rule: callback/function-pointer-as-void-pointer
    capsule = py.PyCapsule_New(function, signature, NULL)
    if capsule != NULL:
        # rule: callback/data-is-the-context
        py.PyCapsule_SetContext(capsule, user_data)
    return capsule


def prepare(py: Interpreter, capsule: int, accepted: Iterable[int]) -> tuple[int, int] | None:
    """Return function and data of a callback whose signature is one of those accepted; else None with ``ValueError``.

    Source: ccallback_prepare in scipy/_lib/src/ccallback.h.
    """
    name = py.PyCapsule_GetName(capsule)
    if py.PyErr_Occurred() is not None:
        return None
    for signature in accepted:
        if name != NULL and strcmp(py.memory, name, signature) == 0:
            # rule: callback/one-of-several-signatures
            return py.PyCapsule_GetPointer(capsule, signature), py.PyCapsule_GetContext(capsule)
    # rule: callback/other-signature-refused
    py.PyErr_SetString("ValueError", "no signature that is accepted")
    return None


def call_back(
    py: Interpreter, capsule: int, accepted: Iterable[int], argument: int, type: str = WITH_DATA
) -> int | None:
    """Call a callback as a function of a type, and return what it returns.

    None with an exception where it is refused.
    """
    found = prepare(py, capsule, accepted)
    if found is None:
        return None
    function, user_data = found
    # rule: callback/called-as-the-signature-says
    return call(py, function, type, argument, user_data)
