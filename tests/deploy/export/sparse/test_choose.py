"""What proved faster runs on the sparse kernels, and what did not stays dense and is told."""

import onnx
import pytest
import torch
from torch import nn

import sparse_files
from flyweight.core.errors import FlyweightError
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.export.sparse import choose, sparse
from sparse_nets import Encoder, Mobile, Residual, image_task, pruned, token_task


@pytest.fixture
def library(monkeypatch):
    """The library is taken to be here; no file is timed."""
    monkeypatch.setattr(sparse, "why_not", lambda: None)


def timed(monkeypatch, of, whole):
    """Has ``race`` answer ``of(op, ways)`` for a part whose first way is ``op``, and ``whole`` for the whole model."""
    asked = []

    def race(heats, inputs=None, seconds=0.0):
        if inputs is not None:
            return [whole]
        asked.extend(heat.key for heat in heats)
        return [of(heat.key[0][0][0], len(heat.key[0])) for heat in heats]

    monkeypatch.setattr(choose, "race", race)
    return asked


def exported(model, task, tmp_path, kernels="auto"):
    artifact = export_onnx(model, task, tmp_path / "m.onnx", kernels=kernels)
    return artifact, onnx.load(artifact.path)


def agrees(proto, model, task):
    x = torch.randn(2, *task.example[0].shape[1:])
    found = torch.from_numpy(sparse_files.run(proto, x.numpy())[0])
    return torch.allclose(found, model(x), atol=1e-5 * float(model(x).abs().max()) + 1e-6)


def test_the_faster_are_kept_and_told(library, monkeypatch, tmp_path):
    model = pruned(Residual())
    times = {"SparseLinear": (1.0, 1.0), "SparseConv": (3.0, 1.0)}
    timed(monkeypatch, lambda op, _: times[op], (10.0, 5.0, 6.0))
    artifact, proto = exported(model, image_task(model), tmp_path)
    # The stem has no zeros, and gains by staying in the order of the others; the classifier does not.
    assert sparse_files.ops(proto) == ["SparseConv"] * 6
    assert artifact.needs == (sparse.NEEDS,)
    ran, stayed = artifact.notes[1:]
    assert ran == (
        "on the sparse kernels, with their speed over dense: one 3.00×, two 3.00×, three 3.00×, four 3.00×, shortcut "
        "3.00×; the whole model 2.00× as fast as dense in ONNX Runtime here, one thread, one example"
    )
    assert stayed == "dense, for the sparse kernels brought less than 5 % here: head 1.00×"
    assert agrees(proto, model, image_task(model))


def test_all_of_them_where_the_whole_is_faster_so(library, monkeypatch, tmp_path):
    model = pruned(Residual())
    times = {"SparseLinear": (1.0, 1.02), "SparseConv": (3.0, 1.0)}
    timed(monkeypatch, lambda op, _: times[op], (10.0, 5.0, 4.0))
    artifact, proto = exported(model, image_task(model), tmp_path)
    assert sparse_files.ops(proto) == [*["SparseConv"] * 6, "SparseLinear"]
    assert "head 0.98×; the whole model 2.50×" in artifact.notes[1]
    assert len(artifact.notes) == 2


@pytest.mark.parametrize("faster", ["one", "three"])
def test_a_block_is_one_operation_or_three(library, monkeypatch, tmp_path, faster):
    model = pruned(Mobile())

    def of(op, ways):
        if op == "SparseBlock":
            return (3.0, 1.0, 2.0) if faster == "one" else (3.0, 2.0, 1.0)
        return 1.0, 2.0

    timed(monkeypatch, of, (10.0, 5.0, 5.0))
    _, proto = exported(model, image_task(model), tmp_path)
    single = ["Depthwise", "SparseConv"]
    three = [*single, "SparseConv", *single, "SparseConv", *single]
    assert sparse_files.ops(proto) == (["SparseBlock"] * 3 if faster == "one" else three)
    assert agrees(proto, model, image_task(model))


def test_dense_where_nothing_pays(library, monkeypatch, tmp_path):
    model = pruned(Residual())
    timed(monkeypatch, lambda op, _: (1.0, 1.04), (10.0, 9.6))
    artifact, proto = exported(model, image_task(model), tmp_path)
    assert not sparse_files.ops(proto)
    assert not artifact.needs
    assert artifact.notes[1] == "dense, since with the sparse kernels the whole model ran 1.04× as fast here"
    assert artifact.path.read_bytes() == exported(model, image_task(model), tmp_path, "none")[0].path.read_bytes()


def test_dense_where_the_layers_gain_and_the_whole_does_not(library, monkeypatch, tmp_path):
    model = pruned(Residual())
    timed(monkeypatch, lambda op, _: (2.0, 1.0), (10.0, 9.9))
    artifact, proto = exported(model, image_task(model), tmp_path)
    assert not sparse_files.ops(proto)
    assert not artifact.needs
    assert artifact.notes[1] == "dense, since with the sparse kernels the whole model ran 1.01× as fast here"


def test_nothing_is_timed_without_zeros(library, monkeypatch, tmp_path):
    monkeypatch.setattr(choose, "race", None)
    model = Residual().eval()
    artifact, proto = exported(model, image_task(model), tmp_path)
    assert not sparse_files.ops(proto)
    assert not artifact.notes


def test_equal_layers_share_a_key(library, monkeypatch, tmp_path):
    model = pruned(Encoder())
    for factor, layer in ((2, model.k), (3, model.v)):
        layer.weight.copy_(factor * model.q.weight)
    asked = timed(monkeypatch, lambda op, _: (2.0, 1.0), (10.0, 5.0))
    exported(model, token_task(model), tmp_path)
    assert len(asked) == len(set(asked)) + 3  # of q, k and v one is enough, and of the two normalizations


def test_without_the_library_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(sparse, "why_not", lambda: "it was not built")
    model = pruned(Residual())
    artifact, proto = exported(model, image_task(model), tmp_path)
    assert not sparse_files.ops(proto)
    assert artifact.notes[-1] == "layers of zeros run dense: the sparse kernels are not used here (it was not built)"
    dense = Residual().eval()
    assert not exported(dense, image_task(dense), tmp_path)[0].notes


def test_where_timing_fails_the_file_is_plain_and_says_why(library, monkeypatch, tmp_path):
    def race(*_, **__):
        raise FlyweightError("FlyweightError: 12 files could not be timed: the measuring process was killed by SIGILL")

    monkeypatch.setattr(choose, "race", race)
    model = pruned(Residual())
    artifact, proto = exported(model, image_task(model), tmp_path)
    assert not sparse_files.ops(proto)
    assert "layers of zeros run dense: FlyweightError: 12 files could not be timed" in artifact.notes[-1]


def test_a_layer_whose_size_is_unknown_stays(library, monkeypatch, tmp_path):
    class Uneven(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 8)

        def forward(self, x):
            return self.two(self.one(x))

    monkeypatch.setattr(choose, "sizes", lambda proto, example: {})
    timed(monkeypatch, lambda op, _: (2.0, 1.0), (10.0, 5.0))
    model = pruned(Uneven())
    artifact, _ = exported(model, token_task(model), tmp_path)
    assert not artifact.needs
    assert artifact.notes[-1] == "dense, for their sizes could not be told: one, two"
