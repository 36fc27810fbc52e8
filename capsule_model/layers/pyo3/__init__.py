"""PyO3's ``PyCapsule``, as a model: what it adds to capsules, what it owns, and where it can still be fooled.

    rust = PyO3(Interpreter("cpython-3.13"))
    cap = rust.new_with_value(Value(bytes([123, 0, 0, 0])), rust.py.cstring("foo")).unwrap()
    rust.pointer_checked(cap, rust.py.cstring("bar"))           # Err(ValueError(…)), and nothing pending

Names are addresses of C strings and NULL stands for ``None``. What is a ``PyResult`` in Rust is ``Ok`` or ``Err`` here;
what the compiler refuses raises ``DoesNotCompile``, a function that a version has not raises ``Absent``.
"""

from __future__ import annotations

from capsule_model.layers.pyo3 import attach as _attach
from capsule_model.layers.pyo3 import construct, contents, crate, methods
from capsule_model.layers.pyo3.contents import Closure, Value
from capsule_model.layers.pyo3.crate import Absent, Crate, DoesNotCompile, Err, Ok, PyResult
from capsule_model.layers.pyo3.operations import OPERATIONS
from capsule_model.layers.pyo3.versions import BEHAVIOURS

__all__ = [
    "BEHAVIOURS",
    "MODULES",
    "OPERATIONS",
    "Absent",
    "Closure",
    "DoesNotCompile",
    "Err",
    "Ok",
    "PyO3",
    "PyResult",
    "Value",
]

MODULES = (construct, contents, methods, _attach, crate)


class PyO3(Crate):
    """One Rust extension in a simulated process, with all that PyO3 offers for capsules.

    ``PyO3(py)`` is built with the newest version that is modelled; ``use("0.26")`` takes another.
    """

    new_with_value = construct.new_with_value
    new = construct.new
    new_with_value_and_destructor = construct.new_with_value_and_destructor
    new_with_destructor = construct.new_with_destructor
    new_with_pointer = construct.new_with_pointer
    new_with_pointer_and_destructor = construct.new_with_pointer_and_destructor

    cast = methods.cast
    import_ = methods.import_
    import_pointer = methods.import_pointer
    set_context = methods.set_context
    context = methods.context
    pointer_checked = methods.pointer_checked
    is_valid_checked = methods.is_valid_checked
    name = methods.name
    as_cstr = methods.as_cstr
    pointer = methods.pointer
    reference = methods.reference
    is_valid = methods.is_valid

    drop = _attach.drop
    attach = _attach.attach
