"""Build the module with a PyO3 that cargo can get without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Built", "Missing", "build", "configurations", "refusal", "source_of"]

HERE = Path(__file__).parent
BEFORE_0_29 = "before-0-29"


class Missing(RuntimeError):
    """Say in one line what is not there to build with."""


@dataclass(frozen=True)
class Built:
    """A module that was built: its file, the version of PyO3 in it, and the folder and options that cargo had."""

    library: Path
    version: str
    folder: Path
    options: tuple[str, ...]


def configurations() -> list[str | None]:
    """Return what cargo is to be configured with, once for each PyO3: files of ``PYO3_CONFIGS``, or nothing at all.

    Such a file says where crates are, for instance in its table ``patch.crates-io``.
    """
    named = os.environ.get("PYO3_CONFIGS", "")
    return [*filter(None, named.split(os.pathsep))] or [None]


def build(folder: Path, configuration: str | None) -> Built:
    """Build the module in a folder.

    ``Missing`` where there is no cargo, or where it has no PyO3; ``RuntimeError`` where the module does not compile.
    """
    shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    options = ("--offline", *(("--config", configuration) if configuration else ()))
    _cargo(folder, Missing, "generate-lockfile", *options)
    packages = tomllib.loads((folder / "Cargo.lock").read_text("utf-8"))["package"]
    version = next(package["version"] for package in packages if package["name"] == "pyo3")
    if version.startswith("0.28."):
        options = (*options, "--features", BEFORE_0_29)
    _cargo(folder, RuntimeError, "build", "--quiet", *options)
    found = sorted(_target(folder).glob("debug/*pyo3_real.*"))
    return Built(next(file for file in found if file.suffix in (".so", ".dylib")), version, folder, options)


def refusal(built: Built, body: str) -> str:
    """Return what the compiler says against a function body that gets ``py``; empty where it compiles."""
    example = Path("examples") / "refused.rs"
    text = (HERE / example).read_text("utf-8").replace("todo!()", body)
    (built.folder / example).write_text(text, "utf-8")
    done = _run(built.folder, "build", "--quiet", "--example", "refused", *built.options)
    return done.stderr if done.returncode else ""


def source_of(built: Built) -> Path:
    """Return the folder of the PyO3 that was built."""
    told = _run(built.folder, "metadata", "--format-version=1", *built.options).stdout
    package = next(package for package in json.loads(told)["packages"] if package["name"] == "pyo3")
    return Path(package["manifest_path"]).parent


def _target(folder: Path) -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", folder / "target"))


def _cargo(folder: Path, failure: type[RuntimeError], *arguments: str) -> None:
    """Run cargo; raise ``failure`` with the line that says why it cannot do what it is to do."""
    done = _run(folder, *arguments)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no word why it ends"]
        raise failure(f"cargo: {next((line for line in lines if 'error' in line), lines[-1])[:300]}")


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    cargo = shutil.which("cargo")
    if cargo is None:
        raise Missing("no cargo; expected one of Rust 1.82 or newer")
    # Without linking Python: the interpreter that loads the module brings its functions along.
    environment = os.environ | {"PYO3_BUILD_EXTENSION_MODULE": "1", "PYO3_NO_PYTHON": "1"}
    try:
        return subprocess.run(
            [cargo, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"cargo {arguments[0]}: not done after 600 s") from None
