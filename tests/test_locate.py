"""Where the specification is found: in a source tree, an editable install and a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from capsule_model.locate import specs

ROOT = Path(__file__).resolve().parent.parent


def _folder(parent: Path) -> Path:
    (parent / "specs" / "formats").mkdir(parents=True)
    (parent / "specs" / "formats" / "vector.schema.json").write_text("{}")
    return parent / "specs"


def test_source_tree(tmp_path: Path) -> None:
    """Beside the package, the specification is the sibling folder."""
    expected = _folder(tmp_path)
    assert specs(tmp_path / "capsule_model") == expected


def test_inside_the_package_wins(tmp_path: Path) -> None:
    """An installed package takes its own folder, whatever lies beside it in site-packages."""
    _folder(tmp_path)
    expected = _folder(tmp_path / "capsule_model")
    assert specs(tmp_path / "capsule_model") == expected


def test_a_stranger_s_specs_are_not_taken(tmp_path: Path) -> None:
    """A folder of the right name without the schema is not the specification."""
    (tmp_path / "specs").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no specification: expected formats/vector\.schema\.json"):
        specs(tmp_path / "capsule_model")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project that can be built."""
    copy = tmp_path_factory.mktemp("project") / "tree"
    copy.mkdir()
    for name in ("capsule_model", "specs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def _files(folder: Path) -> set[Path]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path for path in paths if not any(part.startswith((".", "__pycache__")) for part in path.parts)}


def _built(project: Path, hook: str, out: Path) -> Path:
    out.mkdir()
    code = f"import hatchling.build as b; print(b.{hook}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


def _asked(path: Path, cwd: Path) -> Path:
    code = "import capsule_model.locate as l; print(l.__file__); print(l.specs())"
    env = {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=True
    )
    return Path(done.stdout.splitlines()[1])


def test_wheel_carries_the_specification(project: Path, tmp_path: Path) -> None:
    """A wheel brings schema, tables and vectors along, and they are the ones that are found."""
    wheel = _built(project, "build_wheel", tmp_path / "dist")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    found = _asked(tmp_path / "site", tmp_path)
    assert found == tmp_path / "site" / "capsule_model" / "specs"
    assert _files(found) == _files(ROOT / "specs")
    assert (tmp_path / "site" / "capsule_model" / "py.typed").is_file()


def test_editable_install_uses_the_tree(project: Path, tmp_path: Path) -> None:
    """An editable install finds the folder of the tree, so that an edited vector is the one that runs."""
    wheel = _built(project, "build_editable", tmp_path / "dist")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    paths = [line for file in (tmp_path / "site").glob("*.pth") for line in file.read_text().splitlines()]
    assert paths == [str(project)]
    assert _asked(Path(f"{tmp_path / 'site'}{os.pathsep}{paths[0]}"), tmp_path) == project / "specs"
