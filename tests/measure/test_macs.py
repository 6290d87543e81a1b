"""Multiply-accumulates: by hand, against torch's counter, and never a wrong number where something is unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import onnx_files
import tiny
from flyweight.measure.graph import read_graph
from flyweight.measure.macs import macs
from flyweight.measure.parameters import parameters


class Mixed(nn.Module):
    """A grouped, a strided, a dilated and a transposed convolution, a linear layer, and a product of activations."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, groups=2),
            nn.ReLU(),
            nn.Conv2d(8, 8, (3, 1), padding=2, dilation=2, groups=8),
            nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, groups=2),
        )
        self.head = nn.Linear(6, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.body(x).flatten(2).transpose(1, 2))
        return torch.softmax(x @ x.transpose(1, 2), -1)


def flops_by_torch(model: nn.Module, example: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model.to("meta")(example.to("meta"))
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    ("model", "example"),
    [(Mixed(), torch.zeros(2, 4, 16, 16)), (tiny.TinyResidual(), torch.zeros(2, 1, 8, 8))],
    ids=["mixed", "residual"],
)
def test_flops_of_torchs_counter_are_twice_the_macs(tmp_path: Path, model: nn.Module, example: torch.Tensor) -> None:
    model.eval()
    torch.onnx.export(
        model,
        (example,),
        tmp_path / "m.onnx",
        dynamo=True,
        external_data=False,
        verbose=False,
        opset_version=20,
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )
    found = [macs(read_graph(tmp_path / "m.onnx", batch)).count for batch in (1, 5)]
    assert found == [flops_by_torch(model, example[:1]) // 2] * 2


def naive_conv(x: tuple[int, ...], w: tuple[int, ...], stride: int, groups: int) -> int:
    """Counts every multiplication of a convolution without padding, one by one."""
    count = 0
    for _ in range(x[0] * w[0]):
        for i in range(0, x[2] - w[2] + 1, stride):
            for j in range(0, x[3] - w[3] + 1, stride):
                assert i + w[2] <= x[2]
                assert j + w[3] <= x[3]
                count += sum(1 for _ in range(x[1] // groups * w[2] * w[3]))
    return count


def test_a_convolution_counted_one_by_one(tmp_path: Path) -> None:
    w = np.zeros((6, 2, 3, 2), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], "c", kernel_shape=[3, 2], strides=[2, 2], group=2)
    path = onnx_files.write(tmp_path / "m.onnx", [node], {"x": ["n", 4, 9, 8]}, {"y": ["n", 6, 4, 4]}, {"w": w})
    assert macs(read_graph(path)).count == naive_conv((1, 4, 9, 8), w.shape, 2, 2)


def test_a_quantized_graph_counts_like_its_float_twin(tmp_path: Path) -> None:
    plain = macs(read_graph(onnx_files.conv_net(tmp_path / "f.onnx")))
    integer = macs(read_graph(onnx_files.quantized_net(tmp_path / "q.onnx")))
    assert plain.count == integer.count == 8 * 27 * 64 + 8 * 5
    assert plain.uncounted == ("Relu", "GlobalAveragePool")
    assert integer.uncounted[:2] == ("DequantizeLinear", "QuantizeLinear")
    assert {"Softmax", "Relu", "MaxPool"} <= set(integer.uncounted)
    assert "Flatten" not in integer.uncounted


def op(kind: str, inputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, ["y"], kind, **attributes)


def test_integer_operations_count(tmp_path: Path) -> None:
    weight = np.zeros((4, 3, 1, 1), np.int8)
    constants = {"s": np.float32(1), "z": np.uint8(0), "w": weight, "wz": np.int8(0)}
    node = op("QLinearConv", ["x", "s", "z", "w", "s", "wz", "s", "z"])
    codes = TensorProto.UINT8
    path = onnx_files.write(
        tmp_path / "m.onnx", [node], {"x": ["n", 3, 5, 5]}, {"y": ["n", 4, 5, 5]}, constants, codes, codes
    )
    graph = read_graph(path)
    assert macs(graph).count == 4 * 25 * 3
    assert parameters(graph) == 12


def test_a_transposed_gemm_and_a_batch_of_matrices(tmp_path: Path) -> None:
    gemm = op("Gemm", ["x", "w"], transA=1)
    path = onnx_files.write(
        tmp_path / "g.onnx", [gemm], {"x": [6, 4]}, {"y": [4, 5]}, {"w": np.zeros((6, 5), np.float32)}
    )
    graph = read_graph(path)
    assert graph.batch == 6
    assert macs(graph).count == 4 * 6 * 5 // 6
    matmul = op("MatMul", ["x", "w"])
    path = onnx_files.write(
        tmp_path / "m.onnx", [matmul], {"x": ["n", 3, 4, 6]}, {"y": ["n", 3, 4, 5]}, {"w": np.zeros((6, 5), np.float32)}
    )
    assert macs(read_graph(path, 2)).count == 3 * 4 * 6 * 5


def test_an_unknown_shape_gives_none_and_says_where(tmp_path: Path) -> None:
    node = op("MatMul", ["x", "w"])
    path = onnx_files.write(
        tmp_path / "m.onnx", [node], {"x": ["n", "t", 6]}, {"y": ["n", "t", 5]}, {"w": np.zeros((6, 5), np.float32)}
    )
    found = macs(read_graph(path))
    assert found.count is None
    assert found.why == "the shape of 'x', at MatMul 'MatMul', is unknown"
