import pytest
import torch
from torch import nn

from flyweight.core.errors import ShapeError
from flyweight.surgery.mask import Mask, mask_of


def masked():
    layer = nn.Linear(4, 3)
    mask = mask_of(layer)
    mask.keep[0, 1] = mask.keep[2, 3] = False
    return layer, mask


def test_what_is_gone_is_zero_and_has_no_gradient():
    layer, mask = masked()
    assert torch.equal(layer.weight == 0, ~mask.keep)
    layer(torch.randn(5, 4)).square().sum().backward()
    gradient = layer.parametrizations.weight.original.grad
    assert torch.equal(gradient == 0, ~mask.keep)
    assert mask.heard is None


def test_it_hears_the_dense_gradient_summed_over_passes_and_the_weight_that_it_was_taken_at():
    layer, mask = masked()
    mask.hears = True
    dense = torch.zeros(3, 4)
    weight = layer.weight.detach().clone()
    for seed in range(2):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
        (layer(x) * torch.arange(3)).sum().backward()
        dense += torch.arange(3.0).reshape(3, 1) * x.sum(0)
    with torch.no_grad():
        layer.parametrizations.weight.original.add_(1.0)  # as an optimizer does before anybody asks
    assert torch.equal(mask.at, weight)
    assert torch.allclose(mask.take_heard(), dense, atol=1e-5)
    assert mask.take_heard() is None
    mask.hears = False
    mask.take_heard()
    assert mask.at is None


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [((4, 1), (4, 1), (4, 1)), ((4, 1), (1, 1), (1, 1)), ((4, 2), (6, 4), (2, 2)), ((1, 1), (16, 1), (1, 1))],
)
def test_two_tiles_on_one_mask_are_told_in_the_greatest_that_both_are_made_of(first, second, told):
    layer = nn.Linear(8, 16)
    mask = mask_of(layer, block=first)
    assert mask_of(layer, block=second) is mask
    assert mask.block == told
    assert mask_of(layer) is mask
    assert mask.block == told


def test_keep_has_to_be_bool():
    with pytest.raises(ShapeError, match="a Mask keeps by bool, and got torch.float32"):
        Mask(torch.ones(2, 2))
