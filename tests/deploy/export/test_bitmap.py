"""Zeros left out of a file come back when it is opened, and nothing else changes."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.deploy.export.bitmap import bitmap
from flyweight.deploy.export.pack import pack
from flyweight.deploy.export.slim import slim

onnx = importlib.import_module("onnx")
ort = importlib.import_module("onnxruntime")
reference = importlib.import_module("onnx.reference")
make = onnx.helper.make_node


def holding(weights, opset=18):
    """A file whose outputs are its weights, as float32, plus an input of zero."""
    outputs = [f"y{i}" for i in range(len(weights))]
    nodes = [
        node
        for (name, _), out in zip(weights.items(), outputs, strict=True)
        for node in (
            make("Cast", [name], [f"{out}.f"], to=onnx.TensorProto.FLOAT),
            make("Add", ["x", f"{out}.f"], [out]),
        )
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])],
        [
            onnx.helper.make_tensor_value_info(out, onnx.TensorProto.FLOAT, w.shape)
            for out, w in zip(outputs, weights.values(), strict=True)
        ],
        [onnx.numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


def run(proto, optimized=None):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(proto.SerializeToString(), options).run(None, {"x": np.zeros(1, np.float32)})


def pruned(shape, ratio, tile=(1, 1), kind=np.float32, seed=0):
    """Random numbers, none of them zero, of which random tiles were taken away."""
    random = np.random.default_rng(seed)
    weight = (random.integers(1, 7, shape) * random.choice([-1, 1], shape)).astype(kind)
    matrix = weight.reshape(len(weight), -1)
    grid = [-(-n // t) for n, t in zip(matrix.shape, tile, strict=True)]
    gone = np.kron(random.random(grid) < ratio, np.ones(tile, bool))[: matrix.shape[0], : matrix.shape[1]]
    matrix[gone] = 0
    return weight


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([(40, 50), (37, 23, 3, 3), (64, 5, 3), (3, 999), (1, 2000), (2000, 1)]),
    st.sampled_from([(1, 1), (2, 1), (4, 1), (16, 1), (4, 4), (3, 9)]),
    st.sampled_from([0.0, 0.3, 0.5, 0.8, 0.9, 0.97, 0.995, 1.0]),
    st.sampled_from([32, 16, 8, 4, 3, 2]),
    st.booleans(),
)
def test_weights_come_back_exactly_and_the_file_never_grows(shape, tile, ratio, bits, transposed):
    kind = {32: np.float32, 16: np.float16}.get(bits, np.int8)
    weight = pruned(shape, ratio, tile, kind)
    if bits < 8:
        weight = np.clip(weight, -(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1)
    if transposed:
        weight = np.ascontiguousarray(weight.reshape(len(weight), -1).T)
    name = f"w.codes{bits}" if bits <= 8 else "w"
    widths = {2: {2: "INT2"}, 3: {3: "INT4"}, 4: {4: "INT4"}}.get(bits, {})
    dense, sparse = (holding({name: weight}, {2: 25}.get(bits, 21)) for _ in range(2))
    left = bitmap(sparse, {tile}, widths)
    for proto in (dense, sparse):
        pack(proto, widths)
        slim(proto)
        onnx.checker.check_model(proto)
    (found,) = run(sparse)
    assert np.array_equal(found, weight.astype(np.float32))
    if bits > 4:  # its own evaluator does not know narrow types
        (found,) = reference.ReferenceEvaluator(sparse).run(None, {"x": np.zeros(1, np.float32)})
        assert np.array_equal(found, weight.astype(np.float32))
    sizes = [len(p.SerializeToString()) for p in (sparse, dense)]
    assert sizes[0] < sizes[1] if left.weights else sizes[0] == sizes[1]
    assert left.elements == weight.size
    assert left.zeros == (weight == 0).sum()


@pytest.mark.parametrize(("kind", "most"), [(np.float32, 0.133), (np.int8, 0.2)])
def test_nine_tenths_of_zeros_take_as_much_as_they_should(kind, most):
    weight = pruned((256, 1152), 0.9, kind=kind)
    proto = holding({"w": weight})
    bitmap(proto)
    assert len(proto.SerializeToString()) < most * weight.nbytes


def test_blocks_take_fewer_bits_than_their_elements():
    weight = pruned((256, 1152), 0.9, (4, 1), np.int8)
    sizes = {}
    for blocks in ((), {(4, 1)}, {(16, 1)}):
        proto = holding({"w": weight})
        left = bitmap(proto, blocks)
        sizes[tuple(blocks)] = len(proto.SerializeToString())
        assert left.blocks == {(4, 1) if (4, 1) in blocks else (1, 1)}, "the best of those there are"
    assert sizes[(4, 1),] < 0.135 * weight.nbytes
    assert sizes[(4, 1),] < sizes[()] == sizes[(16, 1),]


def test_the_runtime_puts_weights_together_when_it_opens_the_file(tmp_path):
    weights = {"a": pruned((64, 90), 0.9), "b.codes8": pruned((33, 50), 0.9, (4, 1), np.int8)}
    proto = holding(weights)
    assert bitmap(proto, {(4, 1)}).weights == 2
    slim(proto)
    run(proto, tmp_path / "optimized.onnx")
    assert {n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node} == {"Add"}


def test_several_weights_share_what_they_can():
    one, four = (holding({f"w{i}": pruned((40, 40), 0.9, seed=i) for i in range(n)}) for n in (1, 4))
    for proto in (one, four):
        bitmap(proto)
    kinds = [n.op_type for n in four.graph.node]
    assert (kinds.count("Range"), kinds.count("ConstantOfShape"), kinds.count("ScatterElements")) == (1, 1, 4)
    x = {"x": np.zeros(1, np.float32)}
    for i, found in enumerate(reference.ReferenceEvaluator(four).run(None, x)):
        assert np.array_equal(found, pruned((40, 40), 0.9, seed=i))


def test_small_vectors_and_other_types_stay():
    weights = {
        "small": pruned((4, 4), 0.9),
        "vector": np.zeros(4000, np.float32),
        "places": np.zeros((400, 4), np.int64),
        "full": np.ones((400, 4), np.float32),
    }
    proto = holding(weights)
    before = proto.SerializeToString()
    left = bitmap(proto, {(4, 1)})
    assert proto.SerializeToString() == before
    assert (left.weights, left.left, left.elements) == (0, 0, 16 + 1600)


def test_names_that_are_taken_stay_whose_they_are():
    weight = pruned((40, 50), 0.9)
    proto = holding({"z0": weight, "z3": 2 * weight})
    assert bitmap(proto).weights == 2
    first, second = run(proto)
    assert np.array_equal(first, weight)
    assert np.array_equal(second, 2 * weight)
