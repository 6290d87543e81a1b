import importlib

import numpy as np
import pytest

from flyweight.deploy.export.rewrite import rewrite

onnx = importlib.import_module("onnx")
ort = importlib.import_module("onnxruntime")
node = onnx.helper.make_node


def model(nodes, tensors, shape, middle=()):
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [info("x", onnx.TensorProto.FLOAT, shape)],
        [info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items()],
        value_info=[info(k, onnx.TensorProto.FLOAT, v) for k, v in middle],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def run(proto, x):
    options = ort.SessionOptions()
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")  # float32, not int8 unasked
    return ort.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})[0]


def same_after(proto, x, integers=True):
    before = run(proto, x)
    rewrite(proto, integers)
    after = run(proto, x)
    assert after.shape == before.shape
    assert np.allclose(after, before, rtol=1e-5, atol=1e-5)
    return [n.op_type for n in proto.graph.node]


X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
GRID = {"s": np.float32(0.01), "z": np.uint8(128)}


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
@pytest.mark.parametrize("keep", [0, 1])
def test_an_average_over_space_becomes_a_pool(axes, keep):
    proto = model([node("ReduceMean", ["x", "a"], ["y"], keepdims=keep)], {"a": np.int64(axes)}, ["n", 3, 4, 5])
    assert same_after(proto, X) == ["GlobalAveragePool"] + ["Squeeze"] * (1 - keep)


@pytest.mark.parametrize("axes", [[1], [1, 2, 3], [2], [0, 2, 3]])
def test_any_other_average_stays(axes):
    proto = model([node("ReduceMean", ["x", "a"], ["y"], keepdims=1)], {"a": np.int64(axes)}, ["n", 3, 4, 5])
    assert same_after(proto, X) == ["ReduceMean"]


def test_the_rounding_comes_before_the_change_of_shape():
    nodes = [
        node("ReduceMean", ["x", "a"], ["m"], keepdims=0),
        node("QuantizeLinear", ["m", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    proto = model(nodes, {"a": np.int64([2, 3]), **GRID}, ["n", 3, 4, 5])
    assert same_after(proto, X) == ["GlobalAveragePool", "QuantizeLinear", "Squeeze", "DequantizeLinear"]


@pytest.mark.parametrize("integers", [True, False])
def test_a_transposed_weight_is_stored_transposed_for_integers_alone(integers):
    codes = np.random.default_rng(1).integers(-127, 128, (6, 5)).astype(np.int8)
    tensors = {"w": codes, "ws": np.arange(1, 7, dtype=np.float32)}
    nodes = [
        node("DequantizeLinear", ["w", "ws"], ["d"], axis=0),
        node("Transpose", ["d"], ["t"], perm=[1, 0]),
        node("MatMul", ["x", "t"], ["y"]),
    ]
    proto = model(nodes, tensors, ["n", 3, 4, 5])
    left = same_after(proto, X, integers)
    assert left == (["DequantizeLinear", "MatMul"] if integers else ["DequantizeLinear", "Transpose", "MatMul"])


def test_a_weight_that_is_read_twice_stays():
    codes = np.random.default_rng(1).integers(-127, 128, (5, 5)).astype(np.int8)
    nodes = [
        node("DequantizeLinear", ["w", "ws"], ["d"], axis=0),
        node("Transpose", ["d"], ["t"], perm=[1, 0]),
        node("MatMul", ["x", "t"], ["m"]),
        node("MatMul", ["m", "d"], ["y"]),
    ]
    proto = model(nodes, {"w": codes, "ws": np.full(5, 0.01, np.float32)}, ["n", 3, 4, 5])
    assert "Transpose" in same_after(proto, X)
