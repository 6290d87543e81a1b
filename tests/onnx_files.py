"""ONNX files for tests, written node by node, so that every count can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Free = str | int


def write(
    path: Path,
    nodes: Sequence[Any],
    inputs: dict[str, Sequence[Free]],
    outputs: dict[str, Sequence[Free]],
    constants: dict[str, np.ndarray],
    kind: int = TensorProto.FLOAT,
    gives: int = TensorProto.FLOAT,
) -> Path:
    """Writes a graph of ``nodes`` at opset 18, IR 10; names in shapes are free sizes."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(n, kind, list(s)) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, gives, list(s)) for n, s in outputs.items()],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def conv_net(path: Path, channels: int = 8, batch: Free = "n", seed: int = 0) -> Path:
    """``x (n, 3, 8, 8)`` → 3×3 convolution → ReLU → global mean → 5 logits."""
    random = np.random.default_rng(seed)
    return write(
        path,
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"], "relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
            helper.make_node("Flatten", ["p"], ["f"], "flat"),
            helper.make_node("Gemm", ["f", "v", "d"], ["y"], "head", transB=1),
        ],
        {"x": [batch, 3, 8, 8]},
        {"y": [batch, 5]},
        {
            "w": random.standard_normal((channels, 3, 3, 3)).astype(np.float32),
            "b": np.zeros(channels, np.float32),
            "v": random.standard_normal((5, channels)).astype(np.float32),
            "d": np.zeros(5, np.float32),
        },
    )


def quantized_net(path: Path, channels: int = 8) -> Path:
    """:func:`conv_net` with int8 weights, uint8 activations, and a softmax after it that stays float."""
    random = np.random.default_rng(0)
    scale, zero = np.float32(0.05), np.uint8(128)
    constants: dict[str, np.ndarray] = {
        "w": random.integers(-127, 128, (channels, 3, 3, 3)).astype(np.int8),
        "ws": np.full(channels, 0.01, np.float32),
        "wz": np.zeros(channels, np.int8),
        "b": np.zeros(channels, np.int32),
        "bs": np.full(channels, 0.0005, np.float32),
        "v": random.integers(-127, 128, (5, channels)).astype(np.int8),
        "vs": np.float32(0.01),
        "vz": np.int8(0),
        "s": scale,
        "z": zero,
        "low": np.uint8(0),
    }

    def edge(source: str, target: str, zero: str = "z") -> list[Any]:
        return [
            helper.make_node("QuantizeLinear", [source, "s", zero], [f"{target}_q"], f"{target}_q"),
            helper.make_node("DequantizeLinear", [f"{target}_q", "s", zero], [target], f"{target}_dq"),
        ]

    nodes = [
        *edge("x", "xd"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "w_dq", axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["bd"], "b_dq", axis=0),
        helper.make_node("Conv", ["xd", "wd", "bd"], ["c"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        *edge("r", "rd", "low"),
        helper.make_node("MaxPool", ["rd"], ["m"], "pool", kernel_shape=[8, 8]),
        helper.make_node("Flatten", ["m"], ["f"], "flat"),
        helper.make_node("DequantizeLinear", ["v", "vs", "vz"], ["vd"], "v_dq"),
        helper.make_node("Gemm", ["f", "vd"], ["g"], "head", transB=1),
        *edge("g", "gd"),
        helper.make_node("Softmax", ["gd"], ["y"], "softmax"),
    ]
    return write(path, nodes, {"x": ["n", 3, 8, 8]}, {"y": ["n", 5]}, constants)
