"""A private second copy of the model in this process, with other source where a mutant has it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

from capsule_model.mutants.mutant import PACKAGE

__all__ = ["Twin", "twin"]

# What only reads the specification is the same in every copy.
SHARED = frozenset(
    f"{PACKAGE}.{name}" for name in ("locate", "structs", "trace.contract", "trace.needs", "trace.wording")
)


class Twin:
    """A copy of the model: its machine, its profiles, and what it raises where it cannot go on."""

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._execute = modules[f"{PACKAGE}.trace.execute"]
        self._profiles = modules[f"{PACKAGE}.profiles"]
        undefined = modules[f"{PACKAGE}.undefined"]
        self.abort: type[Exception] = undefined.Abort
        self.bad_vector: type[Exception] = self._execute.BadVector

    def machine(self, vector: Mapping[str, Any], profile: str) -> Any:
        """Return a machine of the copy, ready to perform the steps of a vector under the profile of that name."""
        return self._execute.Machine(vector, self._profiles.profile_named(profile))


def twin(sources: Mapping[str, str]) -> Twin:
    """Load a copy in which the modules of these full names have this source. The model itself stays as it is."""
    with _alone(sources):
        import_module(f"{PACKAGE}.trace.execute")
        return Twin({name: module for name, module in sys.modules.items() if _copied(name)})


@contextmanager
def _alone(sources: Mapping[str, str]) -> Iterator[None]:
    """Hide the loaded model while the block runs, and the copy afterwards."""
    outer = {name: module for name, module in sys.modules.items() if _copied(name)}
    finder = _Finder(sources)
    for name in outer:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _copied(name)]:
            del sys.modules[name]
        sys.modules.update(outer)


def _copied(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE and name not in SHARED


class _Finder(MetaPathFinder, Loader):
    """Load some modules from a source in memory."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = sources

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """Return the spec of a module whose source is here, None for others."""
        return spec_from_loader(fullname, self) if fullname in self.sources else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python to make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the source in the module."""
        code = compile(self.sources[module.__name__], f"<mutant of {module.__name__}>", "exec", dont_inherit=True)
        exec(code, vars(module))
