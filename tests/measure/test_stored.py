"""What a file stores of a weight whose zeros it leaves out, and what of one whose zeros it stores: the same weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnx_files
from flyweight.deploy.export.bitmap import bitmap
from flyweight.deploy.export.pack import pack
from flyweight.measure.float_nodes import float_nodes
from flyweight.measure.graph import Graph, read_graph
from flyweight.measure.macs import macs
from flyweight.measure.parameters import parameters, place_bytes, weight_bytes, zero_share
from flyweight.measure.stored import Stored, nonzero, places, stored

_CHANNELS = 800


def _pruned(path: Path, ratio: float) -> None:
    """Zeroes that share of the weights of two dimensions or more in the file, in blocks of two outputs."""
    model = onnx.load(path)
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("w", "v"):
            values = np.where(values == 0, 1, values).astype(values.dtype)
            matrix = values.reshape(len(values), -1)
            gone = np.repeat(random.random((-(-len(matrix) // 2), matrix.shape[1])) < ratio, 2, 0)[: len(matrix)]
            matrix[gone] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)


def _both(path: Path, blocks: set[tuple[int, int]]) -> tuple[Graph, Graph]:
    """The file as it is, and without its zeros."""
    model = onnx.load(path)
    assert bitmap(model, blocks).weights == 2
    onnx.checker.check_model(model)
    sparse = path.with_suffix(".sparse.onnx")
    onnx.save(model, sparse)
    return read_graph(path), read_graph(sparse)


@pytest.mark.parametrize("blocks", [set(), {(2, 1)}], ids=["elements", "blocks"])
@pytest.mark.parametrize("kind", ["float", "int8"])
def test_zeros_count_alike_whether_they_are_stored_or_left_out(
    tmp_path: Path, kind: str, blocks: set[tuple[int, int]]
) -> None:
    path = tmp_path / "m.onnx"
    if kind == "float":
        onnx_files.conv_net(path, _CHANNELS)
    else:
        onnx_files.quantized_net(path, _CHANNELS)
    _pruned(path, 0.8)
    dense, sparse = _both(path, blocks)
    w, v = (numpy_helper.to_array(dense.constants[n]) for n in ("w", "v"))
    kept = np.count_nonzero(w) + np.count_nonzero(v)
    rest = parameters(dense) - w.size - v.size
    # Five rows in pairs leave a pair cut short.
    assert parameters(sparse) == kept + rest
    assert weight_bytes(sparse) == w.itemsize * kept + 4 * rest
    tiles = (w.size // (16 if blocks else 8), 3 * _CHANNELS // 8 if blocks else v.size // 8)
    assert 0 < place_bytes(sparse) - sum(tiles) < 300, "the bitmaps and what reads them"
    assert place_bytes(dense) == 0
    assert zero_share(sparse) == pytest.approx(zero_share(dense))
    a, b = macs(dense), macs(sparse)
    assert (a.count, a.nonzero, a.uncounted) == (b.count, b.nonzero, b.uncounted)
    assert a.count == 64 * w.size + v.size
    assert a.nonzero == 64 * np.count_nonzero(w) + np.count_nonzero(v)
    assert float_nodes(dense) == float_nodes(sparse)


def test_packed_codes_count_each(tmp_path: Path) -> None:
    path = onnx_files.quantized_net(tmp_path / "m.onnx", _CHANNELS)
    model = onnx.load(path)
    for node in model.graph.node:
        node.input[:] = [f"{n}.codes4" if n in ("w", "v") else n for n in node.input]
    for tensor in model.graph.initializer:
        if tensor.name in ("w", "v"):
            values = np.clip(numpy_helper.to_array(tensor), -7, 7)
            kept = np.arange(values.size).reshape(values.shape) % 4 == 0
            values = np.where(kept, np.where(values == 0, 1, values), 0).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(values, f"{tensor.name}.codes4"))
    model.opset_import[0].version = 21
    assert bitmap(model, (), {4: "INT4"}).weights == 2
    pack(model, {4: "INT4"})
    onnx.save(model, path)
    graph = read_graph(path)
    kept = _CHANNELS * 32 // 4
    assert parameters(graph) == kept + _CHANNELS
    assert weight_bytes(graph) == kept // 2 + 4 * _CHANNELS
    assert zero_share(graph) == pytest.approx((3 * kept + _CHANNELS) / (4 * kept + _CHANNELS))
    assert macs(graph).nonzero == (64 * _CHANNELS * 27 + _CHANNELS * 5) // 4


def test_the_way_from_a_weight_to_what_is_stored(tmp_path: Path) -> None:
    make = helper.make_node
    path = onnx_files.write(
        tmp_path / "m.onnx",
        [
            make("Transpose", ["w"], ["t"]),
            make("MatMul", ["x", "t"], ["a"]),
            make("Mul", ["w", "w"], ["square"]),
            make("MatMul", ["a", "square"], ["b"]),
            make("NonZero", ["b"], ["places"]),
            make("ScatterND", ["zero", "place", "kept"], ["line"]),
            make("Reshape", ["line", "shape"], ["u"]),
            make("MatMul", ["b", "u"], ["y"]),
        ],
        {"x": ["n", 4]},
        {"y": ["n", 2]},
        {
            "w": np.eye(4, dtype=np.float32),
            "zero": np.zeros(8, np.float32),
            "place": np.array([[1], [6]]),
            "kept": np.array([3, 4], np.float32),
            "shape": np.array([4, 2]),
        },
    )
    graph = read_graph(path)
    assert stored(graph, "w") == stored(graph, "t") == Stored("w", 16, sparse=False)
    assert stored(graph, "u") == Stored("kept", 8, sparse=True)
    assert stored(graph, "square") is None, "no stored number stands in it"
    assert stored(graph, "a") is None, "the input changes it"
    assert nonzero(graph, "w") == 4
    assert places(graph) == frozenset(), "what is looked for in activations is no bitmap"
    assert macs(graph).nonzero == 4 + 16 + 2
    assert [n.op_type for n in graph.live] == ["MatMul", "MatMul", "NonZero", "MatMul"]


def test_what_is_drawn_or_holds_a_graph_is_computed_at_each_call(tmp_path: Path) -> None:
    make = helper.make_node
    inner = helper.make_graph(
        [make("Identity", ["x"], ["inner"])], "g", [], [helper.make_tensor_value_info("inner", 1, None)]
    )
    path = onnx_files.write(
        tmp_path / "m.onnx",
        [
            make("RandomNormalLike", ["w"], ["r"]),
            make("If", ["yes"], ["i"], then_branch=inner, else_branch=inner),
            make("Add", ["i", "r"], ["y"]),
        ],
        {"x": ["n", 4]},
        {"y": ["n", 4]},
        {"w": np.zeros((1, 4), np.float32), "yes": np.array(True)},
    )
    graph = read_graph(path)
    assert [n.op_type for n in graph.live] == ["RandomNormalLike", "If", "Add"]
    assert graph.fixed == {"w", "yes"}


def test_weights_outside_the_file_have_no_count_of_zeros(tmp_path: Path) -> None:
    inside = onnx_files.conv_net(tmp_path / "in.onnx", channels=400)
    outside = tmp_path / "out.onnx"
    onnx.save(onnx.load(inside), outside, save_as_external_data=True, location="out.bin", size_threshold=0)
    found = macs(read_graph(outside))
    assert found.count == macs(read_graph(inside)).count
    assert found.nonzero is None
    assert nonzero(read_graph(outside), "w") is None


@pytest.mark.parametrize(("ground", "known"), [(0.0, True), (1.0, False)])
@pytest.mark.parametrize("written", [True, False], ids=["constant", "made"])
def test_numbers_put_among_others_are_no_sparse_weight(
    tmp_path: Path, ground: float, known: bool, written: bool
) -> None:
    """Another tool's file may scatter a correction into a dense weight: what is not scattered is not zero then."""
    constants = {"i": np.array([[0, 1]]), "u": np.ones((1, 2), np.float32), "s": np.array([1, 8])}
    nodes = [helper.make_node("ScatterElements", ["d", "i", "u"], ["w"], axis=1)]
    nodes.append(helper.make_node("MatMul", ["x", "w"], ["y"]))
    if written:
        constants["d"] = np.full((1, 8), ground, np.float32)
    else:
        value = numpy_helper.from_array(np.array([ground], np.float32))
        nodes.insert(0, helper.make_node("ConstantOfShape", ["s"], ["d"], value=value))
    ports = [helper.make_tensor_value_info(n, 1, ["n", size]) for n, size in (("x", 1), ("y", 8))]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    path = tmp_path / "put.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    read = read_graph(path)
    assert stored(read, "w") == (Stored("u", 8, True) if known else None)
    assert macs(read).nonzero == (2 if known else 8)
