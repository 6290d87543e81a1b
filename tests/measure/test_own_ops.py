"""The sparse kernels' operations have the sizes of the layers that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flyweight.kernels.library import DOMAIN
from flyweight.measure.graph import read_graph
from flyweight.measure.own_ops import Skipping, skipping

WINDOW = {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 2, 1, 2]}


def file(
    path: Path, nodes: list[Any], shape: list[Any], constants: dict[str, Any], kind: int = TensorProto.FLOAT
) -> Path:
    """A file of ``nodes`` of ours, whose first input is ``x`` of a ``shape``; its outputs have no recorded sizes."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def node(op: str, read: list[str], output: str = "y", **attributes: Any) -> Any:
    made = helper.make_node(op, read, [output], domain=DOMAIN)
    made.attribute.extend(helper.make_attribute(n, v) for n, v in attributes.items())
    return made


TILES = {"v": np.ones(8, np.float32), "k": np.zeros(4, np.uint8), "w": np.ones((6, 1, 3, 5), np.float32)}
MATRIX = {"rows": 10, "inputs": 6, "block": [4, 1]}
CASES: dict[str, tuple[Any, list[Any], tuple[int, ...], int]] = {
    "conv": (
        node("SparseConv", ["x", "v", "k"], kernel_shape=[3, 5], **MATRIX, **WINDOW),
        ["n", 6, 9, 11],
        (3, 10, 5, 7),
        1,
    ),
    "pointwise": (node("SparseConv", ["x", "v", "k"], **MATRIX), ["n", 6, 9, 11], (3, 10, 9, 11), 1),
    "linear": (node("SparseLinear", ["x", "v", "k"], **MATRIX), ["n", 7, 6], (3, 7, 10), 1),
    "depthwise": (node("Depthwise", ["x", "w"], **WINDOW), ["n", 6, 9, 11], (3, 6, 5, 7), 1),
    "block": (
        node("SparseBlock", ["x", "v", "k", "", "w", "", "v", "k"], expand_rows=6, rows=10, inputs=4, **WINDOW),
        ["n", 4, 9, 11],
        (3, 10, 5, 7),
        1,
    ),
    "attention": (node("Attention", ["x", "x", "x"], heads=2, size=3), ["n", 7, 6], (3, 7, 6), 1),
    "attention, joined": (node("Attention", ["x"], heads=2, size=3), ["n", 7, 18], (3, 7, 6), 1),
    "normalization": (node("LayerNorm", ["x", "v"]), ["n", 7, 8], (3, 7, 8), 1),
    "integers": (
        node("QSparseConv", ["x", "v", "k"], kernel_shape=[3, 5], **MATRIX, **WINDOW),
        ["n", 2, 9, 11, 4],
        (3, 3, 5, 7, 4),
        2,
    ),
    "integers, depthwise": (node("QDepthwise", ["x", "w"], **WINDOW), ["n", 2, 9, 11, 4], (3, 2, 5, 7, 4), 2),
    "pool": (
        node("QMaxPool", ["x"], channels=6, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        ["n", 2, 9, 11, 4],
        (3, 2, 5, 6, 4),
        2,
    ),
    "mean": (node("QMean", ["x"], channels=6), ["n", 2, 9, 11, 4], (3, 2, 1, 1, 4), 2),
    "sum": (node("QAdd", ["x", "x"]), ["n", 2, 9, 11, 4], (3, 2, 9, 11, 4), 2),
    "packed": (node("Pack4", ["x"]), ["n", 6, 9, 11], (3, 2, 9, 11, 4), 2),
    "rounded and packed": (node("Quantize4", ["x"], scale=0.1, zero=3), ["n", 6, 9, 11], (3, 2, 9, 11, 4), 1),
    "unpacked": (node("Unpack4", ["x"], channels=6), ["n", 2, 9, 11, 4], (3, 6, 9, 11), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_sizes(name: str, tmp_path: Path) -> None:
    made, shape, expected, kind = CASES[name]
    graph = read_graph(file(tmp_path / "m.onnx", [made], shape, TILES, kind), batch=3)
    assert graph.shapes["y"] == expected
    assert [n.op_type for n in graph.nodes] == [made.op_type], "the graph is told as it is"


def test_sizes_go_on_through_plain_operations(tmp_path: Path) -> None:
    nodes = [
        node("SparseConv", ["x", "v", "k"], "a", **MATRIX),
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        node("SparseLinear", ["c", "v", "k"], rows=3, inputs=10, block=[1, 1]),
    ]
    graph = read_graph(file(tmp_path / "m.onnx", nodes, ["n", 6, 9, 11], TILES), batch=2)
    assert [graph.shapes[n] for n in "abcy"] == [(2, 10, 9, 11), (2, 10, 1, 1), (2, 10), (2, 3)]


def test_the_weights_of_which_zeros_are_skipped() -> None:
    assert list(skipping(CASES["conv"][0])) == [Skipping("v", "k", 10 * 6 * 15)]
    assert list(skipping(CASES["block"][0])) == [Skipping("v", "k", 24), Skipping("v", "k", 60)]
    assert not list(skipping(CASES["depthwise"][0]))
    assert not list(skipping(helper.make_node("Conv", ["x", "v", "k"], ["y"])))
