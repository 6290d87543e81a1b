"""What proved faster runs on the sparse kernels, and what did not stays dense and is told."""

import copy
import functools

import onnx
import pytest
import torch

import sparse_files
from flyweight.core.errors import FlyweightError
from flyweight.deploy.export.onnx import _convert
from flyweight.deploy.export.rewrite import rewrite
from flyweight.deploy.export.sparse import choose, sparse
from sparse_nets import Encoder, Mobile, Residual, image_task, pruned, token_task


def alike():
    """An encoder whose q, k and v are pruned alike."""
    model = pruned(Encoder())
    for factor, layer in ((2, model.k), (3, model.v)):
        layer.weight.copy_(factor * model.q.weight)
    return model


NETS = {
    "residual": (lambda: pruned(Residual()), image_task),
    "mobile": (lambda: pruned(Mobile()), image_task),
    "dense": (lambda: Residual().eval(), image_task),
    "alike": (alike, token_task),
}


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


@functools.cache
def graph(name):
    """A pruned network with its task, and its graph as the exporter has it when it looks for sparse layers."""
    torch.manual_seed(0)
    make, task_of = NETS[name]
    model = make()
    task = task_of(model)
    proto = _convert(copy.deepcopy(model), task.example, 18)
    rewrite(proto, integers=False)
    return model, task, proto


def exported(name, kernels="auto"):
    """What the pass says of a network, and the graph that it made."""
    _, task, proto = graph(name)
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    return sparse.sparse(made, task.example, kernels), made


def agrees(proto, name):
    model, task, _ = graph(name)
    x = torch.randn(2, *task.example[0].shape[1:])
    found = torch.from_numpy(sparse_files.run(proto, x.numpy())[0])
    return torch.allclose(found, model(x), atol=1e-5 * float(model(x).abs().max()) + 1e-6)


def test_the_faster_are_kept_and_told(library, monkeypatch):
    times = {"SparseLinear": (1.0, 1.0), "SparseConv": (3.0, 1.0)}
    timed(monkeypatch, lambda op, _: times[op], (10.0, 5.0, 6.0))
    told, proto = exported("residual")
    # The stem has no zeros, and gains by staying in the order of the others; the classifier does not.
    assert sparse_files.ops(proto) == ["SparseConv"] * 6
    assert told.needs == (sparse.NEEDS,)
    ran, stayed = told.notes
    assert ran == (
        "on the sparse kernels, with their speed over dense: one 3.00×, two 3.00×, three 3.00×, four 3.00×, shortcut "
        "3.00×; the whole model 2.00× as fast as dense in ONNX Runtime here, one thread, one example"
    )
    assert stayed == "dense, for the sparse kernels brought less than 5 % here: head 1.00×"
    assert agrees(proto, "residual")


def test_all_of_them_where_the_whole_is_faster_so(library, monkeypatch):
    times = {"SparseLinear": (1.0, 1.02), "SparseConv": (3.0, 1.0)}
    timed(monkeypatch, lambda op, _: times[op], (10.0, 5.0, 4.0))
    told, proto = exported("residual")
    assert sparse_files.ops(proto) == [*["SparseConv"] * 6, "SparseLinear"]
    assert len(told.notes) == 1
    assert "head 0.98×; the whole model 2.50×" in told.notes[0]


@pytest.mark.parametrize("faster", ["one", "three"])
def test_a_block_is_one_operation_or_three(library, monkeypatch, faster):
    def of(op, ways):
        if op == "SparseBlock":
            return (3.0, 1.0, 2.0) if faster == "one" else (3.0, 2.0, 1.0)
        return 1.0, 2.0

    timed(monkeypatch, of, (10.0, 5.0, 5.0))
    _, proto = exported("mobile")
    single = ["Depthwise", "SparseConv"]
    three = [*single, "SparseConv", *single, "SparseConv", *single]
    assert sparse_files.ops(proto) == (["SparseBlock"] * 3 if faster == "one" else three)
    assert agrees(proto, "mobile")


@pytest.mark.parametrize("each", [1.04, 0.5], ids=["no part gains", "parts gain and the whole does not"])
def test_dense_where_it_does_not_pay(library, monkeypatch, each):
    timed(monkeypatch, lambda op, _: (1.0, each), (10.0, 9.6))
    told, proto = exported("residual")
    assert not sparse_files.ops(proto)
    assert not told.needs
    assert told.notes == ("dense, since with the sparse kernels the whole model ran 1.04× as fast here",)
    assert proto == graph("residual")[2]


def test_nothing_is_timed_without_zeros(library, monkeypatch):
    monkeypatch.setattr(choose, "race", None)
    told, proto = exported("dense")
    assert not sparse_files.ops(proto)
    assert not told.notes


def test_equal_layers_share_a_key(library, monkeypatch):
    asked = timed(monkeypatch, lambda op, _: (2.0, 1.0), (10.0, 5.0))
    exported("alike")
    assert len(asked) == len(set(asked)) + 3  # of q, k and v one is enough, and of the two normalizations


def test_without_the_library_it_is_said(monkeypatch):
    monkeypatch.setattr(sparse, "why_not", lambda: "it was not built")
    told, proto = exported("residual")
    assert not sparse_files.ops(proto)
    assert told.notes == ("layers of zeros run dense: the sparse kernels are not used here (it was not built)",)
    assert not exported("dense")[0].notes


def test_where_timing_fails_the_file_is_plain_and_says_why(library, monkeypatch):
    def race(*_, **__):
        raise FlyweightError("FlyweightError: 12 files could not be timed: the measuring process was killed by SIGILL")

    monkeypatch.setattr(choose, "race", race)
    told, proto = exported("residual")
    assert not sparse_files.ops(proto)
    assert told.notes[0].startswith("layers of zeros run dense: FlyweightError: 12 files could not be timed")


def test_a_layer_whose_size_is_unknown_stays(library, monkeypatch):
    monkeypatch.setattr(choose, "sizes", lambda proto, example: {})
    timed(monkeypatch, lambda op, _: (2.0, 1.0), (10.0, 5.0))
    told, _ = exported("residual")
    assert not told.needs
    assert told.notes == ("dense, for their sizes could not be told: one, two, three, four, shortcut, head",)
