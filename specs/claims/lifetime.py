"""When destructors run, what they find, and what nobody cleans up."""

from __future__ import annotations

import ctypes
import gc
import sys
from ctypes import c_char_p, c_void_p

from capi import DESTRUCTOR, GetPointer, New, SetName, dies, told

_raw_name = ctypes.PYFUNCTYPE(c_char_p, c_void_p)(("PyCapsule_GetName", ctypes.pythonapi))
_raw_pointer = ctypes.PYFUNCTYPE(c_void_p, c_void_p, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
_calls: list[tuple[bytes, int]] = []


@DESTRUCTOR  # type: ignore[untyped-decorator]
def _record(dying: int) -> None:
    """Note what the dying capsule is called, and what it holds under that name."""
    name = _raw_name(dying)
    _calls.append((name, _raw_pointer(dying, name)))


RECORD = ctypes.cast(_record, c_void_p)


def collector_calls_destructor() -> tuple[bool, str]:
    """Tell whether it is the garbage collector that calls the destructor of a capsule that nobody has any more."""
    _calls.clear()
    gc.disable()
    try:
        capsule = New(16, b"claims.dropped", RECORD)
        del capsule
        at_once = list(_calls)
    finally:
        gc.enable()
    return not at_once, f"with the collector off, after the last reference: {len(at_once)} call of the destructor"


def freed_by_hand() -> tuple[bool, str]:
    """Tell whether a capsule has to be freed by hand, unlike other Python objects."""
    _calls.clear()
    kept = [New(16, b"claims.in_a_list", RECORD)]
    kept.clear()
    return not _calls, f"nothing was freed by hand, and the destructor ran {len(_calls)} times"


def destructor_is_helpless_when_renamed() -> tuple[bool, str]:
    """Tell whether a destructor that finds another name than its own cannot reach what the capsule holds."""
    _calls.clear()
    capsule = New(16, b"claims.mine", RECORD)
    SetName(capsule, b"claims.yours")
    del capsule
    return _calls != [(b"claims.yours", 16)], f"asked for its name, then for the pointer under it: {_calls}"


def destructor_runs_at_exit() -> tuple[bool, str]:
    """Tell whether a capsule that is alive when the process ends is cleaned up then."""
    end = dies(
        "import ctypes, os, capi\n"
        "libc = ctypes.CDLL(None)\n"
        "leave = ctypes.cast(libc._exit, ctypes.c_void_p)\n"
        "capsule = capi.New(1, b'claims.immortal', leave)\n"
        "ctypes.pythonapi.Py_IncRef(ctypes.py_object(capsule))\n"
    )
    return end is not None, end or "the destructor, which would have ended the process in another way, did not run"


def name_of_another_life() -> tuple[bool, str]:
    """Tell whether a name whose memory was reused still names the capsule."""
    buffer = ctypes.create_string_buffer(b"claims.first")
    new = ctypes.PYFUNCTYPE(ctypes.py_object, c_void_p, c_void_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
    capsule = new(16, ctypes.addressof(buffer), None)
    buffer.value = b"claims.other"
    return told(GetPointer, capsule, b"claims.first") == "16", told(GetPointer, capsule, b"claims.first")


def example_destructor_is_safe() -> tuple[bool, str]:
    """Tell whether the destructor of the specification's example is safe under a name that it does not know."""
    import os
    import shutil

    from capi import Skip

    if os.name != "posix" or sys.platform == "emscripten" or shutil.which("cc") is None:
        raise Skip("there is no C compiler, or no process to compile it for")
    source = (
        "extern int PyCapsule_IsValid(void *, const char *);\n"
        "extern void *PyCapsule_GetPointer(void *, const char *);\n"
        "extern void PyErr_WriteUnraisable(void *);\n"
        "extern void PyErr_Clear(void);\n"
        "int depth;\n"
        "void destroy(void *self) {\n"
        '    if (PyCapsule_IsValid(self, "used_dltensor")) return;\n'
        "    if (++depth > 100) return;\n"
        '    if (PyCapsule_GetPointer(self, "dltensor") == 0) { PyErr_WriteUnraisable(self); PyErr_Clear(); }\n'
        "}\n"
        "int how_deep(void) { return depth; }\n"
    )
    end = dies(
        "import ctypes, os, subprocess, sys, tempfile, capi\n"
        f"source = {source!r}\n"
        "folder = tempfile.mkdtemp()\n"
        "with open(os.path.join(folder, 'd.c'), 'w') as file: file.write(source)\n"
        "made = os.path.join(folder, 'd.so')\n"
        "subprocess.run(['cc', '-shared', '-fPIC', '-o', made, file.name], check=True)\n"
        "library = ctypes.PyDLL(made)\n"
        "import shutil; shutil.rmtree(folder)\n"
        "sys.unraisablehook = lambda report: None\n"
        "capsule = capi.New(16, b'tensor', ctypes.cast(library.destroy, ctypes.c_void_p))\n"
        "ctypes.pythonapi.Py_DecRef.argtypes = [ctypes.c_void_p]\n"
        "address = id(capsule)\n"
        "ctypes.pythonapi.Py_IncRef(ctypes.py_object(capsule))\n"
        "del capsule\n"
        "ctypes.pythonapi.Py_DecRef(address)\n"
        "os._exit(7 if library.how_deep() > 1 else 0)\n"
    )
    if end is not None and "wrong ELF class" in end:
        raise Skip("the C compiler compiles for another machine than this Python's")
    if end is not None and end.startswith("exit code 1 "):
        raise RuntimeError(end)
    return end is None, {None: "ran once", "exit code 7": "the destructor ran inside itself"}.get(end, end or "")
