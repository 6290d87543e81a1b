"""Float layers between integers, whose weights ONNX Runtime's default optimizer would round unasked."""

import copy
import functools
import importlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.task import Splits, Task
from flyweight.deploy.export.keep_float import keep_float
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.first_difference import first_difference
from flyweight.deploy.parity import check_parity
from flyweight.models.unet import unet
from flyweight.testing.check_step import check_step

onnx = importlib.import_module("onnx")
ort = importlib.import_module("onnxruntime")
node = onnx.helper.make_node

EQUAL = 0.995
"""The share of outputs on the very step of the model's grid: all but ties. With rounded weights it is 0.9 at best."""


class Between(nn.Module):
    """``middle``, which stays float, between two integer layers."""

    def __init__(self, first, middle, last, before=None):
        super().__init__()
        self.first, self.middle, self.last, self.before = first, middle, last, before

    def forward(self, x):
        x = F.relu(self.first(x))
        return self.last(F.relu(self.middle(x if self.before is None else self.before(x))))


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(8))

    def forward(self, x):
        return x @ self.weight + self.bias


class Functional(Product):
    def forward(self, x):
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)


def images(middle, before=None, channels=8):
    first = nn.Conv2d(1, channels, 3, padding=1)
    return Between(first, middle, nn.Conv2d(8, 4, 3, padding=1), before), (1, 8, 8)


def features(middle, size=8, shape=(16,)):
    return Between(nn.Linear(16, size), middle, nn.Linear(8, 4)), shape


NETS = {
    "conv": lambda: images(nn.Conv2d(8, 8, 3, padding=1)),
    "conv without bias": lambda: images(nn.Conv2d(8, 8, 3, padding=1, bias=False)),
    "depthwise": lambda: images(nn.Conv2d(8, 8, 3, padding=1, groups=8)),
    "one channel": lambda: images(nn.Conv2d(1, 8, 3, padding=1), channels=1),
    "transposed": lambda: images(nn.ConvTranspose2d(8, 8, 2, stride=2)),
    "transposed without bias": lambda: images(nn.ConvTranspose2d(8, 8, 2, stride=2, bias=False)),
    "function": lambda: images(Functional()),
    "behind a pad": lambda: images(nn.Conv2d(8, 8, 3), lambda x: F.pad(x, (1, 1, 1, 1))),
    "behind a slice": lambda: images(nn.Conv2d(8, 8, 3), lambda x: x[:, :, 1:]),
    "conv1d": lambda: (Between(nn.Conv1d(3, 8, 3), nn.Conv1d(8, 8, 3), nn.Conv1d(8, 4, 3)), (3, 16)),
    "linear": lambda: features(nn.Linear(8, 8)),
    "linear without bias": lambda: features(nn.Linear(8, 8, bias=False)),
    "one feature": lambda: features(nn.Linear(1, 8), size=1),
    "product": lambda: features(Product()),
    "sequence": lambda: features(nn.Linear(8, 8), shape=(5, 16)),
}


SOME = [
    pytest.param(name, marks=pytest.mark.slow)
    if name
    not in ("conv", "conv without bias", "one channel", "transposed", "linear without bias", "product", "sequence")
    else name
    for name in NETS
]


