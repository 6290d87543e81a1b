import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.surgery.chain import attach, links
from flyweight.surgery.fold import fold_batchnorm_
from flyweight.surgery.mask import mask_of
from flyweight.surgery.rescale import Rescale

FLOAT32 = 1e-5
"""Relative to the outputs: folding multiplies in another order, some 2^-23 a product."""


def lived(model):
    """Batch-norm with statistics and weights unlike those it starts with."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.3, 2)
            if module.affine:
                nn.init.uniform_(module.weight, -2, 2)
                nn.init.uniform_(module.bias, -1, 1)
    return model.eval()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.n0 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.one, self.n1 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.down, self.n2 = nn.Conv2d(6, 8, 1, stride=2), nn.BatchNorm2d(8)
        self.deep, self.n3 = nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(8, affine=False)
        self.before, self.late = nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = F.relu(self.n0(self.stem(x)))
        x = F.relu(self.n1(self.one(x)) + x)
        x = self.n2(self.down(x)) + self.n3(self.deep(x))
        return self.late(self.before(x))


def check(model, x, pairs):
    model = lived(model)
    wanted = model(x)
    folded = copy.deepcopy(model)
    assert fold_batchnorm_(folded, (x,)) == pairs
    got = folded(x)
    assert (got - wanted).abs().max() <= FLOAT32 * wanted.abs().max()
    for layer, norm in pairs:
        assert isinstance(folded.get_submodule(norm), nn.Identity)
        assert folded.get_submodule(layer).bias is not None
    return folded


def test_residual_graphs_fold_and_a_norm_before_its_layer_stays():
    pairs = [("stem", "n0"), ("one", "n1"), ("down", "n2"), ("deep", "n3")]
    folded = check(Residual(), torch.randn(2, 3, 8, 8), pairs)
    assert isinstance(folded.before, nn.BatchNorm2d)


def test_linear_and_one_dimensional_layers_fold():
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5))
    check(model, torch.randn(3, 2, 6), [("0", "1"), ("3", "4")])


def test_a_linear_layer_of_sequences_does_not_fold():
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    assert check(model, torch.randn(4, 5, 3), []) is not None


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(self.norm(self.conv(x))))


class Tapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


@pytest.mark.parametrize("model", [Shared(), Tapped()])
def test_what_is_read_elsewhere_or_called_twice_does_not_fold(model):
    check(model, torch.randn(2, 3, 4, 4), [])


def test_a_norm_without_running_statistics_does_not_fold():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
    check(model, torch.randn(2, 3, 4, 4), [])


def test_a_weight_with_a_chain_gets_a_link():
    conv = nn.Conv2d(3, 4, 1)
    attach(conv, Rescale(torch.tensor([1.0, 0.0, 2.0, -1.0])))
    folded = check(nn.Sequential(conv, nn.BatchNorm2d(4)), torch.randn(2, 3, 4, 4), [("0", "1")])
    assert len(links(folded[0])) == 2


def test_batch_norm_and_biases_under_masks_fold_too():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()).eval()
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].bias.normal_()
    for module, name in ((model[0], "weight"), (model[0], "bias"), (model[1], "weight"), (model[1], "bias")):
        mask_of(module, name).keep[2:4] = False
    x = torch.randn(2, 3, 8, 8)
    wanted = model(x)
    assert fold_batchnorm_(model, (x,)) == [("0", "1")]
    torch.testing.assert_close(model(x), wanted, rtol=1e-4, atol=1e-5)
    assert (model(x)[:, 2:4] == 0).all()
    assert not mask_of(model[0]).keep[2:4].any() and not links(model[0], "bias")


def test_what_layers_share_is_folded_for_each_alone():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.n1 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
            self.two, self.n2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
            self.two.weight, self.two.bias = self.one.weight, self.one.bias

        def forward(self, x):
            return self.n2(self.two(F.relu(self.n1(self.one(x)))))

    folded = check(Tied(), torch.randn(2, 3, 5, 5), [("one", "n1"), ("two", "n2")])
    assert folded.one.parametrizations.weight.original is folded.two.parametrizations.weight.original


def test_a_weight_that_another_parametrization_makes_keeps_its_norm():
    check(
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)),
        torch.randn(2, 3, 4, 4),
        [],
    )
