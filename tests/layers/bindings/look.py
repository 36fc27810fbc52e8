"""Tell in JSON what the capsules of a compiled module do: ``look.py FOLDER MODULE [poked]``; the last may die."""

import ctypes
import importlib
import json
import sys
from typing import Any

sys.path.insert(0, sys.argv[1])
module = importlib.import_module(sys.argv[2])
api = ctypes.pythonapi
for name in ("GetContext", "GetDestructor", "GetName"):
    function: Any = getattr(api, f"PyCapsule_{name}")
    function.argtypes, function.restype = [ctypes.py_object], ctypes.c_void_p
api.PyCapsule_GetName.restype = ctypes.c_char_p
api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
api.PyCapsule_SetContext.argtypes = [ctypes.py_object, ctypes.c_void_p]
USED = ctypes.create_string_buffer(b"used")


def told(name: str, *arguments: Any) -> Any:
    """Return what a function returns, or the exception that it raises."""
    try:
        value = getattr(module, name)(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if type(value).__name__ != "PyCapsule":
        return value
    fields = api.PyCapsule_GetName(value), api.PyCapsule_GetContext(value), api.PyCapsule_GetDestructor(value)
    return [fields[0] and fields[0].decode(), bool(fields[1]), bool(fields[2])]


def dies(make: str, change: Any = None) -> Any:
    """Return what is called when a capsule dies, after something was done to it."""
    capsule = getattr(module, make)()
    module.calls()
    if change is not None:
        change(capsule)
    del capsule
    return module.calls()


def poke(capsule: Any) -> None:
    """Take the pointer away behind the API's back: the first field after the header."""
    ctypes.c_size_t.from_address(id(capsule) + object.__basicsize__).value = 0


if sys.argv[3:] == ["poked"]:
    dies("named", poke)
    sys.exit(0)
found = {
    name: told(name) for name in ("named", "without", "plain", "null", "function", "null_data") if hasattr(module, name)
}
module.calls()
capsule = module.named()
found["opens"] = told("opens", capsule)
api.PyCapsule_SetName(capsule, USED)
found["opens renamed"] = told("opens", capsule)
found["opens by another name"] = told("opens_named", capsule, "a.b")
del capsule
module.calls()
found["dies"] = dies("named")
found["dies renamed"] = dies("named", lambda capsule: api.PyCapsule_SetName(capsule, USED))
found["dies without"] = dies("without")
found["dies with the context cleared"] = dies("named", lambda capsule: api.PyCapsule_SetContext(capsule, None))
if hasattr(module, "function"):
    found["dies as a function"] = dies("function")
    found["dies with another pointer"] = dies("named", module.set_other)
    found["set to NULL"] = told("set_null", module.named())
    module.calls()
found["pending"] = [module.drop_named(True), module.calls()]
found["nothing pending"] = [module.drop_named(False), module.calls()]
print(json.dumps(found))
