"""Where the native library lies, why it is not used, and that Python and C++ agree on what crosses between them."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flyweight
from flyweight.core.errors import KernelsError
from flyweight.kernels import abi, library
from flyweight.kernels.describe import describe

NATIVE = Path(library.__file__).parent / "native"
HEADER = NATIVE / "include" / "flyweight_kernels.h"

built = pytest.mark.skipif(not library.available(), reason=f"no native kernels: {library.why_not()}")


@pytest.fixture(autouse=True)
def _forget() -> None:
    library._open.cache_clear()


def test_a_library_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "none.so"
    monkeypatch.delenv("FLYWEIGHT_KERNELS", raising=False)
    monkeypatch.setenv("FLYWEIGHT_LIBRARY", str(file))
    assert not library.available()
    with pytest.raises(KernelsError) as raised:
        flyweight.kernels_library()
    assert str(raised.value) == (
        f"KernelsError: the native kernels are not used: FLYWEIGHT_LIBRARY names {file}, where there is no file; "
        "build it, or unset the variable."
    )


def test_one_that_was_not_built_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLYWEIGHT_KERNELS", raising=False)
    monkeypatch.delenv("FLYWEIGHT_LIBRARY", raising=False)
    monkeypatch.setattr(library, "path", lambda: tmp_path / library.NAME)
    why = library.why_not() or ""
    assert why.startswith("libflyweight_kernels.so was not built; have a C++ compiler (g++ or clang) and install")
    assert f"pip install --no-deps --editable {Path(flyweight.__file__).parents[2]}" in why
    assert describe() == {"path": "none", "why": why}


def test_a_file_that_is_no_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    monkeypatch.delenv("FLYWEIGHT_KERNELS", raising=False)
    monkeypatch.setenv("FLYWEIGHT_LIBRARY", str(tmp_path / "text.so"))
    why = library.why_not() or ""
    assert "text.so cannot be loaded" in why and "install flyweight again" in why


def test_none_leaves_it_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWEIGHT_KERNELS", "none")
    assert describe() == {"path": "none", "why": "FLYWEIGHT_KERNELS=none asks for none; unset it to use them"}
    with pytest.raises(KernelsError, match="asks for none; unset it"):
        library.load()


def compiled(source: str, folder: Path, *flags: str) -> Path:
    """``source`` compiled as C++ with the kernels' header."""
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    (folder / "source.cpp").write_text(source)
    made = folder / "made"
    command = [compiler, "-std=c++17", *flags, "-I", str(HEADER.parent), str(folder / "source.cpp"), "-o", str(made)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return made


def test_another_interface_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = compiled('extern "C" int fw_abi() { return 1000; }', tmp_path, "-shared", "-fPIC")
    monkeypatch.delenv("FLYWEIGHT_KERNELS", raising=False)
    monkeypatch.setenv("FLYWEIGHT_LIBRARY", str(other))
    assert f"was built for interface 1000, and this flyweight speaks {abi.FW_ABI}" in (library.why_not() or "")


def test_an_incomplete_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = compiled(f'extern "C" int fw_abi() {{ return {abi.FW_ABI}; }}', tmp_path, "-shared", "-fPIC")
    monkeypatch.delenv("FLYWEIGHT_KERNELS", raising=False)
    monkeypatch.setenv("FLYWEIGHT_LIBRARY", str(other))
    assert " lacks fw_error, fw_path, " in (library.why_not() or "")


def test_a_strange_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = compiled('extern "C" int other() { return 0; }', tmp_path, "-shared", "-fPIC")
    monkeypatch.delenv("FLYWEIGHT_KERNELS", raising=False)
    monkeypatch.setenv("FLYWEIGHT_LIBRARY", str(other))
    assert "is no library of flyweight's" in (library.why_not() or "")


STRUCTURES = {
    "fw_pool": abi.Pool,
    "fw_matrix": abi.Matrix,
    "fw_window": abi.Window,
    "fw_conv_spec": abi.ConvSpec,
    "fw_linear_spec": abi.LinearSpec,
    "fw_depthwise_spec": abi.DepthwiseSpec,
    "fw_block_spec": abi.BlockSpec,
    "fw_qconv_spec": abi.QConvSpec,
    "fw_qdepthwise_spec": abi.QDepthwiseSpec,
    "fw_qmaxpool_spec": abi.QMaxPoolSpec,
    "fw_qmean_spec": abi.QMeanSpec,
    "fw_qadd_spec": abi.QAddSpec,
    "fw_attention_spec": abi.AttentionSpec,
}


def test_every_structure_of_the_header_is_mirrored() -> None:
    assert set(re.findall(r"typedef struct (fw_\w+) {", HEADER.read_text())) == set(STRUCTURES)


def test_structures_lie_as_in_c(tmp_path: Path) -> None:
    """Sizes and offsets of every field, by the compiler that compiles the library."""
    names = [(structure, field[0]) for structure, mirror in STRUCTURES.items() for field in mirror._fields_]
    places = "".join(f'std::printf("%zu\\n", offsetof({structure}, {field}));' for structure, field in names)
    sizes = "".join(f'std::printf("%zu\\n", sizeof({structure}));' for structure in STRUCTURES)
    source = f"#include <cstddef>\n#include <cstdio>\n#include <flyweight_kernels.h>\nint main() {{ {places} {sizes} }}"
    made = compiled(source, tmp_path)
    theirs = [int(line) for line in subprocess.run([made], check=True, capture_output=True, text=True).stdout.split()]
    ours = [getattr(STRUCTURES[structure], field).offset for structure, field in names]
    assert theirs == ours + [ctypes.sizeof(mirror) for mirror in STRUCTURES.values()]


def test_every_function_of_the_header_is_declared() -> None:
    declared = set(re.findall(r"FW_EXPORT[^;(]*?(fw_\w+)\(", HEADER.read_text()))
    assert declared == set(abi.FUNCTIONS)


def test_numbers_of_the_header_are_ours() -> None:
    text = HEADER.read_text()
    assert re.findall(r"#define FW_ABI (\d+)", text) == [str(abi.FW_ABI)]
    names = re.findall(r"FW_(NONE|RELU|RELU6|HARDSWISH|GELU) = (\d)", text)
    assert [name.lower() for name in abi.ACTIVATIONS] == [name.lower().replace("none", "") for name, _ in names]
    assert [int(number) for _, number in names] == list(range(len(abi.ACTIVATIONS)))


def test_the_domain_is_one_in_python_and_in_cpp() -> None:
    texts = [file.read_text() for file in (NATIVE / "ort").rglob("*.*")]
    assert sum(f'"{library.DOMAIN}"' in text for text in texts) == 1


def test_opens_without_torch() -> None:
    code = "import sys, flyweight.kernels.library as l; l.available(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@built
def test_the_library_gives_its_path() -> None:
    assert flyweight.kernels_library() == str(library.path())
    told = describe()
    assert told["path"] in ("avx512", "avx2", "portable")
    assert told["threads"] >= 1
    assert told["library"] == flyweight.kernels_library()


def asked(path: str) -> str:
    """What a process that is told to take ``path`` says of its kernels."""
    code = "from flyweight.kernels.describe import describe; told = describe(); print(told['path'], told['why'])"
    environment = {**os.environ, "FLYWEIGHT_KERNELS": path}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@built
def test_a_path_can_be_forced() -> None:
    assert asked("portable") == "portable FLYWEIGHT_KERNELS=portable asks for it"
    assert asked("none").startswith("none ")


@built
def test_a_path_that_is_not_known_is_told() -> None:
    assert 'FLYWEIGHT_KERNELS is "sse9". Set it to avx512, avx2, portable or none' in asked("sse9")


@built
@pytest.mark.parametrize("name", ["fw_peak_gflops", "fw_peak_int8_gops"])
def test_peaks_are_measured(name: str) -> None:
    peak = getattr(library.load(), name)()
    assert 0.1 < peak < 1e5


@built
def test_reading_is_measured() -> None:
    opened = library.load()
    assert opened.fw_read_gbytes(16 << 10) > opened.fw_read_gbytes(64 << 20) > 0.1
    assert opened.fw_read_gbytes(1) == -1
    assert b"Give from 512" in opened.fw_error()
