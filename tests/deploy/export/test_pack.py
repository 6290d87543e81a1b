import importlib

import numpy as np
import pytest

from flyweight.deploy.export.pack import pack

onnx = importlib.import_module("onnx")
ort = importlib.import_module("onnxruntime")


@pytest.mark.parametrize(("bits", "kind", "opset"), [(4, "INT4", 21), (3, "INT4", 21), (2, "INT2", 25), (5, None, 18)])
@pytest.mark.parametrize("count", [1, 5, 8])
def test_the_runtime_reads_the_codes_that_were_packed(bits, kind, opset, count):
    high = 2 ** (bits - 1) - 1
    codes = np.random.default_rng(bits).integers(-high, high + 1, (count, 3)).astype(np.int8)
    name = f"layer.codes{bits}"
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Cast", [name], ["y"], to=onnx.TensorProto.FLOAT)],
        "g",
        [],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(codes, name)],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    pack(proto, {} if kind is None else {bits: kind})
    (tensor,) = proto.graph.initializer
    width = 8 if kind is None else int(kind[3:])
    assert len(tensor.raw_data) == -(-count * 3 * width // 8)
    assert np.array_equal(ort.InferenceSession(proto.SerializeToString()).run(None, {})[0], codes.astype(np.float32))


def test_other_tensors_stay():
    tensors = [onnx.numpy_helper.from_array(np.zeros(4, np.int8), name) for name in ("codes4x", "mycodes4", "w")]
    graph = onnx.helper.make_graph([], "g", [], [], tensors)
    proto = onnx.helper.make_model(graph)
    pack(proto, {4: "INT4"})
    assert all(t.data_type == onnx.TensorProto.INT8 for t in proto.graph.initializer)
