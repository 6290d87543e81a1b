"""Mixup: linear in the labels, one pass, at rest at alpha 0."""

import dataclasses

import pytest
import torch
from torch import nn

from flyweight.core.errors import FlyweightError, UnsupportedError
from flyweight.core.serial import from_json, to_json
from flyweight.learn.augment.mixup import mixed
from flyweight.learn.context import Context
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.fit import Fit
from flyweight.learn.train import Train


def batch_of(task, count=6):
    return tuple(t[:count] for t in task.data.train.tensors)


def test_the_loss_is_linear_in_one_hot_labels(tiny_task):
    batch, seen = batch_of(tiny_task), []
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    def forward(x):
        seen.append(x)
        return model(x)

    got = mixed(alpha=0.8)(forward, batch, Context(tiny_task, torch.arange(6)))
    (blend,) = seen
    # Find λ and the permutation from the inputs alone, then mix the one-hot labels by hand.
    flat, mixture = batch[0].flatten(1), blend.flatten(1)
    partners, shares = [], []
    for row in range(6):
        candidates = []
        for other in range(6):
            if other == row:
                continue
            way = flat[row] - flat[other]
            share = ((mixture[row] - flat[other]) @ way) / (way @ way)
            error = (share * flat[row] + (1 - share) * flat[other] - mixture[row]).norm()
            candidates.append((float(error), other, float(share)))
        error, other, share = min(candidates)
        if (mixture[row] - flat[row]).norm() < 1e-4:
            other, share, error = row, None, 0.0
        assert error < 1e-3
        partners.append(other)
        shares.append(share)
    share = next(s for s in shares if s is not None)
    assert all(s is None or s == pytest.approx(share, abs=1e-3) for s in shares)
    assert sorted(partners) == list(range(6))
    labels = nn.functional.one_hot(batch[1], 4).float()
    soft = share * labels + (1 - share) * labels[partners]
    wanted = -(soft * model(blend).log_softmax(1)).sum(1).mean()
    assert float(got.detach()) == pytest.approx(float(wanted.detach()), rel=1e-3)


def same(one, other):
    return all(value.equal(other.state_dict()[name]) for name, value in one.state_dict().items())


def test_at_alpha_0_it_is_plain_training(fresh_task):
    task = dataclasses.replace(fresh_task, fit=Fit(precision="no"))
    plain, mixture, other = (Train(epochs=1, loss=loss)(task.model, task) for loss in (None, mixed(0.0), mixed(1.0)))
    assert same(plain, mixture)
    assert not same(plain, other)


def test_teachers_see_the_mixed_inputs_once(tiny_task):
    seen = []

    def teacher(x):
        seen.append(x)
        return torch.zeros(len(x), 4)

    def forward(x):
        seen.append(x)
        return torch.zeros(len(x), 4, requires_grad=True)

    task = dataclasses.replace(tiny_task, teacher=teacher)
    mixed(inner=distilled())(forward, batch_of(task), Context(task, torch.arange(6)))
    student, teachers = seen
    assert student is teachers
    assert not student.equal(batch_of(task)[0])


def test_shares_follow_the_beta_distribution(tiny_task):
    shares = []

    def loss(forward, batch):
        return forward(batch[0]).sum()

    def forward(x):
        shares.append(float(x[0, 0]))
        return x * 0

    # Two examples, 1 and 0: what the first becomes is λ, or 1 where it met itself.
    task = dataclasses.replace(tiny_task, loss=loss, example=(torch.zeros(1, 1),))
    batch = (torch.tensor([[1.0], [0.0]]), torch.zeros(2))
    for _ in range(600):
        mixed(alpha=0.5)(forward, batch, Context(task, torch.arange(2)))
    drawn = torch.tensor([s for s in shares if s != 1])
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.06)
    assert float(drawn.var()) == pytest.approx(0.125, abs=0.02)  # 1 / (4 (2α + 1))


def test_whole_numbers_cannot_be_mixed(tiny_task):
    with pytest.raises(UnsupportedError, match=r"mixed can't mix input 0 of dtype torch.int64.*after its embedding"):
        mixed()(lambda x: x, (torch.ones(4, 2).long(), torch.ones(4)), Context(tiny_task, torch.arange(4)))


def test_fields_are_checked():
    with pytest.raises(FlyweightError, match="mixed got alpha=-1"):
        mixed(-1)
    with pytest.raises(FlyweightError, match="mixed got inner=.*Give an objective"):
        mixed(inner=distilled)
    assert from_json(to_json(mixed(0.3, distilled(2.0)))) == mixed(0.3, distilled(2.0))
