import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from flyweight.core.errors import UnsupportedError
from flyweight.numerics.granularity import per_channel, per_group, per_tensor
from flyweight.surgery.chain import attach, detach, foreign, links, stored_form
from flyweight.surgery.fake_quantize import FakeQuantize
from flyweight.surgery.mask import mask_of
from flyweight.surgery.rescale import Rescale
from flyweight.surgery.stored import Codes, Dense


def test_a_module_without_a_chain_is_stored_dense():
    layer = nn.Linear(3, 2)
    assert links(layer) == []
    form = stored_form(layer)
    assert isinstance(form, Dense)
    assert torch.equal(form.values, layer.weight)


def test_links_apply_in_order_and_the_last_one_says_the_form():
    layer = nn.Linear(6, 4)
    plain = layer.weight.detach().clone()
    factor = torch.tensor([1.0, -2.0, 0.5, 3.0])
    attach(layer, Rescale(factor))
    assert torch.equal(layer.weight, plain * factor[:, None])
    assert torch.equal(stored_form(layer).values, plain * factor[:, None])
    attach(layer, FakeQuantize(8))
    assert [type(link) for link in links(layer)] == [Rescale, FakeQuantize]
    form = stored_form(layer)
    assert isinstance(form, Codes)
    assert form.codes.dtype == torch.int8
    assert torch.equal(form.codes * form.scale[:, None], layer.weight)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("granularity", [per_tensor(), per_channel(), per_channel(1), per_group(6)])
def test_the_stored_codes_are_what_training_saw(bits, granularity):
    layer = nn.Conv2d(3, 4, 2, bias=False)
    attach(layer, FakeQuantize(bits, granularity))
    form = stored_form(layer)
    assert form.codes.shape == layer.weight.shape
    assert form.codes.abs().max() <= 2 ** (bits - 1) - 1
    assert form.bits == bits
    if form.group is not None:
        scale = form.scale.repeat_interleave(form.group, 1).reshape(layer.weight.shape)
    elif form.axis is not None:
        scale = form.scale.reshape([-1 if d == form.axis else 1 for d in range(4)])
    else:
        scale = form.scale
    assert torch.equal(form.codes * scale, layer.weight)


def test_a_chain_trains_and_survives_copies_and_state_dicts():
    layer = nn.Linear(5, 3)
    attach(layer, FakeQuantize(4))
    layer(torch.randn(2, 5)).square().sum().backward()
    gradient = layer.parametrizations.weight.original.grad
    assert (gradient != 0).any()
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.parametrizations.weight.original.zero_()
    assert not torch.equal(twin.weight, layer.weight)
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin.weight, layer.weight)


def test_a_parameter_that_is_not_there_is_refused():
    with pytest.raises(
        UnsupportedError, match=r"Linear has no parameter 'kernel' to compress \(it has: weight, bias\)"
    ):
        attach(nn.Linear(2, 2), FakeQuantize(), name="kernel")


def test_a_copy_that_gains_or_loses_a_link_leaves_the_other_whole():
    # torch gives a parametrized module's copies one class, with a property a parameter.
    first = nn.Linear(3, 2)
    mask_of(first)
    bare = copy.deepcopy(first)
    detach(bare, links(bare)[0])
    both = copy.deepcopy(first)
    mask_of(both, "bias").keep[0] = False
    x = torch.randn(4, 3)
    for layer in (first, bare, both):
        assert layer(x).shape == (4, 2) and isinstance(layer.bias, torch.Tensor)
    assert type(bare) is nn.Linear and not links(bare) and len(links(first)) == 1
    assert torch.equal(bare.weight, first.weight)
    assert both.bias[0] == 0 and first.bias[0] != 0


def test_a_link_leaves_a_chain_that_goes_on():
    layer = nn.Linear(3, 2)
    mask_of(layer).keep[0] = False
    attach(layer, FakeQuantize(8))
    mask = links(layer)[0]
    detach(layer, mask)
    assert [type(link) for link in links(layer)] == [FakeQuantize]
    assert (layer.weight[0] != 0).any()


def test_what_another_parametrization_makes_is_refused():
    for norm in (weight_norm, spectral_norm):
        with pytest.raises(UnsupportedError, match=r"Linear's 'weight' has a parametrization of its own \(weight or"):
            mask_of(norm(nn.Linear(3, 2)))
    assert not foreign(nn.Linear(3, 2))
