import importlib
import itertools

import numpy as np

from flyweight.deploy.export.slim import _names, module_path, slim

onnx = importlib.import_module("onnx")
ort = importlib.import_module("onnxruntime")
helper = onnx.helper


def traced(kind, inputs, outputs, scopes, **attributes):
    node = helper.make_node(kind, inputs, outputs, doc_string="long", **attributes)
    entry = node.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", str(["", *scopes, "op"])
    return node


def model(nodes, tensors, inputs=("x",), outputs=("y",)):
    values = [
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["s7", 1, 4, 4]) for name in names]
        for names in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "a long name", *values, tensors, doc_string="longer")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def constant(name, values, dtype=np.float32):
    return onnx.numpy_helper.from_array(np.array(values, dtype), name)


def example():
    return model(
        [
            traced("Conv", ["x", "w"], ["c"], ["net", "net.conv"], pads=[1, 1, 1, 1], strides=[1, 1], group=1),
            traced("Relu", ["c"], ["r"], ["net"]),
            traced("Mul", ["r", "two"], ["m"], ["net", "net.conv"]),
            traced("Add", ["m", "other"], ["y"], []),
        ],
        [constant("w", np.ones((1, 1, 3, 3))), constant("two", 2), constant("other", 2), constant("idle", 5)],
    )


def test_it_computes_what_it_computed():
    proto = example()
    x = np.random.default_rng(0).standard_normal((3, 1, 4, 4)).astype(np.float32)
    before = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]
    size = proto.ByteSize()
    slim(proto)
    onnx.checker.check_model(proto)
    assert np.array_equal(ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0], before)
    assert proto.ByteSize() < size / 2


def test_what_no_runtime_reads_is_gone():
    proto = example()
    slim(proto)
    graph = proto.graph
    assert [n.name for n in graph.node] == ["", "", "net.conv", ""], "net's last node is one of its convolution"
    assert [a.name for a in graph.node[0].attribute] == ["pads"]
    assert [t.name for t in graph.initializer] == [graph.node[0].input[1], graph.node[2].input[1]]
    assert graph.node[2].input[1] == graph.node[3].input[1], "equal constants are one"
    assert [v.name for v in (*graph.input, *graph.output)] == ["x", "output"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert not any(n.doc_string or n.metadata_props for n in graph.node)


def test_several_outputs_are_numbered():
    proto = model([traced("Relu", ["x"], ["y"], []), traced("Neg", ["y"], ["z"], [])], [], outputs=("y", "z"))
    slim(proto)
    assert [v.name for v in proto.graph.output] == ["output_0", "output_1"]
    assert proto.graph.node[1].input[0] == "output_0"


def test_short_names_never_repeat_nor_take_a_taken_one():
    names = list(itertools.islice(_names({"3", "0z"}), 1500))
    assert len(set(names)) == 1500
    assert not {"3", "0z"} & set(names)
    assert max(map(len, names)) == 3


def test_the_weight_of_a_chain_belongs_to_its_module():
    node = traced("DequantizeLinear", ["a"], ["b"], ["fc", "fc.parametrizations.weight"])
    assert module_path(node) == "fc"
    assert module_path(helper.make_node("Relu", ["a"], ["b"])) == ""
