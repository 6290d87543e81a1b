"""The path from fake-quantized models to integers, on files that ONNX Runtime opens."""

import dataclasses
import importlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import flyweight
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.errors import ExportError, StoreError
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.parity import check_parity
from flyweight.models.survey_cnn import survey_cnn
from flyweight.numerics.granularity import per_channel, per_group, per_tensor
from flyweight.surgery.activation import Requantize
from flyweight.surgery.mask import mask_of
from nets import Unfollowed

onnx = importlib.import_module("onnx")
ort = importlib.import_module("onnxruntime")

FLOAT32 = 1e-5
"""Relative to the largest output: sums in another order."""


def opened(artifact, optimized=None):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    session = ort.InferenceSession(str(artifact.path), options)
    names = [i.name for i in session.get_inputs()]
    return lambda *x: session.run(None, {n: t.numpy() for n, t in zip(names, x, strict=True)})[0]


def operations(path):
    return [n.op_type for n in onnx.load(path).graph.node]


def compared(model, artifact, x, optimized=None):
    """Share of equal top-1, and the largest difference in steps of the output's grid."""
    with torch.no_grad():
        wanted = model.eval()(x).numpy()
    got = opened(artifact, optimized)(x)
    step = [m for m in model.modules() if isinstance(m, Requantize)][-1].scale.item()
    return (got.argmax(1) == wanted.argmax(1)).mean(), np.abs(got - wanted).max() / step


def test_a_float_model_computes_the_same_for_any_batch(residual_task, tmp_path):
    task = dataclasses.replace(residual_task, example=(residual_task.example[0][:1],))
    artifact = export_onnx(task.model.train(), task, tmp_path / "new" / "model.onnx")
    assert task.model.training, "the model is left as it was"
    task.model.eval()
    assert (artifact.format, artifact.bits, artifact.notes) == ("onnx", 32, ())
    assert [p.name for p in artifact.path.parent.iterdir()] == ["model.onnx"]
    run, x = opened(artifact), task.data.select.tensors[0]
    for size in (1, 2, 7, len(x)):
        with torch.no_grad():
            wanted = task.model(x[:size]).numpy()
        assert np.abs(run(x[:size]) - wanted).max() <= FLOAT32 * np.abs(wanted).max()


