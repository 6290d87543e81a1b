import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.core.errors import UnknownNameError, UnsupportedError
from flyweight.surgery.trace import trace


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = F.dropout(self.one(x), 0.5, training=self.training)
        return F.dropout(self.drop(x), 0.5)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)

    def forward(self, x):
        x = self.one(x)
        if x.sum() > 0:
            return x
        return -x


class Outer(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.block = nn.Sequential(inner, nn.ReLU())

    def forward(self, x):
        return self.block(self.stem(x))


class DropPath(nn.Module):
    def forward(self, x):
        if not self.training:
            return x
        return x * (torch.rand(len(x), 1) > 0.5)


class TwoFaced(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)

    def forward(self, x):
        x = self.one(x)
        return self.two(x) if self.training else x


def test_modules_are_nodes_and_parameters_are_shared():
    model = Outer(nn.Linear(4, 4)).eval()
    graph = trace(model)
    assert [n.target for n in graph.graph.nodes if n.op == "call_module"] == ["stem", "block.0", "block.1"]
    assert graph.stem.weight is model.stem.weight
    x = torch.randn(3, 4)
    assert torch.equal(graph(x), model(x))


@pytest.mark.parametrize("training", [True, False])
def test_functional_dropout_keeps_both_modes(training):
    model = Dropping().train(training)
    graph = trace(model)
    assert graph.training == training
    assert all(m.training == training for m in model.modules())
    x = torch.randn(8, 4)
    for mode in (True, False):
        results = []
        for network in (model.train(mode), graph.train(mode)):
            torch.manual_seed(1)
            results.append(network(x))
        assert torch.equal(*results)
    graph.eval()
    named = [n for n in graph.graph.nodes if n.op == "call_function"]
    assert len(named) == 1, "dropout that is always on stays a function"


def test_what_stops_the_trace_is_named_with_the_way_out():
    with pytest.raises(UnsupportedError) as caught:
        trace(Outer(Branching()))
    told = str(caught.value)
    assert "the activations of Branching 'block.0' cannot be traced at test_trace.py:" in told
    assert "if x.sum() > 0:" in told
    assert "activations=None to quantize weights only, or exclude=('block.0',)" in told


def test_an_excluded_module_stays_whole():
    model = Outer(Branching()).eval()
    graph = trace(model, exclude=("block.0",))
    assert "block.0" in [n.target for n in graph.graph.nodes]
    x = torch.randn(3, 4)
    assert torch.equal(graph(x), model(x))
    with pytest.raises(UnknownNameError, match=r"Did you mean 'block.0'"):
        trace(model, exclude=("blok.0",))


def test_a_module_that_acts_in_training_only_stays_whole():
    model = Outer(DropPath())
    graph = trace(model)
    assert "block.0" in [n.target for n in graph.graph.nodes]
    x = torch.randn(64, 4).abs()
    assert (graph.train()(x) == 0).all(1).any()
    assert torch.equal(graph.eval()(x), model.eval()(x))


def test_code_that_differs_in_training_is_refused():
    with pytest.raises(UnsupportedError, match=r"TwoFaced computes something else in training than in evaluation"):
        trace(TwoFaced())


def test_a_failed_trace_leaves_the_modes_alone():
    model = Outer(Branching()).eval()
    model.stem.train()
    with pytest.raises(UnsupportedError):
        trace(model)
    assert [m.training for m in model.modules()] == [False, True, False, False, False, False]
