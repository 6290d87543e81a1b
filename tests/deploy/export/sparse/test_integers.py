"""An integer model whose layers run on the sparse kernels computes what it computed, to the last bit."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import sparse_files
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.structures.block import block
from flyweight.compress.prune.structures.element import element
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.task import Splits
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.export.sparse import choose_integers
from flyweight.deploy.export.sparse.integers import operations
from flyweight.deploy.export.sparse.net import Net
from flyweight.deploy.export.sparse.sparse import NEEDS
from flyweight.kernels.library import DOMAIN, available, kernels_library
from flyweight.measure.float_nodes import float_nodes
from flyweight.measure.graph import read_graph
from sparse_nets import Mobile, image_task, pruned

native = pytest.mark.skipif(not available(), reason="the native kernels are not built")

INVERTED = ["QSparseConv", "QDepthwise", "QSparseConv"]
PLAIN = {"mobile": ["QSparseConv", *INVERTED[1:], *INVERTED, *INVERTED, "QSparseConv", "QMean"]}


class Pooled(nn.Module):
    """A stem of 7x7 under a max pool, and a residual block that changes the size: ResNet's parts."""

    def __init__(self, channels=10, wide=18):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 7, 2, 3)
        self.one, self.two = nn.Conv2d(channels, wide, 3, 2, 1), nn.Conv2d(wide, wide, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, wide, 1, 2)
        self.head = nn.Linear(wide, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        x = F.relu(self.two(F.relu(self.one(x))) + self.shortcut(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


NETS = {"mobile": Mobile, "mobile, odd channels": lambda: Mobile(7, 33), "pooled": Pooled}
PLAIN["pooled"] = ["QSparseConv", "QMaxPool", *["QSparseConv"] * 3, "QMean", "QSparseConv"]


@pytest.fixture(scope="module")
def quantized():
    """Each network pruned in 4x4 blocks and quantized, and its task."""
    made = {}
    for name, make in NETS.items():
        torch.manual_seed(0)
        model = pruned(make(), ratio=0)
        x = torch.randn(16, 3, 33, 30)
        data = TensorDataset(x, torch.zeros(16, dtype=torch.long))
        task = replace(image_task(model), example=(x[:2],), data=splits(data))
        model = Prune(ratio=0.8, structure=block(4, 4, taps=True)).edit(model, task)
        made[name] = Quantize().edit(model, task), task
    return made


def splits(data):
    return Splits(train=data, calibrate=data, select=data, report=data)


def run(path, x, ours):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if ours:
        options.register_custom_ops_library(kernels_library())
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.fixture(scope="module")
def every(quantized, tmp_path_factory):
    """Each network's file with every layer on the sparse kernels that can."""
    folder = tmp_path_factory.mktemp("every")
    return {
        name: export_onnx(model, task, folder / f"{place}.onnx", kernels="all")
        for place, (name, (model, task)) in enumerate(quantized.items())
    }


@pytest.mark.parametrize("name", NETS)
def test_everything_that_can_stays_in_fours(every, name):
    artifact = every[name]
    found = sparse_files.ops(onnx.load(artifact.path))
    assert found == ["Quantize4", *PLAIN[name.partition(",")[0]], "Unpack4"]
    (network,) = [node for node in onnx.load(artifact.path).graph.node if node.domain == DOMAIN]
    assert network.op_type == "QNetwork"
    assert artifact.needs == (NEEDS,)
    assert not [node for node in float_nodes(read_graph(artifact.path)) if node.startswith("Flatten")]
    assert "which holds the other 4×4 blocks and a bitmap" in artifact.notes[0]


@native
@pytest.mark.parametrize("name", NETS)
def test_the_same_to_the_last_bit(quantized, every, name, tmp_path):
    model, task = quantized[name]
    plain = export_onnx(model, task, tmp_path / "plain.onnx").path
    ours = every[name].path
    for batch in (1, 3):
        x = np.random.default_rng(batch).standard_normal((batch, 3, 33, 30)).astype(np.float32)
        wanted = run(plain, x, ours=False)
        assert wanted.std() > 0
        assert np.array_equal(run(ours, x, ours=True), wanted)


def timed(monkeypatch, *times):
    """Lets the model as it is, and the ways of ours, take so many milliseconds."""
    monkeypatch.setattr(choose_integers, "race", lambda heats, inputs, seconds: [times])


@native
@pytest.mark.parametrize(
    ("times", "ops", "says"),
    [
        ((2.0, 1.0, 1.5), 11, "the whole model 2.00× as fast as dense in ONNX Runtime here"),
        ((2.0, 1.5, 1.0), 8, "10 operations, 6 of them convolutions of many zeros"),
        ((1.0, 0.99, 1.0), 0, "dense, since with the sparse kernels the whole integer model ran 1.01× as fast here"),
    ],
)
def test_the_fastest_is_chosen(quantized, times, ops, says, monkeypatch, tmp_path):
    timed(monkeypatch, *times)
    model, task = quantized["mobile"]
    artifact = export_onnx(model, task, tmp_path / "auto.onnx", kernels="auto")
    found = [op for op in sparse_files.ops(onnx.load(artifact.path)) if op not in ("Pack4", "Quantize4", "Unpack4")]
    assert len(found) == ops
    assert any(says in note for note in artifact.notes), artifact.notes
    assert bool(artifact.needs) == bool(found)


@native
@pytest.mark.parametrize(("gain", "taken"), [(1.2, False), (5.0, True)])
def test_a_file_that_grows_by_more_than_it_gains_stays_dense(gain, taken, monkeypatch, tmp_path):
    timed(monkeypatch, gain, 1.0)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU())
    x = torch.randn(4, 3, 16, 16)
    task = replace(image_task(net), data=splits(TensorDataset(x, torch.zeros(4, dtype=torch.long))))
    model = Quantize()(Prune(0.9, structure=element())(net, task), task).eval()
    plain = export_onnx(model, task, tmp_path / "plain.onnx")
    artifact = export_onnx(model, task, tmp_path / "auto.onnx", kernels="auto")
    grown = artifact.path.stat().st_size / plain.path.stat().st_size
    assert bool(artifact.needs) == taken
    assert (grown > 1.2) == taken, "single zeros fill hardly a tile of 4x4"
    assert taken or any("as large, and the whole integer model ran 1.20× as fast" in note for note in artifact.notes)


@native
@pytest.mark.parametrize("name", NETS)
def test_each_is_tried(quantized, name, monkeypatch, tmp_path):
    timed(monkeypatch, 2.0, 1.0, 1.5)
    model, task = quantized[name]
    assert export_onnx(model, task, tmp_path / "auto.onnx", kernels="auto").needs == (NEEDS,)


def graph_of(weight, between=(), after=("scale", "zero"), **attributes):
    """A convolution of bytes between its roundings; ``between`` are nodes before the last one, and it rounds to the
    grid ``after``."""
    constants = {
        "scale": np.float32(0.1),
        "zero": np.uint8(7),
        "signed": np.int8(7),
        "w": weight,
        "w_scale": np.full(len(weight), 0.01, np.float32),
        "low": np.float32(0),
        "six": np.float32(6),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x8"]),
        helper.make_node("ReduceMax", ["x"], ["moving"], keepdims=0),
        helper.make_node("DequantizeLinear", ["x8", "scale", "zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale"], ["wf"], axis=0),
        helper.make_node("Conv", ["xf", "wf"], ["c"], **attributes),
        *between,
        helper.make_node("QuantizeLinear", [between[-1].output[0] if between else "c", *after], ["y8"]),
        helper.make_node("DequantizeLinear", ["y8", *after], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))


ONE = np.ones((8, 4, 3, 3), np.int8)


def node(op, *inputs):
    return helper.make_node(op, ["c", *inputs], ["activated"])


def test_bounds_are_those_of_the_activation():
    (plain,) = operations(Net(graph_of(ONE)))
    (relu,) = operations(Net(graph_of(ONE, [node("Relu")])))
    (relu6,) = operations(Net(graph_of(ONE, [node("Clip", "low", "six")])))
    (above,) = operations(Net(graph_of(ONE, [node("Clip", "low")])))
    assert [(op.low, op.high) for op in (plain, relu, relu6, above)] == [(0, 255), (7, 255), (7, 67), (7, 255)]
    assert plain.y.zero == 7 and plain.y.scale == pytest.approx(0.1)


@pytest.mark.parametrize(
    "graph",
    [
        graph_of(np.ones((8, 2, 3, 3), np.int8), group=2),
        graph_of(ONE.astype(np.uint8)),
        graph_of(ONE, auto_pad="SAME_UPPER"),
        graph_of(ONE, after=("scale", "signed")),
        graph_of(ONE, [node("Sigmoid")]),
        graph_of(ONE, [node("Clip", "moving")]),
    ],
    ids=["groups", "unsigned weights", "automatic padding", "signed results", "another activation", "a moving bound"],
)
def test_what_the_kernels_cannot_is_left(graph):
    assert operations(Net(graph)) == []
