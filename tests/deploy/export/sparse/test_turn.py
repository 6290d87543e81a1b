"""Features before tokens: the same numbers, in one network, turned at its edges alone."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import sparse_files
from flyweight.deploy.export.sparse.join import joined
from flyweight.deploy.export.sparse.net import Net
from flyweight.deploy.export.sparse.turn import turned
from flyweight.kernels import library
from flyweight.measure.graph import read_graph
from flyweight.measure.own_macs import products
from ort_files import file, node, opened, run, tiles

RANDOM = np.random.default_rng(5)
native = pytest.mark.skipif(not library.available(), reason=f"no native kernels: {library.why_not()}")


def transformer(tokens, masked):
    """Attention and a linear layer with a residual on (batch, tokens, 24), and an operation of ONNX at the end;
    its nodes, and a file of given nodes."""
    weights = {"gain": RANDOM.standard_normal(24).astype(np.float32), "mask": np.zeros((1, 1, 1, tokens), np.float32)}
    weights["mask"][..., : tokens // 3] = -40
    for name in "qkvo":
        _, weights[f"{name}v"], weights[f"{name}k"] = tiles(RANDOM, (24, 24), (4, 1))
        weights[f"{name}b"] = RANDOM.standard_normal(24).astype(np.float32)
    told = {"rows": 24, "inputs": 24, "block": [4, 1]}
    nodes = [
        node("LayerNorm", "x gain", "n", epsilon=1e-5),
        *(node("SparseLinear", f"n {i}v {i}k {i}b", i, **told, activation="") for i in "qkv"),
        node("Attention", "q k v mask" if masked else "q k v", "a", heads=3, size=8, scale=0.3),
        node("SparseLinear", "a ov ok ob n", "o", **told, activation="Gelu"),
        helper.make_node("Relu", ["o"], ["y"]),
    ]

    def written(made):
        proto = onnx.ModelProto.FromString(file(made, {"x": [2, tokens, 24]}, weights))
        shapes = (helper.make_tensor_value_info(t, TensorProto.FLOAT, [2, tokens, 24]) for t in "nqkvao")
        proto.graph.value_info.extend(shapes)
        return proto

    return nodes, written


def turn(nodes, written):
    return turned(nodes, Net(written(nodes)), {"y"})


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("tokens", [1, 16, 21])
def test_the_same_numbers(tokens, masked):
    nodes, written = transformer(tokens, masked)
    x = RANDOM.standard_normal((2, tokens, 24)).astype(np.float32)
    before, after = (sparse_files.run(written(made), x)[0] for made in (nodes, turn(nodes, written)))
    assert np.allclose(before, after, rtol=1e-5, atol=1e-4)


@native
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("tokens", [1, 16, 21, 70])
def test_on_the_kernels(tokens, threads):
    nodes, written = transformer(tokens, True)
    made = joined(turn(nodes, written), {"y"})
    assert [n.op_type for n in made if n.domain] == ["Network"]
    x = RANDOM.standard_normal((2, tokens, 24)).astype(np.float32)
    before, after = (run(opened(written(n).SerializeToString(), threads), x=x) for n in (nodes, made))
    assert np.allclose(before, after, rtol=1e-5, atol=1e-4)


def test_turned_at_the_edges_alone():
    nodes, written = transformer(16, True)
    made = turn(nodes, written)
    kinds = ["LayerNorm", *["SparseConv"] * 3, "Attention", "SparseConv"]
    assert [n.op_type for n in made if n.domain] == kinds
    assert [n.op_type for n in made if not n.domain].count("Transpose") == 2
    assert [n.op_type for n in nodes if n.domain][1] == "SparseLinear"  # as they were


def test_without_attention_nothing_turns():
    nodes, written = transformer(16, False)
    alone = [nodes[0], nodes[1], helper.make_node("Relu", ["q"], ["y"])]
    assert turned(alone, Net(written(nodes)), {"y"}) == alone


def test_as_many_products_are_counted(tmp_path):
    nodes, written = transformer(16, True)
    counts = []
    for made in (nodes, turn(nodes, written)):
        onnx.save(written(made), tmp_path / "m.onnx")
        graph = read_graph(tmp_path / "m.onnx")
        counts.append(sum(p.count for n in graph.nodes if n.domain for p in products(n, graph) or ()))
    assert counts[0] == counts[1] > 0
