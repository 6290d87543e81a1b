"""OpenVINO: the same file, the same numbers in float32; without it, how to get it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnx_files
from flyweight.core.errors import ArtifactError, MissingExtraError, ShapeError
from flyweight.deploy.runtimes import onnxruntime
from flyweight.deploy.runtimes.openvino import open_session
from flyweight.kernels.library import DOMAIN

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is an extra")


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r'pip install "flyweight\[openvino\]"'):
        open_session(onnx_files.conv_net(tmp_path / "m.onnx"))


@needs_openvino
def test_it_computes_what_onnx_runtime_does(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3, 8, 8), np.float32)
    path = onnx_files.conv_net(tmp_path / "f.onnx", channels=64)
    session = open_session(path)
    (y,), (expected,) = session(x), onnxruntime.open_session(path)(x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)  # bfloat16 would be 1e-2 off
    assert [str(p) for p in session.inputs] == ["x: float32[?, 3, 8, 8]"]
    first = y.copy()
    session(np.zeros_like(x))
    assert np.array_equal(y, first)  # a second call does not overwrite the first's outputs


@needs_openvino
def test_integers_agree_to_a_step(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((64, 3, 8, 8), np.float32)
    path = onnx_files.quantized_net(tmp_path / "q.onnx")
    (y,), (expected,) = open_session(path)(x), onnxruntime.open_session(path)(x)
    assert (y.argmax(1) == expected.argmax(1)).mean() > 0.9
    assert open_session(path).op_times([x], 3)


@needs_openvino
def test_errors_name_the_file_and_what_it_takes(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"rubbish" * 50)
    with pytest.raises(ArtifactError, match=r"OpenVINO .* cannot open .*broken\.onnx"):
        open_session(path)
    with pytest.raises(ArtifactError, match="there is no file"):
        open_session(tmp_path / "gone.onnx")
    session = open_session(onnx_files.conv_net(tmp_path / "m.onnx"))
    for arrays in ([], [np.zeros((1, 3, 9, 9), np.float32)], [np.zeros((1, 3, 8, 8))]):
        with pytest.raises(ShapeError, match=r"it takes x: float32\[\?, 3, 8, 8\]"):
            session(*arrays)


def test_a_file_on_the_sparse_kernels_is_refused(tmp_path: Path) -> None:
    path = onnx_files.conv_net(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    onnx.save(model, path)
    with pytest.raises(
        ArtifactError,
        match=r"m\.onnx runs on .*sparse kernels, which ONNX Runtime alone .*\.plain\.onnx.*kernels=\"none\"",
    ):
        open_session(path)
