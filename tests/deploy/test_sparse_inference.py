"""Pruned models on the sparse kernels in torch: what is replaced, what stays, and that it computes the same."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.structures.block import block
from flyweight.core.errors import ParityError, UnknownNameError
from flyweight.deploy import faster as timing
from flyweight.deploy import sparse_inference as module
from flyweight.deploy import sparse_pieces
from flyweight.deploy.faster import faster
from flyweight.deploy.sequels import sequels
from flyweight.deploy.sparse_inference import sparse_inference
from flyweight.layers.depthwise_conv import DepthwiseConv2d
from flyweight.layers.sparse_block import SparseBlock
from flyweight.layers.sparse_conv import SparseConv2d
from flyweight.layers.sparse_linear import SparseLinear
from flyweight.models.mobilenet_v2 import mobilenet_v2
from flyweight.surgery.mask import mask_of
from flyweight.surgery.skip import Skip

OURS = (SparseConv2d, SparseLinear, DepthwiseConv2d, SparseBlock)


def masked_(model, ratio=0.8):
    """Random masks of tiles of 4×1 on all that is no depthwise."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.shape[1] > 1:
            keep = torch.rand(-(-len(layer.weight) // 4), *layer.weight.shape[1:]) > ratio
            mask_of(layer, block=(4, 1)).keep.copy_(keep.repeat_interleave(4, 0)[: len(layer.weight)])
    return model.eval()


def network():
    """A small network of all that there is to find, whose batch-norms are no identities."""
    torch.manual_seed(0)
    model = mobilenet_v2(width=0.25, depth=0.4, classes=5, stride=4)
    for one in model.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.running_mean.normal_(std=0.1)
            one.running_var.uniform_(0.5, 2)
            one.weight.data.uniform_(1.5, 2.5)
    return masked_(model)


def kinds(model):
    return [type(one) for one in model.modules() if isinstance(one, OURS)]


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.fixture
def always(monkeypatch):
    """Ours always win."""
    monkeypatch.setattr(sparse_pieces, "faster", lambda ways, x: 1)


def test_each_pruned_layer_is_replaced_and_the_model_is_left_alone():
    model, x = network(), torch.randn(2, 3, 16, 16)
    before = copy.deepcopy(model.state_dict())
    made = sparse_inference(model)
    assert set(kinds(made)) == {SparseConv2d, SparseLinear}
    with torch.no_grad():
        same(made(x), model(x))
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert not any("parametrizations" in name for name, _ in made.named_modules())


def test_with_an_example_all_is_folded_and_fused(always):
    model, x = network(), torch.randn(1, 3, 16, 16)
    made = sparse_inference(model, (x,))
    with torch.no_grad():
        assert float(model(x).abs().max()) > 1e-3
        same(made(x), model(x))
    assert not any(isinstance(one, nn.BatchNorm2d | nn.ReLU6) for one in made.modules())
    residuals = [name for name, one in model.named_modules() if type(one).__name__ == "InvertedResidual"]
    assert kinds(made).count(SparseBlock) == len(residuals)
    stem = made.features[0][0]
    assert isinstance(stem, SparseConv2d) and stem.activation == "Relu6"


def test_what_is_faster_dense_stays_dense(monkeypatch):
    monkeypatch.setattr(sparse_pieces, "faster", lambda ways, x: 0)
    model, x = network(), torch.randn(1, 3, 16, 16)
    made = sparse_inference(model, (x,))
    assert kinds(made) == []
    with torch.no_grad():
        same(made(x), model(x))


def test_a_layer_of_which_much_is_kept_stays_dense():
    model = nn.Sequential(
        masked_(nn.Sequential(nn.Linear(40, 40)), 0.3), masked_(nn.Sequential(nn.Linear(40, 40)), 0.8)
    )
    assert isinstance(sparse_inference(model)[0][0], nn.Linear)
    assert isinstance(sparse_inference(model)[1][0], SparseLinear)


def test_what_is_excluded_stays_dense_and_pruned(always):
    model, x = network(), torch.randn(1, 3, 16, 16)
    made = sparse_inference(model, (x,), exclude=("classifier.*",))
    layer = made.classifier[1]
    assert isinstance(layer, nn.Linear) and float((layer.weight == 0).float().mean()) > 0.5
    with pytest.raises(UnknownNameError, match="classifer"):
        sparse_inference(model, exclude=("classifer.*",))


class Odd(nn.Module):
    """What no kernel exists for, a layer that is called twice, one whose weight another shares, and a gate."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.reflect = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.line = nn.Conv1d(8, 8, 3, padding=1)
        self.twice = nn.Conv2d(8, 8, 1)
        self.act = nn.ReLU()
        self.gated = Skip(nn.Conv2d(8, 8, 1))
        self.again = self.twice
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.reflect(self.grouped(x))
        x = self.act(self.twice(x)) + self.act(self.again(x))
        x = self.gated(x) if x.shape[0] > 0 else x  # no tracer follows this
        return self.head(self.line(x.flatten(2)).mean(2))


@pytest.mark.parametrize("timed", [True, False])
def test_what_has_no_kernel_stays_and_keeps_its_zeros(always, timed):
    model = masked_(Odd())
    x = torch.randn(2, 8, 6, 6)
    mask_of(model.line, block=(4, 1)).keep.copy_(torch.rand(8, 8, 3) > 0.5)
    made = sparse_inference(model, (x,) if timed else None)
    with torch.no_grad():
        same(made(x), model(x))
    assert type(made.grouped) is nn.Conv2d and type(made.reflect) is nn.Conv2d and type(made.line) is nn.Conv1d
    assert made.twice is made.again and isinstance(made.twice, SparseConv2d) and made.twice.activation == ""
    assert isinstance(made.gated, SparseConv2d)
    assert float((made.line.weight == 0).float().mean()) > 0.3


def test_compiled_and_exported(always, tmp_path):
    model, x = network(), torch.randn(2, 3, 16, 16)
    made = sparse_inference(model, (x,))
    with torch.no_grad():
        expected = made(x)
        torch._dynamo.reset()
        same(torch.compile(made, backend="aot_eager", fullgraph=True)(x), expected)
        program = torch.export.export(made, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=8)},))
        assert any("sparse_block" in str(node.target) for node in program.graph.nodes)
        torch.export.save(program, tmp_path / "model.pt2")
        loaded = torch.export.load(tmp_path / "model.pt2").module()
        same(loaded(x), expected)
        same(loaded(x[:1]), expected[:1])


@pytest.mark.slow
def test_inductor_runs_it(always):
    model, x = network(), torch.randn(2, 3, 16, 16)
    made = sparse_inference(model, (x,))
    torch._dynamo.reset()
    with torch.no_grad():
        same(torch.compile(made, fullgraph=True)(x), made(x))


def test_its_state_loads_into_another(always):
    model, x = network(), torch.randn(1, 3, 16, 16)
    made, other = sparse_inference(model, (x,)), sparse_inference(model, (x,))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        other.load_state_dict(made.state_dict())
        assert torch.equal(other(x), made(x))


def test_it_is_a_prune_away(tiny_task):
    pruned = Prune(ratio=0.8, structure=block(4, 1))(tiny_task.model, tiny_task)
    made = sparse_inference(pruned)
    x = torch.randn(3, 1, 8, 8)
    assert SparseConv2d in kinds(made)
    with torch.no_grad():
        same(made(x), pruned.eval()(x))


def test_what_computes_something_else_is_refused(monkeypatch):
    model, x = network(), torch.randn(1, 3, 16, 16)

    def broken(made, *rest):
        made.classifier[1].bias = nn.Parameter(torch.full((5,), 9.0))
        return {}

    monkeypatch.setattr(module, "fuse_layers_", broken)
    with pytest.raises(ParityError, match="MobileNetV2 on sparse kernels differs from itself by .* Exclude layers"):
        sparse_inference(model, (x,))


def test_sequels_are_read_by_one_alone():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Linear(2, 2) for _ in range(4))
            self.act, self.drop = nn.ReLU(), nn.Dropout()

        def forward(self, x):
            x = self.drop(self.act(self.a(x)))
            y = self.b(x)
            return self.c(y) + F.relu(self.d(y))

    found = sequels(Net())
    assert found["a"] == "act" and found["act"] == "b" and not {"b", "c", "d"} & found.keys()


def test_the_shortest_time_wins(monkeypatch):
    clock = iter(range(10**6))
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0] + next(clock) * 1e-9)

    def takes(seconds):
        return lambda x: now.__setitem__(0, now[0] + seconds)

    assert faster((takes(2e-3), takes(1e-3), takes(3e-3)), torch.zeros(1)) == 1
