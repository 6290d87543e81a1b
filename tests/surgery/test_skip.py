import copy

import pytest
import torch
from torch import nn

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.skip import PassThrough, Skip, remove_skips_
from flyweight.surgery.trace import trace


class Block(nn.Module):
    def __init__(self, size=4):
        super().__init__()
        self.fc, self.size = nn.Linear(size, size), size

    def forward(self, x, scale=1.0, *, shift=0.0):
        return x + self.fc(x) * scale + shift


def test_a_gate_is_its_layer_or_its_input_and_its_state_says_which():
    block, x = Block(), torch.randn(3, 4)
    skip = Skip(block)
    assert torch.equal(skip(x, 2.0, shift=1.0), block(x, 2.0, shift=1.0))
    assert skip.size == 4
    assert repr(skip) == repr(copy.deepcopy(skip))
    skip.set(False)
    assert skip(x, 2.0, shift=1.0) is x
    assert not copy.deepcopy(skip).kept
    other = Skip(Block())
    other.load_state_dict(skip.state_dict())
    assert not other.kept
    assert other(x) is x
    with pytest.raises(AttributeError, match="nothing"):
        _ = skip.nothing


def test_removal_leaves_kept_layers_under_their_old_names_and_drops_the_others():
    model = nn.Sequential(*(Skip(Block()) for _ in range(3)))
    names = {name.replace(".inner", "") for name in model.state_dict() if not name.endswith("keep")}
    model[1].set(False)
    x = torch.randn(2, 4)
    wanted = model(x)
    assert remove_skips_(model) == ["1"]
    assert isinstance(model[1], PassThrough)
    assert set(model.state_dict()) == {name for name in names if not name.startswith("1.")}
    assert torch.equal(model(x), wanted)
    assert model[1](x, 1.0, shift=2.0) is x


def test_a_trace_has_the_layers_that_are_kept_alone():
    model = nn.Sequential(*(Skip(Block()) for _ in range(2)))
    model[0].set(False)
    calls = [str(node.target) for node in trace(model).graph.nodes if node.op == "call_module"]
    assert calls == ["1.inner.fc"]


def test_a_trace_is_refused_while_a_schedule_has_yet_to_decide():
    model = nn.Sequential(Skip(Block()))
    plan = nn.Module()
    plan.pending = True
    model[0].add_module("plan", plan)
    with pytest.raises(UnsupportedError, match="a training has yet to decide whether this layer stays; take Train"):
        trace(model)


def test_several_processes_get_a_gradient_of_a_dropped_layer_too(monkeypatch):
    skip = Skip(Block()).train()
    skip.set(False)
    x = torch.randn(2, 4)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert torch.equal(skip(x), x)
    skip(x).sum().backward()
    assert torch.equal(skip.inner.fc.weight.grad, torch.zeros(4, 4))


def test_a_gate_round_a_traced_graph_is_copied_with_it():
    skip = Skip(torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4))))
    skip.set(False)
    copied = copy.deepcopy(skip)
    assert isinstance(copied, Skip) and not copied.kept
