import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flyweight.compress.prune.gather import factor as rooms
from flyweight.compress.prune.gather.factor import factor
from flyweight.core.errors import UnsupportedError
from flyweight.tasks.cross_entropy import cross_entropy


def products(found):
    """Σ_c S_c·S_cᵀ of each example."""
    s = torch.cat([part.flatten(2) for part in found.factor], 2)
    return torch.einsum("nci,ncj->nij", s, s)


def softmax_hessian(z):
    p = z.softmax(1)
    return torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)


def test_cross_entropy_by_its_formula(tiny_task):
    model, batch = nn.Linear(6, 4), (torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 0]))
    found = factor(model, dataclasses.replace(tiny_task, example=(batch[0],)), batch)
    torch.testing.assert_close(products(found), softmax_hessian(model(batch[0]).detach()), rtol=1e-4, atol=1e-6)
    assert torch.equal(found.outputs[0], model(batch[0]))


def test_squares_and_a_loss_that_has_no_curvature(tiny_task):
    model, batch = nn.Linear(6, 3), (torch.randn(5, 6), torch.randn(5, 3))
    squares = dataclasses.replace(tiny_task, loss=lambda f, b: F.mse_loss(f(b[0]), b[1]))
    torch.testing.assert_close(products(factor(model, squares, batch)), torch.eye(3).expand(5, 3, 3) * 2 / 3)
    flat = dataclasses.replace(tiny_task, loss=lambda f, b: (f(b[0]) - b[1]).abs().mean())
    assert not products(factor(model, flat, batch)).any()
    straight = dataclasses.replace(tiny_task, loss=lambda f, b: f(b[0]).mean())
    assert not products(factor(model, straight, batch)).any()


def test_negative_curvature_is_left_out(tiny_task):
    saddle = dataclasses.replace(tiny_task, loss=lambda f, b: (f(b[0]).square() * torch.tensor([1, -1])).sum(1).mean())
    found = products(factor(nn.Linear(6, 2), saddle, (torch.randn(5, 6), torch.zeros(5))))
    torch.testing.assert_close(found, torch.tensor([[2.0, 0.0], [0.0, 0.0]]).expand(5, 2, 2))


def test_a_loss_that_calls_the_model_twice(tiny_task):
    pair = dataclasses.replace(tiny_task, loss=lambda f, b: (f(b[0])[:, 0] + f(-b[0])[:, 1]).square().mean())
    found = products(factor(nn.Linear(6, 2), pair, (torch.randn(5, 6), torch.zeros(5))))
    ends = torch.tensor([1.0, 0, 0, 1])
    torch.testing.assert_close(found, (2 * torch.outer(ends, ends)).expand(5, 4, 4), rtol=1e-4, atol=1e-5)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 2), nn.Linear(6, 3)

    def forward(self, x):
        return {"one": self.one(x), "two": (self.two(x), 3)}


def test_several_outputs_that_the_loss_ties_together(tiny_task):
    def loss(forward, batch):
        told = forward(batch[0])
        return (told["one"].sum(1) * told["two"][0].sum(1) + 4 * told["two"][0].square().sum(1)).mean() + (
            told["one"].square().sum(1).mean()
        )

    found = products(factor(Two(), dataclasses.replace(tiny_task, loss=loss), (torch.randn(4, 6), torch.zeros(4))))
    wanted = torch.ones(5, 5)
    wanted[:2, :2], wanted[2:, 2:] = 2 * torch.eye(2), 8 * torch.eye(3)
    torch.testing.assert_close(found, wanted.expand(4, 5, 5), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(70,), (5, 20)])
def test_many_outputs_under_softmax_are_drawn_without_bias(tiny_task, monkeypatch, shape):
    monkeypatch.setattr(rooms, "DRAWS", 20_000)
    z = torch.randn(2, *shape)

    class Fixed(nn.Module):
        def forward(self, x):
            return z.requires_grad_() * 1

    found = factor(Fixed(), tiny_task, (torch.zeros(2, 1), torch.zeros(2, *shape[1:], dtype=torch.long)))
    assert found.factor[0].shape == (2, 20_000, *shape)
    places = z[0, 0].numel()
    flat = z.detach().flatten(2) if z.dim() > 2 else z.detach().unsqueeze(2)
    for place in (0, places - 1):
        s = found.factor[0].reshape(2, 20_000, shape[0], -1)[..., place]
        got = torch.einsum("nci,ncj->nij", s, s)
        torch.testing.assert_close(got, softmax_hessian(flat[..., place]) / places, rtol=0.2, atol=0.01 / places)


def test_many_outputs_of_another_loss_give_the_empirical_fisher(tiny_task):
    model, batch = nn.Linear(6, 80), (torch.randn(5, 6), torch.randn(5, 80))
    squares = dataclasses.replace(tiny_task, loss=lambda f, b: F.mse_loss(f(b[0]), b[1]))
    found = factor(model, squares, batch)
    torch.testing.assert_close(found.factor[0][:, 0], 2 / 80 * (model(batch[0]) - batch[1]))


def test_errors(tiny_task):
    batch = (torch.randn(5, 6), torch.zeros(5))
    told = dataclasses.replace(tiny_task, loss=lambda f, b: f(b[0]).detach().mean())
    with pytest.raises(
        UnsupportedError, match=r"the task's loss carries no gradient to the model, so its curvature is"
    ):
        factor(nn.Linear(6, 2), told, batch)
    turned = dataclasses.replace(tiny_task, loss=lambda f, b: f(b[0]).square().mean())
    with pytest.raises(UnsupportedError, match=r"of 5 examples the model gives outputs of shapes \[\(2, 5\)\]"):
        factor(nn.Sequential(nn.Linear(6, 2), Turn()), turned, batch)
    assert tiny_task.loss is cross_entropy


class Turn(nn.Module):
    def forward(self, x):
        return x.transpose(0, 1)
