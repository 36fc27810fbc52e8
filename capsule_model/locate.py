"""Find the specification that travels with this package."""

from __future__ import annotations

from pathlib import Path

_MARK = Path("formats", "vector.schema.json")


def specs(package: Path | None = None) -> Path:
    """Return the `specs` folder that belongs to `package` (default: the folder of this file).

    An installed wheel carries the folder inside the package; in a source tree, and therefore in an
    editable install, it is the package's sibling. Raises `FileNotFoundError` with one line where
    neither is there.
    """
    package = Path(__file__).resolve().parent if package is None else package
    for candidate in (package / "specs", package.parent / "specs"):
        if (candidate / _MARK).is_file():
            return candidate
    raise FileNotFoundError(f"no specification: expected {_MARK} in {package / 'specs'} or {package.parent / 'specs'}")
