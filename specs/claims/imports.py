"""PyCapsule_Import, as a caller sees it."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import warnings

from capi import GetName, Import, New, capsule_type, told


def _module(name: str, **attributes: object) -> None:
    """Put a module into sys.modules."""
    sys.modules[name] = module = type(sys)(name)
    vars(module).update(attributes)


def splits_at_last_dot() -> tuple[bool, str]:
    """Tell whether of a.b.c the module a.b is imported, and the attribute c looked up in it."""
    with tempfile.TemporaryDirectory() as folder:
        package = os.path.join(folder, "claims_package")
        os.mkdir(package)
        for file, text in (
            ("__init__.py", ""),
            ("part.py", "import capi\ncap = capi.New(4096, b'claims_package.part.cap', None)\n"),
        ):
            with open(os.path.join(package, file), "w", encoding="utf-8") as stream:
                stream.write(text)
        sys.path.insert(0, folder)
        try:
            said = told(Import, b"claims_package.part.cap", 0)
        finally:
            sys.path.remove(folder)
    return said == "4096", said


def no_block_is_deprecated() -> tuple[bool, str]:
    """Tell whether passing no_block is met with a warning, or refused."""
    _module("claims_plain", cap=New(4096, b"claims_plain.cap", None))
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        said = told(Import, b"claims_plain.cap", 1)
    return bool(given) or said != "4096", f"with no_block it returns {said}, and gives {len(given)} warnings"


def no_block_changes_nothing() -> tuple[bool, str]:
    """Tell whether, whatever no_block is, a failing import gives the same exception."""
    said = [told(Import, b"claims_nowhere.cap", no_block).partition(":")[0] for no_block in (0, 1)]
    return said[0] == said[1], f"0 gives {said[0]}, 1 gives {said[1]}"


def nameless_capsules_are_found() -> tuple[bool, str]:
    """Tell whether a capsule without a name is found by the path to it."""
    _module("claims_nameless", cap=New(4096, None, None))
    said = told(Import, b"claims_nameless.cap", 0)
    return said == "4096", said


def datetime_has_a_capsule() -> tuple[bool, str]:
    """Tell whether the C API of datetime is in a capsule, which is found by its path."""
    import datetime

    capsule = datetime.datetime_CAPI
    found = type(capsule) is capsule_type() and Import(b"datetime.datetime_CAPI", 0)
    return bool(found), repr(GetName(capsule))


def names_follow_paths() -> tuple[bool, str]:
    """Tell whether every capsule of the standard library is named by the path to it."""
    others = {
        name: GetName(value)
        for name, value in vars(importlib.import_module("_codecs_jp")).items()
        if type(value) is capsule_type() and GetName(value) != f"_codecs_jp.{name}".encode()
    }
    return not others, f"of _codecs_jp, {len(others)} have another name, such as {next(iter(others.values()), None)!r}"


def ctypes_uses_capsules() -> tuple[bool, str]:
    """Tell whether ctypes exposes a C API by capsules, such as _ctypes._pointer_type_cache."""
    import _ctypes
    import ctypes

    capsules = [name for module in (_ctypes, ctypes) for name, v in vars(module).items() if type(v) is capsule_type()]
    cache = getattr(_ctypes, "_pointer_type_cache", None)
    return bool(capsules), f"no capsule in _ctypes and ctypes; _pointer_type_cache is a {type(cache).__name__}"


def builds_of_the_standard_library() -> tuple[bool, str]:
    """Tell whether several modules of the standard library publish a C API in a capsule under its path."""
    paths = ("datetime.datetime_CAPI", "_socket.CAPI", "pyexpat.expat_CAPI", "unicodedata._ucnhash_CAPI")
    found = [path for path in paths if told(Import, path.encode(), 0).isdigit()]
    return len(found) > 1, ", ".join(found)
