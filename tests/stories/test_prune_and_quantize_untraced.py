"""A model that cannot be traced is pruned, shrunk and quantized in every order, and its file computes what it does."""

import importlib
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.store import Store
from flyweight.core.task import Splits, Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.search.candidate import Candidate
from flyweight.search.evaluate import Evaluator
from flyweight.tasks.accuracy import accuracy
from flyweight.tasks.cross_entropy import cross_entropy
from nets import Unfollowed

ort = importlib.import_module("onnxruntime")

CUT = Prune(0.5, structure=channel())
ORDERS = {
    "prune, remove, quantize": (CUT, Remove(), Quantize()),
    "prune, quantize, remove": (CUT, Quantize(), Remove()),
    "quantize, prune, remove": (Quantize(), CUT, Remove()),
    "aware, prune, remove": (Quantize(aware=Aware()), CUT, Remove()),
}


def _task():
    torch.manual_seed(0)
    x, y = torch.randn(64, 1, 8, 8), torch.randint(3, (64,))
    data = TensorDataset(x, y)
    return Task(
        name="unfollowed", model=Unfollowed().eval(), example=(x[:2],), loss=cross_entropy, quality=accuracy,
        data=Splits(train=data, calibrate=data, select=data, report=data),
    )  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_ends_in_a_small_integer_file(order, tmp_path):
    task = _task()
    model: nn.Module = task.model
    x = task.data.report.tensors[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*cannot be traced")
        for step in ORDERS[order]:
            model = step(model, task)
    assert model.one.layer.layer.weight.shape == (8, 8), "half of the neurons are gone"
    artifact = export_onnx(model, task, tmp_path / "model.onnx")
    session = ort.InferenceSession(artifact.path)
    with torch.no_grad():
        wanted = model.eval()(x)
    (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert (torch.from_numpy(got) - wanted).abs().max() <= 2e-3 * wanted.abs().max()
    assert artifact.bits == 8


def test_the_point_of_a_search_says_how_it_rounds(tmp_path):
    point = Evaluator(_task(), Store(tmp_path / "out"), "onnxruntime")(Candidate(label="int8", recipe=(Quantize(),)))
    assert point.failure is None
    assert any("Unfollowed cannot be traced" in note and "each layer rounds by itself" in note for note in point.notes)