def task_of(model, shape, count=64):
    x = torch.randn(count, *shape)
    data = TensorDataset(x, torch.zeros(count, dtype=torch.long))
    return Task(
        name="noise",
        model=model.eval(),
        example=(x[:2],),
        data=Splits(train=data, calibrate=data, select=data, report=data),
        loss=lambda model, batch: model(batch[0]).square().mean(),
        quality=lambda forward, batches: 0.0,
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The quantized net of a name, its task and its file, made once."""
    return functools.cache(lambda name: _exported(name, tmp_path_factory.mktemp("net")))


def _exported(name, folder):
    torch.manual_seed(0)
    model, shape = NETS[name]()
    task = task_of(model, shape)
    middle = ("middle",) if any(isinstance(model.middle, k) for k in (nn.Conv1d, nn.Conv2d, nn.Linear)) else ()
    model = Quantize(exclude=middle)(model, task)
    return model, task, export_onnx(model, task, folder / "model.onnx")


def optimized(path, batch=None, level=None):
    """What ONNX Runtime makes of the file in a session of default options."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".made"))
    if batch is not None:
        options.add_free_dimension_override_by_name("batch", batch)
    if level is not None:
        options.graph_optimization_level = level
    session = ort.InferenceSession(str(path), options)
    return session, onnx.load(path.with_suffix(".made")).graph


@pytest.mark.parametrize("name", SOME)
def test_what_stays_float_computes_in_float_and_the_rest_in_integers(name, exported):
    model, task, artifact = exported(name)
    told = check_parity(model, artifact, task)
    assert told["equal_share"] >= EQUAL
    _, graph = optimized(artifact.path)
    onnx.checker.check_model(onnx.load(artifact.path))
    found = [n.op_type for n in graph.node]
    integers = [op for op in found if op in ("QLinearConv", "QGemm", "MatMulIntegerToFloat")]
    assert len(integers) == 2, "the layers before and behind it have integer kernels"
    floats = [n for n in graph.node if n.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul", "FusedGemm")]
    types = {t.name: t.data_type for t in graph.initializer}
    assert [types.get(n.input[1]) for n in floats] == [onnx.TensorProto.FLOAT]


@pytest.mark.parametrize("name", ["conv", "transposed", "product", "sequence", "behind a slice"])
def test_so_it_does_in_any_session(name, exported):
    model, task, artifact = exported(name)
    x = task.data.select.tensors[0]
    with torch.no_grad():
        wanted = model(x).numpy()
    levels = [getattr(ort.GraphOptimizationLevel, f"ORT_{n}_ALL") for n in ("DISABLE", "ENABLE")]
    basic = [ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED]
    for level in (*levels, *basic):
        for batch in (None, len(x)):
            session, _ = optimized(artifact.path, batch, level)
            got = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
            assert (np.abs(got - wanted) <= 1e-5 * np.abs(wanted).max()).mean() >= EQUAL, (level, batch)


@pytest.mark.parametrize("name", SOME)
def test_openvino_reads_it(name, exported):
    pytest.importorskip("openvino")
    model, task, artifact = exported(name)
    assert check_parity(model, artifact, task, runtime="openvino")["equal_share"] >= EQUAL


def test_a_unet_keeps_the_contract_with_its_transposed_convolutions_in_float(tmp_path):
    task = task_of(unet(2, 1 / 16), (1, 16, 16), count=16)
    check_step(Quantize(), task)
    model = Quantize()(task.model, task)
    artifact = export_onnx(model, task, tmp_path / "model.onnx")
    assert check_parity(model, artifact, task)["equal_share"] >= EQUAL
    assert "left in float: grow.0, grow.1" in artifact.notes
    found = [n.op_type for n in optimized(artifact.path)[1].node]
    assert found.count("QLinearConv") == 11
    assert found.count("ConvTranspose") == found.count("QLinearConcat") == 2


def test_a_float_layer_that_differs_is_still_found_by_its_name(exported):
    model, task, artifact = exported("conv")
    model = copy.deepcopy(model)
    x = task.data.select.tensors[0]
    assert first_difference(model, artifact.path, [x], "onnxruntime") is None
    with torch.no_grad():
        model.middle.weight.mul_(1.5)
    assert first_difference(model, artifact.path, [x], "onnxruntime").layer == "middle"
    with torch.no_grad():
        model.middle.weight.div_(1.5)
        model.first.layer.bias.add_(0.5)
    assert first_difference(model, artifact.path, [x], "onnxruntime").layer == "first"


def proto(nodes, tensors, shape, outputs=("y",)):
    info = onnx.helper.make_tensor_value_info
    grid = {"s": np.float32(0.01), "z": np.uint8(100)}
    graph = onnx.helper.make_graph(
        [node("QuantizeLinear", ["x", "s", "z"], ["c"]), node("DequantizeLinear", ["c", "s", "z"], ["d"]), *nodes],
        "g",
        [info("x", onnx.TensorProto.FLOAT, shape)],
        [info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in {**grid, **tensors}.items()],
        value_info=[info("d", onnx.TensorProto.FLOAT, shape)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def run(model, x):
    return ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_others_read_the_one_scale_as_before():
    nodes = [node("Conv", ["d", "w"], ["y"]), node("Conv", ["d", "v"], ["u"]), node("Relu", ["d"], ["r"])]
    model = proto(nodes, {"w": normal(4, 3, 1, 1), "v": normal(2, 3, 1, 1)}, ["n", 3, 5, 5], ("y", "u", "r"))
    x = normal(2, 3, 5, 5)
    before = run(model, x)
    keep_float(model)
    made = {n.output[0]: n for n in model.graph.node}
    assert made["r"].input[0] == "d", "who is no float layer"
    assert made["y"].input[0] == made["u"].input[0] != "d", "both read one copy"
    sizes = {t.name: list(t.dims) for t in model.graph.initializer}
    assert [sizes[name] for name in made[made["y"].input[0]].input[1:]] == [[3], [3]]
    assert sizes[made["d"].input[1]] == []
    for a, b in zip(before, run(model, x), strict=True):
        assert np.array_equal(a, b)
    once = model.SerializeToString()
    keep_float(model)
    assert model.SerializeToString() == once, "a second time there is nothing to do"


def test_a_scale_that_nobody_reads_any_more_goes():
    model = proto([node("Conv", ["d", "w"], ["y"])], {"w": normal(4, 3, 1, 1)}, ["n", 3, 5, 5])
    model.graph.node[1].metadata_props.add(key="k", value="the module")
    keep_float(model)
    assert [n.op_type for n in model.graph.node] == ["QuantizeLinear", "DequantizeLinear", "Conv"]
    assert model.graph.node[1].metadata_props[0].value == "the module", "what stands in its place has its name"


@pytest.mark.parametrize("bias", [True, False])
def test_a_gemm_gets_its_bias_as_a_row(bias):
    tensors = {"w": normal(8, 4), **({"b": normal(4)} if bias else {})}
    model = proto([node("Gemm", ["d", *tensors], ["y"])], tensors, ["n", 8])
    x = normal(3, 8)
    before = run(model, x)[0]
    keep_float(model)
    sizes = {t.name: list(t.dims) for t in model.graph.initializer}
    assert sizes[model.graph.node[-1].input[2]] == [1, 4 if bias else 1]
    assert "b" not in sizes
    assert np.allclose(run(model, x)[0], before, rtol=1e-6, atol=1e-6)


def test_integer_layers_and_float_files_stay_as_they_are():
    codes = {"k": np.ones((4, 3, 1, 1), np.int8), "t": np.full(4, 0.1, np.float32)}
    nodes = [node("DequantizeLinear", ["k", "t"], ["w"], axis=0), node("Conv", ["d", "w"], ["y"])]
    model = proto(nodes, codes, ["n", 3, 5, 5])
    before = model.SerializeToString()
    keep_float(model)
    assert model.SerializeToString() == before
    bare = proto([node("Conv", ["x", "w"], ["y"])], {"w": normal(4, 3, 1, 1)}, ["n", 3, 5, 5])
    del bare.graph.node[:2]
    before = [n.SerializeToString() for n in bare.graph.node]
    keep_float(bare)
    assert [n.SerializeToString() for n in bare.graph.node] == before


class Bag(nn.Module):
    """What torch exports of an ``EmbeddingBag`` is a loop, whose body reads constants of the graph around it."""

    def __init__(self):
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(10, 8, mode="mean"), nn.Linear(8, 4)

    def forward(self, tokens):
        return self.head(self.bag(tokens))


def test_what_only_a_loop_reads_stays(tmp_path):
    torch.manual_seed(0)
    tokens = torch.randint(0, 10, (6, 5))
    model = Bag().eval()
    data = TensorDataset(tokens, torch.zeros(6, dtype=torch.long))
    splits = Splits(train=data, calibrate=data, select=data, report=data)
    task = Task(name="bag", model=model, example=(tokens[:2],), data=splits, loss=None, quality=None)
    artifact = export_onnx(model, task, tmp_path / "model.onnx")
    assert any(n.op_type == "Loop" for n in onnx.load(artifact.path).graph.node)
    assert check_parity(model, artifact, task)["top1_equal"] == 1
