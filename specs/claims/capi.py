"""What proofs are made of: the capsule functions through ctypes, and processes that may die."""

from __future__ import annotations

import ctypes
import importlib
import subprocess
import sys
from ctypes import c_char_p, c_int, c_void_p, py_object
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DESTRUCTOR",
    "CheckExact",
    "GetContext",
    "GetDestructor",
    "GetName",
    "GetPointer",
    "Import",
    "IsValid",
    "New",
    "SetContext",
    "SetDestructor",
    "SetName",
    "SetPointer",
    "Skip",
    "capsule_type",
    "dies",
    "library",
    "told",
]


class Skip(Exception):
    """A proof cannot look: the reason in one line."""


def _function(name: str, returns: Any, *arguments: Any) -> Any:
    """Return a function of the C API; what it leaves pending is raised."""
    try:
        return ctypes.PYFUNCTYPE(returns, *arguments)((name, ctypes.pythonapi))
    except AttributeError:
        return None


New = _function("PyCapsule_New", py_object, c_void_p, c_char_p, c_void_p)
IsValid = _function("PyCapsule_IsValid", c_int, py_object, c_char_p)
GetPointer = _function("PyCapsule_GetPointer", c_void_p, py_object, c_char_p)
GetName = _function("PyCapsule_GetName", c_char_p, py_object)
GetContext = _function("PyCapsule_GetContext", c_void_p, py_object)
GetDestructor = _function("PyCapsule_GetDestructor", c_void_p, py_object)
SetPointer = _function("PyCapsule_SetPointer", c_int, py_object, c_void_p)
SetName = _function("PyCapsule_SetName", c_int, py_object, c_char_p)
SetContext = _function("PyCapsule_SetContext", c_int, py_object, c_void_p)
SetDestructor = _function("PyCapsule_SetDestructor", c_int, py_object, c_void_p)
Import = _function("PyCapsule_Import", c_void_p, c_char_p, c_int)
# A dying capsule may not become a Python reference, so that a destructor gets an address.
DESTRUCTOR = ctypes.PYFUNCTYPE(None, c_void_p)


def CheckExact(thing: object) -> bool:
    """Tell whether a thing is a capsule."""
    return type(thing) is capsule_type()


def capsule_type() -> type:
    """Return the type of capsules."""
    return type(New(1, None, None))


def told(function: Callable[..., Any], *arguments: Any) -> str:
    """Return what a call gives, or the exception that it raises, as text."""
    try:
        return repr(function(*arguments))
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def library(name: str, *, least: str = "") -> ModuleType:
    """Import a library; skip where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Skip(f"{least or name} is not installed") from None


def dies(code: str, seconds: float = 20) -> str | None:
    """Run a program beside these files in a process of its own; return how it died, None where it ended well."""
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n" + code
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {seconds:g} seconds"
    if not done.returncode:
        return None
    if done.returncode < 0:
        return f"died of signal {-done.returncode}"
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    return " ".join([f"exit code {done.returncode}", *last])