def test_the_file_is_lean_and_its_nodes_are_named_after_modules(residual_task, tmp_path):
    artifact = export_onnx(residual_task.model, residual_task, tmp_path / "model.onnx")
    proto = onnx.load(artifact.path)
    onnx.checker.check_model(proto)
    assert {e.key: e.value for e in proto.metadata_props} == {"flyweight": flyweight.__version__}
    assert not proto.graph.value_info
    assert not any(n.doc_string or n.metadata_props for n in proto.graph.node)
    names = [n.name for n in proto.graph.node if n.name]
    assert names == ["stem.1", "stem.2", "one.1", "two.1", "two.2", "head"], "batch-norm stands for its convolution too"
    assert "BatchNormalization" not in operations(artifact.path)
    weights = sum(len(t.raw_data) for t in proto.graph.initializer)
    assert artifact.path.stat().st_size - weights < 1100
    assert [v.name for v in (*proto.graph.input, *proto.graph.output)] == ["x", "output"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_integers_are_what_the_simulation_says(bits, residual_task, tmp_path):
    model = Quantize(bits=bits)(residual_task.model, residual_task)
    artifact = export_onnx(model, residual_task, tmp_path / "model.onnx")
    x = residual_task.data.select.tensors[0]
    top1, steps = compared(model, artifact, x, tmp_path / "optimized.onnx")
    assert top1 >= 0.995
    assert steps <= 1.001
    found = operations(tmp_path / "optimized.onnx")
    assert found.count("QLinearConv") == 3
    assert {"QLinearAdd", "QLinearGlobalAveragePool", "QGemm"} <= set(found)
    assert not {"Conv", "Gemm", "Add", "Clip", "Relu", "ReduceMean"} & set(found)
    stored = [onnx.TensorProto.DataType.Name(t.data_type) for t in onnx.load(artifact.path).graph.initializer]
    assert stored.count({8: "INT8", 4: "INT4", 2: "INT2"}[bits]) >= 4
    assert artifact.bits == bits
    assert bool(artifact.notes) == (bits == 2)


def test_aware_models_export_as_their_evaluation(tiny_task, tmp_path):
    model = Quantize(aware=Aware())(tiny_task.model, tiny_task)
    x, y = tiny_task.data.train.tensors
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()
    F.cross_entropy(model(x[:64]), y[:64]).backward()
    optimizer.step()
    artifact = export_onnx(model, tiny_task, tmp_path / "model.onnx")
    top1, steps = compared(model, artifact, tiny_task.data.select.tensors[0])
    assert top1 >= 0.995
    assert steps <= 1.001


@pytest.mark.parametrize(
    "step",
    [
        Quantize(activations=None),
        Quantize(activations=None, bits=3, granularity=per_group(4), exclude=("0",)),
        Quantize(activations=None, bits=6, aware=Aware()),
    ],
    ids=str,
)
def test_weights_alone_give_the_model_s_floats(step, tiny_task, tmp_path):
    model = step(tiny_task.model, tiny_task)
    artifact = export_onnx(model, tiny_task, tmp_path / "model.onnx")
    x = tiny_task.data.select.tensors[0]
    with torch.no_grad():
        wanted = model(x).numpy()
    assert np.abs(opened(artifact)(x) - wanted).max() <= FLOAT32 * np.abs(wanted).max()
    assert artifact.bits == step.bits
    assert "weights alone are quantized: the file is smaller, the arithmetic is float" in artifact.notes
    if step.bits == 6:
        assert "weights of 6 bits are stored as int8, the narrowest type there is for them" in artifact.notes
    if step.exclude:
        assert "left in float: 0" in artifact.notes


def test_fewer_bits_for_activations_compute_right_and_say_what_they_cost(tiny_task, tmp_path):
    model = Quantize(activations=4)(tiny_task.model, tiny_task)
    artifact = export_onnx(model, tiny_task, tmp_path / "model.onnx")
    top1, steps = compared(model, artifact, tiny_task.data.select.tensors[0])
    assert top1 >= 0.995
    assert steps <= 1.001
    assert any("activations below 8 bits are clipped in float" in note for note in artifact.notes)


class Sequences(nn.Module):
    """Linear layers over (N, L, C), a residual, a norm that stays float, an average over L."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 16), nn.Linear(16, 16, bias=False)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, x):
        x = F.relu(self.one(x))
        return self.head(self.norm(self.two(x) + x)).mean(1)


def test_sequences_go_through_integers_too(tiny_task, tmp_path):
    x = torch.randn(256, 10, 6)
    data = dataclasses.replace(tiny_task.data, calibrate=TensorDataset(x, torch.zeros(256)))
    task = dataclasses.replace(tiny_task, example=(x[:2],), data=data)
    model = Quantize()(Sequences().eval(), task)
    artifact = export_onnx(model, task, tmp_path / "model.onnx")
    top1, steps = compared(model, artifact, x, tmp_path / "optimized.onnx")
    assert top1 >= 0.995
    assert steps <= 1.001
    found = operations(tmp_path / "optimized.onnx")
    assert {"QLinearMatMul", "QLinearAdd", "MatMulIntegerToFloat"} <= set(found)
    assert "MatMul" not in found


def test_the_survey_network_at_full_width_shrinks_as_promised(tiny_task, tmp_path):
    x = torch.rand(64, 1, 28, 28)
    data = dataclasses.replace(tiny_task.data, calibrate=TensorDataset(x, torch.zeros(64)))
    task = dataclasses.replace(tiny_task, example=(x[:1],), data=data)
    whole = survey_cnn(1.0).eval()
    model = Quantize()(whole, task)
    integers = export_onnx(model, task, tmp_path / "int8.onnx")
    floats = export_onnx(whole, task, tmp_path / "float.onnx")
    assert floats.path.stat().st_size / integers.path.stat().st_size >= 3.7
    _, steps = compared(model, integers, x, tmp_path / "optimized.onnx")
    assert steps <= 1.001
    found = operations(tmp_path / "optimized.onnx")
    assert found.count("QLinearConv") == 6
    assert found.count("QGemm") == 2
    assert not {"Conv", "Gemm", "Relu"} & set(found)


class Pruned(nn.Module):
    """A grouped convolution, sizes that no block divides, a linear layer used twice, one over sequences."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 60, 3, padding=1, bias=False), nn.BatchNorm2d(60)
        self.grouped = nn.Conv2d(60, 90, 3, stride=2, padding=1, groups=3)
        self.twice, self.tokens = nn.Linear(90, 90), nn.Linear(16, 61)
        self.head = nn.Linear(61, 4)

    def forward(self, x):
        x = F.relu(self.grouped(F.relu(self.norm(self.stem(x)))))
        x = F.relu(self.twice(F.relu(self.twice(x.flatten(2).mT))))
        return self.head(F.relu(self.tokens(x.mT)).mean(1))


def pruned(model, ratio, block):
    """``model``, with random blocks of each weight of many taken away."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.numel() > 500:
            rows, columns = block
            mask = mask_of(module, block=block)
            height, width = mask.keep.flatten(1).shape
            keep = torch.rand(-(-height // rows), -(-width // columns)) >= ratio
            keep = keep.repeat_interleave(rows, 0).repeat_interleave(columns, 1)[:height, :width]
            mask.keep = keep.reshape(mask.keep.shape)
    return model


@pytest.mark.parametrize(("bits", "block"), [(32, (1, 1)), (8, (4, 1)), (4, (1, 1)), (2, (4, 1))], ids=str)
def test_pruned_models_compute_the_same_from_fewer_bytes(bits, block, tiny_task, tmp_path):
    whole = Pruned().eval()
    sparse = pruned(Pruned().eval(), 0.9, block)
    files, models = [], []
    for name, model in (("whole", whole), ("sparse", sparse)):
        models.append(model if bits == 32 else Quantize(bits=bits)(model, tiny_task))
        files.append(export_onnx(models[-1], tiny_task, tmp_path / f"{name}.onnx"))
        check_parity(models[-1], files[-1], tiny_task, examples=64)
    dense, small = (f.path.stat().st_size for f in files)
    # Small layers stay as they are, and operations take bytes.
    assert small < {32: 0.2, 8: 0.42, 4: 0.6, 2: 0.8}[bits] * dense
    assert files[1].bits == bits
    (note,) = set(files[1].notes) - set(files[0].notes)
    assert note.endswith(f"which holds the other {block[0]}×{block[1]} blocks and a bitmap")
    if bits == 32:
        return
    opened(files[1], tmp_path / "optimized.onnx")
    found = operations(tmp_path / "optimized.onnx")
    opened(files[0], tmp_path / "optimized.onnx")
    assert sorted(found) == sorted(operations(tmp_path / "optimized.onnx")), "integer kernels, and nothing left to do"
    assert found.count("QLinearConv") == 2


def test_openvino_puts_weights_together_when_it_opens_the_file(tiny_task, tmp_path):
    openvino = pytest.importorskip("openvino")
    model = pruned(Pruned().eval(), 0.9, (4, 1))
    for name, step in (("float", None), ("int8", Quantize())):
        owned = model if step is None else step(model, tiny_task)
        artifact = export_onnx(owned, tiny_task, tmp_path / f"{name}.onnx")
        check_parity(owned, artifact, tiny_task, examples=64, runtime="openvino")
        compiled = openvino.Core().compile_model(str(artifact.path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        kinds = {str(n.get_rt_info()["layerType"].astype(str)) for n in compiled.get_runtime_model().get_ordered_ops()}
        assert not kinds & {"ScatterNDUpdate", "NonZero", "StridedSlice", "CumSum", "Gather"}


def test_masks_over_few_weights_are_told_and_stored_as_they_are(tiny_task, tmp_path):
    dense = export_onnx(tiny_task.model, tiny_task, tmp_path / "dense.onnx")
    mask_of(tiny_task.model[0]).keep[:4] = False
    artifact = export_onnx(tiny_task.model, tiny_task, tmp_path / "model.onnx")
    check_parity(tiny_task.model, artifact, tiny_task, examples=64)
    assert artifact.path.stat().st_size == dense.path.stat().st_size
    (note,) = artifact.notes
    assert note.startswith("2 % of the weights are zeros, stored like other numbers: with a bitmap")


def test_every_mask_s_parameter_is_stored_as_it_is_masked(tiny_task, tmp_path):
    model = tiny_task.model
    for module, name in ((model[1], "weight"), (model[1], "bias"), (model[9], "bias")):
        mask_of(module, name).keep[::2] = False
    artifact = export_onnx(model, tiny_task, tmp_path / "model.onnx")
    check_parity(model, artifact, tiny_task, examples=64)
    assert "BatchNormalization" not in operations(artifact.path)


class Odd(nn.Module):
    def forward(self, x):
        return torch.linalg.eigvals(x.flatten(1)[:, :4].reshape(-1, 2, 2)).real


class Choosing(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Tied(nn.Module):
    def forward(self, x):
        return x.reshape(2, -1)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (Odd(), r"cannot be exported: aten.linalg_eig in '1' \(Odd\) at test_onnx.py:\d+ \(return torch.linalg"),
        (Choosing(), r"torch.export stopped in '1' \(Choosing\) at test_onnx.py:\d+ \(return x if x.sum\(\) > 0"),
        (Tied(), r"its forward ties the batch to 2 examples. Write reshapes with x.shape\[0\] or -1"),
    ],
    ids=["operation", "branch", "batch"],
)
def test_what_cannot_be_exported_is_named(layer, told, tiny_task, tmp_path):
    with pytest.raises(ExportError, match=told):
        export_onnx(nn.Sequential(nn.Identity(), layer), tiny_task, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["meta", "graph"])
def test_a_module_of_a_name_that_torch_fx_uses_is_named(name, tiny_task, tmp_path):
    model = nn.Sequential()
    model.add_module(name, nn.Sequential(nn.Flatten(), nn.LazyLinear(4)))
    model(*tiny_task.example)
    told = rf"torch.onnx stopped: Node {name}_1_weight .*nonexistent attribute.*Call the module '{name}' otherwise"
    with pytest.raises(ExportError, match=told) as caught:
        export_onnx(model, tiny_task, tmp_path / "model.onnx")
    assert "\x1b" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_store(tiny_task, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        export_onnx(tiny_task.model, tiny_task, tmp_path / "file" / "model.onnx")


def test_what_cannot_be_traced_computes_its_layers_in_integers(tiny_task, tmp_path):
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="cannot be traced"):
        model = Quantize()(Unfollowed().eval(), tiny_task)
    artifact = export_onnx(model, tiny_task, tmp_path / "model.onnx")
    x = tiny_task.data.select.tensors[0]
    with torch.no_grad():
        wanted = model(x).numpy()
    got = opened(artifact)(x)
    # Where a float between layers lies on the edge of two codes, it may fall to either.
    assert np.abs(got - wanted).max() <= 2e-3 * np.abs(wanted).max()
    compared(model, artifact, x, tmp_path / "optimized.onnx")
    found = operations(tmp_path / "optimized.onnx")
    assert {"QLinearConv", "MatMulIntegerToFloat"} <= set(found)
    assert "MatMul" not in found
    assert "the model could not be traced: its layers compute in integers, all between them in float" in artifact.notes


class Looked(nn.Module):
    """A table of words, a table of places that is read by constants, a linear layer."""

    def __init__(self):
        super().__init__()
        self.words, self.places, self.head = nn.Embedding(50, 8), nn.Embedding(6, 8), nn.Linear(8, 3)
        self.register_buffer("order", torch.arange(6))

    def forward(self, x):
        return self.head((self.words(x) + self.places(self.order)).mean(1))


@pytest.mark.parametrize(
    "step",
    [Quantize(activations=None, granularity=g) for g in (per_channel(), per_tensor())] + [Quantize(bits=4)],
    ids=str,
)
def test_rows_of_a_table_are_gathered_as_codes(step, tiny_task, tmp_path):
    torch.manual_seed(0)
    x = torch.randint(50, (64, 6))
    data = dataclasses.replace(tiny_task.data, calibrate=TensorDataset(x, torch.zeros(64)))
    task = dataclasses.replace(tiny_task, example=(x[:2],), data=data)
    model = step(Looked().eval(), task)
    artifact = export_onnx(model, task, tmp_path / "model.onnx")
    assert artifact.bits == step.bits
    nodes = onnx.load(artifact.path).graph.node
    tables = {n.output[0] for n in nodes if n.op_type == "DequantizeLinear"}
    gathers = [n for n in nodes if n.op_type == "Gather"]
    assert gathers and not [n for n in gathers if n.input[0] in tables], "no table of floats is made"
    with torch.no_grad():
        wanted = model(x).numpy()
    assert np.abs(opened(artifact)(x) - wanted).max() <= FLOAT32 * np.abs(wanted).max()
