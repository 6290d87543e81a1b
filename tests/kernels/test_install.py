"""What pip makes of the sources: one wheel a platform with the library in it, and one that works without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from flyweight.kernels import library

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = f"flyweight/kernels/{library.NAME}"
DATA = ("flyweight/py.typed", "flyweight/report/page.css", "flyweight/tasks/data/fashion_mini.npz")

pytestmark = pytest.mark.slow


def wheel(folder: Path, **environment: str) -> Path:
    """The wheel that pip builds of a copy of the sources, an old library lying in it."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (source / "src" / LIBRARY).write_text("left by another build")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    made = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if "No matching distribution found for scikit-build-core" in made.stderr:
        pytest.skip("the build backend cannot be fetched")
    assert made.returncode == 0, made.stderr[-4000:]
    (found,) = folder.glob("*.whl")
    return found


def tells(installed: Path) -> str:
    """What a process says of its kernels that has flyweight from ``installed``."""
    code = "from flyweight.kernels.describe import describe as d; print(d()['path'], d().get('library', d()['why']))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLYWEIGHT_")}
    environment["PYTHONPATH"] = str(installed)
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True, cwd=installed
    ).stdout


def test_a_wheel_brings_the_library(tmp_path: Path) -> None:
    if shutil.which(os.environ.get("CXX") or "c++") is None:
        pytest.skip("no C++ compiler")
    made = wheel(tmp_path)
    assert "-py3-none-" in made.name and not made.name.endswith("-any.whl")
    with zipfile.ZipFile(made) as opened:
        names = set(opened.namelist())
        opened.extractall(tmp_path / "installed")
    assert names.issuperset({LIBRARY, *DATA})
    assert not any("/native/" in name or "__pycache__" in name for name in names)
    path, lies = tells(tmp_path / "installed").split()
    assert path in ("avx512", "avx2", "portable")
    assert lies == str(tmp_path / "installed" / LIBRARY)


def test_a_wheel_is_made_without_a_compiler(tmp_path: Path) -> None:
    made = wheel(tmp_path, CXX=str(tmp_path / "none"))
    with zipfile.ZipFile(made) as opened:
        names = set(opened.namelist())
        opened.extractall(tmp_path / "installed")
    assert names.issuperset(DATA) and LIBRARY not in names
    said = tells(tmp_path / "installed")
    assert said.startswith("none libflyweight_kernels.so was not built; have a C++ compiler")
    assert "pip install --no-deps --force-reinstall PATH-OF-ITS-SOURCE" in said


def test_a_compiler_that_cannot_compile_them_leaves_them_out(tmp_path: Path) -> None:
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    other = tmp_path / "c++"
    # It makes programs, as CMake asks of a compiler, but fails with every source of the kernels.
    other.write_text(
        f'#!/bin/sh\ncase "$*" in *native/core*) echo "too old" >&2; exit 1;; esac\nexec {compiler} "$@"\n'
    )
    other.chmod(0o755)
    made = wheel(tmp_path / "made", CXX=str(other))
    with zipfile.ZipFile(made) as opened:
        assert LIBRARY not in opened.namelist()
