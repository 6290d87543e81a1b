"""GELU is found in the forms in which it is written out, and in no other."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flyweight.deploy.export.sparse.gelu import gelu
from flyweight.deploy.export.sparse.net import Net

ROOT = float(np.sqrt(2))


def net(nodes, outputs=("y",), one=1.0, half=0.5, root=ROOT):
    constants = {"one": one, "half": half, "root": root, "inverse": 1 / root}
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output]) for op, inputs, output in nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in outputs],
        [numpy_helper.from_array(np.float32(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    onnx.checker.check_model(model)
    return Net(model)


START = [("Div", ["x", "root"], "a"), ("Erf", ["a"], "b"), ("Add", ["b", "one"], "c")]
MULTIPLIED = [("Mul", ["inverse", "x"], "a"), ("Erf", ["a"], "b"), ("Add", ["one", "b"], "c")]
ENDS = {
    "half first": [("Mul", ["half", "c"], "d"), ("Mul", ["x", "d"], "y")],
    "x first": [("Mul", ["x", "c"], "d"), ("Mul", ["d", "half"], "y")],
    "half of x": [("Mul", ["x", "half"], "d"), ("Mul", ["d", "c"], "y")],
}


@pytest.mark.parametrize("start", [START, MULTIPLIED], ids=["divided", "multiplied"])
@pytest.mark.parametrize("end", ENDS)
def test_in_every_order(start, end):
    found = net([*start, *ENDS[end]])
    assert gelu(found, "x") == tuple(found.nodes)


@pytest.mark.parametrize("wrong", [{"one": 2.0}, {"half": 1.0}, {"root": 1.5}])
def test_other_numbers_are_another_function(wrong):
    assert gelu(net([*START, *ENDS["half first"]], **wrong), "x") == ()


def test_what_others_read_is_left():
    assert gelu(net([*START, *ENDS["half first"]], outputs=("y", "c")), "x") == ()
    assert gelu(net([*START, *ENDS["half first"], ("Neg", ["x"], "z")], outputs=("y", "z")), "x") == ()
    assert gelu(net([*START, ("Mul", ["half", "c"], "y")]), "x") == ()
