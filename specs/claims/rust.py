"""What PyO3 does with capsules, by the program of the folder pyo3, built with cargo."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from capi import Skip

VARIABLE = "CAPSULE_MODEL_PYO3"


def _folder() -> Path:
    """Return the folder in which the program was built."""
    named = os.environ.get(VARIABLE)
    if not named:
        raise Skip(f"{VARIABLE} does not name the folder in which specs/claims/pyo3 was built with cargo")
    if not (Path(named) / "target" / "debug" / "claims").is_file():
        raise Skip(f"{VARIABLE} names a folder without target/debug/claims")
    return Path(named)


def _told(said: str) -> str:
    """Return what was seen with the version of PyO3 before it."""
    lock = _folder() / "Cargo.lock"
    found = re.search(r'name = "pyo3"\nversion = "([^"]+)"', lock.read_text("utf-8")) if lock.is_file() else None
    return f"PyO3 {found[1]}: {said}" if found else said


def _trial(name: str) -> tuple[bool, str]:
    """Run one trial in a process of its own; its death is an answer, too."""
    program = _folder() / "target" / "debug" / "claims"
    done = subprocess.run([str(program), name], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    if done.returncode < 0:
        return False, _told(f"died of signal {-done.returncode}")
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode or not said.startswith(("true ", "false ")):
        raise RuntimeError(f"exit code {done.returncode}, said {said[:100]!r}")
    return said.startswith("true "), _told(said.partition(" ")[2])


def _refuses(feature: str, version: str) -> tuple[bool, str]:
    """Tell whether the program does not compile with what a feature adds; skip for other versions of PyO3."""
    if not _told("").startswith(f"PyO3 {version}"):
        raise Skip(f"{_told('')}expected {version}N")
    command = ["cargo", "build", "--offline", "--quiet", "--features", feature]
    try:
        done = subprocess.run(command, cwd=_folder(), stdin=subprocess.DEVNULL, capture_output=True, timeout=50)
    except FileNotFoundError:
        raise Skip("cargo is not installed") from None
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode and "must not be zero-sized" not in said:
        raise RuntimeError(next((line for line in said.splitlines() if line.startswith("error")), said[-200:]))
    return bool(done.returncode), _told("must not be zero-sized" if done.returncode else "compiles")


def found_by_path() -> tuple[bool, str]:
    """Tell whether a value in a capsule of builtins is found by its path."""
    return _trial("import")


def other_name_is_refused() -> tuple[bool, str]:
    """Tell whether import wants the path and the name to be the same."""
    return _trial("import_other_name")


def type_is_unchecked() -> tuple[bool, str]:
    """Tell whether import gives out what it finds as whatever type is asked for."""
    checked, saw = _trial("import_checks_type")
    return not checked, saw


def new_stores_value() -> tuple[bool, str]:
    """Tell whether the pointer of a capsule leads to its value."""
    return _trial("new_stores_value")


def pointer_is_checked() -> tuple[bool, str]:
    """Tell whether, asked for another name, pointer_checked gives no pointer."""
    return _trial("pointer_is_checked")


def name_is_optional() -> tuple[bool, str]:
    """Tell whether a capsule needs no name."""
    return _trial("name_is_optional")


def value_is_dropped() -> tuple[bool, str]:
    """Tell whether the value is dropped with its capsule."""
    return _trial("value_is_dropped")


def destructor_gets_value() -> tuple[bool, str]:
    """Tell whether a destructor gets the value, and NULL where there is no context."""
    return _trial("destructor_gets_value")


def destructor_gets_context() -> tuple[bool, str]:
    """Tell whether a destructor gets the context that was set."""
    return _trial("destructor_gets_context")


def destructor_on_another_thread() -> tuple[bool, str]:
    """Tell whether a destructor may run on another thread."""
    return _trial("destructor_on_another_thread")


def pointer_is_used_directly() -> tuple[bool, str]:
    """Tell whether new_with_pointer stores the pointer that it is given."""
    return _trial("pointer_is_used_directly")


def value_is_boxed() -> tuple[bool, str]:
    """Tell whether the constructor new stores the value in memory of its own, and points there."""
    return _trial("value_is_boxed")


def raw_pointer_has_no_destructor() -> tuple[bool, str]:
    """Tell whether new_with_pointer registers no destructor."""
    return _trial("raw_pointer_has_no_destructor")


def raw_destructor_runs() -> tuple[bool, str]:
    """Tell whether new_with_pointer_and_destructor stores the C function as it is, and it runs."""
    return _trial("raw_destructor_runs")


def function_comes_back() -> tuple[bool, str]:
    """Tell whether a C function that was put into a capsule comes back."""
    return _trial("function_comes_back")


def panic_aborts() -> tuple[bool, str]:
    """Tell whether a panic in the closure of new_with_destructor ends the process."""
    survived, saw = _trial("panic_is_survived")
    return not survived and "died" in saw, saw


def raw_panic_aborts() -> tuple[bool, str]:
    """Tell whether a panic in a destructor that is a C function ends the process."""
    survived, saw = _trial("raw_panic_is_survived")
    return not survived and "died" in saw, saw


def zero_sized_is_refused_by_0_28() -> tuple[bool, str]:
    """Tell whether PyO3 0.28 does not compile a capsule of a type without size."""
    return _refuses("zero-sized", "0.28.")


def zero_sized_is_refused_by_0_29() -> tuple[bool, str]:
    """Tell whether PyO3 0.29 does not compile a capsule of a type without size."""
    return _refuses("zero-sized", "0.29.")


def function_item_is_refused_by_0_28() -> tuple[bool, str]:
    """Tell whether PyO3 0.28 does not compile a function item, which was not cast to a pointer."""
    return _refuses("function-item", "0.28.")


def function_item_is_refused_by_0_29() -> tuple[bool, str]:
    """Tell whether PyO3 0.29 does not compile a function item, which was not cast to a pointer."""
    return _refuses("function-item", "0.29.")
