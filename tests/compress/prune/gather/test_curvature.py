"""The Gauss-Newton diagonal against the Hessian's, and its two ways of being found against each other."""

import copy
import dataclasses
from contextlib import ExitStack

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.gather import curvature
from flyweight.compress.prune.gather.curvature import gauss_newton
from flyweight.compress.prune.gather.tap import Tap
from flyweight.compress.prune.scores.obd import obd
from flyweight.compress.quantize.quantize import Quantize
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.mask import mask_of
from flyweight.tasks.cross_entropy import cross_entropy


def net():
    """A network that is linear in each single weight between its kinks."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 2, groups=2, padding=1), nn.LeakyReLU(0.1)),
        *(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 3)),
    )


def batch(count=9):
    return torch.randn(count, 1, 8, 8), torch.arange(count) % 3


def found(model, task, data, parameters=None):
    """``gauss_newton`` of all weights of convolutions and linear layers, or of ``parameters``."""
    parameters = parameters or [
        (m, "weight", f"{n}.weight") for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    with ExitStack() as stack:
        taps = [stack.enter_context(Tap(*one)) for one in parameters]
        return gauss_newton(model.eval(), taps, task, data)


def hessian_diagonal(model, name, loss):
    """∂²L/∂w² of every element of a parameter, by double backward."""
    parameter = dict(model.named_parameters())[name]
    (slope,) = torch.autograd.grad(loss(model), [parameter], create_graph=True)
    flat = [
        torch.autograd.grad(one, [parameter], retain_graph=True)[0].flatten()[index]
        for index, one in enumerate(slope.flatten())
    ]
    return torch.stack(flat).reshape(parameter.shape)


@pytest.mark.parametrize("loss", [cross_entropy, lambda f, b: F.mse_loss(f(b[0]), F.one_hot(b[1], 3).float())])
def test_obd_against_the_hessians_diagonal_from_double_backward(tiny_task, loss):
    model, data = net().double(), tuple(t.double() if t.is_floating_point() else t for t in batch())

    def told(forward, batch):
        return loss(lambda x: forward(x).float(), batch)

    diagonals = found(model, dataclasses.replace(tiny_task, loss=told), [data])
    for name, diagonal in diagonals.items():
        wanted = hessian_diagonal(model, name, lambda m: told(m, data)).float()
        torch.testing.assert_close(diagonal, wanted, rtol=1e-3, atol=1e-6)
        weight = dict(model.named_parameters())[name].detach()
        score = obd()(Evidence(name, weight.float(), curvature=diagonal))
        torch.testing.assert_close(score, 0.5 * wanted * weight.float() ** 2, rtol=1e-3, atol=1e-6)


def test_at_the_minimum_of_a_square_the_score_is_the_rise_itself(tiny_task):
    x, y = torch.randn(40, 5), torch.randn(40, 2)
    model = nn.Linear(5, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.linalg.lstsq(x, y).solution.T)
    task = dataclasses.replace(tiny_task, loss=lambda f, b: F.mse_loss(f(b[0]), b[1]))
    diagonal = found(model, task, [(x, y)], [(model, "weight", "weight")])["weight"]
    score = obd()(Evidence("weight", model.weight.detach(), curvature=diagonal))
    for index in torch.cartesian_prod(torch.arange(2), torch.arange(5)).tolist():
        without = copy.deepcopy(model)
        without.weight.data[tuple(index)] = 0
        rise = F.mse_loss(without(x), y) - F.mse_loss(model(x), y)
        assert float(score[tuple(index)]) == pytest.approx(float(rise.detach()), rel=1e-3, abs=1e-6)


def by_one(model, task, data, parameters=None):
    """The same, every example by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curvature, "_proven", lambda *_: [])
        return found(model, task, data, parameters)


def count_slow(monkeypatch):
    """How many examples pass by themselves."""
    seen, real = [], curvature.factor
    monkeypatch.setattr(
        curvature, "factor", lambda m, t, b: (seen.append(1) if len(b[0]) == 1 else None, real(m, t, b))[1]
    )
    return seen


def same(one, two):
    assert one.keys() == two.keys()
    for name in one:
        assert float(one[name].abs().max()) > 0
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-6)


def test_all_at_once_is_one_by_one(tiny_task, monkeypatch):
    model, data = net(), [batch(9), batch(4)]
    slow = count_slow(monkeypatch)
    quick = found(model, tiny_task, data)
    assert not slow
    monkeypatch.setattr(curvature, "_AT_ONCE", 200)  # examples in several parts
    same(found(model, tiny_task, data), quick)
    assert not slow
    same(by_one(model, tiny_task, data), quick)
    assert len(slow) == 13


class Tokens(nn.Module):
    """Examples along dimension 0, or tokens there; one layer called twice, and one whose weight is used elsewhere."""

    def __init__(self, turned=False):
        super().__init__()
        self.turned = turned
        self.first, self.twice, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):  # (examples, tokens, 3)
        x = self.first(x.transpose(0, 1) if self.turned else x).tanh()
        x = self.twice(self.twice(x).tanh()).tanh()
        x = self.head(x) + F.linear(x, self.head.weight).tanh()
        return x.mean(0 if self.turned else 1)


@pytest.mark.parametrize("turned", [False, True])
def test_where_the_quick_way_is_wrong_it_is_seen(tiny_task, monkeypatch, turned):
    # As many tokens as examples, so that shapes alone would not tell.
    model, data = Tokens(turned), [(torch.randn(6, 6, 3), torch.arange(6) % 4)]
    slow = count_slow(monkeypatch)
    quick = found(model, tiny_task, data)
    assert len(slow) == 6
    same(by_one(model, tiny_task, data), quick)
    if not turned:
        slow.clear()
        own = [(model.first, "weight", "first.weight"), (model.twice, "weight", "twice.weight")]
        same(found(model, tiny_task, data, own), by_one(model, tiny_task, data, own))
        assert len(slow) == 6  # those of by_one


def test_masked_elements_have_their_curvature_and_rounded_weights_too(tiny_task):
    model, data = tiny_task.model, [batch(6)]
    whole = found(model, tiny_task, data)
    mask_of(model[0]).keep[:, :, 0] = False
    masked = found(model, tiny_task, data)
    assert bool((masked["0.weight"][:, :, 0] > 0).any())
    same(masked, by_one(model, tiny_task, data))
    assert whole.keys() == masked.keys()
    rounded = Quantize()(tiny_task.model, tiny_task)
    layers = [(m.layer, "weight", n) for n, m in rounded.named_modules() if isinstance(m, IntegerLayer)]
    assert all(float(one.max()) > 0 for one in found(rounded, tiny_task, data, layers).values())


def test_a_parameter_that_no_output_hangs_on_has_none(tiny_task):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    spare = nn.Linear(2, 2)
    told = found(model, tiny_task, [batch(4)], [(spare, "weight", "spare"), (model[1], "bias", "bias")])
    assert not told["spare"].any() and bool((told["bias"] > 0).all())
