"""A Rust extension that was built with one version of PyO3, and what its functions answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from capsule_model.layers.pyo3.versions import NEWEST, behaviours_of, version_named
from capsule_model.memory import NULL

if TYPE_CHECKING:
    from capsule_model.errors import PyErr
    from capsule_model.interpreter import Interpreter

__all__ = ["Absent", "Crate", "DoesNotCompile", "Err", "Ok", "PyResult", "fetch", "take"]


class DoesNotCompile(Exception):
    """Report a call that the Rust compiler refuses: the bound that is not met, and what would meet it."""

    def __init__(self, bound: str, message: str) -> None:
        super().__init__(message)
        self.bound = bound


class Absent(Exception):
    """Report a function that this version of PyO3 does not have."""


@dataclass(frozen=True, slots=True)
class Ok:
    """A ``PyResult`` that holds a value: an address, an integer, or None for a ``None`` of Rust."""

    value: int | None

    def unwrap(self) -> int:
        """Return the value; NULL for None."""
        return self.value or NULL


@dataclass(frozen=True, slots=True)
class Err:
    """A ``PyResult`` that holds an exception, which is in the error indicator no more."""

    error: PyErr

    def unwrap(self) -> NoReturn:
        """Panic, as Rust does: raise ``RuntimeError`` with the exception in its text."""
        raise RuntimeError(f"called `Result::unwrap()` on an `Err` value: {self.error!r}")


PyResult = Ok | Err


@dataclass(eq=False)
class Crate:
    """One Rust extension in a simulated process.

    ``version`` is that of PyO3; ``pool`` holds the references that were dropped where no Python was at hand, until a
    thread attaches.
    """

    py: Interpreter
    version: tuple[int, int] = NEWEST
    pool: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.behaviours = behaviours_of(self.version)

    def use(self, version: str) -> None:
        """Take another version of PyO3 from here on. Raises ``ValueError`` for one that is not known."""
        self.version = version_named(version)
        self.behaviours = behaviours_of(self.version)

    def has(self, behaviour: str) -> bool:
        """Tell whether this version has a behaviour of ``versions.BEHAVIOURS``."""
        return behaviour in self.behaviours

    def needs(self, behaviour: str, function: str) -> None:
        """Raise ``Absent`` where the function that the behaviour brings is not there."""
        if not self.has(behaviour):
            # rule: PyO3.versions/absent
            raise Absent(f"PyO3 {self.version[0]}.{self.version[1]} has no {function}")


def take(rust: Crate) -> PyErr | None:
    """Take the pending exception out of the error indicator; None where none is.

    Source: src/err/mod.rs:285 (0.29.2).
    """
    error = rust.py.error
    rust.py.error = None
    return error


def fetch(rust: Crate) -> Err:
    """Take the exception that a failing call has set. Source: src/err/mod.rs:330 (0.29.2)."""
    error = take(rust)
    # The capsule functions never fail without an exception; without one PyO3 panics, or makes a SystemError.
    assert error is not None
    # rule: PyO3.err/takes-the-exception
    return Err(error)
