"""ONNX Runtime: right numbers, ports, times by operation, no torch, and errors that name the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnx_files
from flyweight.core.errors import ArtifactError, MissingExtraError, ShapeError
from flyweight.deploy.runtimes.onnxruntime import open_session
from flyweight.kernels.library import DOMAIN, available


def by_numpy(path: Path, x: np.ndarray) -> np.ndarray:
    """``onnx_files.conv_net`` in loops."""
    w, b, v, d = (onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    c = np.empty((len(x), len(w), 8, 8), np.float32)
    for i in range(8):
        for j in range(8):
            c[:, :, i, j] = np.einsum("nchw,ochw->no", padded[:, :, i : i + 3, j : j + 3], w) + b
    return np.maximum(c, 0).mean((2, 3)) @ v.T + d


def test_it_computes_what_numpy_does_for_any_batch(tmp_path: Path) -> None:
    path = onnx_files.conv_net(tmp_path / "m.onnx")
    session = open_session(path, threads=1)
    assert [str(p) for p in session.inputs] == ["x: float32[?, 3, 8, 8]"]
    assert [str(p) for p in session.outputs] == ["y: float32[?, 5]"]
    for batch in (1, 3):
        x = np.random.default_rng(batch).standard_normal((batch, 3, 8, 8), np.float32)
        (y,) = session(x)
        np.testing.assert_allclose(y, by_numpy(path, x), rtol=1e-5, atol=1e-5)


def test_times_by_operation_tell_what_runs(tmp_path: Path) -> None:
    x = np.zeros((1, 3, 8, 8), np.float32)
    times = open_session(onnx_files.conv_net(tmp_path / "f.onnx")).op_times([x], 5)
    assert times.keys() >= {"Conv", "GlobalAveragePool"} or {"Conv", "Gemm"} <= times.keys()
    assert all(t > 0 for t in times.values())
    integer = open_session(onnx_files.quantized_net(tmp_path / "q.onnx")).op_times([x], 5)
    assert {"QLinearConv", "Softmax"} <= integer.keys()
    assert "Conv" not in integer


def test_nothing_imports_torch() -> None:
    code = (
        "import sys\n"
        "import flyweight.deploy.runtimes.open, flyweight.deploy.runtimes.onnxruntime as o\n"
        "import flyweight.deploy.runtimes.openvino, flyweight.measure.probe, flyweight.measure.footprint\n"
        "o.library()\n"
        "assert 'onnxruntime' in sys.modules\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("content", [b"", b"rubbish" * 50], ids=["empty", "rubbish"])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"ONNX Runtime [\d.]+ cannot open .*broken\.onnx \(\d+ bytes\): .*whole"):
        open_session(path)


def test_missing_files_unknown_operations_and_threads(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there is no file .*gone\.onnx"):
        open_session(tmp_path / "gone.onnx")
    path = onnx_files.conv_net(tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"threads=0\. Give 1 or more"):
        open_session(path, threads=0)
    model = onnx.load(path)
    model.graph.node[1].op_type = "Frobnicate"
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="Frobnicate"):
        open_session(path)


@pytest.mark.parametrize(
    "arrays", [[], [np.zeros((1, 3, 9, 9), np.float32)], [np.zeros((1, 3, 8, 8))]], ids=["none", "shape", "type"]
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: list[np.ndarray]) -> None:
    session = open_session(onnx_files.conv_net(tmp_path / "m.onnx"))
    with pytest.raises(ShapeError, match=r"m\.onnx cannot be called with .*; it takes x: float32\[\?, 3, 8, 8\]"):
        session(*arrays)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="pip install onnxruntime"):
        open_session(onnx_files.conv_net(tmp_path / "m.onnx"))


def ours(path: Path) -> Path:
    """A file with an operation of the sparse kernels."""
    onnx_files.conv_net(path)
    model = onnx.load(path)
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    model.graph.node[1].CopyFrom(onnx.helper.make_node("Frobnicate", ["c"], ["r"], domain=DOMAIN))
    onnx.save(model, path)
    return path


def test_a_file_that_needs_the_kernels_says_so_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWEIGHT_KERNELS", "none")
    with pytest.raises(
        ArtifactError,
        match=r"m\.onnx runs on flyweight's sparse kernels, which are not used here: FLYWEIGHT_KERNELS=none asks for "
        r'none; unset it.* take the plain file of the same model: .*\.plain\.onnx.*kernels="none"',
    ):
        open_session(ours(tmp_path / "m.onnx"))


def test_a_library_that_onnxruntime_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyweight.deploy.runtimes.onnxruntime.why_not", lambda: None)
    monkeypatch.setattr("flyweight.deploy.runtimes.onnxruntime.kernels_library", lambda: str(tmp_path / "gone.so"))
    with pytest.raises(ArtifactError, match=r"not used here: ONNX Runtime cannot take them in \(.*gone\.so"):
        open_session(ours(tmp_path / "m.onnx"))


@pytest.mark.skipif(not available(), reason="the native kernels are not built")
def test_an_operation_that_the_library_has_not(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="Frobnicate"):
        open_session(ours(tmp_path / "m.onnx"))
