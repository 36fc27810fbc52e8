"""List the modules of the interpreter that runs this file without importing any; it needs Python 3.9 or newer alone."""

from __future__ import annotations

import os
import pkgutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import all_suffixes
from importlib.metadata import distributions
from importlib.util import find_spec
from typing import Any

# What nobody should import by chance: programs, tests, and jokes that open a browser; and this project itself.
LEFT_OUT = {"antigravity", "this", "idlelib", "turtledemo", "capsule_model", "dlpack_model"}
LEFT_OUT_INSIDE = {"test", "tests", "idle_test", "conftest", "__main__"}


def is_left_out(name: str) -> bool:
    """Tell whether a module is none that should be imported by chance."""
    return not LEFT_OUT_INSIDE.isdisjoint(name.split(".")) or name.split(".")[0] in LEFT_OUT


def modules_here(everything: bool) -> dict[str, Any]:
    """Return the modules of the standard library and of installed distributions, by group, without importing any."""
    groups: dict[str, list[str]] = {"": sorted(standard_names())}
    if everything:
        for one in distributions():
            # A distribution that is broken has no name.
            title = str(one.metadata["Name"] or "")[:100]
            if title:
                groups.setdefault(title, []).extend(sorted(top_names(one)))
    listed: dict[str, list[str]] = {}
    taken: set[str] = set()
    for title, names in groups.items():
        for name in names:
            if name not in taken and not is_left_out(name):
                taken.add(name)
                listed.setdefault(title, []).extend(with_submodules(name))
    return {"groups": listed}


def standard_names() -> set[str]:
    """Return the names of the standard library's modules."""
    names = set(getattr(sys, "stdlib_module_names", ()))
    if not names:
        library = sysconfig.get_path("stdlib")
        names = set(sys.builtin_module_names)
        names.update(one.name for one in pkgutil.iter_modules([library, os.path.join(library, "lib-dynload")]))
    return names


def top_names(distribution: Any) -> set[str]:
    """Return what a distribution installs at the top: modules and packages."""
    suffixes, names = tuple(all_suffixes()), set()
    for file in distribution.files or ():
        parts = file.parts
        if parts[-1].endswith(suffixes):
            names.add(parts[0].split(".")[0] if len(parts) == 1 else parts[0])
    names.update((distribution.read_text("top_level.txt") or "").split())
    return {name for name in names if name.isidentifier() and name != "__pycache__"}


def with_submodules(name: str) -> Iterator[str]:
    """Yield a module that can be found, and all modules inside it."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is not None:
        yield name
        yield from inside_package(name, list(spec.submodule_search_locations or ()))


def inside_package(name: str, folders: list[str]) -> Iterator[str]:
    """Yield the modules in the folders of a package."""
    for one in pkgutil.iter_modules(folders):
        inner = f"{name}.{one.name}"
        if one.name.isidentifier() and not is_left_out(inner):
            yield inner
            if one.ispkg:
                yield from inside_package(inner, [os.path.join(folder, one.name) for folder in folders])
