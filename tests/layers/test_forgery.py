"""What a capsule's name does not prevent, on the interpreter that runs the tests: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

FORGE = """
import ctypes, datetime, sys
api = ctypes.pythonapi
api.PyCapsule_New.restype = ctypes.py_object
api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
api.PyCapsule_Import.restype = ctypes.c_void_p
api.PyCapsule_Import.argtypes = [ctypes.c_char_p, ctypes.c_int]
name = ctypes.create_string_buffer(sys.argv[1].encode())
junk = ctypes.create_string_buffer(b"A" * 4096)
datetime.datetime_CAPI = api.PyCapsule_New(ctypes.addressof(junk), name, None)
"""


def forged(name: str, then: str) -> subprocess.CompletedProcess[str]:
    """Put a capsule around junk where the table of datetime is, under a name, and do something."""
    command = [sys.executable, "-c", FORGE + then, name]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_same_name_is_accepted() -> None:
    """A forged capsule of the same name is imported, and its pointer is what the importer gets."""
    then = "print(api.PyCapsule_Import(b'datetime.datetime_CAPI', 0) == ctypes.addressof(junk))"
    assert forged("datetime.datetime_CAPI", then).stdout == "True\n"


def test_other_name_is_refused() -> None:
    """A capsule of another name in the same place is refused: the mistake that CObject did not notice."""
    done = forged("datetime.another", "api.PyCapsule_Import(b'datetime.datetime_CAPI', 0)")
    assert 'AttributeError: PyCapsule_Import "datetime.datetime_CAPI" is not valid' in done.stderr


def test_forged_table_is_used() -> None:
    """A module of the standard library that imports the forged table dies of it."""
    done = forged("datetime.datetime_CAPI", "import _zoneinfo; _zoneinfo.ZoneInfo('UTC'); print('alive')")
    assert done.returncode < 0
    assert "alive" not in done.stdout
