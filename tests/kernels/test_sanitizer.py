"""No access out of bounds: the library under the address sanitizer, and as it is installed between forbidden pages.

What is built for this is kept in ``build/sanitized``, so that only the first run waits for the compiler.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flyweight.kernels import library

ROOT = Path(__file__).resolve().parents[2]
CHECKS = Path(library.__file__).parent / "native" / "check"
FOLDER = ROOT / "build" / "sanitized"
# Paths, and whether they may use the products of bytes that the processor has.
PATHS = (("avx512", "1"), ("avx2", "1"), ("avx2", "0"), ("portable", "1"))

# What is left unfreed at the end is Python's and ONNX Runtime's, and no access.
LOUD = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


def compiler() -> str:
    """The C++ compiler, or a skip."""
    found = shutil.which(os.environ.get("CXX") or "c++")
    if found is None:
        pytest.skip("no C++ compiler")
    return found


def run(command: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``command`` and gives what it said."""
    return subprocess.run(
        [str(part) for part in command], env={**os.environ, **environment}, capture_output=True, text=True, cwd=ROOT
    )


def passes(command: list[str | Path], **environment: str) -> str:
    """Runs ``command``, which has to end well, and gives what it printed."""
    ended = run(command, **environment)
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-6000:]}"
    assert "Sanitizer" not in ended.stderr and "runtime error" not in ended.stderr, ended.stderr[-6000:]
    return ended.stdout


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One of several workers at a time builds in ``folder``; the rest find it built."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library and its checks, built with the address sanitizer."""
    program = tmp_path_factory.mktemp("asan") / "program"
    program.with_suffix(".cpp").write_text("int main() { return 0; }")
    flags = ["-fsanitize=address,undefined", program.with_suffix(".cpp"), "-o", program]
    if run([compiler(), *flags]).returncode != 0 or run([program]).returncode != 0:
        pytest.skip("this compiler has no address sanitizer")
    if shutil.which("cmake") is None:
        pytest.skip("no cmake")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    with alone(FOLDER):
        passes(["cmake", "-S", ROOT, "-B", FOLDER, *generator, "-DFLYWEIGHT_SANITIZE=address,undefined"])
        passes(["cmake", "--build", FOLDER, "--parallel", "2"])
    return FOLDER


def can_take(program: Path, path: str) -> None:
    """Skips where this processor has not what ``path`` needs."""
    asked = run([program, "1", "0"], FLYWEIGHT_KERNELS=path, **LOUD)
    if asked.returncode == 2:
        pytest.skip(asked.stdout.strip())


@pytest.mark.parametrize(("path", "vnni"), PATHS)
def test_nothing_is_touched_out_of_bounds(sanitized: Path, path: str, vnni: str) -> None:
    """Every kind of layer over odd sizes, with the tiles of choice, and then with each that is tried."""
    program = sanitized / "check_sizes"
    can_take(program, path)
    chosen = {"FLYWEIGHT_KERNELS": path, "FLYWEIGHT_VNNI": vnni, **LOUD}
    said = passes([program, "1", "30"], FLYWEIGHT_TUNE="0", **chosen)
    assert said.startswith(path) and said.endswith("30 cases of every layer, 0 failures\n")
    passes([program, "1000", "3"], FLYWEIGHT_TUNE="1", **chosen)


def test_every_function_is_checked() -> None:
    """What makes or runs something is in both programs: over sizes, and refused."""
    header = (CHECKS.parent / "include" / "flyweight_kernels.h").read_text()
    functions = set(re.findall(r"FW_EXPORT int (fw_\w*(?:_create|_run|pack4|quantize4|_output_size))\(", header))
    assert len(functions) >= 15
    for program in ("check_sizes.cpp", "check_refusals.cpp"):
        text = (CHECKS / program).read_text()
        assert not [name for name in functions if not re.search(rf"\b{name}\b", text)], program


def test_what_contradicts_itself_is_refused(sanitized: Path) -> None:
    """Wrong counts, bits, sizes, and products of them beyond 64 bits, at each place where one can come in."""
    said = passes([sanitized / "check_refusals"], **LOUD)
    assert said.endswith(" 0 failures\n")


def test_the_door_to_onnx_runtime_touches_nothing_out_of_bounds(sanitized: Path) -> None:
    """Its tests, in a process that has the sanitizer loaded before all else."""
    libraries = [
        run([compiler(), f"-print-file-name={name}"]).stdout.strip() for name in ("libasan.so", "libstdc++.so.6")
    ]
    if not Path(libraries[0]).is_file():
        pytest.skip("this compiler's sanitizer cannot be loaded beforehand")
    tests = [
        Path(__file__).with_name(f"test_{name}.py") for name in ("ort", "ort_integers", "ort_network", "ort_refusals")
    ]
    said = passes(
        [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "-p", "no:xdist", *tests],
        LD_PRELOAD=" ".join(libraries),
        FLYWEIGHT_LIBRARY=str(sanitized / library.NAME),
        FLYWEIGHT_KERNELS="",
        **LOUD,
    )
    assert " passed" in said and "skipped" not in said


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The check of sizes, linked to the library as it is installed."""
    if not library.available():
        pytest.skip(f"no native kernels: {library.why_not()}")
    program = tmp_path_factory.mktemp("paged") / "check_sizes"
    include = CHECKS.parent / "include"
    options = ["-std=c++17", "-O1", "-pthread", "-I", include, f"-Wl,-rpath,{library.path().parent}"]
    passes([compiler(), *options, CHECKS / "check_sizes.cpp", library.path(), "-o", program])
    return program


@pytest.mark.parametrize(("path", "vnni"), PATHS)
def test_the_optimized_library_stays_between_forbidden_pages(paged: Path, path: str, vnni: str) -> None:
    """A sanitizer does not see what instructions with masks touch, nor what the optimizer makes of a loop."""
    can_take(paged, path)
    passes([paged, "1", "150"], FLYWEIGHT_KERNELS=path, FLYWEIGHT_VNNI=vnni, FLYWEIGHT_TUNE="0")
