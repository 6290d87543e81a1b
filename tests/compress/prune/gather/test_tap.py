import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from flyweight.compress.prune.gather.tap import Tap
from flyweight.core.errors import UnsupportedError
from flyweight.surgery.chain import attach
from flyweight.surgery.fake_quantize import FakeQuantize
from flyweight.surgery.mask import mask_of


def layer():
    torch.manual_seed(1)
    return nn.Linear(3, 2)


def gradient(tap, module, x):
    with tap:
        loss = module(x).square().sum()
        return torch.stack(torch.autograd.grad(loss, tap.tensors)).sum(0)


def test_a_plain_parameter_is_itself():
    module = layer()
    tap = Tap(module, "weight", "w")
    assert tap.parameters == [module.weight] and tap.behind == [] and tap.openness() is None
    assert torch.equal(tap.value(), module.weight) and tap.value() is not module.weight


def test_behind_the_mask_and_before_the_rounding():
    x, plain, module = torch.randn(4, 3), layer(), layer()
    with torch.no_grad():
        plain.weight[0, 0] = 0
    mask_of(module).keep[0, 0] = False
    tap = Tap(module, "weight", "w")
    assert torch.equal(tap.value(), plain.weight)
    assert torch.equal(gradient(tap, module, x), gradient(Tap(plain, "weight", "w"), plain, x))
    attach(module, FakeQuantize(8))
    late = Tap(module, "weight", "w")
    assert torch.equal(late.value(), plain.weight) and not torch.equal(module.weight, plain.weight)
    dense = gradient(late, module, x)
    assert float(dense[0, 0]) != 0
    torch.testing.assert_close(dense, gradient(Tap(plain, "weight", "w"), plain, x), rtol=0.05, atol=0.1)


def test_a_chain_of_rounding_alone_and_torchs_own_parametrization():
    rounded, normed = layer(), weight_norm(layer())
    attach(rounded, FakeQuantize(4))
    tap = Tap(rounded, "weight", "w")
    assert torch.equal(tap.value(), layer().weight)
    assert gradient(tap, rounded, torch.randn(4, 3)).shape == (2, 3)
    tap = Tap(normed, "weight", "w")
    torch.testing.assert_close(tap.value(), layer().weight.detach())
    assert len(tap.parameters) == 2 and gradient(tap, normed, torch.randn(4, 3)).shape == (2, 3)


def test_every_use_is_seen_while_it_is_open_and_none_after():
    module = layer()
    mask_of(module)
    tap = Tap(module, "weight", "w")
    with tap:
        module(torch.randn(4, 3)), module(torch.randn(4, 3))
        assert len(tap.tensors) == 2
        tap.clear()
        with torch.no_grad():
            module(torch.randn(4, 3))
        assert tap.tensors == []
    module(torch.randn(4, 3))
    assert tap.tensors == []


def test_what_is_no_parameter():
    with pytest.raises(
        UnsupportedError, match=r"'fc.scale' is no parameter of Linear \(it has: weight, bias\). Exclude"
    ):
        Tap(layer(), "scale", "fc.scale")
