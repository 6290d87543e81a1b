"""A layer alone in its file computes what torch's layer does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from flyweight.deploy.runtimes.onnxruntime import open_session
from flyweight.measure.geometry import Geometry
from flyweight.measure.graph import read_graph
from flyweight.measure.layer_file import write_layer
from flyweight.measure.macs import macs

_LAYERS = [
    (nn.Conv2d(6, 8, 3, stride=2, padding=(1, 0), groups=2), (6, 9, 8)),
    (nn.Conv2d(6, 6, 4, padding="same", groups=6), (6, 9, 8)),
    (nn.Conv1d(6, 8, 3, dilation=2), (6, 9)),
    (nn.Linear(6, 8), (6,)),
    (nn.Linear(6, 8), (5, 6)),
]


@pytest.mark.parametrize(("layer", "shape"), _LAYERS, ids=["strided", "same", "dilated", "linear", "sequence"])
def test_it_computes_what_torch_does(tmp_path: Path, layer: nn.Module, shape: Sequence[int]) -> None:
    geometry = Geometry.of(layer, shape)
    path = write_layer(tmp_path / "layer.onnx", geometry)
    onnx.checker.check_model(path, full_check=True)
    stored = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(path).graph.initializer}
    weight = stored["w"].T if len(shape) == 2 and isinstance(layer, nn.Linear) else stored["w"]
    layer.load_state_dict({"weight": weight, "bias": stored["b"]})
    x = torch.randn(3, *shape)
    (found,) = open_session(path)(x.numpy())
    with torch.no_grad():
        wanted = layer(x).numpy()
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert macs(read_graph(path)).count == geometry.macs


@pytest.mark.parametrize(("layer", "shape"), _LAYERS, ids=["strided", "same", "dilated", "linear", "sequence"])
def test_its_integers_have_integer_kernels(tmp_path: Path, layer: nn.Module, shape: Sequence[int]) -> None:
    path = write_layer(tmp_path / "layer.onnx", Geometry.of(layer, shape), integers=True)
    onnx.checker.check_model(path, full_check=True)
    session = open_session(path)
    times = session.op_times([np.ones((1, *shape), np.uint8)], 3)
    assert set(times) & {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"}
    assert not set(times) & {"Conv", "Gemm", "MatMul"}
