"""Modules with capsules of every kind, and modules that nobody should import, as distributions."""

from __future__ import annotations

from pathlib import Path

# Makes capsules in modules; what it puts in front of the modules needs nothing but Python.
MAKE = """
import ctypes

_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi))
_set = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p)(("PyCapsule_SetContext", ctypes.pythonapi))
_kept = []


def capsule(name, pointer=16, destructor=None):
    storage = None if name is None else ctypes.create_string_buffer(name)
    _kept.append(storage)
    return _new(pointer, None if storage is None else ctypes.addressof(storage), destructor)
"""
CAPSULES = {
    "cm_good/__init__.py": "",
    "cm_good/making.py": MAKE,
    "cm_good/plain.py": """
from cm_good.making import capsule

class Holder:
    inner = capsule(b"cm_good.plain.Holder.inner")
    table = {"x": capsule(b"cm_good.plain.x")}

__pyx_capi__ = {"f": capsule(b"int (int, ...)"), 7: capsule(b"seven"), "a]b": capsule(b"odd")}
late = capsule(b"cm_good.plain.late")
again = late
nameless = capsule(None)
foreign = capsule(b"cm_good.plain.late")
wrong = capsule(b"cm_good.plain.Holder")
elsewhere = capsule(b"cm_good.plain.again")
absent = capsule(b"cm_good.plain.absent_")
nowhere = capsule(b"cm_no_such_module.c")
coloured = capsule(b"\\x1b[31mred\\nline")
bytes_ = capsule(b"\\xff\\xfe")
empty = capsule(b"")
instance = type("Instance", (), {})()
instance.held = capsule(b"held")
""",
    "cm_first.py": """
from cm_good.making import capsule
api = capsule(b"cm_first.api")
""",
    "cm_lazy.py": """
from cm_good.making import capsule

class Kind(type):
    def __getattr__(cls, name):
        raise KeyError(name)

class Odd(metaclass=Kind):
    pass

class Own:
    def __getattr__(self, name):
        raise OSError("own " + name)

def __getattr__(name):
    raise AttributeError("lazily " + name)

own = Own()
of_module = capsule(b"cm_lazy.nothing")
of_class = capsule(b"cm_lazy.Odd.nothing")
of_instance = capsule(b"cm_lazy.own.nothing")
of_type = capsule(b"cm_lazy.Own.nothing")
of_number = capsule(b"cm_lazy.__name__.nothing")
""",
    "cm_broken.py": """
import ctypes
from cm_good.making import capsule
invalid = capsule(b"cm_broken.invalid")
ctypes.c_size_t.from_address(id(invalid) + object.__basicsize__).value = 0
""",
}
HOSTILE = {
    "cm_bad/__init__.py": "",
    "cm_bad/a_capsule.py": "from cm_good.making import capsule\nc = capsule(b'cm_bad.a_capsule.c')\n",
    "cm_bad/crash.py": "import ctypes\nctypes.string_at(8)\n",
    "cm_bad/exits.py": "import os\nos._exit(3)\n",
    "cm_bad/forks.py": "import os\nif not hasattr(os, 'fork') or os.fork() == 0:\n    pass\n",
    "cm_bad/hangs.py": "import threading\nthreading.Event().wait()\n",
    "cm_bad/prints.py": 'import os\nprint("{}")\nos.write(1, b"{\\"done\\": true}\\n")\nos.write(2, b"x" * 100000)\n',
    "cm_bad/patches.py": 'import json\njson.dumps = lambda *a, **k: \'{"capsule": {"paths": 3}}\'\n',
    "cm_bad/quits.py": "import sys\nsys.exit('\\x1b[31m no')\n",
    "cm_bad/reads.py": "import sys\nassert sys.stdin.read() == ''\n",
    "cm_bad/raises.py": "raise ValueError('in /home/somebody/lib/cm.py')\n",
    "cm_bad/twists.py": """
import sys, types

class Odd(types.ModuleType):
    @property
    def __dict__(self):
        raise SystemExit
    def __getattribute__(self, name):
        raise KeyboardInterrupt

sys.modules["cm_odd"] = Odd("cm_odd")
""",
    "cm_bad/tests/__init__.py": "raise SystemExit\n",
    "cm_bad/__main__.py": "raise SystemExit\n",
}


def install(folder: Path, name: str, files: dict[str, str]) -> None:
    """Put a distribution of some files into a folder, as an installer does."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "RECORD").write_text("".join(f"{path},,\n" for path in files))
