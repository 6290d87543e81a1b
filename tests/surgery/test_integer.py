import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.core.errors import UnsupportedError
from flyweight.surgery.activation import Requantize
from flyweight.surgery.chain import stored_form
from flyweight.surgery.fake_quantize import FakeQuantize
from flyweight.surgery.integer import IntegerLayer, is_layer


def source(high=1.0):
    module = Requantize().eval()
    module.settle(torch.tensor(0.0), torch.tensor(high))
    return module


def integer(layer, high=1.0, **more):
    made = IntegerLayer(layer, FakeQuantize(8), **more)
    made.attach(source(high))
    return made.eval()


def test_it_computes_what_integer_kernels_do():
    layer = integer(nn.Conv2d(3, 5, 3, stride=2, padding=1))
    x = layer.source(torch.rand(2, 3, 9, 9))
    form = stored_form(layer.layer)
    codes = torch.round(x / layer.source.scale)
    sums = F.conv2d(codes.double(), form.codes.double(), stride=2, padding=1)
    step = layer.source.scale * form.scale
    bias = torch.round(layer.layer.bias / step)
    assert torch.equal(bias, bias.to(torch.int32).float())
    wanted = (sums + bias.double()[:, None, None]) * step.double()[:, None, None]
    assert torch.allclose(layer(x).double(), wanted, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: nn.Linear(4, 6), lambda: nn.Conv1d(4, 6, 3), lambda: nn.Conv2d(4, 6, 1)])
def test_a_bias_on_nearly_dead_weights_stays_within_int32(make):
    layer = make()
    with torch.no_grad():
        layer.weight[0] = 0
        layer.weight[1] *= 1e-9
        layer.bias.fill_(5.0)
    layer = integer(layer, high=1e-3)
    step = layer.source.scale * layer.weight_scale()
    assert (5.0 / step).max() <= 2**30 * (1 + 1e-6)
    assert torch.allclose(layer.bias(), torch.full((6,), 5.0), rtol=1e-6)
    form = stored_form(layer.layer)
    assert torch.equal(form.scale, layer.weight_scale())


def test_the_bias_is_exact_without_a_rounded_input():
    layer = IntegerLayer(nn.Linear(4, 3), FakeQuantize(8)).eval()
    assert torch.equal(layer.bias(), layer.layer.bias)
    watched = integer(nn.Linear(4, 3))
    assert not torch.equal(watched.bias(), watched.layer.bias)
    watched.source.observe(lambda x: None)
    assert torch.equal(watched.bias(), watched.layer.bias)


def test_the_bias_learns_through_its_rounding():
    layer = integer(nn.Linear(4, 3))
    layer(torch.rand(5, 4)).sum().backward()
    assert torch.equal(layer.layer.bias.grad, torch.full((3,), 5.0))
    assert (layer.layer.parametrizations.weight.original.grad != 0).any()


def trained_norm(channels):
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.2, 3)
    return norm


@pytest.mark.parametrize("bias", [True, False])
def test_in_evaluation_batchnorm_is_folded_before_rounding(bias):
    conv, norm = nn.Conv2d(3, 5, 3, bias=bias), trained_norm(5)
    plain = nn.Sequential(copy.deepcopy(conv), copy.deepcopy(norm)).eval()
    layer = integer(conv, norm=norm)
    x = layer.source(torch.rand(2, 3, 9, 9))
    factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    folded = plain[0].weight * factor[:, None, None, None]
    form = stored_form(layer.layer)
    assert torch.allclose(form.scale, folded.abs().amax((1, 2, 3)) / 127)
    assert (layer(x) - plain(x)).abs().max() < 0.05
    assert torch.allclose(layer.float_bias(), plain(torch.zeros(1, 3, 3, 3))[0, :, 0, 0], atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_in_training_the_batch_s_statistics_normalise_and_move_the_running_ones(bias):
    conv, norm = nn.Conv2d(3, 5, 3, bias=bias), trained_norm(5)
    plain = nn.Sequential(copy.deepcopy(conv), copy.deepcopy(norm)).train()
    layer = integer(conv, norm=norm).train()
    x = torch.rand(4, 3, 9, 9)
    got, wanted = layer(x), plain(x)
    assert (got - wanted).abs().max() < 0.1
    assert torch.allclose(norm.running_mean, plain[1].running_mean, atol=1e-3)
    assert torch.allclose(norm.running_var, plain[1].running_var, rtol=1e-2)
    got.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for n, p in layer.named_parameters())


def test_a_channel_that_batchnorm_has_put_out_does_no_harm():
    norm = trained_norm(5)
    with torch.no_grad():
        norm.weight[0] = 0
    layer = integer(nn.Conv2d(3, 5, 3), norm=norm).train()
    out = layer(torch.rand(4, 3, 9, 9))
    out.sum().backward()
    assert out.isfinite().all()
    assert torch.allclose(out[:, 0], norm.bias[0].expand_as(out[:, 0]), atol=1e-3)


def test_after_the_freeze_training_computes_as_evaluation_does():
    layer = integer(nn.Conv2d(3, 5, 3), norm=trained_norm(5), freeze=0.5).train()
    x = layer.source(torch.rand(4, 3, 9, 9))
    layer.after_step(SimpleNamespace(step=49, total=100))
    assert not torch.equal(layer(x), layer.eval()(x))
    layer.train().after_step(SimpleNamespace(step=50, total=100))
    mean = layer.norm.running_mean.clone()
    assert torch.allclose(layer(x), layer.eval()(x), atol=1e-6)
    assert torch.equal(layer.norm.running_mean, mean)
    other = integer(nn.Conv2d(3, 5, 3), norm=trained_norm(5), freeze=0.5)
    other.load_state_dict(layer.state_dict())
    other.attach(layer.source)
    assert torch.equal(other.train()(x), layer.train()(x))


def test_a_copy_refers_to_the_copied_source():
    pair = nn.ModuleDict({"grid": source()})
    pair["layer"] = IntegerLayer(nn.Linear(4, 3), FakeQuantize(8), norm=None)
    pair["layer"].attach(pair["grid"])
    twin = copy.deepcopy(pair)
    assert twin["layer"].source is twin["grid"]
    assert twin["layer"].source is not pair["grid"]
    assert twin["layer"].link[0] is twin["layer"].layer.parametrizations.weight[0]
    assert twin["layer"].link[0].floor.__self__ is twin["layer"]
    assert "layer.source" not in dict(pair.named_modules())


def test_other_layers_are_refused():
    class Own(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    assert is_layer(nn.Linear(2, 2))
    assert not is_layer(Own(2, 2))
    with pytest.raises(
        UnsupportedError, match="Conv3d has no integer kernel; those that have are Conv1d, Conv2d, Linear"
    ):
        IntegerLayer(nn.Conv3d(1, 1, 1), FakeQuantize(8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_teacher_in_half_precision_sums_its_codes_all_the_same(dtype):
    """Sums of codes reach beyond 65,504, and float16 ends there."""
    layer = integer(nn.Linear(64, 8))
    x = layer.source(torch.rand(4, 64))
    with torch.no_grad():
        wanted = layer(x)
        with torch.autocast("cpu", dtype):
            assert torch.equal(layer(x), wanted)
